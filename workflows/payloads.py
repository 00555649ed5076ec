"""What comes into a run from outside, decoded so that no payload can jam it.

Temporal's SDK decodes arguments, signals and the results of activities before workflow code runs; a payload that it
cannot decode fails the workflow task, which is retried for ever. With this converter such a payload becomes an
`Unreadable`, and half characters become U+FFFD.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter

with workflow.unsafe.imports_passed_through():
    from durable_responses.json_text import DEEPEST, UnusableValue, json_bytes, mended_json, nested_too_deep

LARGEST_PAYLOAD = 2_000_000  # bytes; the server ends a run above 2 MiB, and the payload is not all that counts

# What code raises that meets data it was not made for. A run ends because of it; its workflow task must not fail.
DATA_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)

T = TypeVar("T")


class UnreadablePayload(ValueError):
    """A payload is not what it should be."""


class PayloadTooLarge(ValueError):
    """What was to be sent does not fit into one payload."""


@dataclass(frozen=True)
class Unreadable:
    """In place of a value that could not be decoded. `why`: a clause about it, without its contents."""

    why: str


def read(value: T) -> T:
    """The value that an activity returned. Raises `UnreadablePayload`."""
    if isinstance(value, Unreadable):
        raise UnreadablePayload(f"The result of an activity cannot be used: {value.why}.")
    return value


def fitting(message: T) -> T:
    """The message, if it can be sent. Raises `PayloadTooLarge`, and `ValueError` for what is not JSON."""
    if (size := json_bytes(message)) > LARGEST_PAYLOAD:
        raise PayloadTooLarge(f"{type(message).__name__} has {size} bytes, more than {LARGEST_PAYLOAD}.")
    return message


class TotalPayloadConverter(PydanticPayloadConverter):
    """Temporal's converter for pydantic models, which raises nothing while it decodes.

    The SDK makes two for each workflow task, and one for each run. They have no state but the types they have seen, so
    all of them share that: it is as costly to gather as a small activity.
    """

    def __init__(self) -> None:
        self.converters = _shared().converters

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """The values, each of which may be an `Unreadable`."""
        hints = (type_hints or [])[: len(payloads)]
        return [self._value(payload, hint) for payload, hint in zip_longest(payloads, hints)]

    def _value(self, payload: Payload, hint: type | None) -> Any:
        hints = None if hint is None else [hint]
        try:
            return super().from_payloads([payload], hints)[0]
        except Exception:
            pass
        if payload.metadata.get("encoding") != b"json/plain":
            return Unreadable("its encoding is not json/plain")
        try:
            mended = Payload(metadata=payload.metadata, data=mended_json(payload.data).encode())
            return super().from_payloads([mended], hints)[0]
        except Exception:
            return Unreadable(_why(payload.data.decode(errors="replace")))


@cache
def _shared() -> PydanticPayloadConverter:
    return PydanticPayloadConverter()


def _why(text: str) -> str:
    part = nested_too_deep(text)
    if part is None:
        return "it is not valid JSON, or not of the form that is expected"
    return str(UnusableValue((part,) if part else (), f"is nested more than {DEEPEST} levels deep"))


def decoding_totally(converter: DataConverter) -> DataConverter:
    """The same converter for a worker of workflows, where a payload that cannot be decoded must do no harm."""
    return dataclasses.replace(converter, payload_converter_class=TotalPayloadConverter)
