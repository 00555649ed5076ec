"""The door answers before the server is loaded, and then cannot be told from it. Real processes, real pipes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from durable_responses.mcp_server.door import SNAPSHOT, Door
from durable_responses.mcp_server.first_answers import FirstAnswers, known_results, line_of
from durable_responses.mcp_server.snapshot import requests
from durable_responses.settings import child_environment

WITH_DOOR = ["-m", "durable_responses.mcp_server"]
WITHOUT_DOOR = ["-c", "from durable_responses.mcp_server.program import run; run()"]
NEVER = 3600.0

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
INITIALIZE, LIST = requests(HANDSHAKE)
DISCOVER, LIST_MODERN = requests(MODERN)
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
PING = {"jsonrpc": "2.0", "id": "ping", "method": "ping"}
WITH_TASKS = json.loads(
    json.dumps(DISCOVER).replace(
        'Capabilities": {}', 'Capabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}'
    )
)

Line = dict[str, Any] | bytes


def request(number: int | str, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}


def modern(number: int | str, method: str, **params: Any) -> dict[str, Any]:
    return request(number, method, {**DISCOVER["params"], **params})


def cancelled(number: int | str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Nothing is to be started: these conversations need no Temporal."""
    return child_environment(TEMPORAL_ADDRESS="127.0.0.1:1", AGENT_STATE_FOLDER=str(folder / "state"), **settings)


