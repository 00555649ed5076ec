"""Fetching from real servers on this machine. Which addresses are permitted, and how names resolve, is injected."""

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from durable_responses.tools import web
from durable_responses.tools.registry import Effect, ToolContext, ToolError
from durable_responses.tools.web import FETCHED_BYTES, REDIRECTS, Page, fetch, fetch_url

ANYWHERE = ToolContext(workspace=Path(), allow_private_addresses=True)
PUBLIC_ONLY = ToolContext(workspace=Path())


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole HTTP answer; header names are written with `_` for `-`."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return answer(status=status, Location=to)


@dataclass
class Server:
    """Answers each path with fixed bytes, and remembers what it was asked."""

    answers: dict[str, bytes]
    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            writer.write(self.answers[request.split()[1]])
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, **answers: bytes) -> AsyncIterator[Server]:
    """A server on a free port; `page=…` answers `/page`, `root=…` answers `/`."""
    server = Server({"/" + ("" if name == "root" else name): content for name, content in answers.items()})
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


class Names:
    """A resolver that knows some names, each with the answers it gives one after the other."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = answers

    async def __call__(self, host: str, _: int) -> list[str]:
        answers = self._answers[host.removesuffix(".test")]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def only(*addresses: str) -> Callable[[str], bool]:
    return lambda address: address in addresses


async def refused(url: str, context: ToolContext = ANYWHERE) -> str:
    with pytest.raises(ToolError) as caught:
        await fetch_url(context, url)
    return str(caught.value)


# --- what is answered ---------------------------------------------------------------------------------------------


async def test_a_page_is_answered_as_text_under_its_address() -> None:
    html = answer(b"<title>T</title><p>Hello <b>you</b>", Content_Type="text/html; charset=utf-8")
    async with serving(root=html) as server:
        assert await fetch_url(ANYWHERE, server.url()) == f"{server.url()}\n\nT\nHello you"


@pytest.mark.parametrize(
    ("media_type", "body", "text"),
    [
        ("text/plain", b"a <b> c", "a <b> c"),
        ("application/json", b'{"a": 1}', '{"a": 1}'),
        ("application/ld+json", b"{}", "{}"),
        ("text/plain; charset=iso-8859-1", b"Z\xfcrich", "Zürich"),
        ("text/plain; charset=utf-16", "Zürich".encode("utf-16"), "Zürich"),
        ("text/plain; charset=punycode", b"abc-", "abc-"),
        ("text/plain; charset=nonsense", b"abc", "abc"),
        ("text/plain", b"Z\xfcrich", "Z\N{REPLACEMENT CHARACTER}rich"),
        ("", b"plain", "plain"),
        ("text/html", b"", "[no text]"),
    ],
)
async def test_text_of_any_kind_is_answered(media_type: str, body: bytes, text: str) -> None:
    async with serving(root=answer(body, Content_Type=media_type)) as server:
        assert (await fetch_url(ANYWHERE, server.url())).removeprefix(server.url()).strip() == text


@pytest.mark.parametrize(("media_type", "body"), [("image/png", b"\x89PNG"), ("text/plain", b"a\0b"), ("", b"a\0b")])
async def test_what_is_no_text_is_refused(media_type: str, body: bytes) -> None:
    async with serving(root=answer(body, Content_Type=media_type)) as server:
        assert "is not text" in await refused(server.url())


async def test_an_error_answer_is_told_with_its_reason() -> None:
    gone = answer(b"no such page", "404 Not Found", Content_Type="text/plain")
    async with serving(root=gone) as server:
        assert await refused(server.url()) == f"{server.url()} answered 404 Not Found.\nno such page"


# --- limits -------------------------------------------------------------------------------------------------------


async def test_a_long_answer_is_cut_with_a_note() -> None:
    async with serving(root=answer(b"x" * (FETCHED_BYTES + 1), Content_Type="text/plain")) as server:
        text = await fetch_url(ANYWHERE, server.url())

    assert text.endswith("x\n[cut after 2,097,152 bytes]")
    assert text.count("x") == FETCHED_BYTES


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_packed_answer_is_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = answer(pack(b"Hello"), Content_Type="text/plain", Content_Encoding=encoding)
    async with serving(root=packed) as server:
        assert (await fetch_url(ANYWHERE, server.url())).endswith("Hello")


async def test_a_bomb_unpacks_no_further_than_the_limit() -> None:
    bomb = answer(gzip.compress(b"x" * 50_000_000), Content_Type="text/plain", Content_Encoding="gzip")
    async with serving(root=bomb) as server:
        page = await fetch(server.url(), permitted=only("127.0.0.1"), resolve=Names(**{"127.0.0.1": [["127.0.0.1"]]}))

    assert len(page.content) == FETCHED_BYTES
    assert page.is_cut


@pytest.mark.parametrize(("encoding", "told"), [("br", "'br' is not supported"), ("gzip", "damaged")])
async def test_what_cannot_be_unpacked_is_told(encoding: str, told: str) -> None:
    async with serving(root=answer(b"nonsense", Content_Encoding=encoding)) as server:
        assert told in await refused(server.url())


def test_the_tool_only_reads_and_is_bounded() -> None:
    assert fetch_url.effect is Effect.PURE
    assert fetch_url.timeout == 30


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "data:text/plain,hello",
        "gopher://127.0.0.1/",
        "example.org",
        "//example.org/",
        "http://",
        "http:///path",
        "http://[::1",
        "http://a:99999999/",
        "",
    ],
)
async def test_only_http_and_https_addresses_are_fetched(url: str) -> None:
    assert await refused(url)


async def test_credentials_in_an_address_are_neither_sent_nor_repeated() -> None:
    async with serving(root=answer(b"x")) as server:
        assert "hunter2" not in await refused(f"http://me:hunter2@127.0.0.1:{server.port}/")
    assert server.connections == 0


async def test_a_host_that_does_not_exist_is_told() -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(ToolError, match=r"The host 'gone\.test' was not found"):
        await fetch("http://gone.test/", permitted=only(), resolve=nowhere)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
async def test_addresses_of_this_machine_are_refused_however_they_are_written(host: str) -> None:
    async with serving(root=answer(b"secret")) as server:
        assert "not on the public internet" in await refused(server.url(host=host), PUBLIC_ONLY)
    assert server.connections == 0


async def test_a_name_of_a_private_address_is_refused() -> None:
    with pytest.raises(ToolError, match=r"'inner\.test' is not on the public internet"):
        await fetch("http://inner.test/", permitted=only("8.8.8.8"), resolve=Names(inner=[["10.0.0.1"]]))


async def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(ToolError, match="not on the public internet"):
        await fetch("http://mixed.test/", permitted=only("8.8.8.8"), resolve=Names(mixed=[["8.8.8.8", "10.0.0.1"]]))


async def test_the_address_that_was_judged_is_the_one_connected_to() -> None:
    """A name that changes its address after the check (DNS rebinding) is not asked again."""
    names = Names(rebinding=[["127.0.0.1"], ["10.0.0.1"]])
    async with serving(root=answer(b"fine", Content_Type="text/plain")) as server:
        page = await fetch(server.url(host="rebinding.test"), permitted=only("127.0.0.1"), resolve=names)

    assert page.content == b"fine"
    assert f"Host: rebinding.test:{server.port}\r\n" in server.requests[0]


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with serving(root=answer(b"fine", Content_Type="text/plain")) as server:
        page = await fetch(
            server.url(host="double.test"), permitted=lambda _: True, resolve=Names(double=[["::1", "127.0.0.1"]])
        )
    assert page.content == b"fine"


async def test_an_address_where_nobody_listens_is_told() -> None:
    async with serving() as server:
        pass
    assert "could not be fetched" in await refused(server.url())


async def test_a_connection_that_breaks_is_told() -> None:
    async with serving(root=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as server:
        assert "could not be fetched" in await refused(server.url())


# --- redirects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_followed(status: str) -> None:
    there = answer(b"there", Content_Type="text/plain")
    async with serving(root=redirect("/there", status), there=there) as server:
        assert await fetch_url(ANYWHERE, server.url()) == f"{server.url('/there')}\n\nthere"


async def test_a_redirect_to_a_private_address_is_refused() -> None:
    names = Names(outer=[["127.0.0.1"]], inner=[["10.0.0.1"]])
    async with serving(root=redirect("http://inner.test/")) as server:
        with pytest.raises(ToolError, match=r"'inner\.test' is not on the public internet"):
            await fetch(server.url(host="outer.test"), permitted=only("127.0.0.1"), resolve=names)


async def test_a_redirect_to_the_same_name_is_judged_again() -> None:
    names = Names(rebinding=[["127.0.0.1"], ["10.0.0.1"]])
    async with serving(root=redirect("/there"), there=answer(b"secret")) as server:
        with pytest.raises(ToolError, match="not on the public internet"):
            await fetch(server.url(host="rebinding.test"), permitted=only("127.0.0.1"), resolve=names)
    assert len(server.requests) == 1


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://me:secret@127.0.0.1/"])
async def test_a_redirect_leads_only_to_web_addresses(to: str) -> None:
    async with serving(root=redirect(to)) as server:
        assert "secret" not in await refused(server.url())


async def test_redirects_end() -> None:
    async with serving(root=redirect("/")) as server:
        assert "redirects more than 5 times" in await refused(server.url())
    assert len(server.requests) == REDIRECTS + 1


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key and certificate of `named.test`, which nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "named.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("named.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


@asynccontextmanager
async def serving_tls(pem: Path, asked: list[str | None]) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with serving(context, root=answer(b"secret", Content_Type="text/plain")) as server:
        yield server


async def fetch_tls(server: Server, host: str) -> Page:
    url = server.url(host=host).replace("http:", "https:")
    names = Names(named=[["127.0.0.1"]], other=[["127.0.0.1"]])
    return await fetch(url, permitted=only("127.0.0.1"), resolve=names)


async def test_a_certificate_that_nobody_trusts_is_refused(self_signed: Path) -> None:
    async with serving_tls(self_signed, []) as server:
        with pytest.raises(ToolError, match="certificate verify failed"):
            await fetch_tls(server, "named.test")
    assert server.requests == []


async def test_a_certificate_is_checked_against_the_name(self_signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_tls", lambda: ssl.create_default_context(cafile=self_signed))
    asked: list[str | None] = []

    async with serving_tls(self_signed, asked) as server:
        assert (await fetch_tls(server, "named.test")).content == b"secret"
        with pytest.raises(ToolError, match="Hostname mismatch"):
            await fetch_tls(server, "other.test")

    assert asked == ["named.test", "other.test"]


# --- pages --------------------------------------------------------------------------------------------------------


def test_a_cut_page_says_so() -> None:
    page = Page("http://a.test/", b"<p>begin", True, "text/html", None)
    assert page.text() == "begin\n[cut after 2,097,152 bytes]"
