"""History stays flat, and a long run goes on in a new one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from durable_responses.activities.messages import SteerStatus
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import (
    CodeInterpreterStep,
    FunctionCallStep,
    MadeFile,
    McpApprovalStep,
    Script,
    Text,
)
from durable_responses.provider import Provider
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import McpApprovalResponse, UserMessage
from durable_responses.settings import Settings
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    CallStatus,
    TransportChoice,
)
from tests.support.emulator_control import RunningEmulator
from tests.support.processes import TemporalServer
from tests.support.runs import Agents, progress, reached, result_of, working

TRANSPORTS = [TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET]
ITERATIONS = 30
EVENTS_BEFORE_A_NEW_RUN = 60


def asks(scenario: str, transport: TransportChoice, **fields: object) -> AgentInput:
    return AgentInput.model_validate(
        {"task": "Do it.", "transport": transport, "metadata": {"scenario": scenario}, **fields}
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_iteration_costs_the_same_however_long_the_conversation_is(
    agents: Agents, transport: TransportChoice
) -> None:
    """100 KiB of prompt, 30 iterations: bytes and events of each iteration are the same, and printed."""
    request = asks('calls?iterations=29&tool=add&arguments={"a":1,"b":1}', transport, max_iterations=ITERATIONS)
    run = await agents.start(request.model_copy(update={"task": "x" * 100 * 1024}))
    result = await result_of(run)
    assert result.iterations == ITERATIONS
    costs = await _cost_per_iteration(run)
    events, sizes = [cost[0] for cost in costs], [cost[1] for cost in costs]
    print(f"\n{transport}: {max(events)} events, {sum(sizes[1:]) / len(sizes[1:]):.0f} bytes per iteration")
    assert len(costs) == ITERATIONS
    middle = slice(1, -1)  # the first carries the prompt, the last the answer
    # Now and then a report of a slow response's id, or a workflow task of its own, comes in between.
    assert max(events[middle]) - min(events[middle]) <= 8
    assert max(sizes[middle]) < 4096
    early, late = sum(sizes[1:10]), sum(sizes[-10:-1])
    assert late < early * 1.25


async def _cost_per_iteration(run: WorkflowHandle[Any, Any]) -> list[tuple[int, int]]:
    """Events and bytes of each iteration, from one create to the next."""
    costs: list[tuple[int, int]] = []
    async for event in run.fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name in ("create_response", "stream_response", "websocket_turn"):
            costs.append((0, 0))
        if costs:
            costs[-1] = (costs[-1][0] + 1, costs[-1][1] + event.ByteSize())
    return costs


# --- continue-as-new ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def short_histories(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    """A server that suggests a continue-as-new after a few iterations."""
    server = await TemporalServer.on(tmp_path_factory.mktemp("short-histories"))
    limit = f"limit.historyCount.suggestContinueAsNew={EVENTS_BEFORE_A_NEW_RUN}"
    server.command += ["--dynamic-config-value", limit]
    async with server:
        yield server


@pytest.fixture
async def restless(
    short_histories: TemporalServer, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> AsyncIterator[Agents]:
    """Agent runs whose history is short."""
    client = await short_histories.client()
    async with working(client, provider, settings):
        yield Agents(client, emulator, settings)


async def _runs_of(client: Client, run: WorkflowHandle[Any, Any]) -> list[WorkflowExecutionStatus | None]:
    return [found.status async for found in client.list_workflows(f"WorkflowId = '{run.id}'")]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_long_run_goes_on_in_a_new_history_under_the_same_job_id(
    restless: Agents, transport: TransportChoice
) -> None:
    """A1 and A6 across runs: everything that was known is carried over; nothing is created twice."""
    run = await restless.start(
        asks('calls?iterations=12&tool=add&arguments={"a":1,"b":1}', transport, max_iterations=20, deadline=600)
    )
    result = await result_of(run)
    assert (result.status, result.iterations) == (AgentStatus.COMPLETED, 13)
    assert result.output_text == "All calls are answered."
    bills = await restless.responses(run)
    assert [bill.metadata["iteration"] for bill in bills] == [str(number) for number in range(1, 14)]
    assert len({bill.metadata["run_id"] for bill in bills}) > 2
    assert result.usage.input_tokens == sum(bill.input_tokens for bill in bills)
    assert [entry.response_id for entry in result.responses] == [bill.id for bill in bills]


async def test_files_are_saved_and_listed_across_histories(restless: Agents) -> None:
    """No history ends while files are being saved, and none saves again what an earlier one has saved."""
    step = FunctionCallStep(name="add", arguments={"a": 1, "b": 1})
    made = [CodeInterpreterStep(files=[MadeFile(name=f"{number}.txt", text=f"{number}")]) for number in range(8)]
    scripts = [Script(write=0, output=[code, step]) for code in made]
    scripts.append(Script(write=0, output=[Text(text="the end")]))
    await restless.emulator.control.add_scenario(Scenario(name="files", responses=scripts))
    fields = {"save": {"files": True}, "enable_code_interpreter": True, "max_iterations": 20}
    run = await restless.start(asks("files", TransportChoice.BACKGROUND, **fields))
    result = await result_of(run)
    assert (result.status, result.iterations) == (AgentStatus.COMPLETED, 9)
    assert len({bill.metadata["run_id"] for bill in await restless.responses(run)}) > 1
    assert [file.name for file in result.files] == [f"{number}.txt" for number in range(8)]
    assert [Path(file.path or "").read_text() for file in result.files] == [f"{number}" for number in range(8)]


async def test_progress_after_a_continue_as_new_is_what_it_was_before(restless: Agents) -> None:
    """A15: preview, usage, calls, response id and times are carried."""
    step = FunctionCallStep(name="add", arguments={"a": 1, "b": 1})
    scripts = [Script(write=0, output=[Text(text=f"[{number}]"), step]) for number in range(8)]
    scripts.append(Script(think=30, output=[Text(text="the end")]))
    await restless.emulator.control.add_scenario(Scenario(name="long", responses=scripts))
    run = await restless.start(asks("long", TransportChoice.BACKGROUND, max_iterations=20))
    state = await reached(run, lambda state: state.iteration == 9 and state.response_status is not None)
    state = await reached(run, lambda state: state.usage.total_tokens > 0 and len(state.function_calls) == 8)
    assert state.preview == "".join(f"[{number}]" for number in range(8))
    assert [call.iteration for call in state.function_calls] == list(range(1, 9))
    assert {call.status for call in state.function_calls} == {CallStatus.SUCCEEDED}
    bills = await restless.responses(run)
    assert state.usage.input_tokens == sum(bill.input_tokens for bill in bills)
    description = await restless.client.get_workflow_handle(run.id).describe()
    assert state.started_at is not None
    assert description.start_time > state.started_at
    await restless.client.get_workflow_handle(run.id).signal("cancel")
    assert (await result_of(run)).status is AgentStatus.CANCELLED


@pytest.mark.parametrize("at_iteration", range(2, 12))
async def test_a_cancel_at_any_moment_of_a_restless_run_is_not_lost(restless: Agents, at_iteration: int) -> None:
    """A continue-as-new that meets a cancel gives way to it."""
    run = await restless.start(
        asks('calls?iterations=100&tool=add&arguments={"a":1,"b":1}', TransportChoice.STREAM, max_iterations=200)
    )
    chain = restless.client.get_workflow_handle(run.id, result_type=AgentResult)
    await reached(chain, lambda state: state.iteration >= at_iteration)
    await chain.signal("cancel")
    result = await result_of(chain)
    assert result.status is AgentStatus.CANCELLED
    assert (await progress(chain)).iteration < 100


async def test_no_text_for_a_restless_run_is_lost_or_given_twice(restless: Agents) -> None:
    """A continue-as-new that meets a text carries it over."""
    tool = 'calls?iterations=14&tool=add&arguments={"a":1,"b":1}'
    run = await restless.start(asks(tool, TransportChoice.STREAM, max_iterations=30))
    chain = restless.client.get_workflow_handle(run.id, result_type=AgentResult)
    texts = [f"Text {number}." for number in range(1, 12)]
    for iteration, text in enumerate(texts, 1):
        await reached(chain, lambda state, wanted=iteration: state.iteration >= wanted)  # type: ignore[misc]
        await chain.signal("steer", text)
    assert (await result_of(chain)).status is AgentStatus.COMPLETED
    assert len(await _runs_of(restless.client, run)) > 1
    assert {steer.status for steer in (await progress(chain)).steers} == {SteerStatus.NEXT_INPUT}
    given = []
    async with ResponsesClient(restless.emulator.base_url, None) as client:
        for bill in await restless.responses(run):
            items = await client.input_items(bill.id)
            given += [item.content[0].text for item in items if isinstance(item, UserMessage)]  # type: ignore[union-attr]
    assert given == ["Do it.", *texts]


async def test_the_deadline_is_carried_over(restless: Agents) -> None:
    """A6: one absolute deadline for the whole chain of runs."""
    request = asks('calls?iterations=900&tool=add&arguments={"a":1,"b":1}', TransportChoice.STREAM)
    run = await restless.start(request.model_copy(update={"max_iterations": 1000, "deadline": 3.0}))
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, "deadline")
    assert len(await _runs_of(restless.client, run)) > 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_answers_about_calls_of_remote_servers_are_carried_into_a_new_history(
    restless: Agents, transport: TransportChoice
) -> None:
    """A history may end between the owner's answer and the create that tells the provider."""
    asks_for = McpApprovalStep(server_label="tickets", name="close", arguments={"id": 7})
    scripts = [Script(write=0, output=[asks_for])] * 8 + [Script(write=0, output=[Text(text="the end")])]
    await restless.emulator.control.add_scenario(Scenario(name="approvals", responses=scripts))
    remote = {"type": "mcp", "server_label": "tickets", "server_url": "https://mcp.example/mcp"}
    run = await restless.start(asks("approvals", transport, hosted_tools=[remote], max_iterations=20))
    for number in range(1, 9):
        state = await reached(run, lambda state, number=number: asked_about(state) == number)  # type: ignore[misc]
        await run.execute_update("respond", {"id": state.input_requests[-1].id, "answer": "allow"})
    result = await result_of(run)
    assert (result.status, result.output_text, result.iterations) == (AgentStatus.COMPLETED, "the end", 9)
    bills = await restless.responses(run)
    assert len({bill.metadata["run_id"] for bill in bills}) > 1
    async with ResponsesClient(restless.emulator.base_url, None) as client:
        given = [await client.input_items(bill.id) for bill in bills[1:]]
    told = [[item.approve for item in items if isinstance(item, McpApprovalResponse)] for items in given]
    assert told == [[True]] * 8


def asked_about(state: AgentState) -> int:
    """The number of the question that is open, counted from the beginning; 0 if there is none."""
    request = state.input_requests[-1] if state.input_requests else None
    return int(request.id.rpartition("-")[2]) if request is not None and request.is_open else 0
