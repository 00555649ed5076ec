"""Agent runs on a real Temporal server, against the emulator: what a caller gets for what was asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from durable_responses.activities.messages import FailureType, InputFile
from durable_responses.activities.tools import ToolActivities
from durable_responses.emulator.faults import Answer, End, Fault, Operation, RejectChain, Reset
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Ending, FunctionCallStep, Script, Step, Text
from durable_responses.jobs.jobs import Jobs
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.tools.registry import Effect, Registry, ToolContext, tool
from durable_responses.workflows.contract import AgentInput, AgentStatus, CallStatus, IncompleteReason, TransportChoice
from tests.support.runs import Agents, progress, reached, result_of, until

TRANSPORTS = [TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET]


def asks(scenario: str, transport: TransportChoice = TransportChoice.BACKGROUND, **fields: Any) -> AgentInput:
    """A run that the emulator answers by this scenario."""
    return AgentInput(task="Do it.", transport=transport, metadata={"scenario": scenario}, **fields)


def call_of(tool: str, transport: TransportChoice = TransportChoice.BACKGROUND, **arguments: Any) -> AgentInput:
    """A run in which the model calls one tool once, and answers."""
    return asks(f"calls?tool={tool}&arguments={json.dumps(arguments)}", transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_run_calls_its_tools_and_answers(agents: Agents, transport: TransportChoice) -> None:
    """A12: the answers reach the model, in the next create."""
    run = await agents.start(asks('calls?iterations=3&parallel=2&tool=add&arguments={"a":1,"b":2}', transport))
    result = await result_of(run)
    assert (result.status, result.iterations) == (AgentStatus.COMPLETED, 4)
    assert result.output_text == "All calls are answered."
    state = await progress(run)
    assert [call.status for call in state.function_calls] == [CallStatus.SUCCEEDED] * 6
    assert len(await agents.responses(run)) == 4


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_each_iteration_chains_from_the_one_before_and_says_who_asks(
    agents: Agents, transport: TransportChoice
) -> None:
    """A2: every iteration is stored and chained; metadata names run, iteration and attempt."""
    run = await agents.start(asks("calls?iterations=2&tool=add&arguments={}", transport))
    await result_of(run)
    bills = await agents.responses(run)
    assert [bill.previous_response_id for bill in bills] == [None, bills[0].id, bills[1].id]
    assert [bill.background for bill in bills] == [transport is TransportChoice.BACKGROUND] * 3
    assert [bill.metadata["iteration"] for bill in bills] == ["1", "2", "3"]
    assert {(bill.metadata["run_id"], bill.metadata["attempt"]) for bill in bills} == {(run.result_run_id, "1")}


async def test_usage_is_what_the_provider_bills(agents: Agents) -> None:
    """A11: the sum over all responses, and each of them."""
    run = await agents.start(asks("calls?iterations=2&tool=add&arguments={}&think=0.1"))
    result = await result_of(run)
    bills = await agents.responses(run)
    assert result.usage.input_tokens == sum(bill.input_tokens for bill in bills)
    assert result.usage.output_tokens == sum(bill.output_tokens for bill in bills)
    assert result.usage.cached_tokens == sum(bill.cached_tokens for bill in bills)
    assert result.usage.reasoning_tokens == sum(bill.reasoning_tokens for bill in bills)
    assert result.usage.total_tokens == result.usage.input_tokens + result.usage.output_tokens
    assert [entry.response_id for entry in result.responses] == [bill.id for bill in bills]


async def test_a_task_may_be_a_list_of_input_items(agents: Agents) -> None:
    result = await agents.run(
        AgentInput(task=[{"role": "user", "content": "Say this."}], metadata={"scenario": "echo"})
    )
    assert result.output_text == "Say this."


async def test_an_answer_after_a_schema_is_given_as_an_object(agents: Agents) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    result = await agents.run(asks("echo", text_format=schema))
    assert result.structured_output == {"answer": "Do it."}


async def test_citations_and_the_reasoning_summary_reach_the_result(agents: Agents) -> None:
    result = await agents.run(asks("web_search", enable_web_search=True))
    assert [source.url for source in result.citations] == ["https://example.com/yes", "https://example.org/no"]
    thinking = await agents.run(asks("think?seconds=0.01", reasoning_summary=True))
    assert thinking.reasoning_summary == "Thinking it over."


async def test_the_result_is_saved_where_the_caller_wants_it(agents: Agents, tmp_path: Path) -> None:
    """A22: the activity is part of the run; the path is absolute."""
    result = await agents.run(asks("echo", save={"root": str(tmp_path), "filename": "answer"}))
    assert result.artifact_path == str(tmp_path / "_gpt5_docs" / "answer.md")
    assert "Do it." in (tmp_path / "_gpt5_docs" / "answer.md").read_text()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"save": {"root": "/nowhere/at/all"}}, "save.root is outside"),
        ({"save": {"folder": ".git/hooks"}}, "save.folder is hidden"),
        ({"save": {"filename": "x" * 300}}, "save.filename: at most 255 bytes"),
        ({"text_format": {"type": "object", "properties": {"a": {"type": "str"}}}}, "'str' is not a type of JSON"),
    ],
)
async def test_what_cannot_be_saved_or_answered_is_refused_before_it_is_paid_for(
    agents: Agents, transport: TransportChoice, fields: dict[str, Any], told: str
) -> None:
    """A22."""
    run = await agents.start(asks("echo", transport, **fields))
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "invalid_input"
    assert told in failed.value.cause.message
    assert await agents.responses(run) == []


async def test_a_save_that_fails_later_is_reported_and_the_answer_kept(agents: Agents, tmp_path: Path) -> None:
    """A22."""
    run = await agents.start(asks("think?seconds=1", save={"root": str(tmp_path)}))
    await reached(run, lambda state: bool(state.response_id))
    (tmp_path / "_gpt5_docs").touch()
    result = await result_of(run)
    assert (result.status, result.artifact_path) == (AgentStatus.COMPLETED, None)
    assert result.output_text
    assert result.artifact_error is not None


async def test_files_are_read_by_the_worker_and_never_enter_history(agents: Agents, tmp_path: Path) -> None:
    """A24."""
    (tmp_path / "secret.txt").write_text("the file's own words")
    run = await agents.start(
        AgentInput(
            task="Read.", files=[InputFile(path="secret.txt")], files_root=str(tmp_path), metadata={"scenario": "echo"}
        )
    )
    result = await result_of(run)
    assert "the file's own words" in result.output_text
    created = [
        event
        async for event in run.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert b"own words" not in created[0].SerializeToString()


async def test_a_run_of_another_projects_workspace_fails_by_name_before_anything_is_paid(
    agents: Agents, tmp_path: Path
) -> None:
    """H1: never another project's folder."""
    run = await agents.start(AgentInput(task="Write.", workspace=str(tmp_path / "other")))
    result = await result_of(run)
    assert result.status is AgentStatus.FAILED
    assert result.error is not None
    assert result.error.type == FailureType.INVALID_INPUT
    assert result.error.message.startswith("workspace: is not the worker's")
    assert result.responses == []


