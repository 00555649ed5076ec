"""Answers as ASGI applications: JSON, errors, event streams, a reset connection, and silence."""

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response as HttpAnswer
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from durable_responses.emulator.faults import BreakStream, StreamBreak
from durable_responses.emulator.http import breakable_connections
from durable_responses.emulator.objects.api_errors import (
    ApiError,
    ErrorAnswer,
    no_such_url,
    wrong_api_key,
    wrong_method,
)
from durable_responses.emulator.provider import Sent

JSON = "application/json"


def check_key(headers: Headers, api_key: str | None) -> None:
    """Whether a request may come in; with no key of our own, any may. Raises: ApiError 401."""
    if api_key is None:
        return
    given = headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {api_key}".encode()):
        raise wrong_api_key()


def api_headers() -> dict[str, str]:
    """The headers that the API adds to every answer."""
    return {"x-request-id": f"req_{secrets.token_hex(16)}", "openai-version": "2020-10-01"}


def json_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    """An answer of JSON."""
    return HttpAnswer(body, status, {**api_headers(), **(headers or {})}, JSON)


def bytes_answer(body: bytes) -> HttpAnswer:
    """An answer of bytes, as they are."""
    return HttpAnswer(body, 200, api_headers(), "application/octet-stream")


def error_answer(error: ApiError) -> HttpAnswer:
    """An error of the API."""
    return json_answer(ErrorAnswer(error=error.error).model_dump_json().encode(), error.status, error.headers)


async def refuse_url(request: Request, error: Exception) -> HttpAnswer:
    """Where nothing is served, or not for this method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    refusal = (wrong_method if status == 405 else no_such_url)(request.method, request.url.path)
    answer = error_answer(refusal)
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


async def no_websocket(websocket: WebSocket) -> None:
    """Where no WebSocket is served: the upgrade gets the same answer as any other request."""
    await websocket.send_denial_response(error_answer(no_such_url("GET", websocket.url.path)))


async def connection_reset(scope: Scope, receive: Receive, _: Send) -> None:
    """Resets the connection instead of answering."""
    breakable_connections.reset(scope)
    await client_gone(receive)  # uvicorn takes a return before the connection is lost for a mistake


async def no_answer(_: Scope, receive: Receive, __: Send) -> None:
    """Keeps the connection open and says nothing until the client leaves."""
    await client_gone(receive)


class EventStream:
    """Server-sent events. `hung_up` is called when the client leaves, or the stream breaks, before the last event."""

    def __init__(
        self, events: AsyncIterator[Sent], hung_up: Callable[[], None], broken: BreakStream | None = None
    ) -> None:
        self._events = events
        self._hung_up = hung_up
        self._broken = broken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        headers = {**api_headers(), "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        if await unless_gone(receive, self._send_events(send)):
            await send({"type": "http.response.body", "body": b""})
            return
        if self._broken is None or not self._broken.survives:
            self._hung_up()
        if self._broken is not None:
            await self._break(scope, receive, send)

    async def _send_events(self, send: Send) -> bool:
        left = self._broken.after_events if self._broken else None
        async for event in self._events:
            if left == 0:
                return False
            frame = b"event: %s\ndata: %s\n\n" % (event.type.encode(), event.data)
            await send({"type": "http.response.body", "body": frame, "more_body": True})
            left = None if left is None else left - 1
        return True

    async def _break(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._broken is not None
        if self._broken.how is StreamBreak.RESET:
            await connection_reset(scope, receive, send)
        elif self._broken.how is StreamBreak.CLOSE:
            await send({"type": "http.response.body", "body": b""})
        else:
            await client_gone(receive)


async def client_gone(receive: Receive) -> None:
    """Wait until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Awaitable[bool]) -> bool:
    """Do the work unless the client leaves first: then it is cancelled, and the answer is False."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(client_gone(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else False
    finally:
        for task in (doing, leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
