"""Structured answers: whether one can be asked for, and those that are asked for by a Python type. Pure rules.

Only the form of a schema is judged, not what a provider supports of JSON Schema.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import unquote

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import to_json

from durable_responses.tools.strict_schema import UnsupportedSchemaError, strict_schema, with_defaults_for_nulls

T = TypeVar("T")

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_OF_A_FORMAT = frozenset({"type", "name", "schema", "strict", "description"})
_VALUES = frozenset({"enum", "const", "default", "examples"})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OF_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def text_format_of(kind: type[Any]) -> dict[str, Any]:
    """The `text_format` for answers of a type: a pydantic model, or a dataclass.

    Strict, but for types that strict mode cannot express, such as one with a `dict` of any keys: those are shown to
    the model, and it need not keep to them. Raises `ValueError`, one sentence, for a type whose values are not objects.
    """
    name = getattr(kind, "__name__", None) or str(kind)
    try:
        schema = _with_root(TypeAdapter(kind).json_schema())
    except PydanticUserError as error:
        raise ValueError(f"{name} has no JSON schema: {str(error).splitlines()[0]}") from None
    if schema.get("type") != "object":
        raise ValueError(f"{name} cannot be the type of an answer, which is a JSON object: make it a field of a model.")
    title = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:64] or "answer"
    try:
        return {"type": "json_schema", "name": title, "schema": strict_schema(schema), "strict": True}
    except UnsupportedSchemaError:
        return {"type": "json_schema", "name": title, "schema": schema, "strict": False}


def answer_of(kind: type[T], structured_output: Any) -> T:
    """A run's `structured_output` as a value of the type that was asked for. Raises pydantic's `ValidationError`.

    A null stands for the default of its field where the type takes no null.
    """
    return with_defaults_for_nulls(TypeAdapter(kind).validate_json, to_json(structured_output))


def _with_root(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose outermost object is not only a reference, as pydantic has it for types that contain themselves."""
    if "$ref" not in schema:
        return schema
    root = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return {**root, "$defs": schema["$defs"]}


def problem_of(text_format: dict[str, Any]) -> str | None:
    """What is wrong with a schema, or with an object of the API's `text.format`; None if nothing is."""
    kind = text_format.get("type")
    if kind in ("json_object", "text"):
        return next((f"{name}: does not go with type {kind!r}" for name in text_format.keys() - {"type"}), None)
    if kind == "json_schema":
        return _problem_of_format(text_format)
    if isinstance(text_format.get("format"), dict):
        return "format: give what is in it, without `format` around it"
    if (
        isinstance(text_format.get("schema"), dict)
        and not {"properties", *_LISTS_OF_SCHEMAS, "$ref"} & text_format.keys()
    ):
        return "type: 'json_schema' is missing beside the schema"
    return _problem_of_answer(text_format, "") if text_format else None


def _problem_of_format(given: dict[str, Any]) -> str | None:
    name, schema = given.get("name"), given.get("schema")
    if isinstance(given.get("json_schema"), dict):
        return "json_schema: name, schema and strict stand beside type, not in an object of their own"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "name: 1 to 64 of the characters A-Z, a-z, 0-9, _ and -"
    if not isinstance(schema, dict):
        return "schema: a JSON schema is missing"
    if not isinstance(given.get("strict"), bool | None):
        return "strict: must be true or false"
    if not isinstance(given.get("description"), str | None):
        return "description: must be text"
    if unknown := sorted(given.keys() - _OF_A_FORMAT):
        return f"{unknown[0][:40]}: there is no such field; there are {', '.join(sorted(_OF_A_FORMAT))}"
    return _problem_of_answer(schema, "schema.")


def _problem_of_answer(schema: dict[str, Any], prefix: str) -> str | None:
    if schema.get("type") != "object" and not {"$ref", "anyOf", "oneOf", "allOf", "properties"} & schema.keys():
        return f"{prefix}type: an answer is an object, so it is 'object'"
    problem = next(_problems(schema, prefix.removesuffix(".")), None)
    return problem or next(_lost_references(schema, schema, prefix.removesuffix(".")), None)


def _lost_references(part: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    """References of a schema to a place in itself where nothing is."""
    if isinstance(part, list):
        for number, each in enumerate(part):
            yield from _lost_references(each, root, f"{where}[{number}]")
    if not isinstance(part, dict):
        return
    reference = part.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/") and not _leads_somewhere(reference, root):
        yield f"{where}{'.' if where else ''}$ref: there is nothing at {reference[:80]!r}"
    for name, each in part.items():
        if name not in _VALUES:
            yield from _lost_references(each, root, f"{where}{'.' if where else ''}{name[:40]}")


def _leads_somewhere(reference: str, root: Any) -> bool:
    for step in unquote(reference.removeprefix("#/")).split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(root, list):
            root = root[int(name)] if name.isdecimal() and int(name) < len(root) else None
        else:
            root = root.get(name) if isinstance(root, dict) else None
    return isinstance(root, dict | bool)


def _problems(schema: Any, where: str) -> Iterator[str]:
    """Problems of a schema, each with its path. The check of the input has bounded how deep it is nested."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{where or 'schema'}: not a JSON schema"
        return
    place = f"{where}." if where else ""
    types = schema.get("type", [])
    for given in types if isinstance(types, list) else [types]:
        if not isinstance(given, str) or given not in _TYPES:
            yield f"{place}type: {str(given)[:40]!r} is not a type of JSON"
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield f"{place}required: not a list of names"
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        yield f"{place}enum: not a list of values"
    if not isinstance(schema.get("$ref", ""), str):
        yield f"{place}$ref: not a text"
    yield from _problems_inside(schema, place)


def _problems_inside(schema: dict[str, Any], place: str) -> Iterator[str]:
    for key in _OF_SCHEMAS:
        inner = schema.get(key, {})
        if not isinstance(inner, dict):
            yield f"{place}{key}: not an object of schemas"
            continue
        for name, each in inner.items():
            yield from _problems(each, f"{place}{key}.{name[:40]}")
    for key in _LISTS_OF_SCHEMAS:
        inner = schema.get(key, [True])
        if not isinstance(inner, list) or not inner:
            yield f"{place}{key}: not a list of schemas"
            continue
        for number, each in enumerate(inner):
            yield from _problems(each, f"{place}{key}[{number}]")
    for key in _SCHEMAS:
        if key in schema:
            inner = schema[key]
            for each in inner if key == "items" and isinstance(inner, list) else [inner]:
                yield from _problems(each, f"{place}{key}")
