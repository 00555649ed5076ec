"""How clients reach the server, and what they cannot do to it."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from durable_responses.host_check import is_loopback
from durable_responses.settings import child_environment
from tests.mcp_server.conftest import Deployment
from tests.support.mcp_clients import LEGACY, MODERN, HttpServer, McpServer, StdioServer
from tests.support.processes import Process

TOKEN = "a-token-of-the-tests"
TOOLS = [
    "gpt5_agent",
    "gpt5_agent_start",
    "gpt5_agent_poll",
    "gpt5_agent_continue",
    "gpt5_agent_steer",
    "gpt5_agent_respond",
    "gpt5_agent_cancel",
    "gpt5_agent_list",
]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "by hand", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def call(number: int, tool: str, **arguments: object) -> dict[str, object]:
    """A `tools/call` as it goes over the wire."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


# --- both --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
async def test_the_tools_are_listed_with_schemas_and_annotations(server: McpServer, mode: str) -> None:
    async with server.session(mode=mode) as session:
        tools = (await session.client.list_tools()).tools
    assert [tool.name for tool in tools] == TOOLS
    assert all(tool.description and tool.output_schema and tool.annotations for tool in tools)
    read_only = {tool.name for tool in tools if tool.annotations and tool.annotations.read_only_hint}
    assert read_only == {"gpt5_agent_poll", "gpt5_agent_list"}
    destructive = {tool.name for tool in tools if tool.annotations and tool.annotations.destructive_hint}
    assert destructive == {"gpt5_agent_cancel"}
    assert all("gpt5_agent_poll" in (tool.description or "") for tool in tools[:2])


# --- stdio -------------------------------------------------------------------------------------------------------


