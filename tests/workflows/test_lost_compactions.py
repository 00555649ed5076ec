"""Compactions without an id whose answers are lost; and what a run asks its owner when compacting has not helped.

The emulator is the provider: it bills a compaction whose answer nobody gets.
"""

import json
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.emulator.faults import (
    Effect,
    ExceedContext,
    Excess,
    Fault,
    Operation,
    RefuseItem,
    RejectChain,
    Reset,
)
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.settings import Settings
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentStatus,
    InputRequestKind,
    OnRefusal,
    TransportChoice,
)
from durable_responses.workflows.ledger import AMBIGUOUS
from durable_responses.workflows.response_source import TWICE_LOST
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, agents_at, progress, reached, result_of

WINDOW = 4_000
CALLS = f'calls?iterations=30&tool=add&arguments={{"a":1,"b":2}}&context_window={WINDOW}'
TASK = "Add. " * 2_800


def asks(**fields: Any) -> AgentInput:
    given = {"metadata": {"scenario": CALLS}, "context_window": WINDOW, "tools": ["add"], **fields}
    return AgentInput(**{"task": TASK, "transport": TransportChoice.BACKGROUND, "max_iterations": 60, **given})


async def order(agents: Agents, operation: Operation, effect: Effect, times: int | None = None) -> None:
    await agents.emulator.control.add_fault(Fault(operation=operation, effect=effect, times=times))


def listed(result: AgentResult, status: str) -> int:
    return sum(entry.status == status for entry in result.responses)


@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_a_compaction_whose_answer_is_lost_is_asked_for_once_more(
    client: Client, emulator: RunningEmulator, settings: Settings, transport: TransportChoice
) -> None:
    async with agents_at(emulator, client, emulator, settings) as agents:
        await order(agents, Operation.CREATE, RefuseItem())
        await order(agents, Operation.COMPACT, Reset(processed=True), times=1)
        result = await agents.run(asks(transport=transport))
        bill = await emulator.control.billing()
    assert (result.status, result.error, result.iterations) == (AgentStatus.COMPLETED, None, 31)
    assert (listed(result, AMBIGUOUS), result.ambiguous_creates) == (1, 1)
    assert listed(result, "compaction") + 1 == len(bill.compactions)
    assert [entry.status for entry in result.responses].index(AMBIGUOUS) > 0


async def test_a_compaction_whose_answer_is_lost_twice_is_given_up(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    """Both are listed, none is posted a third time, and the run goes on as it is until the provider refuses it."""
    async with agents_at(emulator, client, emulator, settings) as agents:
        await order(agents, Operation.CREATE, RefuseItem())
        await order(agents, Operation.COMPACT, Reset(processed=True))
        result = await agents.run(asks(on_refusal=OnRefusal.FAIL))
        bill = await emulator.control.billing()
    assert result.error is not None
    assert (result.status, result.error.code) == (AgentStatus.FAILED, "context_length_exceeded")
    assert (listed(result, AMBIGUOUS), result.ambiguous_creates, len(bill.compactions)) == (2, 2, 2)
    assert any(TWICE_LOST in change for change in result.request_changes)


async def test_what_could_not_be_compacted_is_compacted_when_the_owner_has_it_tried_again(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    async with agents_at(emulator, client, emulator, settings) as agents:
        await order(agents, Operation.CREATE, RefuseItem())
        await order(agents, Operation.COMPACT, Reset(processed=True), times=2)
        run = await agents.start(asks())
        state = await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
        assert state.input_requests[0].kind is InputRequestKind.REFUSAL
        await run.execute_update("respond", "retry")
        result = await result_of(run)
    assert (result.status, result.error, result.iterations) == (AgentStatus.COMPLETED, None, 31)
    assert (listed(result, AMBIGUOUS), listed(result, "compaction") > 0) == (2, True)


@pytest.mark.parametrize("how", Excess)
@pytest.mark.parametrize("answer", ["retry", "stop"])
async def test_what_is_too_long_after_its_compaction_as_well_is_a_question_to_the_owner(
    client: Client, emulator: RunningEmulator, settings: Settings, how: Excess, answer: str
) -> None:
    """The first refusal is answered by a compaction, the next one by the owner."""
    transport = TransportChoice.STREAM if how is Excess.EVENT else TransportChoice.BACKGROUND
    scenario = {"scenario": 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'}
    async with agents_at(emulator, client, emulator, settings) as agents:
        excess = ExceedContext(how=how, always=True)
        for skip, times in ((1, 1), (1, 1)):  # the first create, then all but the compaction
            fault = Fault(operation=Operation.CREATE, effect=excess, times=times, skip=skip)
            await emulator.control.add_fault(fault)
        run = await agents.start(asks(task="Add.", metadata=scenario, transport=transport, context_window=100_000))
        state = await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
        [request] = state.input_requests
        assert (request.kind, request.choices) == (InputRequestKind.REFUSAL, ["retry", "stop"])
        assert request.error is not None
        assert request.error.code == "context_length_exceeded"
        assert len(state.compactions) == 1
        await run.execute_update("respond", answer)
        result = await result_of(run)
        final = await progress(run)
    assert listed(result, "compaction") == len(final.compactions) == 1
    if answer == "retry":
        assert (result.status, result.error, result.iterations) == (AgentStatus.COMPLETED, None, 3)
    else:
        assert result.error is not None
        assert (result.status, result.error.code) == (AgentStatus.FAILED, "context_length_exceeded")


async def test_a_chain_that_is_refused_after_a_compaction_is_rebuilt_from_it_on(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    """What the compaction stands for is not sent again; its output is read at the provider, once more."""
    settings = settings.model_copy(update={"conversation_memory": 0})
    async with agents_at(emulator, client, emulator, settings) as agents:
        # The compaction is the first that continues from a response, the second turn after it the next.
        fault = Fault(operation=Operation.CREATE, effect=RejectChain(), skip=1, times=1)
        await emulator.control.add_fault(fault)
        run = await agents.start(asks())
        result = await result_of(run)
        bills = await agents.responses(run)
        async with ResponsesClient(emulator.base_url, None) as provider:
            given = [await provider.input_items(bill.id) for bill in bills if bill.previous_response_id is None]
    assert (result.status, result.error, result.iterations) == (AgentStatus.COMPLETED, None, 31)
    assert result.in_full
    opening, *rebuilt = [json.dumps([item.model_dump(mode="json") for item in items]) for items in given]
    assert TASK in opening
    assert len(rebuilt) > 1
    assert all("compaction" in items and TASK not in items for items in rebuilt)
