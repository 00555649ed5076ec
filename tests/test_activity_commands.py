"""What an operator does by `temporal activity …` after a worker was killed: nothing is paid for twice unseen.

Real processes. `reset`, and `unpause --reset-attempts`, give an activity a first attempt again.
"""

import asyncio
from dataclasses import dataclass
from functools import partial

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client

from durable_responses.embedded import find_temporal_cli
from durable_responses.emulator.faults import Delay
from durable_responses.emulator.model.script import Script, Text
from durable_responses.settings import Settings
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import AgentResult, AgentStatus, TransportChoice
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer

BACKGROUND, STREAM, WEBSOCKET = TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET
ANSWER = Script(output=[Text(text="Done.")], write=0)

COMMANDS: dict[str, list[list[str]]] = {
    "reset": [["reset"]],
    "reset-with-heartbeats": [["reset", "--reset-heartbeats"]],
    "unpause-with-attempts": [["pause"], ["unpause", "--reset-attempts"]],
    "unpause-with-attempts-and-heartbeats": [["pause"], ["unpause", "--reset-attempts", "--reset-heartbeats"]],
}


async def command(deployment: Deployment, run: Run, activity_id: str, words: list[str]) -> None:
    """`temporal activity …`"""
    binary = await find_temporal_cli(Settings(), print)
    which = ["--workflow-id", run.handle.id, "--activity-id", activity_id, "--address", deployment.temporal.address]
    process = await asyncio.create_subprocess_exec(
        str(binary),
        "activity",
        words[0],
        *which,
        *words[1:],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


async def pending(run: Run) -> PendingActivityInfo | None:
    """The only activity of the run that has not ended."""
    activities = (await run.handle.describe()).raw_description.pending_activities
    return activities[0] if activities else None


async def lost(run: Run) -> PendingActivityInfo | None:
    """The activity, once the server knows that its worker is gone."""
    activity = await pending(run)
    waits = activity is not None and activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return activity if waits else None


# --- moments -----------------------------------------------------------------------------------------------------


async def posting(deployment: Deployment, name: str, transport: TransportChoice) -> Run:
    """The provider has taken the POST of its first response, and does not answer."""
    late = Delay(seconds=None, processed=True)
    run = await deployment.start(name, [ANSWER], fault=late, transport=transport)
    await until(lambda: has_one_response(run))
    return run


async def has_one_response(run: Run) -> bool:
    return len(await run.responses()) == 1


async def in_a_once_tool(deployment: Deployment, name: str) -> Run:
    run = await deployment.start(name, [Script(output=[calls("send", name)]), ANSWER], transport=BACKGROUND)
    await until(lambda: deployment.gate(name).has_begun())
    return run


@dataclass
class Commanded:
    """How runs ended whose worker was killed, by what an operator did then."""

    deployment: Deployment
    results: dict[str, AgentResult]
    runs: dict[str, Run]


@pytest.fixture(scope="module")
async def commanded(
    temporal: TemporalServer,
    client: Client,
    emulator_process: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Commanded:
    deployment = Deployment(temporal, client, emulator_process, tmp_path_factory.mktemp("commanded"))
    runs: dict[str, Run] = {}
    async with deployment.worker() as worker:
        for name in COMMANDS:
            runs[f"{name}: background"] = await posting(deployment, f"{name}-background", BACKGROUND)
            runs[f"{name}: stream"] = await posting(deployment, f"{name}-stream", STREAM)
            runs[f"{name}: once"] = await in_a_once_tool(deployment, f"{name}-once")
        worker.kill()
    for name, run in runs.items():
        activity = await until(partial(lost, run))
        for words in COMMANDS[name.partition(":")[0]]:
            await command(deployment, run, activity.activity_id, words)
    deployment.open_gates()
    async with deployment.worker():
        results = {name: await run.result() for name, run in runs.items()}
    return Commanded(deployment, results, runs)


@pytest.mark.parametrize("transport", ["background", "stream"])
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_create_that_may_have_been_taken_is_counted_as_ambiguous(
    commanded: Commanded, name: str, transport: str
) -> None:
    moment = f"{name}: {transport}"
    result, bill = commanded.results[moment], await commanded.runs[moment].bill()
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 1)
    assert bill.counts.creates_accepted == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_a_once_tool_is_not_run_again(commanded: Commanded, name: str) -> None:
    assert commanded.results[f"{name}: once"].status is AgentStatus.COMPLETED
    assert commanded.deployment.gate(f"{name}-once").runs == 1


async def test_a_create_that_no_worker_had_begun_counts_as_ambiguous_after_a_reset(deployment: Deployment) -> None:
    """The server cannot tell it from one that was begun; it is sent once all the same."""
    async with deployment.worker([Queue.AGENTS, Queue.WAITING, Queue.TOOLS]) as agents:
        run = await deployment.start("never-begun", [ANSWER], transport=BACKGROUND)
        activity = await until(lambda: lost(run))
        await command(deployment, run, activity.activity_id, ["reset"])
        agents.kill()
    async with deployment.worker():
        result = await run.result()
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 1)
    assert len(await run.responses()) == 1
