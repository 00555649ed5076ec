"""The sessions with MCP servers that are open: started on demand, shared by all runs of a worker, never revived.

All of it runs in one event loop of its own, in a thread: reading what a stranger sends holds up nothing else. A session
is opened and closed by one task, as the library wants it; calls come from others. One that is found dead is replaced; a
server that cannot be started is left alone for a while.
"""

import asyncio
import contextlib
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from durable_responses.mcp_tools.configuration import McpServer, UnresolvedError
from durable_responses.mcp_tools.effects import Hints, treatment_of
from durable_responses.mcp_tools.elicitation import ACCEPT
from durable_responses.mcp_tools.held_calls import HeldCall, HeldCalls
from durable_responses.mcp_tools.messages import FAILED, NOT_OFFERED, NOT_SENT, REFUSED, UNREADABLE, problem_of
from durable_responses.mcp_tools.oauth import auth_of
from durable_responses.mcp_tools.results import read
from durable_responses.mcp_tools.schemas import NotOffered, hash_of, offer_of
from durable_responses.mcp_tools.sessions import (
    Answer,
    Asked,
    AsksFirst,
    CallInterrupted,
    Given,
    Listing,
    Progress,
    ServerError,
    ServerTool,
    SessionOver,
    SessionReplaced,
    Surroundings,
)
from durable_responses.mcp_tools.transports import LastWords, Streams, address, no_connection, program
from durable_responses.tools.registry import ToolError

logger = logging.getLogger(__name__)

MOST_TOOLS = 2000  # of one server that are looked at
_MOST_PAGES = 100
_LONGEST_DESCRIPTION = 4096  # characters
_LONGEST_NAME = 128  # characters, as the protocol has it
_LONGEST_BACK_OFF = 60.0  # seconds
_FIRST_PAUSE = 0.5  # seconds, before a subscription is renewed
_MOST_PATIENCE = 10  # times the patience with a server, which calls under way have in a session that is left
_MOST_DEATHS = 3  # in the middle of calls, one after the other
_MOST_ABANDONED = 100  # calls that were cancelled, and are remembered
_LONGEST_CAUSE = 300  # characters
_MOST_ROUNDS = 10
_PROGRAM = "durable-responses"
_ASKS_FOR_A_LOGIN = re.compile("redirect handler|HTTP 40[13]")
_SESSION_IS_OVER = re.compile(
    r"session (id )?(was |is |has been )?(terminated|not found|expired|unknown|invalid)"
    r"|(no valid|invalid|unknown|missing|expired) (mcp[- ])?session|session-id header is required"
    r"|not initialized|expect(ed|s)? (an )?initialize request",
    re.IGNORECASE,
)
_TO_BE_OPENED = "open-"
_LARGEST_QUESTIONS = 64 * 1024  # bytes, with the state that is given back
_ANSWER: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)


