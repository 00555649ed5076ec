"""The emulator counts a context as OpenAI does: a run of a hundred turns of calls goes on in 16,000 tokens of it."""

from typing import Any

import pytest

from durable_responses.workflows.contract import AgentStatus
from tests.support.deployment import Deployment, until
from tests.test_compaction_crashes import ITERATIONS, WAYS, WINDOW, bytes_of

SCENARIO = f'calls?iterations={ITERATIONS - 1}&tool=look&arguments={{"gate":"{"g" * 100}"}}&context_window={WINDOW}'
TASK = "Go on. " * 4_000


@pytest.mark.parametrize("way", WAYS)
async def test_a_hundred_iterations_at_the_emulator_survive_kills(deployment: Deployment, way: str) -> None:
    """SIGKILL twice; every compaction is listed, and no turn adds more history than the first."""
    deployment.open_gates()
    asked: dict[str, Any] = {"max_iterations": 1000, "context_window": WINDOW, "metadata": {"scenario": SCENARIO}}

    async def has_come_to(iteration: int) -> bool:
        return len(await run.responses()) > iteration

    async with deployment.worker() as first:
        run = await deployment.start_only(**asked, **WAYS[way], task=TASK)
        await until(lambda: has_come_to(25), seconds=120)
        first.kill()
    async with deployment.worker() as second:
        await until(lambda: has_come_to(ITERATIONS // 2), seconds=120)
        second.kill()
    async with deployment.worker():
        result = await run.result(seconds=240)
    assert (result.status, result.error, result.iterations) == (AgentStatus.COMPLETED, None, ITERATIONS)
    listed = [entry for entry in result.responses if entry.status == "compaction"]
    # Those that a kill has cut off in a stream are billed, and lost.
    assert 1 <= len(listed) <= (await run.bill()).counts.compactions <= len(listed) + 2
    assert all(entry.input_tokens > 0.85 * WINDOW for entry in listed)
    early, late = await bytes_of(run.handle, 10, 30), await bytes_of(run.handle, 65, 85)
    assert late < 1.1 * early
