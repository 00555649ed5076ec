"""A run that outlives its context window many times survives the death of its worker, at its compactions too."""

from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from durable_responses.activities.messages import ActivityName
from durable_responses.emulator.faults import Delay, Fault, Operation, RefuseItem
from durable_responses.workflows.contract import AgentStatus, ConversationChoice, TransportChoice
from durable_responses.workflows.ledger import AMBIGUOUS
from tests.support.chainless_servers import Chain
from tests.support.deployment import Deployment, until
from tests.support.windowed_server import WindowedServer, serving_windowed

WINDOW = 16_000
ITERATIONS = 100
BACKGROUND = {"transport": TransportChoice.BACKGROUND}
STREAM = {"transport": TransportChoice.STREAM}
FULL = {"transport": TransportChoice.STREAM, "conversation": ConversationChoice.FULL}
WAYS: dict[str, dict[str, Any]] = {"background": BACKGROUND, "stream": STREAM, "in full": FULL}


@pytest.fixture
def server() -> Iterator[WindowedServer]:
    calls = WindowedServer(Chain.CONTINUED, calls=ITERATIONS - 1, tool="look", arguments='{"gate": "gate"}')
    calls.window, calls.padding, calls.queues = WINDOW, 2_500, True
    with serving_windowed(calls) as running:
        yield running


@pytest.mark.parametrize("way", WAYS)
async def test_a_hundred_iterations_in_a_small_window_survive_kills(
    deployment: Deployment, server: WindowedServer, way: str
) -> None:
    """SIGKILL at the first compaction, and in the middle of a later chain; no turn adds more history than the first."""

    async def has_compacted() -> bool:
        return len(server.compactions) > 0

    async def is_in_the_middle() -> bool:
        return len(server.asked) > ITERATIONS // 2

    deployment.open_gates()
    asked = {"max_iterations": 1000, "context_window": WINDOW, **WAYS[way]}
    async with deployment.worker(base_url=server.base_url) as first:
        run = await deployment.start_only(**asked)
        await until(has_compacted, seconds=120)
        first.kill()
    async with deployment.worker(base_url=server.base_url) as second:
        await until(is_in_the_middle, seconds=120)
        second.kill()
    async with deployment.worker(base_url=server.base_url):
        result = await run.result(seconds=240)
    assert (result.status, result.error, result.iterations) == (AgentStatus.COMPLETED, None, ITERATIONS)
    listed = [entry for entry in result.responses if entry.status == "compaction"]
    assert 3 <= len(listed) <= len(server.compactions) <= len(listed) + 2  # those that a kill has cut off were lost
    assert result.ambiguous_creates <= 2
    early, late = await bytes_of(run.handle, 10, 30), await bytes_of(run.handle, 65, 85)
    assert late < 1.1 * early


async def bytes_of(run: WorkflowHandle[Any, Any], first: int, last: int) -> int:
    """The bytes of history from the tool call of one iteration to that of another."""
    calls, size = 0, 0
    async for event in run.fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        calls += scheduled.activity_type.name == ActivityName.CALL_TOOL
        size += event.ByteSize() if first <= calls < last else 0
    assert calls >= last
    return size


@pytest.mark.parametrize("kills", [1, 2])
async def test_a_compaction_that_is_posted_when_its_worker_dies_is_posted_once_more_at_most(
    deployment: Deployment, kills: int
) -> None:
    """Where no create compacts, it has no id: each that may have been paid for is listed; none follows the second."""
    control = deployment.emulator.control
    scenario = {"scenario": f'calls?iterations=10&tool=look&arguments={{"gate":"gate-{kills}"}}&context_window=8000'}
    await control.add_fault(Fault(operation=Operation.CREATE, metadata=scenario, effect=RefuseItem(), times=None))
    await control.add_fault(Fault(operation=Operation.COMPACT, effect=Delay(processed=True), times=kills))
    deployment.open_gates()
    asked = {"max_iterations": 60, "context_window": 4_000, "task": "Go on. " * 2_000, **BACKGROUND}
    run = await deployment.start_only(metadata=scenario, **asked)
    for killed in range(1, kills + 1):

        async def is_posted(killed: int = killed) -> bool:
            return len((await run.bill()).compactions) == killed

        async with deployment.worker() as worker:
            await until(is_posted, seconds=60)
            worker.kill()
    async with deployment.worker():
        result = await run.result(seconds=60)
    assert (result.status, result.error, result.iterations) == (AgentStatus.COMPLETED, None, 11)
    ambiguous = [entry for entry in result.responses if entry.status == AMBIGUOUS]
    assert len(ambiguous) == result.ambiguous_creates == kills
    made = [entry for entry in result.responses if entry.status == "compaction"]
    assert len((await run.bill()).compactions) == kills + len(made)
    assert bool(made) is (kills == 1)
