"""Agent runs over a WebSocket: the socket is kept from turn to turn, and steering messages reach the model."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from durable_responses.activities.messages import SteerStatus
from durable_responses.emulator.faults import Answer, Fault, Operation, RefuseSteer, RejectChain
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.emulator.state.lifecycle import Transport
from durable_responses.provider import Provider
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import FunctionCallOutput
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentStatus, TransportChoice
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, progress, reached, result_of, until, working

WEBSOCKET, STREAM, BACKGROUND = TransportChoice.WEBSOCKET, TransportChoice.STREAM, TransportChoice.BACKGROUND
ADD = FunctionCallStep(name="add", arguments={"a": 1, "b": 2})
CALLS = 'calls?iterations=6&tool=add&arguments={"a":1,"b":2}'
ANSWER = Script(output=[Text(text="Done.")], write=0)
BRIEF = "Be brief."


def asks(scenario: str, transport: TransportChoice = WEBSOCKET, **fields: Any) -> AgentInput:
    """A run that the emulator answers by this scenario."""
    return AgentInput(task="Do it.", transport=transport, metadata={"scenario": scenario}, **fields)


async def scripted(
    agents: Agents, turns: list[Script], transport: TransportChoice = WEBSOCKET, **fields: Any
) -> WorkflowHandle[Any, Any]:
    """Start a run that goes by this script."""
    await agents.emulator.control.add_scenario(Scenario(name="script", responses=turns))
    return await agents.start(asks("script", transport, **fields))


async def transports(agents: Agents, run: WorkflowHandle[Any, Any]) -> list[Transport]:
    return [bill.transport for bill in await agents.responses(run)]


async def turn_queues(run: WorkflowHandle[Any, Any]) -> list[str]:
    """The task queue of each turn."""
    return [
        event.activity_task_scheduled_event_attributes.task_queue.name
        async for event in run.fetch_history_events()
        if event.activity_task_scheduled_event_attributes.activity_type.name == "websocket_turn"
    ]


async def activities_of(run: WorkflowHandle[Any, Any]) -> list[str]:
    """The activities that the run has asked for."""
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        async for event in run.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]


# --- the socket --------------------------------------------------------------------------------------------------


async def test_the_turns_of_a_run_go_to_the_worker_that_holds_its_socket(agents: Agents) -> None:
    """W22: the first to any worker, all others to the queue that it names."""
    run = await agents.start(asks(CALLS, max_iterations=10))
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    first, *others = await turn_queues(run)
    assert first == f"{agents.settings.task_queue}-create"
    assert len(others) == 6
    assert len(set(others)) == 1
    assert others[0].startswith(f"{agents.settings.task_queue}-socket-")


async def test_auto_takes_the_websocket_where_it_is_allowed(agents: Agents) -> None:
    """W22."""
    run = await agents.start(asks(CALLS, TransportChoice.AUTO, allow_websocket=True, max_iterations=10))
    await result_of(run)
    assert set(await transports(agents, run)) == {Transport.WEBSOCKET}


async def test_a_refused_chain_is_replaced_by_the_full_input_over_the_same_socket(agents: Agents) -> None:
    """W23: on the worker that holds it."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=RejectChain()))
    run = await agents.start(asks(CALLS, max_iterations=10))
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert [bill.previous_response_id for bill in await agents.responses(run)][:2] == [None, None]
    assert set(await transports(agents, run)) == {Transport.WEBSOCKET}


async def test_a_run_goes_on_over_http_where_there_is_no_websocket(agents: Agents) -> None:
    """W5: and asks any worker for the next turn."""
    refusal = Fault(operation=Operation.UPGRADE, effect=Answer(status=426), times=None)
    await agents.emulator.control.add_fault(refusal)
    run = await agents.start(asks(CALLS, max_iterations=10))
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert set(await transports(agents, run)) == {Transport.HTTP}
    assert set(await turn_queues(run)) == {f"{agents.settings.task_queue}-create"}


async def test_tools_and_instructions_are_sent_ahead_once_where_the_caller_wants_it(agents: Agents) -> None:
    """W12: they cost no generation."""
    run = await agents.start(asks(CALLS, warm_up=True, max_iterations=10))
    result = await result_of(run)
    warm_up, *others = await agents.responses(run)
    assert [entry.response_id for entry in result.responses] == [bill.id for bill in others]
    assert [bill.previous_response_id for bill in others] == [warm_up.id, *(bill.id for bill in others[:-1])]
    assert (await agents.emulator.control.billing(workflow_id=run.id)).counts.generations == len(others)