# --- ends that are no answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_an_incomplete_response_ends_the_run_with_its_text(
    agents: Agents, transport: TransportChoice, reason: str
) -> None:
    """A10: the partial text and the reason."""
    ending = Ending(status=ResponseStatus.INCOMPLETE, reason=reason)
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=End(ending=ending)))
    run = await agents.start(asks("echo", transport))
    result = await result_of(run)
    assert (result.status, result.incomplete_reason, result.output_text) == (AgentStatus.INCOMPLETE, reason, "Do it.")
    description = await run.describe()
    assert description.status is WorkflowExecutionStatus.COMPLETED


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_failed_response_fails_the_run_once(agents: Agents, transport: TransportChoice) -> None:
    """A10: a quota error that comes as a failed response is not created again."""
    ending = Ending(status=ResponseStatus.FAILED, code="insufficient_quota", message="Pay first.")
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=End(ending=ending), times=None))
    run = await agents.start(asks("echo", transport))
    result = await result_of(run)
    assert result.status is AgentStatus.FAILED
    assert result.error is not None
    assert result.error.type == "quota_exhausted"
    assert len(await agents.responses(run)) == 1
    assert (await progress(run)).status is AgentStatus.FAILED


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_response_that_failed_for_what_passes_is_created_again_and_listed(
    agents: Agents, transport: TransportChoice
) -> None:
    """In the middle of a run: what the model was told goes with the next create, too."""
    ending = Ending(status=ResponseStatus.FAILED, code="server_error", message="The server had an error.")
    fails = Fault(operation=Operation.CREATE, effect=End(ending=ending), metadata={"iteration": "2"})
    await agents.emulator.control.add_fault(fails)
    run = await agents.start(asks('calls?iterations=1&tool=add&arguments={"a":1,"b":2}', transport))
    result = await result_of(run)
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "All calls are answered.")
    assert [entry.status for entry in result.responses] == ["completed", "failed", "completed"]
    first, second, third = await agents.responses(run)
    assert (second.previous_response_id, third.previous_response_id) == (first.id, first.id)
    assert [bill.metadata["attempt"] for bill in (first, second, third)] == ["1", "1", "2"]


