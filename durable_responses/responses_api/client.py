"""The Responses API over HTTP: one method, one request, sent once.

Timeouts are totals, not per phase. Nothing is retried here: the caller decides, by the class of the error (see
`errors`). https://platform.openai.com/docs/api-reference/responses
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import from_json

from durable_responses.responses_api.assembly import Assembly
from durable_responses.responses_api.bodies import (
    LARGE,
    BeforeEnd,
    CannotUnpack,
    EventReader,
    TooLarge,
    Upload,
    unpacked,
)
from durable_responses.responses_api.body_kinds import (
    has_too_many_values,
    is_blank,
    is_event_stream,
    is_json,
    is_list_of_events,
    is_markup,
)
from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.errors import (
    AnswerTooLarge,
    ConnectionLost,
    MalformedAnswer,
    Misconfigured,
    NotFound,
    NotSent,
    ResponsesError,
    delay,
    error_for_answer,
    error_for_event,
    refusal,
)
from durable_responses.responses_api.events import (
    ErrorEvent,
    Event,
    EventType,
    ResponseEvent,
    events_in,
    is_mark_of_the_end,
)
from durable_responses.responses_api.foreign_errors import error_in, error_instead
from durable_responses.responses_api.foreign_forms import unwrapped
from durable_responses.responses_api.models import (
    ANSWER_TOO_LARGE,
    NAMES_OF_FOLDERS,
    ContainerFile,
    ContainerFileList,
    CreateRequest,
    ErrorDetail,
    FunctionCall,
    IncompleteDetails,
    InputItem,
    InputItemList,
    InputTokens,
    Message,
    OutputItem,
    Response,
    ResponseStatus,
    error_fields,
    read_beginning,
    read_compaction,
    read_json,
    read_response,
)
from durable_responses.responses_api.redaction import Secrets, proxy_secrets, query_secrets
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
FINISHED_OR_GONE = (400, 404, 409)
"""What a provider answers to the cancel of a response that has finished, or that it does not know."""
PAGE_SIZE = 100
_MOST_PAGES = 1000


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
        headers: Mapping[str, str] = MappingProxyType({}),
        create_timeout: float = CREATE_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        max_connections: int = 1000,
        connection_age: float = CONNECTION_AGE,
        secrets: Sequence[str] = (),
    ) -> None:
        """`secrets`: values beside the key that requests hold, and that no answer may repeat."""
        self._create_timeout = create_timeout
        self._read_timeout = read_timeout
        url = _usable_url(base_url)
        proxy = environment_proxy(url)
        tls = httpx.create_ssl_context()
        key = _usable_key(api_key)
        self._secrets = Secrets((key, *proxy_secrets(proxy), *query_secrets(str(url)), *secrets))
        ours = {"user-agent": "durable-responses", "accept": "application/json", "accept-encoding": "gzip", **headers}
        if key:
            ours["authorization"] = f"Bearer {key}"
        pooled = pooled_transport(tls, proxy, max_connections, connection_age)
        self._connections = single_use_transport(tls, proxy, max_connections)
        # httpx would put our paths behind the query of a base URL.
        query, base = url.params, url.copy_with(query=None, fragment=None)
        self._url = lru_cache(maxsize=1000)(partial(_under, base))
        self._base = base
        self._reads = httpx.AsyncClient(params=query, headers=ours, transport=TracedTransport(pooled))
        self._single = httpx.AsyncClient(params=query, headers=ours, transport=TracedTransport(self._connections))

    @property
    def secrets(self) -> Secrets:
        """What no answer may repeat. Each event is masked; a text that is put together from several has to be, too."""
        return self._secrets

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, those of open streams included."""
        await self._reads.aclose()
        await self._single.aclose()

    def open_ahead(self) -> None:
        """Open a connection, in the background, for a create that probably follows within seconds.

        Worth it where the provider is far: a create then need not wait for the connection. Nothing is sent on it.
        """
        self._connections.open_ahead(self._base, CONNECT_TIMEOUT)

    async def create(
        self, request: CreateRequest, *, before_end: BeforeEnd | None = None, within: float | None = None
    ) -> Response:
        """POST a request that does not stream. The response is queued, in progress or finished.

        `before_end` is awaited before the last byte is sent; if it raises, the request was not sent (`NotSent`).
        `within`: seconds that the answer may take after it, where the server is known, or may be expected, to answer
        with the whole response.
        """
        if request.stream:
            raise ValueError("`stream` is true: follow this response with `stream()`.")
        http_request = self._request("POST", "/responses", self._create_timeout, body=request.body())
        http_request.extensions[_UPLOAD].before_end = before_end
        answer = await self._send(http_request, self._create_timeout, within)
        if (error := await _error_instead_of_response(answer)) is not None:
            raise refusal(answer.asked, error, answer.headers)
        return self._masked(await _response_in(answer))

    async def compact(self, request: CreateRequest, *, within: float) -> Response:
        """POST a conversation to be compacted; the response's output is what it begins anew with.

        Of the request, model, input, instructions and `previous_response_id` are sent. The answer takes as long as the
        compaction, `within` seconds of the last byte, and cannot be had a second time: it has no id to read it by.
        """
        body = {name: value for name, value in request.body().items() if name in _COMPACTED_BY}
        answer = await self._send(
            self._request("POST", "/responses/compact", self._create_timeout, body=body), self._create_timeout, within
        )
        if (error := await _error_instead_of_response(answer)) is not None:
            raise refusal(answer.asked, error, answer.headers)
        compacted = await _read(Response, answer, read_compaction)
        if not compacted.output:
            raise MalformedAnswer(f"The answer to {answer.asked} holds no conversation.", status=answer.status)
        return compacted

    async def input_tokens(self, request: CreateRequest) -> int:
        """How many tokens a request gives to the model, with the conversation that it continues."""
        body = {name: value for name, value in request.body().items() if name in _COUNTED_BY}
        asked = self._request("POST", "/responses/input_tokens", self._read_timeout, body=body)
        counted = await _read(InputTokens, await self._send(asked, self._read_timeout))
        return counted.input_tokens

    async def retrieve(self, response_id: str) -> Retrieved:
        """GET a response as it is now. Its id may differ from the one asked for."""
        answer = await self._send(self._request("GET", _path(response_id), self._read_timeout), self._read_timeout)
        poll_after = delay(answer.headers.get("openai-poll-after-ms"), per_second=1000)
        return Retrieved(self._masked(await _response_in(answer, response_id)), poll_after)

    async def cancel(self, response_id: str) -> Response:
        """Stop a background response; may be repeated. A finished one answers 400, 404 or 409: then retrieve it."""
        request = self._request("POST", _path(response_id, "/cancel"), self._read_timeout)
        return self._masked(await _response_in(await self._send(request, self._read_timeout), response_id))

    def _masked(self, response: Response) -> Response:
        if response.output:  # one that was not sent stays one that was not sent
            response.output = [masked_item(item, self._secrets) for item in response.output]
        return response

    async def delete(self, response_id: str) -> None:
        """Delete a stored response."""
        await self._send(self._request("DELETE", _path(response_id), self._read_timeout), self._read_timeout)

    async def input_items(self, response_id: str) -> list[InputItem]:
        """All input items of a stored response, oldest first, page by page."""
        items: list[InputItem] = []
        query = {"order": "asc", "limit": str(PAGE_SIZE)}
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            request = self._request("GET", _path(response_id, "/input_items"), self._read_timeout, query=query)
            page = await _read(InputItemList, await self._send(request, self._read_timeout))
            items += page.data
            if not page.has_more:
                return items
            if page.last_id is None or page.last_id in seen:
                raise MalformedAnswer(
                    f"The answer to {_asked(request)} has more items but does not say after which one."
                )
            seen.add(page.last_id)
            query["after"] = page.last_id
        raise AnswerTooLarge(f"The answer to {_asked(request)} is too large: more than {_MOST_PAGES} pages")

    async def container_files(self, container_id: str, *, most: int = BUDGET.items) -> list[ContainerFile]:
        """The files in a container, oldest first, page by page, until there are `most`. `NotFound`: it has expired."""
        files: list[ContainerFile] = []
        query = {"order": "asc", "limit": str(PAGE_SIZE)}
        while True:
            request = self._request("GET", _container_path(container_id), self._read_timeout, query=query)
            page = await _read(ContainerFileList, await self._send(request, self._read_timeout))
            files += page.data
            if not page.has_more or not page.data or len(files) >= most:
                return files[:most]
            last = page.last_id or page.data[-1].id
            if last == query.get("after"):
                raise MalformedAnswer(f"The answer to {_asked(request)} has the same page again.")
            query["after"] = last

    @asynccontextmanager
    async def container_file(
        self, container_id: str, file_id: str, *, silence: float = READ_TIMEOUT
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a file in a container, in pieces: `async with client.container_file(…) as pieces: async for …`.

        `silence`: seconds without any byte, after which it is lost. No secret is masked in it: it is what it is.
        """
        path = _container_path(container_id, f"/{quote(file_id, safe='')}/content")
        request = self._request("GET", path, silence)
        request.headers.update({"accept": "*/*", "accept-encoding": "identity"})
        answer, _ = await self._open(request, silence)
        async with aclosing(answer), aclosing(self._pieces(answer, request, silence)) as pieces:
            yield pieces

    async def _pieces(self, answer: httpx.Response, request: httpx.Request, silence: float) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(unpacked(answer, silence, is_file=True)) as pieces:
                async for piece in pieces:
                    yield piece
        except FAILURES as failure:
            too_late = f"The answer to {_asked(request)} was silent for {silence:g} seconds."
            raise _error_for(failure, request, too_late, self._secrets) from failure

    @asynccontextmanager
    async def stream(
        self, request: CreateRequest, *, silence: float = SILENCE_LIMIT, before_end: BeforeEnd | None = None
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Create a response and follow its events: `async with client.stream(request) as events: async for …`.

        The iterator ends after `response.completed`, `.failed` or `.incomplete`, and raises in every other case: for
        an `error` event, when the stream ends early, and when no byte comes for `silence` seconds. The error's
        `response_id` is set if the stream had named it. Leaving the block closes the connection. The answer of a server
        that does not stream, one JSON object, comes as the last event. `before_end` as in `create()`.
        """
        http_request = self._request("POST", "/responses", silence, body=request.body() | {"stream": True})
        http_request.extensions[_UPLOAD].before_end = before_end
        async with self._events(http_request, silence) as events:
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
        upload = None if body is None else Upload(_encoded(body))
        request = self._reads.build_request(
            method,
            self._url(path),
            params=query,
            timeout=httpx.Timeout(None, connect=connecting, pool=connecting),
            content=upload,
            headers={} if upload is None else {"content-type": "application/json", "content-length": str(upload.size)},
        )
        request.extensions[_UPLOAD] = upload
        return request

    async def _send(self, request: httpx.Request, timeout: float, within: float | None = None) -> "Answer":
        """Send it once and read the answer. `timeout` seconds bound all of it, from the last byte that was sent;
        `within` takes their place after that byte.

        A server that streams although it was not asked to may take longer, as long as it sends anything.
        """
        answer, until = await self._open(request, timeout, within)
        timeout = within or timeout
        body = bytearray()
        try:
            async with aclosing(answer), asyncio.timeout_at(until) as limit, aclosing(unpacked(answer)) as pieces:
                async for piece in pieces:
                    body += piece
                    _check_size(body)
                    if is_event_stream(body):
                        limit.reschedule(_time() + timeout)
        except FAILURES as failure:
            is_cut = isinstance(failure, TooLarge) and is_json(body)
            is_there = is_cut or is_event_stream(body) or await _off_the_loop(len(body), partial(_is_whole, body))
            if not is_there:
                raise _error_for(failure, request, _too_late(request, timeout), self._secrets) from failure
        else:
            is_cut = False
        read = await _off_the_loop(len(body), partial(self._secrets.mask, bytes(body)))
        return Answer(_asked(request), answer.status_code, _masked(answer.headers, self._secrets), read, is_cut)

    async def _open(
        self, request: httpx.Request, timeout: float, within: float | None = None, *, stream: bool = False
    ) -> tuple[httpx.Response, float]:
        """Send it once; the answer up to its body, which is a success, and when the time is over for that."""
        http = self._single if stream or request.method == "POST" else self._reads
        upload: Upload | None = request.extensions[_UPLOAD]

        def patience() -> float:
            return within if within is not None and upload is not None and upload.is_sent else timeout

        try:
            async with asyncio.timeout(timeout) as limit:
                if upload is not None:
                    upload.on_progress = lambda: limit.reschedule(_time() + patience())
                answer = await http.send(request, stream=True)
                if answer.is_success:
                    return answer, limit.when() or 0.0
                reason = await _beginning(answer)
        except FAILURES as failure:
            error = _error_for(failure, request, _too_late(request, patience()), self._secrets)
            if upload is None or upload.is_sent or not isinstance(error, ConnectionLost):
                raise error from failure
            raise NotSent(f"The connection broke before {_asked(request)} was sent to its end: {error}") from failure
        reason = self._secrets.mask_refusal(reason)
        raise error_for_answer(_asked(request), answer.status_code, _masked(answer.headers, self._secrets), reason)

    @asynccontextmanager
    async def _events(self, request: httpx.Request, silence: float) -> AsyncIterator[AsyncIterator[Event]]:
        request.headers["accept"] = "text/event-stream"
        answer, _ = await self._open(request, silence, stream=True)
        answer.headers = _masked(answer.headers, self._secrets)
        async with aclosing(answer), aclosing(_follow(answer, silence, self._secrets)) as events:
            yield events


# --- requests ----------------------------------------------------------------------------------------------------


def _usable_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL as error:
        # What the library says of it may be a piece of a password.
        why = "" if "@" in base_url else f" ({error})"
        raise Misconfigured(f"The base URL is not a URL{why}: give one like https://api.openai.com/v1.") from None
    if url.scheme not in ("http", "https") or not url.host:
        shown = "" if "@" in base_url else f" {url.copy_with(query=None)!s}"
        raise Misconfigured(f"The base URL{shown} is not usable: give one like https://api.openai.com/v1.")
    if url.userinfo:
        raise Misconfigured(f"The base URL of {url.host} contains a user name or password: give an API key instead.")
    return url


def _under(base: httpx.URL, path: str) -> httpx.URL:
    """The URL of a path of the API. To put together and parse the same one for each request takes 2 % of a turn."""
    return base.copy_with(raw_path=base.raw_path.rstrip(b"/") + path.encode())


def _usable_key(api_key: SecretStr | None) -> str:
    key = api_key.get_secret_value().strip() if api_key else ""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Misconfigured(
            "The API key contains spaces, line breaks or other characters that no key has: set it again."
        )
    return key


def _path(response_id: str, rest: str = "") -> str:
    if response_id in NAMES_OF_FOLDERS:  # of a caller
        raise NotFound(f"There is no response with the id {response_id}.", status=404)
    return f"/responses/{quote(response_id, safe='')}{rest}"


def _container_path(container_id: str, rest: str = "") -> str:
    return f"/containers/{quote(container_id, safe='')}/files{rest}"


def _asked(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


def _encoded(body: dict[str, Any]) -> bytes:
    # A tool's output may hold lone surrogates, which UTF-8 cannot: they become question marks.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


_COMPACTED_BY = ("model", "input", "instructions", "previous_response_id")
_COUNTED_BY = (
    *_COMPACTED_BY,
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
)
_UPLOAD = "durable_responses.upload"  # the extension of a request that holds its body


def _time() -> float:
    return asyncio.get_running_loop().time()


# --- failures ----------------------------------------------------------------------------------------------------

FAILURES = (TimeoutError, TooLarge, CannotUnpack, *TRANSPORT_FAILURES)


def _masked(headers: httpx.Headers, secrets: Secrets) -> httpx.Headers:
    # Values may have characters that ASCII has not. httpx reads those, but writes them only where it is told how.
    masked = [(name, secrets.mask_refusal(value)) for name, value in headers.multi_items()]
    return httpx.Headers(masked, encoding=headers.encoding)


def _error_for(failure: Exception, request: httpx.Request, too_late: str, secrets: Secrets) -> ResponsesError:
    asked = _asked(request)
    match failure:
        case TimeoutError():
            return ConnectionLost(too_late)
        case TooLarge():
            return AnswerTooLarge(f"The answer to {asked} is too large: {failure}")
        case CannotUnpack():
            return MalformedAnswer(f"The answer to {asked} cannot be unpacked: {failure}")
        case _:
            return error_for_failure(asked, failure, secrets)


def _too_late(request: httpx.Request, timeout: float) -> str:
    return f"No answer to {_asked(request)} within {timeout:g} seconds."


def _is_whole(body: bytes | bytearray) -> bool:
    """Whether a body that has no end, because its length or its last chunk is wrong, is a JSON object all the same."""
    try:
        return body.rstrip().endswith(b"}") and isinstance(from_json(bytes(body)), dict)
    except ValueError:
        return False


def _check_size(body: bytes | bytearray) -> None:
    if len(body) > BUDGET.unpacked:
        raise TooLarge(f"more than {BUDGET.unpacked} bytes")


async def _beginning(answer: httpx.Response) -> bytes:
    """As much of an error's body as is worth reading."""
    body = bytearray()
    async with aclosing(answer), aclosing(unpacked(answer)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) >= BUDGET.error:
                break
    return bytes(body[: BUDGET.error])


# --- answers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, read to its end; `asked` names the request.

    `is_cut`: of a JSON text beyond the budget it is only the beginning.
    """

    asked: str
    status: int
    headers: httpx.Headers
    body: bytes
    is_cut: bool = False


Kind = TypeVar("Kind", bound=BaseModel)
T = TypeVar("T")


async def _off_the_loop(size: int, work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work) if size > LARGE else work()


async def _read(kind: type[Kind], answer: Answer, read: Callable[[Any], Kind] | None = None) -> Kind:
    if answer.is_cut:
        raise _too_large(answer)
    _check_values(answer)
    return await _off_the_loop(len(answer.body), partial(_parsed, kind, answer, read or kind.model_validate))


def _parsed(kind: type[Kind], answer: Answer, read: Callable[[Any], Kind]) -> Kind:
    try:
        return read(read_json(answer.body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
    except ValueError as error:
        is_a_page = is_markup(answer.body)
        reason = "body: it is a page, so check the base URL" if is_a_page else f"body: {error}"
    except Exception as error:  # whatever else an answer can make a parser raise is about this answer, too
        reason = f"body: {type(error).__name__}"
    # Outside the except blocks: as a cause, pydantic's text would carry the answer into logs and history.
    raise MalformedAnswer(
        f"The answer to {answer.asked} is not a {kind.__name__}: {reason}",
        status=answer.status,
        request_id=answer.headers.get("x-request-id"),
    )


def _check_values(answer: Answer) -> None:
    if has_too_many_values(answer.body):
        raise AnswerTooLarge(f"The answer to {answer.asked} is too large: {_TOO_MANY_VALUES}", status=answer.status)


_TOO_MANY_VALUES = f"more than {BUDGET.values} objects and lists"


def _too_large(answer: Answer) -> AnswerTooLarge:
    return AnswerTooLarge(f"The answer to {answer.asked} is too large: more than {BUDGET.unpacked} bytes")


def _beginning_of_response(answer: Answer) -> Response:
    """A response of which only the beginning was read: incomplete, with the text so far. Raises if there is none."""
    _check_values(answer)
    with suppress(ValueError):
        response = Response.model_validate(read_beginning(answer.body))
        if response.output_text:
            details = IncompleteDetails(reason=ANSWER_TOO_LARGE)
            cut = {"status": ResponseStatus.INCOMPLETE, "incomplete_details": details, "error": None}
            return response.model_copy(update=cut)
    raise _too_large(answer)


def masked_item(item: OutputItem, secrets: Secrets) -> OutputItem:
    """An item without our secrets in what it says, which may be put together from several parts or events."""
    match item:
        case FunctionCall():
            return item.model_copy(update={"arguments": secrets.mask(item.arguments)})
        case Message():
            text = secrets.mask(item.text)
            return item if text == item.text else item.with_text(text)
    return item


async def _error_instead_of_response(answer: Answer) -> ErrorDetail | None:
    """The error of a success that holds nothing else."""
    if is_event_stream(answer.body) or len(answer.body) > LARGE:
        return None
    try:
        fields = read_json(answer.body)
    except ValueError:
        return None
    return _only_an_error(fields)


def _only_an_error(fields: Any) -> ErrorDetail | None:
    if not isinstance(fields, dict) or fields.get("id") or fields.get("output") or unwrapped(fields, read_json):
        return None
    error = error_fields(fields.get("error"))
    if error is None:
        return error_instead(fields)
    detail = ErrorDetail.model_validate(error)
    return detail if detail.message else error_in(fields) or detail


async def _response_in(answer: Answer, response_id: str | None = None) -> Response:
    """The response, also of a server that streams it: then as far as its stream came.

    Of one beyond the budget, whose `incomplete_details` say so, there is what was read. `response_id`: the one that was
    asked for, which an answer without an id is about.
    """
    if answer.is_cut:
        return await _off_the_loop(len(answer.body), partial(_beginning_of_response, answer))
    if not (is_event_stream(answer.body) or is_list_of_events(answer.body)):
        return await _read(Response, answer, partial(read_response, response_id=response_id))
    try:
        assembly = await _off_the_loop(len(answer.body), partial(_assembled, answer))
    except TooLarge as failure:
        raise AnswerTooLarge(f"The answer to {answer.asked} is too large: {failure}") from None
    if assembly.response is None:
        raise MalformedAnswer(f"The answer to {answer.asked} is a stream without a response.", status=answer.status)
    return assembly.response


def _assembled(answer: Answer) -> Assembly:
    """What a stream that nobody asked for has brought. Raises the error in it as `stream()` does."""
    assembly, reader = Assembly(), EventReader()
    if is_list_of_events(answer.body):
        _check_values(answer)
        _takes_its_end(assembly, events_in(answer.body.decode(errors="replace")), answer)
        return assembly
    for message in (*reader.feed(answer.body), *reader.end()):
        if is_mark_of_the_end(message.data):
            assembly.end()
            break
        if has_too_many_values(message.data):
            raise TooLarge(f"one event has {_TOO_MANY_VALUES}")
        with suppress(ValueError):
            if _takes_its_end(assembly, events_in(message.data, message.event), answer):
                break
    return assembly


def _takes_its_end(assembly: Assembly, events: list[Event], answer: Answer) -> bool:
    for event in events:
        if isinstance(event, ErrorEvent):
            if assembly.response is None and event.status is None:
                raise refusal(answer.asked, event.error, answer.headers)
            raise error_for_event(event, assembly.response.id if assembly.response else None)
        if assembly.take(event).is_terminal:
            return True
    return False


# --- streams -----------------------------------------------------------------------------------------------------


async def _follow(answer: httpx.Response, silence: float, secrets: Secrets) -> AsyncGenerator[Event]:
    assembly = Assembly()
    try:
        async with aclosing(_heard(answer, silence, assembly, secrets)) as events:
            async for event in events:
                yield event
                if event.is_terminal:
                    return
        nameless = assembly.answer if assembly.response is None else None
        if nameless is not None:  # there is no id to read it by
            yield ResponseEvent(type=EventType.DONE, response=nameless)
            return
        raise ConnectionLost(f"The stream of {_asked(answer.request)} ended before the response did.")
    except ResponsesError as error:
        _tell_what_came(error, assembly)
        raise
    except FAILURES as failure:
        too_late = f"The stream of {_asked(answer.request)} was silent for {silence:g} seconds."
        raised = _error_for(failure, answer.request, too_late, secrets)
        _tell_what_came(raised, assembly)
        raise raised from failure


def _tell_what_came(error: ResponsesError, assembly: Assembly) -> None:
    error.response_id = assembly.response.id if assembly.response else None
    error.answer = assembly.answer


def _events_of(message: ServerSentEvent, secrets: Secrets) -> list[Event]:
    if has_too_many_values(message.data):
        raise TooLarge(f"one event has {_TOO_MANY_VALUES}")
    return events_in(secrets.mask(message.data), secrets.mask(message.event))


async def _heard(answer: httpx.Response, silence: float, assembly: Assembly, secrets: Secrets) -> AsyncGenerator[Event]:
    """The events of a stream, put right by what came before them.

    What cannot be read is left out: it may be nothing, and the response can still be read by its id. Raises
    MalformedAnswer at the end of a stream that ended in this way, and without its last event.
    """
    asked = _asked(answer.request)
    unreadable: ValueError | None = None
    async with aclosing(_messages(answer, silence)) as messages:
        async for message in messages:
            if isinstance(message, bytes):
                body = await _off_the_loop(len(message), partial(secrets.mask, message))
                is_cut = len(message) > BUDGET.unpacked
                yield await _only_event(body, answer, assembly, is_cut=is_cut)
                return
            if is_mark_of_the_end(message.data):
                if (end := assembly.end()) is not None:
                    yield end
                continue
            try:
                events = await _off_the_loop(len(message.data), partial(_events_of, message, secrets))
            except ValueError as error:
                unreadable = unreadable or error
                continue
            for event in events:
                if isinstance(event, ErrorEvent):
                    raise _error_for_event(event, answer, assembly)
                yield assembly.take(event, len(message.data) // len(events))
    if unreadable is not None:
        raise MalformedAnswer(f"The stream of {asked} is malformed: {unreadable}")


def _error_for_event(event: ErrorEvent, answer: httpx.Response, assembly: Assembly) -> ResponsesError:
    response_id = assembly.response.id if assembly.response else None
    if response_id is None and event.status is None:
        return refusal(_asked(answer.request), event.error, answer.headers)
    return error_for_event(event, response_id)


async def _messages(answer: httpx.Response, silence: float) -> AsyncGenerator[ServerSentEvent | bytes]:
    """The events as they come; or the whole body, once, of a server that does not stream."""
    reader, beginning, has_begun, is_whole = EventReader(), bytearray(), False, False
    async with aclosing(unpacked(answer, silence)) as pieces:
        async for piece in pieces:
            if is_whole:
                beginning += piece
                if len(beginning) > BUDGET.unpacked:
                    break
                continue
            if not has_begun and not is_blank(piece):
                has_begun, is_whole = True, is_json(piece) or is_markup(piece)
                if is_whole:
                    beginning += piece
                    continue
            for message in reader.feed(piece):
                yield message
    if is_whole:
        yield bytes(beginning)
        return
    for message in reader.end():
        if message.data.strip()[-1:] in ("}", "]"):  # else it was cut, like the stream
            yield message


async def _only_event(body: bytes, answer: httpx.Response, assembly: Assembly, *, is_cut: bool) -> Event:
    """The answer of a server that ignores `stream`, as an event."""
    asked = _asked(answer.request)
    if is_markup(body):
        raise MalformedAnswer(
            f"The answer to {asked} is not an event stream but a page, so check the base URL.",
            status=answer.status_code,
        )
    read = Answer(asked, answer.status_code, answer.headers, body, is_cut)
    if (error := await _error_instead_of_response(read)) is not None:
        raise refusal(asked, error, answer.headers)
    response = await _response_in(read)
    return assembly.take(ResponseEvent(type=EventType.DONE, response=response))
