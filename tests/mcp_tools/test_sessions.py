"""Sessions with real MCP servers: programs over stdio, one over HTTP, and some that behave as none should."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durable_responses.mcp_tools.configuration import McpServer, UnresolvedError
from durable_responses.mcp_tools.sessions import (
    Caller,
    CallInterrupted,
    ServerError,
    SessionReplaced,
    Sessions,
    Surroundings,
)
from durable_responses.mcp_tools.transports import LARGEST_MESSAGE, Lines
from durable_responses.tools.registry import Effect, ToolError
from tests.support.processes import free_port

PROJECT = Path(__file__).parents[2]


def program(module: str, *arguments: str, **fields: Any) -> McpServer:
    """A server of `tests.support`, as a program."""
    given = {"command": sys.executable, "args": ["-m", f"tests.support.{module}", *arguments], "cwd": str(PROJECT)}
    return McpServer.model_validate({**given, **fields})


def hostile(manner: str, *arguments: str, **fields: Any) -> McpServer:
    return program("hostile_mcp_server", manner, *arguments, **fields)


async def quiet(progress: float, total: float | None, message: str | None) -> None:
    """Nobody wants to know."""


async def call(sessions: Sessions, tool: str = "get", server: str = "it", **arguments: Any) -> str:
    return (await sessions.call(server, tool, arguments, quiet)).text


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


async def until_there(file: Path, count: int = 1) -> list[str]:
    async with asyncio.timeout(20):
        while len(lines_of(file)) < count:
            await asyncio.sleep(0.02)
    return lines_of(file)


def lives(pid: int) -> bool:
    """Whether a process runs, and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Sessions]:
    """A session with the test server, as a program."""
    async with Sessions({"it": program("mcp_tool_server", str(tmp_path), trust="annotations")}) as sessions:
        yield sessions


# --- what there is, and calls ------------------------------------------------------------------------------------


async def test_the_tools_of_a_server_are_listed(desk: Sessions) -> None:
    """With what a create and a call need to know of them."""
    tools = (await desk.listing("it")).tools
    assert tools["add"].description == "Add two numbers."
    assert tools["add"].offer is not None
    assert tools["add"].offer.strict
    effects = {name: tools[name].treatment.effect for name in ("add", "put", "append", "unspoken")}
    assert list(effects.values()) == [Effect.PURE, Effect.IDEMPOTENT, Effect.ONCE, Effect.ONCE]


async def test_a_call_is_answered(desk: Sessions) -> None:
    assert await call(desk, "add", a=1, b=2) == "3"
    answer = await desk.call("it", "fail", {}, quiet)
    assert answer.is_error
    assert answer.text == "Error executing tool fail"


async def test_calls_run_side_by_side_in_one_session(desk: Sessions, tmp_path: Path) -> None:
    answers = await asyncio.gather(*(call(desk, "add", a=number, b=1) for number in range(50)))
    assert answers == [str(number + 1) for number in range(50)]
    assert len(set(lines_of(tmp_path / "add"))) == 1


async def test_a_server_tells_how_far_a_call_has_come(desk: Sessions) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    assert (await desk.call("it", "wait", {"seconds": 0.3}, progress)).text == "waited"
    assert told[0] == (0, 3, "waiting")


async def test_a_cancel_reaches_the_server_and_the_session_goes_on(desk: Sessions, tmp_path: Path) -> None:
    waiting = asyncio.create_task(call(desk, "wait", seconds=60))
    await until_there(tmp_path / "waiting")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    [pid] = await until_there(tmp_path / "cancelled")
    assert await call(desk, "add", a=1, b=2) == "3"
    assert lines_of(tmp_path / "add") == [pid]


async def test_a_server_gets_no_variable_of_the_worker_that_its_entry_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-worker")
    server = program("mcp_tool_server", str(tmp_path), env={"NAMED": "yes"})
    async with Sessions({"it": server}) as sessions:
        assert await call(sessions, "variable", name="OPENAI_API_KEY") == "not set"
        assert await call(sessions, "variable", name="NAMED") == "yes"


