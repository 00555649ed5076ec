import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr
from websockets import exceptions as library

from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    Misconfigured,
    NoSuchEndpoint,
    NotProcessed,
    OutcomeUnknown,
    Unreachable,
)
from durable_responses.responses_api.handshake import (
    ConnectOptions,
    Handshake,
    ProxyMode,
    ProxyOptions,
    RequestOverrides,
    TlsOptions,
    prepare,
)
from durable_responses.responses_api.websocket_connection import SocketClosed, error_for_handshake, open_socket
from tests.support import websocket_server
from tests.support.certificates import PASSPHRASE, Authority
from tests.support.websocket_server import Server, until

KEY = SecretStr("sk-test-0123456789abcdef")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def handshake(url: str, **overrides: Any) -> Handshake:
    options = ConnectOptions(handshake_timeout=5, close_timeout=0.2, overrides=RequestOverrides(**overrides))
    return prepare(url, KEY, options)


async def opens(shake: Handshake) -> None:
    """One socket can be opened and closed."""
    opened = await open_socket(shake)
    assert opened.is_open
    await opened.close(1000, "")


# --- TLS ----------------------------------------------------------------------------------------------------------


async def test_a_server_of_a_given_authority_is_trusted(authority: Authority, leak_free: None) -> None:
    """W16: ca."""
    async with websocket_server.running(authority.server("127.0.0.1")) as server:
        await opens(handshake(server.url, tls=TlsOptions(ca=authority.certificate)))


async def test_a_server_of_an_unknown_authority_is_not(authority: Authority, leak_free: None) -> None:
    """W16: verification is on, and the key is not sent."""
    async with websocket_server.running(authority.server("127.0.0.1")) as server:
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await open_socket(handshake(server.url))
        assert server.requests == []


async def test_a_certificate_for_another_name_is_refused(authority: Authority, leak_free: None) -> None:
    """W16: the name in the certificate counts."""
    async with websocket_server.running(authority.server("models.example")) as server:
        with pytest.raises(Unreachable, match="certificate"):
            await open_socket(handshake(server.url, tls=TlsOptions(ca=authority.certificate)))


async def test_the_name_in_the_certificate_can_be_given(authority: Authority, leak_free: None) -> None:
    """W16: server name."""
    async with websocket_server.running(authority.server("models.example")) as server:
        await opens(handshake(server.url, tls=TlsOptions(ca=authority.certificate, server_name="models.example")))


async def test_a_client_certificate_with_an_encrypted_key_is_presented(authority: Authority, leak_free: None) -> None:
    """W16: client cert, key and its passphrase."""
    identity = authority.issue("client", passphrase=PASSPHRASE)
    tls = TlsOptions(
        ca=authority.certificate,
        certificate=identity.certificate,
        key=identity.key,
        passphrase=SecretStr(PASSPHRASE),
    )
    async with websocket_server.running(authority.server("127.0.0.1", ask_for_certificate=True)) as server:
        await opens(handshake(server.url, tls=tls))
        with pytest.raises(Unreachable):
            await open_socket(handshake(server.url, tls=TlsOptions(ca=authority.certificate)))


# --- proxy --------------------------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """A CONNECT proxy that remembers what it was asked."""

    url: str = ""
    status: str = "200 OK"
    requests: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())
            if self.status.startswith("200"):
                await self._tunnel(request.split()[1], reader, writer)
        finally:
            writer.close()

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = target.rsplit(":", 1)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@asynccontextmanager
async def proxy_running(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Proxy]:
    proxy = Proxy()
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(proxy.serve(reader, writer)))

    async with await asyncio.start_server(accept, host, 0, ssl=tls) as listening:
        port = listening.sockets[0].getsockname()[1]
        proxy.url = f"{'https' if tls else 'http'}://{host}:{port}"
        yield proxy
        await until(lambda: all(task.done() for task in serving))


def through(url: str, **options: Any) -> ProxyOptions:
    return ProxyOptions(mode=ProxyMode.EXPLICIT, url=SecretStr(url), **options)


async def test_the_connection_goes_through_the_proxy(server: Server) -> None:
    """W16: proxy settings are applied; the proxy does not see the key."""
    async with proxy_running() as proxy:
        await opens(handshake(server.url, proxy=through(proxy.url)))
        (request,) = proxy.requests
    assert request.startswith(f"CONNECT {server.url.split('/')[2]} HTTP/1.1")
    assert KEY.get_secret_value() not in request
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"


async def test_the_proxy_is_told_user_and_password(server: Server) -> None:
    """W16: as they are in its URL."""
    async with proxy_running() as proxy:
        await opens(handshake(server.url, proxy=through(proxy.url.replace("//", "//me:pw@"))))
        assert "Proxy-Authorization: Basic bWU6cHc=" in proxy.requests[0]


