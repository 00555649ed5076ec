"""Stopping a run: in every phase, by signal and by Temporal's cancel. It really stops, soon, and says what it cost."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError

from durable_responses.emulator.faults import Answer, Delay, Fault, FinishFirst, Operation
from durable_responses.provider import Provider
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.settings import Settings
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    CallStatus,
    TransportChoice,
)
from durable_responses.workflows.interruptions import StopRequest
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, progress, reached, result_of, until, working

Cancel = Callable[[WorkflowHandle[Any, Any]], Awaitable[None]]
PROMISED = 2.0  # seconds until the provider has been told


def asks(scenario: str, transport: TransportChoice = TransportChoice.BACKGROUND, **fields: Any) -> AgentInput:
    return AgentInput(task="Do it.", transport=transport, metadata={"scenario": scenario}, **fields)


async def by_signal(run: WorkflowHandle[Any, Any]) -> None:
    await run.signal("cancel", "enough")


async def by_temporal(run: WorkflowHandle[Any, Any]) -> None:
    await run.cancel()


CANCELS = pytest.mark.parametrize("cancel", [by_signal, by_temporal])


def test_the_first_reason_to_stop_counts() -> None:
    stop = StopRequest()
    stop.make("no longer needed")
    stop.make("asked again")
    assert (stop.requested, stop.reason) == (True, "no longer needed")


async def end_of(run: WorkflowHandle[Any, Any], cancel: Cancel) -> AgentState:
    """Wait until the run has ended as its way of being cancelled demands, and return its last state."""
    if cancel is by_signal:
        result = await result_of(run)
        assert (result.status, result.cancel_reason) == (AgentStatus.CANCELLED, "enough")
        assert (await run.describe()).status is WorkflowExecutionStatus.COMPLETED
    else:
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(run.result(), 30)
        assert isinstance(failure.value.cause, CancelledError)
        assert (await run.describe()).status is WorkflowExecutionStatus.CANCELED
    return await progress(run)


async def nothing_in_flight(agents: Agents, run: WorkflowHandle[Any, Any]) -> bool:
    bill = await agents.emulator.control.billing(workflow_id=run.id)
    return bill.counts.in_flight == 0


@CANCELS
async def test_a_run_that_waits_is_cancelled_at_the_provider(agents: Agents, cancel: Cancel) -> None:
    """A8: and its usage is recorded."""
    run = await agents.start(asks("think?seconds=60"))
    await reached(run, lambda state: state.response_status == "in_progress" or state.response_id is not None)
    await cancel(run)
    state = await end_of(run, cancel)
    [bill] = await agents.responses(run)
    assert bill.status == ResponseStatus.CANCELLED
    assert (state.status, state.cancel_requested) == (AgentStatus.CANCELLED, True)
    assert state.usage.total_tokens == bill.input_tokens + bill.output_tokens


@pytest.mark.parametrize(
    ("phase", "transport"),
    [
        ("waiting", TransportChoice.BACKGROUND),
        ("streaming", TransportChoice.STREAM),
        ("streaming", TransportChoice.WEBSOCKET),
        ("creating", TransportChoice.BACKGROUND),
    ],
)
async def test_the_provider_is_told_within_two_seconds(agents: Agents, phase: str, transport: TransportChoice) -> None:
    """A8, A9, W19: the median of five runs, printed."""
    if phase == "creating":
        slow = Fault(operation=Operation.CREATE, effect=Delay(seconds=1.0, processed=True), times=None)
        await agents.emulator.control.add_fault(slow)
    delays = []
    for _ in range(5):
        run = await agents.start(asks("think?seconds=60", transport))
        await until(lambda run=run: _has_response(agents, run))  # type: ignore[misc]
        told_at = time.time()
        await run.signal("cancel")
        result = await result_of(run)
        assert result.status is AgentStatus.CANCELLED
        [bill] = await agents.responses(run)
        assert bill.finished_at is not None
        delays.append(bill.finished_at - told_at)
    median, most = statistics.median(delays), max(delays)
    print(f"\ncancel to provider while {phase} ({transport}): median {median:.3f} s, most {most:.3f} s")
    assert median < PROMISED


async def _has_response(agents: Agents, run: WorkflowHandle[Any, Any]) -> bool:
    return len(await agents.responses(run)) == 1


@CANCELS
async def test_a_stream_is_cancelled_by_closing_its_connection(agents: Agents, cancel: Cancel) -> None:
    """A16: and the text so far is kept."""
    run = await agents.start(asks("write?words=2000&seconds=60", TransportChoice.STREAM))
    await reached(run, lambda state: state.response_id is not None)
    await cancel(run)
    state = await end_of(run, cancel)
    await until(lambda: nothing_in_flight(agents, run))
    assert state.status is AgentStatus.CANCELLED
    if cancel is by_signal:
        assert (await result_of(run)).output_text.startswith("word1 ")


@CANCELS
async def test_a_response_whose_create_is_under_way_is_cancelled_too(agents: Agents, cancel: Cancel) -> None:
    """A9: the POST ends, and what it created is no orphan."""
    slow = Fault(operation=Operation.CREATE, effect=Delay(seconds=1.5, processed=True))
    await agents.emulator.control.add_fault(slow)
    run = await agents.start(asks("think?seconds=60"))
    await until(lambda: _has_response(agents, run))
    assert (await progress(run)).status is AgentStatus.QUEUED
    await cancel(run)
    state = await end_of(run, cancel)
    [bill] = await agents.responses(run)
    assert (bill.status, state.response_id) == (ResponseStatus.CANCELLED, bill.id)


@CANCELS
@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_a_create_that_is_turned_away_is_given_up(
    agents: Agents, cancel: Cancel, transport: TransportChoice
) -> None:
    busy = Answer(status=429, code="rate_limit_exceeded", headers={"retry-after": "30"})
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=busy, times=None))
    run = await agents.start(asks("echo", transport))

    async def refused() -> bool:
        return bool((await agents.emulator.control.billing(workflow_id=run.id)).counts.creates_rejected)

    await until(refused)
    await cancel(run)
    await end_of(run, cancel)
    assert await agents.responses(run) == []


@CANCELS
async def test_a_run_without_a_worker_for_its_create_is_cancelled_at_once(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings, cancel: Cancel
) -> None:
    """A16: a job without a response yet. Cancelled before a worker was up, and while it queues for a slot."""
    one = settings.model_copy(update={"max_responses_in_flight": 1})
    agents = Agents(client, emulator, one)
    early = await agents.start(asks("echo"))
    await cancel(early)
    async with working(client, provider, one):
        await end_of(early, cancel)
        running = await agents.start(asks("think?seconds=60"))
        await reached(running, lambda state: state.status is AgentStatus.RUNNING)
        queued = await agents.start(asks("echo"))
        assert (await progress(queued)).status is AgentStatus.QUEUED
        await cancel(queued)
        await end_of(queued, cancel)
        assert await agents.responses(queued) == []
        await cancel(running)
        await end_of(running, cancel)


@CANCELS
async def test_running_tools_are_cancelled(agents: Agents, settings: Settings, cancel: Cancel) -> None:
    run = await agents.start(asks("calls?tool=wait_long&arguments={}"))
    await until(lambda: _exists(settings.workspace / "started"))
    await cancel(run)
    state = await end_of(run, cancel)
    assert (settings.workspace / "cancelled").exists()
    assert [call.status for call in state.function_calls] == [CallStatus.UNKNOWN]


@CANCELS
async def test_a_tool_that_cannot_be_stopped_is_not_waited_for(
    agents: Agents, settings: Settings, cancel: Cancel
) -> None:
    run = await agents.start(asks(f"calls?tool=block&arguments={json.dumps({'seconds': 8})}"))
    await until(lambda: _exists(settings.workspace / "started"))
    since = time.monotonic()
    await cancel(run)
    state = await end_of(run, cancel)
    assert time.monotonic() - since < 7
    assert [call.status for call in state.function_calls] == [CallStatus.UNKNOWN]


async def _exists(path: Path) -> bool:
    return path.exists()


@CANCELS
@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_a_run_that_is_busy_with_short_iterations_is_cancelled(
    agents: Agents, cancel: Cancel, transport: TransportChoice
) -> None:
    run = await agents.start(
        asks('calls?iterations=1000&tool=add&arguments={"a":1,"b":1}', transport, max_iterations=1000)
    )
    await reached(run, lambda state: state.iteration >= 3)
    await cancel(run)
    state = await end_of(run, cancel)
    assert state.status is AgentStatus.CANCELLED
    await until(lambda: nothing_in_flight(agents, run))
    done = await agents.responses(run)
    assert len(done) == state.iteration or len(done) == state.iteration - 1


async def test_a_cancel_that_comes_after_completion_tells_one_truth(agents: Agents) -> None:
    """A8: what had completed is recorded with its usage, and all places agree."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.CANCEL, effect=FinishFirst()))
    run = await agents.start(asks("think?seconds=60"))
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("cancel")
    result = await result_of(run)
    [bill] = await agents.responses(run)
    assert (result.status, bill.status) == (AgentStatus.CANCELLED, ResponseStatus.COMPLETED)
    assert [entry.status for entry in result.responses] == ["completed"]
    assert result.usage.output_tokens == bill.output_tokens > 0
    assert (await progress(run)).status is AgentStatus.CANCELLED


