"""Bounded concurrency: no worker has more responses in flight than it may, however many runs there are."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice

import pytest

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.workflows.contract import AgentStatus, TransportChoice
from tests.support.deployment import Deployment, Run, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import WorkerProcess

ALLOWED = 4
RUNS = 3 * ALLOWED
BACKGROUND, STREAM = TransportChoice.BACKGROUND, TransportChoice.STREAM
SCENARIO = "admitted"


@pytest.fixture(autouse=True)
async def emulator_without_memory(emulator_process: EmulatorProcess) -> None:
    await emulator_process.control.reset()


def limited_worker(deployment: Deployment) -> WorkerProcess:
    return deployment.worker(AGENT_MAX_RESPONSES_IN_FLIGHT=str(ALLOWED))


async def start(deployment: Deployment, transports: Sequence[TransportChoice], *, think: float) -> list[Run]:
    """Start runs of one response each, all at once, over these transports in turn."""
    turn = Script(think=think, output=[Text(text="Done.")], write=0)
    await deployment.emulator.control.add_scenario(Scenario(name=SCENARIO, responses=[turn]))
    chosen = islice(cycle(transports), RUNS)
    metadata = {"scenario": SCENARIO}
    return await asyncio.gather(*(deployment.start_only(transport=each, metadata=metadata) for each in chosen))


async def until_running(runs: list[Run]) -> None:
    """Wait until as many as are allowed are running, and the others queued."""

    async def as_allowed() -> bool:
        statuses = Counter([(await run.progress()).status for run in runs])
        return statuses == {AgentStatus.RUNNING: ALLOWED, AgentStatus.QUEUED: RUNS - ALLOWED}

    await until(as_allowed)


async def most_in_flight_until_all_completed(deployment: Deployment, runs: list[Run]) -> int:
    """Wait for the ends of all runs; the most responses that were in flight at the provider at any time."""
    results = await asyncio.gather(*(run.result() for run in runs))
    assert {result.status for result in results} == {AgentStatus.COMPLETED}
    counts = (await deployment.emulator.control.billing()).counts
    print(f"{len(runs)} runs, {counts.creates_accepted} creates, at most {counts.max_in_flight} in flight at once")
    assert counts.creates_accepted == len(runs)
    return counts.max_in_flight


async def test_a_worker_never_has_more_responses_in_flight_than_it_may(deployment: Deployment) -> None:
    """A21."""
    async with limited_worker(deployment):
        runs = await start(deployment, [BACKGROUND, STREAM], think=1)
        assert await most_in_flight_until_all_completed(deployment, runs) == ALLOWED


async def test_runs_beyond_the_limit_are_queued(deployment: Deployment) -> None:
    """A18, A21."""
    async with limited_worker(deployment):
        runs = await start(deployment, [BACKGROUND, STREAM], think=4)
        await until_running(runs)
        await asyncio.gather(*(run.handle.terminate() for run in runs))


async def test_two_workers_have_no_more_in_flight_than_twice_as_many(deployment: Deployment) -> None:
    """A21."""
    async with limited_worker(deployment), limited_worker(deployment):
        runs = await start(deployment, [BACKGROUND, STREAM], think=1)
        assert await most_in_flight_until_all_completed(deployment, runs) <= 2 * ALLOWED


async def test_a_restarted_worker_counts_the_responses_it_had_in_flight(deployment: Deployment) -> None:
    """A21: also after SIGKILL."""
    async with limited_worker(deployment) as worker:
        runs = await start(deployment, [BACKGROUND], think=4)
        await until_running(runs)
        worker.kill()
        await worker.start()
        assert await most_in_flight_until_all_completed(deployment, runs) == ALLOWED
