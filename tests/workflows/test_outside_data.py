"""What models and callers write never jams a run: each of these ends, with an answer or with a clear error."""

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, ItemStep, Script, Step, Text
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentStatus,
    TransportChoice,
    agent_workflow_id,
)
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, progress, reached, result_of, until, working

HALF = rb"\ud83d"


def raw(data: bytes, encoding: bytes = b"json/plain") -> RawValue:
    """A payload as a client in another language sends it."""
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))


async def started_with(agents: Agents, *arguments: Any) -> AgentResult:
    """The result of a run with these arguments, whatever they are."""
    run = await agents.client.start_workflow(
        "AgentWorkflow",
        args=arguments,
        id=agent_workflow_id(),
        task_queue=agents.settings.task_queue,
        result_type=AgentResult,
    )
    return await result_of(run)


async def scripted(agents: Agents, *scripts: Script, **fields: Any) -> tuple[AgentResult, Any]:
    """The result of a run that the model answers like this, and the run."""
    name = f"scripted-{agent_workflow_id()}"
    await agents.emulator.control.add_scenario(Scenario(name=name, responses=list(scripts)))
    run = await agents.start(AgentInput(task="Do it.", metadata={"scenario": name}, **fields))
    return await result_of(run), run


# --- the caller --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one JSON object"),
        (({"task": "t"}, None, {"task": "t"}), "one argument"),
        (({"task": "t"}, None, None, None), "one argument"),
        (({"task": "t"}, raw(b"{")), "one argument"),
        ((raw(b'{"task": "t"'),), "it is not valid JSON"),
        ((raw(b"\x00\x01", b"binary/plain"),), "one JSON object"),
        ((raw(b'{"task": "t"}', b"binary/encrypted"),), "its encoding is not json/plain"),
        ((raw(b"{}", b"json/protobuf"),), "its encoding is not json/plain"),
        ((raw(b'{"task": "t", "text_format": ' + b'{"a":' * 2000 + b"1" + b"}" * 2001),), "text_format: is nested"),
        ((raw(b'{"task": "t", "deadline": Infinity}'),), "deadline: must be a finite number"),
        (({"task": "t", "deadline": 300_000_000_000},), "deadline: seconds, at most 2592000"),
        (({"task": "t", "tool_timeout": 1e300},), "tool_timeout: seconds, at most 86400"),
    ],
)
async def test_arguments_that_cannot_be_used_fail_the_run_and_name_the_field(
    agents: Agents, arguments: tuple[Any, ...], said: str
) -> None:
    result = await started_with(agents, *arguments)
    assert result.error is not None
    assert result.error.type == "invalid_input"
    assert said in result.error.message


async def test_half_a_character_of_the_caller_does_no_harm(agents: Agents) -> None:
    """JavaScript cuts an emoji in half and writes it as an escape that no UTF-8 text can hold."""
    text = b'"cut ' + HALF + b'"'
    fields = b", ".join(b'"%s": %s' % (name, text) for name in (b"task", b"context", b"instructions", b"model"))
    result = await started_with(agents, raw(b'{%s, "metadata": {"scenario": "echo", "x": %s}}' % (fields, text)))
    assert result.status is AgentStatus.COMPLETED
    assert result.output_text.startswith("cut \ufffd")


@pytest.mark.parametrize(
    "reason", [raw(b'"cut ' + HALF + b'"'), raw(b"{"), raw(b"x", b"odd"), raw(b"[" * 3000), "x" * 1_500_000, 10**4000]
)
async def test_a_cancel_with_any_reason_cancels(agents: Agents, reason: Any) -> None:
    run = await agents.start(AgentInput(task="t", metadata={"scenario": "think?seconds=60"}))
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("cancel", reason)
    result = await result_of(run)
    assert result.status is AgentStatus.CANCELLED


