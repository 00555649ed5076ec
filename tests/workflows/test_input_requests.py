"""Whole runs that need something from their owner: they wait, and go on with the answer."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from durable_responses.emulator.faults import Answer, Delay, End, Fault, Operation
from durable_responses.emulator.model.script import Ending
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.workflows.contract import (
    AgentInput,
    AgentState,
    AgentStatus,
    IncompleteReason,
    InputRequest,
    InputRequestStatus,
    TransportChoice,
)
from tests.support.runs import Agents, progress, reached, result_of

QUOTA = Answer(status=429, code="insufficient_quota", error_type="insufficient_quota", message="No credit is left.")
KEY = Answer(status=401, code="invalid_api_key", message="Incorrect API key provided.")
GONE = Answer(status=404, code="model_not_found", message="The model does not exist.")
FORBIDDEN = Answer(status=403, code="account_deactivated", message="The account is deactivated.")
TRANSPORTS = [TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET]
CALLS = 'calls?iterations=4&tool=add&arguments={"a":1,"b":2}'

Run = WorkflowHandle[Any, Any]


def asks(scenario: str = CALLS, transport: TransportChoice = TransportChoice.BACKGROUND, **fields: Any) -> AgentInput:
    return AgentInput(task="Do it.", transport=transport, metadata={"scenario": scenario}, **fields)


async def refused(agents: Agents, effect: Answer = QUOTA, *, skip: int = 2, times: int | None = 1) -> None:
    """The provider will refuse creates."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=effect, skip=skip, times=times))


async def asked(run: Run) -> InputRequest:
    """The request that the run waits with."""
    state = await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
    return opened(state)


def opened(state: AgentState) -> InputRequest:
    [request] = [request for request in state.input_requests if request.is_open]
    return request


async def respond(run: Run, *arguments: Any) -> InputRequest:
    return InputRequest.model_validate(await run.execute_update("respond", args=arguments))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("effect", [QUOTA, KEY, GONE, FORBIDDEN], ids=["quota", "key", "model", "account"])
async def test_a_run_that_is_refused_waits_for_its_owner_and_pays_nothing_twice(
    agents: Agents, transport: TransportChoice, effect: Answer
) -> None:
    """A28."""
    await refused(agents, effect)
    run = await agents.start(asks(transport=transport))
    request = await asked(run)
    assert effect.message in request.message
    answered = await respond(run, {"id": request.id, "answer": "retry", "by": "Ada"})
    assert (answered.status, answered.by) == (InputRequestStatus.ANSWERED, "Ada")
    result = await result_of(run)
    assert (result.status, result.iterations) == (AgentStatus.COMPLETED, 5)
    assert [(request.answer, request.by) for request in result.requests] == [("retry", "Ada")]
    assert [bill.metadata["iteration"] for bill in await agents.responses(run)] == ["1", "2", "3", "4", "5"]


async def test_a_run_without_a_response_to_lose_fails_at_once(agents: Agents) -> None:
    await refused(agents, KEY, skip=0)
    result = await agents.run(asks())
    assert (result.status, result.requests) == (AgentStatus.FAILED, [])


async def test_a_run_may_want_to_wait_from_the_first_create_on(agents: Agents) -> None:
    await refused(agents, KEY, skip=0)
    run = await agents.start(asks(on_refusal="pause"))
    await asked(run)
    await respond(run, "retry")
    assert (await result_of(run)).status is AgentStatus.COMPLETED


async def test_a_run_may_want_to_fail_in_any_case(agents: Agents) -> None:
    await refused(agents)
    result = await agents.run(asks(on_refusal="fail"))
    assert result.error is not None
    assert (result.status, result.error.type, result.iterations) == (AgentStatus.FAILED, "quota_exhausted", 3)


async def test_an_owner_who_stops_a_refused_run_gets_what_it_has(agents: Agents) -> None:
    await refused(agents)
    run = await agents.start(asks())
    request = await asked(run)
    await respond(run, request.id, "stop")
    result = await result_of(run)
    assert result.error is not None
    assert (result.status, result.error.type) == (AgentStatus.FAILED, "quota_exhausted")
    assert result.usage.total_tokens > 0


async def test_a_run_that_is_refused_until_a_time_goes_on_by_itself(agents: Agents) -> None:
    effect = QUOTA.model_copy(update={"headers": {"retry-after": "1"}})
    await refused(agents, effect)
    result = await agents.run(asks())
    assert result.status is AgentStatus.COMPLETED
    assert [request.status for request in result.requests] == [InputRequestStatus.RESUMED]


async def test_a_response_that_fails_for_want_of_credit_is_created_again_once_there_is_some(agents: Agents) -> None:
    ending = Ending(status=ResponseStatus.FAILED, code="insufficient_quota", message="You exceeded your current quota.")
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=End(ending=ending), skip=2))
    run = await agents.start(asks())
    await respond(run, (await asked(run)).id, "retry")
    assert (await result_of(run)).status is AgentStatus.COMPLETED