async def test_a_run_is_cancelled_and_out_of_time_while_it_pauses_after_a_failed_response(agents: Agents) -> None:
    message = "Rate limit reached. Please try again in 10m."
    ending = Ending(status=ResponseStatus.FAILED, code="rate_limit_exceeded", message=message)
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=End(ending=ending), times=None))
    run = await agents.start(asks("echo"))
    await reached(run, lambda state: state.response_status == "failed")
    await run.signal("cancel")
    assert (await result_of(run)).status is AgentStatus.CANCELLED
    late = await agents.run(asks("echo", deadline=1.5))
    assert (late.status, late.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)


async def test_a_response_whose_wait_an_operator_ended_is_cancelled_at_the_provider(agents: Agents) -> None:
    """A response that a run gives up on is always cancelled: what it costs must not go on."""
    run = await agents.start(asks("think?seconds=600"))
    await reached(run, lambda state: state.response_id is not None)

    async def is_waited_for() -> bool:
        description = await run.describe()
        return any(
            each.activity_type.name == "await_response" for each in description.raw_description.pending_activities
        )

    await until(is_waited_for)
    [pending] = (await run.describe()).raw_description.pending_activities
    handle = agents.client.get_async_activity_handle(
        workflow_id=run.id, run_id=run.result_run_id, activity_id=pending.activity_id
    )
    await handle.fail(ApplicationError("I give it up.", non_retryable=True))
    result = await result_of(run)
    assert result.status is AgentStatus.FAILED
    assert [entry.status for entry in result.responses] == ["cancelled"]
    assert [bill.status for bill in await agents.responses(run)] == ["cancelled"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_calls_beyond_the_last_iteration_end_the_run_incomplete(
    agents: Agents, transport: TransportChoice
) -> None:
    result = await agents.run(asks("calls?iterations=9&tool=add&arguments={}", transport, max_iterations=2))
    assert (result.status, result.incomplete_reason, result.iterations) == (
        AgentStatus.INCOMPLETE,
        IncompleteReason.MAX_ITERATIONS,
        2,
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_deadline_ends_the_run_and_the_response_with_the_text_so_far(
    agents: Agents, transport: TransportChoice
) -> None:
    """A6: one deadline for the whole run; past it the response is cancelled at the provider."""
    run = await agents.start(asks("write?words=1000&seconds=60", transport, deadline=1.5))
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)
    [bill] = await agents.responses(run)
    assert bill.status not in ("in_progress", "queued")
    if transport is TransportChoice.STREAM:
        assert result.output_text.startswith("word1 word2")


async def test_the_deadline_is_shared_by_all_iterations(agents: Agents) -> None:
    """A6."""
    result = await agents.run(
        asks("calls?iterations=50&tool=add&arguments={}&think=0.3", deadline=1.5, max_iterations=60)
    )
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)
    assert 1 < result.iterations < 8


