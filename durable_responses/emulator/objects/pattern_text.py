"""Texts that match a regular expression: what a schema's `pattern` asks for."""

import re
from collections.abc import Callable

# The parser of `re` is not public, and the only one there is; a change of it is seen by the tests.
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

_LONGEST = 1000
_PREFERRED = "aA1bB2cC3dDeEfF456789ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ0_- .,:;/+@#()[]{}"
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    _constants.CATEGORY_DIGIT: str.isdigit,
    _constants.CATEGORY_NOT_DIGIT: lambda letter: not letter.isdigit(),
    _constants.CATEGORY_SPACE: str.isspace,
    _constants.CATEGORY_NOT_SPACE: lambda letter: not letter.isspace(),
    _constants.CATEGORY_WORD: lambda letter: letter.isalnum() or letter == "_",
    _constants.CATEGORY_NOT_WORD: lambda letter: not (letter.isalnum() or letter == "_"),
}
_PROPERTIES = {"L": "a-zA-Z", "Lu": "A-Z", "Ll": "a-z", "N": "0-9", "Nd": "0-9", "P": ".,;:!?-", "Letter": "a-zA-Z"}


def text_matching(pattern: str, *, shortest: int = 0, longest: int = _LONGEST, variant: int = 0) -> str | None:
    """A text that the pattern is found in, of a length within the bounds; None if none was found.

    Other `variant`s are other texts, as far as the pattern leaves a choice.
    """
    pattern = _as_python_writes_it(pattern)
    try:
        parsed, compiled = _parser.parse(pattern), re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None
    for extra in (0, 1, 2, 3, 4, 8, 16, 32, 64, 128, max(0, shortest - 1), shortest):
        text = _Writer(extra, variant).written(parsed)
        # A pattern need not cover the whole text.
        if len(text) < shortest and compiled.search(f"{text}{'a' * (shortest - len(text))}"):
            text += "a" * (shortest - len(text))
        if shortest <= len(text) <= longest and compiled.search(text):
            return text
    return None


def _as_python_writes_it(pattern: str) -> str:
    """JSON schemas have the expressions of JavaScript."""
    pattern = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern)
    pattern = re.sub(r"\\[pP]\{(\w+)\}(?=[^\[\]]*\])", lambda named: _PROPERTIES.get(named[1], "a-z"), pattern)
    return re.sub(r"\\[pP]\{(\w+)\}", lambda named: f"[{_PROPERTIES.get(named[1], 'a-z')}]", pattern)


class _Writer:
    """Writes one text. What may be repeated is repeated `extra` times more than it must be."""

    def __init__(self, extra: int, variant: int) -> None:
        self._extra = extra
        self._variant = variant
        self._groups: dict[int, str] = {}

    def written(self, parsed: Any) -> str:
        """The text of a parsed expression."""
        text = ""
        for operator, argument in parsed:
            text += self._part(operator, argument)
            if len(text) > _LONGEST:
                break
        return text

    def _part(self, operator: Any, argument: Any) -> str:
        match operator:
            case _constants.LITERAL:
                return chr(argument)
            case _constants.NOT_LITERAL:
                return self._one_of([letter for letter in _PREFERRED if ord(letter) != argument])
            case _constants.ANY:
                return self._one_of(list(_PREFERRED))
            case _constants.IN:
                return self._one_of([letter for letter in self._letters(argument) if _is_in(letter, argument)])
            case _constants.MAX_REPEAT | _constants.MIN_REPEAT | _constants.POSSESSIVE_REPEAT:
                least, most, repeated = argument
                times = min(least + self._extra, most, max(least, _LONGEST))
                return "".join(self.written(repeated) for _ in range(times))[: _LONGEST + 1]
            case _constants.SUBPATTERN:
                number, _, _, inner = argument
                self._groups[number] = self.written(inner)
                return self._groups[number]
            case _constants.ATOMIC_GROUP:
                return self.written(argument)
            case _constants.BRANCH:
                _, branches = argument
                return self.written(branches[self._variant % len(branches)])
            case _constants.GROUPREF:
                return self._groups.get(argument, "")
            case _:  # assertions take no letters; whether they hold is seen afterwards
                return ""

    def _one_of(self, letters: list[str]) -> str:
        return letters[self._variant % len(letters)] if letters else "a"

    @staticmethod
    def _letters(members: Any) -> list[str]:
        """The usual letters, then those that the class names itself."""
        named = [chr(value) for operator, value in members if operator is _constants.LITERAL]
        named += [chr(value[0]) for operator, value in members if operator is _constants.RANGE]
        return [*_PREFERRED, *named]


def _is_in(letter: str, members: Any) -> bool:
    found, negated = False, False
    for operator, value in members:
        match operator:
            case _constants.NEGATE:
                negated = True
            case _constants.LITERAL:
                found = found or ord(letter) == value
            case _constants.RANGE:
                found = found or value[0] <= ord(letter) <= value[1]
            case _constants.CATEGORY:
                found = found or _CATEGORIES[value](letter)
    return found is not negated
