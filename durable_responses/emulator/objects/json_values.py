"""Values that satisfy a JSON schema: arguments for any tool, and structured outputs.

Knows the keywords that structured outputs allow
(https://platform.openai.com/docs/guides/structured-outputs#supported-schemas), but not `pattern`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any]

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
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
    return _Maker(schema, hints).value(schema, name, ())


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


@dataclass(frozen=True)
class _Maker:
    """Makes values of one schema. `open_refs` are the references that a value is inside of: there recursion ends."""

    root: Schema
    hints: Mapping[str, Any]

    def value(self, schema: Schema, name: str, open_refs: tuple[str, ...]) -> Any:
        schema, open_refs = self._resolved(schema, open_refs)
        if name in self.hints and fits(self.hints[name], schema):
            hint = self.hints[name]
            return hint[: schema.get("maxLength")] if isinstance(hint, str) else hint
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        if "enum" in schema:
            return schema["enum"][0]
        if options := schema.get("anyOf") or schema.get("oneOf"):
            beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
            return self.value({"allOf": [self._simplest(options, open_refs)], **beside}, name, open_refs)
        return self._by_type(schema, name, open_refs)

    def _by_type(self, schema: Schema, name: str, open_refs: tuple[str, ...]) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = "null" if "null" in kind else kind[0]
        match kind:
            case "object":
                return self._object(schema, open_refs)
            case "array":
                return self._array(schema, name, open_refs)
            case "string":
                return _string(schema, name)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case _:
                return None

    def _object(self, schema: Schema, open_refs: tuple[str, ...]) -> dict[str, Any]:
        properties: Mapping[str, Schema] = schema.get("properties", {})
        # What may be left out is left out where it would go round in circles.
        required = schema.get("required", [] if open_refs else list(properties))
        names = [key for key in properties if key in required] + [key for key in required if key not in properties]
        others = schema.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        names += [f"key_{number}" for number in range(len(names) + 1, schema.get("minProperties", 0) + 1)]
        return {key: self.value(properties.get(key, others), key, open_refs) for key in names}

    def _array(self, schema: Schema, name: str, open_refs: tuple[str, ...]) -> list[Any]:
        most = 0 if open_refs else _MOST_ITEMS
        first: list[Schema] = schema.get("prefixItems", [])
        count = max(schema.get("minItems", 0), min(max(most, len(first)), schema.get("maxItems", math.inf)))
        rest = schema.get("items", {})
        rest = rest if isinstance(rest, dict) else {}
        return [
            self.value(inner, name, open_refs)
            if not schema.get("uniqueItems")
            else self._nth(inner, name, at, open_refs)
            for at, inner in enumerate([*first, *[rest] * (count - len(first))][:count])
        ]

    def _nth(self, schema: Schema, name: str, at: int, open_refs: tuple[str, ...]) -> Any:
        """The values of a set differ."""
        schema, open_refs = self._resolved(schema, open_refs)
        if "enum" in schema:
            return schema["enum"][at % len(schema["enum"])]
        made = self.value(schema, f"{name}_{at}" if at else name, open_refs)
        return made + at * schema.get("multipleOf", 1) if isinstance(made, int) and not isinstance(made, bool) else made

    def _simplest(self, options: list[Schema], open_refs: tuple[str, ...]) -> Schema:
        """Null where that is allowed: it is always right, and it ends recursive schemas."""
        null = next((option for option in options if option.get("type") == "null"), None)
        fresh = next((option for option in options if option.get("$ref") not in open_refs), options[0])
        return null or fresh

    def _resolved(self, schema: Schema | Literal[True], open_refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema with what it refers to in it."""
        schema = {} if schema is True else schema  # it is one, too
        while "$ref" in schema:
            ref = schema["$ref"]
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            open_refs = (*open_refs, ref)
            schema = {**self._at(ref), **beside}
        if schema.get("allOf"):
            merged: Schema = {key: value for key, value in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                resolved, open_refs = self._resolved(part, open_refs)
                merged = _both(resolved, merged)
            return merged, open_refs
        return schema, open_refs

    def _at(self, ref: str) -> Schema:
        """What a reference inside the document points to."""
        found: Any = self.root
        for step in ref.removeprefix("#").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if step:
                found = found[int(step)] if isinstance(found, list) else found[step]
        return found  # type: ignore[no-any-return] # a schema, by the rules of the format


def _both(first: Schema, second: Schema) -> Schema:
    both = {**first, **second}
    if "properties" in first and "properties" in second:
        both["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        both["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    return both


def _string(schema: Schema, name: str) -> str:
    text: str = _FORMATS.get(schema.get("format", ""), name.replace("_", " "))
    text += "." * (schema.get("minLength", 0) - len(text))
    longest: int | None = schema.get("maxLength")
    return text[:longest]


def _number(schema: Schema, *, whole: bool) -> int | float:
    step = schema.get("multipleOf", 1 if whole else None)
    lowest, above = _bound(schema, "minimum", "exclusiveMinimum", max)
    highest, below = _bound(schema, "maximum", "exclusiveMaximum", min)
    if step is None:
        return _between(lowest, above, highest, below)
    if lowest is None and highest is None:
        return step  # type: ignore[no-any-return] # a number, by the rules of the format
    number: float
    if lowest is not None:
        number = math.ceil(lowest / step) * step
        number += step if above and number == lowest else 0
    else:
        number = math.floor((highest or 0) / step) * step
        number -= step if below and number == highest else 0
    return int(number) if whole else number


def _between(lowest: float | None, above: bool, highest: float | None, below: bool) -> float:
    """A number that need not be whole."""
    if lowest is not None and not above:
        return lowest
    if highest is not None and not below:
        return highest
    if lowest is not None and highest is not None:
        return (lowest + highest) / 2
    return lowest + 1 if lowest is not None else highest - 1 if highest is not None else 1


def _bound(schema: Schema, inclusive: str, exclusive: str, stricter: Any) -> tuple[float | None, bool]:
    """A bound and whether it is excluded itself. The two keywords may stand side by side."""
    given = [(schema[key], key == exclusive) for key in (inclusive, exclusive) if _is_number(schema.get(key))]
    if schema.get(exclusive) is True and _is_number(schema.get(inclusive)):  # as drafts before 6 have it
        return schema[inclusive], True
    if not given:
        return None, False
    bound = stricter(value for value, _ in given)
    return bound, (bound, True) in given


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
