"""The table of settings in the README: `python -m tests.support.settings_table` prints it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from durable_responses.settings import Settings


def settings_table() -> str:
    """A Markdown table of every setting: its variable, its default and what it means."""
    rows = [
        f"| `{Settings.variable(name)}` | {_default(name, field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _default(name: str, value: Any) -> str:
    computed = {"state_folder": "~/.local/state/durable-responses", "cache_folder": "~/.cache/durable-responses"}
    if value is PydanticUndefined:
        return f"`{computed[name]}`"
    if value is None or value == []:
        return ""
    if isinstance(value, timedelta):
        return f"`{_short(value)}`"
    if isinstance(value, Path):
        return f"`{value}`" if value != Path() else "where it was started"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _short(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    size, unit = next((size, unit) for size, unit in ((3600, "h"), (60, "m"), (1, "s")) if seconds % size == 0)
    return f"{seconds // size}{unit}"


if __name__ == "__main__":
    print(settings_table())
