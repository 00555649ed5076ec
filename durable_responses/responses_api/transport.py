"""HTTP connections to the provider: how they are made, and what their failures prove.

httpx over aiohttp's connections, because httpx's own pool costs time in proportion to its connections. Two facts of
that combination matter here:

- httpx_aiohttp turns nearly every failure of a connection, a reset in the middle of an answer included, into
  `httpx.ConnectTimeout`. Only aiohttp's exception, which it keeps as the cause, tells whether anything was sent.
- On a kept connection that turns out to be dead, aiohttp sends idempotent requests a second time by itself. A POST it
  never does; but the POST that was lost on a dead connection may have arrived. So a POST gets a connection
  each that has carried nothing before (`spares`).
"""

import asyncio
import ipaddress
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable
from ssl import SSLContext
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.connector import AddrInfoType
from httpx_aiohttp import AiohttpTransport

from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionLost,
    Misconfigured,
    ResponsesError,
    Unreachable,
)
from durable_responses.responses_api.redaction import NO_SECRETS, Secrets
from durable_responses.responses_api.spares import SingleUseConnector, SingleUseTransport

# --- making connections ------------------------------------------------------------------------------------------

CONNECTION_AGE = 30.0
"""Seconds after which a connection is not used again: gateways cut theirs after 60, and a request may take 20."""


def pooled_transport(tls: SSLContext, proxy: str | None, max_connections: int, age: float) -> httpx.AsyncBaseTransport:
    """Connections that are kept for `age` seconds, for short requests that may be repeated."""

    def connections() -> AiohttpTransport:
        connector = aiohttp.TCPConnector(ssl=tls, limit=max_connections, keepalive_timeout=age)
        return AiohttpTransport(verify=tls, client=_session(connector, proxy))

    return RenewedTransport(connections, age)


def single_use_transport(tls: SSLContext, proxy: str | None, max_connections: int) -> SingleUseTransport:
    """A connection of its own for every request."""

    def session() -> aiohttp.ClientSession:
        connector = SingleUseConnector(ssl=tls, limit=max_connections, socket_factory=_socket_for_uploads)
        return _session(connector, proxy)

    return SingleUseTransport(AiohttpTransport(verify=tls, client=session))


def _session(connector: aiohttp.TCPConnector, proxy: str | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        proxy=proxy,
        response_class=_WithoutReason,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=BUDGET.header,
        max_field_size=BUDGET.header,
        max_headers=BUDGET.headers,
    )


class _WithoutReason(aiohttp.ClientResponse):
    """An answer without its reason phrase, which nobody reads: httpx_aiohttp fails where that is not UTF-8."""

    async def start(self, connection: "aiohttp.connector.Connection") -> aiohttp.ClientResponse:
        """Read the head of the answer."""
        await super().start(connection)
        self.reason = None
        return self


UPLOAD_BUFFER = 2**18  # bytes


def _socket_for_uploads(address: AddrInfoType) -> socket.socket:
    """A socket that takes little in advance, lest a request on a slow line look sent long before it is."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UPLOAD_BUFFER)
    return made


class RenewedTransport(httpx.AsyncBaseTransport):
    """Uses one transport for `age` seconds, then a new one; the old one is closed when its last request has ended.

    So a gateway that cuts connections by age finds none to cut: none is older than `age` and a request's own time.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], age: float) -> None:
        self._make = make
        self._age = age
        self._current: _Generation | None = None
        self._living: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over the current transport."""
        if self._current is None:
            self._current = _Generation(self._make())
            life = asyncio.create_task(self._live(self._current))
            self._living.add(life)
            life.add_done_callback(self._living.discard)
        return await self._current.send(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for life in list(self._living):
            life.cancel()
        await asyncio.gather(*self._living, return_exceptions=True)

    async def _live(self, generation: "_Generation") -> None:
        try:
            await asyncio.sleep(self._age)
            self._current = None
            await generation.unused.wait()
        finally:
            await generation.transport.aclose()


class _Generation:
    """A transport, and whether any request over it is under way."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.unused = asyncio.Event()
        self.unused.set()
        self._requests = 0

    async def send(self, request: httpx.Request) -> httpx.Response:
        self._requests += 1
        self.unused.clear()
        try:
            answer = await self.transport.handle_async_request(request)
        except BaseException:
            self._ended()
            raise
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        answer.stream = _Body(answer.stream, self._ended)
        return answer

    def _ended(self) -> None:
        self._requests -= 1
        if not self._requests:
            self.unused.set()


