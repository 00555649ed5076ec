"""The context windows of models that are known, from a table with its source and date. Read once, by workers only."""

import json
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files


def window_of(model: str) -> int | None:
    """The tokens of a model's context window, prompt and answer together; None if the table does not know it.

    A provider's prefix (`openai/gpt-5`) is left out. Of several names that fit, the longest counts.
    """
    name = model.rsplit("/", 1)[-1].lower()
    fitting = [known for known in _windows() if fnmatchcase(name, known[0])]
    return max(fitting, key=lambda known: len(known[0]))[1] if fitting else None


@cache
def _windows() -> list[tuple[str, int]]:
    table = json.loads(files("durable_responses").joinpath("context_windows.json").read_text(encoding="utf-8"))
    return [(known["name"], known["tokens"]) for known in table["windows"]]
