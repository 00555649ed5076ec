"""Schemas of strangers, as the API takes them."""

import re
from typing import Any

import pytest
from hypothesis import given, settings

from durable_responses.emulator.objects.schema_checks import SchemaRules
from durable_responses.mcp_tools.schemas import LARGEST_SCHEMA, NotOffered, for_server, hash_of, offer_of
from tests.support.outside_data import mutated

TEXT = {"type": "string"}
OPTIONAL = {"anyOf": [TEXT, {"type": "null"}]}


def an_object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object"}, {"type": "object", "properties": {}, "required": [], "additionalProperties": False}),
        ({}, {"type": "object", "properties": {}, "required": [], "additionalProperties": False}),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", **an_object("a", a=TEXT)},
            {**an_object("a", a=TEXT), "additionalProperties": False},
        ),
        (an_object(a=TEXT), {**an_object("a", a=OPTIONAL), "additionalProperties": False}),
        (
            an_object("a", a={"type": "array", "items": an_object("b", b={"type": "integer", "title": "B"})}),
            {
                **an_object(
                    "a",
                    a={
                        "type": "array",
                        "items": {**an_object("b", b={"type": "integer"}), "additionalProperties": False},
                    },
                ),
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_schema_is_made_strict(schema: dict[str, Any], strict: dict[str, Any]) -> None:
    offer = offer_of(schema)
    assert (offer.strict, offer.parameters) == (True, strict)


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "additionalProperties": TEXT},
        {"type": ["string", "null"]},
        {"allOf": [TEXT]},
        {"oneOf": [TEXT, {"type": "integer"}]},
        {"type": "string", "x-of-theirs": 1},
        {"type": "array"},
        {"anyOf": [an_object(a=TEXT), TEXT]},
        {"$ref": "#/properties/b"},
        {"type": "object", "patternProperties": {"^a": TEXT}},
        {"type": "string", "not": {"const": "x"}},
        True,
    ],
)
def test_a_schema_that_has_no_strict_form_stays_as_it_is(part: Any) -> None:
    schema = an_object("a", a=part)
    offer = offer_of({"$schema": "x", **schema})
    assert (offer.strict, offer.parameters) == (False, schema)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array"}, "its arguments are not an object"),
        ({"anyOf": [{"type": "object"}]}, "its schema has anyOf at the top"),
        (an_object(a={"$ref": "https://h/schema.json"}), "refers to 'https://h/schema.json', outside of itself"),
        (an_object(a={"description": "x" * LARGEST_SCHEMA}), "its schema has 65,6"),
        ({"type": "object", "properties": []}, "properties: must be an object"),
    ],
)
def test_a_schema_that_the_api_does_not_take_is_left_out_with_a_reason(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(NotOffered) as refused:
        offer_of(schema)
    assert why in str(refused.value)


def test_a_schema_that_is_nested_without_end_is_left_out() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(NotOffered, match="nested more than 100 levels deep"):
        offer_of(an_object(a=schema))


def test_a_schema_that_refers_to_itself_is_made_strict() -> None:
    node = an_object("value", value=TEXT, next={"$ref": "#/$defs/Node"})
    schema = {**an_object("node", node={"$ref": "#/$defs/Node"}), "$defs": {"Node": node}}
    assert offer_of(schema).strict
    given = {"node": {"value": "a", "next": {"value": "b", "next": None}}}
    assert for_server(given, schema) == {"node": {"value": "a", "next": {"value": "b"}}}


@pytest.mark.parametrize(
    ("schema", "given", "sent"),
    [
        (an_object(a=TEXT), {"a": None}, {}),
        (an_object("a", a=TEXT), {"a": None}, {"a": None}),
        (an_object(a=OPTIONAL), {"a": None}, {"a": None}),
        (an_object(a={"enum": [None, 1]}), {"a": None}, {"a": None}),
        (an_object(a={"enum": [1]}), {"a": None}, {}),
        (an_object(a={"const": 1}), {"a": None}, {}),
        (an_object(a={"type": "array", "items": an_object(b=TEXT)}), {"a": [{"b": None}]}, {"a": [{}]}),
        (an_object(a=TEXT), {"b": None}, {"b": None}),
    ],
)
def test_null_is_left_out_where_it_stands_for_nothing(
    schema: dict[str, Any], given: dict[str, Any], sent: dict[str, Any]
) -> None:
    """In a strict schema there is no other way to leave something out."""
    assert for_server(given, schema) == sent


def test_a_hash_does_not_depend_on_the_order_in_which_something_is_said() -> None:
    assert hash_of("a", {"b": 1, "c": [{"d": 1, "e": 2}]}) == hash_of("a", {"c": [{"e": 2, "d": 1}], "b": 1})
    assert hash_of("a", {"b": 1}) != hash_of("a", {"b": 2})
    assert len(hash_of()) == 12


# --- what the API would refuse, and a whole request with it ---------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ({"type": "text"}, "properties.a.type: must be one of object, array, "),
        ({"type": ["string", "nil"]}, "properties.a.type: must be one of"),
        ({"type": "array", "items": {"type": "str"}}, "properties.a.items.type: must be one of"),
        ({"enum": "x"}, "properties.a.enum: must be a list"),
        ({"type": "string", "required": True}, "properties.a.required: must be a list of different names"),
        ({"type": "integer", "minimum": "1"}, "properties.a.minimum: must be a number"),
        ({"type": "string", "minLength": -1}, "properties.a.minLength: must be a whole number"),
        ({"type": "string", "description": 5}, "properties.a.description: must be a text"),
        ({"anyOf": []}, "properties.a.anyOf: must be a list of schemas"),
        ({"anyOf": {"type": "string"}}, "properties.a.anyOf: must be a list of schemas"),
        ({"$ref": 5}, "properties.a.$ref: must be a text"),
        ({"type": "object", "properties": []}, "properties.a.properties: must be an object"),
        ({"type": "number", "multipleOf": 0}, "properties.a.multipleOf: must be a number above 0"),
        ({"not": "x"}, "properties.a.not: must be a schema"),
    ],
)
def test_a_schema_that_is_not_valid_is_not_offered(part: dict[str, Any], fault: str) -> None:
    with pytest.raises(NotOffered, match=f"^its schema is not valid: {re.escape(fault)}"):
        offer_of(an_object(a=part))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, {"type": "number", "exclusiveMinimum": 0}),
        ({"type": "number", "exclusiveMaximum": True, "maximum": 9}, {"type": "number", "exclusiveMaximum": 9}),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": False}, {"type": "number", "minimum": 0}),
        ({"type": "string", "description": None, "default": None}, {"type": "string", "default": None}),
    ],
)
def test_a_schema_of_an_older_draft_is_offered_as_of_today(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert offer_of(an_object("a", a=old)) == offer_of(an_object("a", a=new))


def test_a_list_with_a_schema_for_each_of_its_members_is_offered() -> None:
    offer = offer_of(an_object("a", a={"type": "array", "items": [TEXT, TEXT]}))
    assert offer.parameters["properties"]["a"] == {"type": "array", "prefixItems": [TEXT, TEXT]}


def test_more_values_than_strict_mode_takes_are_offered_as_they_are() -> None:
    assert not offer_of(an_object("a", a={"enum": [str(number) for number in range(1500)]})).strict


ODD = an_object(
    "a",
    a={"type": "string", "enum": ["x", None], "minLength": 1, "format": "uri", "description": "d", "default": "x"},
    b={"type": "array", "items": {"$ref": "#/$defs/N"}, "minItems": 1, "uniqueItems": True},
    c={"anyOf": [{"type": "integer", "minimum": 0, "exclusiveMaximum": True, "maximum": 9}, {"type": "null"}]},
    d={"oneOf": [TEXT], "not": {"const": 1}, "if": {}, "required": None, "type": ["object", "null"]},
) | {"$defs": {"N": an_object(n=TEXT, **{"$ref": {"type": "number", "multipleOf": 2}})}, "patternProperties": {"x": {}}}


@settings(max_examples=200, deadline=None)
@given(mutated(ODD))
def test_whatever_is_offered_the_api_takes(schema: Any) -> None:
    """Else one tool of a stranger would cost every request of a run."""
    try:
        offer = offer_of(schema if isinstance(schema, dict) else {})
    except NotOffered as refused:
        assert str(refused)
        return
    SchemaRules("it", "tools", "invalid_function_parameters", strict=offer.strict).check_root(offer.parameters)
