"""Schemas of tools from MCP servers as the API takes them: strict where that can be, else as they are. No I/O.

A strict schema has no optional properties, so the model says null for what it leaves out: `for_server` takes that out
again. Schemas that say more than such a translation can keep are given to the API as they are, which is not strict.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic_core import to_json

from durable_responses.json_text import UnusableValue, checked, json_bytes
from durable_responses.tools.strict_schema import SUPPORTED_KEYWORDS, UnsupportedSchemaError, strict_schema

Schema = dict[str, Any]

LARGEST_SCHEMA = 64 * 1024  # bytes of JSON
_HASH = 12
_NOT_AT_THE_TOP = ("anyOf", "oneOf", "allOf", "not", "enum")
_TRANSLATED = SUPPORTED_KEYWORDS | {"title", "default", "$schema", "minLength", "maxLength", "examples"}
_DEEPEST_STRICT, _MOST_STRICT = 10, 1000  # levels, properties and as many values of enums
_LONGEST_PLACE = 200  # characters
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
    schema = _as_of_today(schema)
    plain = {"type": "object", "properties": {}, **{name: part for name, part in schema.items() if name != "$schema"}}
    if (fault := next(_faults(plain, ()), None)) is not None:
        raise NotOffered(f"its schema is not valid: {fault}")
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


# --- valid or not: one tool whose schema the API refuses would cost the whole request ------------------------------


def _as_of_today(schema: Any) -> Any:
    """The same as the newest draft has it: tuples, bounds. Without keywords that are null, as programs leave out."""
    if isinstance(schema, list):
        return [_as_of_today(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for name, part in schema.items():
        if name in _VALUES:
            made[name] = part
        elif isinstance(part, dict | list) and name not in _KNOWN:
            continue  # of an extension: the API takes what is in there for schemas
        elif name in _NAMED and isinstance(part, dict):
            made[name] = {each: _as_of_today(inner) for each, inner in part.items()}
        elif name == "items" and isinstance(part, list) and part and "prefixItems" not in schema:
            made["prefixItems"] = _as_of_today(part)
        elif name in _BOUNDS and isinstance(part, bool):
            if part and (bound := schema.get(_BOUNDS[name])) is not None:
                made[name] = bound
        elif part is not None and not (name in _BOUNDS.values() and schema.get(_EXCLUSIVE[name]) is True):
            made[name] = _as_of_today(part)
    return made


def _faults(schema: Any, path: tuple[str, ...]) -> Iterator[str]:
    """What is not a schema by the rules of JSON Schema, each with its place."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{'.'.join(path)[:_LONGEST_PLACE]}: must be a schema"
        return
    for name, part in schema.items():
        here = (*path, name)
        if (rule := _RULES.get(name)) is not None and not rule.holds(part):
            yield f"{'.'.join(here)[:_LONGEST_PLACE]}: must be {rule.wanted}"
        elif name in _NAMED:
            for each, inner in part.items():
                yield from _faults(inner, (*here, each))
        elif name in _SEVERAL:
            for number, inner in enumerate(part):
                yield from _faults(inner, (*here, str(number)))
        elif name in _ONE:
            yield from _faults(part, here)


class _Rule(NamedTuple):
    wanted: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_type(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and len({*map(str, value)}) == len(value) and all(each in _TYPES for each in value)
    return isinstance(value, str) and value in _TYPES


_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_EXCLUSIVE = {bound: exclusive for exclusive, bound in _BOUNDS.items()}
_VALUES = {"const", "default", "enum", "examples"}
_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = (
    *("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
    *("unevaluatedProperties", "unevaluatedItems", "contentSchema"),
)
_TEXT = _Rule("a text", lambda value: isinstance(value, str))
_TRUTH = _Rule("true or false", lambda value: isinstance(value, bool))
_LIST = _Rule("a list", lambda value: isinstance(value, list))
_NAMES = _Rule(
    "a list of different names",
    lambda value: (
        isinstance(value, list) and all(isinstance(each, str) for each in value) and len(set(value)) == len(value)
    ),
)
_COUNT = _Rule("a whole number that is not negative", _is_count)
_RULES: dict[str, _Rule] = {
    "type": _Rule(f"one of {', '.join(_TYPES)}", _is_type),
    "multipleOf": _Rule("a number above 0", lambda value: _is_number(value) and value > 0),
    "required": _NAMES,
    **dict.fromkeys(("enum", "examples"), _LIST),
    **dict.fromkeys(_NAMED, _Rule("an object", lambda value: isinstance(value, dict))),
    **dict.fromkeys(_SEVERAL, _Rule("a list of schemas", lambda value: isinstance(value, list) and bool(value))),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _Rule("a number", _is_number)),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNT),
    **dict.fromkeys(("minContains", "maxContains"), _COUNT),
    **dict.fromkeys(("uniqueItems", "readOnly", "writeOnly", "deprecated"), _TRUTH),
    **dict.fromkeys(("title", "description", "pattern", "format", "$ref", "$id", "$anchor", "$comment"), _TEXT),
    **dict.fromkeys(("contentEncoding", "contentMediaType", "$dynamicRef", "$dynamicAnchor"), _TEXT),
}

_KNOWN = {*_RULES, *_VALUES, *_NAMED, *_SEVERAL, *_ONE, *_BOUNDS, "dependencies", "dependentRequired"}


# --- strict or not -----------------------------------------------------------------------------------------------


def _can_be_strict(schema: Schema) -> bool:
    found = list(_parts(schema, 0))
    properties = sum(len(part.get("properties") or {}) for part, _ in found)
    values = sum(len(part.get("enum") or ()) for part, _ in found)
    return max(properties, values) <= _MOST_STRICT and all(
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
