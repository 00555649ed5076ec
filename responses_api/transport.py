"""HTTP connections to the provider: how they are made, and what their failures prove.

httpx over aiohttp's connections, because httpx's own pool costs time in proportion to its connections. Two facts of
that combination matter here:

- httpx_aiohttp turns nearly every failure of a connection, a reset in mid-answer included, into
  `httpx.ConnectTimeout`. Only aiohttp's exception, which it keeps as the cause, tells whether anything was sent.
- On a kept connection that turns out to be dead, aiohttp sends idempotent requests a second time by itself. A POST it
  never does; but the POST that was lost on a dead connection may have arrived. So a POST gets a new connection each.
"""

import ipaddress
import urllib.request
from ssl import SSLContext

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionLost,
    Misconfigured,
    ResponsesError,
    Unreachable,
)

# --- making connections ------------------------------------------------------------------------------------------

KEEP_ALIVE = 60.0


def pooled_transport(tls: SSLContext, proxy: str | None, max_connections: int) -> AiohttpTransport:
    """Connections that are kept for `KEEP_ALIVE` seconds, for requests that may be repeated."""
    return AiohttpTransport(
        verify=tls,
        client=lambda: _session(
            aiohttp.TCPConnector(ssl=tls, limit=max_connections, keepalive_timeout=KEEP_ALIVE), proxy
        ),
    )


def single_use_transport(tls: SSLContext, proxy: str | None, max_connections: int) -> AiohttpTransport:
    """A new connection for every request."""
    return AiohttpTransport(
        verify=tls,
        client=lambda: _session(aiohttp.TCPConnector(ssl=tls, limit=max_connections, force_close=True), proxy),
    )


def _session(connector: aiohttp.TCPConnector, proxy: str | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, proxy=proxy, cookie_jar=aiohttp.DummyCookieJar())


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
        raise Misconfigured(
            f"The proxy {proxy} for {url.host} is not supported: name an http:// proxy, or list {url.host} in NO_PROXY."
        )
    return proxy


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


def error_for_failure(request: str, failure: Exception) -> ResponsesError:
    """The error for one of `TRANSPORT_FAILURES`; `request` names what was asked for ("POST /responses")."""
    cause = failure.__cause__ if isinstance(failure.__cause__, aiohttp.ClientError) else failure
    if isinstance(cause, aiohttp.ClientHttpProxyError) and cause.status == 407:
        return AuthenticationFailed(f"The proxy wants a user name and password for {request}", status=407)
    kind = what_it_proves(type(cause))
    words = " ".join(str(cause).replace(" ssl:default", "").split())
    return kind(f"{_WHAT_HAPPENED[kind]} {request}: {words or type(cause).__name__}")


_WHAT_HAPPENED: dict[type[ResponsesError], str] = {
    Unreachable: "No connection to the provider for",
    ConnectionLost: "The connection was lost after sending",
    BadRequest: "The base URL cannot be used for",
}
