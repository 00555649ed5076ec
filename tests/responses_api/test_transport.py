import asyncio
import inspect
from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest

from durable_responses.emulator.faults import Delay, Fault, Operation
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionLost,
    Misconfigured,
    ResponsesError,
    Unreachable,
)
from durable_responses.responses_api.models import CreateRequest
from durable_responses.responses_api.transport import (
    TRANSPORT_FAILURES,
    environment_proxy,
    error_for_failure,
    what_it_proves,
)
from tests.responses_api.conftest import KEY
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Provider, answer, running

QUEUED = {"id": "resp_1", "object": "response", "status": "queued", "output": []}
REQUEST = CreateRequest(model="m", input="hello")

# --- the age of connections ---------------------------------------------------------------------------------------


async def test_a_connection_is_kept_for_the_next_read(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED), answer(QUEUED))
    await api.retrieve("resp_1")
    await api.retrieve("resp_1")
    assert provider.connections == 1


async def test_a_connection_that_has_its_age_is_not_used_again(provider: Provider) -> None:
    """Gateways cut old ones."""
    async with ResponsesClient(provider.url, KEY, connection_age=0.1) as api, asyncio.timeout(10):
        while provider.connections < 2:
            provider.will(answer(QUEUED))
            await api.retrieve("resp_1")


async def test_a_read_that_takes_longer_than_the_age_is_not_cut_short(emulator: RunningEmulator) -> None:
    async with ResponsesClient(emulator.base_url, None, connection_age=0.1) as api:
        created = await api.create(CreateRequest(model="scenario:echo", input="hello", background=True))
        await emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Delay(seconds=0.4)))
        assert (await api.retrieve(created.id)).response.id == created.id


# --- proxies ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@pytest.fixture
async def proxy() -> AsyncIterator[Provider]:
    """A proxy that answers in the name of every host."""
    async with running(Provider()) as proxy:
        yield proxy


def address_of(proxy: Provider, credentials: str = "") -> str:
    return f"http://{credentials}127.0.0.1:{proxy.port}"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("method", ["create", "retrieve"])
async def test_requests_go_through_the_proxy_of_the_environment(
    proxy: Provider, monkeypatch: pytest.MonkeyPatch, variable: str, method: str
) -> None:
    monkeypatch.setenv(variable, address_of(proxy))
    proxy.will(answer(QUEUED))
    async with ResponsesClient("http://provider.invalid/v1", KEY) as api:
        await (api.create(REQUEST) if method == "create" else api.retrieve("resp_1"))
    assert proxy.asked[0].target.startswith("http://provider.invalid/v1/responses")