async def test_an_answer_that_is_ready_at_the_deadline_is_not_thrown_away(agents: Agents) -> None:
    """A6: a final GET is made at the deadline."""
    run = await agents.start(asks("think?seconds=0.9", deadline=1.2))
    assert (await result_of(run)).status is AgentStatus.COMPLETED


async def test_a_tool_that_runs_at_the_deadline_is_stopped(agents: Agents, tmp_path: Path) -> None:
    """A6: the deadline holds in every phase."""
    run = await agents.start(asks("calls?tool=wait_long&arguments={}", deadline=1.5))
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)


# --- tools -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (FunctionCallStep(name="add", arguments="{not json"), "not valid JSON"),
        (FunctionCallStep(name="add", arguments="[1, 2]"), "one JSON object"),
        (FunctionCallStep(name="add", arguments={"a": "x", "b": 1}), "do not fit"),
        (FunctionCallStep(name="no_such_tool", arguments={}), "no_such_tool"),
        (FunctionCallStep(name="raise_error", arguments={}), "the disk is on fire"),
        (FunctionCallStep(name="never_end", arguments={}), "0.2"),
        (FunctionCallStep(name="return_megabytes", arguments={"megabytes": 5}), "read_output"),
    ],
)
async def test_what_goes_wrong_with_a_call_is_told_to_the_model(
    agents: Agents, call: FunctionCallStep, told: str
) -> None:
    """A12: every call is answered; the run goes on."""
    scripts = [Script(output=[call]), Script(output=[Text(text="I see.")])]
    await agents.emulator.control.add_scenario(Scenario(name="wrong-call", responses=scripts))
    run = await agents.start(asks("wrong-call"))
    result = await result_of(run)
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "I see.")
    [answer] = await agents.answers(run, iteration=2)
    assert told in answer


async def test_a_tool_that_the_run_does_not_offer_is_not_called(agents: Agents) -> None:
    run = await agents.start(asks("calls?tool=add&arguments={}", tools=["block"]))
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert [call.status for call in (await progress(run)).function_calls] == [CallStatus.FAILED]


async def test_a_tool_of_the_callers_program_is_called_there_and_waits_for_it(
    agents: Agents, client: Client, tmp_path: Path
) -> None:
    """Only its calls wait: the response before them is created without the program."""
    queue = f"program-{agents.settings.task_queue}"
    own = {"name": "_shout", "parameters": {"type": "object"}, "strict": False, "task_queue": queue}
    shout = tool(effect=Effect.ONCE)(_shout)
    run = await agents.start({**asks('calls?tool=_shout&arguments={"text":"hi"}').model_dump(), "caller_tools": [own]})

    async def waits() -> bool:
        return [call.status for call in (await progress(run)).function_calls] == [CallStatus.RUNNING]

    await until(waits)
    program = ToolActivities(Registry([shout]), ToolContext(tmp_path))
    async with Worker(client, task_queue=queue, activities=[program.call_tool]):
        assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await agents.answers(run, iteration=2) == ["HI"]


def _shout(text: str) -> str:
    """Shout."""
    return text.upper()


# --- input that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"task": ""}, "task"),
        ({"task": "t", "transport": "pigeon"}, "transport"),
        ({"task": "t", "max_iterations": "many"}, "max_iterations"),
        ({"task": "t", "tol": 1}, "tol"),
        (None, "JSON object"),
        ("t", "JSON object"),
        (["t"], "JSON object"),
        ({"task": "t", "tools": ["no_such_tool"]}, "tools"),
        (
            {"task": "t", "caller_tools": [{"name": "add", "parameters": {}, "task_queue": "q"}]},
            "caller_tools: the worker has a tool of this name, too: add",
        ),
        ({"task": "t", "files": [{"path": "missing.txt"}]}, "files[0].path"),
        ({"task": "t", "files": [{"path": "/etc/passwd"}]}, "files[0].path"),
        ({"task": "t", "files": [{"path": "large.txt"}]}, "files[0].path"),
    ],
)
async def test_bad_input_fails_the_run_with_one_sentence_that_names_the_field(
    agents: Agents, tmp_path: Path, payload: Any, field: str
) -> None:
    """A24 for the files: nothing is created, nothing is lost."""
    (tmp_path / "large.txt").write_text("x" * 2 * 1024 * 1024)
    run = await agents.start(payload)
    result = await result_of(run)
    assert result.status is AgentStatus.FAILED
    assert result.error is not None
    assert result.error.type == "invalid_input"
    assert field in result.error.message
    assert (await progress(run)).error == result.error
    assert await agents.responses(run) == []


