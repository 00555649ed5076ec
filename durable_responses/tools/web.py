"""A function tool that fetches a page of the web as text, from public addresses only unless the worker allows others.

The address is checked after the name is resolved, and the connection is made to that very address, again for every
redirect: a name that changes its address between the check and the connection gains nothing. Hence no proxy is used,
which would resolve the name by itself.
"""

import asyncio
import functools
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import httpx
from pydantic import Field

from durable_responses.tools.addresses import is_public
from durable_responses.tools.html_text import html_text
from durable_responses.tools.registry import Effect, ToolContext, ToolError, tool

FETCHED_BYTES = 2 * 1024 * 1024
FETCH_SECONDS = 30
PHASE_SECONDS = 10
REDIRECTS = 5
ERROR_CHARACTERS = 500
HEADERS = {
    "Accept": "text/html, text/*, application/json, */*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "durable-responses",
}
HTML = re.compile(r"(text/html|application/xhtml\+xml)")
TEXT = re.compile(r"(text/.*|application/(.*\+)?(json|xml|yaml|x-yaml|javascript|x-ndjson|toml))")
# Python knows stranger codecs, some of which take a time that grows with the square of the text.
CHARSET = re.compile(
    r"(us-)?ascii|utf-?(8|16|32)(-?[lb]e)?|(iso|latin|windows|cp|koi8|gb|big5|euc|shift).*", re.IGNORECASE
)

Resolve = Callable[[str, int], Awaitable[list[str]]]


@tool(effect=Effect.PURE, timeout=FETCH_SECONDS)
async def fetch_url(context: ToolContext, url: Annotated[str, Field(description="Address with http or https.")]) -> str:
    """Fetch a web page or another text from the web. Returns the final address and the text, without markup."""
    permitted = _any_address if context.allow_private_addresses else is_public
    page = await fetch(url, permitted=permitted, resolve=_addresses_of)
    # Extraction takes up to half a second for the largest page.
    text = await asyncio.to_thread(page.text)
    return f"{page.url}\n\n{text or '[no text]'}"


@dataclass(frozen=True)
class Page:
    """The answer of an address: at most `FETCHED_BYTES` of its content."""

    url: str
    content: bytes
    is_cut: bool
    media_type: str
    charset: str | None

    def text(self) -> str:
        """The content as text. Raises `ToolError` if it is not text."""
        if self.media_type and not HTML.fullmatch(self.media_type) and not TEXT.fullmatch(self.media_type):
            raise ToolError(f"{self.url} is not text but {self.media_type}.")
        if b"\0" in self.content and not (self.charset or "").startswith("utf"):
            raise ToolError(f"{self.url} is not text but binary data.")
        text = self._decoded()
        text = html_text(text) if HTML.fullmatch(self.media_type) else text
        return f"{text}\n[cut after {FETCHED_BYTES:,} bytes]" if self.is_cut else text

    def _decoded(self) -> str:
        charset = self.charset if self.charset and CHARSET.fullmatch(self.charset) else "utf-8"
        try:
            return self.content.decode(charset, errors="replace")
        except LookupError:
            return self.content.decode(errors="replace")


async def fetch(url: str, *, permitted: Callable[[str], bool], resolve: Resolve) -> Page:
    """GET an address and follow its redirects, connecting only to addresses that are `permitted`.

    `resolve` turns a host and a port into IP addresses. Raises `ToolError` with a text that the model can act on.
    """
    target = _parse(url)
    for _ in range(REDIRECTS + 1):
        answer = await _get(target, await _permitted_addresses(target, permitted, resolve))
        if isinstance(answer, Page):
            return answer
        target = answer
    raise ToolError(f"{url} redirects more than {REDIRECTS} times.")


def _any_address(_: str) -> bool:
    return True


# --- where to connect --------------------------------------------------------------------------------------------


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        target = base.join(url) if base else httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise ToolError(f"{url!r} is not a valid address: {error}.") from error
    if target.scheme not in ("http", "https"):
        raise ToolError(f"{url!r} cannot be fetched: only http and https addresses can.")
    if not target.host:
        raise ToolError(f"{url!r} names no host.")
    if target.userinfo:
        raise ToolError(f"The address on {target.host} carries credentials; give it without user and password.")
    return target


async def _permitted_addresses(target: httpx.URL, permitted: Callable[[str], bool], resolve: Resolve) -> list[str]:
    port = target.port or {"http": 80, "https": 443}[target.scheme]
    try:
        addresses = await resolve(target.raw_host.decode(), port)
    except (OSError, UnicodeError) as error:
        raise ToolError(f"The host {target.host!r} was not found ({error}).") from error
    if not addresses or not all(map(permitted, addresses)):
        raise ToolError(f"{target.host!r} is not on the public internet, and this worker fetches from nowhere else.")
    return addresses


async def _addresses_of(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


# --- the exchange ------------------------------------------------------------------------------------------------


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


async def _get(target: httpx.URL, addresses: list[str]) -> Page | httpx.URL:
    """The page, or where it redirects to. Tries one address after the other until one takes the connection."""
    failure: httpx.HTTPError = httpx.ConnectError("no address")
    for address in addresses:
        try:
            return await _get_from(target, address)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = error
        except httpx.HTTPError as error:
            raise _unfetched(target, error) from error
    raise _unfetched(target, failure) from failure


def _unfetched(target: httpx.URL, error: httpx.HTTPError) -> ToolError:
    return ToolError(f"{target} could not be fetched: {str(error) or type(error).__name__}.")


async def _get_from(target: httpx.URL, address: str) -> Page | httpx.URL:
    """Connects to the address, while request and certificate are about the host."""
    headers = {**HEADERS, "Host": target.netloc.decode()}
    extensions = {"sni_hostname": target.raw_host.decode()}
    # A client for each exchange: a connection must not be used again for another host at the same address.
    async with (
        httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=PHASE_SECONDS) as client,
        client.stream("GET", target.copy_with(host=address), headers=headers, extensions=extensions) as response,
    ):
        if response.has_redirect_location:
            return _parse(response.headers["Location"], target)
        page = await _page(target, response)
    if response.is_error:
        shown = page.text()[:ERROR_CHARACTERS] if TEXT.fullmatch(page.media_type) else ""
        raise ToolError(f"{target} answered {response.status_code} {response.reason_phrase}.\n{shown}".strip())
    return page


async def _page(target: httpx.URL, response: httpx.Response) -> Page:
    received = bytearray()
    # Raw, since httpx would unpack without a limit.
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) > FETCHED_BYTES:
            break
    content = _unpack(target, bytes(received), response.headers.get("Content-Encoding", "identity").strip().lower())
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_cut = len(content) > FETCHED_BYTES or len(received) > FETCHED_BYTES
    return Page(str(target), content[:FETCHED_BYTES], is_cut, media_type, response.charset_encoding)


def _unpack(target: httpx.URL, content: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return content
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ToolError(f"{target} cannot be read: its encoding {encoding!r} is not supported.")
    try:
        # Recognises gzip and zlib headers; what was cut off in the middle unpacks as far as it goes.
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(content, FETCHED_BYTES + 1)
    except zlib.error as error:
        raise ToolError(f"{target} cannot be read: it is damaged ({error}).") from error
