"""Deploys lose nothing: workers that are told to stop hand over, and a new version takes over the runs of the old one.

`tests/test_crashes.py` has the moments at which a worker that is told to stop can let its work come to an end.
"""

import asyncio
import secrets
import subprocess
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from durable_responses.emulator.faults import Answer, Delay, Fault, Operation
from durable_responses.emulator.model.script import Script, Text
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import AgentStatus, CallStatus
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer, WorkerProcess
from tests.test_crashes import (
    ANSWER,
    BACKGROUND,
    LONG_TEXT,
    STREAM,
    Arrive,
    Ended,
    all_arrived,
    all_ended,
    in_a_tool,
    previewing,
    response_id_of,
    streaming,
    waiting,
)


async def serving(worker: WorkerProcess) -> None:
    """Wait until this very worker, and not only another one of its queue, asks for work."""
    client = await worker.temporal.client()
    queue = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=worker.task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )

    async def polls() -> bool:
        pollers = (await client.workflow_service.describe_task_queue(queue)).pollers
        return any(poller.identity.startswith(f"{worker.pid}@") for poller in pollers)

    await until(polls)


# --- SIGTERM -----------------------------------------------------------------------------------------------------


async def turned_away(deployment: Deployment) -> Run:
    """The provider has just said that its first create is to come again in two seconds."""
    overloaded = Answer(status=503, code="server_is_overloaded", headers={"Retry-After": "2"})
    run = await deployment.start("turned-away", [ANSWER], fault=overloaded, transport=BACKGROUND)

    async def was_refused() -> bool:
        return (await run.bill()).counts.creates_rejected > 0

    await until(was_refused)
    return run


async def cancelling(deployment: Deployment) -> Run:
    """It was told to stop, and the provider has not answered to that yet."""
    metadata = {"scenario": "cancelling"}
    late = Fault(operation=Operation.CANCEL, metadata=metadata, effect=Delay(seconds=2, processed=True))
    run = await deployment.start("cancelling", [Script(think=60, output=[Text(text="Never.")])], transport=BACKGROUND)
    await until(lambda: run.heartbeat_of("await_response"))
    await deployment.emulator.control.add_fault(late)
    await run.handle.signal("cancel", "a deploy is under way")

    async def is_cancelled_there() -> bool:
        return [response.status for response in await run.responses()] == [ResponseStatus.CANCELLED]

    await until(is_cancelled_there)
    return run


STOPPED_WORKER: dict[str, Arrive] = {
    "turned away": turned_away,
    "cancelling": cancelling,
    "pure tool": in_a_tool("look"),
    "idempotent tool": in_a_tool("put"),
}


@dataclass
class Stopped:
    """Runs that were at different moments when their worker was told to stop, while another one was there."""

    deployment: Deployment
    ended: dict[str, Ended]


