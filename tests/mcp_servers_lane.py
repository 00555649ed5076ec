"""The slow lane, `make test-mcp-servers`: MCP servers that nobody here wrote, from npm and PyPI, as tools of a worker.

Versions are pinned here. Each server is installed once, in a folder of its own below the cache folder; one that cannot
be installed is skipped by its name. What was seen goes into the table of `docs/mcp-servers.md`. `make test` leaves it
out: it needs package registries and Node.js.
"""

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from durable_responses.mcp_tools.calls import McpTool
from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.sessions import Sessions
from durable_responses.settings import child_environment
from durable_responses.tools.registry import Effect, ToolContext, ToolError
from durable_responses.workflows.contract import AgentStatus
from tests.clients_lane import INSTALL_SECONDS, node, npm, python, run
from tests.support.deployment import Deployment
from tests.support.processes import CHECKOUT, WorkerProcess, free_port, port_serves

pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)
PAGE = CHECKOUT / "docs" / "mcp-servers.md"
SCOPE = "@modelcontextprotocol/"


@dataclass(frozen=True)
class Server:
    """A server of others: its package, its arguments, and a call with what its answer has in it.

    `more` are further calls; `slow` one that takes long enough to be cancelled.
    """

    package: str
    arguments: Sequence[str]
    call: tuple[str, Mapping[str, Any], str]
    more: Sequence[tuple[str, Mapping[str, Any], str]] = ()
    slow: tuple[str, Mapping[str, Any]] | None = None
    packages: Sequence[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The package's name."""
        return re.split(r"(?<=.)(?:@|==)", self.package)[0]

    @property
    def is_of_npm(self) -> bool:
        """Whether it is a package of npm."""
        return self.package.startswith("@")


EVERYTHING = Server(
    f"{SCOPE}server-everything@2026.8.31",
    ["stdio"],
    ("echo", {"message": "hello"}, "Echo: hello"),
    more=[("get-sum", {"a": 1, "b": 2}, "3"), ("get-tiny-image", {}, "[image/png, ")],
    slow=("trigger-long-running-operation", {"duration": 60, "steps": 60}),
)
SERVERS = [
    EVERYTHING,
    Server(
        f"{SCOPE}server-filesystem@2026.8.31",
        ["FOLDER"],
        ("write_file", {"path": "FOLDER/a.txt", "content": "hello"}, "Successfully wrote"),
        more=[("read_text_file", {"path": "FOLDER/a.txt"}, "hello")],
    ),
    Server(f"{SCOPE}server-memory@2026.8.31", [], ("read_graph", {}, "entities")),
    Server(
        f"{SCOPE}server-sequential-thinking@2026.8.31",
        [],
        (
            "sequentialthinking",
            {"thought": "t", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1},
            "thoughtNumber",
        ),
    ),
    Server("mcp-server-git==2026.10.19", [], ("git_status", {"repo_path": "FOLDER"}, "nothing to commit")),
    Server("mcp-server-fetch==2026.10.24", [], ("fetch", {"url": "http://127.0.0.1:1/"}, "")),
    Server("mcp-server-time==2026.10.19", [], ("get_current_time", {"timezone": "UTC"}, "UTC")),
]


async def command_of(server: Server, folder: Path) -> tuple[str, list[str]]:
    """The program that serves, once it is installed."""
    arguments = [each.replace("FOLDER", str(folder)) for each in server.arguments]
    label = server.name.rsplit("/", 1)[-1]
    if server.is_of_npm:
        installed = await npm(label, [server.package, *server.packages])
        program = installed / "node_modules" / server.name / "dist" / "index.js"
        return await node(), [str(program), *arguments]
    interpreter = await python(label, [server.package, *server.packages])
    return str(interpreter), ["-m", server.name.replace("-", "_"), *arguments]


async def quiet(progress: float, total: float | None, message: str | None) -> None:
    """Nobody wants to know."""


def seen(server: Server, over: str, what: str) -> None:
    """Write the row of a server into the table."""
    head, table, tail = re.split(r"(?<=<!-- seen -->\n)(.*?)(?=\n<!-- /seen -->)", PAGE.read_text(), flags=re.DOTALL)
    rows = {tuple(row.split("|")[1:3]): row for row in table.strip().splitlines()[2:]}
    version = re.split(r"(?<=.)(?:@|==)", server.package)[-1]
    key = (f" {server.name} {version} ", f" {over} ")
    rows[key] = f"|{key[0]}|{key[1]}| {what} |"
    lines = ["| server | over | tools offered |", "|---|---|---|", *(rows[each] for each in sorted(rows))]
    PAGE.write_text(head + "\n".join(lines) + tail)


async def looked_at(sessions: Sessions, server: Server, folder: Path) -> str:
    """List the tools, make the calls, cancel the slow one; what was seen."""
    tools = (await sessions.listing("it")).tools
    offered = [tool for tool in tools.values() if tool.offer is not None]
    assert offered, {name: tool.reason for name, tool in tools.items()}
    for tool, arguments, wanted in [server.call, *server.more]:
        given = {name: replaced(value, folder) for name, value in arguments.items()}
        try:
            answer = (await sessions.call("it", tool, given, quiet)).text
        except ToolError as error:
            answer = str(error)
        assert wanted in answer, answer
    if server.slow is not None:
        told = asyncio.Event()

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            loop.call_soon_threadsafe(told.set)

        loop = asyncio.get_running_loop()
        tool, arguments = server.slow
        running = asyncio.create_task(sessions.call("it", tool, dict(arguments), progress))
        await asyncio.wait_for(told.wait(), 30)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        tool, arguments, wanted = server.call
        assert wanted in (await sessions.call("it", tool, dict(arguments), quiet)).text
    strict = sum(tool.offer is not None and tool.offer.strict for tool in offered)
    effects = [sum(tool.treatment.effect is effect for tool in offered) for effect in Effect]
    left_out = [f"{tool.name}: {tool.reason}" for tool in tools.values() if tool.offer is None]
    said = f"{len(offered)}, {strict} of them strict; pure {effects[0]}, idempotent {effects[1]}, once {effects[2]}"
    return said + (f"; left out: {', '.join(left_out)}" if left_out else "")


def replaced(value: Any, folder: Path) -> Any:
    return value.replace("FOLDER", str(folder)) if isinstance(value, str) else value


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name.rsplit("/", 1)[-1])
async def test_the_tools_of_a_server_of_others_are_offered_and_called(server: Server, tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        assert (await run([*git, *command], cwd=tmp_path, env=child_environment()))[0] == 0
    program, arguments = await command_of(server, tmp_path)
    configured = McpServer.model_validate(
        {"command": program, "args": arguments, "cwd": str(tmp_path), "trust": "annotations", "start_timeout": 60}
    )
    async with Sessions({"it": configured}) as sessions:
        seen(server, "stdio", await looked_at(sessions, server, tmp_path))


@asynccontextmanager
async def serving(command: Sequence[str], port: int) -> AsyncIterator[None]:
    """A server over HTTP, killed in the end."""
    process = await asyncio.create_subprocess_exec("env", f"PORT={port}", *command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(30):
            while not port_serves(port):
                await asyncio.sleep(0.1)
        yield
    finally:
        process.kill()
        await process.wait()


async def test_the_tools_of_a_server_of_others_are_called_over_http(tmp_path: Path) -> None:
    """One that was started again does not know the session any more; then there is a new one."""
    program, arguments = await command_of(EVERYTHING, tmp_path)
    command, port = (program, arguments[0], "streamableHttp"), free_port()
    configured = McpServer.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "trust": "annotations"})
    async with Sessions({"it": configured}) as sessions:
        async with serving(command, port):
            seen(EVERYTHING, "HTTP", await looked_at(sessions, EVERYTHING, tmp_path))
        async with serving(command, port):
            tool = (await sessions.listing("it")).tools["echo"]
            told: list[str] = []
            called = McpTool(sessions, tool, "it__echo", Effect.PURE, 30, told.append)
            assert (await called.run({"message": "again"}, ToolContext(tmp_path))).text == "Echo: again"