@pytest.mark.parametrize("status", [401, 403])
async def test_a_response_that_may_no_longer_be_read_is_read_when_that_is_mended(agents: Agents, status: int) -> None:
    """Not created again: it was paid for."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Answer(status=status), times=1))
    run = await agents.start(asks("think?seconds=0.1"))
    await respond(run, (await asked(run)).id, "retry")
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert len(await agents.responses(run)) == 1


@pytest.mark.parametrize("how", ["signal", "temporal"])
async def test_a_run_that_waits_can_be_cancelled(agents: Agents, how: str) -> None:
    await refused(agents)
    run = await agents.start(asks())
    await asked(run)
    await (run.signal("cancel", "enough") if how == "signal" else run.cancel(reason="enough"))
    state = await reached(run, lambda state: state.status is AgentStatus.CANCELLED)
    assert [request.status for request in state.input_requests] == [InputRequestStatus.WITHDRAWN]


async def test_the_deadline_ends_a_run_that_waits(agents: Agents) -> None:
    await refused(agents)
    result = await agents.run(asks(deadline=3))
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)


async def test_a_message_to_the_model_waits_with_the_run(agents: Agents) -> None:
    await refused(agents)
    run = await agents.start(asks())
    request = await asked(run)
    await run.signal("steer", "Be brief.")
    await respond(run, request.id, "retry")
    result = await result_of(run)
    assert result.status is AgentStatus.COMPLETED
    assert [steer.status for steer in (await progress(run)).steers] == ["next_input"]


async def test_an_answer_by_signal_counts_as_well(agents: Agents) -> None:
    await refused(agents)
    run = await agents.start(asks())
    request = await asked(run)
    await run.signal("respond", {"id": request.id, "answer": "perhaps"})
    again = opened(await reached(run, lambda state: opened(state).asked_as > request.asked_as))
    assert (again.id, again.not_taken) == (request.id, '"perhaps" does not answer refusal-1: send retry or stop.')
    await run.signal("respond", {"id": request.id, "answer": "retry"})
    assert (await result_of(run)).status is AgentStatus.COMPLETED


async def test_a_refused_answer_leaves_no_trace_in_history(agents: Agents) -> None:
    """A28."""
    await refused(agents)
    run = await agents.start(asks())
    request = await asked(run)
    before = (await run.describe()).history_length
    for answer in ({"id": request.id, "answer": "perhaps"}, {"id": "refusal-9", "answer": "retry"}, {}):
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await respond(run, answer)
        assert caught.value.cause is not None
    assert (await run.describe()).history_length == before
    await respond(run, request.id, "stop")


async def test_an_answer_given_twice_does_not_answer_the_next_question(agents: Agents) -> None:
    await refused(agents, times=2)
    run = await agents.start(asks())
    first = await asked(run)
    await respond(run, {"id": first.id, "answer": "retry"})
    second = opened(await reached(run, lambda state: len(state.input_requests) == 2))
    assert (await respond(run, {"id": first.id, "answer": "retry"})).id == first.id
    with pytest.raises(WorkflowUpdateFailedError):
        await respond(run, "retry")
    assert (await progress(run)).input_requests[-1].is_open
    await respond(run, {"id": second.id, "answer": "retry"})
    assert (await result_of(run)).status is AgentStatus.COMPLETED


async def test_a_request_that_is_over_says_what_became_of_it(agents: Agents) -> None:
    await refused(agents, times=2)
    run = await agents.start(asks())
    first = await asked(run)
    await respond(run, {"id": first.id, "answer": "retry", "by": "Ada"})
    await reached(run, lambda state: len(state.input_requests) == 2)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await respond(run, {"id": first.id, "answer": "stop"})
    assert f"{first.id} is already over: answered retry by Ada" in str(caught.value.cause)
    await run.signal("cancel")


async def test_more_iterations_can_be_asked_for(agents: Agents) -> None:
    run = await agents.start(asks(max_iterations=2, on_max_iterations="ask"))
    request = await asked(run)
    await respond(run, request.id, 3)
    request = opened(await reached(run, lambda state: len(state.input_requests) == 2))
    await respond(run, request.id, 10)
    result = await result_of(run)
    assert (result.status, result.iterations) == (AgentStatus.COMPLETED, 5)


async def test_an_owner_who_allows_no_more_iterations_gets_the_text_so_far(agents: Agents) -> None:
    run = await agents.start(asks(max_iterations=2, on_max_iterations="ask"))
    await respond(run, (await asked(run)).id, "stop")
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.MAX_ITERATIONS)


async def test_more_time_can_be_asked_for(agents: Agents) -> None:
    run = await agents.start(asks("think?seconds=2", deadline=0.5, on_deadline="ask"))
    await respond(run, (await asked(run)).id, 60)
    assert (await result_of(run)).status is AgentStatus.COMPLETED


async def test_a_run_whose_time_is_up_and_that_gets_no_more_ends_with_what_it_has(agents: Agents) -> None:
    run = await agents.start(asks("think?seconds=60", deadline=0.5, on_deadline="ask"))
    await respond(run, (await asked(run)).id, "stop")
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)
    [bill] = await agents.responses(run)
    assert bill.status == "cancelled"


async def test_of_the_runs_that_try_again_at_the_same_time_one_probes(agents: Agents) -> None:
    """The others wait for what it hears, and are not sent meanwhile."""
    third = {"iteration": "3"}
    effect = QUOTA.model_copy(update={"headers": {"retry-after": "4"}})
    await agents.emulator.control.add_fault(
        Fault(operation=Operation.CREATE, effect=effect, metadata=third, times=None)
    )
    runs = [await agents.start(asks()) for _ in range(COUNT)]
    for run in runs:
        await asked(run)
    await agents.emulator.control.clear_faults()
    slow = Delay(seconds=30)
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=slow, metadata=third, times=None))
    async with asyncio.timeout(60):
        while sum([await is_held(run) for run in runs]) < COUNT - 1:
            await asyncio.sleep(0.05)
    states = [await progress(run) for run in runs]
    assert [len(state.input_requests) for state in states] == [1] * COUNT
    for run in runs:
        await run.signal("cancel")
    await agents.emulator.control.advance(30)  # the worker's end would wait for the answer


COUNT = 3


async def is_held(run: Run) -> bool:
    """Whether a run that tries again waits for what another one hears."""
    waiting = (await progress(run)).waiting
    return waiting is not None and "another run" in waiting.what
