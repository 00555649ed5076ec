"""The context windows of models that are known, from a table with its source and date. Read once, by workers only."""

import json
import re
from functools import cache
from importlib.resources import files

_SNAPSHOT = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|20\d{6})$")
_REGION_AND_VENDOR = re.compile(r"^(?:[a-z]{2,6}\.)?openai\.")


def window_of(model: str) -> int | None:
    """The tokens of a model's context window, prompt and answer together; None if the table does not know it.

    What stands around the model's own name is left out: a prefix (`openai/gpt-5`, `us.openai.gpt-5`), a variant of a
    gateway (`gpt-5:nitro`), the owner of a tuned model (`ft:gpt-4.1:acme::x`) and the date of a snapshot.
    """
    name = model.strip().lower().rsplit("/", 1)[-1].removeprefix("ft:").partition(":")[0]
    return _windows().get(_SNAPSHOT.sub("", _REGION_AND_VENDOR.sub("", name)))


@cache
def _windows() -> dict[str, int]:
    table = json.loads(files("durable_responses").joinpath("context_windows.json").read_text(encoding="utf-8"))
    return {known["name"]: known["tokens"] for known in table["windows"]}
