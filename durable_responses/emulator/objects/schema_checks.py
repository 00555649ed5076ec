"""The checks of JSON schemas: of answers, and of the parameters of strict functions. In the API's words where known.

https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from durable_responses.emulator.objects.api_errors import ApiError, invalid
from durable_responses.emulator.objects.request_bodies import Item

SCHEMA_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
NOT_IN_STRICT_MODE = frozenset(
    {
        "allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies",
        "patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties",
        "prefixItems", "unevaluatedItems", "contains", "minContains", "maxContains", "uniqueItems",
    }
)  # fmt: skip
STRICT_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
SAYS_WHAT_IT_IS = frozenset({"type", "anyOf", "$ref", "enum", "const"})
VALUES = frozenset({"enum", "const", "default", "examples"})
NAMED_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
MOST_LEVELS = 10
MOST_PROPERTIES = 5000
MOST_ENUM_VALUES = 1000
LONGEST_NAMES = 120_000
LONGEST_LARGE_ENUM, LARGE_ENUM = 15_000, 250

Context = tuple[str, ...]


@dataclass(frozen=True)
class SchemaRules:
    """The rules of schemas, and those of strict mode. `what` has the schema, `param` is where it stands."""

    what: str
    param: str
    code: str
    strict: bool

    def check_root(self, schema: Any) -> None:
        """Raises: ApiError 400 for a schema that cannot be that of an answer."""
        kind = schema.get("type") if isinstance(schema, dict) else None
        if kind != "object":
            shown = "None" if kind is None else kind
            raise self._invalid(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{shown}\"'.")
        self.check(schema)

    def check(self, schema: Any) -> None:
        """Raises: ApiError 400 for a schema, or a part of one, that is none, or that strict mode does not take."""
        for part, context in parts_of(schema, ()):
            self._check_type(part, context)
            if self.strict:
                self._check_strict(part, context, schema)
        self._check_form(schema)
        if self.strict:
            self._check_size(schema)

    def _check_type(self, schema: Item, context: Context) -> None:
        kinds = schema.get("type", [])
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if not isinstance(kind, str) or kind not in SCHEMA_TYPES:
                raise self._invalid(f"In context={context}, {kind!r} is not valid under any of the given schemas.")

    def _check_form(self, schema: Any) -> None:
        """What is not a schema by the rules of JSON Schema itself."""
        if problem := _fault_of_form(json.dumps(schema)):
            raise self._invalid(problem)

    def _check_strict(self, schema: Item, context: Context, root: Any) -> None:
        if refused := sorted(NOT_IN_STRICT_MODE & set(schema)):
            raise self._invalid(f"In context={context}, '{refused[0]}' is not permitted.")
        if "$ref" in schema:
            self._check_reference(schema, context, root)
        elif not SAYS_WHAT_IT_IS & schema.keys():
            raise self._invalid(f"In context={context}, schema must have a 'type' key.")
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "array" in kinds and "items" not in schema:
            raise self._invalid(f"In context={context}, array schema missing items.")
        if "object" in kinds:
            self._check_object(schema, context)
        if "string" in kinds and (form := schema.get("format")) is not None and form not in STRICT_FORMATS:
            raise self._invalid(f"In context={context}, '{form}' is not a valid format.")

    def _check_reference(self, schema: Item, context: Context, root: Any) -> None:
        if beside := sorted(schema.keys() - {"$ref", *NAMED_SCHEMAS}):
            raise self._invalid(f"context={context}, $ref cannot have keywords {{{', '.join(map(repr, beside))}}}.")
        kind, _, name = str(schema["$ref"]).removeprefix("#/").partition("/")
        known = root.get(kind) if isinstance(root, dict) and kind in ("$defs", "definitions") else None
        if schema["$ref"] != "#" and not (isinstance(known, dict) and name in known):
            raise self._invalid(
                f"In context={context}, reference can only point to definitions defined at the top level of the schema."
            )

    def _check_object(self, schema: Item, context: Context) -> None:
        properties = schema.get("properties", {})
        required = schema.get("required")
        fault = None
        if schema.get("additionalProperties") is not False:
            fault = "'additionalProperties' is required to be supplied and to be false."
        elif isinstance(properties, dict) and (fault := _fault_of_required(list(properties), required)):
            fault = (
                "'required' is required to be supplied and to be an array including every key in properties. " + fault
            )
        if fault:
            raise self._invalid(f"In context={context}, {fault}")

    def _check_size(self, schema: Any) -> None:
        levels = _levels(schema)
        if levels > MOST_LEVELS:
            raise self._invalid(f"{levels} levels of nesting exceeds limit of {MOST_LEVELS}.")
        parts = [part for part, _ in parts_of(schema, ())]
        properties = [name for part in parts for name in _names(part, "properties")]
        if len(properties) > MOST_PROPERTIES:
            raise self._invalid(f"{len(properties)} parameters exceeds limit of {MOST_PROPERTIES}.")
        enums = [part["enum"] for part in parts if isinstance(part.get("enum"), list)]
        values = [value for enum in enums for value in enum]
        if len(values) > MOST_ENUM_VALUES:
            raise self._invalid(
                f"Expected at most {MOST_ENUM_VALUES} enum values in total within a schema when using structured "
                f"outputs. Received {len(values)}."
            )
        for enum in enums:
            size = sum(len(value) for value in enum if isinstance(value, str))
            if len(enum) > LARGE_ENUM and size > LONGEST_LARGE_ENUM:
                raise self._invalid(
                    f"Expected at most {LONGEST_LARGE_ENUM} characters in the string values of an enum that has more "
                    f"than {LARGE_ENUM} of them. Received {size}."
                )
        texts = [
            *properties,
            *(name for part in parts for key in ("$defs", "definitions") for name in _names(part, key)),
        ]
        texts += [value for value in [*values, *(part.get("const") for part in parts)] if isinstance(value, str)]
        if (size := sum(map(len, texts))) > LONGEST_NAMES:
            raise self._invalid(
                f"Expected at most {LONGEST_NAMES} characters in all property names, definition names, enum values, "
                f"and const values. Received {size}."
            )

    def _invalid(self, problem: str) -> ApiError:
        return invalid(f"Invalid schema for {self.what}: {problem}", self.param, self.code)


def parts_of(schema: Any, context: Context) -> Iterator[tuple[Item, Context]]:
    """A schema and all schemas in it, each with its place. How deep it is nested is bounded by the parser of JSON."""
    if isinstance(schema, list):
        for number, member in enumerate(schema):
            yield from parts_of(member, (*context, str(number)))
    if not isinstance(schema, dict):
        return
    yield schema, context
    for key, value in schema.items():
        if key in VALUES:
            continue
        if key in NAMED_SCHEMAS and isinstance(value, dict):
            for name, member in value.items():
                yield from parts_of(member, (*context, key, name))
        else:
            yield from parts_of(value, (*context, key))


@lru_cache(maxsize=256)  # a conversation offers the same tools in each request, and judging one takes a millisecond
def _fault_of_form(schema: str) -> str | None:
    """What JSON Schema's own schema says against this one, given as JSON."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # as above

    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    problem = best_match(meta.iter_errors(json.loads(schema)))
    return None if problem is None else f"In context={tuple(map(str, problem.path))}, {problem.message[:300]}."


def _fault_of_required(properties: list[str], required: Any) -> str | None:
    named = required if isinstance(required, list) else []
    if missing := [name for name in properties if name not in named]:
        return f"Missing '{missing[0]}'."
    extra = [name for name in named if name not in properties]
    return f"Extra required key '{extra[0]}' supplied." if extra else None


def _names(part: Item, key: str) -> list[str]:
    return list(part[key]) if isinstance(part.get(key), dict) else []


def _levels(part: Any, above: int = -1) -> int:
    """How many objects are nested in one another below the outermost one; references are not followed."""
    if isinstance(part, list):
        return max((_levels(member, above) for member in part), default=above)
    if not isinstance(part, dict):
        return above
    here = above + (part.get("type") in ("object", ["object", "null"]))
    return max((_levels(value, here) for key, value in part.items() if key not in VALUES), default=here)
