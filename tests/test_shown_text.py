"""Text of others as it is shown: https://trojansource.codes and ECMA-48."""

import pytest

from durable_responses.shown_text import is_name, shown, shown_on_one_line

PLAIN = ["", "ünï 🙂 👩‍👩‍👧 日本語 עברית\u200f العربية\u061c", "two\nlines\tand a tab", "C:\\x1b is a text, [31m too"]


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;aGk=\x1b\\after", "after"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jafter", "after"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1bcafter", "after"),
        ("\x1b", ""),
        ("a\bb\x07c\x00d\x7fe", "abcde"),
        ("done\r\nnext\rlast", "done\nnext\nlast"),
        ("user\u202e nimda\u202c \u2066x\u2069", "user nimda x"),
        ("a\u2028b", "a\nb"),
        ("\x1b]unfinished\nnext line", "\nnext line"),
    ],
)
def test_what_steers_a_terminal_or_turns_a_line_is_left_out(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_one_line_is_one_line() -> None:
    assert shown_on_one_line("a\r\nb\u2029c  d\x1b[A") == "a b c d"


@pytest.mark.parametrize("name", ["a b/ü🙂.md", "עברית.txt", "C:\\x"])
def test_names_may_have_any_letters(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "a\u202eb", "\ud83d", "a\u2028", "\x85", "\t", "\x00"])
def test_names_have_no_control_characters(name: str) -> None:
    assert not is_name(name)
