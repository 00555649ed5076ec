"""What an MCP server asks in the middle of a call: as questions to a run's owner, and the answers as it takes them.

No I/O, and no library: the workflow goes by it, so whatever a stranger puts into a schema can be asked. A form has one
question for each of its fields; whoever answers `decline` to any of them declines.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

ACCEPT, DECLINE, CANCEL = "accept", "decline", "cancel"
SKIP = "skip"
_YES, _NO = ("yes", "y", "true"), ("no", "n", "false")
_MOST_CHOICES = 20
_LARGEST_LIMIT = 1e300


class Question(NamedTuple):
    """One question. `field` is None where nothing but consent is asked for."""

    field: str | None
    text: str
    choices: tuple[str, ...]


class NotAnAnswer(ValueError):
    """A text that does not answer a question; the message says what is wanted."""


def questions_of(server: str, message: str, schema: Mapping[str, Any], url: str | None = None) -> list[Question]:
    """The questions that a request of a server stands for."""
    asks = f"The MCP server {server} asks: {message}"
    if url is not None:
        return [Question(None, f"{asks}\nIt wants you to open {url}\nAnswer {ACCEPT} or {DECLINE}.", (ACCEPT, DECLINE))]
    fields = _fields(schema)
    if not fields:
        return [Question(None, f"{asks}\nAnswer {ACCEPT} or {DECLINE}.", (ACCEPT, DECLINE))]
    required = _list(schema.get("required"))
    return [_question(asks, name, part, is_required=name in required) for name, part in fields.items()]


def value_of(answer: str, schema: Mapping[str, Any], field: str) -> Any:
    """What an owner's text says for a field; None to leave it out. Raises `NotAnAnswer`."""
    part, text = _fields(schema)[field], answer.strip()
    if text.casefold() == SKIP and field not in _list(schema.get("required")):
        return None
    match part.get("type"):
        case "boolean":
            return _truth(text)
        case "integer" | "number" as kind:
            return _number(text, whole=kind == "integer")
        case "array":
            items = part.get("items")
            of_each = items if isinstance(items, dict) else {}
            return [_choice(each.strip(), of_each) for each in text.split(",") if each.strip()]
    return _choice(text, part)


def misfit(value: Any, schema: Mapping[str, Any], field: str) -> str | None:
    """What a field wants that a value for it is not, as `NotAnAnswer` has it; None where it is right."""
    part = _fields(schema)[field]
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        wanted, is_one = _FORMATS.get(str(part.get("format")), ("", bool))
        if wanted and not is_one(value):
            return f"{wanted} is wanted"
        size, least, most, of = len(value), "minLength", "maxLength", " characters"
    elif isinstance(value, list):
        size, least, most, of = len(value), "minItems", "maxItems", ""
    else:
        size, least, most, of = value, "minimum", "maximum", ""
    if (limit := _limit(part, least)) is not None and size < limit:
        return f"{limit:g}{of} at least are wanted" if of or isinstance(value, list) else f"{limit:g} or more is wanted"
    if (limit := _limit(part, most)) is not None and size > limit:
        return f"{limit:g}{of} at most are wanted" if of or isinstance(value, list) else f"{limit:g} or less is wanted"
    return None


def response_of(values: Mapping[str, Any] | None, *, declined: bool = False, asks_for_values: bool = True) -> Any:
    """The answer to a request as the protocol has it; `values` is None where nobody has answered."""
    if declined:
        return {"action": DECLINE}
    if values is None:
        return {"action": CANCEL}
    content = {name: value for name, value in values.items() if value is not None}
    return {"action": ACCEPT, "content": content} if asks_for_values else {"action": ACCEPT}


def _fields(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = schema.get("properties")
    return {name: part for name, part in found.items() if isinstance(part, dict)} if isinstance(found, dict) else {}


def _question(asks: str, name: str, part: Mapping[str, Any], *, is_required: bool) -> Question:
    about = str(part.get("title") or name)
    described = f": {part['description']}" if part.get("description") else ""
    choices = [str(choice) for choice in _choices(part)[:_MOST_CHOICES]]
    if part.get("type") == "boolean":
        choices = ["yes", "no"]
    wanted = {"integer": " (a whole number)", "number": " (a number)", "array": " (with commas between them)"}
    others = [DECLINE] if is_required else [SKIP, DECLINE]
    default = f" Default: {part['default']}." if "default" in part else ""
    titles = [f"{each}: {title}" for each, title in _titled(part)[:_MOST_CHOICES] if title != str(each)]
    described += f" ({'; '.join(titles)})" if titles else ""
    kind = wanted.get(str(part.get("type")), "")
    text = f"{asks}\n{about}{described}{kind}.{default} Answer, or {' or '.join(others)}."
    return Question(name, text, (*choices, *others))


def _choices(part: Mapping[str, Any]) -> Sequence[Any]:
    titled = _list(part.get("oneOf")) or _list(part.get("anyOf"))
    given = _list(part.get("enum")) or [each.get("const") for each in titled if isinstance(each, dict)]
    if not given and isinstance(part.get("items"), dict):
        return _choices(part["items"])
    return given


def _list(value: Any) -> list[Any]:
    """A list of a schema that a stranger has written: empty for whatever else is there."""
    return value if isinstance(value, list) else []


def _titled(part: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """The choices that have titles, with these: as a server has them, and as older ones did."""
    options = [each for each in (*_list(part.get("oneOf")), *_list(part.get("anyOf"))) if isinstance(each, dict)]
    titled = [(each.get("const"), str(each["title"])) for each in options if each.get("title")]
    titled += zip(_list(part.get("enum")), map(str, _list(part.get("enumNames"))), strict=False)
    return titled or (_titled(part["items"]) if isinstance(part.get("items"), dict) else [])


def _choice(text: str, part: Mapping[str, Any]) -> Any:
    """The choice that a text says, by its value or its title, as its server has it."""
    choices = _choices(part)
    if not choices:
        return text
    said = [*((choice, str(choice)) for choice in choices), *_titled(part)]
    for choice, name in said:
        if name.casefold() == text.casefold():
            return choice
    raise NotAnAnswer(f"one of {', '.join(map(str, choices))} is wanted")


_FORMATS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "email": ("an email address", lambda text: re.fullmatch(r"[^@\s]+@[^@\s]+", text)),
    "uri": ("an address such as https://host/", lambda text: re.match(r"[A-Za-z][A-Za-z0-9+.-]*:\S", text)),
    "date": ("a date such as 2026-11-29", lambda text: re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) and _is_date(text)),
    "date-time": ("a time such as 2026-11-29T12:00:00Z", lambda text: "T" in text.upper() and _is_date(text)),
}


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.upper()) is not None
    except ValueError:
        return False


def _limit(part: Mapping[str, Any], name: str) -> float | None:
    limit: Any = part.get(name)
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
    return limit if is_number and abs(limit) < _LARGEST_LIMIT else None


def _truth(text: str) -> bool:
    if text.casefold() in _YES:
        return True
    if text.casefold() in _NO:
        return False
    raise NotAnAnswer("yes or no is wanted")


def _number(text: str, *, whole: bool) -> int | float:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        raise NotAnAnswer("a whole number is wanted" if whole else "a number is wanted") from None
    if not whole and not math.isfinite(number):  # JSON has no such number
        raise NotAnAnswer("a number is wanted")
    return number