async def test_a_cancel_of_a_finished_run_changes_nothing(agents: Agents) -> None:
    """A18: terminal statuses absorb."""
    run = await agents.start(asks("echo"))
    result = await result_of(run)
    with pytest.raises(Exception, match="already completed"):
        await run.signal("cancel")
    assert (await progress(run)).status is result.status is AgentStatus.COMPLETED


async def test_a_cancel_that_the_provider_answers_with_errors_is_repeated(agents: Agents) -> None:
    """A8: retried on transient errors."""
    await agents.emulator.control.add_fault(
        Fault(operation=Operation.CANCEL, effect=Answer(status=500, message="no"), times=2)
    )
    run = await agents.start(asks("think?seconds=60"))
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("cancel")
    assert (await result_of(run)).status is AgentStatus.CANCELLED
    assert [bill.status for bill in await agents.responses(run)] == [ResponseStatus.CANCELLED]


@pytest.mark.parametrize("arguments", [[], [None], [7], [{"reason": "x"}], [["a"]], ["a", "b", 3]])
async def test_a_cancel_is_understood_whatever_comes_with_it(agents: Agents, arguments: list[Any]) -> None:
    run = await agents.start(asks("think?seconds=60"))
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("cancel", args=arguments)
    assert (await result_of(run)).status is AgentStatus.CANCELLED


@pytest.mark.parametrize("arguments", [[], ["text"], [{"preview": 7}], [{"preview": "x"}, 1, 2]])
async def test_a_report_that_cannot_be_read_does_no_harm(agents: Agents, arguments: list[Any]) -> None:
    run = await agents.start(asks("think?seconds=0.5"))
    await run.signal("report_progress", args=arguments)
    assert (await result_of(run)).status is AgentStatus.COMPLETED


async def test_repeated_cancels_of_both_kinds_end_the_run_once(agents: Agents) -> None:
    run = await agents.start(asks("think?seconds=60"))
    await reached(run, lambda state: state.response_id is not None)
    await asyncio.gather(run.signal("cancel", "first"), run.cancel(), run.signal("cancel", "second"))
    with pytest.raises(WorkflowFailureError) as failure:
        AgentResult.model_validate(await run.result())
    assert isinstance(failure.value.cause, CancelledError)
    assert [bill.status for bill in await agents.responses(run)] == [ResponseStatus.CANCELLED]
