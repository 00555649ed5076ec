"""The Responses API over HTTP: one method, one request, sent once.

Timeouts are totals, not per phase. Nothing is retried here: the caller decides, by the class of the error (see
`errors`). https://platform.openai.com/docs/api-reference/responses
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import BaseModel, SecretStr, ValidationError

from durable_responses.responses_api.errors import (
    ConnectionLost,
    MalformedAnswer,
    Misconfigured,
    ResponsesError,
    delay,
    error_for_answer,
    error_for_event,
)
from durable_responses.responses_api.events import ErrorEvent, Event, ResponseEvent, parse_event
from durable_responses.responses_api.models import CreateRequest, InputItem, InputItemList, Response, read_json
from durable_responses.responses_api.redaction import without_values
from durable_responses.responses_api.tracing import TracedTransport
from durable_responses.responses_api.transport import (
    CONNECTION_AGE,
    TRANSPORT_FAILURES,
    environment_proxy,
    error_for_failure,
    pooled_transport,
    single_use_transport,
)

CREATE_TIMEOUT = 30.0
READ_TIMEOUT = 20.0
CONNECT_TIMEOUT = 10.0
SILENCE_LIMIT = 300.0
PAGE_SIZE = 100
_PIECE_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The answer to a GET; `poll_after` is how many seconds the server asks to wait before the next one."""

    response: Response
    poll_after: float | None


