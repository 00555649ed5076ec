"""OAuth for MCP servers over HTTP: tokens in files that the workers of a state folder share, and how one logs in.

The library does the flow. It counts a token's time in its process and stores neither that nor where tokens are renewed;
both are in the file, so that a worker that starts later renews a token instead of asking its user again. A token that
renews others is good for once: of all sessions, in all workers, one renews, and the others take what it has been given.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.auth.oauth2 import OAuthContext
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
)
from pydantic import AnyUrl, BaseModel, ValidationError

from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.messages import problem_of
from durable_responses.mcp_tools.transports import UNAUTHORIZED, no_connection

_NAME = "durable-responses"
_ANSWERED_WITHIN = 300.0  # seconds
_RENEWED_WITHIN = 60.0  # seconds
_LOOKS = 0.05
_LONGEST_CAUSE = 300  # characters
_LONG_AGO = 1.0  # seconds since the epoch
_LONGEST_REQUEST = 16 * 1024  # bytes
_PAGE = "<!doctype html><title>durable-responses</title><p>You can close this page."


class _Stored(BaseModel):
    """What the file holds. `expires_at`: seconds since the epoch."""

    tokens: OAuthToken | None = None
    expires_at: float | None = None
    client: OAuthClientInformationFull | None = None
    metadata: OAuthMetadata | None = None


class TokenFile:
    """The tokens for one server, in a file that its user alone can read; a `TokenStorage` of the library."""

    def __init__(self, folder: Path, server: str, url: str) -> None:
        self.path = folder / f"{server}-{hashlib.sha256(url.encode()).hexdigest()[:12]}.json"
        self.context: OAuthContext | None = None
        self._seen: tuple[int, int] | None = None

    @property
    def is_there(self) -> bool:
        """Whether anybody has logged in."""
        return self.path.exists()

    def read(self) -> _Stored:
        """What it holds; nothing, where it cannot be read."""
        try:
            return _Stored.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return _Stored()

    def remember(self, context: OAuthContext) -> None:
        """Let the library know what it has not stored: when the token expires, and where it is renewed."""
        self.context = context
        self.look()

    def look(self) -> None:
        """Let the library know what others have stored since."""
        if self.context is None:
            return
        if (changed := self._changed_at()) == self._seen and self.context.current_tokens is not None:
            return
        self._seen, stored = changed, self.read()
        self.context.current_tokens, self.context.token_expiry_time = stored.tokens, stored.expires_at
        self.context.oauth_metadata = stored.metadata or self.context.oauth_metadata

    def _changed_at(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """While inside, nobody else renews the token. Raises `TimeoutError` where somebody does so for too long."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.path.with_suffix(".renewing"), "w") as file:  # noqa: ASYNC230 - nothing is written
            async with asyncio.timeout(_RENEWED_WITHIN):
                while not _is_locked(file):  # noqa: ASYNC110 - others may be other processes
                    await asyncio.sleep(_LOOKS)
            yield  # the lock ends with the file, and with the process

    async def get_tokens(self) -> OAuthToken | None:
        """For the library."""
        return self.read().tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """For the library."""
        expires_at = time.time() + tokens.expires_in if tokens.expires_in is not None else None
        metadata = self.context.oauth_metadata if self.context else None
        self._change(tokens=tokens, expires_at=expires_at, **({"metadata": metadata} if metadata else {}))

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """For the library."""
        return self.read().client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """For the library."""
        self._change(client=client_info)

    def _change(self, **changes: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            stored = self.read().model_copy(update=changes)
            written = self.path.with_suffix(f".{os.getpid()}.new")
            with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(stored.model_dump_json(exclude_none=True))
            written.replace(self.path)
            self._seen = self._changed_at()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.path.with_suffix(".lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _is_locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SharedTokens(httpx2.Auth):
    """The library's way to authorize requests, with tokens that other sessions and workers may renew meanwhile."""

    requires_response_body = True

    def __init__(self, provider: OAuthClientProvider, tokens: TokenFile) -> None:
        self._provider = provider
        self._tokens = tokens
        tokens.remember(provider.context)

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """As the library's; whoever renews the token does so alone.

        The library sends all requests of a session one after the other, and a call that waits for a person would keep
        the others waiting: it is left out wherever there is a token.
        """
        refused = None
        for _ in range(2):
            if not self._has_another(refused):
                async with contextlib.aclosing(self._renewed(request, refused)) as flow:
                    with contextlib.suppress(StopAsyncIteration):
                        sent = await anext(flow)
                        while True:
                            response = yield sent
                            sent = await flow.asend(response)
                if not self._has_another(refused):
                    return
            refused = self._token
            request.headers["Authorization"] = f"Bearer {refused}"
            response = yield request
            if response.status_code == httpx2.codes.UNAUTHORIZED and self._provider.context.can_refresh_token():
                self._provider.context.token_expiry_time = _LONG_AGO  # whatever was said of it
            elif response.status_code not in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
                return

    @property
    def _token(self) -> str | None:
        tokens = self._provider.context.current_tokens
        return tokens.access_token if tokens is not None else None

    def _has_another(self, refused: str | None) -> bool:
        """Whether there is a token that the server has not refused, as far as is known here."""
        self._tokens.look()
        return self._provider.context.is_token_valid() and self._token != refused

    async def _renewed(
        self, request: httpx2.Request, refused: str | None
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Until there is a token, or the request has been sent without."""
        async with contextlib.AsyncExitStack() as alone:
            if not self._provider.context.is_token_valid():
                await alone.enter_async_context(self._tokens.renewing())
                if self._has_another(refused):
                    return
            async with contextlib.aclosing(self._provider.async_auth_flow(request)) as flow:
                with contextlib.suppress(StopAsyncIteration):
                    sent = await anext(flow)
                    while True:
                        if sent is request:  # there is a token, or none to be had
                            if self._has_another(refused):
                                return
                            await alone.aclose()
                        response = yield sent
                        sent = await flow.asend(response)


class Contained(httpx2.Auth):
    """The same, but what goes wrong ends the one request, which is not sent then, and no other.

    The library would end the session, and all calls that are under way in it.
    """

    requires_response_body = True

    def __init__(self, auth: httpx2.Auth) -> None:
        self._auth = auth

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """As the other one's."""
        try:
            async with contextlib.aclosing(self._auth.async_auth_flow(request)) as flow:
                sent = await anext(flow)
                while True:
                    response = yield sent
                    sent = await flow.asend(response)
        except StopAsyncIteration:
            return
        except Exception as error:
            request.extensions = {**request.extensions, UNAUTHORIZED: _words_of(error)}
        yield request


def _words_of(error: Exception) -> str:
    if isinstance(error, httpx2.ConnectError):
        return f"nobody could authorize it: {no_connection(error.request.url, error)}"
    if isinstance(error, ValidationError):
        return f"nobody could authorize it: what the authorization server answers is not valid: {problem_of(error)}"
    return f"nobody could authorize it: {(str(error) or type(error).__name__)[:_LONGEST_CAUSE]}"


class Login:
    """One login: where the authorization server sends its user back to, and what it says then.

    `show` is given the address that the user is to open.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.redirect_uri = f"http://127.0.0.1:{self._socket.getsockname()[1]}/callback"

    async def redirect(self, url: str) -> None:
        """For the library."""
        self._show(url)

    async def callback(self) -> AuthorizationCodeResult:
        """For the library: wait until the user is back. Raises `TimeoutError`, `ValueError` for a refusal."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[dict[str, list[str]]] = loop.create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                head = await reader.readuntil(b"\r\n\r\n")
                target = urlsplit(head.split(b" ")[1].decode())
                if target.path == "/callback" and not came.done():
                    came.set_result(parse_qs(target.query))
                body = f"{_PAGE}\n"
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
                    f"Connection: close\r\n\r\n{body}".encode()
                )
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, sock=self._socket, limit=_LONGEST_REQUEST):
            said = await asyncio.wait_for(came, _ANSWERED_WITHIN)
        if "code" not in said:
            raise ValueError(f"the login was refused: {' '.join(said.get('error', ['no reason is given']))[:200]}")
        first = {name: values[0] for name, values in said.items()}
        return AuthorizationCodeResult(code=first["code"], state=first.get("state"), iss=first.get("iss"))


def auth_of(name: str, server: McpServer, folder: Path, login: Login | None) -> httpx2.Auth | None:
    """How requests to a server are authorized; None where nobody has logged in, and its entry has no client.

    `folder` holds the files of tokens.
    """
    url = server.url or ""
    tokens = TokenFile(folder, name, url)
    if server.oauth is not None:
        client = server.oauth
        credentials = ClientCredentialsOAuthProvider(
            url, tokens, client.client_id, client.client_secret, scope=client.scope, issuer=client.issuer
        )
        return Contained(SharedTokens(credentials, tokens))
    if login is None and not tokens.is_there:
        return None
    redirect_uri = login.redirect_uri if login else "http://127.0.0.1/callback"
    metadata = OAuthClientMetadata(client_name=_NAME, redirect_uris=[AnyUrl(redirect_uri)])
    provider = OAuthClientProvider(
        url, metadata, tokens, login.redirect if login else None, login.callback if login else None
    )
    if login is None:
        return Contained(SharedTokens(provider, tokens))
    tokens.context = provider.context
    return provider
