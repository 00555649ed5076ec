"""What can be asked for as a structured answer."""

from typing import Any

import pytest

from durable_responses.workflows.contract import AgentInput
from durable_responses.workflows.rules import out_of_bounds
from durable_responses.workflows.text_formats import problem_of

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