async def test_a_run_of_any_client_is_named_by_its_task(agents: Agents) -> None:
    """A Go or Java client, or the Temporal CLI, gives neither summary nor memo: lists would show an id and no more."""
    run = await agents.start(asks("echo"))
    await run.result()
    assert await (await run.describe()).memo() == {"task": "Do it."}
    view = await Jobs(agents.client, agents.settings.task_queue).state(run.id)
    assert view.summary == "Do it."


async def test_a_name_that_a_client_gave_is_kept(agents: Agents) -> None:
    run = await agents.start(asks("echo"), memo={"task": "Ours.", "secret": 1}, static_summary="Its own name.")
    await run.result()
    described = await run.describe()
    assert await described.memo() == {"task": "Ours.", "secret": 1}
    assert await described.static_summary() == "Its own name."
    assert (await Jobs(agents.client, agents.settings.task_queue).state(run.id)).summary == "Its own name."


async def test_an_input_with_surplus_arguments_fails_the_run_too(agents: Agents) -> None:
    run = await agents.client.start_workflow(
        "AgentWorkflow",
        args=[{"task": "t"}, {"nonsense": 1}],
        id="surplus",
        task_queue=agents.settings.task_queue,
    )
    assert (await result_of(run)).status is AgentStatus.FAILED


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(status=401, code="invalid_api_key"), "authentication_failed"),
        (Answer(status=403), "authentication_failed"),
        (Answer(status=429, code="insufficient_quota", error_type="insufficient_quota"), "quota_exhausted"),
        (Answer(status=400, message="Unknown parameter."), "bad_request"),
    ],
)
async def test_a_refusal_that_will_not_change_fails_the_run(
    agents: Agents, transport: TransportChoice, answer: Answer, kind: str
) -> None:
    """A25: with status and code."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=answer, times=None))
    run = await agents.start(asks("echo", transport))
    result = await result_of(run)
    assert result.error is not None
    assert (result.error.type, result.error.http_status) == (kind, answer.status)
    assert (await run.describe()).status is WorkflowExecutionStatus.FAILED


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_the_provider_refuses_and_a_run_can_do_without_is_left_out_and_named(
    agents: Agents, transport: TransportChoice
) -> None:
    """Once in a worker: the second response is not refused."""
    asked = asks(
        'calls?iterations=1&tool=add&arguments={"a":1,"b":2}',
        transport,
        model="plain-model",
        reasoning_summary=True,
        verbosity="high",
    )
    run = await agents.start(asked)
    result = await result_of(run)
    assert result.status is AgentStatus.COMPLETED
    assert result.request_changes == ["reasoning was left out", "text.verbosity was left out"]
    assert (await progress(run)).request_changes == result.request_changes
    bill = await agents.emulator.control.billing(workflow_id=run.id)
    assert (len(bill.responses), len(bill.rejections)) == (2, 2)


async def test_web_search_with_minimal_effort_is_done_with_low_effort(agents: Agents) -> None:
    result = await agents.run(asks("echo", enable_web_search=True, reasoning_effort="minimal"))
    assert result.status is AgentStatus.COMPLETED
    assert result.request_changes == ["reasoning.effort is low instead of minimal"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_run_that_is_turned_away_says_so_until_it_is_not(agents: Agents, transport: TransportChoice) -> None:
    busy = Answer(status=429, code="rate_limit_exceeded", message="Not now.", headers={"retry-after": "3"})
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=busy))
    run = await agents.start(asks("echo", transport))
    waiting = (await reached(run, lambda state: state.waiting is not None and state.waiting.attempt > 0)).waiting
    assert waiting is not None
    assert (waiting.what, waiting.attempt) == ("the provider is busy", 1)
    assert waiting.next_at is not None
    assert "Not now." in (waiting.cause or "")
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert (await progress(run)).waiting is None


async def test_a_run_whose_response_cannot_be_read_says_so_until_it_can(agents: Agents) -> None:
    broken = Answer(status=503, message="Not now.", headers={"retry-after": "3"})
    await agents.emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=broken))
    run = await agents.start(asks("think?seconds=1"))
    state = await reached(run, lambda state: state.waiting is not None and state.waiting.attempt > 0)
    assert state.waiting is not None
    assert state.waiting.what == "the response cannot be read"
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert (await progress(run)).waiting is None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_deadline_is_used_whole_and_says_what_was_waited_for(
    agents: Agents, transport: TransportChoice
) -> None:
    """The provider is back in the last moment, or it is not; waiting longer than the run lasts is no reason to end."""
    busy = Answer(status=503, message="Not now.", headers={"retry-after": "60"})
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=busy, times=None))
    run = await agents.start(asks("echo", transport, deadline=3))
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)
    assert result.error is not None
    assert "the provider is busy since 0:00, try 1" in result.error.message
    assert "Not now." in result.error.message
    description = await run.describe()
    assert description.close_time is not None
    assert description.start_time is not None
    assert (description.close_time - description.start_time).total_seconds() >= 3


async def test_an_unknown_model_is_named(agents: Agents) -> None:
    result = await agents.run(AgentInput(task="t", model="unknown-model"))
    assert result.error is not None
    assert (result.error.type, result.error.http_status) == ("not_found", 404)
    assert "unknown-model" in result.error.message


@pytest.mark.parametrize(
    ("scenario", "said"),
    [("no_output", "neither an answer"), ("unanswerable_call?kind=computer_call", "computer_call")],
)
async def test_a_response_that_we_can_do_nothing_with_fails_the_run(agents: Agents, scenario: str, said: str) -> None:
    result = await agents.run(asks(scenario))
    assert result.status is AgentStatus.FAILED
    assert result.error is not None
    assert said in result.error.message


async def test_an_unknown_item_beside_the_answer_does_no_harm(agents: Agents) -> None:
    assert (await agents.run(asks("unknown_item"))).status is AgentStatus.COMPLETED


async def test_a_server_without_retrieve_is_named_as_such(agents: Agents) -> None:
    effect = Answer(status=405, message="Method not allowed.")
    await agents.emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=effect, times=None))
    result = await agents.run(asks("echo"))
    assert result.error is not None
    assert result.error.type == "unsupported_by_provider"


# --- what passes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=429, code="rate_limit_exceeded", headers={"retry-after-ms": "50"}),
        Answer(status=429, code="slow_down", headers={"retry-after": "0"}),
        Answer(status=503, code="server_is_overloaded"),
        Answer(status=400, code="conversation_locked"),
    ],
)
async def test_a_create_that_was_provably_not_processed_is_sent_again(
    agents: Agents, transport: TransportChoice, answer: Answer
) -> None:
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=answer, times=2))
    run = await agents.start(asks("echo", transport))
    result = await result_of(run)
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 0)
    assert len(await agents.responses(run)) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
async def test_a_failed_get_is_repeated_and_does_not_harm_the_run(agents: Agents, status: int) -> None:
    """A7."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Answer(status=status), times=2))
    run = await agents.start(asks("think?seconds=0.1"))
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert len(await agents.responses(run)) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_get_that_is_not_allowed_ends_a_run_that_does_not_wait_for_its_owner(
    agents: Agents, status: int
) -> None:
    """A7."""
    await agents.emulator.control.add_fault(
        Fault(operation=Operation.RETRIEVE, effect=Answer(status=status), times=None)
    )
    result = await agents.run(asks("think?seconds=5", on_refusal="fail"))
    assert result.error is not None
    assert result.error.type == "authentication_failed"


