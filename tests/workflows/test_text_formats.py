"""What can be asked for as a structured answer."""

from dataclasses import dataclass
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no types; comes with the MCP SDK
import pytest
from pydantic import BaseModel, ValidationError

from durable_responses.workflows.contract import AgentInput
from durable_responses.workflows.rules import out_of_bounds
from durable_responses.workflows.text_formats import answer_of, problem_of, text_format_of

ANSWER = {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}, "required": ["n"]}


@pytest.mark.parametrize(
    "text_format",
    [
        {},
        ANSWER,
        {"type": "json_object"},
        {"type": "text"},
        {"type": "json_schema", "name": "answer-1", "schema": ANSWER, "strict": True},
        {"$ref": "#/$defs/a", "$defs": {"a": ANSWER}},
        {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#/properties/a"}}},
        {"type": "object", "properties": {"schema": {"type": "object"}, "format": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/x%20y~1z"}}, "$defs": {"x y/z": True}},
        {"type": "object", "properties": {"a": {"default": {"$ref": "#/nowhere"}}}},
        {"anyOf": [ANSWER, {"type": "object", "additionalProperties": False}]},
        {"type": "object", "properties": {"type": {"enum": [1, "a"]}, "list": {"type": "array", "items": {}}}},
    ],
)
def test_formats_and_schemas_are_taken(text_format: dict[str, Any]) -> None:
    assert problem_of(text_format) is None


@pytest.mark.parametrize(
    ("text_format", "problem"),
    [
        ({"type": "string"}, "type: an answer is an object"),
        ({"name": "answer"}, "type: an answer is an object"),
        ({"name": "answer", "schema": ANSWER, "strict": True}, "type: 'json_schema' is missing beside the schema"),
        ({"format": {"type": "json_object"}}, "format: give what is in it"),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": ANSWER}},
            "json_schema: name, schema and strict",
        ),
        ({"type": "json_schema", "name": "a", "schema": ANSWER, "strict": "yes"}, "strict: must be true or false"),
        ({"type": "json_schema", "name": "a", "schema": ANSWER, "description": 5}, "description: must be text"),
        ({"type": "json_schema", "name": "a", "schema": ANSWER, "stric": True}, "stric: there is no such field"),
        ({"type": "json_schema", "name": "a" * 65, "schema": ANSWER}, "name: 1 to 64 of the characters"),
        ({"type": "json_object", "schema": ANSWER}, "schema: does not go with type 'json_object'"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}},
            "properties.a.$ref: there is nothing at '#/$defs/b'",
        ),
        ({"type": "json_schema", "schema": ANSWER}, "name: 1 to 64 of the characters"),
        ({"type": "json_schema", "name": "an answer", "schema": ANSWER}, "name: 1 to 64 of the characters"),
        ({"type": "json_schema", "name": "answer"}, "schema: a JSON schema is missing"),
        ({"type": "json_schema", "name": "answer", "schema": {"type": "array"}}, "schema.type: an answer is an object"),
        ({"type": "object", "properties": ["a"]}, "properties: not an object of schemas"),
        ({"type": "object", "properties": {"a": "string"}}, "properties.a: not a JSON schema"),
        ({"type": "object", "properties": {"a": {"type": "str"}}}, "properties.a.type: 'str' is not a type of JSON"),
        ({"type": "object", "properties": {"a": {"items": 5}}}, "properties.a.items: not a JSON schema"),
        ({"type": "object", "required": "a"}, "required: not a list of names"),
        ({"type": "object", "properties": {"a": {"enum": []}}}, "properties.a.enum: not a list of values"),
        ({"type": "object", "properties": {"a": {"anyOf": {}}}}, "properties.a.anyOf: not a list of schemas"),
    ],
)
def test_what_nobody_can_answer_in_is_refused_by_its_place(text_format: dict[str, Any], problem: str) -> None:
    assert (problem_of(text_format) or "").startswith(problem)
    [told] = out_of_bounds(AgentInput(task="t", text_format=text_format))
    assert told.startswith(f"text_format.{problem}")


def test_names_that_no_file_system_takes_are_refused_by_field() -> None:
    request = AgentInput.model_validate({"task": "t", "save": {"folder": f"a/{'x' * 256}", "filename": "ü" * 128}})
    assert [problem.partition(":")[0] for problem in out_of_bounds(request)] == ["save.folder", "save.filename"]


class Point(BaseModel):
    """A point that is open."""

    owner: str
    days: int = 3
    note: str | None = None


class Tree(BaseModel):
    name: str
    parent: "Tree | None" = None


class Counts(BaseModel):
    by_word: dict[str, int]


@dataclass
class Pair:
    left: int
    right: int


@pytest.mark.parametrize("kind", [Point, Tree, Pair])
def test_a_type_is_asked_for_by_a_strict_format_of_its_name(kind: type[Any]) -> None:
    made = text_format_of(kind)
    assert (made["type"], made["name"], made["strict"]) == ("json_schema", kind.__name__, True)
    assert made["schema"]["type"] == "object"
    assert made["schema"]["required"] == list(made["schema"]["properties"])
    jsonschema.Draft202012Validator.check_schema(made["schema"])
    assert problem_of(made) is None


def test_a_type_that_strict_mode_cannot_express_is_asked_for_without_it() -> None:
    made = text_format_of(Counts)
    assert made["strict"] is False
    assert made["schema"]["properties"]["by_word"]["additionalProperties"] == {"type": "integer"}


def test_a_name_that_the_api_does_not_take_is_made_one() -> None:
    class Page(BaseModel):
        model_config = {"title": "Page"}
        number: int

    Page.__name__ = "Page[int]"
    assert text_format_of(Page)["name"] == "Page_int"


@pytest.mark.parametrize("kind", [list[Point], Point | Pair, int])
def test_a_type_whose_values_are_not_objects_is_refused(kind: type[Any]) -> None:
    with pytest.raises(ValueError, match="make it a field of a model"):
        text_format_of(kind)


def test_a_type_without_a_schema_is_refused() -> None:
    class Odd:
        pass

    with pytest.raises(ValueError, match="Odd has no JSON schema"):
        text_format_of(Odd)


def test_an_answer_becomes_a_value_of_its_type() -> None:
    assert answer_of(Point, {"owner": "Imke", "days": 1, "note": None}) == Point(owner="Imke", days=1)
    assert answer_of(Pair, {"left": 1, "right": 2}) == Pair(1, 2)


def test_a_null_in_an_answer_stands_for_a_default() -> None:
    assert answer_of(Point, {"owner": "Imke", "days": None, "note": None}) == Point(owner="Imke", days=3)


def test_an_answer_that_does_not_fit_is_told() -> None:
    with pytest.raises(ValidationError):
        answer_of(Point, {"owner": None, "days": 1, "note": None})
