"""Values for JSON schemas: whatever is made for a schema satisfies it."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import jsonschema  # type: ignore[import-untyped]  # has no types; comes with the MCP SDK
import pytest
from pydantic import BaseModel, Field

from durable_responses.emulator.objects.json_values import value_for
from durable_responses.tools.strict_schema import strict_schema


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    day: date
    weight: Annotated[float, Field(gt=0.5, lt=2)]


class Tree(BaseModel):
    name: Annotated[str, Field(min_length=20, max_length=30)]
    colour: Colour
    kind: Literal["oak"]
    age: Annotated[int, Field(ge=10, multiple_of=4)]
    leaves: Annotated[list[Leaf], Field(min_length=2)]
    tall: bool
    planted_by: str | None
    parent: "Tree | None"


def test_a_value_satisfies_the_schema_it_was_made_for() -> None:
    Tree.model_validate(value_for(Tree.model_json_schema(), {}))


def test_a_value_satisfies_a_strict_schema() -> None:
    class Arguments(BaseModel):
        path: str
        lines: int = 100
        colour: Colour = Colour.RED

    schema = strict_schema(Arguments.model_json_schema())
    assert set(value_for(schema, {})) == set(schema["required"])


def test_a_hint_is_used_for_the_property_of_its_name() -> None:
    schema = {"type": "object", "properties": {"path": {"type": "string"}, "count": {"type": "integer"}}}
    assert value_for(schema, {"path": "a.md"})["path"] == "a.md"


def test_a_hint_of_the_wrong_type_is_not_used() -> None:
    schema = {"type": "object", "properties": {"path": {"type": "integer", "minimum": 3}}}
    assert value_for(schema, {"path": "a.md"}) == {"path": 3}


def test_a_nullable_property_takes_its_hint() -> None:
    schema = {"type": "object", "properties": {"path": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    assert value_for(schema, {"path": "a.md"}) == {"path": "a.md"}


def test_plain_values() -> None:
    cases: list[tuple[dict[str, Any], object]] = [
        ({"const": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "string", "default": "x"}, "x"),
        ({"type": ["string", "null"]}, None),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMinimum": 4}, 5),
        ({"type": "number", "exclusiveMaximum": 0, "multipleOf": 0.5}, -0.5),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 0}, []),
        ({"allOf": [{"type": "integer"}, {"minimum": 2}]}, 2),
    ]
    assert [(schema, value_for(schema, {})) for schema, _ in cases] == cases


TEXT = {"type": "string"}
STEP = {"type": "object", "properties": {"say": TEXT}, "required": ["say"], "additionalProperties": False}


NODE = {
    "type": "object",
    "properties": {"next": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
    "required": ["next"],
    "additionalProperties": False,
}


def _strict(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        _strict(a=TEXT, b={"type": "integer"}, c={"type": "number"}, d={"type": "boolean"}, e={"type": "null"}),
        _strict(colour={"type": "string", "enum": ["red", "blue"]}, size={"enum": [3, "large", None]}),
        _strict(outer=_strict(middle=_strict(inner=TEXT))),
        _strict(steps={"type": "array", "items": STEP, "minItems": 3, "maxItems": 5}),
        _strict(pair={"type": "array", "prefixItems": [TEXT, {"type": "integer"}], "items": False, "minItems": 2}),
        _strict(few={"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 2, "uniqueItems": True}),
        _strict(ids={"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}),
        _strict(note={"anyOf": [TEXT, {"type": "null"}]}, either={"anyOf": [STEP, {"type": "integer", "minimum": 4}]}),
        _strict(kind={"const": "oak"}, height={"type": ["integer", "null"]}, text={"type": ["string", "integer"]}),
        _strict(**{form: {"type": "string", "format": form} for form in ("date", "date-time", "time", "duration")}),
        _strict(**{form: {"type": "string", "format": form} for form in ("email", "hostname", "ipv4", "ipv6", "uuid")}),
        _strict(low={"type": "number", "minimum": 0.2, "maximum": 0.4}, high={"type": "number", "maximum": -1.5}),
        _strict(open={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, one={"type": "integer"}),
        _strict(page={"type": "integer", "minimum": 1, "exclusiveMinimum": 1, "multipleOf": 5}),
        _strict(whole={"type": "integer", "minimum": 0.5}, short={"type": "string", "minLength": 9, "maxLength": 12}),
        {**_strict(leaf={"$ref": "#/$defs/leaf"}), "$defs": {"leaf": STEP}},
        {**_strict(leaf={"$ref": "#/definitions/leaf", "description": "One."}), "definitions": {"leaf": STEP}},
        {**_strict(value=TEXT, children={"type": "array", "items": {"$ref": "#"}})},
        {**_strict(value=TEXT, next={"anyOf": [{"$ref": "#"}, {"type": "null"}]})},
        {**_strict(head={"$ref": "#/$defs/node"}), "$defs": {"node": NODE}},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
        {"type": "object", "required": ["unlisted"]},
        {"allOf": [_strict(a=TEXT) | {"additionalProperties": True}, {"properties": {"b": TEXT}, "required": ["b"]}]},
        {"type": "object", "properties": {"anything": True}, "required": ["anything"]},
        {},
    ],
)  # fmt: skip
def test_a_value_is_valid_by_the_reference_implementation(schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(value_for(schema, {}))