async def test_tls_goes_through_the_proxy_to_the_server(authority: Authority, leak_free: None) -> None:
    """W16: TLS ends at the server, not at the proxy."""
    async with websocket_server.running(authority.server("127.0.0.1")) as server, proxy_running() as proxy:
        await opens(handshake(server.url, tls=TlsOptions(ca=authority.certificate), proxy=through(proxy.url)))
        assert len(proxy.requests) == 1


async def test_a_proxy_can_have_tls_of_its_own(authority: Authority, server: Server) -> None:
    """W16: an `https:` proxy, checked by its own settings."""
    async with proxy_running(authority.server("proxy.example")) as proxy:
        tls = TlsOptions(ca=authority.certificate, server_name="proxy.example")
        await opens(handshake(server.url, proxy=through(proxy.url, tls=tls)))
        assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [("407 Who Are You", AuthenticationFailed), ("502 Bad Gateway", Unreachable)]
)
async def test_a_proxy_that_refuses_is_an_error(server: Server, status: str, kind: type[Exception]) -> None:
    """W16: 407 is permanent, others may pass."""
    async with proxy_running() as proxy:
        proxy.status = status
        with pytest.raises(kind):
            await open_socket(handshake(server.url, proxy=through(proxy.url)))
    assert server.requests == []


async def test_a_proxy_may_have_a_private_address(server: Server) -> None:
    """W16: the rule about private addresses is about the server."""
    async with proxy_running(host=_own_address()) as proxy:
        await opens(handshake(server.url, proxy=through(proxy.url)))


async def test_a_proxy_that_is_not_there_is_an_error(server: Server) -> None:
    with pytest.raises(Unreachable):
        await open_socket(handshake(server.url, proxy=through("http://127.0.0.1:1")))


# --- address ------------------------------------------------------------------------------------------------------


async def test_a_name_that_leads_to_a_private_address_is_refused_before_the_key_is_sent(
    monkeypatch: pytest.MonkeyPatch, leak_free: None
) -> None:
    """W16: the address that was reached counts, not only the name."""
    received: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    address = _own_address()
    async with await asyncio.start_server(accept, address, 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        resolve_to(monkeypatch, address, port)
        direct = ProxyOptions(mode=ProxyMode.DIRECT)
        with pytest.raises(Misconfigured, match=f"{address} is not a public address"):
            await open_socket(handshake(f"ws://public.example:{port}/", allow_plaintext=True, proxy=direct))
        await until(lambda: received == [b""])


def _own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("This machine has no network but loopback.")
        address: str = probe.getsockname()[0]
    return address


def resolve_to(monkeypatch: pytest.MonkeyPatch, address: str, port: int) -> None:
    """DNS is the one thing that cannot be had for real here."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def getaddrinfo(*args: Any, **options: Any) -> Any:
        return answer

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


# --- what a failure means -----------------------------------------------------------------------------------------


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_failure_of_a_handshake_says_that_nothing_was_sent() -> None:
    """W23: whatever happens before dispatch is never an unknown outcome."""

    def outcome_unknown(kind: Any) -> bool:
        failure = kind.__new__(kind)
        failure.__dict__.update(
            response=websocket_server.refusal(418), name="x", value="y", method="m", protocol="p", args=("text",)
        )
        return isinstance(error_for_handshake(failure, handshake("wss://host")), OutcomeUnknown)

    assert {kind for kind in subclasses(library.InvalidHandshake) if outcome_unknown(kind)} == set()


def test_a_failure_of_the_network_may_pass() -> None:
    """W3: refused, timed out, unresolved, cut: another attempt may help."""
    failures: list[OSError | library.InvalidHandshake] = [
        ConnectionRefusedError(),
        TimeoutError(),
        socket.gaierror(),
        ssl.SSLError("x"),
        library.InvalidMessage("cut"),
    ]
    errors = {type(failure): error_for_handshake(failure, handshake("wss://host")) for failure in failures}
    assert {kind for kind, error in errors.items() if not isinstance(error, NotProcessed)} == set()


def test_a_server_that_switches_to_something_else_is_no_websocket_server() -> None:
    assert isinstance(
        error_for_handshake(library.InvalidUpgrade("Upgrade", "h2c"), handshake("wss://h")), NoSuchEndpoint
    )


async def test_a_server_that_hangs_up_during_the_handshake_may_be_back(leak_free: None) -> None:
    """W3: an interrupted handshake is retried."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        with pytest.raises(NotProcessed):
            await open_socket(handshake(f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"))


async def test_neither_message_nor_close_repeats_the_key(server: Server) -> None:
    """A25, over a WebSocket: spelled in whatever way."""
    opened = await open_socket(handshake(server.url))
    connection = (await server.peer()).connection
    spelled = "".join(f"\\u{ord(letter):04x}" for letter in KEY.get_secret_value())
    await connection.send(f'{{"type": "error", "message": "{spelled}"}}')
    await connection.close(4000, f"not {KEY.get_secret_value()}")
    assert await opened.receive() == '{"type": "error", "message": "***"}'
    with pytest.raises(SocketClosed) as closed:
        await opened.receive()
    assert closed.value.close.reason == "not ***"
