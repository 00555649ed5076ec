import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import psutil
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

from durable_responses.connection import connect
from durable_responses.stack_file import PartName, Ports
from durable_responses.workflows.contract import WORKFLOW_TYPE, TaskQueue
from tests.embedded.conftest import PARTS, Stack
from tests.support.processes import Process, port_serves

USUAL = Ports()


@pytest.fixture
async def up(stack: Stack) -> AsyncIterator[Process]:
    """`durable-responses up`, serving."""
    async with stack.up() as process:
        await stack.until(lambda file: file.is_ready)
        yield process


async def test_up_says_where_everything_is(up: Process, stack: Stack) -> None:
    await up.wait_for_line("State and logs in")
    file = stack.file
    assert f"Temporal at {file.temporal_address}, Web UI {file.web_ui}" in up.output
    assert f"Emulator at {file.emulator_url}" in up.output


async def test_ctrl_c_stops_everything_cleanly(up: Process, stack: Stack) -> None:
    ports = stack.file.ports
    assert await up.stop(signal.SIGINT) == 0
    assert not any(port_serves(port) for _, port in ports)
    assert not any(lock.is_held for lock in stack.locks)


async def test_a_second_ctrl_c_waits_for_nothing(up: Process, stack: Stack) -> None:
    os.kill(stack.pid(PartName.WORKER), signal.SIGSTOP)  # so that SIGTERM does not reach it
    os.kill(up.pid, signal.SIGINT)
    await up.wait_for_line("Stopping.")
    assert await up.stop(signal.SIGINT, timeout=10) == 0
    assert not any(lock.is_held for lock in stack.locks)


async def test_a_killed_up_takes_its_parts_with_it(up: Process, stack: Stack) -> None:
    up.kill()
    await stack.until_gone()


async def test_a_second_up_on_the_same_state_folder_refuses(standing: Stack) -> None:
    before = standing.file
    async with standing.up() as second:
        assert await second.wait() == 5
    assert f"A stack is already running in the background (process {before.pid})" in second.output
    assert standing.file == before


@pytest.mark.parametrize("name", PARTS)
async def test_a_part_that_is_killed_is_started_again(standing: Stack, name: PartName) -> None:
    killed, restarts = standing.pid(name), standing.file.parts[name].restarts
    standing.kill(killed)
    file = await standing.until(lambda file: file.is_ready and file.parts[name].pid != killed)
    assert file.parts[name].restarts == restarts + 1
    assert f"The {name} (process {killed}) was killed by SIGKILL; restarting it." in standing.log("stack")


async def test_all_parts_killed_at_once_are_started_again_with_their_runs(standing: Stack) -> None:
    client = await connect(standing.settings)
    await client.start_workflow("Unknown", id="kept", task_queue="nobody")
    killed = {name: standing.pid(name) for name in PARTS}
    standing.kill(*killed.values())
    await standing.until(lambda file: file.is_ready and all(file.parts[name].pid != killed[name] for name in PARTS))
    assert (await client.get_workflow_handle("kept").describe()).workflow_type == "Unknown"


async def test_finished_runs_are_kept_for_three_days(standing: Stack) -> None:
    """A20: the embedded stack's namespace keeps finished runs for at least 24 h; a setting says for how long."""
    client = await connect(standing.settings)
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    assert kept == standing.settings.retention == timedelta(days=30)


async def test_taken_ports_are_left_to_whoever_has_them(stack: Stack) -> None:
    with socket.socket() as temporal, socket.socket() as emulator:
        for listener, port in ((temporal, USUAL.temporal), (emulator, USUAL.emulator)):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not port_serves(port):
                listener.bind(("127.0.0.1", port))
                listener.listen()
        async with stack.up():
            ports = (await stack.until(lambda file: file.is_ready)).ports
    assert ports.temporal != USUAL.temporal
    assert ports.emulator != USUAL.emulator


async def test_an_idle_stack_in_the_background_ends_but_not_under_an_open_run(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_IDLE_STOP", "1.5s")
    await stack.ensure_running()
    client = await connect(stack.settings)
    run = await client.start_workflow(
        WORKFLOW_TYPE, {"task": "wait"}, id="open", task_queue=TaskQueue.AGENTS, start_delay=timedelta(hours=1)
    )
    supervisor = stack.locks[0]
    assert not await supervisor.wait_until_free(2.5)
    await run.terminate()
    await stack.until_gone()
    assert "No run was open for" in stack.log("stack")


async def test_a_stack_whose_state_folder_is_removed_ends(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_IDLE_STOP", "2s")
    file = await stack.ensure_running()
    pids = [file.pid, *(stack.pid(name) for name in PARTS)]
    shutil.rmtree(stack.folder)
    _, alive = await asyncio.to_thread(psutil.wait_procs, [psutil.Process(pid) for pid in pids], timeout=20)
    assert not alive


async def test_a_part_that_cannot_start_ends_the_stack_with_its_last_words(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_TOOL_MODULES", "no_such_module")
    async with stack.up() as up:
        assert await up.wait(timeout=60) == 5
    assert "The worker did not start:" in up.output
    assert "no_such_module" in up.output
    assert not any(lock.is_held for lock in stack.locks)
