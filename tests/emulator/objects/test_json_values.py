"""Values for JSON schemas: whatever is made for a schema satisfies it."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

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