async def test_no_more_responses_are_in_flight_than_a_worker_may_have_whichever_queue_they_came_from(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> None:
    """A21: the turns on the worker's own queue count, too."""
    agents = Agents(client, emulator, settings)
    narrow = settings.model_copy(update={"max_responses_in_flight": 2})
    async with working(client, provider, narrow):
        tool = 'calls?iterations=2&think=0.2&tool=add&arguments={"a":1,"b":2}'
        runs = [await agents.start(asks(tool)) for _ in range(6)]
        results = [await result_of(run) for run in runs]
    assert {(result.status, result.iterations) for result in results} == {(AgentStatus.COMPLETED, 3)}
    assert (await emulator.control.billing()).counts.max_in_flight == 2
    assert {bill.transport for bill in await emulator.control.responses()} == {Transport.WEBSOCKET}


async def test_a_run_that_is_turned_away_waits_as_long_as_the_provider_asks_or_until_it_is_cancelled(
    agents: Agents,
) -> None:
    """No second attempt is Temporal's: the workflow waits, and sends nothing meanwhile."""
    turned_away = Answer(status=429, headers={"retry-after": "600"})
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=turned_away, times=None))
    run = await agents.start(asks("echo"))

    async def timers() -> list[timedelta]:
        started = [event.timer_started_event_attributes async for event in run.fetch_history_events()]
        return [timer.start_to_fire_timeout.ToTimedelta() for timer in started if timer.timer_id]

    await until(lambda: waits(timers))
    assert await timers() == [timedelta(minutes=10)]
    await run.signal("cancel")
    assert (await result_of(run)).status is AgentStatus.CANCELLED
    assert len((await agents.emulator.control.billing(workflow_id=run.id)).rejections) == 1


async def waits(timers: Callable[[], Awaitable[list[timedelta]]]) -> bool:
    return bool(await timers())


# --- steering messages, into the response under way --------------------------------------------------------------


async def steered(agents: Agents, turns: list[Script], **fields: Any) -> WorkflowHandle[Any, Any]:
    """A run that was sent a steering message while its first response was under way over a WebSocket."""
    run = await scripted(agents, turns, **fields)
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("steer", BRIEF)
    return run


LONG = Script(output=[Text(text="Long. " * 2000)], write=60)


async def test_a_text_reaches_the_response_under_way(agents: Agents) -> None:
    """It is accepted, and the provider ends the response and answers anew."""
    run = await steered(agents, [LONG, ANSWER])
    result = await result_of(run)
    assert (result.status, result.output_text, result.iterations) == (AgentStatus.COMPLETED, "Done.", 1)
    [steer] = (await progress(run)).steers
    assert (steer.text, steer.status) == (BRIEF, SteerStatus.ACCEPTED)


async def test_what_a_text_cut_short_is_in_the_usage(agents: Agents) -> None:
    """A11: it has cost tokens."""
    run = await steered(agents, [LONG, ANSWER])
    result = await result_of(run)
    bills = await agents.responses(run)
    assert [(entry.response_id, entry.status) for entry in result.responses] == [
        (bills[0].id, "incomplete"),
        (bills[1].id, "completed"),
    ]
    assert result.usage.output_tokens == sum(bill.output_tokens for bill in bills)


async def test_the_preview_runs_over_what_a_text_cut_short(agents: Agents) -> None:
    """A15."""
    run = await steered(agents, [LONG, ANSWER])
    await result_of(run)
    preview = (await progress(run)).preview
    assert preview.startswith("Long. ")
    assert preview.endswith("Done.")


async def test_a_text_is_sent_once(agents: Agents) -> None:
    run = await steered(agents, [LONG, ANSWER])
    await result_of(run)
    assert (await activities_of(run)).count("steer_response") == 1


async def test_a_text_that_is_refused_becomes_the_next_input(agents: Agents) -> None:
    """The run would have ended without it."""
    refusal = RefuseSteer(code="steering_not_supported", message="Not this model.")
    await agents.emulator.control.add_fault(Fault(operation=Operation.STEER, effect=refusal))
    run = await steered(agents, [Script(think=3, output=[Text(text="Before.")], write=0), ANSWER])
    result = await result_of(run)
    assert (result.output_text, result.iterations) == ("Done.", 2)
    assert [steer.status for steer in (await progress(run)).steers] == [SteerStatus.NEXT_INPUT]
    assert await said_to_the_model(agents, run, 2) == [BRIEF]