# --- many runs on one server, of our own ---------------------------------------------------------------------------


def held_by(worker: WorkerProcess) -> tuple[int, int, int]:
    """Open descriptors of a worker, its children, and the bytes of its memory."""
    process = psutil.Process(worker.pid)
    return process.num_fds(), len(process.children(recursive=True)), process.memory_info().rss


async def test_a_hundred_runs_and_a_thousand_calls_on_one_server_leave_nothing_behind(deployment: Deployment) -> None:
    """The first hundred calls load what is loaded once; after them nothing grows but by what runs leave in memory."""
    desk = {
        "command": sys.executable,
        "args": ["-m", "tests.support.mcp_tool_server", str(deployment.folder)],
        "cwd": str(CHECKOUT),
        "trust": "annotations",
    }
    scenario = 'calls?iterations=10&tool=desk__add&arguments={"a":1,"b":2}'

    async def runs(count: int) -> None:
        asked = {"mcp_servers": ["desk"], "tools": [], "transport": "stream", "max_iterations": 20}
        for _ in range(count // 10):
            started = [await deployment.start_only(metadata={"scenario": scenario}, **asked) for _ in range(10)]
            ended = await asyncio.gather(*(run.result(seconds=120) for run in started))
            assert {result.status for result in ended} == {AgentStatus.COMPLETED}

    servers = json.dumps({"desk": desk})
    async with deployment.worker(AGENT_MCP_SERVERS=servers, AGENT_MAX_CACHED_WORKFLOWS="10") as worker:
        await runs(10)
        before = held_by(worker)
        await runs(100)
        after = held_by(worker)
    calls = (deployment.folder / "add").read_text().splitlines()
    print(f"descriptors, children, bytes: {before} before, {after} after {len(calls)} calls")
    assert (len(calls), len(set(calls))) == (1100, 1)
    assert after[0] <= before[0] + 10
    assert after[1] <= before[1]
    assert after[2] <= before[2] * 1.25