async def test_signals_that_hold_anything_do_no_harm(agents: Agents) -> None:
    run = await agents.start(AgentInput(task="t", metadata={"scenario": "think?seconds=2"}))
    odd = [
        raw(b'"cut ' + HALF + b'"'),
        raw(b"{"),
        raw(b"9" * 4200),
        raw(b"[" * 150 + b"]" * 150),
        {"response_id": 7, "preview": []},
        {"queue": "q" * 5000},
        {"response_status": "s" * 1_500_000},
        {"response_id": ""},
    ]
    for value in odd:
        await run.signal("steer", value)
        await run.signal("report_progress", value)
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert len((await progress(run)).steers) == len(odd)


async def test_a_tool_that_a_person_completed_with_something_else_has_an_unknown_outcome(agents: Agents) -> None:
    """Temporal's own tools complete an activity with any JSON."""
    call = Script(output=[FunctionCallStep(name="wait_long", arguments={})])
    name = f"scripted-{agent_workflow_id()}"
    answered = Script(output=[Text(text="I see.")])
    await agents.emulator.control.add_scenario(Scenario(name=name, responses=[call, answered]))
    run = await agents.start(AgentInput(task="Do it.", metadata={"scenario": name}))
    await reached(run, lambda state: bool(state.function_calls))
    await completed_by_hand(agents, run, "call_tool", {"odd": [1]})
    assert (await result_of(run)).output_text == "I see."
    assert [call.status for call in (await progress(run)).function_calls] == ["unknown"]


async def test_a_wait_that_a_person_completed_with_something_else_fails_the_run_by_name(agents: Agents) -> None:
    request = AgentInput(task="t", metadata={"scenario": "think?seconds=60"}, transport=TransportChoice.BACKGROUND)
    run = await agents.start(request)
    await reached(run, lambda state: state.response_id is not None)
    await completed_by_hand(agents, run, "await_response", {"odd": [1]})
    result = await result_of(run)
    assert result.error is not None
    assert result.error.type == "unusable_data"
    [bill] = await agents.responses(run)
    assert bill.status == "cancelled"


async def completed_by_hand(agents: Agents, run: Any, activity: str, result: Any) -> None:
    async def pending() -> bool:
        found = (await run.describe()).raw_description.pending_activities
        return any(each.activity_type.name == activity for each in found)

    await until(pending)
    [found] = (await run.describe()).raw_description.pending_activities
    handle = agents.client.get_async_activity_handle(
        workflow_id=run.id, run_id=run.result_run_id, activity_id=found.activity_id
    )
    await handle.complete(result)


# --- the model ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        "[" * 1000,
        '{"a":' * 5000,
        r'{"a": "\ud83d"}',
        r'{"\ud83d": 1, "b": 2}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": NaN}',
        "{" + "\x01" * 1000,
        "\u2028" * 500,
    ],
)
async def test_arguments_of_a_call_may_be_anything(agents: Agents, arguments: str) -> None:
    call = Script(output=[FunctionCallStep(name="add", arguments=arguments)])
    result, run = await scripted(agents, call, Script(output=[Text(text="I see.")]))
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "I see.")
    [answer] = await agents.answers(run, iteration=2)
    assert answer.startswith("Error: ")


async def test_calls_beyond_the_limit_are_answered_that_there_are_too_many(agents: Agents) -> None:
    """A response with more calls than Temporal allows activities at once would jam its run."""
    calls: list[Step] = [FunctionCallStep(name="add", arguments={"a": 1, "b": 2})] * 300
    result, run = await scripted(
        agents,
        Script(write=0, output=calls),
        Script(output=[Text(text="I see.")]),
        transport=TransportChoice.BACKGROUND,
    )
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "I see.")
    answers = await agents.answers(run, iteration=2)
    assert [answer[:22] for answer in answers] == ["3"] * 128 + ["Error: too many calls:"] * 172


