"""Text and JSON that somebody else wrote: read by functions that raise only `ValueError`, measured as it travels.

Models, gateways and clients in other languages cut characters in half (`\\ud83d` alone), nest without end, and write
numbers that no other program can read. Here such a text becomes a plain value or a `ValueError`, and nothing else.
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_core import from_json, to_json

DEEPEST = 100  # levels; pydantic reads 200 and writes 255, and what is read here travels inside other objects
_LONGEST_NAME = 200  # characters of a key that a message shows
_LARGEST_NUMBER = 4096  # bits; Python itself writes no more than 4,300 digits
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}(?P<second>\\u[dD][c-fC-F][0-9a-fA-F]{2})?|(?P<low>u[dD][c-fC-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
# A string without an end goes to the end of the text, or its quotation marks would each be looked from.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


class UnusableValue(ValueError):
    """A value cannot be passed on as JSON. `path`: where in it, `why`: half a sentence."""

    def __init__(self, path: tuple[str | int, ...], why: str) -> None:
        place = well_formed(".".join(str(part)[:_LONGEST_NAME] for part in path))
        super().__init__(f"{place}: {why}" if path else why)
        self.path = path
        self.why = why


def well_formed(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 text can hold: each becomes U+FFFD. Pairs become characters."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mended_json(data: str | bytes) -> str:
    """A JSON text without bytes that are not UTF-8, a byte-order mark, and escapes that spell lone surrogates."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else well_formed(data)
    return _ESCAPE.sub(_mended_escape, text.removeprefix("\ufeff"))


def _mended_escape(escape: re.Match[str]) -> str:
    high = escape[0][1:2] == "u" and escape[0][2:4].lower() in ("d8", "d9", "da", "db")
    lone = escape["low"] is not None or (high and escape["second"] is None)
    return "\\ufffd" if lone else escape[0]


def read_json(text: str | bytes) -> Any:
    """What a JSON text says, as a value that can be passed on. Raises `ValueError`."""
    value = from_json(mended_json(text), allow_inf_nan=False)
    check(value)
    return value


def check(value: Any) -> None:
    """Raise `UnusableValue` for what is nested too deep, and for numbers that JSON cannot carry."""
    left: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while left:
        item, path = left.pop()
        if len(path) >= DEEPEST:
            raise UnusableValue(path[:1], f"is nested more than {DEEPEST} levels deep")
        if isinstance(item, dict):
            parts: Iterable[tuple[str | int, Any]] = item.items()
        elif isinstance(item, list | tuple):
            parts = enumerate(item)
        else:
            parts = [("", item)] if not path else []
        for name, part in parts:
            if isinstance(part, dict | list | tuple):
                left.append((part, (*path, name)))
            elif isinstance(part, int | float) and (why := _unusable_number(part)):
                raise UnusableValue((*path, name) if name != "" else path, why)


def _unusable_number(number: int | float) -> str | None:
    if isinstance(number, float):
        return None if math.isfinite(number) else "must be a finite number"
    return "is too large a number" if number.bit_length() > _LARGEST_NUMBER else None


def checked(value: Any) -> Any:
    """The value with its texts well formed, in plain lists and dicts. Raises `UnusableValue`."""
    check(value)
    return _cleaned(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return value


def nested_too_deep(text: str) -> str | None:
    """Where a JSON text is nested too deep to be read at all: the name of that part of the outermost object."""
    part = ""
    for token, depth in tokens(text):
        if depth == 1 and token[0].startswith('"'):
            part = token[0][1:-1]
        if depth > DEEPEST:
            return part
    return None


def tokens(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """The strings and brackets of a JSON text, which may be broken, each with the depth that it leads to."""
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        yield token, depth


def json_bytes(value: Any) -> int:
    """How many bytes a value takes as JSON, which is how it travels and is stored. Raises `ValueError`."""
    return len(to_json(value))


def text_bytes(text: str) -> int:
    """How many bytes a text takes as JSON, without its quotation marks: six for a control character."""
    return len(to_json(well_formed(text))) - 2


def both_ends(data: bytes, head: int, tail: int) -> tuple[str, str]:
    """The first and the last so many bytes of a text in UTF-8, without the characters that these would cut."""
    return data[:head].decode(errors="ignore"), data[len(data) - tail :].decode(errors="ignore")


def cut(text: str, limit: int, *, characters: int | None = None, why: str = "") -> str:
    """The text, well formed. What does not fit into `limit` bytes of JSON, or `characters`, gives way to a note.

    `why`: what the note says of the rest.
    """
    text = well_formed(text)
    longest = len(text) if characters is None else min(len(text), characters)
    if longest == len(text) and text_bytes(text) <= limit:
        return text
    low, high = 0, min(longest, limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_bytes(_noted(text, middle, why)) <= limit else (low, middle - 1)
    return _noted(text, low, why)


def _noted(text: str, kept: int, why: str) -> str:
    return f"{text[:kept]}\n[cut: the first {kept:,} of {len(text):,} characters{why and f'. {why}'}]"