async def test_a_text_that_waits_for_answers_to_calls_goes_with_them(agents: Agents) -> None:
    """The provider keeps it; it is given to the model once."""
    run = await steered(agents, [Script(think=3, output=[ADD]), ANSWER])
    assert (await result_of(run)).output_text == "Done."
    assert [steer.status for steer in (await progress(run)).steers] == [SteerStatus.ACCEPTED]
    assert await said_to_the_model(agents, run, 2) == [BRIEF]


async def said_to_the_model(agents: Agents, run: WorkflowHandle[Any, Any], iteration: int) -> list[str]:
    """The messages of the user that this iteration's response was given, besides answers to calls."""
    [bill] = [bill for bill in await agents.responses(run) if bill.metadata["iteration"] == str(iteration)]
    async with ResponsesClient(agents.emulator.base_url, None) as client:
        items = await client.input_items(bill.id)
    messages = [item.model_dump() for item in items if not isinstance(item, FunctionCallOutput)]
    return [part["text"] for message in messages for part in message["content"]]


# --- steering messages, where no response can be steered ---------------------------------------------------------


@pytest.mark.parametrize("transport", [STREAM, BACKGROUND])
async def test_where_a_response_cannot_be_steered_the_text_is_the_next_input(
    agents: Agents, transport: TransportChoice
) -> None:
    """Beside the answers to calls."""
    run = await scripted(agents, [Script(think=1, output=[ADD]), ANSWER], transport)
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("steer", BRIEF)
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await said_to_the_model(agents, run, 2) == [BRIEF]
    assert await agents.answers(run, 2) == ["3"]
    assert [steer.status for steer in (await progress(run)).steers] == [SteerStatus.NEXT_INPUT]
    assert "steer_response" not in await activities_of(run)


async def test_a_run_that_would_end_goes_on_for_a_text(agents: Agents) -> None:
    run = await scripted(agents, [Script(think=1, output=[Text(text="Before.")], write=0), ANSWER], BACKGROUND)
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("steer", BRIEF)
    result = await result_of(run)
    assert (result.output_text, result.iterations) == ("Done.", 2)


async def test_a_run_without_an_iteration_left_ends_and_says_that_the_text_was_not_given(agents: Agents) -> None:
    run = await scripted(
        agents, [Script(think=1, output=[Text(text="Before.")], write=0)], BACKGROUND, max_iterations=1
    )
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("steer", BRIEF)
    assert (await result_of(run)).output_text == "Before."
    [steer] = (await progress(run)).steers
    assert (steer.status, steer.reason) == (SteerStatus.FAILED, "The run ended before the model could be given it.")


async def test_texts_that_come_before_a_worker_are_part_of_the_first_input(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> None:
    agents = Agents(client, emulator, settings)
    run = await agents.start(asks("echo"))
    await run.signal("steer", BRIEF)
    await run.signal("steer", "And polite.")
    async with working(client, provider, settings):
        await result_of(run)
    assert await said_to_the_model(agents, run, 1) == ["Do it.", BRIEF, "And polite."]


@pytest.mark.parametrize("arguments", [[], [None], [7], [{"text": "x"}], [""], [BRIEF, "surplus"]])
async def test_a_signal_with_whatever_arguments_never_jams_the_run(agents: Agents, arguments: list[Any]) -> None:
    run = await scripted(agents, [Script(think=0.5, output=[ADD]), ANSWER])
    await reached(run, lambda state: state.iteration == 1)
    await run.signal("steer", args=arguments)
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    [steer] = (await progress(run)).steers
    assert (steer.status is SteerStatus.FAILED) == (arguments[:1] != [BRIEF])


async def test_a_cancelled_run_gives_its_texts_to_nobody(agents: Agents) -> None:
    run = await scripted(agents, [LONG], STREAM)
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("steer", BRIEF)
    await run.signal("cancel")
    assert (await result_of(run)).status is AgentStatus.CANCELLED
    assert [steer.status for steer in (await progress(run)).steers] == [SteerStatus.FAILED]


async def test_a_run_is_cancelled_while_a_text_is_on_its_way(agents: Agents) -> None:
    run = await steered(agents, [LONG])
    await run.signal("cancel")
    result = await result_of(run)
    assert result.status is AgentStatus.CANCELLED
    assert {bill.status for bill in await agents.responses(run)} <= {"cancelled", "incomplete"}