class Server:
    """A server over stdio, and a client that writes lines and reads messages."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    def send(self, *lines: Line) -> None:
        self.stdin.write(b"".join(line if isinstance(line, bytes) else line_of(line) for line in lines))

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            line = await self.stdout.readline()
        assert line, "the server has gone"
        message: dict[str, Any] = json.loads(line)
        return message

    async def ended(self) -> tuple[list[dict[str, Any]], str, int]:
        """The client goes; what the server still said, its log, its exit code."""
        self.stdin.close()
        said, log = await asyncio.wait_for(self.process.communicate(), 60)
        assert self.process.returncode is not None
        return [json.loads(line) for line in said.splitlines()], log.decode(), self.process.returncode


@asynccontextmanager
async def serving(folder: Path, command: Sequence[str] = WITH_DOOR, **settings: str) -> AsyncIterator[Server]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", *command),
        env=environment(folder, **settings),
        cwd=folder,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        limit=2**24,
    )
    try:
        yield Server(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def conversation(folder: Path, command: Sequence[str], steps: Sequence[Sequence[Line]]) -> list[str]:
    """All that a server says. A step is sent at once, and the next one when its requests are answered."""
    async with serving(folder, command) as server:
        said = []
        for step in steps:
            server.send(*step)
            waiting = {line["id"] for line in step if isinstance(line, dict) and "id" in line}
            while waiting:
                said.append(await server.message())
                waiting.discard(said[-1]["id"])
        rest, log, code = await server.ended()
    assert code == 0, log
    assert "out of date" not in log
    return sorted(json.dumps(message, sort_keys=True) for message in [*said, *rest])


CALL = request("call", "tools/call", {"name": "gpt5_agent_poll", "arguments": {}})
CALL_MODERN = modern("call", "tools/call", name="gpt5_agent_poll", arguments={})

CONVERSATIONS: dict[str, list[list[Line]]] = {
    "handshake": [[INITIALIZE], [INITIALIZED, LIST], [CALL, PING], [request("again", "tools/list")]],
    "handshake, all at once": [[INITIALIZE, LIST, INITIALIZED, request("one", "resources/templates/list"), CALL, PING]],
    "handshake, a second one, and pages": [
        [INITIALIZE | {"id": 0}, INITIALIZED, INITIALIZE | {"id": "0"}, LIST],
        [request("page", "tools/list", {"cursor": "2"}), LIST_MODERN | {"id": "other era"}],
    ],
    "handshake refused": [[INITIALIZE | {"params": {}}], [LIST | {"id": "too soon"}], [INITIALIZE, LIST]],
    "no handshake": [[LIST], [PING], [INITIALIZE | {"id": 0}, CALL]],
    "the opening taken back": [[INITIALIZE, cancelled(1), INITIALIZED, PING]],
    "modern": [[DISCOVER], [LIST_MODERN], [CALL_MODERN, modern("no", "no/such/method")]],
    "modern, without discovery": [[LIST_MODERN, CALL_MODERN], [DISCOVER]],
    "modern, with tasks": [[WITH_TASKS, modern("call", "tools/call", name="gpt5_agent", arguments={})]],
    "modern, then a handshake": [[DISCOVER, cancelled(1), INITIALIZE | {"id": 0}, LIST | {"id": "bare"}]],
    "notifications first": [
        [INITIALIZED, b'{"jsonrpc":"2.0","id":null,"method":"initialize"}\n', INITIALIZE, LIST, CALL]
    ],
    "hostile lines first": [[b"\n", b"not JSON\n", b"[" * 10_000 + b"\n", b"\xff\xfe\n", INITIALIZE, LIST, PING]],
    "hostile lines between": [
        [line_of(INITIALIZE).strip() + b"\r\n", b"[]\n{}\nnull\n", b"\x00" * 100_000 + b"\n", LIST],
        [line_of(INITIALIZED).strip() + b"\r", request("huge", "tools/call", {"name": "x" * 10_000_000}), PING],
        [line_of(CALL).rstrip()],  # a last line without an end
    ],
}


@pytest.mark.parametrize("steps", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
async def test_a_conversation_is_the_same_with_and_without_the_door(tmp_path: Path, steps: list[list[Line]]) -> None:
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    with_door, without_door = await asyncio.gather(
        conversation(tmp_path / "with", WITH_DOOR, steps), conversation(tmp_path / "without", WITHOUT_DOOR, steps)
    )
    assert with_door == without_door


@pytest.mark.parametrize(
    "command", [WITH_DOOR, ["-m", "durable_responses.cli.entry", "mcp"]], ids=["module", "command"]
)
@pytest.mark.parametrize("opening", [INITIALIZE, DISCOVER], ids=["initialize", "server/discover"])
def test_the_first_answer_leaves_before_anything_but_the_standard_library_is_loaded(
    tmp_path: Path, command: list[str], opening: dict[str, Any]
) -> None:
    """The client goes at once, so that nothing is loaded afterwards either."""
    ended = run([*command], line_of(opening), tmp_path, "-X", "importtime")
    loaded = modules(ended.stderr.decode()) - modules(
        run(["-c", ""], b"", tmp_path, "-X", "importtime").stderr.decode()
    )
    assert json.loads(ended.stdout)["id"] == 1
    assert ended.returncode == 0
    assert "durable_responses.mcp_server.door" in loaded
    assert {name.partition(".")[0] for name in loaded} <= {"durable_responses", *sys.stdlib_module_names}
    assert not loaded & {
        "asyncio",
        "dataclasses",
        "argparse",
        "importlib.metadata",
        "durable_responses.settings",
        "tomllib",
    }


def modules(importtime: str) -> set[str]:
    """What `-X importtime` says was loaded."""
    lines = [line for line in importtime.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def run(
    command: Sequence[str], given: bytes, folder: Path, *options: str, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", *options, *command]
    return subprocess.run(
        command, input=given, env=environment(folder, **settings), cwd=folder, capture_output=True, timeout=60
    )


async def test_what_a_project_file_says_is_told_before_and_after_the_server_is_loaded(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "durable-responses.toml").write_text('AGENT_MODEL = "of the file"\nAGENT_MCP_WAIT = 33\n')
    steps: list[list[Line]] = [[INITIALIZE], [INITIALIZED, LIST]]
    with_door, without_door = [await conversation(project, command, steps) for command in (WITH_DOOR, WITHOUT_DOOR)]
    assert with_door == without_door
    assert "of the file" in with_door[-1]
    assert "33 s" in with_door[-1]


async def test_a_project_file_that_is_wrong_is_what_the_waiting_requests_are_answered(tmp_path: Path) -> None:
    file = tmp_path / "durable-responses.toml"
    file.write_text("AGENT_MODEL = gpt\n")
    async with serving(tmp_path) as server:
        server.send(INITIALIZE, INITIALIZED, LIST, CALL)
        answers = [await server.message() for _ in range(3)]
    assert answers[-1]["error"]["message"].startswith(f"{file}, line 1 is not valid TOML: ")


# --- when the server cannot be loaded ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"AGENT_POLL_FIRST": "soon"}, "AGENT_POLL_FIRST"), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x"}, "OTEL_EXPORTER")],
)
async def test_a_wrong_setting_is_what_the_waiting_requests_are_answered(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    async with serving(tmp_path, **settings) as server:
        server.send(INITIALIZE, INITIALIZED, LIST, CALL, PING)
        answers = [await server.message() for _ in range(4)]
        rest, log, code = await server.ended()
    assert [answer["id"] for answer in answers] == [1, 2, "call", "ping"]
    assert ["error" in answer for answer in answers] == [False, False, True, True]
    assert all(named in answer["error"]["message"] for answer in answers[2:])
    assert named in log.splitlines()[-1]
    assert (rest, code) == ([], 1)


async def test_a_wrong_setting_of_the_tools_is_what_their_list_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, AGENT_MCP_WAIT="soon") as server:
        server.send(DISCOVER, LIST_MODERN)
        answers = [await server.message() for _ in range(2)]
        rest, _, code = await server.ended()
    assert "supportedVersions" in answers[0]["result"]
    assert "AGENT_MCP_WAIT cannot be used" in answers[1]["error"]["message"]
    assert (rest, code) == ([], 1)


async def test_an_installation_that_is_not_complete_is_told_as_well(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['temporalio'] = None; from durable_responses.mcp_server.door import main; main([])"
    )
    async with serving(tmp_path, ["-c", program]) as server:
        server.send(INITIALIZE, CALL)
        answers = [await server.message() for _ in range(2)]
        rest, log, code = await server.ended()
    assert "log" in answers[1]["error"]["message"]
    assert "temporalio" in log
    assert (rest, code) == ([], 1)


# --- clients that go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [[], [INITIALIZE], [INITIALIZE, INITIALIZED], [INITIALIZE, INITIALIZED, LIST], [DISCOVER, LIST_MODERN], [PING]],
    ids=len,
)
def test_a_client_that_goes_leaves_no_server_behind(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    given = b"".join(map(line_of, lines))
    ended = run(WITH_DOOR, given, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == sum("id" in line for line in lines)


def test_a_wrong_setting_is_told_to_a_person_who_says_nothing(tmp_path: Path) -> None:
    ended = run(WITH_DOOR, b"", tmp_path, AGENT_POLL_FIRST="soon")
    assert ended.returncode == 1
    assert b"AGENT_POLL_FIRST cannot be used" in ended.stderr


async def test_a_client_that_goes_while_the_server_is_being_loaded(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.send(INITIALIZE, INITIALIZED, LIST)
        assert [(await server.message())["id"] for _ in range(2)] == [1, 2]
        rest, log, code = await server.ended()
    assert (rest, code) == ([], 0), log


async def test_a_client_that_reads_no_answers(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", *WITH_DOOR),
        env=environment(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    assert process.stdin
    process.stdin.write(line_of(INITIALIZE))
    _, log = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, log) == (0, b"")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize("lines", [[INITIALIZE], [INITIALIZE, LIST]], ids=["waiting", "loading"])
async def test_signals_end_the_door(tmp_path: Path, sent: signal.Signals, code: int, lines: list[Line]) -> None:
    async with serving(tmp_path) as server:
        server.send(*lines)
        for _ in lines:
            await server.message()
        server.process.send_signal(sent)
        _, log, ended = await server.ended()
    assert ended == code, log


# --- when the server is loaded -------------------------------------------------------------------------------------


@asynccontextmanager
async def door(*, silence: float) -> AsyncIterator[tuple[Door, int, int]]:
    """A door in this process, with the client's ends of its pipes."""
    known = known_results(Path(SNAPSHOT).read_text(encoding="utf-8"), {})
    (incoming, to_door), (from_door, outgoing) = os.pipe(), os.pipe()
    opened = Door(FirstAnswers(known), stdin=incoming, stdout=outgoing, silence=silence)
    opened.open()
    yield opened, to_door, from_door
    for end in (incoming, to_door, from_door, outgoing):
        os.close(end)


@pytest.mark.parametrize("last", [LIST, PING, request(2, "tools/list", {"cursor": "2"})], ids=["list", "ping", "page"])
async def test_a_list_of_tools_or_any_other_request_begins_the_loading(last: dict[str, Any]) -> None:
    async with door(silence=NEVER) as (opened, to_door, _):
        os.write(to_door, line_of(INITIALIZE) + line_of(last))
        await asyncio.to_thread(opened.wait)
        assert not opened.is_over


@pytest.mark.parametrize("lines", [b"", line_of(INITIALIZE), line_of(INITIALIZED)])
async def test_silence_begins_the_loading(lines: bytes) -> None:
    async with door(silence=0.01) as (opened, to_door, _):
        os.write(to_door, lines)
        await asyncio.to_thread(opened.wait)
        assert not opened.is_over
