"""Schemas of strangers, as the API takes them."""

from typing import Any

import pytest

from durable_responses.mcp_tools.schemas import LARGEST_SCHEMA, NotOffered, for_server, hash_of, offer_of

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
        {"type": "array", "items": [TEXT, TEXT]},
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
        ({"type": "object", "properties": []}, "properties is not an object"),
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
