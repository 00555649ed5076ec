"""The rules of strict function calling, by tables. The subset is that of OpenAI's guide to structured outputs."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from durable_responses.tools.strict_schema import UnsupportedSchemaError, strict_schema


class Leaf(BaseModel):
    name: str
    weight: float = 1.5


class Tree(BaseModel):
    leaf: Leaf
    children: list["Tree"] = []


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


def strict(kind: Any) -> dict[str, Any]:
    return strict_schema(TypeAdapter(kind).json_schema())


def test_an_object_is_closed_and_requires_everything() -> None:
    schema = strict(Leaf)

    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name", "weight"]


def test_an_optional_property_is_nullable_and_tells_its_default() -> None:
    assert strict(Leaf)["properties"]["weight"] == {
        "anyOf": [{"type": "number"}, {"type": "null"}],
        "description": "(null means 1.5)",
    }


def test_the_rules_reach_into_definitions() -> None:
    definitions = strict(Tree)["$defs"]

    assert definitions["Leaf"]["required"] == ["name", "weight"]
    assert definitions["Tree"]["required"] == ["leaf", "children"]


def test_an_optional_property_that_takes_null_stays_as_it_is() -> None:
    class Model(BaseModel):
        value: int | None = None

    assert strict(Model)["properties"]["value"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_a_reference_stands_alone() -> None:
    class Model(BaseModel):
        leaf: Annotated[Leaf, Field(description="The leaf.")]

    assert strict(Model)["properties"]["leaf"] == {
        "anyOf": [{"$ref": "#/$defs/Leaf"}],
        "description": "The leaf.",
    }


def test_a_discriminated_union_becomes_any_of() -> None:
    union = strict(Annotated[Cat | Dog, Field(discriminator="kind")])

    assert union["anyOf"] == [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    assert union.keys() == {"anyOf", "$defs"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Annotated[int, Field(ge=1, le=9)], {"type": "integer", "minimum": 1, "maximum": 9}),
        (Annotated[str, Field(pattern="^a")], {"type": "string", "pattern": "^a"}),
        (Annotated[str, Field(min_length=3)], {"type": "string", "description": "(minLength: 3)"}),
        (
            Annotated[str, Field(max_length=3, description="A word.")],
            {"type": "string", "description": "A word. (maxLength: 3)"},
        ),
        (set[int], {"type": "array", "items": {"type": "integer"}, "description": "(uniqueItems: True)"}),
        (Annotated[int, Field(title="T", examples=[1])], {"type": "integer"}),
    ],
)
def test_keywords_outside_the_subset_move_into_the_description(kind: Any, expected: dict[str, Any]) -> None:
    assert strict(kind) == expected


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (dict[str, int], "arbitrary keys"),
        (tuple[int, str], "tuple"),
        (Any, "accepts anything"),
        (list[Any], "accepts anything|list of anything"),
        (list, "list of anything"),
    ],
)
def test_what_strict_mode_cannot_express_is_refused_by_its_path(kind: Any, reason: str) -> None:
    class Inner(BaseModel):
        field: kind

    class Model(BaseModel):
        inner: list[Inner]

    with pytest.raises(UnsupportedSchemaError, match=reason) as caught:
        strict(Model)
    assert caught.value.where.startswith("Inner.field")