async def test_nothing_but_protocol_is_written_to_standard_output(stdio: StdioServer) -> None:
    """Also with everything logged, and with errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durable_responses.mcp_server"),
        env=child_environment(**stdio.settings, AGENT_LOG_LEVEL="debug"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    messages = [
        INITIALIZE,
        INITIALIZED,
        call(2, "gpt5_agent", task="Think.", model="scenario:echo"),
        call(3, "gpt5_agent", task="Fail.", model="scenario:no_such_scenario"),
        call(4, "gpt5_agent_poll", job_id="unknown"),
        call(5, "no_such_tool"),
        call(6, "gpt5_agent", task="cut \ud83d", model="scenario:echo", enable_web_search=None, files=None),
    ]
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(json.dumps(message) + "\n" for message in messages).encode() + b"no JSON\n")
    answers: set[int] = set()
    async with asyncio.timeout(30):
        while len(answers) < 6:
            message = json.loads(await process.stdout.readline())
            assert message["jsonrpc"] == "2.0"
            if message.get("id") is not None:
                answers.add(message["id"])
    process.stdin.close()
    rest, log = await asyncio.wait_for(process.communicate(), 30)
    assert answers == {1, 2, 3, 4, 5, 6}
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    assert b"DEBUG" in log
    assert process.returncode == 0


BROKEN = [
    ('{"jsonrpc":"2.0","id":%d,"method":"tools/list"', -32700),
    ('{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":[]}', -32600),
    ('{"id":%d,"method":"ping"}', -32600),
    ('[{"jsonrpc":"2.0","id":%d,"method":"ping"}]', -32600),
    ('{"jsonrpc":"2.0","id":%d,"method":"ping","params":' + '{"a":' * 300 + "1" + "}" * 301, -32600),
]


@pytest.mark.parametrize("opening", [[], [INITIALIZE, INITIALIZED]], ids=["first", "later"])
async def test_a_request_that_cannot_be_decoded_is_answered_and_the_next_one_served(
    stdio: StdioServer, opening: list[dict[str, Any]]
) -> None:
    """Whoever sent it would wait for ever."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durable_responses.mcp_server"),
        env=child_environment(**stdio.settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    lines = [json.dumps(message) for message in opening]
    lines += [line % number for number, (line, _) in enumerate(BROKEN, start=10)]
    lines += [json.dumps({**INITIALIZE, "id": 99} if not opening else call(99, "gpt5_agent_poll", job_id="unknown"))]
    process.stdin.write("".join(line + "\n" for line in lines).encode())
    assert process.stdout is not None
    answers: dict[int, dict[str, Any]] = {}
    async with asyncio.timeout(60):
        while 99 not in answers or len(answers) < len(BROKEN) + 1 + bool(opening):
            message = json.loads(await process.stdout.readline())
            answers[message["id"]] = message
    process.stdin.close()
    await asyncio.wait_for(process.communicate(), 30)
    assert [answers[number]["error"]["code"] for number in range(10, 10 + len(BROKEN))] == [code for _, code in BROKEN]
    assert "result" in answers[99]


async def test_the_tools_are_listed_before_temporal_is_there(deployment: Deployment, tmp_path: Path) -> None:
    """Clients give a server seconds to start; the first `temporal` binary may take minutes to build."""
    slow = tmp_path / "temporal"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    state = tmp_path / "state"
    settings = {"TEMPORAL_CLI": str(slow), "AGENT_STATE_FOLDER": str(state), "AGENT_MCP_WAIT": "1s"}
    began = time.monotonic()
    try:
        async with StdioServer(settings, tmp_path).session() as session:
            tools = (await session.client.list_tools()).tools
            resources = (await session.client.list_resources()).resources
            assert time.monotonic() - began < 10
        assert [tool.name for tool in tools] == TOOLS
        assert resources == []
    finally:
        await _stop_stack(settings, tmp_path)


async def _stop_stack(settings: dict[str, str], folder: Path) -> None:
    command = [sys.executable, "-P", "-m", "durable_responses.cli", "down"]
    async with Process(command, log=folder / "down.log", env=child_environment(**settings), cwd=folder) as down:
        await down.wait(timeout=60)


# --- HTTP --------------------------------------------------------------------------------------------------------


async def test_with_a_token_only_its_holders_are_served(deployment: Deployment, tmp_path: Path) -> None:
    async with HttpServer(deployment.settings(), tmp_path, token=TOKEN) as server:
        async with server.session() as session:
            assert not (await session.call("gpt5_agent_list")).is_error
        behind_a_proxy = {"Authorization": f"Bearer {TOKEN}", "Host": "mcp.example.com"}
        assert (await post(server.url, behind_a_proxy)).status_code == 200
        for scheme in ("bearer", "BEARER", "bEARER "):
            assert (await post(server.url, {"Authorization": f"{scheme} {TOKEN}"})).status_code == 200
        assert (await post(server.url, {"Authorization": f"Basic {TOKEN}"})).status_code == 401
        answers = [await post(server.url, {}), await post(server.url, {"Authorization": f"Bearer {TOKEN}x"})]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert all(answer.headers["www-authenticate"] == "Bearer" for answer in answers)
    assert TOKEN not in server.output


async def test_half_a_character_in_an_argument_does_no_harm_over_http(http: HttpServer) -> None:
    """JavaScript cuts an emoji in half, and writes it as an escape that no UTF-8 text can hold."""
    accepting = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx.AsyncClient(headers=accepting, timeout=30, trust_env=False) as client:
        first = await client.post(http.url, content=json.dumps(INITIALIZE))
        session = {"Mcp-Session-Id": first.headers["mcp-session-id"]} if "mcp-session-id" in first.headers else {}
        await client.post(http.url, content=json.dumps(INITIALIZED), headers=session)
        said = call(2, "gpt5_agent", task="cut \ud83d", model="scenario:echo", files=None)
        answer = await client.post(http.url, content=json.dumps(said), headers=session)
    assert answer.status_code == 200
    assert "cut \ufffd" in answer.text or "cut \\ufffd" in answer.text


@pytest.mark.parametrize(("line", "code"), BROKEN)
async def test_a_request_that_cannot_be_decoded_is_refused_under_its_id_over_http(
    http: HttpServer, line: str, code: int
) -> None:
    accepting = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx.AsyncClient(headers=accepting, timeout=30, trust_env=False) as client:
        answer = await client.post(http.url, content=line % 7)
    assert answer.status_code == 400
    assert (answer.json()["id"], answer.json()["error"]["code"]) == (7, code)


@pytest.mark.parametrize("token", [{}, {"AGENT_MCP_TOKEN": "fifteen-letters"}], ids=["none", "short"])
async def test_an_address_that_others_reach_needs_a_token_that_cannot_be_guessed(
    deployment: Deployment, tmp_path: Path, token: dict[str, str]
) -> None:
    environment = child_environment(**deployment.settings(AGENT_MCP_HOST="0.0.0.0", **token))
    command = [sys.executable, "-m", "durable_responses.mcp_server", "--http"]
    async with Process(command, log=tmp_path / "refused.log", env=environment) as process:
        assert await process.wait() == 1
    assert "AGENT_MCP_TOKEN" in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Host", "evil.example"),
        ("Host", "localhost.evil.example:8390"),
        ("Host", "localhost:8390.evil.example"),
        ("Host", "127.0.0.1:evil.example"),
        ("Origin", "http://evil.example"),
        ("Origin", "http://localhost:80.evil.example"),
        ("Origin", "null"),
    ],
)
async def test_a_page_in_a_browser_cannot_reach_the_server_by_a_name_of_its_own(
    http: HttpServer, header: str, value: str
) -> None:
    """DNS rebinding; names are compared whole."""
    assert (await post(http.url, {header: value})).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "LOCALHOST:8390", "[::1]:8390"])
async def test_its_own_names_are_served(http: HttpServer, host: str) -> None:
    assert (await post(http.url, {"Host": host})).status_code == 200


async def post(url: str, headers: dict[str, str]) -> httpx.Response:
    """An `initialize` by hand."""
    accept = {"Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, json=INITIALIZE, headers={**accept, **headers})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_reached_by_this_machine_only(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", "localhost.example.com", ""])
def test_everything_else_may_be_reached_by_others(host: str) -> None:
    assert not is_loopback(host)