class _Body(httpx.AsyncByteStream):
    """The body of an answer; reports when it is closed."""

    def __init__(self, body: httpx.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._body = body
        self._closed = closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    async def aclose(self) -> None:
        closed, self._closed = self._closed, lambda: None
        try:
            await self._body.aclose()
        finally:
            closed()


def environment_proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment names for this address, or None. Loopback addresses never have one.

    Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (or the system's settings) as urllib does. Raises
    Misconfigured for a kind of proxy that aiohttp does not speak.
    """
    named = urllib.request.getproxies()
    proxy = named.get(url.scheme) or named.get("all")
    if not proxy or _is_loopback(url.host) or urllib.request.proxy_bypass(url.netloc.decode("ascii")):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        scheme = proxy.partition("://")[0]
        raise Misconfigured(
            f"The {scheme}:// proxy for {url.host} is not supported: name an http:// proxy, or list {url.host} in "
            "NO_PROXY."
        )
    if not _is_usable(proxy):
        # Nothing of it is shown: what looks like a port or a path may be a part of the password.
        raise Misconfigured(
            f"The proxy for {url.host} does not have a valid URL: use http://host:port, and in a user name or password "
            "write / ? # @ as %2F %3F %23 %40."
        )
    return proxy


def _is_usable(proxy: str) -> bool:
    try:
        address = urlsplit(proxy)
        return bool(address.hostname) and (address.port is None or address.port > 0) and "@" not in address.path
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- what a failure proves ---------------------------------------------------------------------------------------

# The first row that fits decides. aiohttp raises the first four before it has written anything of the request.
_PROVES: tuple[tuple[type[Exception], type[ResponsesError]], ...] = (
    (aiohttp.ClientConnectorError, Unreachable),
    (aiohttp.ConnectionTimeoutError, Unreachable),
    (aiohttp.ServerFingerprintMismatch, Unreachable),
    (aiohttp.ClientHttpProxyError, Unreachable),
    (aiohttp.InvalidURL, BadRequest),
    (aiohttp.NonHttpUrlClientError, BadRequest),
    (aiohttp.ClientError, ConnectionLost),
    (httpx.ConnectError, Unreachable),
    (httpx.ConnectTimeout, Unreachable),
    (httpx.PoolTimeout, Unreachable),
    (httpx.ProxyError, Unreachable),
    (httpx.UnsupportedProtocol, BadRequest),
    (httpx.LocalProtocolError, BadRequest),
    (httpx.InvalidURL, BadRequest),
    (httpx.RequestError, ConnectionLost),
)

TRANSPORT_FAILURES = (httpx.RequestError, httpx.InvalidURL, aiohttp.ClientError)


def what_it_proves(raised: type[Exception]) -> type[ResponsesError]:
    """What is known of a request that ended in an exception of this class."""
    return next((kind for known, kind in _PROVES if issubclass(raised, known)), ConnectionLost)


def error_for_failure(request: str, failure: Exception, secrets: Secrets = NO_SECRETS) -> ResponsesError:
    """The error for one of `TRANSPORT_FAILURES`; `request` names what was asked for ("POST /responses").

    `secrets` are not shown, whatever the library says: the key, and the proxy's password.
    """
    cause = failure.__cause__ if isinstance(failure.__cause__, aiohttp.ClientError) else failure
    if isinstance(cause, aiohttp.ClientHttpProxyError) and cause.status == 407:
        return AuthenticationFailed(f"The proxy requires a user name and password for {request}", status=407)
    kind = what_it_proves(type(cause))
    words = secrets.mask_refusal(" ".join(str(cause).replace(" ssl:default", "").split()))
    return kind(f"{_WHAT_HAPPENED[kind]} {request}: {words or type(cause).__name__}")


_WHAT_HAPPENED: dict[type[ResponsesError], str] = {
    Unreachable: "No connection to the provider for",
    ConnectionLost: "The connection was lost after sending",
    BadRequest: "The base URL cannot be used for",
}
