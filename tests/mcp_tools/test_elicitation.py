"""What a server asks, as questions, and what is said to it, as values."""

import contextlib
from typing import Any

import pytest

from durable_responses.mcp_tools.elicitation import NotAnAnswer, Question, misfit, questions_of, response_of, value_of

FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "description": "Yours"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "sure": {"type": "boolean", "default": True},
        "color": {"type": "string", "enum": ["red", "green"]},
        "size": {"type": "string", "oneOf": [{"const": "S", "title": "small"}, {"const": "L", "title": "large"}]},
        "level": {"enum": [1, 2], "enumNames": ["low", "high"]},
        "days": {"type": "array", "items": {"type": "string", "enum": ["Mon", "Tue"]}},
    },
    "required": ["name"],
}


def test_each_field_of_a_form_is_a_question() -> None:
    name, count, _, sure, color, size, level, days = questions_of("desk", "Who?", FORM)
    assert name == Question("name", "The MCP server desk asks: Who?\nName: Yours. Answer, or decline.", ("decline",))
    assert count.text.endswith("\ncount (a whole number). Answer, or skip or decline.")
    assert sure.choices == ("yes", "no", "skip", "decline")
    assert "Default: True." in sure.text
    assert color.choices[:2] == ("red", "green")
    assert size.choices[:2] == ("S", "L")
    assert "size (S: small; L: large)" in size.text
    assert (level.choices[:2], "(1: low; 2: high)" in level.text) == (("1", "2"), True)
    assert days.choices[:2] == ("Mon", "Tue")


@pytest.mark.parametrize(("schema", "url"), [({}, None), (FORM, "https://h/login"), ({"properties": []}, None)])
def test_where_nothing_is_to_be_filled_in_consent_is_asked_for(schema: dict[str, Any], url: str | None) -> None:
    [question] = questions_of("desk", "May I?", schema, url)
    assert (question.field, question.choices) == (None, ("accept", "decline"))
    assert url is None or url in question.text


@pytest.mark.parametrize(
    ("field", "answer", "value"),
    [
        ("name", " Ada ", "Ada"),
        ("name", "skip", "skip"),
        ("count", "7", 7),
        ("count", "Skip", None),
        ("share", "0.5", 0.5),
        ("sure", "Yes", True),
        ("sure", "n", False),
        ("color", "RED", "red"),
        ("size", "l", "L"),
        ("size", "Large", "L"),
        ("level", "2", 2),
        ("level", "low", 1),
        ("days", "mon, Tue", ["Mon", "Tue"]),
    ],
)
def test_what_is_said_becomes_a_value(field: str, answer: str, value: Any) -> None:
    assert value_of(answer, FORM, field) == value


@pytest.mark.parametrize(
    ("field", "answer", "wanted"),
    [
        ("count", "7.5", "a whole number is wanted"),
        ("share", "half", "a number is wanted"),
        ("share", "nan", "a number is wanted"),
        ("share", "1e999", "a number is wanted"),
        ("sure", "perhaps", "yes or no is wanted"),
        ("color", "blue", "one of red, green is wanted"),
        ("days", "Mon, Sun", "one of Mon, Tue is wanted"),
    ],
)
def test_what_is_no_value_is_asked_for_again(field: str, answer: str, wanted: str) -> None:
    with pytest.raises(NotAnAnswer, match=f"^{wanted}$"):
        value_of(answer, FORM, field)


@pytest.mark.parametrize(
    ("part", "answer", "wanted"),
    [
        ({"type": "string", "format": "email"}, "ada", "an email address is wanted"),
        ({"type": "string", "format": "email"}, "ada@example.org", None),
        ({"type": "string", "format": "uri"}, "example", "an address such as https://host/ is wanted"),
        ({"type": "string", "format": "uri"}, "mailto:ada@example.org", None),
        ({"type": "string", "format": "date"}, "29.11.2026", "a date such as 2026-11-29 is wanted"),
        ({"type": "string", "format": "date"}, "2026-02-30", "a date such as 2026-11-29 is wanted"),
        ({"type": "string", "format": "date"}, "2026-02-28", None),
        ({"type": "string", "format": "date-time"}, "2026-02-28", "a time such as 2026-11-29T12:00:00Z is wanted"),
        ({"type": "string", "format": "date-time"}, "2026-02-28T10:00:00Z", None),
        ({"type": "string", "format": "color"}, "red", None),
        ({"type": "string", "minLength": 3}, "ab", "3 characters at least are wanted"),
        ({"type": "string", "maxLength": 3}, "abcd", "3 characters at most are wanted"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "0", "1 or more is wanted"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "10", "9 or less is wanted"),
        ({"type": "number", "maximum": 0.5}, "0.5", None),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "a", "2 at least are wanted"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, "a, b", "1 at most are wanted"),
        ({"type": "boolean", "minimum": 5}, "yes", None),
    ],
)
def test_an_answer_keeps_to_the_limits_of_its_field(part: dict[str, Any], answer: str, wanted: str | None) -> None:
    """Else the call fails, and one that must not run twice is lost for a slip."""
    schema = {"properties": {"a": part}, "required": ["a"]}
    assert misfit(value_of(answer, schema, "a"), schema, "a") == wanted


def test_an_answer_has_the_form_of_the_protocol() -> None:
    assert response_of({"a": 1, "b": None}) == {"action": "accept", "content": {"a": 1}}
    assert response_of({}, asks_for_values=False) == {"action": "accept"}
    assert response_of({"a": 1}, declined=True) == {"action": "decline"}
    assert response_of(None) == {"action": "cancel"}


NONSENSE: list[Any] = [None, 5, "x", True, [], [5], {}, {"a": 1}, [[1]], [{"const": [1]}], 10**400]


@pytest.mark.parametrize(
    "keyword",
    [
        "type",
        "enum",
        "oneOf",
        "anyOf",
        "items",
        "title",
        "description",
        "default",
        "enumNames",
        "format",
        "minimum",
        "maxLength",
        "minItems",
    ],
)
def test_whatever_a_stranger_puts_into_a_schema_can_be_asked(keyword: str) -> None:
    """An exception here would hold up the run for ever."""
    for nonsense in NONSENSE:
        schemas = [
            {"properties": {"a": {keyword: nonsense}}, "required": nonsense},
            {"properties": {"a": {"type": "array", "items": {keyword: nonsense}}}},
            {"properties": nonsense, "required": ["a"]},
        ]
        for schema in schemas:
            for question in questions_of("desk", "Who?", schema):
                assert "Who?" in question.text
                if question.field is not None:
                    with contextlib.suppress(NotAnAnswer):
                        misfit(value_of("5, x", schema, question.field), schema, question.field)
                    with contextlib.suppress(NotAnAnswer):
                        misfit(value_of("5", schema, question.field), schema, question.field)
