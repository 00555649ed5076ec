"""The slow lane, `make test-mcp-servers`: MCP servers that nobody here wrote, from npm and PyPI, as tools of a worker.

Versions are pinned here. Each server is installed once, in a folder of its own below the cache folder; one that cannot
be installed is skipped by its name. What was seen goes into the table of `docs/mcp-servers.md`. `make test` leaves it
out: it needs package registries and Node.js.
"""

import asyncio
import base64
import contextlib
import json
import re
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from durable_responses.mcp_tools.calls import McpTool
from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.sessions import NOTHING, AsksFirst, Given, Sessions
from durable_responses.settings import child_environment
from durable_responses.tools.registry import Effect, ToolContext, ToolError
from durable_responses.workflows.contract import AgentStatus
from tests.clients_lane import INSTALL_SECONDS, node, npm, python, run
from tests.support.deployment import Deployment
from tests.support.processes import CHECKOUT, WorkerProcess, free_port, port_serves

pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)
PAGE = CHECKOUT / "docs" / "mcp-servers.md"
SCOPE = "@modelcontextprotocol/"


Call = tuple[str, Mapping[str, Any], str]


@dataclass(frozen=True)
class Server:
    """A server of others: its package, its arguments, and calls of all its tools, with what each answer has in it.

    `slow`: one that takes long enough to be cancelled. FOLDER is a git repository, PAGE the address of a page.
    """

    package: str
    arguments: Sequence[str]
    calls: Sequence[Call]
    slow: tuple[str, Mapping[str, Any]] | None = None
    env: Mapping[str, str] = field(default_factory=dict)

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
    [
        ("echo", {"message": "hello"}, "Echo: hello"),
        ("get-sum", {"a": 1, "b": 2}, "3"),
        ("get-annotated-message", {"messageType": "error"}, "Error: "),
        ("get-env", {}, "PATH"),
        ("get-resource-links", {"count": 2}, "[resource "),
        ("get-resource-reference", {"resourceType": "Text", "resourceId": 1}, "[resource "),
        ("get-structured-content", {"location": "Chicago"}, "temperature"),
        ("get-tiny-image", {}, "[image 1: image/png, "),
        ("gzip-file-as-resource", {"data": "data:text/plain,hello", "outputType": "resource"}, "application/gzip"),
        ("toggle-simulated-logging", {}, "Started"),
        ("toggle-simulated-logging", {}, "Stopped"),
        ("toggle-subscriber-updates", {}, "Started"),
        ("toggle-subscriber-updates", {}, "Stopped"),
        ("trigger-long-running-operation", {"duration": 0.2, "steps": 2}, "completed"),
        ("trigger-elicitation-request", {}, "declined"),
        ("trigger-url-elicitation", {"url": "https://example.com/"}, "decline"),
        ("trigger-url-elicitation", {"url": "https://example.com/", "errorPath": True}, "its owner did not open"),
    ],
    slow=("trigger-long-running-operation", {"duration": 60, "steps": 60}),
)
SERVERS = [
    EVERYTHING,
    Server(
        f"{SCOPE}server-filesystem@2026.8.31",
        ["FOLDER"],
        [
            ("write_file", {"path": "FOLDER/a.txt", "content": "hello\n"}, "Successfully wrote"),
            ("read_text_file", {"path": "FOLDER/a.txt"}, "hello"),
            ("read_file", {"path": "FOLDER/a.txt", "head": 1}, "hello"),
            ("read_multiple_files", {"paths": ["FOLDER/a.txt"]}, "hello"),
            ("edit_file", {"path": "FOLDER/a.txt", "edits": [{"oldText": "hello", "newText": "good day"}]}, "good day"),
            ("create_directory", {"path": "FOLDER/sub"}, "Successfully created"),
            ("move_file", {"source": "FOLDER/a.txt", "destination": "FOLDER/sub/b.txt"}, "Successfully moved"),
            ("list_directory", {"path": "FOLDER/sub"}, "[FILE] b.txt"),
            ("list_directory_with_sizes", {"path": "FOLDER/sub", "sortBy": "size"}, "b.txt"),
            ("directory_tree", {"path": "FOLDER", "excludePatterns": [".git"]}, "b.txt"),
            ("search_files", {"path": "FOLDER", "pattern": "**/b.*"}, "sub/b.txt"),
            ("get_file_info", {"path": "FOLDER/sub/b.txt"}, "size: 9"),
            ("read_media_file", {"path": "FOLDER/dot.png"}, "[image 1: image/png"),
            ("list_allowed_directories", {}, "FOLDER"),
        ],
    ),
    Server(
        f"{SCOPE}server-memory@2026.8.31",
        [],
        [
            (
                "create_entities",
                {"entities": [{"name": n, "entityType": "person", "observations": ["o"]} for n in ("Ada", "Bo")]},
                "Ada",
            ),
            ("create_relations", {"relations": [{"from": "Ada", "to": "Bo", "relationType": "knows"}]}, "knows"),
            ("add_observations", {"observations": [{"entityName": "Ada", "contents": ["likes tea"]}]}, "likes tea"),
            ("read_graph", {}, "knows"),
            ("search_nodes", {"query": "tea"}, "Ada"),
            ("open_nodes", {"names": ["Bo"]}, "Bo"),
            ("delete_observations", {"deletions": [{"entityName": "Ada", "observations": ["o"]}]}, "success"),
            ("delete_relations", {"relations": [{"from": "Ada", "to": "Bo", "relationType": "knows"}]}, "success"),
            ("delete_entities", {"entityNames": ["Ada", "Bo"]}, "success"),
        ],
        env={"MEMORY_FILE_PATH": "FOLDER/memory.jsonl"},
    ),
    Server(
        f"{SCOPE}server-sequential-thinking@2026.8.31",
        [],
        [
            (
                "sequentialthinking",
                {"thought": "t", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1},
                "thoughtNumber",
            )
        ],
    ),
    Server(
        "mcp-server-git==2026.10.19",
        [],
        [
            ("git_status", {"repo_path": "FOLDER"}, "new.txt"),
            ("git_add", {"repo_path": "FOLDER", "files": ["new.txt"]}, "staged"),
            ("git_diff_staged", {"repo_path": "FOLDER"}, "+new"),
            ("git_reset", {"repo_path": "FOLDER"}, "reset"),
            ("git_diff_unstaged", {"repo_path": "FOLDER", "context_lines": 1}, "Unstaged"),
            ("git_add", {"repo_path": "FOLDER", "files": ["new.txt"]}, "staged"),
            ("git_commit", {"repo_path": "FOLDER", "message": "second"}, "committed"),
            ("git_log", {"repo_path": "FOLDER", "max_count": 1}, "second"),
            ("git_show", {"repo_path": "FOLDER", "revision": "HEAD"}, "+new"),
            ("git_create_branch", {"repo_path": "FOLDER", "branch_name": "other"}, "other"),
            ("git_checkout", {"repo_path": "FOLDER", "branch_name": "other"}, "other"),
            ("git_branch", {"repo_path": "FOLDER", "branch_type": "local"}, "* other"),
            ("git_diff", {"repo_path": "FOLDER", "target": "HEAD~1"}, "+new"),
        ],
    ),
    Server(
        "mcp-server-fetch==2026.10.24",
        ["--allow-private-ips"],
        [("fetch", {"url": "PAGE", "max_length": 1000}, "Good day")],
    ),
    Server(
        "mcp-server-time==2026.10.19",
        [],
        [
            ("get_current_time", {"timezone": "UTC"}, "UTC"),
            (
                "convert_time",
                {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
                "21:00",
            ),
        ],
    ),
]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
DECLINED = {"action": "decline"}


async def command_of(server: Server, folder: Path) -> tuple[str, list[str]]:
    """The program that serves, once it is installed."""
    arguments = [each.replace("FOLDER", str(folder)) for each in server.arguments]
    label = server.name.rsplit("/", 1)[-1]
    if server.is_of_npm:
        installed = await npm(label, [server.package])
        program = installed / "node_modules" / server.name / "dist" / "index.js"
        return await node(), [str(program), *arguments]
    interpreter = await python(label, [server.package])
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


async def answer_of(sessions: Sessions, tool: str, arguments: Mapping[str, Any]) -> str:
    """What a call answers. What its server asks meanwhile is declined."""
    given = NOTHING
    while True:
        try:
            return (await sessions.call("it", tool, dict(arguments), quiet, given)).text
        except AsksFirst as asks:
            given = Given({each.key: DECLINED for each in asks.questions}, asks.state, asks.held)
        except ToolError as error:
            return str(error)


async def looked_at(sessions: Sessions, server: Server, places: Mapping[str, str]) -> str:
    """List the tools, call them all, cancel the slow one; what was seen."""
    tools = (await sessions.listing("it")).tools
    offered = [tool for tool in tools.values() if tool.offer is not None]
    assert {tool.name for tool in offered} == {tool for tool, _, _ in server.calls}
    for tool, arguments, wanted in server.calls:
        answer = await answer_of(sessions, tool, replaced(arguments, places))
        assert replaced(wanted, places) in answer, (tool, answer)
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
        tool, arguments, wanted = server.calls[0]
        assert wanted in await answer_of(sessions, tool, arguments)
    strict = sum(tool.offer is not None and tool.offer.strict for tool in offered)
    effects = [sum(tool.treatment.effect is effect for tool in offered) for effect in Effect]
    left_out = [f"{tool.name}: {tool.reason}" for tool in tools.values() if tool.offer is None]
    said = f"{len(offered)}, {strict} of them strict; pure {effects[0]}, idempotent {effects[1]}, once {effects[2]}"
    return said + (f"; left out: {', '.join(left_out)}" if left_out else "")


def replaced(value: Any, places: Mapping[str, str]) -> Any:
    """The same with the places that it names."""
    if isinstance(value, str):
        for name, place in places.items():
            value = value.replace(name, place)
        return value
    if isinstance(value, Mapping):
        return {name: replaced(part, places) for name, part in value.items()}
    return [replaced(part, places) for part in value] if isinstance(value, list) else value


@pytest.fixture
async def places(tmp_path: Path) -> AsyncIterator[Mapping[str, str]]:
    """A folder that is a git repository with a file that is new to it, and a page over HTTP."""
    git = ["git", "-C", str(tmp_path)]
    for command in (
        ["init", "-q"],
        ["config", "user.name", "t"],
        ["config", "user.email", "t@t"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):
        assert (await run([*git, *command], cwd=tmp_path, env=child_environment()))[0] == 0
    (tmp_path / "new.txt").write_text("new\n")
    (tmp_path / "dot.png").write_bytes(base64.b64decode(DOT))
    site = tmp_path / "site"
    site.mkdir()
    (site / "page.html").write_text("<html><body><article><p>Good day to you all.</p></article></body></html>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield {"FOLDER": str(tmp_path), "PAGE": f"http://127.0.0.1:{http.server_port}/page.html"}
        http.shutdown()


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name.rsplit("/", 1)[-1])
async def test_the_tools_of_a_server_of_others_are_offered_and_called(
    server: Server, places: Mapping[str, str], tmp_path: Path
) -> None:
    program, arguments = await command_of(server, tmp_path)
    entry = {"command": program, "args": arguments, "cwd": str(tmp_path), "env": replaced(server.env, places)}
    configured = McpServer.model_validate({**entry, "trust": "annotations", "start_timeout": 60})
    async with Sessions({"it": configured}) as sessions:
        seen(server, "stdio", await looked_at(sessions, server, places))


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


async def test_the_tools_of_a_server_of_others_are_called_over_http(places: Mapping[str, str], tmp_path: Path) -> None:
    """One that was started again does not know the session any more; then there is a new one."""
    program, arguments = await command_of(EVERYTHING, tmp_path)
    command, port = (program, arguments[0], "streamableHttp"), free_port()
    configured = McpServer.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "trust": "annotations"})
    async with Sessions({"it": configured}) as sessions:
        async with serving(command, port):
            seen(EVERYTHING, "HTTP", await looked_at(sessions, EVERYTHING, places))
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
