"""Schemas of tools from MCP servers as the API takes them: strict where that can be, else as they are. No I/O.

A strict schema has no optional properties, so the model says null for what it leaves out: `for_server` takes that out
again. Schemas that say more than such a translation can keep are given to the API as they are, which is not strict.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic_core import to_json

from durable_responses.json_text import UnusableValue, checked, json_bytes
from durable_responses.tools.strict_schema import SUPPORTED_KEYWORDS, UnsupportedSchemaError, strict_schema

Schema = dict[str, Any]

LARGEST_SCHEMA = 64 * 1024  # bytes of JSON
_HASH = 12
_NOT_AT_THE_TOP = ("anyOf", "oneOf", "allOf", "not", "enum")
_TRANSLATED = SUPPORTED_KEYWORDS | {"title", "default", "$schema", "minLength", "maxLength", "examples"}
_DEEPEST_STRICT, _MOST_STRICT = 10, 1000  # levels, properties
_MOST_REFERENCES = 100


class NotOffered(Exception):
    """A tool that cannot be offered; the text says why, in half a sentence."""


class Offer(NamedTuple):
    """The parameters of a tool as a create has them."""

    parameters: Schema
    strict: bool


def offer_of(schema: Schema) -> Offer:
    """A tool's input schema as the API takes it. Raises `NotOffered`."""
    try:
        schema = checked(schema)
    except UnusableValue as error:
        raise NotOffered(f"its schema cannot be passed on: {error}") from None
    if (size := json_bytes(schema)) > LARGEST_SCHEMA:
        raise NotOffered(f"its schema has {size:,} bytes, more than {LARGEST_SCHEMA:,}")
    if schema.get("type", "object") != "object":
        raise NotOffered("its arguments are not an object")
    if (keyword := next((each for each in _NOT_AT_THE_TOP if each in schema), None)) is not None:
        raise NotOffered(f"its schema has {keyword} at the top, which the API does not take")
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise NotOffered(f"its schema refers to {reference[:100]!r}, outside of itself")
    plain = {"type": "object", "properties": {}, **{name: part for name, part in schema.items() if name != "$schema"}}
    if not isinstance(plain["properties"], dict):
        raise NotOffered("its schema is not valid: properties is not an object")
    try:
        if _can_be_strict(plain):
            return Offer(strict_schema(plain), strict=True)
    except UnsupportedSchemaError:
        pass
    return Offer(plain, strict=False)


def hash_of(*parts: Any) -> str:
    """A short hash over all that a tool is known by: whoever changes any of it has made another tool of it."""
    return hashlib.sha256(to_json(_sorted(parts))).hexdigest()[:_HASH]


def for_server(arguments: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Arguments that follow the strict form of a schema, as the schema itself has them: null where it is meant."""
    value = _without_nulls(arguments, schema, schema)
    return value if isinstance(value, dict) else arguments


# --- strict or not -----------------------------------------------------------------------------------------------


def _can_be_strict(schema: Schema) -> bool:
    found = list(_parts(schema, 0))
    properties = sum(len(part.get("properties") or {}) for part, _ in found)
    return properties <= _MOST_STRICT and all(
        depth <= _DEEPEST_STRICT and _is_translated(part, schema, is_top=part is schema) for part, depth in found
    )


def _parts(schema: Any, depth: int) -> Iterator[tuple[Schema, int]]:
    """A schema and those inside of it, each with its depth. What is not a schema is told as one that nothing takes."""
    if not isinstance(schema, dict):
        yield {"not": schema}, depth
        return
    yield schema, depth
    for name in ("properties", "$defs"):
        for part in (schema.get(name) or {}).values():
            yield from _parts(part, depth + 1)
    if "items" in schema:
        yield from _parts(schema["items"], depth + 1)
    for option in schema.get("anyOf") or ():
        yield from _parts(option, depth + 1)


def _is_translated(part: Schema, whole: Schema, *, is_top: bool) -> bool:
    """Whether the strict form of this part means the same."""
    if not part.keys() <= _TRANSLATED or not isinstance(part.get("type", ""), str):
        return False
    if any(not isinstance(part.get(name, {}), dict) for name in ("properties", "$defs")):
        return False
    if part.get("type") == "object":
        is_open = "properties" not in part and part.get("additionalProperties") is not False
        if part.get("additionalProperties") or (is_open and not is_top):
            return False
    elif "properties" in part:
        return False
    if "$ref" in part and not _is_known(part["$ref"], whole):
        return False
    return all(_is_plain_option(option) for option in part.get("anyOf") or ())


def _is_known(reference: Any, whole: Schema) -> bool:
    return isinstance(reference, str) and reference.removeprefix("#/$defs/") in (whole.get("$defs") or {})


def _is_plain_option(option: Any) -> bool:
    """Whether nulls in it are meant, whichever of the options it is that the arguments follow."""
    if not isinstance(option, dict) or "$ref" in option or "anyOf" in option:
        return False
    return set(option.get("properties") or {}) <= set(option.get("required") or ()) and "items" not in option


def _references(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                yield reference
            left += part.values()
        elif isinstance(part, list):
            left += part


# --- arguments -----------------------------------------------------------------------------------------------------


def _without_nulls(value: Any, schema: Any, whole: Schema) -> Any:
    schema = _followed(schema, whole)
    if isinstance(value, list):
        return [_without_nulls(part, schema.get("items", {}), whole) for part in value]
    if not isinstance(value, dict):
        return value
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    return {
        name: _without_nulls(part, properties.get(name, {}), whole)
        for name, part in value.items()
        if part is not None or name in required or name not in properties or _takes_null(properties[name], whole)
    }


def _followed(schema: Any, whole: Schema) -> Schema:
    for _ in range(_MOST_REFERENCES):
        if not isinstance(schema, dict) or "$ref" not in schema:
            break
        schema = (whole.get("$defs") or {}).get(str(schema["$ref"]).removeprefix("#/$defs/"), {})
    return schema if isinstance(schema, dict) else {}


def _takes_null(schema: Any, whole: Schema) -> bool:
    schema = _followed(schema, whole)
    if "enum" in schema:
        return None in schema["enum"]
    if "anyOf" in schema:
        return any(_takes_null(option, whole) for option in schema["anyOf"])
    if "const" in schema:
        return schema["const"] is None
    return schema.get("type") in (None, "null")


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(part) for part in value] if isinstance(value, list | tuple) else value