async def test_the_proxy_gets_the_credentials_of_its_url(proxy: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", address_of(proxy, "me:p%40ss@"))
    proxy.will(answer(QUEUED))
    async with ResponsesClient("http://provider.invalid/v1", KEY) as api:
        await api.create(REQUEST)
    assert proxy.asked[0].headers["proxy-authorization"] == aiohttp.encode_basic_auth("me", "p@ss")
    assert proxy.asked[0].headers["authorization"] == f"Bearer {KEY.get_secret_value()}"


async def test_the_proxy_of_an_https_provider_does_not_see_the_key(
    proxy: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A25: the proxy only opens a tunnel."""
    monkeypatch.setenv("HTTPS_PROXY", address_of(proxy, "me:secret@"))
    proxy.will(answer(b"", 403))
    async with ResponsesClient("https://provider.invalid/v1", KEY) as api:
        with pytest.raises(Unreachable) as caught:
            await api.create(REQUEST)
    (asked,) = proxy.asked
    assert (asked.method, asked.target) == ("CONNECT", "provider.invalid:443")
    assert asked.headers["proxy-authorization"] == aiohttp.encode_basic_auth("me", "secret")
    assert "authorization" not in asked.headers
    assert "secret" not in str(caught.value)


async def test_a_proxy_that_wants_a_password_is_named(proxy: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address_of(proxy))
    proxy.will(answer(b"", 407))
    async with ResponsesClient("https://provider.invalid/v1", KEY) as api:
        with pytest.raises(AuthenticationFailed, match="proxy requires a user name"):
            await api.create(REQUEST)


async def test_a_proxy_that_is_not_there_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(Provider()) as gone:
        monkeypatch.setenv("HTTP_PROXY", address_of(gone))
    async with ResponsesClient("http://provider.invalid/v1", KEY) as api:
        with pytest.raises(Unreachable):
            await api.create(REQUEST)


PROXIED = [
    ("http://provider.example/v1", "", True),
    ("http://provider.example/v1", "other.example", True),
    ("http://provider.example/v1", "provider.example", False),
    ("http://provider.example/v1", "other.example, .example", False),
    ("http://provider.example:8000/v1", "provider.example:8000", False),
    ("http://provider.example:8000/v1", "provider.example:9000", True),
    ("http://provider.example/v1", "*", False),
    ("https://provider.example/v1", "", False),
    ("http://localhost:8000/v1", "", False),
    ("http://emulator.localhost/v1", "", False),
    ("http://127.0.0.2:8000/v1", "", False),
    ("http://[::1]:8000/v1", "", False),
    ("http://10.0.0.1/v1", "", True),
]


def test_the_proxy_is_used_for_its_scheme_and_not_for_what_no_proxy_lists_or_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
    found = []
    for base_url, no_proxy, _ in PROXIED:
        monkeypatch.setenv("NO_PROXY", no_proxy)
        found.append((base_url, no_proxy, environment_proxy(httpx.URL(base_url)) == "http://proxy.example:3128"))
    assert found == PROXIED


def test_a_kind_of_proxy_that_cannot_be_used_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@proxy.example:1080")
    with pytest.raises(Misconfigured, match=r"socks5:// proxy .* NO_PROXY") as caught:
        ResponsesClient("http://provider.invalid/v1", KEY)
    assert "secret" not in repr(caught.value)


@pytest.mark.parametrize("password", ["se/cret", "se?cret", "se#cret", "se@cr/et", "12/secret", "[secret"])
def test_of_a_proxy_that_is_not_a_url_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    """What libraries take for its port or path is a part of the password."""
    monkeypatch.setenv("HTTP_PROXY", f"http://me:{password}@proxy.example:3128")
    with pytest.raises(Misconfigured, match="does not have a valid URL") as caught:
        ResponsesClient("http://provider.invalid/v1", KEY)
    assert not any(part in str(caught.value) for part in ("cret", "me:", "12/"))


# --- what a failure proves ----------------------------------------------------------------------------------------

# Written out, so that a class that is new in httpx or aiohttp has to be thought about.
PROVES: dict[type[ResponsesError], set[type[Exception]]] = {
    Unreachable: {
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        aiohttp.ClientConnectorError,
        aiohttp.ClientConnectorDNSError,
        aiohttp.ClientConnectorSSLError,
        aiohttp.ClientConnectorCertificateError,
        aiohttp.ClientSSLError,
        aiohttp.ClientProxyConnectionError,
        aiohttp.ClientHttpProxyError,
        aiohttp.client_exceptions.UnixClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.ServerFingerprintMismatch,
    },
    ConnectionLost: {
        httpx.RequestError,
        httpx.TransportError,
        httpx.TimeoutException,
        httpx.ReadTimeout,
        httpx.WriteTimeout,
        httpx.NetworkError,
        httpx.ReadError,
        httpx.WriteError,
        httpx.CloseError,
        httpx.ProtocolError,
        httpx.RemoteProtocolError,
        httpx.DecodingError,
        httpx.TooManyRedirects,
        aiohttp.ClientError,
        aiohttp.ClientConnectionError,
        aiohttp.ClientConnectionResetError,
        aiohttp.ClientOSError,
        aiohttp.ClientPayloadError,
        aiohttp.ClientResponseError,
        aiohttp.ContentTypeError,
        aiohttp.RedirectClientError,
        aiohttp.ServerConnectionError,
        aiohttp.ServerDisconnectedError,
        aiohttp.ServerTimeoutError,
        aiohttp.SocketTimeoutError,
        aiohttp.TooManyRedirects,
        aiohttp.UploadAbortedError,
        aiohttp.WSServerHandshakeError,
    },
    BadRequest: {
        httpx.InvalidURL,
        httpx.LocalProtocolError,
        httpx.UnsupportedProtocol,
        aiohttp.InvalidURL,
        aiohttp.InvalidUrlClientError,
        aiohttp.InvalidUrlRedirectClientError,
        aiohttp.NonHttpUrlClientError,
        aiohttp.NonHttpUrlRedirectClientError,
    },
}


def test_every_failure_of_a_connection_has_its_meaning() -> None:
    proven: dict[type[ResponsesError], set[type[Exception]]] = {}
    for module in (httpx, aiohttp.client_exceptions):
        for _, raised in inspect.getmembers(module, inspect.isclass):
            if issubclass(raised, TRANSPORT_FAILURES):
                proven.setdefault(what_it_proves(raised), set()).add(raised)
    assert proven == PROVES


@pytest.mark.parametrize("raised", [httpx.ConnectTimeout, httpx.ReadError])
def test_what_httpx_calls_it_matters_less_than_what_aiohttp_saw(raised: type[httpx.RequestError]) -> None:
    """httpx_aiohttp calls a connection that was cut after sending a `ConnectTimeout`."""
    failure = raised("cut")
    failure.__cause__ = aiohttp.ServerDisconnectedError()
    assert isinstance(error_for_failure("POST /responses", failure), ConnectionLost)
