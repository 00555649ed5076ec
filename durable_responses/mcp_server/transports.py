"""How clients reach the server: over stdin and stdout, or over streamable HTTP."""

import hmac
import io
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.from_thread
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_PARAMS, JSONRPCError, JSONRPCMessage, JSONRPCResponse
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durable_responses.host_check import HostCheck, is_loopback
from durable_responses.json_text import mended_json
from durable_responses.mcp_server.door import Door, Opening, Remainder
from durable_responses.mcp_server.undecodable import no_message, refusals
from durable_responses.settings import Settings, SettingsError

logger = logging.getLogger("durable_responses.mcp_server")

PATH = "/mcp"
SHORTEST_TOKEN = 16  # characters


async def serve_stdio(server: Server[Any], door: Door | None = None) -> None:
    """Serve one client until it closes our standard input. Standard output carries the protocol and nothing else.

    Where a `door` has begun the conversation, it is gone on with.
    """
    options = server.create_initialization_options()
    if door is None:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, options)
        return
    remainder = door.hand_over()
    text = MendedLines(io.BufferedReader(remainder), encoding="utf-8", errors="replace")
    async with stdio_server(anyio.wrap_file(text)) as (reading, writing):
        answered = WithoutOpening(writing, remainder)
        text.refuse = answered.send
        await server.run(reading, answered, options)


class MendedLines(io.TextIOWrapper):
    """Lines of JSON without half characters, and without what cannot be decoded: the SDK would drop such a message, and
    its sender wait for ever. To be read in a worker thread of anyio.
    """

    refuse: Callable[[SessionMessage], Coroutine[Any, Any, None]] | None = None
    """Sends an answer to a request that cannot be decoded."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override] # its limit is declared as optional twice
        """The next line that can be decoded; empty at the end."""
        while line := mended_json(super().readline(size)):
            refused = refusals(line)
            if refused is None:
                break
            for error in refused:
                if self.refuse:
                    anyio.from_thread.run(self.refuse, SessionMessage(error))
        return line


class MendedBodies:
    """The same for the body of a request over HTTP, around the SDK's application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks for it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body, message = b"", await receive()
        while message["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                text = mended_json(body)
                if (refused := refusals(text)) is not None:
                    await self._refuse(refused or [no_message(text)], send)
                    return
                message = {"type": "http.request", "body": text.encode(), "more_body": False}
                break
            message = await receive()
        read = [message]

        async def receive_mended() -> Message:
            return read.pop() if read else await receive()

        await self._app(scope, receive_mended, send)

    async def _refuse(self, errors: Sequence[JSONRPCError], send: Send) -> None:
        said = [error.model_dump_json(by_alias=True, exclude_unset=True) for error in errors]
        body = said[0] if len(said) == 1 else f"[{','.join(said)}]"
        status = 200 if all(error.error.code == INVALID_PARAMS for error in errors) else 400  # as the SDK does
        start = {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
        await send(start)
        await send({"type": "http.response.body", "body": body.encode()})


class WithoutOpening:
    """The way to a client that has had the first answer from the door: the server's own is left out."""

    def __init__(self, writing: Any, remainder: Remainder) -> None:
        self._writing = writing  # a stream of the SDK, whose type is private there
        self._remainder = remainder
        self._expected: Opening | None = remainder.opening

    async def send(self, item: SessionMessage) -> None:
        """Pass a message on."""
        message, opening = item.message, self._expected
        if opening is None or not _answers(message, opening):
            await self._writing.send(item)
            return
        self._expected = None
        if not isinstance(message, JSONRPCResponse) or message.result != json.loads(opening.answer)["result"]:
            logger.warning("The first answer was not what this server answers: snapshot.json is out of date.")
        self._remainder.resume()

    async def aclose(self) -> None:
        """No message follows."""
        await self._writing.aclose()

    async def __aenter__(self) -> Self:
        await self._writing.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        closed: bool | None = await self._writing.__aexit__(kind, error, trace)
        return closed


def _answers(message: JSONRPCMessage, opening: Opening) -> bool:
    return isinstance(message, JSONRPCResponse | JSONRPCError) and message.id == opening.request["id"]


def http_app(server: Server[Any], settings: Settings) -> ASGIApp:
    """The HTTP application at `/mcp`. Raises `SettingsError` if it would be open to others without a token."""
    if settings.mcp_token is None and not is_loopback(settings.mcp_host):
        raise SettingsError(
            f"AGENT_MCP_HOST {settings.mcp_host!r} is reachable by others: set AGENT_MCP_TOKEN, which clients then "
            "send as a bearer token, or listen on 127.0.0.1."
        )
    # The SDK's check of names compares their beginnings only; HostCheck compares them whole.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = MendedBodies(server.streamable_http_app(streamable_http_path=PATH, transport_security=unchecked))
    if settings.mcp_token is None:
        # A page in a browser could make its own name point here (DNS rebinding).
        return HostCheck(app, [settings.mcp_host])
    token = settings.mcp_token.get_secret_value().strip()
    if len(token) < SHORTEST_TOKEN and not is_loopback(settings.mcp_host):
        raise SettingsError(
            f"AGENT_MCP_TOKEN is too short for an address that others reach: use {SHORTEST_TOKEN} random characters or "
            "more."
        )
    return BearerAuth(app, token)


async def serve_http(server: Server[Any], settings: Settings) -> None:
    """Serve any number of clients until SIGINT or SIGTERM. Raises `SettingsError`."""
    config = uvicorn.Config(
        http_app(server, settings),
        host=settings.mcp_host,
        port=settings.mcp_port,
        # Its own would write to standard output; without one its messages go where ours go.
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    await uvicorn.Server(config).serve()


class BearerAuth:
    """Lets requests pass that carry the token (RFC 6750). The scheme's name is in any case (RFC 9110, 11.1)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to a request without the token."""
        if scope["type"] == "http" and not self._is_allowed(Headers(scope=scope)):
            refusal = PlainTextResponse("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)
