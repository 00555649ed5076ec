"""JSON schemas as strict function calling accepts them. Pure rules, no I/O.

Rules of https://platform.openai.com/docs/guides/structured-outputs#supported-schemas: every object is closed and
requires all its properties, so an optional one becomes nullable; keywords outside the subset are refused by the API.
What constrains values moves into the description, where the model still reads it; pydantic checks it afterwards.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json, to_json

T = TypeVar("T")
Schema = dict[str, Any]

SUPPORTED_KEYWORDS = frozenset(
    {
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "type",
    }
)
SUPPORTED_FORMATS = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"},
)
TOLD_IN_WORDS = ("minLength", "maxLength", "uniqueItems", "contentEncoding", "format")


class UnsupportedSchemaError(Exception):
    """A type that strict function calling cannot express. `where` is the path of the property, `reason` the rule."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} {reason}")
        self.where = where
        self.reason = reason


def strict_schema(schema: Schema) -> Schema:
    """The strict form of a JSON schema that pydantic made. Raises `UnsupportedSchemaError`."""
    return _strict(schema, "")


def with_defaults_for_nulls(validate: Callable[[bytes], T], given: bytes) -> T:
    """What `validate` makes of JSON that follows a strict schema. Raises pydantic's `ValidationError`.

    The schema has no way to leave out a property: where the type takes no null, null stands for its default.
    """
    try:
        return validate(given)
    except ValidationError as error:
        nulls = [detail["loc"] for detail in error.errors() if detail["input"] is None and detail["loc"]]
        if nulls:
            with suppress(ValidationError):
                return validate(to_json(_without(from_json(given), nulls)))
        raise


def _without(given: Any, places: list[tuple[int | str, ...]]) -> Any:
    for *parents, last in places:
        node: Any = given
        for part in parents:
            # Pydantic's paths also hold the names of union members, which are not in the data.
            if isinstance(part, int) or (isinstance(node, dict) and part in node):
                node = node[part]
        if isinstance(node, dict):
            node.pop(last, None)
    return given


def _strict(schema: Schema, where: str) -> Schema:
    schema = _one_of_as_any_of(schema)
    _refuse_what_has_no_strict_form(schema, where)
    strict = {key: value for key, value in schema.items() if key in SUPPORTED_KEYWORDS}
    if strict.get("format") not in SUPPORTED_FORMATS:
        strict.pop("format", None)
    _describe(strict, [f"{key}: {schema[key]}" for key in TOLD_IN_WORDS if key in schema and key not in strict])
    if "$defs" in strict:
        strict["$defs"] = {name: _strict(value, name) for name, value in strict["$defs"].items()}
    if "anyOf" in strict:
        strict["anyOf"] = [_strict(option, where) for option in strict["anyOf"]]
    if "items" in strict:
        strict["items"] = _strict(strict["items"], f"{where}[]")
    if schema.get("type") == "object":
        strict.update(_closed_object(schema, where))
    # `$ref` may not stand beside other keywords.
    if "$ref" in strict and len(strict) > 1:
        strict = {"anyOf": [{"$ref": strict.pop("$ref")}], **strict}
    return strict


def _one_of_as_any_of(schema: Schema) -> Schema:
    """Unions that pydantic distinguishes by a discriminator come as `oneOf`, which strict mode does not know."""
    if "oneOf" not in schema:
        return schema
    return {"anyOf": schema["oneOf"], **{key: value for key, value in schema.items() if key != "oneOf"}}


def _refuse_what_has_no_strict_form(schema: Schema, where: str) -> None:
    if "prefixItems" in schema:
        raise UnsupportedSchemaError(where, "is a tuple, which has no strict JSON schema; use a model or a list.")
    if schema.get("additionalProperties"):
        raise UnsupportedSchemaError(where, "takes arbitrary keys, which strict mode forbids; use a model or a list.")
    if not schema.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        raise UnsupportedSchemaError(where, "accepts anything, which has no strict JSON schema; give it a type.")
    if schema.get("type") == "array" and not schema.get("items"):
        raise UnsupportedSchemaError(where, "is a list of anything; give its items a type.")


def _closed_object(schema: Schema, where: str) -> Schema:
    properties: dict[str, Schema] = schema.get("properties", {})
    required = schema.get("required", [])
    return {
        "properties": {
            name: _strict(value, f"{where}.{name}" if where else name)
            if name in required
            else _nullable(_strict(value, f"{where}.{name}" if where else name), value.get("default"))
            for name, value in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


def _nullable(schema: Schema, default: Any) -> Schema:
    """The schema of an optional property: null stands for leaving it out."""
    if not _takes_null(schema):
        outer = {"description": schema.pop("description")} if "description" in schema else {}
        schema = {"anyOf": [schema, {"type": "null"}], **outer}
    if default is not None:
        _describe(schema, [f"null means {json.dumps(default, ensure_ascii=False)}"])
    return schema


def _takes_null(schema: Schema) -> bool:
    return schema.get("type") == "null" or any(_takes_null(option) for option in schema.get("anyOf", []))


def _describe(schema: Schema, notes: list[str]) -> None:
    if notes:
        known = [schema["description"]] if "description" in schema else []
        schema["description"] = " ".join([*known, f"({'; '.join(notes)})"])
