"""Calls of tools of MCP servers, when workers and servers are killed in the middle of them: real processes."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.workflows.contract import AgentStatus, CallStatus
from tests.support.deployment import Deployment, Run, until
from tests.support.processes import CHECKOUT, WorkerProcess


def worker(deployment: Deployment, **fields: str) -> WorkerProcess:
    """A worker with the test server, which is trusted. `fields`: of its entry."""
    desk = {
        "command": sys.executable,
        "args": ["-m", "tests.support.mcp_tool_server", str(deployment.folder)],
        "cwd": str(CHECKOUT),
        "trust": "annotations",
        **fields,
    }
    return deployment.worker(AGENT_MCP_SERVERS=json.dumps({"desk": desk}))


def made(deployment: Deployment, tool: str) -> list[str]:
    """The processes of the server that were called."""
    file = deployment.folder / tool
    return file.read_text().splitlines() if file.exists() else []


async def calling(deployment: Deployment, tool: str) -> Run:
    """A run whose model calls a tool of the server once, which does not end before it is let."""
    call = FunctionCallStep(name=f"desk__{tool}", arguments={})
    scripts = [Script(output=[call]), Script(output=[Text(text="Done.")])]
    run = await deployment.start("mcp", scripts, mcp_servers=["desk"], tools=[], transport="stream")

    await until_made(deployment, tool)
    return run


async def until_made(deployment: Deployment, tool: str) -> None:
    """Wait until the server was called."""

    async def is_called() -> bool:
        return bool(made(deployment, tool))

    await until(is_called)


async def asked_of(run: Run, besides: str = "") -> str:
    """The id of what the run asks its owner."""
    found: list[str] = []

    async def is_there() -> bool:
        requests = (await run.progress()).input_requests
        found.extend(each.id for each in requests if each.is_open and each.id != besides)
        return bool(found)

    await until(is_there)
    return found[0]


def let_them_end(deployment: Deployment) -> None:
    (deployment.folder / "open").touch()


async def ended(run: Run, status: CallStatus) -> bool:
    """Whether the run completes, and its call ends so."""
    result = await run.result(seconds=60)
    calls = (await run.progress()).function_calls
    return (result.status, [call.status for call in calls]) == (AgentStatus.COMPLETED, [status])


@pytest.mark.parametrize("tool", ["look_slowly", "put_slowly"])
async def test_a_call_that_does_no_harm_is_made_again_when_its_worker_is_killed(
    deployment: Deployment, tool: str
) -> None:
    async with worker(deployment) as first:
        run = await calling(deployment, tool)
        first.kill()
    let_them_end(deployment)
    async with worker(deployment):
        assert await ended(run, CallStatus.SUCCEEDED)
    assert len(made(deployment, tool)) == 2


async def test_a_call_that_must_not_be_made_twice_is_not_when_its_worker_is_killed(deployment: Deployment) -> None:
    async with worker(deployment) as first:
        run = await calling(deployment, "append_slowly")
        first.kill()
    let_them_end(deployment)
    async with worker(deployment):
        assert await ended(run, CallStatus.UNKNOWN)
    assert len(made(deployment, "append_slowly")) == 1


@pytest.mark.parametrize(
    ("tool", "status", "calls"),
    [
        ("look_slowly", CallStatus.SUCCEEDED, 2),
        ("put_slowly", CallStatus.SUCCEEDED, 2),
        ("append_slowly", CallStatus.UNKNOWN, 1),
    ],
)
async def test_a_server_that_is_killed_is_started_again_and_called_where_that_does_no_harm(
    deployment: Deployment, tool: str, status: CallStatus, calls: int
) -> None:
    async with worker(deployment):
        run = await calling(deployment, tool)
        [server] = made(deployment, tool)
        os.kill(int(server), signal.SIGKILL)
        let_them_end(deployment)
        assert await ended(run, status)
    assert len(made(deployment, tool)) == calls


async def test_a_run_is_told_that_its_session_is_lost_with_its_worker(deployment: Deployment) -> None:
    """And goes on in a new one, once it has been told."""
    calls = [FunctionCallStep(name=f"desk__{name}", arguments={}) for name in ("append_slowly", *["look_slowly"] * 2)]
    scripts = [*(Script(output=[call]) for call in calls), Script(output=[Text(text="Done.")])]
    async with worker(deployment, session="run") as killed:
        run = await deployment.start("mcp", scripts, mcp_servers=["desk"], tools=[], transport="stream")
        await until_made(deployment, "append_slowly")
        killed.kill()
    let_them_end(deployment)
    async with worker(deployment, session="run"):
        assert (await run.result(seconds=60)).status is AgentStatus.COMPLETED
        statuses = [call.status for call in (await run.progress()).function_calls]
    assert statuses == [CallStatus.UNKNOWN, CallStatus.FAILED, CallStatus.SUCCEEDED]
    assert [len(made(deployment, tool)) for tool in ("append_slowly", "look_slowly")] == [1, 1]


async def test_a_call_goes_to_another_worker_when_that_of_its_session_is_gone(deployment: Deployment) -> None:
    call = Script(output=[FunctionCallStep(name="desk__add", arguments={"a": 1, "b": 2})])
    scripts = [call, call, Script(output=[Text(text="Done.")])]
    async with worker(deployment, session="run", approval="ask") as killed:
        run = await deployment.start("mcp", scripts, mcp_servers=["desk"], tools=[], transport="stream")
        asked = await asked_of(run)
        killed.kill()
    async with worker(deployment, session="run", approval="ask"):
        await run.handle.execute_update("respond", args=[asked, "allow"])
        await run.handle.execute_update("respond", args=[await asked_of(run, besides=asked), "allow"])
        assert (await run.result(seconds=60)).status is AgentStatus.COMPLETED
        statuses = [call.status for call in (await run.progress()).function_calls]
    assert statuses == [CallStatus.FAILED, CallStatus.SUCCEEDED]


async def test_a_server_does_not_outlive_a_worker_that_is_killed(deployment: Deployment) -> None:
    """Its standard input ends with the worker."""
    async with worker(deployment) as killed:
        await calling(deployment, "look_slowly")
        [pid] = made(deployment, "look_slowly")
        killed.kill()

    async def is_gone() -> bool:
        return not Path(f"/proc/{pid}").exists()

    await until(is_gone)
