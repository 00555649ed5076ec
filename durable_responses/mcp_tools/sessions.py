"""The MCP servers of one worker: their tools and calls. What is open lives in a thread, see `connections.py`.

That module is loaded with the first use: the protocol's library takes its time, and most workers have no such server.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from durable_responses.mcp_tools.configuration import McpServer, UnresolvedError
from durable_responses.mcp_tools.effects import Treatment
from durable_responses.mcp_tools.schemas import Offer
from durable_responses.responses_api.redaction import NO_SECRETS, Secrets
from durable_responses.tools.images import Image
from durable_responses.tools.registry import ToolError

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from durable_responses.mcp_tools.connections import Server
    from durable_responses.mcp_tools.oauth import Login

T = TypeVar("T")

IDLE = 600.0  # seconds after which a session that nobody uses is closed
HELD = 86_400.0  # seconds for which a call is kept that waits for its owner's answer


class Progress(Protocol):
    """Told how far a call has come, as its server says."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """It has come so far, of so much."""


class ServerError(ToolError):
    """A server cannot be used now; the text names it and says why."""


class CallInterrupted(Exception):
    """A server's session ended in the middle of a call: nobody knows whether the tool has run."""


class SessionOver(CallInterrupted):
    """A server over HTTP does not know the session any more: it says that it has refused the call."""


class NotHeld(CallInterrupted):
    """A call that was kept waiting for its owner's answer is not here any more."""


@dataclass(frozen=True)
class Asked:
    """What a server asks in the middle of a call. `url`: an address that it wants its user to open."""

    key: str
    message: str
    fields: Mapping[str, Any]
    url: str | None = None


class AsksFirst(Exception):
    """A server wants answers before it answers a call, which is repeated with them, and with `state`.

    `held`: the call that waits for them here, of a server that asks while the call is under way.
    """

    def __init__(self, questions: Sequence[Asked], state: str | None, held: str | None = None) -> None:
        super().__init__("; ".join(each.message for each in questions))
        self.questions = questions
        self.state = state
        self.held = held


@dataclass(frozen=True)
class Given:
    """What a call is repeated with: answers by key, in the form of the protocol, and the server's state.

    `held`: the call that waits for the answers, where it is not to be repeated.
    """

    answers: Mapping[str, Any] | None = None
    state: str | None = None
    held: str | None = None


NOTHING = Given()


@dataclass(frozen=True)
class ServerTool:
    """A tool as its server lists it. `offer` is None where it cannot be offered; `reason` says why."""

    server: str
    name: str
    description: str
    schema: Mapping[str, Any]
    hash: str
    treatment: Treatment
    offer: Offer | None
    reason: str | None = None


@dataclass(frozen=True)
class Listing:
    """The tools of a server, by name, and what is wrong with its list as a whole."""

    tools: Mapping[str, ServerTool]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a tool has answered, as the model reads it, with the images that it is shown beside."""

    text: str
    is_error: bool
    images: tuple[Image, ...] = ()


class TooLate(CallInterrupted):
    """A call failed before its owner's answer came: its server has not waited so long. `answer`: what it says."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


@dataclass(frozen=True)
class Surroundings:
    """What servers meet here.

    `roots`: the folder that they may ask for. `tokens`: where those for servers over HTTP are. `login`: how somebody
    logs in, where that is what the sessions are for. `secrets`: what nobody is told, though a server tells it.
    """

    roots: Path | None = None
    tokens: Path | None = None
    login: "Login | None" = None
    secrets: Secrets = NO_SECRETS


NOWHERE = Surroundings()


class Sessions:
    """The MCP servers of a worker. `servers`: those that are configured; `resolve` puts in values of variables.

    Use it in one event loop, and close it with `aclose()` or `async with`. Seconds: `idle` until a session is closed
    that nobody uses, `held` until a call is told that nobody answers what its server asks.
    """

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        resolve: Callable[[McpServer], McpServer] = lambda server: server,
        idle: float = IDLE,
        surroundings: Surroundings = NOWHERE,
        held: float = HELD,
    ) -> None:
        self._configured = servers
        self._resolve = resolve
        self._idle = idle
        self._held = held
        self._surroundings = surroundings
        self._servers: dict[str, Server] = {}
        self._exit = contextlib.ExitStack()
        self._portal: BlockingPortal | None = None

    @property
    def names(self) -> list[str]:
        """The servers that there are, sorted."""
        return sorted(self._configured)

    def configuration_of(self, server: str) -> McpServer:
        """What is configured of a server. Raises `KeyError`."""
        return self._configured[server]

    def resolved(self, server: str) -> McpServer:
        """The same, with the values of variables. Raises `ServerError`."""
        try:
            return self._resolve(self._configured[server])
        except KeyError:
            raise ServerError(f"There is no MCP server {server!r} where this worker runs.") from None
        except UnresolvedError as error:
            raise ServerError(f"The MCP server {server!r} cannot be used: {error}.") from None

    def is_ready(self, server: str) -> bool:
        """Whether a server's tools are known without waiting."""
        return server in self._servers and self._servers[server].is_open

    async def listing(self, server: str) -> Listing:
        """The tools of a server, which is started if it has to be. Raises `ServerError`."""
        return await self._in_thread(self._of(server).listing)

    async def call(
        self, server: str, tool: str, arguments: dict[str, Any], progress: Progress, given: Given = NOTHING
    ) -> Answer:
        """A server's answer to a call. Raises `ServerError` if it was not made, `CallInterrupted`, `ToolError`.

        And `AsksFirst` where the server wants answers, which come in `given`; `NotHeld` and `TooLate` with these.

        A cancel is passed on to the server. `progress` is awaited in another thread.
        """
        of = self._of(server)
        return await self._in_thread(lambda: of.call(tool, arguments, progress, given))

    async def aclose(self) -> None:
        """End all sessions, side by side."""
        if self._portal is not None:
            await self._in_thread(self._close_all)
            await asyncio.to_thread(self._exit.close)
            self._portal = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _of(self, server: str) -> "Server":
        if server not in self._configured:
            raise ServerError(f"There is no MCP server {server!r} where this worker runs.")
        if server not in self._servers:
            from durable_responses.mcp_tools.connections import Server

            self._servers[server] = Server(
                server, self._configured[server], self._resolve, self._idle, self._surroundings, self._held
            )
        return self._servers[server]

    async def _in_thread(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._portal is None:
            from anyio.from_thread import start_blocking_portal

            self._portal = self._exit.enter_context(start_blocking_portal("asyncio", name="MCP sessions"))
        return await asyncio.wrap_future(self._portal.start_task_soon(call))

    async def _close_all(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))