async def test_a_response_that_is_not_found_just_after_its_create_is_found_later(agents: Agents) -> None:
    effect = Answer(status=404, message="Response with id 'x' not found.")
    await agents.emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=effect, times=3))
    assert (await agents.run(asks("echo"))).status is AgentStatus.COMPLETED


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("processed", [True, False])
async def test_an_ambiguous_create_is_repeated_once_and_shown(
    agents: Agents, transport: TransportChoice, processed: bool
) -> None:
    fault = Fault(operation=Operation.CREATE, effect=Reset(processed=processed))
    await agents.emulator.control.add_fault(fault)
    run = await agents.start(asks("echo", transport))
    result = await result_of(run)
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 1)
    assert (await progress(run)).ambiguous_creates == 1
    bills = await agents.responses(run)
    assert [bill.metadata["attempt"] for bill in bills] == (["1", "2"] if processed else ["2"])


async def test_a_caller_may_have_an_ambiguous_create_fail_the_run(agents: Agents) -> None:
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=Reset(processed=True)))
    run = await agents.start(asks("echo", on_ambiguous_create="fail"))
    result = await result_of(run)
    assert result.error is not None
    assert result.error.type == "create_ambiguous"
    assert len(await agents.responses(run)) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refused_chain_is_replaced_by_the_full_input_once(agents: Agents, transport: TransportChoice) -> None:
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=RejectChain(), times=2))
    run = await agents.start(asks('calls?iterations=2&tool=add&arguments={"a":1,"b":2}', transport))
    result = await result_of(run)
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "All calls are answered.")
    bills = await agents.responses(run)
    assert [bill.previous_response_id for bill in bills] == [None, None, None]


