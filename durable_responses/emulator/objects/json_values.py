"""Values that satisfy a JSON schema: arguments for any tool, and structured outputs.

Knows the keywords that structured outputs allow
(https://platform.openai.com/docs/guides/structured-outputs#supported-schemas), but not `pattern`.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "uri": "https://example.com/",
}
_MOST_ITEMS = 1


def value_for(schema: Schema, hints: Mapping[str, Any], *, name: str = "value") -> Any:
    """A value for a schema. `hints` hold values by property name; one is used where its type and range fit."""
    return _value(schema, hints, name, schema.get("$defs", {}))


def fits(value: Any, schema: Schema) -> bool:
    """Whether a plain value (no object, no array) is allowed by a schema without references."""
    if "anyOf" in schema:
        return any(fits(value, option) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, str):
        return "string" in kinds and schema.get("minLength", 0) <= len(value)
    if value is None or isinstance(value, bool):
        return ("null" if value is None else "boolean") in kinds
    return ("integer" in kinds and isinstance(value, int)) or "number" in kinds


def _value(schema: Schema, hints: Mapping[str, Any], name: str, defs: Schema) -> Any:
    schema = _resolved(schema, defs)
    if name in hints and fits(hints[name], schema):
        hint = hints[name]
        return hint[: schema.get("maxLength")] if isinstance(hint, str) else hint
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    if "enum" in schema:
        return schema["enum"][0]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return _value(_simplest(options), hints, name, defs)
    return _by_type(schema, hints, name, defs)


def _by_type(schema: Schema, hints: Mapping[str, Any], name: str, defs: Schema) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = "null" if "null" in kind else kind[0]
    if kind == "object":
        properties: Mapping[str, Schema] = schema.get("properties", {})
        required = schema.get("required", list(properties))
        return {key: _value(inner, hints, key, defs) for key, inner in properties.items() if key in required}
    if kind == "array":
        count = max(schema.get("minItems", 0), min(_MOST_ITEMS, schema.get("maxItems", _MOST_ITEMS)))
        return [_value(schema.get("items", {}), hints, name, defs) for _ in range(count)]
    if kind == "string":
        return _string(schema, name)
    return {"integer": _number, "number": _number, "boolean": lambda _: True}.get(kind, lambda _: None)(schema)


def _string(schema: Schema, name: str) -> str:
    text: str = _FORMATS.get(schema.get("format", ""), name.replace("_", " "))
    text += "." * (schema.get("minLength", 0) - len(text))
    longest: int | None = schema.get("maxLength")
    return text[:longest]


def _number(schema: Schema) -> int | float:
    step: int | float = schema.get("multipleOf", 1)
    lowest: int | float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    highest: int | float | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    if lowest is not None:
        number = -(-lowest // step) * step
        return number + step if number == schema.get("exclusiveMinimum") else number
    if highest is not None:
        number = highest // step * step
        return number - step if number == schema.get("exclusiveMaximum") else number
    return step


def _resolved(schema: Schema, defs: Schema) -> Schema:
    while "$ref" in schema:
        schema = defs[schema["$ref"].rsplit("/", 1)[-1]]
    if schema.get("allOf"):
        merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            merged = {**_resolved(part, defs), **merged}
        return merged
    return schema


def _simplest(options: list[Schema]) -> Schema:
    """Null where that is allowed: it is always right, and it ends recursive schemas."""
    return next((option for option in options if option.get("type") == "null"), options[0])
