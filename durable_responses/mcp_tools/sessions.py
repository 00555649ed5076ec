"""The MCP servers of one worker: their tools and calls. What is open lives in a thread, see `connections.py`.

That module is loaded with the first use: the protocol's library takes its time, and most workers have no such server.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from durable_responses.mcp_tools.configuration import McpServer, SessionScope, UnresolvedError
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
IDLE_OF_RUN = 3600.0  # of one that belongs to a run, which may wait for its owner meanwhile
_GONE_FOR = 60.0  # seconds since its last use, after which a session that is over is forgotten


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


class SessionReplaced(Exception):
    """The session that a run had with its server is over, and another one has begun: the call was not made."""

    def __init__(self, session: str) -> None:
        super().__init__("the session that this run had with its server has ended, and what it held is lost")
        self.session = session


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
    """The tools of a server, by name, and what is wrong with its list as a whole. `session`: which one lists them."""

    tools: Mapping[str, ServerTool]
    problems: tuple[str, ...] = ()
    session: str = ""


@dataclass(frozen=True)
class Answer:
    """What a tool has answered, as the model reads it, with the images that it is shown beside.

    `session`: the one that the call was made in.
    """

    text: str
    is_error: bool
    images: tuple[Image, ...] = ()
    session: str = ""


@dataclass(frozen=True)
class Caller:
    """Whose call it is: of this run, which had this session with the server when it was told last."""

    run: str | None = None
    session: str | None = None


NOBODY = Caller()


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
    `patience`: the seconds that a server has to end a call that was cancelled.
    """

    roots: Path | None = None
    tokens: Path | None = None
    login: "Login | None" = None
    secrets: Secrets = NO_SECRETS
    patience: float = 3.0


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
        self._servers: dict[tuple[str, str | None], Server] = {}
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

    def is_of_run(self, server: str) -> bool:
        """Whether each run has a session of its own with a server."""
        known = self._configured.get(server)
        return known is not None and known.session is SessionScope.RUN

    def is_ready(self, server: str) -> bool:
        """Whether a server's tools are known without waiting."""
        return self._listed(server) is not None

    async def listing(self, server: str, run: str | None = None) -> Listing:
        """The tools of a server, which is started if it has to be. Raises `ServerError`.

        Where each run has a session of its own, that of this `run`; for nobody's any that is open.
        """
        if run is None and self.is_of_run(server) and (known := self._listed(server)) is not None:
            return known  # it is another run's: it must not be opened again for this
        return await self._in_thread(self._of(server, run).listing)

    async def call(
        self,
        server: str,
        tool: str,
        arguments: dict[str, Any],
        progress: Progress,
        given: Given = NOTHING,
        caller: Caller = NOBODY,
    ) -> Answer:
        """A server's answer to a call. Raises `ServerError` if it was not made, `CallInterrupted`, `ToolError`.

        And `AsksFirst` where the server wants answers, which come in `given`; `NotHeld` and `TooLate` with these;
        `SessionReplaced` where the session is another one than the caller's.

        A cancel is passed on to the server. `progress` is awaited in another thread.
        """
        of = self._of(server, caller.run)
        return await self._in_thread(lambda: of.call(tool, arguments, progress, given, caller.session))

    @property
    def runs(self) -> list[str]:
        """The runs that have sessions of their own."""
        return sorted({run for _, run in self._servers if run is not None})

    async def close_run(self, run: str) -> None:
        """Close the sessions of a run that has ended."""
        closing = {key: server for key, server in self._servers.items() if key[1] == run}
        await asyncio.gather(*(self._in_thread(server.close) for server in closing.values()))
        for key in closing:
            self._servers.pop(key, None)  # not before: whoever closes all waits for its end

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

    def _listed(self, server: str) -> Listing | None:
        of_it = (each for (name, _), each in self._servers.items() if name == server)
        return next((listed for each in of_it if (listed := each.listed) is not None), None)

    def _of(self, server: str, run: str | None = None) -> "Server":
        if server not in self._configured:
            raise ServerError(f"There is no MCP server {server!r} where this worker runs.")
        key = (server, run if self.is_of_run(server) else None)
        if key not in self._servers:
            from durable_responses.mcp_tools.connections import Server

            self._forget_gone()
            idle = self._idle if key[1] is None else max(self._idle, IDLE_OF_RUN)
            self._servers[key] = Server(
                server, self._configured[server], self._resolve, idle, self._surroundings, self._held
            )
        self._servers[key].used_at = time.monotonic()
        return self._servers[key]

    def _forget_gone(self) -> None:
        """Those of runs: there are as many as there were runs."""
        before = time.monotonic() - _GONE_FOR
        for key, server in list(self._servers.items()):
            if key[1] is not None and server.has_ended and server.used_at < before:
                del self._servers[key]

    async def _in_thread(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._portal is None:
            from anyio.from_thread import start_blocking_portal

            self._portal = self._exit.enter_context(start_blocking_portal("asyncio", name="MCP sessions"))
        return await asyncio.wrap_future(self._portal.start_task_soon(call))

    async def _close_all(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))
