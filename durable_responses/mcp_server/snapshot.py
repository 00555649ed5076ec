"""Writes a new snapshot for the door to answer from: `python -m durable_responses.mcp_server.snapshot`.

To be done whenever something changes what clients are told first: a tool, an argument, the version, the `mcp` library.
A test compares.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from durable_responses.mcp_server.backend import Backend
from durable_responses.mcp_server.door import SNAPSHOT
from durable_responses.mcp_server.first_answers import DISCOVER, INITIALIZE, LIST_TOOLS, MODEL, TASKS, WAIT, line_of
from durable_responses.mcp_server.program import program_version
from durable_responses.mcp_server.server import build_server
from durable_responses.settings import Settings

_RARE_WAIT = 86_397  # seconds: a number that nothing else has


def requests(revision: str, *, with_tasks: bool = False) -> list[dict[str, Any]]:
    """A client's first requests in a revision of the protocol; `with_tasks`: of one that follows tasks."""
    client = {"name": "snapshot", "version": "1"}
    capabilities: dict[str, Any] = {"extensions": {TASKS: {}}} if with_tasks else {}
    if revision in HANDSHAKE_PROTOCOL_VERSIONS:
        begin = {"protocolVersion": revision, "capabilities": capabilities, "clientInfo": client}
        return [_request(1, INITIALIZE, begin), _request(2, LIST_TOOLS, {})]
    reserved = {"protocolVersion": revision, "clientCapabilities": capabilities, "clientInfo": client}
    envelope = {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in reserved.items()}}
    return [_request(1, DISCOVER, envelope), _request(2, LIST_TOOLS, envelope)]


def _request(number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def server_with(settings: Settings) -> Server[Any]:
    """The server, without its transports, and with a backend that looks for nothing."""
    return build_server(Backend(settings), settings, program_version())


async def converse(server: Server[Any], lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """What a server answers to requests that are sent one after the other, in a conversation of their own.

    Raises pydantic's `ValidationError` for a line that it would not read.
    """
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](1)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](1)
    answers = []
    async with incoming, outgoing, from_server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, incoming, outgoing, server.create_initialization_options())
        async with to_server:
            for line in lines:
                await to_server.send(SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)))
                answer = (await from_server.receive()).message
                answers.append(answer.model_dump(mode="json", by_alias=True, exclude_unset=True))
    return answers


async def render() -> str:
    """The snapshot: the results, a line each, with the revisions that they belong to, and the settings' defaults."""
    wait: timedelta = Settings.model_fields["mcp_wait"].default
    defaults = {"model": Settings.model_fields["model"].default, "wait": f"{wait.total_seconds():.0f}"}
    answers = [
        json.dumps(
            {"method": method, "revisions": revisions, "with_tasks": with_tasks, "result": json.loads(result)},
            ensure_ascii=False,
        )
        for (method, with_tasks, result), revisions in (await _results()).items()
    ]
    text = f'{{"defaults": {json.dumps(defaults)},\n"answers": [\n' + ",\n".join(answers) + "\n]}\n"
    return text.replace(f"{_RARE_WAIT} s", f"{WAIT} s")


async def _results() -> dict[tuple[str, bool, str], list[str]]:
    server = server_with(Settings(model=MODEL, mcp_wait=timedelta(seconds=_RARE_WAIT)))
    revisions: dict[tuple[str, bool, str], list[str]] = {}
    # Tasks came with the first revision that has no handshake.
    clients = [(revision, False) for revision in (*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS)]
    for revision, with_tasks in [*clients, *((revision, True) for revision in MODERN_PROTOCOL_VERSIONS)]:
        asked = requests(revision, with_tasks=with_tasks)
        for request, answer in zip(asked, await converse(server, [line_of(each) for each in asked]), strict=True):
            revisions.setdefault((request["method"], with_tasks, json.dumps(answer["result"])), []).append(revision)
    return revisions


if __name__ == "__main__":
    Path(SNAPSHOT).write_text(asyncio.run(render()), encoding="utf-8")