async def learned(sessions: Sessions) -> None:
    """Have the test server offer one more tool, and wait until that is known."""
    assert "lesson" not in (await sessions.listing("it")).tools
    await call(sessions, "learn")
    async with asyncio.timeout(20):
        while "lesson" not in (await sessions.listing("it")).tools:
            await asyncio.sleep(0.02)
    assert await call(sessions, "lesson") == "learned"


async def test_a_list_that_changes_is_read_again_in_the_newest_revision(desk: Sessions) -> None:
    """Which tells of it only those who have asked."""
    await learned(desk)


async def test_a_server_over_http_is_called(tmp_path: Path) -> None:
    port = free_port()
    serving = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.mcp_tool_server", str(tmp_path), str(port)),
        cwd=PROJECT,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with Sessions({"it": McpServer(url=f"http://127.0.0.1:{port}/mcp")}) as sessions:
            async with asyncio.timeout(30):
                while True:
                    try:
                        await sessions.listing("it")
                        break
                    except ServerError:  # it is still starting
                        await asyncio.sleep(0.2)
            assert await call(sessions, "add", a=1, b=2) == "3"
            await learned(sessions)
            many = [asyncio.create_task(call(sessions, "look_slowly")) for _ in range(120)]
            await until_there(tmp_path / "look_slowly", len(many))  # all at once
            (tmp_path / "refuses").touch()
            refused = "add was not called: its server 'it' answered with an HTTP error, HTTP 429 Too Many Requests"
            with pytest.raises(ServerError, match=refused):
                await call(sessions, "add", a=1, b=2)
            (tmp_path / "refuses").unlink()  # and the others go on
            assert await call(sessions, "add", a=1, b=2) == "3"
            (tmp_path / "open").touch()
            await asyncio.gather(*many)
            with pytest.raises(ToolError, match=r"more than 16,777,216 bytes|exceed"):
                await call(sessions, "megabytes", count=20)
            assert await call(sessions, "add", a=1, b=2) == "3"
            serving.kill()
            await serving.wait()
            with pytest.raises(ServerError, match=r"add was not called: there is no connection to http://127"):
                await call(sessions, "add", a=1, b=2)
    finally:
        if serving.returncode is None:
            serving.kill()
            await serving.wait()


async def test_a_server_over_http_that_hangs_up_is_told() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as hanging_up:
        port = hanging_up.sockets[0].getsockname()[1]
        async with Sessions({"it": McpServer(url=f"http://127.0.0.1:{port}/mcp")}) as sessions:
            with pytest.raises(ServerError, match="'it' cannot be used: the connection has ended: "):
                await sessions.listing("it")


# --- its end -----------------------------------------------------------------------------------------------------


async def test_sessions_end_with_the_worker_side_by_side_and_leave_no_process(tmp_path: Path) -> None:
    """A server that ignores SIGTERM is killed, and what it has started with it."""
    stubborn = {f"s{number}": hostile("stays") for number in range(4)}
    sessions = Sessions({**stubborn, "it": program("mcp_tool_server", str(tmp_path))})
    await asyncio.gather(*(sessions.listing(name) for name in sessions.names))
    await call(sessions, "add", a=1, b=2)
    started = asyncio.get_running_loop().time()
    await sessions.aclose()
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children if lives(int(pid))]
    servers = ("hostile_mcp_server", "mcp_tool_server")
    assert [command for command in commands if any(name in command for name in servers)] == []
    assert asyncio.get_running_loop().time() - started < 4 * 4, "one after the other"
    assert not lives(int(lines_of(tmp_path / "add")[0]))


async def test_a_session_that_nobody_uses_is_closed_and_opened_again(tmp_path: Path) -> None:
    async with Sessions({"it": program("mcp_tool_server", str(tmp_path))}, idle=0.05) as sessions:
        await call(sessions, "add", a=1, b=2)
        [first] = lines_of(tmp_path / "add")
        async with asyncio.timeout(20):
            while lives(int(first)):
                await asyncio.sleep(0.02)
        assert await call(sessions, "add", a=1, b=2) == "3"
    assert len(set(lines_of(tmp_path / "add"))) == 2


async def test_a_server_that_dies_in_the_middle_of_a_call_is_started_again_for_the_next(tmp_path: Path) -> None:
    async with Sessions({"it": program("mcp_tool_server", str(tmp_path))}) as sessions:
        with pytest.raises(CallInterrupted, match="its server 'it' ended in the middle of it"):
            await call(sessions, "die_reading")
        assert await call(sessions, "die_reading") == "survived"