async def test_an_unknown_previous_response_is_named_and_not_left_out(agents: Agents) -> None:
    run = await agents.start(asks("echo", previous_response_id="resp_unknown"))
    result = await result_of(run)
    assert result.error is not None
    assert (result.error.type, "resp_unknown" in result.error.message) == ("chain_rejected", True)
    assert await agents.responses(run) == []


async def test_the_response_id_of_a_stream_is_known_before_it_ends(agents: Agents) -> None:
    """A19: told at `response.created`, not when the iteration ends."""
    run = await agents.start(asks("think?seconds=30", TransportChoice.STREAM))
    state = await reached(run, lambda state: state.response_id is not None)
    assert state.status is AgentStatus.RUNNING
    [bill] = await agents.responses(run)
    assert state.response_id == bill.id
    await run.signal("cancel")
    await result_of(run)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_after_each_iteration_the_preview_is_the_tail_of_all_text(
    agents: Agents, transport: TransportChoice
) -> None:
    """A15."""
    texts = ["a" * 1500, "b" * 1500, "c" * 2500]
    step = FunctionCallStep(name="add", arguments={"a": 1, "b": 1})
    steps: list[list[Step]] = [[Text(text=text), step] for text in texts[:2]]
    scripts = [*(Script(write=0, output=step) for step in steps), Script(write=0, output=[Text(text=texts[2])])]
    await agents.emulator.control.add_scenario(Scenario(name="talkative", responses=scripts))
    run = await agents.start(asks("talkative", transport))
    await result_of(run)
    assert (await progress(run)).preview == "".join(texts)[-4000:]


async def test_a_live_preview_of_a_background_response_grows_while_it_is_written(agents: Agents) -> None:
    """The heartbeat carries the text; history does not."""
    run = await agents.start(asks("write?words=4000&seconds=20", live_preview=True))

    async def preview() -> str:
        raw = (await run.describe()).raw_description
        heartbeats = [activity.heartbeat_details.payloads for activity in raw.pending_activities]
        return next((json.loads(heartbeat[0].data).get("preview", "") for heartbeat in heartbeats if heartbeat), "")

    first = await _grown(preview, "")
    await _grown(preview, first)
    await run.signal("cancel")
    result = await result_of(run)
    assert result.status is AgentStatus.CANCELLED
    [bill] = await agents.responses(run)
    assert (bill.background, bill.stream) == (True, True)


async def _grown(preview: Any, before: str) -> str:
    found = before

    async def longer() -> bool:
        nonlocal found
        found = await preview()
        return len(found) > len(before)

    await until(longer)
    return found
