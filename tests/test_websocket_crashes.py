"""SIGKILL of the worker in every phase of a WebSocket turn: the run completes, and generates nothing twice in silence.

Real processes. What the emulator has counted is printed for each phase.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.activities.messages import CreatePhase, SteerStatus
from durable_responses.emulator.faults import BreakSocket, Delay, Effect, Fault, Operation, SocketBreak
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.emulator.state.billing import Bill
from durable_responses.workflows.contract import AgentResult, AgentState, AgentStatus, TransportChoice
from durable_responses.workflows.ledger import AMBIGUOUS, LOST
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer

ANSWER = Script(output=[Text(text="Done.")], write=0)
LONG = Script(output=[Text(text="Long. " * 500)], write=60)
TEXT = "Be brief."

# What the model does when it is asked again, so that nobody has to wait for it.
AFTERWARDS = {
    "writing": [ANSWER],
    "again": [Script(output=[calls("look", "again")]), ANSWER],
    "steered": [Script(output=[calls("look", "steered")]), ANSWER],
}

Arrive = Callable[[Deployment], Awaitable[Run]]


@dataclass(frozen=True)
class Moment:
    """A phase of a turn: how a run gets there, and what must have been counted when it has completed all the same."""

    arrive: Arrive
    iterations: int
    creates: int
    generations: int
    statuses: tuple[str, ...]
    ambiguous: int = 0


async def started(
    deployment: Deployment, name: str, turns: list[Script], faults: dict[Operation, Effect], **fields: Any
) -> Run:
    """Start a run to which these things happen once."""
    for operation, effect in faults.items():
        # An upgrade has no metadata to know the run by: such a run is started alone.
        metadata = {} if operation is Operation.UPGRADE else {"scenario": name}
        await deployment.emulator.control.add_fault(Fault(operation=operation, metadata=metadata, effect=effect))
    return await deployment.start(name, turns, transport=TransportChoice.WEBSOCKET, **fields)


async def phase_of(run: Run) -> CreatePhase | None:
    heartbeat = await run.heartbeat_of("websocket_turn")
    return heartbeat.phase if heartbeat else None


async def sending(run: Run) -> bool:
    return await phase_of(run) is CreatePhase.POSTING


async def connecting(deployment: Deployment) -> Run:
    """The WebSocket is being opened; nothing was sent."""
    run = await started(deployment, "connecting", [ANSWER], {Operation.UPGRADE: Delay(seconds=60)})
    await until(lambda: sending(run))
    return run


def sent(name: str, *, taken: bool, **fields: Any) -> Arrive:
    """The request was sent, and nothing has come back; the provider has taken it, or not."""

    async def arrive(deployment: Deployment) -> Run:
        late = Delay(seconds=None, processed=taken)
        run = await started(deployment, name, [ANSWER], {Operation.CREATE: late}, **fields)

        async def arrived() -> bool:
            return await sending(run) and len(await run.responses()) == (1 if taken else 0)

        await until(arrived)
        return run

    return arrive


async def writing(deployment: Deployment) -> Run:
    """The response is being written, and the run knows its id."""
    run = await started(deployment, "writing", [LONG], {})
    await until(lambda: preview_of(run))
    return run


async def finished(deployment: Deployment) -> Run:
    """The response has finished at the provider, but its end has not arrived: the socket fell silent."""
    silent = BreakSocket(after_events=2, how=SocketBreak.SILENCE, survives=True)
    turns = [Script(think=1, output=[calls("look", "finished")]), ANSWER]
    run = await started(deployment, "finished", turns, {Operation.TURN: silent})

    async def over() -> bool:
        return await phase_of(run) is CreatePhase.CREATED and {bill.status for bill in await run.responses()} == {
            "completed"
        }

    await until(over)
    return run


async def between_turns(deployment: Deployment) -> Run:
    """A tool runs, and the socket waits for the next turn."""
    run = await started(deployment, "between", [Script(output=[calls("look", "between")]), ANSWER], {})
    await until(deployment.gate("between").has_begun)
    return run


async def writing_again(deployment: Deployment) -> Run:
    """The second response is being written, on the worker's own queue."""
    deployment.gate("again").open()
    run = await started(deployment, "again", [Script(output=[calls("look", "again")]), LONG], {})

    async def second() -> bool:
        state = await run.progress()
        return state.iteration == 2 and bool(state.preview)

    await until(second)
    return run


async def warming_up(deployment: Deployment) -> Run:
    """Tools and instructions are being sent ahead."""
    late = Delay(seconds=None, processed=True)
    run = await started(deployment, "warming-up", [ANSWER], {Operation.CREATE: late}, warm_up=True)

    async def arrived() -> bool:
        return await sending(run) and len(await run.responses()) == 1

    await until(arrived)
    return run