async def killed(sessions: Sessions, pid: str) -> None:
    """Kill a server's program, and wait until that is noticed."""
    os.kill(int(pid), signal.SIGKILL)
    async with asyncio.timeout(20):
        while sessions.is_ready("it"):
            await asyncio.sleep(0.02)


async def test_a_server_that_has_ended_between_two_calls_is_started_again_for_the_next(
    desk: Sessions, tmp_path: Path
) -> None:
    """Its end has interrupted nothing."""
    await call(desk, "add", a=1, b=2)
    await killed(desk, lines_of(tmp_path / "add")[0])
    assert await call(desk, "append", text="x") == "appended 'x': 1"


async def test_a_server_that_is_still_starting_does_not_hold_up_the_end_of_the_worker() -> None:
    sessions = Sessions({"it": hostile("silent", start_timeout=600)})
    listing = asyncio.create_task(sessions.listing("it"))
    await asyncio.sleep(0)  # it begins
    async with asyncio.timeout(20):
        await sessions.aclose()
    with pytest.raises(ServerError, match="it was closed"):
        await listing


async def test_a_server_that_dies_in_each_call_is_left_alone_for_a_while() -> None:
    async with Sessions({"it": hostile("dying")}) as sessions:
        for _ in range(3):
            with pytest.raises(CallInterrupted):
                await call(sessions)
        with pytest.raises(ServerError, match=r"'it' ends in each call.* It is tried again in \d s\."):
            await call(sessions)


# --- sessions of runs --------------------------------------------------------------------------------------------


@pytest.fixture
async def of_runs(tmp_path: Path) -> AsyncIterator[Sessions]:
    """Sessions with the test server, of which each run has its own."""
    async with Sessions({"it": program("mcp_tool_server", str(tmp_path), session="run")}) as sessions:
        yield sessions


async def added(sessions: Sessions, run: str, session: str | None = None) -> str:
    """Have two numbers added, in the session of a run; returns that session."""
    caller = Caller(run, session)
    return (await sessions.call("it", "add", {"a": 1, "b": 2}, quiet, caller=caller)).session


async def test_each_run_has_a_session_of_its_own(of_runs: Sessions, tmp_path: Path) -> None:
    listed = (await of_runs.listing("it", "run-1")).session
    assert [await added(of_runs, run) for run in ("run-1", "run-2", "run-1")][::2] == [listed, listed]
    first, second, third = lines_of(tmp_path / "add")
    assert first == third != second
    assert of_runs.runs == ["run-1", "run-2"]


async def test_a_call_is_made_in_the_session_that_the_run_knows_or_not_at_all(
    of_runs: Sessions, tmp_path: Path
) -> None:
    """What the one that is lost held, nobody has."""
    session = await added(of_runs, "run-1")
    await killed(of_runs, lines_of(tmp_path / "add")[0])
    with pytest.raises(SessionReplaced) as replaced:
        await added(of_runs, "run-1", session)
    assert len(lines_of(tmp_path / "add")) == 1
    assert await added(of_runs, "run-1", replaced.value.session) == replaced.value.session


async def test_the_tools_of_a_server_are_known_from_any_run_s_session(of_runs: Sessions, tmp_path: Path) -> None:
    """Whoever only offers them starts no further server."""
    await added(of_runs, "run-1")
    assert "add" in (await of_runs.listing("it")).tools
    assert of_runs.runs == ["run-1"]
    await of_runs.close_run("run-1")
    assert not of_runs.is_ready("it")
    assert len(lines_of(tmp_path / "add")) == 1


async def test_a_session_of_a_run_can_be_closed(of_runs: Sessions, tmp_path: Path) -> None:
    await added(of_runs, "run-1")
    await added(of_runs, "run-2")
    await of_runs.close_run("run-1")
    first, second = map(int, lines_of(tmp_path / "add"))
    assert (lives(first), lives(second), of_runs.runs) == (False, True, ["run-2"])


