"""Whole runs whose function calls need their owner's answer, and whose model asks questions."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.worker import Worker

from durable_responses.activities.tools import ToolActivities
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.provider import Provider
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.settings import Settings
from durable_responses.tools.approvals import Approvals, call_hash
from durable_responses.tools.registry import Effect, Registry, ToolContext, tool
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import (
    AgentInput,
    AgentState,
    AgentStatus,
    CallStatus,
    IncompleteReason,
    InputRequest,
    InputRequestKind,
    InputRequestStatus,
    TransportChoice,
)
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, progress, reached, result_of, working

Run = WorkflowHandle[Any, Any]
ASK_FOR_WRITES = [{"tool": "write_*", "action": "ask", "reason": "Files are dear to me"}]
WRITE = ("write_file", {"path": "a.txt", "content": "A"})
ADD = ("add", {"a": 1, "b": 2})


async def calling(agents: Agents, *calls: tuple[str, Any], then: str = "Done.", **fields: Any) -> Run:
    """A run whose model makes these calls in its first response."""
    name = f"of-{agents.settings.task_queue}"
    steps = [FunctionCallStep(name=tool_name, arguments=arguments) for tool_name, arguments in calls]
    scenario = Scenario(name=name, responses=[Script(output=[*steps]), Script(output=[Text(text=then)])])
    await agents.emulator.control.add_scenario(scenario)
    fields = {"transport": TransportChoice.BACKGROUND, **fields}
    return await agents.start(AgentInput(task="Do it.", metadata={"scenario": name}, **fields))


async def asked(run: Run, number: int = 1) -> list[InputRequest]:
    """The requests that the run waits with."""

    def opened(state: AgentState) -> list[InputRequest]:
        return [request for request in state.input_requests if request.is_open]

    return opened(await reached(run, lambda state: len(opened(state)) == number))


async def respond(run: Run, *arguments: Any) -> InputRequest:
    return InputRequest.model_validate(await run.execute_update("respond", args=arguments))


def written(agents: Agents, name: str = "a.txt") -> bool:
    return (agents.settings.workspace / name).exists()


async def test_a_call_waits_for_its_owner_and_then_runs_as_it_was_shown(agents: Agents) -> None:
    run = await calling(agents, WRITE, approvals=ASK_FOR_WRITES)
    [request] = await asked(run)
    assert request.kind is InputRequestKind.APPROVAL
    assert request.call is not None
    assert (request.call.name, json.loads(request.call.arguments)) == WRITE
    assert request.call.hash == call_hash(request.call.name, request.call.arguments)
    assert request.call.arguments in request.message
    assert "Files are dear to me" in request.message
    assert not written(agents)
    await respond(run, {"id": request.id, "answer": "allow", "by": "Ada"})
    result = await result_of(run)
    assert result.status is AgentStatus.COMPLETED
    assert (agents.settings.workspace / "a.txt").read_text() == "A"
    assert [(request.answer, request.by) for request in result.requests] == [("allow", "Ada")]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("deny", "its owner denied it"),
        ("Use b.txt instead", 'its owner denied it and says: "Use b.txt instead"'),
        ({"decision": "deny", "words": "Not today"}, 'its owner denied it and says: "Not today"'),
        ("allow, but not on a Sunday", 'says: "allow, but not on a Sunday"'),
    ],
)
async def test_a_denial_reaches_the_model_with_the_owners_words(agents: Agents, answer: Any, told: str) -> None:
    run = await calling(agents, WRITE, approvals=ASK_FOR_WRITES)
    [request] = await asked(run)
    await respond(run, request.id, answer)
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert not written(agents)
    [output] = await agents.answers(run, iteration=2)
    assert told in output
    assert [call.status for call in (await progress(run)).function_calls] == [CallStatus.FAILED]


async def test_what_the_owner_says_with_a_yes_reaches_the_model_too(agents: Agents) -> None:
    run = await calling(agents, WRITE, approvals=ASK_FOR_WRITES)
    [request] = await asked(run)
    await respond(run, request.id, {"decision": "allow", "words": "The last one for today"})
    await result_of(run)
    [output] = await agents.answers(run, iteration=2)
    assert "The last one for today" in output


async def test_calls_that_need_no_answer_run_meanwhile(agents: Agents) -> None:
    run = await calling(agents, WRITE, ADD, approvals=ASK_FOR_WRITES)
    [request] = await asked(run)
    state = await reached(run, lambda state: state.function_calls[1].status is CallStatus.SUCCEEDED)
    assert state.function_calls[0].status is CallStatus.RUNNING
    assert [call.waits_for for call in state.function_calls] == [request.id, None]
    await respond(run, "allow")
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert [call.waits_for for call in (await progress(run)).function_calls] == [None, None]


async def test_each_call_is_asked_about_by_itself(agents: Agents) -> None:
    other = ("write_file", {"path": "b.txt", "content": "B"})
    run = await calling(agents, WRITE, other, approvals="ask")
    first, second = await asked(run, 2)
    await respond(run, second.id, "allow")
    await respond(run, first.id, "deny")
    await result_of(run)
    assert (written(agents, "a.txt"), written(agents, "b.txt")) == (False, True)


async def test_many_calls_are_asked_about_at_once(agents: Agents) -> None:
    """With arguments that a message cannot show whole."""
    large = "\u202e" * 3_000
    run = await calling(
        agents, *[("write_file", {"path": f"{n}.txt", "content": large}) for n in range(20)], approvals="ask"
    )
    requests = await asked(run, 20)
    assert all(request.call and request.call.size > 9_000 for request in requests)
    assert "\u202e" not in requests[0].message
    for request in requests:
        await run.signal("respond", {"id": request.id, "answer": "allow" if request is requests[-1] else "deny"})
    result = await result_of(run, 60)
    assert (result.status, len(result.requests)) == (AgentStatus.COMPLETED, 20)
    assert [each.name for each in agents.settings.workspace.iterdir()] == ["19.txt"]


async def test_a_rule_may_deny_without_anybody_being_asked(agents: Agents) -> None:
    run = await calling(agents, WRITE, approvals=[{"tool": "write_file", "action": "deny", "reason": "Read only."}])
    assert (await result_of(run)).requests == []
    assert await agents.answers(run, iteration=2) == ["Error: write_file did not run: Read only."]
    assert not written(agents)


async def test_nobody_is_asked_about_what_only_reads(agents: Agents) -> None:
    run = await calling(agents, ADD, approvals="ask")
    assert (await result_of(run)).requests == []
    assert await agents.answers(run, iteration=2) == ["3"]


@pytest.mark.parametrize("call", [("no_such_tool", {}), ("write_file", "{not JSON"), ("write_file", {"path": 7})])
async def test_nobody_is_asked_about_a_call_that_cannot_run(agents: Agents, call: tuple[str, Any]) -> None:
    run = await calling(agents, call, approvals="ask")
    assert (await result_of(run)).requests == []
    [output] = await agents.answers(run, iteration=2)
    assert output.startswith("Error: ")


async def test_a_cancel_ends_a_run_that_waits_for_an_approval(agents: Agents) -> None:
    run = await calling(agents, WRITE, ADD, approvals=ASK_FOR_WRITES)
    await asked(run)
    await run.signal("cancel", "enough")
    result = await result_of(run)
    assert result.status is AgentStatus.CANCELLED
    assert [request.status for request in result.requests] == [InputRequestStatus.WITHDRAWN]
    assert not written(agents)


async def test_the_deadline_ends_a_run_that_waits_for_an_approval(agents: Agents) -> None:
    run = await calling(agents, WRITE, approvals=ASK_FOR_WRITES, deadline=3)
    result = await result_of(run)
    assert result.status is AgentStatus.INCOMPLETE
    assert not written(agents)


async def test_an_approval_that_nobody_gives_in_time_is_denied(agents: Agents) -> None:
    run = await calling(agents, WRITE, approvals=ASK_FOR_WRITES, answer_within=1)
    result = await result_of(run)
    assert result.status is AgentStatus.COMPLETED
    [request] = result.requests
    assert (request.status, request.default, request.answer) == (InputRequestStatus.EXPIRED, "deny", "deny")
    [output] = await agents.answers(run, iteration=2)
    assert "nobody answered in time" in output
    assert not written(agents)


async def test_a_run_that_has_reached_its_deadline_ends_if_nobody_gives_it_more_time(agents: Agents) -> None:
    fields: dict[str, Any] = {"deadline": 0.5, "on_deadline": "ask", "answer_within": 1}
    result = await agents.run(AgentInput(task="Do it.", metadata={"scenario": "think?seconds=60"}, **fields))
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, IncompleteReason.DEADLINE)
    assert [(each.status, each.answer) for each in result.requests] == [(InputRequestStatus.EXPIRED, "stop")]


async def test_a_run_without_rules_has_no_activity_about_them(agents: Agents) -> None:
    run = await calling(agents, WRITE, approvals={"rules": [{"tool": "*", "action": "allow"}]})
    await result_of(run)
    events = (await run.fetch_history()).events
    names = [event.activity_task_scheduled_event_attributes.activity_type.name for event in events]
    assert ("call_tool" in names, "decide_calls" in names) == (True, False)


async def test_a_tool_of_the_model_that_asks_is_not_another_one(agents: Agents) -> None:
    own = {"name": "ask_owner", "parameters": {"type": "object"}, "task_queue": "q"}
    result = await agents.run({"task": "Do it.", "allow_questions": True, "caller_tools": [own]})
    assert result.error is not None
    assert "no tool may be called ask_owner" in result.error.message


# --- the rules of a worker ---------------------------------------------------------------------------------------


def with_rules(settings: Settings, approvals: Any) -> Settings:
    return settings.model_copy(update={"approvals": Approvals.model_validate(approvals)})


@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET])
async def test_the_rules_of_a_worker_hold_for_runs_that_bring_none(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings, transport: TransportChoice
) -> None:
    settings = with_rules(settings, ASK_FOR_WRITES)
    async with working(client, provider, settings):
        agents = Agents(client, emulator, settings)
        run = await calling(agents, WRITE, transport=transport)
        await asked(run)
        assert not written(agents)
        await respond(run, "allow")
        assert (await result_of(run)).status is AgentStatus.COMPLETED
        assert written(agents)


async def test_a_run_cannot_loosen_the_rules_of_its_worker(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> None:
    settings = with_rules(settings, [{"tool": "write_file", "action": "deny"}])
    async with working(client, provider, settings):
        agents = Agents(client, emulator, settings)
        run = await calling(agents, WRITE, approvals=[{"tool": "*", "action": "allow"}])
        await result_of(run)
        assert not written(agents)


async def test_each_worker_goes_by_its_own_rules_for_what_it_runs(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> None:
    """The worker that creates responses knows of no rules."""
    strict = with_rules(settings, ASK_FOR_WRITES)
    others = [queue for queue in Queue if queue is not Queue.TOOLS]
    async with working(client, provider, settings, others), working(client, provider, strict, [Queue.TOOLS]):
        agents = Agents(client, emulator, settings)
        run = await calling(agents, WRITE, ADD)
        [request] = await asked(run)
        assert not written(agents)
        await respond(run, request.id, "allow")
        assert (await result_of(run)).status is AgentStatus.COMPLETED
        assert written(agents)


async def test_rules_that_have_become_stricter_meanwhile_count(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> None:
    """Whatever the owner has allowed."""
    denying = with_rules(settings, [{"tool": "write_file", "action": "deny"}])
    async with working(client, provider, settings):
        agents = Agents(client, emulator, settings)
        run = await calling(agents, WRITE, approvals=ASK_FOR_WRITES)
        [request] = await asked(run)
    await run.signal("respond", {"id": request.id, "answer": "allow"})
    async with working(client, provider, denying):
        assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert not written(agents)


@pytest.mark.parametrize("field", ["enable_web_search", "enable_code_interpreter"])
async def test_a_tool_that_runs_at_the_provider_is_refused_where_a_rule_would_have_somebody_asked(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings, field: str
) -> None:
    rules = [{"tool": "*", "action": "ask"}]
    strict = with_rules(settings, rules)
    async with working(client, provider, strict):
        agents = Agents(client, emulator, settings)
        asks: dict[str, Any] = {field: True}
        for approvals in (None, rules):
            result = await result_of(await calling(agents, ADD, approvals=approvals, **asks))
            assert result.error is not None
            assert (result.error.type, field in result.error.message) == ("invalid_input", True)
            assert result.iterations <= 1


# --- tools of the caller's program -------------------------------------------------------------------------------


async def test_a_call_of_the_callers_program_waits_for_its_owner_as_well(
    agents: Agents, client: Client, tmp_path: Path
) -> None:
    queue = f"program-{agents.settings.task_queue}"
    ran: list[str] = []

    def _shout(text: str) -> str:
        """Shout."""
        ran.append(text)
        return text.upper()

    own = {"name": "_shout", "parameters": {"type": "object"}, "strict": False, "task_queue": queue}
    program = ToolActivities(Registry([tool(effect=Effect.ONCE)(_shout)]), ToolContext(tmp_path))
    async with Worker(client, task_queue=queue, activities=[program.call_tool]):
        run = await calling(agents, ("_shout", {"text": "hi"}), approvals="ask", caller_tools=[own])
        await asked(run)
        assert ran == []
        await respond(run, "allow")
        assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert ran == ["hi"]


# --- questions ---------------------------------------------------------------------------------------------------

QUESTION = ("ask_owner", {"question": "Which colour?", "choices": ["red", "blue"], "why": "I paint."})


async def test_a_question_of_the_model_is_answered_by_its_owner(agents: Agents) -> None:
    run = await calling(agents, QUESTION, allow_questions=True)
    [request] = await asked(run)
    assert (request.kind, request.choices) == (InputRequestKind.QUESTION, ["red", "blue"])
    assert ("Which colour?" in request.message, "I paint." in request.message) == (True, True)
    await respond(run, "BLUE")
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await agents.answers(run, iteration=2) == ["blue"]


async def test_an_owner_may_answer_in_their_own_words(agents: Agents) -> None:
    words = "Neither: green.\nOr " + "very " * 1000 + "dark green."
    run = await calling(agents, QUESTION, allow_questions=True)
    [request] = await asked(run)
    await respond(run, request.id, words)
    result = await result_of(run)
    assert await agents.answers(run, iteration=2) == [words]
    assert len(result.requests[0].answer or "") < 1000


async def test_several_questions_are_several_requests_beside_calls_that_run(agents: Agents) -> None:
    other = ("ask_owner", {"question": "How many?", "choices": None, "why": None})
    run = await calling(agents, QUESTION, ADD, other, allow_questions=True)
    colour, number = await asked(run, 2)
    await respond(run, number.id, 3)
    await respond(run, colour.id, "red")
    await result_of(run)
    assert await agents.answers(run, iteration=2) == ["red", "3", "3"]


async def test_a_question_that_nobody_answers_in_time_has_no_answer(agents: Agents) -> None:
    run = await calling(agents, QUESTION, allow_questions=True, answer_within=1)
    result = await result_of(run)
    assert [(request.status, request.answer) for request in result.requests] == [(InputRequestStatus.EXPIRED, None)]
    [output] = await agents.answers(run, iteration=2)
    assert "nobody answered in time" in output


async def test_a_question_without_a_question_goes_back_to_the_model(agents: Agents) -> None:
    run = await calling(agents, ("ask_owner", {"question": " "}), allow_questions=True)
    assert (await result_of(run)).requests == []
    [output] = await agents.answers(run, iteration=2)
    assert output.startswith("Error: The arguments of ask_owner do not fit: question")


async def test_a_model_can_ask_only_where_it_may(agents: Agents) -> None:
    run = await calling(agents, QUESTION)
    assert (await result_of(run)).requests == []
    [output] = await agents.answers(run, iteration=2)
    assert "There is no tool named 'ask_owner'" in output


@pytest.mark.parametrize("may_ask", [False, True])
async def test_the_model_is_told_whether_somebody_answers(agents: Agents, may_ask: bool) -> None:
    run = await calling(agents, ADD, allow_questions=may_ask)
    await result_of(run)
    [first, *_] = await agents.responses(run)
    async with ResponsesClient(agents.emulator.base_url, None) as client:
        response = (await client.retrieve(first.id)).response.model_dump()
    assert ("nobody will answer questions" in response["instructions"]) is not may_ask
    assert ("ask_owner" in [each.get("name") for each in response["tools"]]) is may_ask


async def test_an_empty_answer_is_refused(agents: Agents) -> None:
    run = await calling(agents, QUESTION, allow_questions=True)
    [request] = await asked(run)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await respond(run, request.id, "  ")
    assert "The answer is empty" in str(caught.value.cause)
    await respond(run, request.id, "red")
    await result_of(run)