async def steered(deployment: Deployment) -> Run:
    """A text was accepted into the response, whose calls must be answered before it is applied."""
    run = await started(deployment, "steered", [Script(think=60, output=[calls("look", "steered")])], {})
    await until(lambda: response_of(run))
    await run.handle.signal("steer", TEXT)

    async def accepted() -> bool:
        return [steer.status for steer in (await run.progress()).steers] == [SteerStatus.ACCEPTED]

    await until(accepted)
    return run


async def preview_of(run: Run) -> str:
    return (await run.progress()).preview


async def response_of(run: Run) -> str | None:
    return (await run.progress()).response_id


MOMENTS = {
    "sent, not taken": Moment(sent("not-taken", taken=False), 1, 1, 1, (AMBIGUOUS, "completed"), ambiguous=1),
    "sent, taken": Moment(sent("taken", taken=True), 1, 2, 2, (AMBIGUOUS, "completed"), ambiguous=1),
    "warming up": Moment(warming_up, 1, 3, 1, (AMBIGUOUS, "completed"), ambiguous=1),
    "writing": Moment(writing, 1, 2, 2, (LOST, "completed")),
    "finished, unseen": Moment(finished, 2, 2, 2, ("completed", "completed")),
    "between turns": Moment(between_turns, 2, 2, 2, ("completed", "completed")),
    "writing again": Moment(writing_again, 2, 3, 3, ("completed", LOST, "completed")),
    "steered": Moment(steered, 2, 3, 3, (LOST, "completed", "completed")),
    # The last to arrive: it does not stay there for more than ten seconds.
    "connecting": Moment(connecting, 1, 1, 1, (AMBIGUOUS, "completed"), ambiguous=1),
}


@dataclass
class Ended:
    """A run that lived through it."""

    result: AgentResult
    state: AgentState
    bill: Bill

    @classmethod
    async def of(cls, name: str, run: Run) -> "Ended":
        """Wait for its end; takes a worker."""
        ended = cls(await run.result(seconds=60), await run.progress(), await run.bill())
        counts, result = ended.bill.counts, ended.result
        print(
            f"{name}: {result.status}, creates {counts.creates_accepted}, generations {counts.generations}, "
            f"ambiguous {result.ambiguous_creates}, responses {[entry.status for entry in result.responses]}"
        )
        return ended


@pytest.fixture(scope="module")
async def killed_worker(
    temporal: TemporalServer, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Ended]]:
    folder = tmp_path_factory.mktemp("killed-worker")
    async with EmulatorProcess(folder / "emulator") as emulator:
        deployment = Deployment(temporal, client, emulator, folder)
        runs: dict[str, Run] = {}

        async def arrive(name: str) -> None:
            runs[name] = await MOMENTS[name].arrive(deployment)

        async with deployment.worker() as first:
            *others, last = MOMENTS
            await asyncio.gather(*map(arrive, others))
            await arrive(last)
            first.kill()
        for name, turns in AFTERWARDS.items():
            await emulator.control.add_scenario(Scenario(name=name, responses=turns))
        deployment.open_gates()
        async with deployment.worker():
            ended = await asyncio.gather(*(Ended.of(name, run) for name, run in runs.items()))
        yield dict(zip(runs, ended, strict=True))


every_moment = pytest.mark.parametrize("moment", MOMENTS)


@every_moment
def test_the_run_completes(killed_worker: dict[str, Ended], moment: str) -> None:
    """W22, A20."""
    result = killed_worker[moment].result
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "Done.")
    assert result.iterations == MOMENTS[moment].iterations


@every_moment
def test_it_is_known_what_was_created_and_generated(killed_worker: dict[str, Ended], moment: str) -> None:
    """W23: once for each iteration, wherever the response had finished and its id was known."""
    counts = killed_worker[moment].bill.counts
    assert (counts.creates_accepted, counts.generations) == (MOMENTS[moment].creates, MOMENTS[moment].generations)


@every_moment
def test_what_was_lost_is_listed(killed_worker: dict[str, Ended], moment: str) -> None:
    """W23: never a second generation in silence."""
    result = killed_worker[moment].result
    assert tuple(entry.status for entry in result.responses) == MOMENTS[moment].statuses
    assert result.ambiguous_creates == MOMENTS[moment].ambiguous


def test_what_became_of_an_accepted_text_is_unknown_and_it_is_not_sent_again(killed_worker: dict[str, Ended]) -> None:
    ended = killed_worker["steered"]
    assert [steer.status for steer in ended.state.steers] == [SteerStatus.UNKNOWN]


async def test_a_create_that_is_lost_with_its_worker_says_what_it_may_have_cost_though_no_other_follows(
    deployment: Deployment,
) -> None:
    async with deployment.worker() as first:
        run = await started(
            deployment, "last", [ANSWER], {Operation.UPGRADE: Delay(seconds=60)}, on_ambiguous_create="fail"
        )
        await until(lambda: sending(run))
        first.kill()
    async with deployment.worker():
        result = await run.result()
    [lost] = result.responses
    assert (result.status, lost.status) == (AgentStatus.FAILED, AMBIGUOUS)
    assert lost.at_most is not None
    assert lost.at_most > 0
