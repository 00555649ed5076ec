"""Judging what a server sends by the types of the official client, without its leniency.

`AsyncOpenAI` constructs its models without validating them. Here every field of everything is validated in pydantic's
strict mode, and fields that the published types do not know are reported.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from openai import AsyncOpenAI
from openai.resources.responses.responses import AsyncResponsesConnection
from openai.types.responses import Response, ResponsesServerEvent, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

Model = TypeVar("Model", bound=BaseModel)
# The API sends them; its published types forget them.
_UNPUBLISHED = frozenset(
    {
        "Response.store",
        "Response.billing",
        "Response.frequency_penalty",
        "Response.presence_penalty",
        "ResponseCustomToolCall.status",
    }
)
_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
_SERVER_EVENT: TypeAdapter[ResponsesServerEvent] = TypeAdapter(ResponsesServerEvent)
_ENDS_A_TURN = frozenset({"response.completed", "response.failed", "response.incomplete", "error"})


def read(kind: type[Model], body: bytes | str) -> Model:
    """A body as one of the client's models. Raises: ValidationError, or AssertionError for unknown fields."""
    model = kind.model_validate_json(body, strict=True)
    unknown = list(_unknown_fields(model, kind.__name__))
    assert not unknown, f"fields that the published types do not have: {', '.join(unknown)}"
    return model


def read_event(data: str) -> ResponseStreamEvent:
    """One event, checked in the same way."""
    event = _EVENT.validate_json(data, strict=True)
    unknown = list(_unknown_fields(event, event.type))
    assert not unknown, f"fields that the published types do not have: {', '.join(unknown)}"
    return event


def read_server_event(data: str | bytes) -> ResponsesServerEvent:
    """One event of a WebSocket, checked in the same way."""
    event = _SERVER_EVENT.validate_json(data, strict=True)
    unknown = list(_unknown_fields(event, event.type))
    assert not unknown, f"fields that the published types do not have: {', '.join(unknown)}"
    return event


async def create(client: AsyncOpenAI, **request: Any) -> Response:
    """`client.responses.create`, strictly read."""
    raw = await client.responses.with_raw_response.create(**request)
    return read(Response, raw.content)


async def retrieve(client: AsyncOpenAI, response_id: str) -> Response:
    """`client.responses.retrieve`, strictly read."""
    raw = await client.responses.with_raw_response.retrieve(response_id)
    return read(Response, raw.content)


async def cancel(client: AsyncOpenAI, response_id: str) -> Response:
    """`client.responses.cancel`, strictly read."""
    raw = await client.responses.with_raw_response.cancel(response_id)
    return read(Response, raw.content)


async def stream(client: AsyncOpenAI, **request: Any) -> AsyncIterator[ResponseStreamEvent]:
    """`client.responses.create(stream=True)`, strictly read."""
    async with client.responses.with_streaming_response.create(stream=True, **request) as raw:
        async for event in _events(raw.iter_lines()):
            yield event


async def resume(client: AsyncOpenAI, response_id: str, starting_after: int) -> AsyncIterator[ResponseStreamEvent]:
    """`client.responses.retrieve(stream=True)`, strictly read."""
    options: Any = {"stream": True, "starting_after": starting_after}
    async with client.responses.with_streaming_response.retrieve(response_id, **options) as raw:
        async for event in _events(raw.iter_lines()):
            yield event


class Socket:
    """`client.responses.connect()`, strictly read."""

    def __init__(self, connection: AsyncResponsesConnection) -> None:
        self.connection = connection

    async def event(self) -> ResponsesServerEvent:
        """The next event."""
        async with asyncio.timeout(120):
            return read_server_event(await self.connection.recv_bytes())

    async def events(self) -> AsyncIterator[ResponsesServerEvent]:
        """The events of one turn, up to its end."""
        while True:
            event = await self.event()
            yield event
            if event.type in _ENDS_A_TURN:
                return

    async def turn(self, **request: Any) -> list[ResponsesServerEvent]:
        """Ask for a response; all events of the answer."""
        await self.connection.response.create(**request)
        return [event async for event in self.events()]

    async def answer(self, **request: Any) -> Response:
        """Ask for a response that completes."""
        last = (await self.turn(**request))[-1]
        assert last.type == "response.completed", last
        return last.response


@asynccontextmanager
async def connected(client: AsyncOpenAI, **options: Any) -> AsyncIterator[Socket]:
    """An open WebSocket."""
    async with client.responses.connect(**options) as connection:
        yield Socket(connection)


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[ResponseStreamEvent]:
    named = ""
    async for line in lines:
        if line.startswith("event: "):
            named = line.removeprefix("event: ")
        elif line.startswith("data: ") and line != "data: [DONE]":
            event = read_event(line.removeprefix("data: "))
            assert event.type == named
            yield event


def _unknown_fields(value: object, where: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _unknown_fields(item, where)
    if not isinstance(value, BaseModel):
        return
    kind = type(value).__name__
    yield from (f"{where}.{name}" for name in value.model_extra or {} if f"{kind}.{name}" not in _UNPUBLISHED)
    for name in type(value).model_fields:
        yield from _unknown_fields(cast("object", getattr(value, name)), f"{where}.{name}")
