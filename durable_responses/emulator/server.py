"""Serving the emulator: composition, sockets, start and stop."""

import asyncio
import os
import signal
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute

from durable_responses.emulator.http.asgi_answers import no_websocket, refuse_url
from durable_responses.emulator.http.breakable_connections import BreakableProtocol
from durable_responses.emulator.http.control import control_routes
from durable_responses.emulator.http.endpoints import ResponsesApi
from durable_responses.emulator.model.library import BUILT_IN, DEFAULT
from durable_responses.emulator.model.scenarios import Scenario, ScenarioBook
from durable_responses.emulator.objects.api_errors import ApiError
from durable_responses.emulator.provider import Provider
from durable_responses.emulator.socket.endpoint import WebSocketEndpoint
from durable_responses.emulator.state.journal import Journal
from durable_responses.emulator.state.memory import State
from durable_responses.host_check import HostCheck

LARGEST_MESSAGE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class EmulatorOptions:
    """How an emulator is set up. Port 0 takes a free one; no state file: nothing is kept; no key: any will do.

    `unverified`: the organisation has not been verified, so that some requests are refused. `context_window`: the
    tokens that a model has room for; None for any number.
    It answers to the names of loopback, to `host`, and to `allowed_hosts`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    state_file: Path | None = None
    scenario_dir: Path | None = None
    scenario: str = DEFAULT
    pace: float = 1.0
    api_key: str | None = None
    allowed_hosts: Sequence[str] = ()
    unverified: bool = False
    context_window: int | None = None


class UnusableScenario(RuntimeError):
    """The scenario of requests that name none is not there, or its parameters do not fit."""


def build_provider(options: EmulatorOptions) -> Provider:
    """A provider with the built-in scenarios, those of the folder, and what the state file remembers.

    Raises: UnusableScenario, RuntimeError for a file that cannot be used, OSError for a port or a folder that cannot.
    """
    book = ScenarioBook(BUILT_IN, options.scenario)
    for path in _scenario_files(options.scenario_dir) if options.scenario_dir else []:
        book.register(_scenario(path))
    journal = _journal(options.state_file) if options.state_file else None
    try:
        state = State(book, journal=journal)
        _check_scenario(book)
        return Provider(
            state, pace=options.pace, verified=not options.unverified, context_window=options.context_window
        )
    except RuntimeError:
        if journal is not None:
            journal.close()
        raise


def _journal(path: Path) -> Journal:
    try:
        return Journal(path)
    except OSError as error:
        raise RuntimeError(f"The state file {path} cannot be used: {error.strerror or error}.") from error


def _scenario_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UnusableScenario(f"--scenario-dir {str(folder)!r} is not a folder.")
    return sorted(folder.glob("*.json"))


def _scenario(path: Path) -> Scenario:
    try:
        return Scenario.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RuntimeError(f"The scenario file {path} cannot be used: {error.strerror or error}.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        told = f"{place}: {problem['msg']}" if place else problem["msg"]
        raise RuntimeError(f"The scenario file {path} cannot be used: {told}.") from error


def _check_scenario(book: ScenarioBook) -> None:
    try:
        book.check()
    except ApiError as error:
        raise UnusableScenario(f"--scenario {book.default!r} cannot be used: {error}") from error


def create_app(provider: Provider, api_key: str | None = None, allowed_hosts: Collection[str] = ()) -> Starlette:
    """The emulator as an ASGI application: HTTP, WebSocket and control endpoints on one port."""
    app = Starlette(
        routes=[
            *ResponsesApi(provider, api_key).routes(),
            WebSocketRoute("/v1/responses", WebSocketEndpoint(provider, api_key)),
            WebSocketRoute("/{path:path}", no_websocket),
            *control_routes(provider.state),
        ],
        middleware=[Middleware(HostCheck, allowed=allowed_hosts)],
        exception_handlers={404: refuse_url, 405: refuse_url},
    )
    app.router.redirect_slashes = False  # a redirect is no answer of the API
    return app


class EmulatorServer:
    """One provider, served on a socket that is bound at once. Drives uvicorn directly: its own loop checks for a
    stop only ten times a second, and its shutdown waits for the slowest client."""

    def __init__(self, options: EmulatorOptions) -> None:
        self.provider = build_provider(options)
        self._socket = _listen(options.host, options.port)
        self.port: int = self._socket.getsockname()[1]
        self.base_url = f"http://{options.host}:{self.port}/v1"
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                create_app(self.provider, options.api_key, [options.host, *options.allowed_hosts]),
                http=BreakableProtocol,
                ws="websockets-sansio",
                ws_max_size=LARGEST_MESSAGE_BYTES,
                lifespan="off",
                log_level="warning",
                access_log=False,
                timeout_keep_alive=75,
            )
        )

    async def start(self) -> None:
        """Accept connections."""
        config = self._uvicorn.config
        config.load()
        self._uvicorn.lifespan = config.lifespan_class(config)
        await self._uvicorn.startup(sockets=[self._socket])

    async def stop(self) -> None:
        """Cut all connections and close the state file. Responses in progress continue at the next start."""
        self.provider.state.close()
        for listener in self._uvicorn.servers:
            listener.close()
        for connection in list(self._uvicorn.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*self._uvicorn.server_state.tasks, return_exceptions=True)
        self._socket.close()


async def serve(options: EmulatorOptions, port_file: Path | None = None) -> None:
    """Run an emulator until SIGTERM or SIGINT; says where it listens on stdout, and in `port_file`."""
    server = EmulatorServer(options)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await server.start()
    print(f"emulator listening on {server.base_url}", flush=True)  # noqa: T201 the line that tells callers the address
    if port_file is not None:
        _write_port(port_file, server.port)
    await ended.wait()
    await server.stop()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        # A name that cannot be resolved has a negative number, of getaddrinfo.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else "there is no such host"
        raise RuntimeError(f"Port {port} of {host} cannot be used: {why}.") from error


def _write_port(path: Path, port: int) -> None:
    """All of it or nothing: whoever waits for the file must never read half a number."""
    written = path.with_suffix(f"{path.suffix}.new")
    try:
        written.write_text(f"{port}\n")
        written.replace(path)
    except OSError as error:
        raise RuntimeError(f"--port-file {str(path)!r} cannot be written: {error.strerror or error}.") from error
