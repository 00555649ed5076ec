"""Values for JSON schemas: whatever is made for a schema satisfies it."""

import json
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import jsonschema  # type: ignore[import-untyped]  # has no types; comes with the MCP SDK
import pytest
from pydantic import BaseModel, Field

from durable_responses.emulator.objects.json_values import arguments_for, value_for
from durable_responses.emulator.objects.pattern_text import text_matching
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
        _strict(code={"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"}),
        _strict(file={"type": "string", "pattern": "\\.(py|js)$"}),
        _strict(word={"type": "string", "pattern": "^[^aeiou\\s]+$", "minLength": 9}),
        _strict(not_admin={"pattern": "^(?!admin).+$"}),
        _strict(letters={"type": "array", "items": {"pattern": "^[a-z]$"}, "minItems": 3, "uniqueItems": True}),
        _strict(switches={"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True}),
        _strict(steps={"type": "array", "items": STEP, "minItems": 2, "uniqueItems": True}),
        _strict(some={"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}}),
        _strict(example={"type": "string", "pattern": "^x\\d$", "examples": ["no", "x1"]}),
        _strict(wrong={"type": "integer", "default": "x"}, beyond={"type": "integer", "default": 0, "minimum": 1}),
        _strict(never={"type": "string", "default": None}, one={"type": "integer", "enum": ["x", 3]}),
        _strict(other={"type": "integer", "not": {"enum": [1, 2]}}),
        _strict(**{form: {"type": "string", "format": form} for form in ("uri", "regex", "json-pointer")}),
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"type": "object", "properties": {"a": TEXT, "b": False}},
        {"oneOf": [_strict(kind={"const": "a"}, x=TEXT), _strict(kind={"const": "b"}, y=TEXT)]},
        {
            "type": "object",
            "properties": {"kind": {"enum": ["x", "y"]}, "more": TEXT},
            "required": ["kind"],
            "if": {"properties": {"kind": {"const": "x"}}},
            "then": {"required": ["more"]},
        },
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a"], "dependentRequired": {"a": ["b"]}},
        {"type": "object", "properties": {"a": TEXT, "b": TEXT, "c": TEXT}, "maxProperties": 1},
        {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False, "minProperties": 1},
        {"type": "object", "propertyNames": {"pattern": "^[a-z]$"}, "minProperties": 2},
        {"$id": "https://x/y", **_strict(a={"$ref": "https://x/y#/$defs/n"}), "$defs": {"n": {"type": "integer"}}},
        {**_strict(a={"$ref": "#n"}), "$defs": {"m": {"$anchor": "n", "type": "integer"}}},
        {**_strict(b={"$ref": "#/$defs/x%20y"}), "$defs": {"x y": {"const": 5}}},
    ],
)  # fmt: skip
def test_a_value_is_valid_by_the_reference_implementation(schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(value_for(schema, {}))


ODD: list[Any] = [
    {"$ref": "#"},
    {"$ref": "#/$defs/a", "$defs": {"a": _strict(a={"$ref": "#/$defs/a"})}},
    {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    _strict(a={"$ref": "#/$defs/none"}, b={"$ref": "https://example.com/remote.json"}),
    _strict(a={"type": "str"}, b={"type": "string", "pattern": "("}, c={"minLength": "3"}, d={"enum": []}),
    _strict(a={"type": "array", "items": [TEXT, {"type": "integer"}]}, b={"multipleOf": 0, "type": "integer"}),
    _strict(a={"type": "array", "items": {"type": "array", "items": TEXT, "minItems": 9**9}, "minItems": 9**9}),
    _strict(a={"type": "string", "minLength": 9**9}, b={"type": "string", "pattern": "a{9999}(b{9999}){999}"}),
    {"type": "object", "properties": [], "required": "a"},
    {"type": ["object"], "anyOf": "x", "allOf": {}, "enum": "abc"},
    [],
    None,
    True,
    "object",
]


@pytest.mark.parametrize("schema", ODD, ids=range(len(ODD)))
def test_what_is_no_schema_or_cannot_be_satisfied_gets_arguments_all_the_same(schema: Any) -> None:
    """They are small enough to be sent."""
    assert len(json.dumps(arguments_for(schema, {}))) < 2_000_000


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}, {"properties": {}}, {"type": "string"}, {"const": 5}])
def test_arguments_are_an_object_whatever_the_parameters_are(schema: Any) -> None:
    assert arguments_for(schema, {}) == {}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^[A-Z]{3}-\\d{4}$", "AAA-1111"),
        ("^(foo|bar)\\.(?:py|js)$", "foo.py"),
        ("^#[0-9a-f]{6}$", "#aaaaaa"),
        ("^(?<year>\\d{4})-\\d\\d$", "1111-11"),
        ("^(a|b)\\1$", "aa"),
        ("^\\p{Lu}\\p{L}*$", "A"),
        ("", ""),
    ],
)
def test_a_text_is_made_for_a_pattern(pattern: str, text: str) -> None:
    assert text_matching(pattern) == text


def test_other_variants_of_a_text_differ() -> None:
    assert len({text_matching("^[a-z]{2}$", variant=number) for number in range(20)}) == 20


@pytest.mark.parametrize("pattern", ["(", "^a$b", "^[^\\s\\S]$"])
def test_a_pattern_that_nothing_matches_has_no_text(pattern: str) -> None:
    assert text_matching(pattern) is None