class ResponsesClient:
    """A client of one provider. Use it in one event loop, and close it with `aclose()` or `async with`.

    Every failure is a `ResponsesError`; a URL, key or proxy that cannot be used is `Misconfigured`, before any request.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr | None,
        *,
        create_timeout: float = CREATE_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        max_connections: int = 1000,
        connection_age: float = CONNECTION_AGE,
    ) -> None:
        self._create_timeout = create_timeout
        self._read_timeout = read_timeout
        url = _usable_url(base_url)
        proxy = environment_proxy(url)
        tls = httpx.create_ssl_context()
        self._key = _usable_key(api_key)
        headers = {"user-agent": "durable-responses", "accept": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        pooled = pooled_transport(tls, proxy, max_connections, connection_age)
        single = single_use_transport(tls, proxy, max_connections)
        self._reads = httpx.AsyncClient(base_url=url, headers=headers, transport=TracedTransport(pooled))
        self._single = httpx.AsyncClient(base_url=url, headers=headers, transport=TracedTransport(single))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, those of open streams included."""
        await self._reads.aclose()
        await self._single.aclose()

    async def create(self, request: CreateRequest) -> Response:
        """POST a request that does not stream. The response is queued, in progress or finished."""
        if request.stream:
            raise ValueError("`stream` is true: follow this response with `stream()`.")
        http_request = self._request("POST", "/responses", self._create_timeout, body=request.body())
        return _read(Response, await self._send(http_request, self._create_timeout))

    async def retrieve(self, response_id: str) -> Retrieved:
        """GET a response as it is now. Its id may differ from the one asked for."""
        answer = await self._send(self._request("GET", _path(response_id), self._read_timeout), self._read_timeout)
        poll_after = delay(answer.headers.get("openai-poll-after-ms"), per_second=1000)
        return Retrieved(_read(Response, answer), poll_after)

    async def cancel(self, response_id: str) -> Response:
        """Stop a background response; may be repeated. A finished one answers 400, 404 or 409: then retrieve it."""
        request = self._request("POST", _path(response_id, "/cancel"), self._read_timeout)
        return _read(Response, await self._send(request, self._read_timeout))

    async def delete(self, response_id: str) -> None:
        """Delete a stored response."""
        await self._send(self._request("DELETE", _path(response_id), self._read_timeout), self._read_timeout)

    async def input_items(self, response_id: str) -> list[InputItem]:
        """All input items of a stored response, oldest first, page by page."""
        items: list[InputItem] = []
        query = {"order": "asc", "limit": str(PAGE_SIZE)}
        while True:
            request = self._request("GET", _path(response_id, "/input_items"), self._read_timeout, query=query)
            page = _read(InputItemList, await self._send(request, self._read_timeout))
            items += page.data
            if not page.has_more:
                return items
            if page.last_id is None or page.last_id == query.get("after"):
                raise MalformedAnswer(
                    f"The answer to {_asked(request)} has more items but does not say after which one."
                )
            query["after"] = page.last_id

    @asynccontextmanager
    async def stream(
        self, request: CreateRequest, *, silence: float = SILENCE_LIMIT
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Create a response and follow its events: `async with client.stream(request) as events: async for …`.

        The iterator ends after `response.completed`, `.failed` or `.incomplete`, and raises in every other case: for
        an `error` event, when the stream ends early, and when no event comes for `silence` seconds. The error's
        `response_id` is set if the stream had named it. Leaving the block closes the connection.
        """
        body = request.body() | {"stream": True}
        async with self._events(self._request("POST", "/responses", silence, body=body), silence) as events:
            yield events

    @asynccontextmanager
    async def resume(
        self, response_id: str, starting_after: int | None = None, *, silence: float = SILENCE_LIMIT
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Follow a response that was created with `stream` and `background`, from the event after that number.

        As `stream()`. OpenAI refuses this for a response older than five minutes.
        """
        query = {"stream": "true"} | ({} if starting_after is None else {"starting_after": str(starting_after)})
        async with self._events(self._request("GET", _path(response_id), silence, query=query), silence) as events:
            yield events

    def _request(
        self,
        method: str,
        path: str,
        timeout: float,
        *,
        query: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> httpx.Request:
        # Well under the total: a host that takes no connection must not look like one that lost the request.
        connecting = min(CONNECT_TIMEOUT, timeout / 2)
        return self._reads.build_request(
            method,
            path,
            params=query,
            timeout=httpx.Timeout(None, connect=connecting, pool=connecting),
            **({} if body is None else _content(body)),
        )

    async def _send(self, request: httpx.Request, timeout: float, *, stream: bool = False) -> httpx.Response:
        """Send it once. `timeout` seconds bound all of it; with `stream`, all but reading the body."""
        http = self._single if stream or request.method == "POST" else self._reads
        try:
            async with asyncio.timeout(timeout):
                answer = await http.send(request, stream=stream)
                if answer.is_success:
                    return answer
                async with aclosing(answer):
                    reason = await answer.aread()
        except TimeoutError as failure:
            raise ConnectionLost(f"No answer to {_asked(request)} within {timeout:g} seconds.") from failure
        except TRANSPORT_FAILURES as failure:
            raise error_for_failure(_asked(request), failure) from failure
        reason = without_values(reason, [self._key])
        raise error_for_answer(_asked(request), answer.status_code, answer.headers, reason)

    @asynccontextmanager
    async def _events(self, request: httpx.Request, silence: float) -> AsyncIterator[AsyncIterator[Event]]:
        request.headers["accept"] = "text/event-stream"
        answer = await self._send(request, silence, stream=True)
        async with aclosing(answer), aclosing(_follow(answer, silence)) as events:
            yield events


# --- requests ----------------------------------------------------------------------------------------------------


def _usable_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL as error:
        raise Misconfigured(f"The base URL is not a URL ({error}): give one like https://api.openai.com/v1.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise Misconfigured(f"The base URL {url!s} is not usable: give one like https://api.openai.com/v1.")
    if url.userinfo:
        raise Misconfigured(f"The base URL of {url.host} contains a user name or password: give an API key instead.")
    return url


def _usable_key(api_key: SecretStr | None) -> str:
    key = api_key.get_secret_value().strip() if api_key else ""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Misconfigured(
            "The API key contains spaces, line breaks or other characters that no key has: set it again."
        )
    return key


def _path(response_id: str, rest: str = "") -> str:
    return f"/responses/{quote(response_id, safe='')}{rest}"


def _asked(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


def _content(body: dict[str, Any]) -> dict[str, Any]:
    # A tool's output may hold lone surrogates, which UTF-8 cannot: they become question marks.
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return {
        "content": _pieces(data),
        "headers": {"content-type": "application/json", "content-length": str(len(data))},
    }


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    """In pieces, because aiohttp warns of large bodies in one."""
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]


# --- answers -----------------------------------------------------------------------------------------------------

Answer = TypeVar("Answer", bound=BaseModel)


def _read(kind: type[Answer], answer: httpx.Response) -> Answer:
    try:
        return kind.model_validate(read_json(answer.content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
    except ValueError as error:
        reason = f"body: {error}"
    except Exception as error:  # whatever else an answer can make a parser raise is about this answer, too
        reason = f"body: {type(error).__name__}"
    # Outside the except blocks: as a cause, pydantic's text would carry the answer into logs and history.
    raise MalformedAnswer(
        f"The answer to {_asked(answer.request)} is not a {kind.__name__}: {reason}",
        status=answer.status_code,
        request_id=answer.headers.get("x-request-id"),
    )


async def _follow(answer: httpx.Response, silence: float) -> AsyncGenerator[Event]:
    response_id: str | None = None
    async with aclosing(EventSource(answer).aiter_sse()) as messages:
        while True:
            try:
                event = await _next_event(messages, silence, _asked(answer.request))
            except ResponsesError as error:
                error.response_id = response_id
                raise
            if isinstance(event, ErrorEvent):
                raise error_for_event(event, response_id)
            if isinstance(event, ResponseEvent):
                response_id = event.response.id
            yield event
            if event.is_terminal:
                return


async def _next_event(messages: AsyncIterator[ServerSentEvent], silence: float, asked: str) -> Event:
    try:
        async with asyncio.timeout(silence):
            async for message in messages:
                if message.data and message.data != "[DONE]":
                    return parse_event(message.data)
    except TimeoutError as failure:
        raise ConnectionLost(f"The stream of {asked} was silent for {silence:g} seconds.") from failure
    except SSEError as failure:
        raise MalformedAnswer(f"The answer to {asked} is not an event stream: {failure}") from failure
    except TRANSPORT_FAILURES as failure:
        raise error_for_failure(asked, failure) from failure
    except ValueError as failure:
        raise MalformedAnswer(f"The stream of {asked} is malformed: {failure}") from failure
    raise ConnectionLost(f"The stream of {asked} ended before the response did.")