async def test_a_workers_setting_says_how_many_calls_are_too_many(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> None:
    calls: list[Step] = [FunctionCallStep(name="add", arguments={"a": 1, "b": 2})] * 5
    few = settings.model_copy(update={"max_calls_per_response": 3})
    async with working(client, provider, few):
        agents = Agents(client, emulator, few)
        for transport in TransportChoice:
            script = Script(output=calls), Script(output=[Text(text="I see.")])
            _, run = await scripted(agents, *script, transport=transport)
            answers = await agents.answers(run, iteration=2)
            assert [answer[:22] for answer in answers] == ["3"] * 3 + ["Error: too many calls:"] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"a": 1, "b": 2}, "3"), ('{"a": 1, "b": 2}', "3"), (None, "Field required"), ([1], "must be one JSON object")],
)
async def test_a_call_with_arguments_of_another_type_is_answered(agents: Agents, arguments: Any, said: str) -> None:
    call = ItemStep(item={"type": "function_call", "call_id": "call_1", "name": "add", "arguments": arguments})
    result, run = await scripted(agents, Script(output=[call]), Script(output=[Text(text="I see.")]))
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "I see.")
    [answer] = await agents.answers(run, iteration=2)
    assert said in answer


@pytest.mark.parametrize(
    ("text", "structured"),
    [
        ("[" * 300 + "]" * 300, None),
        ("[" * 2000, None),
        (r'{"answer": "\ud83d"}', {"answer": "\ufffd"}),
        ('{"answer": 1e999}', None),
        ('{"answer": ' + "9" * 5000 + "}", None),
    ],
)
async def test_a_structured_answer_may_be_anything(agents: Agents, text: str, structured: Any) -> None:
    result, _ = await scripted(agents, Script(output=[Text(text=text)]), text_format={"type": "json_object"})
    assert result.status is AgentStatus.COMPLETED
    assert (result.output_text, result.structured_output) == (text, structured)


async def test_answers_that_grow_as_json_fit_into_a_payload(agents: Agents) -> None:
    calls: list[Step] = [FunctionCallStep(name="return_control_characters", arguments={"count": 100_000})] * 5
    result, run = await scripted(agents, Script(output=calls), Script(output=[Text(text="I see.")]))
    assert result.output_text == "I see."
    assert all("too many to be given whole" in answer for answer in await agents.answers(run, iteration=2))


EMPTY = Script(output=[Text(text="")])


@pytest.mark.parametrize("transport", [each for each in TransportChoice if each is not TransportChoice.AUTO])
async def test_an_empty_message_is_asked_for_again_once(agents: Agents, transport: TransportChoice) -> None:
    """Both are billed and listed; the second one continues from where the first one did."""
    call = Script(output=[FunctionCallStep(name="add", arguments={"a": 1, "b": 2})])
    slowly_nothing = EMPTY.model_copy(update={"think": 1.5})
    await agents.emulator.control.add_scenario(Scenario(name="mute", responses=[call, slowly_nothing]))
    run = await agents.start(AgentInput(task="Do it.", metadata={"scenario": "mute"}, transport=transport))

    async def asked_twice() -> bool:
        return len(await agents.responses(run)) == 2

    await until(asked_twice)
    speaking = Scenario(name="mute", responses=[call, Script(output=[Text(text="I see.")])])
    await agents.emulator.control.add_scenario(speaking)
    result = await result_of(run)
    assert (result.status, result.output_text, result.iterations) == (AgentStatus.COMPLETED, "I see.", 2)
    bills = await agents.responses(run)
    assert [bill.previous_response_id for bill in bills] == [None, bills[0].id, bills[0].id]
    assert [bill.metadata["attempt"] for bill in bills] == ["1", "1", "2"]
    assert [entry.response_id for entry in result.responses] == [bill.id for bill in bills]


async def test_an_answer_that_stays_empty_fails_the_run(agents: Agents) -> None:
    result, run = await scripted(agents, EMPTY, EMPTY, EMPTY)
    assert result.error is not None
    assert result.error.type == "empty_output"
    assert len(await agents.responses(run)) == 2


async def test_comments_on_the_work_are_not_the_answer(agents: Agents) -> None:
    """They are part of the preview; a structured answer is read without them."""
    said = [Text(text="I look it up.", phase="commentary"), Text(text='{"answer": 3}', phase="final_answer")]
    result, run = await scripted(agents, Script(output=[*said]), text_format={"type": "json_object"})
    assert (result.output_text, result.structured_output) == ('{"answer": 3}', {"answer": 3})
    assert (await progress(run)).preview == 'I look it up.{"answer": 3}'
