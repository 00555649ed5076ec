"""Values that satisfy a JSON schema: arguments for any tool, and structured outputs.

A value is made by the keywords of its schema, and then judged by `jsonschema`: of several that could do, such as a
default, an example or what was made, the first valid one is taken. A schema that nothing satisfies, or that is not one,
gets a value all the same: whoever has sent it shall see what becomes of it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, islice
from typing import Any, TypeGuard
from urllib.parse import unquote

from durable_responses.emulator.objects.pattern_text import text_matching

Schema = Mapping[str, Any]

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "iri": "https://example.com/",
    "uri-reference": "/example",
    "iri-reference": "/example",
    "uri-template": "/example/{id}",
    "json-pointer": "/example",
    "relative-json-pointer": "0",
    "regex": "a+",
    "byte": "ZXhhbXBsZQ==",
}
_MOST_ITEMS = 1
_MOST_PARTS = 5000
"""Parts of one value, all objects and lists together; what would have more is cut, whatever its schema says."""
_LONGEST_TEXT = 100_000
_DEEPEST = 12
_MOST_MERGED = 100


def value_for(schema: Any, hints: Mapping[str, Any], *, name: str = "value") -> Any:
    """A value for a schema. `hints` hold values by property name; one is used where the schema takes it."""
    return _Maker(schema if isinstance(schema, dict) else {}, hints).value(schema, name)


def arguments_for(schema: Any, hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, for the schema of a function's parameters: always an object."""
    made = value_for({"type": "object", **schema} if isinstance(schema, dict) else {"type": "object"}, hints)
    return made if isinstance(made, dict) else {}