@pytest.fixture(scope="module")
async def stopped_worker(
    temporal: TemporalServer,
    client: Client,
    emulator_process: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stopped:
    deployment = Deployment(temporal, client, emulator_process, tmp_path_factory.mktemp("stopped-worker"))
    deployment.gate("previewing").open()
    async with deployment.worker() as first, deployment.worker() as second:
        second.kill()  # it has shown that it can start; the runs are all the first one's
        runs = {"preview": await previewing(deployment), **await all_arrived(STOPPED_WORKER, deployment)}
        await second.start()
        await serving(second)
        leaving = asyncio.create_task(first.terminate(timeout=45))
        await asyncio.gather(runs["turned away"].result(), runs["cancelling"].result())
        deployment.open_gates()
        await leaving
        return Stopped(deployment, await all_ended(runs))


@pytest.mark.parametrize(
    ("moment", "iterations"), [("preview", 2), ("turned away", 1), ("pure tool", 2), ("idempotent tool", 2)]
)
def test_a_run_goes_on_elsewhere_with_one_create_for_each_iteration(
    stopped_worker: Stopped, moment: str, iterations: int
) -> None:
    stopped_worker.ended[moment].assert_completed_with_one_create_for_each_iteration(iterations)


def test_a_create_that_was_turned_away_before_the_stop_is_no_ambiguous_one(stopped_worker: Stopped) -> None:
    assert stopped_worker.ended["turned away"].result.ambiguous_creates == 0


@pytest.mark.parametrize("tool", ["look", "put"])
def test_a_tool_that_ends_in_time_runs_once(stopped_worker: Stopped, tool: str) -> None:
    assert stopped_worker.deployment.gate(f"background-{tool}").runs == 1


def test_the_text_of_a_response_that_was_handed_over_is_whole(stopped_worker: Stopped) -> None:
    assert stopped_worker.ended["preview"].result.output_text == LONG_TEXT


def test_a_cancel_under_way_when_its_worker_is_stopped_ends_the_run(stopped_worker: Stopped) -> None:
    assert stopped_worker.ended["cancelling"].result.status is AgentStatus.CANCELLED


async def test_a_response_lives_on_at_the_provider_while_no_worker_is_there(deployment: Deployment) -> None:
    async with deployment.worker() as first:
        run = await waiting(4)(deployment)
        deployment.open_gates()
        assert await first.terminate() == 0
    (left_alone,) = await run.responses()
    assert left_alone.status is ResponseStatus.IN_PROGRESS
    async with deployment.worker():
        ended = await Ended.of("no worker for a while", run)
    ended.assert_completed_with_one_create_for_each_iteration(2)


async def test_a_wait_is_handed_over_before_its_heartbeats_are_missed(deployment: Deployment) -> None:
    patience = 300.0
    turns = [Script(think=60, output=[Text(text="Done.")])]
    async with deployment.worker() as first, deployment.worker() as second:
        run = await deployment.start("patient", turns, transport=BACKGROUND, heartbeat_timeout=patience)
        await until(lambda: worker_that_waits(run))
        await asyncio.gather(serving(first), serving(second))
        leaving, staying = (first, second) if await worker_that_waits(run) == first.pid else (second, first)
        await leaving.terminate()

        async def is_handed_over() -> bool:
            return await worker_that_waits(run) == staying.pid

        await until(is_handed_over)
        await run.handle.terminate()


async def worker_that_waits(run: Run) -> int | None:
    """The process that waits for the run's response; None when none does."""
    for pending in (await run.handle.describe()).raw_description.pending_activities:
        if (
            pending.activity_type.name == "await_response"
            and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        ):
            return int(pending.last_worker_identity.partition("@")[0])
    return None


async def test_a_run_stopped_between_create_and_wait_waits_for_the_response_it_created(deployment: Deployment) -> None:
    """A19."""
    async with deployment.worker([Queue.AGENTS, Queue.CREATE]) as first:
        run = await deployment.start("created-and-stopped", [ANSWER], transport=BACKGROUND)
        created = await until(lambda: response_id_of(run))
        await first.terminate()
    async with deployment.worker():
        ended = await Ended.of("stopped between create and wait", run)
    ended.assert_completed_with_one_create_for_each_iteration(1)
    assert ended.result.response_id == created


async def test_a_run_that_waits_for_its_turn_has_it_on_another_worker(deployment: Deployment) -> None:
    """A21."""
    async with deployment.worker(AGENT_MAX_RESPONSES_IN_FLIGHT="1") as first:
        ahead = await waiting(2)(deployment)
        behind = await deployment.start("behind", [ANSWER], transport=BACKGROUND)
        assert (await behind.progress()).status is AgentStatus.QUEUED
        deployment.open_gates()  # the worker's stop outlasts the wait, and would wait for the tool
        await first.terminate()
    async with deployment.worker(AGENT_MAX_RESPONSES_IN_FLIGHT="1"):
        ended = await all_ended({"ahead": ahead, "behind": behind})
    ended["ahead"].assert_completed_with_one_create_for_each_iteration(2)
    ended["behind"].assert_completed_with_one_create_for_each_iteration(1)


# --- what takes longer than a worker may stay --------------------------------------------------------------------

CUT_OFF: dict[str, Arrive] = {"pure tool": in_a_tool("look"), "once tool": in_a_tool("send"), "streaming": streaming}


def impatient_worker(deployment: Deployment) -> WorkerProcess:
    """A worker that does not let its work come to an end when it is told to stop."""
    worker = deployment.worker()
    worker.command[-1] = "tests.support.impatient_worker"
    return worker


@pytest.fixture(scope="module")
async def cut_off(
    temporal: TemporalServer,
    client: Client,
    emulator_process: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stopped:
    deployment = Deployment(temporal, client, emulator_process, tmp_path_factory.mktemp("cut-off"))
    async with impatient_worker(deployment) as first:
        runs = await all_arrived(CUT_OFF, deployment)
        async with deployment.worker() as second:
            await serving(second)
            await first.terminate()
            deployment.open_gates()
            return Stopped(deployment, await all_ended(runs))


def test_a_pure_tool_that_was_cut_off_runs_again(cut_off: Stopped) -> None:
    cut_off.ended["pure tool"].assert_completed_with_one_create_for_each_iteration(2)
    assert cut_off.deployment.gate("background-look").runs == 2


def test_a_once_tool_that_was_cut_off_does_not_run_again(cut_off: Stopped) -> None:
    assert cut_off.deployment.gate("background-send").runs == 1


def test_the_outcome_of_a_once_tool_that_was_cut_off_is_unknown(cut_off: Stopped) -> None:
    (call,) = cut_off.ended["once tool"].state.function_calls
    assert call.status is CallStatus.UNKNOWN


def test_a_stream_that_was_cut_off_is_no_lost_run(cut_off: Stopped) -> None:
    """A27."""
    assert cut_off.ended["streaming"].result.status is AgentStatus.COMPLETED
    assert cut_off.ended["streaming"].result.output_text == LONG_TEXT


# --- a rolling restart -------------------------------------------------------------------------------------------

ROUNDS = 3
EVERY = 0.4  # seconds between two starts of runs


class Load:
    """Runs of two iterations, one started after the other for as long as it goes on."""

    def __init__(self, deployment: Deployment) -> None:
        self.runs: dict[str, Run] = {}
        self._deployment = deployment
        self._enough = asyncio.Event()

    async def go_on(self) -> None:
        """Start runs until `stop`."""
        turns = [
            Script(think=1, output=[calls("look", "load")]),
            Script(think=0.5, output=[Text(text="Done.")], write=0),
        ]
        for number in count():
            if self._enough.is_set():
                return
            transport = STREAM if number % 4 == 3 else BACKGROUND
            self.runs[f"run {number}"] = await self._deployment.start("load", turns, transport=transport)
            await self._pause()

    def stop(self) -> None:
        """Start no more."""
        self._enough.set()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._enough.wait(), EVERY)
        except TimeoutError:
            return


@dataclass
class RollingRestart:
    """Runs whose workers were restarted one after the other, again and again; one was waited for all the time."""

    ended: dict[str, Ended]
    waited: Ended
    attempts: int
    exit_codes: list[int]


@pytest.fixture(scope="module")
async def rolling_restart(
    temporal: TemporalServer,
    client: Client,
    emulator_process: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> RollingRestart:
    deployment = Deployment(temporal, client, emulator_process, tmp_path_factory.mktemp("rolling-restart"))
    deployment.open_gates()
    load = Load(deployment)
    exit_codes = []
    async with deployment.worker() as one, deployment.worker() as two, asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(load.go_on())
        long = await deployment.start("long", [Script(think=3600, output=[Text(text="Done.")])], transport=BACKGROUND)
        await until(lambda: long.heartbeat_of("await_response"))
        for worker in [one, two] * ROUNDS:
            exit_codes.append(await worker.terminate(timeout=45))
            await worker.start()
            await serving(worker)
        load.stop()
        await starting
        attempts = await until(lambda: attempts_of_wait(long))
        await deployment.emulator.control.advance(3600)
        waited = await Ended.of("waited for all the time", long)
        return RollingRestart(await all_ended(load.runs), waited, attempts, exit_codes)


async def attempts_of_wait(run: Run) -> int | None:
    pending = (await run.handle.describe()).raw_description.pending_activities
    return next((wait.attempt for wait in pending if wait.activity_type.name == "await_response"), None)


def test_a_rolling_restart_under_load_loses_no_run(rolling_restart: RollingRestart) -> None:
    """A20."""
    statuses = Counter(run.result.status for run in rolling_restart.ended.values())
    # Not always 0: a create that the server hands out at the moment of the stop can be lost with its poll, unsent.
    ambiguous = sum(run.result.ambiguous_creates for run in rolling_restart.ended.values())
    print(f"{len(rolling_restart.exit_codes)} restarts under load: {dict(statuses)}, {ambiguous} ambiguous creates")
    assert set(statuses) == {AgentStatus.COMPLETED}


def test_a_rolling_restart_under_load_creates_nothing_twice(rolling_restart: RollingRestart) -> None:
    creates = {name: run.bill.counts.creates_accepted for name, run in rolling_restart.ended.items()}
    assert {name: number for name, number in creates.items() if number != 2} == {}


def test_workers_end_well_in_a_rolling_restart(rolling_restart: RollingRestart) -> None:
    assert set(rolling_restart.exit_codes) == {0}


def test_a_wait_may_be_handed_over_any_number_of_times(rolling_restart: RollingRestart) -> None:
    """Each stop of its worker costs the wait an attempt, so there must be no end of them."""
    print(f"a wait in its attempt {rolling_restart.attempts}")
    assert rolling_restart.attempts > 1
    rolling_restart.waited.assert_completed_with_one_create_for_each_iteration(1)


# --- worker versioning -------------------------------------------------------------------------------------------


class Versions:
    """The versions of one worker deployment, seen and set by Temporal's own command line."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.name = f"deployment-{secrets.token_hex(4)}"

    def worker(self, build_id: str) -> WorkerProcess:
        """A worker of this version."""
        return self._deployment.worker(AGENT_DEPLOYMENT_NAME=self.name, AGENT_BUILD_ID=build_id)

    async def make_current(self, build_id: str) -> None:
        """As docs/changing-the-workflow.md says, once the version is known with all its queues."""
        version = ["--deployment-name", self.name, "--build-id", build_id]

        async def is_known() -> bool:
            described = await self._temporal("describe-version", *version)
            return described.stdout.count(self._deployment.task_queue) == len(Queue) + 1  # workflows, and activities

        async def is_current() -> bool:
            done = await self._temporal("set-current-version", *version, "--yes")
            # The server can know a version a moment before its deployment.
            assert done.returncode == 0 or "Worker Deployment not found" in done.stderr, done.stderr
            return done.returncode == 0

        await until(is_known)
        await until(is_current)

    async def _temporal(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        temporal = self._deployment.temporal
        command = [temporal.command[0], "worker", "deployment", *arguments, "--address", temporal.address]
        return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)


async def builds_of(run: Run) -> list[str]:
    """The versions of the workers that have moved this run on, in order; empty for a worker without a version."""
    builds: list[str] = []
    for event in (await run.handle.fetch_history()).events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            attributes: Any = event.workflow_task_completed_event_attributes
            build = attributes.deployment_version.build_id
            if builds[-1:] != [build]:
                builds.append(build)
    return builds


@pytest.fixture
def versions(deployment: Deployment) -> Versions:
    return Versions(deployment)


async def test_a_run_moves_to_the_version_that_is_made_current(deployment: Deployment, versions: Versions) -> None:
    async with versions.worker("1") as old:
        await versions.make_current("1")
        run = await waiting(3)(deployment)
        async with versions.worker("2"):
            await versions.make_current("2")
            deployment.open_gates()
            await old.terminate()
            ended = await Ended.of("from version 1 to 2", run)
    ended.assert_completed_with_one_create_for_each_iteration(2)
    assert await builds_of(run) == ["1", "2"]


async def test_a_version_that_is_not_current_gets_no_work(deployment: Deployment, versions: Versions) -> None:
    async with versions.worker("1"):
        await versions.make_current("1")
        async with versions.worker("2"):
            runs = [await deployment.start(f"current-{number}", [ANSWER]) for number in range(5)]
            await all_ended({run.handle.id: run for run in runs})
    assert [await builds_of(run) for run in runs] == [["1"]] * len(runs)


async def test_a_run_of_a_worker_without_a_version_moves_to_the_first_version(
    deployment: Deployment, versions: Versions
) -> None:
    async with deployment.worker() as unversioned:
        run = await waiting(3)(deployment)
        async with versions.worker("1"):
            await versions.make_current("1")
            deployment.open_gates()
            await unversioned.terminate()
            ended = await Ended.of("to the first version", run)
    ended.assert_completed_with_one_create_for_each_iteration(2)
    assert await builds_of(run) == ["", "1"]


async def test_a_run_goes_back_to_the_version_that_is_made_current_again(
    deployment: Deployment, versions: Versions
) -> None:
    async with versions.worker("1"), versions.worker("2") as bad:
        await versions.make_current("2")
        run = await waiting(3)(deployment)
        await versions.make_current("1")
        deployment.open_gates()
        await bad.terminate()
        ended = await Ended.of("back to version 1", run)
    ended.assert_completed_with_one_create_for_each_iteration(2)
    assert await builds_of(run) == ["2", "1"]