# --- calls that are cancelled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", ["stuck", "deaf"])
async def test_a_server_that_ignores_a_cancel_is_started_anew_and_leaves_no_process(
    manner: str, tmp_path: Path
) -> None:
    """Whether it answers nothing any more, or goes on with the call."""
    server, surroundings = hostile(manner, str(tmp_path)), Surroundings(patience=0.1)
    async with Sessions({"it": server}, surroundings=surroundings) as sessions:
        calling = asyncio.create_task(call(sessions))
        [first] = await until_there(tmp_path / "calls")
        calling.cancel()
        async with asyncio.timeout(20):
            while len(set(lines_of(tmp_path / "calls"))) < 2:
                with contextlib.suppress(CallInterrupted):  # it may begin before the cancel is noticed
                    assert await call(sessions) == "got it"
            while lives(int(first)):
                await asyncio.sleep(0.02)
        assert lives(int(lines_of(tmp_path / "calls")[-1]))


async def test_a_server_that_ends_a_cancelled_call_is_kept(desk: Sessions, tmp_path: Path) -> None:
    calling = asyncio.create_task(call(desk, "wait", seconds=60))
    [first] = await until_there(tmp_path / "waiting")
    calling.cancel()
    await until_there(tmp_path / "cancelled")
    await call(desk, "add", a=1, b=2)
    assert lines_of(tmp_path / "add") == [first]


# --- servers as none should be -----------------------------------------------------------------------------------


async def test_a_server_that_never_answers_is_given_up_in_time_and_left_alone_for_a_while() -> None:
    async with Sessions({"it": hostile("silent", start_timeout=0.5)}) as sessions:
        with pytest.raises(ServerError, match=r"'it' cannot be used: it did not list its tools within 0\.5 s"):
            await sessions.listing("it")
        with pytest.raises(ServerError, match="It is tried again in"):
            await sessions.listing("it")


async def test_a_server_that_ends_at_once_is_told_with_its_last_words() -> None:
    async with Sessions({"it": hostile("ends-at-once")}) as sessions:
        with pytest.raises(ServerError, match="it says: there is no token"):
            await sessions.listing("it")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"command": "no-such-program"}, "there is no program 'no-such-program'."),
        ({"command": "npx -y x"}, "there is no program 'npx -y x'; what follows the program belongs into args."),
        ({"command": "/etc/passwd"}, "'/etc/passwd' cannot be started: Permission denied."),
        ({"command": "true", "cwd": "/nowhere"}, "there is no folder '/nowhere'."),
        ({"command": "false"}, "its program ended, with exit code 1, before it listed its tools."),
        (
            {"command": "echo", "args": ["Welcome!"]},
            "its program ended, with exit code 0, before it listed its tools; it prints 'Welcome!', which is not a "
            "message of the protocol.",
        ),
        ({"url": "http://127.0.0.1:1/mcp"}, "there is no connection to http://127.0.0.1:1: "),
    ],
)
async def test_a_server_that_cannot_be_started_says_why(entry: dict[str, Any], problem: str) -> None:
    async with Sessions({"it": McpServer.model_validate(entry)}) as sessions:
        with pytest.raises(ServerError) as error:
            await sessions.listing("it")
    assert str(error.value).startswith(f"The MCP server 'it' cannot be used: {problem}")


async def test_a_variable_that_is_not_set_is_named_and_the_other_servers_work() -> None:
    def resolve(server: McpServer) -> McpServer:
        return server.resolved({})

    servers = {"it": McpServer(url="https://h/${NAME}"), "other": hostile("well")}
    async with Sessions(servers, resolve) as sessions:
        with pytest.raises(ServerError, match=r"'it' cannot be used: \$\{NAME\} is not set where the worker runs"):
            await sessions.listing("it")
        assert await call(sessions, server="other") == "got it"
    assert UnresolvedError.__doc__


@pytest.mark.parametrize("manner", ["well", "floods", "chatty"])
async def test_a_server_that_says_too_much_works(manner: str) -> None:
    """Whether on its standard error, or what is no message."""
    async with Sessions({"it": hostile(manner)}) as sessions:
        assert await call(sessions) == "got it"


@pytest.mark.timeout(120)
async def test_a_result_of_100_megabytes_is_an_error_and_the_session_goes_on() -> None:
    async with Sessions({"it": hostile("huge-result")}) as sessions:
        with pytest.raises(ToolError, match=r"the answer has 104,857,\d+ bytes, more than 16,777,216"):
            await call(sessions)
        assert "get" in (await sessions.listing("it")).tools


