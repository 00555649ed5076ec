"""Runs survive the death of any process, and each response is created once. Real processes, killed by SIGKILL."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.activities.messages import PREVIEW_CHARACTERS, CreatePhase, FailureType
from durable_responses.emulator.faults import Delay
from durable_responses.emulator.model.script import Script, Text
from durable_responses.emulator.state.billing import Bill
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import (
    AgentResult,
    AgentState,
    AgentStatus,
    CallStatus,
    OnAmbiguousCreate,
    TransportChoice,
)
from durable_responses.workflows.ledger import LOST
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer

BACKGROUND, STREAM = TransportChoice.BACKGROUND, TransportChoice.STREAM
RETRY_ONCE, FAIL = OnAmbiguousCreate.RETRY_ONCE, OnAmbiguousCreate.FAIL
ANSWER = Script(output=[Text(text="Done.")], write=0)
LONG_TEXT = "\n".join(f"Line {number} of a long text." for number in range(1, 400))

# --- moments: each starts a run and returns when the run is there -------------------------------------------------

Arrive = Callable[[Deployment], Awaitable[Run]]


def waiting(seconds: float) -> Arrive:
    """Its first response is thought about for so many seconds, and waited for."""

    async def arrive(deployment: Deployment) -> Run:
        turns = [Script(think=seconds, output=[calls("look", "waiting")]), ANSWER]
        run = await deployment.start("waiting", turns, transport=BACKGROUND)
        await until(lambda: run.heartbeat_of("await_response"))
        return run

    return arrive


def in_a_tool(tool: str, transport: TransportChoice = BACKGROUND) -> Arrive:
    """A tool runs, until its gate is opened."""
    name = f"{transport}-{tool}"

    async def arrive(deployment: Deployment) -> Run:
        run = await deployment.start(name, [Script(output=[calls(tool, name)]), ANSWER], transport=transport)
        await until(lambda: deployment.gate(name).has_begun())
        return run

    return arrive


def posting(
    *,
    taken: bool,
    policy: OnAmbiguousCreate = RETRY_ONCE,
    transport: TransportChoice = BACKGROUND,
    seconds: float | None = None,
) -> Arrive:
    """The POST of its first response has no answer yet, for so many seconds; the provider has taken it, or not."""
    name = f"posting-{taken}-{policy}-{transport}"
    activity = "stream_response" if transport is STREAM else "create_response"

    async def arrive(deployment: Deployment) -> Run:
        late = Delay(seconds=seconds, processed=taken)
        run = await deployment.start(name, [ANSWER], fault=late, transport=transport, on_ambiguous_create=policy)

        async def sent() -> bool:
            heartbeat = await run.heartbeat_of(activity)
            at_the_provider = len(await run.responses()) == (1 if taken else 0)
            return heartbeat is not None and heartbeat.phase is CreatePhase.POSTING and at_the_provider

        await until(sent)
        return run

    return arrive


async def streaming(deployment: Deployment) -> Run:
    """Its response is being written over a stream."""
    run = await deployment.start("streaming", [Script(output=[Text(text=LONG_TEXT)], write=4)], transport=STREAM)
    await until(lambda: response_id_of(run))
    return run


async def response_id_of(run: Run) -> str | None:
    return (await run.progress()).response_id


async def previewing(deployment: Deployment) -> Run:
    """The text of its second response is followed, and the run has had a first report of it."""
    deployment.gate("previewing").open()
    turns = [Script(output=[calls("look", "previewing")]), Script(output=[Text(text=LONG_TEXT)], write=18)]
    run = await deployment.start("previewing", turns, transport=BACKGROUND, live_preview=True)
    await until(lambda: preview_of(run))
    return run


async def preview_of(run: Run) -> str:
    return (await run.progress()).preview


def last_line(preview: str) -> int:
    """The number of the last whole line of `LONG_TEXT` in a preview."""
    numbers = re.findall(r"Line (\d+) of a long text\.", preview)
    return int(numbers[-1]) if numbers else 0


# --- the worker --------------------------------------------------------------------------------------------------

KILLED_WORKER: dict[str, Arrive] = {
    "waiting": waiting(5),
    "pure tool": in_a_tool("look"),
    "idempotent tool": in_a_tool("put"),
    "once tool": in_a_tool("send"),
    "tool of a streamed run": in_a_tool("look", STREAM),
    "streaming": streaming,
    "POST not taken": posting(taken=False),
    "POST taken": posting(taken=True),
    "POST not taken, fail": posting(taken=False, policy=FAIL),
    "POST taken, fail": posting(taken=True, policy=FAIL),
    "POST of a stream taken": posting(taken=True, transport=STREAM),
}


@dataclass
class Ended:
    """A run that lived through it: how it ended, and what the emulator has counted."""

    name: str
    result: AgentResult
    state: AgentState
    bill: Bill

    @classmethod
    async def of(cls, name: str, run: Run) -> "Ended":
        """Wait for its end; takes a worker."""
        result = await run.result()
        ended = cls(name, result, await run.progress(), await run.bill())
        counts = ended.bill.counts
        print(
            f"{name}: {result.status}, iterations {result.iterations}, creates {counts.creates_accepted}, "
            f"ambiguous {result.ambiguous_creates}, responses {[entry.status for entry in result.responses]}"
        )
        return ended

    def assert_completed_with_one_create_for_each_iteration(self, iterations: int) -> None:
        assert self.result.status is AgentStatus.COMPLETED
        assert self.result.iterations == iterations
        assert self.bill.counts.creates_accepted == iterations


async def all_ended(runs: dict[str, Run]) -> dict[str, Ended]:
    """The ends of all runs, by the same names."""
    ended = await asyncio.gather(*(Ended.of(name, run) for name, run in runs.items()))
    return {run.name: run for run in ended}


async def all_arrived(moments: dict[str, Arrive], deployment: Deployment) -> dict[str, Run]:
    """Start a run for each moment, and wait until all are there."""
    runs = await asyncio.gather(*(arrive(deployment) for arrive in moments.values()))
    return dict(zip(moments, runs, strict=True))


@dataclass
class KilledWorker:
    """Runs that were at different moments when their worker was killed; one of them also as it was seen around it."""

    deployment: Deployment
    ended: dict[str, Ended]
    before: AgentState
    after: AgentState


@pytest.fixture(scope="module")
async def killed_worker(
    temporal: TemporalServer,
    client: Client,
    emulator_process: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> KilledWorker:
    deployment = Deployment(temporal, client, emulator_process, tmp_path_factory.mktemp("killed-worker"))
    async with deployment.worker() as first:
        with_preview = await previewing(deployment)
        runs = await all_arrived(KILLED_WORKER, deployment)
        before = await with_preview.progress()
        first.kill()
    deployment.open_gates()
    async with deployment.worker():
        after = await with_preview.progress()
        ended = await all_ended({**runs, "preview": with_preview})
    return KilledWorker(deployment, ended, before, after)


@pytest.mark.parametrize(
    ("moment", "iterations"),
    [
        ("waiting", 2),
        ("pure tool", 2),
        ("idempotent tool", 2),
        ("once tool", 2),
        ("tool of a streamed run", 2),
        ("preview", 2),
    ],
)
def test_a_run_completes_with_one_create_for_each_iteration(
    killed_worker: KilledWorker, moment: str, iterations: int
) -> None:
    """A20."""
    killed_worker.ended[moment].assert_completed_with_one_create_for_each_iteration(iterations)


@pytest.mark.parametrize("tool", ["look", "put"])
def test_a_pure_or_idempotent_tool_runs_again(killed_worker: KilledWorker, tool: str) -> None:
    assert killed_worker.deployment.gate(f"background-{tool}").runs == 2


def test_a_once_tool_does_not_run_again(killed_worker: KilledWorker) -> None:
    assert killed_worker.deployment.gate("background-send").runs == 1


def test_the_outcome_of_an_interrupted_once_tool_is_unknown(killed_worker: KilledWorker) -> None:
    (call,) = killed_worker.ended["once tool"].state.function_calls
    assert call.status is CallStatus.UNKNOWN


def test_a_response_that_died_with_its_stream_is_listed_as_lost_and_created_again(killed_worker: KilledWorker) -> None:
    """A27."""
    streamed = killed_worker.ended["streaming"]
    assert [response.status for response in streamed.result.responses] == [LOST, "completed"]
    assert [response.id for response in streamed.bill.responses] == [
        response.response_id for response in streamed.result.responses
    ]


@pytest.mark.parametrize(
    ("moment", "status", "creates"),
    [
        ("POST not taken", AgentStatus.COMPLETED, 1),
        ("POST taken", AgentStatus.COMPLETED, 2),
        ("POST of a stream taken", AgentStatus.COMPLETED, 2),
        ("POST not taken, fail", AgentStatus.FAILED, 0),
        ("POST taken, fail", AgentStatus.FAILED, 1),
    ],
)
def test_a_create_whose_outcome_is_unknown_is_followed_by_one_more_at_most(
    killed_worker: KilledWorker, moment: str, status: AgentStatus, creates: int
) -> None:
    ended = killed_worker.ended[moment]
    assert (ended.result.status, ended.bill.counts.creates_accepted) == (status, creates)


@pytest.mark.parametrize("moment", [moment for moment in KILLED_WORKER if moment.startswith("POST")])
def test_a_create_whose_outcome_is_unknown_is_shown(killed_worker: KilledWorker, moment: str) -> None:
    ended = killed_worker.ended[moment]
    assert (ended.result.ambiguous_creates, ended.state.ambiguous_creates) == (1, 1)


def test_the_second_create_says_that_it_is_one(killed_worker: KilledWorker) -> None:
    responses = killed_worker.ended["POST taken"].bill.responses
    assert [response.metadata["attempt"] for response in responses] == ["1", "2"]


def test_a_run_that_must_not_create_again_says_why_it_failed(killed_worker: KilledWorker) -> None:
    error = killed_worker.ended["POST taken, fail"].result.error
    assert error is not None
    assert error.type == FailureType.CREATE_AMBIGUOUS


def test_progress_in_mid_response_is_the_same_after_the_crash(killed_worker: KilledWorker) -> None:
    before, after = killed_worker.before, killed_worker.after
    assert (before.iteration, before.usage.total_tokens > 0) == (2, True)
    assert (after.iteration, after.response_id, after.usage) == (before.iteration, before.response_id, before.usage)


def test_the_preview_is_no_older_than_the_last_report_after_the_crash(killed_worker: KilledWorker) -> None:
    assert last_line(killed_worker.after.preview) >= last_line(killed_worker.before.preview) > 0


async def test_a_run_killed_between_create_and_wait_waits_for_the_response_it_created(deployment: Deployment) -> None:
    """A19: the id is in history before anything else happens."""
    async with deployment.worker([Queue.AGENTS, Queue.CREATE, Queue.TOOLS]) as first:
        run = await deployment.start("created", [ANSWER], transport=BACKGROUND)
        created = await until(lambda: response_id_of(run))
        first.kill()
    async with deployment.worker():
        ended = await Ended.of("between create and wait", run)
    ended.assert_completed_with_one_create_for_each_iteration(1)
    assert ended.result.response_id == created


# --- the Temporal server, the provider, everything ---------------------------------------------------------------

KILLED_SERVERS: dict[str, Arrive] = {
    "waiting": waiting(2),
    "pure tool": in_a_tool("look"),
    "once tool": in_a_tool("send"),
}


@pytest.fixture
async def own_temporal(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    async with await TemporalServer.on(tmp_path / "temporal") as temporal:
        yield temporal


@pytest.fixture
async def own_emulator(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess(tmp_path / "emulator") as emulator:
        yield emulator


async def test_runs_outlive_the_temporal_server(
    own_temporal: TemporalServer, emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    """A20."""
    deployment = Deployment(own_temporal, await own_temporal.client(), emulator_process, tmp_path)
    async with deployment.worker():
        runs = await all_arrived(KILLED_SERVERS, deployment)
        own_temporal.kill()
        deployment.open_gates()
        await own_temporal.start()
        ended = await all_ended(runs)
    for run in ended.values():
        run.assert_completed_with_one_create_for_each_iteration(2)
    assert deployment.gate("background-send").runs == 1


async def test_runs_outlive_everything_at_once(
    own_temporal: TemporalServer, own_emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """A20."""
    deployment = Deployment(own_temporal, await own_temporal.client(), own_emulator, tmp_path)
    async with deployment.worker() as worker:
        runs = await all_arrived(KILLED_SERVERS, deployment)
        for process in (own_temporal, own_emulator, worker):
            process.kill()
        deployment.open_gates()
        for process in (own_temporal, own_emulator, worker):
            await process.start()
        ended = await all_ended(runs)
    for run in ended.values():
        run.assert_completed_with_one_create_for_each_iteration(2)
    assert deployment.gate("background-send").runs == 1


async def test_runs_outlive_the_provider(
    temporal: TemporalServer, client: Client, own_emulator: EmulatorProcess, tmp_path: Path
) -> None:
    deployment = Deployment(temporal, client, own_emulator, tmp_path)
    async with deployment.worker():
        runs = await all_arrived({"waiting": waiting(2), "pure tool": in_a_tool("look")}, deployment)
        own_emulator.kill()
        deployment.open_gates()
        await own_emulator.start()
        ended = await all_ended(runs)
    for run in ended.values():
        run.assert_completed_with_one_create_for_each_iteration(2)


async def test_a_run_waits_for_a_provider_that_is_not_reachable(
    temporal: TemporalServer, client: Client, own_emulator: EmulatorProcess, tmp_path: Path
) -> None:
    deployment = Deployment(temporal, client, own_emulator, tmp_path)
    deployment.open_gates()
    async with deployment.worker():
        own_emulator.kill()
        run = await deployment.start_only(transport=BACKGROUND)

        async def turned_away() -> bool:
            heartbeat = await run.heartbeat_of("create_response")
            return heartbeat is not None and heartbeat.phase is CreatePhase.REJECTED

        await until(turned_away)
        assert (await run.progress()).status is AgentStatus.QUEUED
        await own_emulator.start()
        ended = await Ended.of("provider not reachable", run)
    ended.assert_completed_with_one_create_for_each_iteration(ended.result.iterations)
    assert ended.result.ambiguous_creates == 0


async def test_a_stream_cut_by_the_death_of_the_provider_is_read_by_id(
    temporal: TemporalServer, client: Client, own_emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """A27: the emulator keeps a stored response that was under way when it died."""
    deployment = Deployment(temporal, client, own_emulator, tmp_path)
    async with deployment.worker():
        run = await streaming(deployment)
        own_emulator.kill()
        await own_emulator.start()
        ended = await Ended.of("stream cut by the provider's death", run)
    ended.assert_completed_with_one_create_for_each_iteration(1)
    assert ended.result.output_text == LONG_TEXT


# --- SIGTERM -----------------------------------------------------------------------------------------------------


LEAVING_WORKER: dict[str, Arrive] = {
    "waiting": waiting(3),
    "once tool": in_a_tool("send"),
    "streaming": streaming,
    "POST under way": posting(taken=True, seconds=3),
}


@dataclass
class LeftWorker:
    """Runs that were at different moments when their worker was told to stop, while another one was there."""

    deployment: Deployment
    ended: dict[str, Ended]
    exit_code: int


@pytest.fixture(scope="module")
async def left_worker(
    temporal: TemporalServer,
    client: Client,
    emulator_process: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> LeftWorker:
    deployment = Deployment(temporal, client, emulator_process, tmp_path_factory.mktemp("left-worker"))
    async with deployment.worker() as first:
        runs = await all_arrived(LEAVING_WORKER, deployment)
        async with deployment.worker():
            leaving = asyncio.create_task(first.terminate(timeout=45))
            deployment.gate("waiting").open()
            await runs["waiting"].result()
            deployment.open_gates()
            return LeftWorker(deployment, await all_ended(runs), await leaving)


@pytest.mark.parametrize(
    ("moment", "iterations"), [("waiting", 2), ("once tool", 2), ("streaming", 1), ("POST under way", 1)]
)
def test_a_worker_that_is_told_to_stop_hands_over(left_worker: LeftWorker, moment: str, iterations: int) -> None:
    left_worker.ended[moment].assert_completed_with_one_create_for_each_iteration(iterations)


def test_a_worker_that_is_told_to_stop_ends_well(left_worker: LeftWorker) -> None:
    assert left_worker.exit_code == 0


@pytest.mark.parametrize("moment", list(LEAVING_WORKER))
def test_a_worker_that_is_told_to_stop_cancels_nothing_at_the_provider(left_worker: LeftWorker, moment: str) -> None:
    assert {response.status for response in left_worker.ended[moment].bill.responses} == {"completed"}


def test_a_worker_that_is_told_to_stop_lets_its_tools_end(left_worker: LeftWorker) -> None:
    (call,) = left_worker.ended["once tool"].state.function_calls
    assert (call.status, left_worker.deployment.gate("background-send").runs) == (CallStatus.SUCCEEDED, 1)


# --- the preview -------------------------------------------------------------------------------------------------

PARTS = ["".join(f"{part} {number}. " for number in range(200)) for part in ("first", "second", "third")]


@pytest.mark.parametrize(
    "options",
    [{"transport": BACKGROUND}, {"transport": BACKGROUND, "live_preview": True}, {"transport": STREAM}],
    ids=["background", "background with live preview", "stream"],
)
async def test_after_every_iteration_the_preview_is_the_tail_of_all_text_so_far(
    deployment: Deployment, options: dict[str, Any]
) -> None:
    """A15: the last 4000 characters, over all responses."""
    turns = [
        Script(output=[Text(text=text), calls("look", f"after-{number}")], write=0) for number, text in enumerate(PARTS)
    ]
    async with deployment.worker():
        run = await deployment.start("preview", [*turns, ANSWER], **options)
        for number in range(len(PARTS)):
            gate = deployment.gate(f"after-{number}")
            await until(gate.has_begun)
            assert (await run.progress()).preview == "".join(PARTS[: number + 1])[-PREVIEW_CHARACTERS:]
            gate.open()
        await run.result()
        assert (await run.progress()).preview == ("".join(PARTS) + "Done.")[-PREVIEW_CHARACTERS:]
