"""A run that waits for its owner outlives everything, and pays for nothing twice."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError

from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.workflows.contract import AgentResult, AgentStatus, InputRequestStatus
from tests.support.deployment import Deployment, Run, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer

ITERATIONS, REFUSED = 10, 7
WEEK = 12
"""Seconds that stand for the week after which there is credit again."""
QUOTA = Answer(status=429, code="insufficient_quota", message="No credit is left.")


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Servers that are killed by the test."""
    async with (
        await TemporalServer.on(tmp_path / "temporal") as temporal,
        EmulatorProcess(tmp_path / "emulator") as emulator,
    ):
        deployment = Deployment(temporal, await temporal.client(), emulator, tmp_path)
        deployment.open_gates()
        yield deployment


async def refused(deployment: Deployment, effect: Answer) -> Run:
    """A run of ten iterations, the seventh of which is refused once."""
    fault = Fault(operation=Operation.CREATE, effect=effect, metadata={"iteration": str(REFUSED)})
    await deployment.emulator.control.add_fault(fault)
    scenario = f'calls?iterations={ITERATIONS - 1}&tool=look&arguments={{"gate": "gate"}}'
    return await deployment.start_only(metadata={"scenario": scenario}, max_iterations=ITERATIONS)


async def waits(run: Run) -> bool:
    return (await run.progress()).status is AgentStatus.INPUT_REQUIRED


async def assert_paid_once(run: Run, result: AgentResult) -> None:
    assert (result.status, result.iterations, result.ambiguous_creates) == (AgentStatus.COMPLETED, ITERATIONS, 0)
    created = [response.metadata["iteration"] for response in await run.responses()]
    assert created == [str(number) for number in range(1, ITERATIONS + 1)]


async def test_a_run_goes_on_at_its_time_after_everything_was_killed(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        run = await refused(deployment, QUOTA.model_copy(update={"headers": {"retry-after": str(WEEK)}}))
        await until(lambda: waits(run))
        for process in (deployment.temporal, deployment.emulator, worker):
            process.kill()
        for process in (deployment.temporal, deployment.emulator, worker):
            await process.start()
        result = await run.result(seconds=60)
    assert [request.status for request in result.requests] == [InputRequestStatus.RESUMED]
    await assert_paid_once(run, result)


async def test_a_run_is_answered_after_everything_was_killed(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        run = await refused(deployment, QUOTA)
        await until(lambda: waits(run))
        for process in (deployment.temporal, deployment.emulator, worker):
            process.kill()
        for process in (deployment.temporal, deployment.emulator, worker):
            await process.start()
        await run.handle.execute_update("respond", {"id": "refusal-1", "answer": "retry", "by": "Ada"})
        result = await run.result(seconds=60)
    assert [request.by for request in result.requests] == ["Ada"]
    await assert_paid_once(run, result)


async def test_an_answer_by_signal_that_comes_while_there_is_no_worker_is_taken_by_the_next(
    deployment: Deployment,
) -> None:
    async with deployment.worker() as worker:
        run = await refused(deployment, QUOTA)
        await until(lambda: waits(run))
        worker.kill()
    await run.handle.signal("respond", {"id": "refusal-1", "answer": "retry"})
    async with deployment.worker():
        result = await run.result(seconds=60)
    await assert_paid_once(run, result)


async def test_an_update_that_nobody_takes_is_taken_later_or_not_at_all(deployment: Deployment) -> None:
    """Temporal may deliver it after its sender has given up; the same answer by signal then changes nothing."""
    async with deployment.worker() as worker:
        run = await refused(deployment, QUOTA)
        await until(lambda: waits(run))
        worker.kill()
    answer = {"id": "refusal-1", "answer": "retry"}
    with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
        await run.handle.execute_update("respond", answer, rpc_timeout=timedelta(seconds=2))
    await run.handle.signal("respond", answer)
    async with deployment.worker():
        result = await run.result(seconds=60)
    assert [request.answer for request in result.requests] == ["retry"]
    await assert_paid_once(run, result)
