"""What a client sees when the worker or Temporal is away, and that nothing is lost when everything was killed."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from durable_responses.settings import child_environment
from tests.mcp_server.conftest import Deployment
from tests.mcp_server.test_tasks import Following, ask
from tests.support.emulator_control import EmulatorProcess
from tests.support.mcp_clients import HttpServer, Reply, Session, StdioServer
from tests.support.processes import CHECKOUT, Process, TemporalServer, WorkerProcess

PROMISED_SECONDS = 3.0
THINKS_LONG = "scenario:think?seconds=60"
NO_WORKER = "No worker is running"


# --- no worker ---------------------------------------------------------------------------------------------------


@dataclass
class Orphaned:
    """A running job whose worker was killed."""

    server: HttpServer
    worker: WorkerProcess
    job_id: str
    response_id: str


@pytest.fixture(scope="module")
async def orphaned(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Orphaned]:
    """A deployment of its own, because its worker is killed."""
    folder = tmp_path_factory.mktemp("orphaned")
    queue = "agents-over-mcp-orphaned"
    worker = deployment.worker(folder, AGENT_TASK_QUEUE=queue)
    async with worker, HttpServer(deployment.settings(AGENT_TASK_QUEUE=queue), folder) as server:
        async with server.session() as session:
            job_id = await session.start("Survive.", model=THINKS_LONG)
            running = await session.until(job_id, "running")
        worker.kill()
        yield Orphaned(server, worker, job_id, running["response_id"])


async def timed(call: Awaitable[Reply]) -> tuple[Reply, float]:
    """What a call returns, and how many seconds it took."""
    asked = time.monotonic()
    return await call, time.monotonic() - asked


async def test_a_poll_without_a_worker_tells_from_temporals_records(orphaned: Orphaned) -> None:
    """A15, A20: in 3 s, and says that no worker is running."""
    async with orphaned.server.session() as session:
        reply, seconds = await timed(session.poll(orphaned.job_id, wait_seconds=20))
    assert seconds < PROMISED_SECONDS
    assert (reply["status"], reply["response_id"]) == ("running", orphaned.response_id)
    assert NO_WORKER in reply.text


async def test_a_list_without_a_worker_says_so(orphaned: Orphaned) -> None:
    async with orphaned.server.session() as session:
        reply, seconds = await timed(session.call("gpt5_agent_list"))
    assert seconds < PROMISED_SECONDS
    assert orphaned.job_id in [job["job_id"] for job in reply["jobs"]]
    assert NO_WORKER in reply.text


async def test_a_cancel_without_a_worker_is_kept_and_carried_out_later(orphaned: Orphaned) -> None:
    """A16: `cancelling` is a reply only; the poll shows the status, and that a cancel was requested."""
    async with orphaned.server.session() as session:
        cancelling, seconds = await timed(session.cancel(orphaned.job_id))
        polled = await session.poll(orphaned.job_id)
        await orphaned.worker.start()
        ended = await session.ended(orphaned.job_id)
    assert seconds < PROMISED_SECONDS
    assert cancelling["status"] == "cancelling"
    assert NO_WORKER in cancelling.text
    assert (polled["status"], polled["cancel_requested"]) == ("running", True)
    assert ended["status"] == "cancelled"


# --- no Temporal, and everything killed --------------------------------------------------------------------------


@dataclass
class Fragile:
    """Processes of one test, all of which may be killed."""

    temporal: TemporalServer
    emulator: EmulatorProcess
    worker: WorkerProcess
    settings: dict[str, str]
    folder: Path

    async def kill_and_restart(self) -> None:
        """SIGKILL to all of them, and start them again."""
        for process in (self.worker, self.temporal, self.emulator):
            process.kill()
        await asyncio.gather(self.temporal.start(), self.emulator.start())
        await self.worker.start()


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[Fragile]:
    """A deployment for one test."""
    temporal = await TemporalServer.on(tmp_path)
    emulator = EmulatorProcess(tmp_path)
    async with temporal, emulator:
        shared = {"AGENT_OUTPUT_ROOT": str(tmp_path), "AGENT_FILES_ROOT": str(tmp_path), "AGENT_POLL_FIRST": "0.1"}
        worker = WorkerProcess(temporal, emulator.base_url, folder=tmp_path, **shared)
        settings = {
            **shared,
            "TEMPORAL_ADDRESS": temporal.address,
            "OPENAI_BASE_URL": emulator.base_url,
            "AGENT_STATE_FOLDER": str(tmp_path / "state"),
        }
        async with worker:
            yield Fragile(temporal, emulator, worker, settings, tmp_path)


async def killed(fragile: Fragile, arguments: dict[str, Any], status: str) -> str:
    """A job that was started over MCP and has a status; then client, server, worker, Temporal and emulator die."""
    program = [sys.executable, "-m", "tests.support.starting_client", json.dumps(arguments), status]
    environment = child_environment(**fragile.settings)
    async with Process(program, log=fragile.folder / "client.log", env=environment, cwd=CHECKOUT) as client:
        job_id = (await client.wait_for_line(rf"^{status} ([\w-]+)$", timeout=60))[1]
        servers = psutil.Process(client.pid).children(recursive=True)
        client.kill()
        for process in servers:
            process.kill()
    await fragile.kill_and_restart()
    return job_id


async def test_a_job_survives_the_death_of_client_server_worker_and_temporal(fragile: Fragile) -> None:
    """A20: started by one client; everything is killed; another client gets the answer, paid for once."""
    job_id = await killed(fragile, {"model": "scenario:think?seconds=6"}, "running")
    async with StdioServer(fragile.settings, fragile.folder).session() as session:
        done = await session.ended(job_id)
    assert (done["status"], done["output"]) == ("completed", "Done thinking.")
    assert len(await fragile.emulator.control.responses(workflow_id=job_id)) == 1


ASKS: dict[str, Any] = {
    "model": "scenario:calls?iterations=3&tool=fetch_url&text=Done.",
    "max_iterations": 1,
    "on_max_iterations": "ask",
}


async def killed_while_it_asks(fragile: Fragile) -> str:
    """A job that asks its owner when everything is killed."""
    return await killed(fragile, ASKS, "input_required")


async def by_tool(session: Session, job_id: str) -> None:
    [asked] = (await session.until(job_id, "input_required"))["input_requests"]
    await session.call("gpt5_agent_respond", job_id=job_id, request_id=asked["id"], answer="4")


async def by_task(session: Session, job_id: str) -> None:
    await session.until(job_id, "input_required")
    [key] = (await ask(session, "tasks/get", taskId=job_id))["inputRequests"]
    answer = {"action": "accept", "content": {"answer": "4"}}
    await ask(session, "tasks/update", taskId=job_id, inputResponses={key: answer})


@pytest.mark.parametrize("door", [by_tool, by_task])
async def test_a_job_that_asks_survives_the_death_of_everything_and_is_answered_by_another_client(
    fragile: Fragile, door: Callable[[Session, str], Awaitable[None]]
) -> None:
    """Started, asking; everything is killed; a new client is asked, answers, and gets the result, paid for once."""
    job_id = await killed_while_it_asks(fragile)
    async with StdioServer(fragile.settings, fragile.folder).session(extensions=[Following()]) as session:
        await door(session, job_id)
        done = await session.ended(job_id)
    assert (done["status"], done["output"], done["iterations"]) == ("completed", "Done.", 4)
    assert len(await fragile.emulator.control.responses(workflow_id=job_id)) == 4


async def test_answers_given_while_there_is_no_worker_are_kept_a_wrong_one_is_asked_again(fragile: Fragile) -> None:
    async with StdioServer(fragile.settings, fragile.folder).session(extensions=[Following()]) as session:
        job_id = await session.start(**ASKS)
        await session.until(job_id, "input_required")
        [first] = (await ask(session, "tasks/get", taskId=job_id))["inputRequests"]
        fragile.worker.kill()
        wrong = {"action": "accept", "content": {"answer": "many"}}
        acknowledged = await ask(session, "tasks/update", taskId=job_id, inputResponses={first: wrong})
        await fragile.worker.start()
        await session.until(job_id, "input_required")
        async with asyncio.timeout(20):
            while first in (asking := await ask(session, "tasks/get", taskId=job_id)).get("inputRequests", [first]):
                await session.poll(job_id, wait_seconds=0.3)
        [second] = asking["inputRequests"]
        fragile.worker.kill()
        right = await session.call("gpt5_agent_respond", job_id=job_id, request_id="limit-1", answer="4")
        await fragile.worker.start()
        done = await session.ended(job_id)
    assert acknowledged["resultType"] == "complete"
    assert second != first
    assert right["taken"] == "noted"
    assert (done["status"], done["output"]) == ("completed", "Done.")


async def test_an_unreachable_temporal_is_one_clear_error(fragile: Fragile) -> None:
    """A20: the job is not lost, and the error says so; afterwards all is as it was."""
    async with StdioServer(fragile.settings, fragile.folder).session() as session:
        job_id = await session.start(model=THINKS_LONG)
        await session.until(job_id, "running")
        fragile.temporal.kill()
        replies = [
            await session.poll(job_id),
            await session.cancel(job_id),
            await session.call("gpt5_agent_list"),
            await session.call("gpt5_agent_start", task="Later."),
        ]
        await fragile.temporal.start()
        assert (await session.until(job_id, "running"))["response_id"]
    assert all(reply.failed_as == "unavailable" for reply in replies)
    assert all("Runs are safe" in reply.text for reply in replies[:3])