async def test_an_answer_that_misses_its_schema_is_kept() -> None:
    """The call has been made."""
    async with Sessions({"it": hostile("unstructured")}) as sessions:
        assert await call(sessions) == "got it"


async def test_a_result_that_is_none_is_an_error() -> None:
    async with Sessions({"it": hostile("no-result")}) as sessions:
        with pytest.raises(ToolError, match="the answer is not valid"):
            await call(sessions)


async def test_of_ten_thousand_tools_so_many_are_looked_at() -> None:
    async with Sessions({"it": hostile("many")}) as sessions:
        listing = await sessions.listing("it")
    assert len(listing.tools) == 2000
    assert listing.problems == ("it has more tools than the 2,000 that are looked at",)


@pytest.mark.parametrize(
    ("manner", "tool", "reason"),
    [
        ("huge-schema", "huge", "its schema has 1,048,"),
        ("tasks", "slow", "it can only be called as a task"),
        ("colliding", "y" * 256, "its name has more than 128 characters"),
    ],
)
async def test_a_tool_that_cannot_be_offered_is_listed_with_the_reason(manner: str, tool: str, reason: str) -> None:
    async with Sessions({"it": hostile(manner)}) as sessions:
        tools = (await sessions.listing("it")).tools
    assert (tools[tool].reason or "").startswith(reason)
    assert tools[tool].offer is None


async def test_of_two_tools_of_one_name_the_first_counts() -> None:
    async with Sessions({"it": hostile("colliding")}) as sessions:
        listing = await sessions.listing("it")
    assert listing.problems == ("two of its tools are called 'a_b': the first one counts",)


# --- lines -------------------------------------------------------------------------------------------------------


def test_bytes_are_cut_into_lines_wherever_they_come_apart() -> None:
    lines = Lines()
    assert [line for part in (b"a", b"b\nc\n", b"", b"d\n\n") for line in lines.take(part)] == [b"ab", b"c", b"d", b""]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":7,"result":"%s"}',
        b'{"id": 7, "result": "%s"}',
        b'{"result":"%s","jsonrpc":"2.0","id":7}',
        b'{"result":"%s","id":7,"jsonrpc":"2.0"}',
    ],
)
def test_a_line_that_is_too_long_answers_its_request_with_an_error(line: bytes) -> None:
    lines, whole = Lines(longest=1000), line.replace(b"%s", b"x" * 5000) + b"\n"
    parts = [whole[start : start + 100] for start in range(0, len(whole), 100)]
    [error] = [answer for part in parts for answer in lines.take(part)]
    assert b'"id":7' in error
    assert b"bytes, more than 1,000" in error
    assert list(lines.take(b"next\n")) == [b"next"]


def test_a_line_that_is_too_long_and_answers_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 1,000"):
        list(Lines(longest=1000).take(b"x" * 1001 + b"\n"))
    assert LARGEST_MESSAGE > 1000


# --- many calls --------------------------------------------------------------------------------------------------


async def test_a_thousand_calls_leave_no_descriptor_and_no_process(desk: Sessions, tmp_path: Path) -> None:
    await call(desk, "add", a=1, b=2)
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await asyncio.gather(*(call(desk, "add", a=number, b=1) for number in range(50)))
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2
    assert len(lines_of(tmp_path / "add")) == 1001
    assert len(set(lines_of(tmp_path / "add"))) == 1


async def test_a_list_that_changes_is_read_again() -> None:
    async with Sessions({"it": hostile("growing")}) as sessions:
        assert list((await sessions.listing("it")).tools) == ["get_0"]
        await call(sessions, "get_0")
        async with asyncio.timeout(20):
            while len((await sessions.listing("it")).tools) < 2:
                await asyncio.sleep(0.02)


async def test_a_server_may_ask_for_the_workspace(tmp_path: Path) -> None:
    server = program("mcp_tool_server", str(tmp_path))
    async with Sessions({"it": server}, surroundings=Surroundings(roots=tmp_path / "a b")) as sessions:
        assert await call(sessions, "folders") == f"file://{tmp_path}/a%20b"