class Server:
    """One server, and its session if there is one."""

    def __init__(
        self,
        name: str,
        configured: McpServer,
        resolve: Callable[[McpServer], McpServer],
        idle: float,
        surroundings: Surroundings,
        held: float,
    ) -> None:
        self.configured = configured
        self.used_at = 0.0
        """When it was asked for last; kept by whoever keeps the servers."""
        self._name = name
        self._resolve = resolve
        self._idle = idle
        self._surroundings = surroundings
        self._session: _Session | None = None
        self._leaving: set[_Session] = set()
        self._calls = HeldCalls(held)
        self._failures = 0
        self._deaths = 0
        self._not_before = 0.0
        self._why = ""

    @property
    def listed(self) -> Listing | None:
        """Its tools; None where there is no session that can be used. May be asked in any thread."""
        session = self._session  # once: another thread may put another one there
        return session.listing if session is not None and session.ready.is_set() and not session.is_over else None

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing to be closed. May be asked in any thread."""
        sessions = {*self._leaving, *([self._session] if self._session is not None else [])}
        return all(session.ended.is_set() for session in sessions)

    async def listing(self) -> Listing:
        """Its tools. Raises `ServerError`."""
        with (await self._opened()).used(self._idle) as session:
            return replace(session.listing, session=session.id)

    async def call(
        self, tool: str, arguments: dict[str, Any], progress: Progress, given: Given, expected: str | None = None
    ) -> Answer:
        """Its answer to a call. Raises `ServerError`, `CallInterrupted`, `AsksFirst`, `ToolError`.

        `expected`: the session that it is to be made in. Raises `SessionReplaced` where that is over.
        """
        if given.state is None and given.answers:
            _check_opened(tool, given.answers)

        async def made(call: HeldCall) -> Answer:
            with (await self._opened()).used(self._idle) as session:
                if expected is not None and session.id != expected:
                    raise SessionReplaced(session.id)
                async with self._calls.turn(call):
                    return await self._made(session, tool, arguments, given, call)

        return await self._calls.answer(made, progress, given)

    async def _made(
        self, session: "_Session", tool: str, arguments: dict[str, Any], given: Given, call: HeldCall
    ) -> Answer:
        token = secrets.token_hex(8)
        params: dict[str, Any] = {"name": tool, "arguments": arguments, "_meta": {"progressToken": token}}
        if session.client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            params |= {"inputResponses": given.answers and dict(given.answers), "requestState": given.state}
        try:
            request = types.CallToolRequestParams.model_validate(params, by_name=False)
            with session.telling(token, call.progress):
                answer = await self._sent(session, request)
        except MCPError as error:
            raise self._meaning_of(error, tool, session) from None
        except ValidationError as error:
            raise ToolError(f"{tool}: the answer is not valid: {problem_of(error)}") from None
        self._deaths = 0
        if isinstance(answer, types.InputRequiredResult):
            raise _asked(tool, answer)
        text, images = read(answer)
        return Answer(text, answer.is_error, images, session.id)

    def _meaning_of(self, error: MCPError, tool: str, session: "_Session") -> Exception:
        if error.code == types.CONNECTION_CLOSED:
            if not session.is_given_up:
                self._died(session)
            session.leave()
            return CallInterrupted(self._masked(f"its server {self._name!r} ended in the middle of it{session.said}"))
        if self.configured.url is not None and _SESSION_IS_OVER.search(str(error)):
            session.leave()
            return SessionOver(f"its server {self._name!r} has begun anew")
        if error.code == NOT_SENT:
            return ServerError(self._masked(f"{tool} was not called: {error}{self._login_for(error)}."))
        if error.code == REFUSED:
            why = f"its server {self._name!r} answered with an HTTP error, {error}{self._login_for(error)}"
            return ServerError(self._masked(f"{tool} was not called: {why.rstrip('.')}."))
        if error.code == FAILED:
            session.leave()
            return CallInterrupted(self._masked(f"its server {self._name!r} answered with an HTTP error, {error}"))
        if error.code == UNREADABLE:
            return CallInterrupted(self._masked(f"its server {self._name!r} answered, and {error}"))
        if error.code == types.URL_ELICITATION_REQUIRED:
            return _to_be_opened(tool, error)
        details = f"\n\n{to_json(error.data).decode()}" if error.data is not None else ""
        return ToolError(f"{tool} failed: {error}{details}")

    def _login_for(self, problem: object) -> str:
        """What to do about a server over HTTP that asks for a login, as the end of a sentence."""
        if (
            self.configured.url is None
            or self.configured.oauth is not None
            or not _ASKS_FOR_A_LOGIN.search(str(problem))
        ):
            return ""
        return f"; where it asks for a login: `durable-responses tools login {self._name}`"

    def _died(self, session: "_Session") -> None:
        """A server that dies in each of its calls is left alone for a while, as one that cannot be started."""
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS:
            pause = min(2.0 ** (self._deaths - _MOST_DEATHS), _LONGEST_BACK_OFF)
            self._not_before = time.monotonic() + pause
            self._why = self._masked(f"The MCP server {self._name!r} ends in each call{session.said}.")

    async def _sent(
        self, session: "_Session", params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """The answer, once the server has been told the folders that it may ask for.

        Not by the library's `call_tool`, which drops an answer that misses the schema of the output: the call was made.
        """
        for _ in range(_MOST_ROUNDS):
            answer = await session.client.session.send_request(types.CallToolRequest(params=params), _ANSWER)
            if not isinstance(answer, types.InputRequiredResult) or not answer.input_requests:
                break
            asked = answer.input_requests
            if not all(isinstance(each, types.ListRootsRequest) for each in asked.values()):
                break
            roots = dict.fromkeys(asked, _roots(self._surroundings.roots))
            given = {"input_responses": roots, "request_state": answer.request_state}
            params = params.model_copy(update=given)
        return answer

    async def _opened(self) -> "_Session":
        """A session that can be used. Whoever waits for it may give up; it goes on starting for the others."""
        while (session := self._session) is not None and session.is_suspected:
            await session.looked_after()
        if session is None or session.is_over:
            if (left := self._not_before - time.monotonic()) > 0:
                raise ServerError(f"{self._why} It is tried again in {left:.0f} s.")
            try:
                session = _Session(self._name, self._resolve(self.configured), self._surroundings, self._calls)
            except UnresolvedError as error:
                raise ServerError(f"The MCP server {self._name!r} cannot be used: {error}.") from None
            self._leaving = {each for each in self._leaving if not each.ended.is_set()}
            if self._session is not None:
                if not self._session.is_given_up:  # its server has ended, and nobody waits for it
                    self._session.close()
                self._leaving.add(self._session)
            self._session = session
            session.begin()
        await session.begun()
        if session.ready.is_set():
            self._failures = 0
            return session
        if session is self._session:  # the first one that hears of it
            self._session = None
            self._failures += 1
            self._not_before = time.monotonic() + min(2.0 ** (self._failures - 1), _LONGEST_BACK_OFF)
        why = (session.failure or "it has ended").rstrip(".")
        why += self._login_for(why)
        self._why = self._masked(f"The MCP server {self._name!r} cannot be used: {why}{session.said}.")
        raise ServerError(self._why)

    def _masked(self, text: str) -> str:
        return self._surroundings.secrets.mask(text)

    async def close(self) -> None:
        """End its session, and return when it has ended."""
        await self._calls.aclose()
        sessions = {*self._leaving, *([self._session] if self._session is not None else [])}
        for session in sessions:
            session.close()
        for session in sessions:
            await session.ended.wait()


@dataclass(eq=False)
class _Session:
    """One session, from its start to its end, both in one task.

    A server that does not end a call that was cancelled is not asked again: it has so many seconds (`patience`) to
    answer anything, and to say no more of that call. The session is left to the calls that are under way, and is closed
    with the last of them, but soon.
    """

    name: str
    server: McpServer
    surroundings: Surroundings
    calls: HeldCalls
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    failure: str | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _starting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _words: LastWords = field(default_factory=LastWords)
    _users: int = 0
    _idle: asyncio.TimerHandle | None = None
    _progress: dict[str, Progress] = field(default_factory=dict)
    _abandoned: dict[str, float] = field(default_factory=dict)
    _look: asyncio.Task[None] | None = None
    _is_left: bool = False

    @property
    def is_given_up(self) -> bool:
        """Whether it is, or will soon be, closed from here."""
        return self._is_left or self._closing.is_set()

    @property
    def is_over(self) -> bool:
        """Whether no further call can be made."""
        return self.is_given_up or self.ended.is_set() or (self.ready.is_set() and self._words.is_gone)

    @property
    def is_suspected(self) -> bool:
        """Whether it is not known yet if the server still answers after a call was cancelled."""
        return self._look is not None and not self._look.done() and not self.is_over

    @property
    def said(self) -> str:
        """What the server's program has said last, as the end of a sentence."""
        words = str(self._words)[:_LONGEST_CAUSE]
        return f"; it says: {words.rstrip('.')}" if words else ""

    @contextlib.contextmanager
    def used(self, idle: float) -> Iterator[Self]:
        """While inside, the session is not closed for being idle."""
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            yield self
        finally:
            self._users -= 1
            if self._users == 0 and self._is_left:
                self.close()
            elif self._users == 0:
                self._idle = asyncio.get_running_loop().call_later(idle, self.close)

    def begin(self) -> None:
        """Start it."""
        self._task = asyncio.create_task(self._run(), name=f"MCP session {self.name}")

    async def begun(self) -> None:
        """Return once it is ready, or `failure` says why it is not."""
        await self._begun.wait()

    def close(self) -> None:
        """End it. What still waits for an answer is told that the connection is closed."""
        self._closing.set()
        if not self._begun.is_set():
            self._starting.cancel()

    def leave(self) -> None:
        """Make no further calls in it. It is closed with the last of those that are under way."""
        self._is_left = True
        if self._users == 0:
            self.close()

    @contextlib.contextmanager
    def telling(self, token: str, progress: Progress) -> Iterator[None]:
        """While inside, what the server says of the call with this token is told. Left by a cancel, it is to end."""
        self._progress[token] = progress
        try:
            yield
        except asyncio.CancelledError:
            if not self.is_over:
                self._abandoned = dict(list(self._abandoned.items())[-_MOST_ABANDONED:]) | {token: time.monotonic()}
                self._look = asyncio.create_task(self._look_after_it())
            raise
        finally:
            del self._progress[token]

    async def looked_after(self) -> None:
        """Return once it is known whether the server answers."""
        if self._look is not None:
            await asyncio.wait({self._look})

    async def _look_after_it(self) -> None:
        try:
            with anyio.fail_after(self.surroundings.patience):
                if self.client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    await self.client.list_tools()
                else:
                    await self.client.session.send_request(types.PingRequest(), types.EmptyResult)
        except TimeoutError:
            self._leave_soon("does not answer any more")
        except Exception as error:  # an answer, or an end that is told elsewhere
            logger.debug("MCP server %s answers, after a call was cancelled: %r", self.name, error)

    def _leave_soon(self, why: str) -> None:
        if not self.is_over:
            logger.warning("MCP server %s %s after a call was cancelled: it is started anew.", self.name, why)
            self.leave()
            asyncio.get_running_loop().call_later(_MOST_PATIENCE * self.surroundings.patience, self.close)

    async def _told(self, message: IncomingMessage) -> None:
        match message:
            case types.ToolListChangedNotification():
                self._changed.set()
            case types.ProgressNotification(params=said):
                token = str(said.progress_token)
                if (progress := self._progress.get(token)) is not None:
                    await progress(said.progress, said.total, said.message)
                elif time.monotonic() - self._abandoned.get(token, math.inf) > self.surroundings.patience:
                    self._leave_soon("goes on with it")

    async def _subscribe(self) -> None:
        """In the newest revision a change of the list is told only to those who have asked for it.

        Nobody tells what has changed before a subscription began: the list is read again with each.
        """
        told = self.client.server_capabilities.tools
        if told is None or not told.list_changed or self.client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self.client.listen(tools_list_changed=True) as changes:
                    self._changed.set()
                    async for _ in changes:
                        pause = _FIRST_PAUSE
                        self._changed.set()
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND:
                    return
            except (SubscriptionLost, TimeoutError):
                pass
            pause = min(pause * 2, _LONGEST_BACK_OFF)
            await anyio.sleep(pause)

    async def _list_again(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                with anyio.fail_after(self.server.start_timeout):
                    self.listing = await _listed(self.client, self.name, self.server)
            except (MCPError, TimeoutError, ValidationError) as error:
                why = problem_of(error) if isinstance(error, ValidationError) else error
                logger.warning("MCP server %s has changed its tools, and does not list them: %s", self.name, why)

    async def _roots_asked_for(self, context: ClientRequestContext) -> types.ListRootsResult:
        del context
        return _roots(self.surroundings.roots)

    async def _asked(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        del context
        asked = _question(params)
        if len(to_json(asked.__dict__)) > _LARGEST_QUESTIONS:
            logger.warning("MCP server %s asks more than %d bytes: cancelled.", self.name, _LARGEST_QUESTIONS)
            return types.ElicitResult(action="cancel")
        return types.ElicitResult.model_validate(await self.calls.answer_to(asked))

    def _over_http(self) -> AbstractAsyncContextManager[Streams]:
        if self.surroundings.tokens is None:
            return address(self.server)
        return address(self.server, auth_of(self.name, self.server, self.surroundings.tokens, self.surroundings.login))

    async def _run(self) -> None:
        try:
            with self._starting:
                self._starting.deadline = anyio.current_time() + self.server.start_timeout
                transport = self._over_http() if self.server.url else program(self.server, self._words)
                # With a callback elicitation is declared, and in the newest revision nothing calls it: the call is
                # answered with what is asked, and repeated. Older servers ask in the middle of a call, which is held.
                async with Client(
                    transport,
                    cache=None,
                    elicitation_callback=self._asked,
                    list_roots_callback=self._roots_asked_for if self.surroundings.roots else None,
                    message_handler=self._told,
                    client_info=types.Implementation(name=_PROGRAM, version=_version()),
                ) as self.client:
                    self.listing = await _listed(self.client, self.name, self.server)
                    self._starting.deadline = math.inf
                    self.ready.set()
                    self._begun.set()
                    logger.info("MCP server %s: %d tools.", self.name, len(self.listing.tools))
                    async with anyio.create_task_group() as beside:
                        beside.start_soon(self._list_again)
                        beside.start_soon(self._subscribe)
                        await self._closing.wait()
                        beside.cancel_scope.cancel()
            if self._closing.is_set():
                self.failure = "it was closed"
            elif self._starting.cancelled_caught:
                self.failure = f"it did not list its tools within {self.server.start_timeout:g} s{self._printed}"
        except Exception as error:
            self.failure = self._words_of(error)
        finally:
            self.ended.set()
            self._begun.set()

    def _words_of(self, error: BaseException) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        match error:
            case FileNotFoundError() if error.filename == self.server.cwd:
                return f"there is no folder {error.filename!r}"
            case FileNotFoundError():
                apart = "; what follows the program belongs into args" if " " in str(error.filename) else ""
                return f"there is no program {error.filename!r}{apart}"
            case OSError(filename=str(name), strerror=str(problem)):
                return f"{name!r} cannot be started: {problem}"
            case httpx2.ConnectError():  # to whoever gives out tokens
                return no_connection(error.request.url, error)
            case ValidationError(title=what):
                return f"what it answers is not a valid {what}: {problem_of(error)}"[:_LONGEST_CAUSE]
            case MCPError(code=types.CONNECTION_CLOSED) if self.server.command is not None:
                code = self._words.exit_code
                how = "closed its standard output" if code is None else f"ended, with exit code {code},"
                return f"its program {how} before it listed its tools{self._printed}"
        return (str(error) or type(error).__name__)[:_LONGEST_CAUSE]

    @property
    def _printed(self) -> str:
        line = self._words.not_a_message
        return f"; it prints {line!r}, which is not a message of the protocol" if line is not None else ""


def _version() -> str:
    try:
        return version(_PROGRAM)
    except PackageNotFoundError:
        return "0"


def _roots(folder: Path | None) -> types.ListRootsResult:
    """The folders that old servers may ask for: the workspace."""
    return types.ListRootsResult(roots=[types.Root.model_validate({"uri": folder.as_uri()})] if folder else [])


def _asked(tool: str, answer: types.InputRequiredResult) -> Exception:
    requests = answer.input_requests or {}
    questions: list[Asked] = []
    for key, request in requests.items():
        if not isinstance(request, types.ElicitRequest):
            return ToolError(f"{tool} cannot go on: its server asks for {request.method}, which is refused here.")
        questions.append(_question(request.params, key))
    if len(to_json([each.__dict__ for each in questions])) + len(answer.request_state or "") > _LARGEST_QUESTIONS:
        return ToolError(f"{tool} cannot go on: its server asks more than {_LARGEST_QUESTIONS:,} bytes.")
    return AsksFirst(questions, answer.request_state)


def _question(asked: types.ElicitRequestParams, key: str | None = None) -> Asked:
    """What a request asks. Without a `key`, it is known by what it asks: so an answer fits when it is asked again."""
    fields = asked.requested_schema if isinstance(asked, types.ElicitRequestFormParams) else {}
    url = asked.url if isinstance(asked, types.ElicitRequestURLParams) else None
    fields = from_json(to_json(fields))  # without numbers that JSON does not have
    return Asked(key or hash_of(asked.message, fields, url), asked.message, fields, url)


def _to_be_opened(tool: str, error: MCPError) -> Exception:
    """A server of an older revision refuses a call until its user has opened an address; then it is made again."""
    try:
        asked = UrlElicitationRequiredError.from_error(error.error).elicitations
    except (ValidationError, AttributeError, TypeError):  # whatever a stranger has put there
        return ToolError(f"{tool} failed: {error}")
    questions = [_question(each) for each in asked]
    if not questions or len(to_json([each.__dict__ for each in questions])) > _LARGEST_QUESTIONS:
        return ToolError(f"{tool} failed: {error}")
    return AsksFirst([replace(each, key=f"{_TO_BE_OPENED}{each.key}") for each in questions], None)


def _check_opened(tool: str, answers: Mapping[str, Any]) -> None:
    """Raise `ToolError` where the owner does not want to open what has to be opened before a call."""
    for key, answer in answers.items():
        if key.startswith(_TO_BE_OPENED) and answer.get("action") != ACCEPT:
            raise ToolError(f"{tool} was not called: its owner did not open the address that its server asks for.")


async def _listed(client: Client, name: str, server: McpServer) -> Listing:
    if client.server_capabilities.tools is None:
        return Listing({}, ("it has no tools",))
    tools: dict[str, ServerTool] = {}
    problems: dict[str, None] = {}
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            if tool.name in tools:
                problems[f"two of its tools are called {tool.name[:100]!r}: the first one counts"] = None
            elif len(tools) < MOST_TOOLS:
                tools[tool.name[: 2 * _LONGEST_NAME]] = _described(tool, name, server)
        if page.next_cursor in (None, cursor) or len(tools) >= MOST_TOOLS:
            break
        cursor = page.next_cursor
    if len(tools) >= MOST_TOOLS:
        problems[f"it has more tools than the {MOST_TOOLS:,} that are looked at"] = None
    return Listing(tools, tuple(problems)[:20])


def _described(tool: types.Tool, server: str, configured: McpServer) -> ServerTool:
    given = tool.annotations
    hints = Hints(given.read_only_hint, given.destructive_hint, given.idempotent_hint) if given else Hints()
    description = (tool.description or tool.title or "")[:_LONGEST_DESCRIPTION]
    offer, reason = None, None
    try:
        if (why := (tool.meta or {}).get(NOT_OFFERED)) is not None:
            raise NotOffered(str(why))
        if not tool.name:
            raise NotOffered("it has no name")
        if len(tool.name) > _LONGEST_NAME:
            raise NotOffered(f"its name has more than {_LONGEST_NAME} characters")
        if tool.execution is not None and tool.execution.task_support == "required":
            raise NotOffered("it can only be called as a task")
        offer = offer_of(tool.input_schema)
    except NotOffered as error:
        reason = str(error)
    return ServerTool(
        server,
        tool.name,
        description,
        tool.input_schema,
        hash_of(tool.name, tool.description, tool.input_schema, given.model_dump() if given else None) if offer else "",
        treatment_of(configured, tool.name, hints),
        offer,
        reason,
    )
