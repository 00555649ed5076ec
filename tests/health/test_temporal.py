"""What `doctor` says of a Temporal server: a real one, and one that is asked wrong questions."""

import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable

from temporalio.client import Client

from durable_responses.embedded.readiness import worker_polls
from durable_responses.health.checks import Verdict
from durable_responses.health.temporal import (
    check_clock,
    check_namespace,
    check_queue,
    check_server,
)
from durable_responses.jobs.dead_pollers import has_ended
from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import Settings
from durable_responses.workflows.contract import TaskQueue
from tests.support.deployment import Deployment
from tests.support.emulator_control import RunningEmulator
from tests.support.processes import TemporalServer
from tests.support.runs import until, working


async def test_a_server_that_answers_is_well_and_tells_its_version(client: Client) -> None:
    check = await check_server(client)
    assert check.verdict is Verdict.OK
    assert "server 1." in check.found


async def test_a_namespace_that_keeps_runs_for_a_day_is_well(client: Client) -> None:
    check = await check_namespace(client)
    assert (check.verdict, check.found) == (Verdict.OK, "default, keeps finished runs for 1 day")


async def test_a_namespace_that_is_not_there_is_a_problem_with_the_command_that_creates_it(
    temporal: TemporalServer,
) -> None:
    check = await check_namespace(await Client.connect(temporal.address, namespace="nowhere"))
    assert check.verdict is Verdict.PROBLEM
    assert check.cure == "create it: temporal operator namespace create --namespace nowhere --retention 72h"


async def test_a_queue_that_nobody_serves_is_a_problem(client: Client, settings: Settings) -> None:
    check = await check_queue(client, TaskQueue.WAITING, settings.task_queue)
    assert (check.verdict, check.found) == (Verdict.PROBLEM, "no pollers on this task queue")


async def test_queues_that_a_worker_serves_are_well(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    url = emulator.base_url
    provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=url, websocket_base_url=url)

    async def are_all_well() -> bool:
        checks = [await check_queue(client, queue, settings.task_queue) for queue in TaskQueue]
        return all(check.verdict is Verdict.OK and check.found == "1 worker" for check in checks)

    async with working(client, provider, settings):
        await until(are_all_well)


async def test_a_worker_that_was_killed_is_not_counted(deployment: Deployment, client: Client) -> None:
    """Temporal has it on its list for minutes."""
    async with deployment.worker() as worker:
        queue = worker.task_queue

        async def found() -> str:
            return (await check_queue(client, TaskQueue.AGENTS, queue)).found

        await until(lambda: _is(found, "1 worker"))
        identity = f"{worker.pid}@{socket.gethostname()}"
        worker.kill()
        check = await check_queue(client, TaskQueue.AGENTS, queue)
    assert check.verdict is Verdict.PROBLEM
    assert check.found == f"no pollers on this task queue; {identity} ended without a word"
    assert not await worker_polls(client, queue, since=0)


async def _is(found: Callable[[], Awaitable[str]], text: str) -> bool:
    return await found() == text


def test_of_a_worker_of_another_machine_nothing_is_known() -> None:
    ended = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    assert has_ended(f"{ended}@{socket.gethostname()}")
    assert not has_ended(f"{ended}@elsewhere")
    assert not has_ended("my-worker")
    assert not has_ended(f"{os.getpid()}@{socket.gethostname()}")


def test_a_worker_whose_parent_has_not_looked_yet_has_ended() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(f"{process.pid}@{socket.gethostname()}")


async def test_a_clock_that_agrees_is_well(client: Client) -> None:
    assert (await check_clock(client)).verdict is Verdict.OK


async def test_a_clock_that_is_behind_or_ahead_is_a_problem_that_says_by_how_much(client: Client) -> None:
    behind = await check_clock(client, lambda: time.time() - 60)
    ahead = await check_clock(client, lambda: time.time() + 60)
    assert behind.verdict is ahead.verdict is Verdict.PROBLEM
    assert behind.found.endswith("behind the server's")
    assert ahead.found.endswith("ahead of the server's")
    assert all(59 < float(check.found.split()[0]) < 61 for check in (behind, ahead))
