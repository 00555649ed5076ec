"""The tables of settings: run as a program it prints that of docs/settings.md, with `readme` that of the README."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticUndefined

from durable_responses.durations import in_one_unit
from durable_responses.mcp_tools.configuration import McpServers
from durable_responses.pricing.rates import PriceList
from durable_responses.settings import Settings
from durable_responses.tools.approvals import Approvals

IN_THE_README = [
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "AGENT_MODEL",
    "AGENT_WORKSPACE",
    "AGENT_FILES_ROOT",
    "AGENT_OUTPUT_ROOT",
    "AGENT_TOOL_MODULES",
    "AGENT_MAX_RESPONSES_IN_FLIGHT",
    "AGENT_HEALTH_PORT",
    "AGENT_STATE_FOLDER",
]
"""The settings that most people need."""


def settings_table(variables: Sequence[str] = ()) -> str:
    """A Markdown table of these settings, else of all: variable, default, meaning."""
    rows = [
        f"| `{Settings.variable(name)}` | {_default(name, field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
        if not variables or Settings.variable(name) in variables
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _default(name: str, value: Any) -> str:
    computed = {
        "state_folder": "`~/.local/state/durable-responses`",
        "cache_folder": "`~/.cache/durable-responses`",
        "workspace": "`workspace`, else a copy of the example",
        "project_folder": "folder of the project file, else the current one",
        "files_root": "the project's folder",
        "output_root": "the project's folder",
    }
    if value is PydanticUndefined:
        return computed[name]
    if value is None or value in ([], Approvals(), McpServers(), PriceList()):
        return ""
    if isinstance(value, timedelta):
        return f"`{in_one_unit(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(settings_table(IN_THE_README if sys.argv[1:] == ["readme"] else ()))
