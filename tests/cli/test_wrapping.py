"""Lines on a terminal are broken between words, and never inside a command."""

import pytest

from durable_responses.cli.wrapping import wrapped, wrapped_prompt


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("short", ["short"]),
        ("", [""]),
        ("one two three four", ["one two", "three four"]),
        ("  → one two three", ["  → one", "    two", "    three"]),
        ("- one two three", ["- one two", "  three"]),
    ],
)
def test_the_second_line_stands_below_the_text_of_the_first(line: str, lines: list[str]) -> None:
    assert wrapped(line, 10) == lines


def test_columns_are_kept() -> None:
    assert wrapped("problem  key      refused: look at what was typed", 36) == [
        "problem  key      refused: look at",
        "                  what was typed",
    ]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("See `durable-responses run --help`.", ["See", "`durable-responses run --help`."]),
        ("Follow it with: durable-responses watch job-1", ["Follow it with:", "durable-responses watch job-1"]),
    ],
)
def test_a_command_stays_in_one_piece(line: str, lines: list[str]) -> None:
    assert wrapped(line, 20) == lines


def test_a_word_that_is_too_long_is_left_to_the_terminal() -> None:
    assert wrapped("see http://127.0.0.1:8233/namespaces/default", 20) == [
        "see",
        "http://127.0.0.1:8233/namespaces/default",
    ]


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("Well? ", "Well? "),
        ("Is it red or is it blue? ", "Is it red or\nis it blue? "),
        ("It is.\nIs it red or is it blue? ", "It is.\nIs it red or\nis it blue? "),
        ("\n", "\n"),
    ],
)
def test_a_prompt_ends_where_the_answer_is_typed(question: str, told: str) -> None:
    assert wrapped_prompt(question, 14) == told
