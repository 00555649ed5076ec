"""Composition root of the MCP server: what the door (`door.py`) loads, and what serves HTTP."""

import asyncio
import logging
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from durable_responses.mcp_server.backend import Backend
from durable_responses.mcp_server.door import Door
from durable_responses.mcp_server.server import build_server
from durable_responses.mcp_server.transports import PATH, serve_http, serve_stdio
from durable_responses.process import leave, setup_telemetry
from durable_responses.settings import Settings, SetupError

logger = logging.getLogger("durable_responses.mcp_server")


async def serve(settings: Settings, *, http: bool, door: Door | None = None) -> None:
    """Serve until the client has gone, over HTTP until a signal. Runs continue."""
    async with Backend(settings) as backend:
        server = build_server(backend, settings, program_version())
        if http:
            logger.info("MCP at http://%s:%d%s", settings.mcp_host, settings.mcp_port, PATH)
            await serve_http(server, settings)
        else:
            await serve_stdio(server, door)


def program_version() -> str:
    """The version for clients; empty in a checkout that is not installed."""
    try:
        return version("durable-responses")
    except PackageNotFoundError:
        return ""


def run(*, http: bool = False, door: Door | None = None) -> NoReturn:
    """One MCP server, configured by the environment. It takes over the conversation that a door has begun."""
    try:
        settings = Settings.load()
        setup_telemetry(settings, "durable-responses-mcp")
        if door is None or not door.is_over:
            asyncio.run(serve(settings, http=http, door=door))
    except SetupError as error:
        if door is not None:
            door.refuse(str(error))
        leave(1, f"durable-responses-mcp: {error}")
    except KeyboardInterrupt:
        leave(130)
    leave(0)