@dataclass
class _Maker:
    """Makes values of one schema. `variant`: which one of several that differ."""

    root: Schema
    hints: Mapping[str, Any]
    variant: int = 0
    left: Iterator[int] = field(default_factory=lambda: iter(range(_MOST_PARTS)))

    def value(self, schema: Any, name: str, open_refs: tuple[str, ...] = ()) -> Any:
        """A value; `open_refs` are the references that it is inside of: there recursion ends."""
        if schema is False or len(open_refs) > _DEEPEST or next(self.left, None) is None:
            return None
        resolved, open_refs = self._resolved(schema, open_refs)
        candidates = self._candidates(resolved, name, open_refs)
        first = next(candidates, None)
        if self._is_valid(first, schema):
            return first
        return next((made for made in candidates if self._is_valid(made, schema)), first)

    def _candidates(self, schema: Schema, name: str, open_refs: tuple[str, ...]) -> Iterator[Any]:
        if isinstance(hint := self.hints.get(name), str) and _is_number(schema.get("maxLength")):
            yield hint[: int(schema["maxLength"])]
        elif name in self.hints and (_says_what(schema) or schema.get("type")):
            yield hint
        yield from (schema[keyword] for keyword in ("const", "default") if keyword in schema)
        yield from self._turned(schema.get("examples"))
        yield from self._turned(schema.get("enum"))
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options:
            beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
            for option in self._simplest_first(options, open_refs):
                yield self.value({"allOf": [option], **beside}, name, open_refs)
        else:
            for kind in _kinds(schema):
                yield from self._of_kind(kind, schema, name, open_refs)

    def _of_kind(self, kind: str, schema: Schema, name: str, open_refs: tuple[str, ...]) -> Iterator[Any]:
        match kind:
            case "object":
                yield from self._objects(schema, open_refs)
            case "array":
                yield from self._arrays(schema, name, open_refs)
            case "string":
                yield from self._strings(schema, name)
            case "integer" | "number":
                number = _number(schema, whole=kind == "integer")
                said = schema.get("multipleOf")
                step = said if _is_number(said) else 1
                yield from (number + turn * step for turn in range(self.variant, self.variant + 3))
                yield from (number - turn * step for turn in range(1, 3))
            case "boolean":
                yield from (not self.variant % 2, bool(self.variant % 2))
            case _:
                yield None

    def _turned(self, values: Any) -> Iterator[Any]:
        if isinstance(values, list):
            turn = self.variant % len(values) if values else 0
            yield from [*values[turn:], *values[:turn]]

    # --- objects and lists ---------------------------------------------------------------------------------------

    def _objects(self, schema: Schema, open_refs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        # A property that is false may not be there.
        properties = {key: part for key, part in _mapping(schema.get("properties")).items() if part is not False}
        required = [
            key for key in _list(schema.get("required", [] if open_refs else list(properties))) if _is_text(key)
        ]
        names = [key for key in properties if key in required] + [key for key in required if key not in properties]
        yield self._object(schema, names, open_refs)
        # What other keywords ask for, of properties that are not required: all of them, or one more.
        yield self._object(schema, [*names, *(key for key in properties if key not in names)], open_refs)
        yield from (self._object(schema, [*names, key], open_refs) for key in properties if key not in names)
        least, most = _size(schema, "minProperties", 0), _size(schema, "maxProperties", _MOST_PARTS)
        yield self._object(schema, names[: min(most, len(names))], open_refs, least=least)

    def _object(
        self, schema: Schema, names: list[str], open_refs: tuple[str, ...], *, least: int | None = None
    ) -> dict[str, Any]:
        properties = _mapping(schema.get("properties"))
        patterns = _mapping(schema.get("patternProperties"))
        named = dict.fromkeys(names)
        wanted = _size(schema, "minProperties", 0) if least is None else least
        for key in islice(self._more_names(schema, patterns), 2 * wanted):
            if len(named) < wanted:
                named[key] = None
        others = schema.get("additionalProperties")
        others = next(iter(patterns.values()), others if isinstance(others, dict) else {})
        return {key: self.value(properties.get(key, others), key, open_refs) for key in named}

    def _more_names(self, schema: Schema, patterns: Mapping[str, Any]) -> Iterator[str]:
        """Names of properties that the schema does not list."""
        named = _mapping(schema.get("propertyNames"))
        pattern = next(iter(patterns), named.get("pattern"))
        for number in count(1):
            made = text_matching(pattern, variant=number - 1, shortest=1) if _is_text(pattern) else None
            enum = _list(named.get("enum"))
            yield made or (str(enum[(number - 1) % len(enum)]) if enum else f"key_{number}")

    def _arrays(self, schema: Schema, name: str, open_refs: tuple[str, ...]) -> Iterator[list[Any]]:
        first, rest = _list(schema.get("prefixItems")), schema.get("items", True)
        if isinstance(rest, list):  # as drafts before 2020 have it
            first, rest = rest, schema.get("additionalItems", True)
        usual = 0 if open_refs else _MOST_ITEMS
        size = max(_size(schema, "minItems", 0), min(max(usual, len(first)), _size(schema, "maxItems", _MOST_PARTS)))
        if rest is False:
            size = min(size, len(first))
        parts = [*first, *[rest] * (size - len(first))][:size]
        differ = schema.get("uniqueItems") is True
        yield [self._turn(at if differ else 0).value(part, name, open_refs) for at, part in enumerate(parts)]
        if "contains" in schema:
            some = range(_size(schema, "minContains", 1))
            held = [self._turn(at if differ else 0).value(schema["contains"], name, open_refs) for at in some]
            yield held
            yield [*held, *(self._turn(len(held) + at).value(part, name, open_refs) for at, part in enumerate(parts))]
        yield []

    def _turn(self, variant: int) -> "_Maker":
        """The same maker, for values that differ from those of other variants."""
        return self if variant == 0 else _Maker(self.root, self.hints, self.variant + variant, self.left)

    # --- texts ---------------------------------------------------------------------------------------------------

    def _strings(self, schema: Schema, name: str) -> Iterator[str]:
        least, most = _size(schema, "minLength", 0), _size(schema, "maxLength", _LONGEST_TEXT)
        text = _FORMATS.get(str(schema.get("format")), name.replace("_", " "))
        text += f" {self.variant + 1}" if self.variant and text == name.replace("_", " ") else ""
        if schema.get("contentEncoding") == "base64":
            text = _FORMATS["byte"]
        if _is_text(pattern := schema.get("pattern")):
            made = text_matching(pattern, shortest=least, longest=most, variant=self.variant)
            yield from [made] if made is not None else []
        yield (text + "." * (min(least, _LONGEST_TEXT) - len(text)))[:most]
        yield from (letter * max(least, 1) for letter in "xX0-")

    # --- the schema ----------------------------------------------------------------------------------------------

    def _simplest_first(self, options: list[Any], open_refs: tuple[str, ...]) -> list[Any]:
        """Null where that is allowed: it is always right, and it ends recursive schemas."""
        return sorted(options, key=lambda option: (not _is_null(option), _mapping(option).get("$ref") in open_refs))

    def _resolved(self, schema: Any, open_refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema with what it refers to in it."""
        found: dict[str, Any] = {}
        waiting = [schema]
        for _ in range(_MOST_MERGED):
            if not waiting:
                break
            part = waiting.pop(0)
            part = dict(part) if isinstance(part, dict) else {}
            reference = part.pop("$ref", None) or part.pop("$dynamicRef", None)
            if isinstance(reference, str):
                open_refs = (*open_refs, reference)
                waiting.append(self._at(reference))
            waiting += _list(part.pop("allOf", None))
            found = _both(part, found)
        return found, open_refs

    def _at(self, reference: str) -> Any:
        """What a reference inside the document points to; the empty schema where there is nothing."""
        document, _, fragment = reference.partition("#")
        if document and document != self.root.get("$id"):
            return {}
        if fragment and not fragment.startswith("/"):
            return next(_anchored(self.root, fragment), {})
        found: Any = self.root
        for step in unquote(fragment).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = found[int(step)] if step.isdecimal() and int(step) < len(found) else {}
            else:
                found = _mapping(found).get(step, {})
        return found

    def _is_valid(self, value: Any, schema: Any) -> bool:
        """Whether the reference implementation takes the value; what it cannot judge counts as taken."""
        try:
            return schema is True or self._judge(value, schema)
        except Exception:  # a schema that is not one, a reference that leads nowhere or in a circle
            return True

    @cached_property
    def _judge(self) -> Callable[[Any, Any], bool]:
        # Loaded here: most requests have nothing to be judged.
        from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types
        from referencing import Registry

        # With a registry of its own it never looks for a schema on the web.
        registry: Registry[Any] = Registry()
        whole = Draft202012Validator(
            dict(self.root), format_checker=Draft202012Validator.FORMAT_CHECKER, registry=registry
        )
        return lambda value, schema: bool(whole.evolve(schema=schema).is_valid(value))


def _says_what(schema: Schema) -> bool:
    return bool(schema.keys() & {"enum", "const", "anyOf", "oneOf"})


def _kinds(schema: Schema) -> list[str]:
    """The types of values that a schema may have, those first that are made first."""
    said = schema.get("type")
    if isinstance(said, list):
        return sorted((kind for kind in said if _is_text(kind)), key=lambda kind: kind != "null") or ["string"]
    if _is_text(said):
        return [said]
    of_objects = {"properties", "required", "minProperties", "patternProperties", "additionalProperties"}
    if schema.keys() & of_objects:
        return ["object"]
    return (
        ["array", "string"] if schema.keys() & {"items", "prefixItems", "minItems"} else ["string", "integer", "object"]
    )


def _is_null(option: Any) -> bool:
    return isinstance(option, dict) and option.get("type") == "null"


def _anchored(part: Any, name: str) -> Iterator[Any]:
    if isinstance(part, dict):
        if name in (part.get("$anchor"), part.get("$dynamicAnchor")):
            yield part
        for inner in part.values():
            yield from _anchored(inner, name)
    elif isinstance(part, list):
        for inner in part:
            yield from _anchored(inner, name)


def _both(first: Schema, second: Schema) -> dict[str, Any]:
    both = {**first, **second}
    for key in ("properties", "patternProperties"):
        if isinstance(first.get(key), dict) and isinstance(second.get(key), dict):
            both[key] = {**first[key], **second[key]}
    if isinstance(first.get("required"), list) and isinstance(second.get("required"), list):
        both["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    stricter: list[tuple[str, Callable[[Any, Any], Any]]] = [
        *((key, max) for key in ("minimum", "minLength", "minItems")),
        *((key, min) for key in ("maximum", "maxLength", "maxItems")),
    ]
    for key, of in stricter:
        if _is_number(first.get(key)) and _is_number(second.get(key)):
            both[key] = of(first[key], second[key])
    return both


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def _size(schema: Schema, key: str, otherwise: int) -> int:
    value = schema.get(key)
    return min(max(int(value), 0), _LONGEST_TEXT) if _is_number(value) else otherwise


def _number(schema: Schema, *, whole: bool) -> int | float:
    said = schema.get("multipleOf")
    step = said if _is_number(said) and said > 0 else 1 if whole else None
    lowest, above = _bound(schema, "minimum", "exclusiveMinimum", max)
    highest, below = _bound(schema, "maximum", "exclusiveMaximum", min)
    if step is None:
        return _between(lowest, above, highest, below)
    if lowest is None and highest is None:
        return step
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


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
