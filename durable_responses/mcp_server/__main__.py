"""Composition root of the MCP server: `durable-responses-mcp`, or `python -m durable_responses.mcp_server`."""

import argparse
import asyncio
import logging
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from durable_responses.mcp_server.backend import Backend
from durable_responses.mcp_server.server import build_server
from durable_responses.mcp_server.transports import PATH, serve_http, serve_stdio
from durable_responses.process import leave, setup_telemetry
from durable_responses.settings import Settings, SetupError

logger = logging.getLogger("durable_responses.mcp_server")


async def serve(settings: Settings, *, http: bool) -> None:
    """Serve until the client has gone, over HTTP until a signal. Runs go on."""
    async with Backend(settings) as backend:
        server = build_server(backend, settings, _version())
        if http:
            logger.info("MCP at http://%s:%d%s", settings.mcp_host, settings.mcp_port, PATH)
            await serve_http(server, settings)
        else:
            await serve_stdio(server)


def _version() -> str:
    try:
        return version("durable-responses")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return ""


def main(given: Sequence[str] | None = None) -> NoReturn:
    """The program: one MCP server, configured by the environment; `given` are its arguments, else the process's."""
    parser = argparse.ArgumentParser(
        prog="durable-responses mcp",
        description="Serve agent runs as MCP tools, over standard input and output or over streamable HTTP.",
    )
    parser.add_argument("--http", action="store_true", help="serve HTTP at AGENT_MCP_HOST:AGENT_MCP_PORT")
    arguments = parser.parse_args(given)
    try:
        settings = Settings.load()
        setup_telemetry(settings, "durable-responses-mcp")
        asyncio.run(serve(settings, http=arguments.http))
    except SetupError as error:
        leave(1, f"durable-responses-mcp: {error}")
    except KeyboardInterrupt:
        leave(130)
    leave(0)


if __name__ == "__main__":
    main()
