"""The context window and compactions, as the official client meets them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import APIConnectionError, APIError, AsyncOpenAI, BadRequestError, NotFoundError
from openai.types.responses import FunctionToolParam, Response, ResponseStreamEvent

from durable_responses.emulator.faults import (
    Answer,
    Compaction,
    Effect,
    ExceedContext,
    Excess,
    Fault,
    Operation,
    RefuseField,
    RefuseItem,
    Reset,
)
from tests.support import strictly
from tests.support.emulator_control import RunningEmulator

TOO_LONG = "word " * 4000
TRIGGER: Any = {"type": "compaction_trigger"}
MANAGED: Any = [{"type": "compaction", "compact_threshold": 1000}]
CALLS = "scenario:calls?iterations=3&tool=look"
LOOK: FunctionToolParam = {"type": "function", "name": "look", "parameters": {}, "strict": False}


async def order(emulator: RunningEmulator, effect: Effect, operation: Operation = Operation.CREATE) -> None:
    await emulator.control.add_fault(Fault(operation=operation, effect=effect, times=None))


async def echo(official: AsyncOpenAI, text: str, **request: Any) -> Response:
    response: Response = await official.responses.create(model="scenario:echo", input=text, **request)
    return response


def kinds(response: Response) -> list[str]:
    return [item.type for item in response.output if item.type != "reasoning"]


def answers(response: Response, output: str) -> list[Any]:
    return [
        {"type": "function_call_output", "call_id": item.call_id, "output": output}
        for item in response.output
        if item.type == "function_call"
    ]


async def read_into(seen: list[str], events: AsyncIterator[ResponseStreamEvent]) -> None:
    async for event in events:
        seen.append(event.type)  # noqa: PERF401 what was seen before the end counts


def input_tokens(response: Response) -> int:
    assert response.usage is not None
    return response.usage.input_tokens


# --- the window --------------------------------------------------------------------------------------------------


async def test_what_is_longer_than_the_window_is_refused(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await emulator.control.set_context_window(4000)
    with pytest.raises(BadRequestError, match="exceeds the context window") as refused:
        await echo(official, TOO_LONG)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")
    assert (await emulator.control.billing()).totals.input_tokens == 0


async def test_the_whole_chain_counts(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await emulator.control.set_context_window(3000)
    first = await echo(official, "word " * 1000)
    with pytest.raises(BadRequestError, match="exceeds the context window"):
        await echo(official, "word " * 1000, previous_response_id=first.id)
    assert (await echo(official, "word " * 1000)).status == "completed"


async def test_a_window_belongs_to_the_models_that_match(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await emulator.control.set_context_window(100, model="gpt-*")
    assert (await echo(official, TOO_LONG)).status == "completed"
    with pytest.raises(BadRequestError):
        await official.responses.create(model="gpt-5.4", input=TOO_LONG)


async def test_a_scenario_names_its_window(official: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match="exceeds the context window"):
        await official.responses.create(model="scenario:echo?context_window=100", input=TOO_LONG)


async def test_a_stream_says_it_in_an_event(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await emulator.control.set_context_window(4000)
    seen: list[str] = []
    events = await official.responses.create(model="scenario:echo", input=TOO_LONG, stream=True)
    with pytest.raises(APIError, match="exceeds the context window") as error:
        await read_into(seen, events)
    assert seen == ["response.created", "response.in_progress"]
    assert error.value.code == "context_length_exceeded"


async def test_a_response_fails_of_it(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await emulator.control.set_context_window(4000)
    await order(emulator, ExceedContext(how=Excess.FAILED, code="invalid_prompt"))
    await echo(official, "Short.")
    accepted = await echo(official, TOO_LONG, background=True)
    failed = await official.responses.retrieve(accepted.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "invalid_prompt"
    assert (await emulator.control.billing()).counts.generations == 1


async def test_truncation_leaves_out_the_start(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await emulator.control.set_context_window(3000)
    first = await echo(official, "word " * 1000)
    second = await echo(official, "word " * 1000, previous_response_id=first.id, truncation="auto")
    assert input_tokens(second) <= 3000


# --- compaction in a response ------------------------------------------------------------------------------------


async def test_a_response_compacts_where_its_threshold_is_crossed(official: AsyncOpenAI) -> None:
    events = strictly.stream(official, model="scenario:echo", input=TOO_LONG, context_management=MANAGED)
    seen = [event async for event in events]
    assert "response.compaction.compacting" in [event.type for event in seen]
    assert seen[-1].type == "response.completed"
    response = seen[-1].response
    assert kinds(response) == ["compaction", "message"]
    after = await echo(official, "And?", previous_response_id=response.id)
    assert input_tokens(after) < input_tokens(response) + 1000
    assert kinds(await echo(official, "Short.", context_management=MANAGED)) == ["message"]


async def test_a_threshold_has_a_minimum(official: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match="Expected a value >= 1000") as refused:
        await echo(official, "Hi.", context_management=[{"type": "compaction", "compact_threshold": 999}])
    assert refused.value.param == "context_management[0].compact_threshold"


async def test_turns_of_calls_are_not_compacted_unless_a_fault_says_so(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    options: Any = {"model": CALLS, "input": TOO_LONG, "tools": [LOOK], "context_management": MANAGED}
    assert kinds(await official.responses.create(**options)) == ["function_call"]
    await order(emulator, Compaction())
    first = await official.responses.create(**options)
    assert kinds(first) == ["compaction", "function_call"]
    second = await official.responses.create(
        model=CALLS, previous_response_id=first.id, input=answers(first, "seen"), tools=[LOOK]
    )
    assert kinds(second) == ["function_call"]
    assert input_tokens(second) < input_tokens(first)


# --- compaction that is asked for --------------------------------------------------------------------------------


async def test_a_trigger_makes_a_compaction_and_the_script_counts_on(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    called = await official.responses.create(model=CALLS, input="Go.", tools=[LOOK])
    compacted = await official.responses.create(
        model=CALLS,
        previous_response_id=called.id,
        input=[*answers(called, TOO_LONG), TRIGGER],
        background=True,
        tools=[LOOK],
    )
    compacted = await strictly.retrieve(official, compacted.id)
    assert [item.type for item in compacted.output] == ["compaction"]
    window: Any = [item.model_dump(exclude_none=True) for item in compacted.output]
    second = await official.responses.create(model=CALLS, input=window, tools=[LOOK])
    assert kinds(second) == ["function_call"]
    assert input_tokens(second) < 1000
    third = await official.responses.create(
        model=CALLS, previous_response_id=second.id, input=answers(second, "seen"), tools=[LOOK]
    )
    last = await official.responses.create(
        model=CALLS, previous_response_id=third.id, input=answers(third, "seen"), tools=[LOOK]
    )
    assert last.output_text == "All calls are answered."
    assert (await emulator.control.billing()).counts.compactions == 1


async def test_a_trigger_comes_last(official: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match="must be the last item"):
        await official.responses.create(model="scenario:echo", input=[TRIGGER, {"role": "user", "content": "Hi."}])


@pytest.mark.parametrize(
    ("effect", "request_"),
    [
        (RefuseItem(), {"input": [{"role": "user", "content": "Hi."}, TRIGGER]}),
        (RefuseField(field="context_management"), {"input": "Hi.", "context_management": MANAGED}),
    ],
)
async def test_what_a_server_does_not_know_is_refused_and_nothing_else(
    emulator: RunningEmulator, official: AsyncOpenAI, effect: Effect, request_: Any
) -> None:
    await order(emulator, effect)
    with pytest.raises(BadRequestError):
        await official.responses.create(model="scenario:echo", **request_)
    assert (await echo(official, "Hi.")).status == "completed"


async def test_a_compacted_conversation_goes_on_in_a_new_chain(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    called = await official.responses.create(model=CALLS, input="Go.", tools=[LOOK], metadata={"run": "1"})
    raw = await official.responses.with_raw_response.compact(
        model="gpt-5.4", previous_response_id=called.id, input=answers(called, TOO_LONG)
    )
    compacted = json.loads(raw.content)  # the published type has no messages of the user in it
    window: Any = compacted["output"]
    assert [item["type"] for item in window] == ["message", "compaction"]
    second = await official.responses.create(model=CALLS, input=window, tools=[LOOK])
    assert kinds(second) == ["function_call"]
    assert input_tokens(second) < compacted["usage"]["input_tokens"]
    [line] = (await emulator.control.billing(run="1")).compactions
    assert line.input_tokens == compacted["usage"]["input_tokens"]


async def test_an_item_that_was_made_elsewhere_is_refused(official: AsyncOpenAI) -> None:
    item: Any = {"type": "compaction", "encrypted_content": "gAAAAAelsewhere"}
    with pytest.raises(BadRequestError) as refused:
        await official.responses.create(model="scenario:echo", input=[item, {"role": "user", "content": "Hi."}])
    assert refused.value.code == "invalid_encrypted_content"


async def test_a_server_can_have_no_compact(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Answer(status=404), Operation.COMPACT)
    with pytest.raises(NotFoundError):
        await official.responses.compact(model="gpt-5.4", input="Hi.")
    assert (await emulator.control.billing()).compactions == []


async def test_a_compaction_whose_answer_is_lost_is_billed(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Reset(processed=True), Operation.COMPACT)
    with pytest.raises(APIConnectionError):
        await official.responses.compact(model="gpt-5.4", input="Hi.")
    bill = await emulator.control.billing()
    assert (bill.counts.compactions, bill.totals.input_tokens) == (1, bill.compactions[0].input_tokens)


# --- a long run --------------------------------------------------------------------------------------------------


async def test_two_hundred_iterations_fit_into_a_window_where_the_client_compacts(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    """The client's rule is that of a run: a compaction before the next turn, once 85 % of the window are used."""
    window, output = 32_000, "x" * 8_000
    model = f"scenario:calls?iterations=200&tool=look&context_window={window}"
    options: Any = {"model": model, "tools": [LOOK], "reasoning": {"effort": "none"}}
    response = await official.responses.create(**options, input="Go.")
    while new := answers(response, output):
        previous = response.id
        assert response.usage is not None
        if response.usage.total_tokens > 0.85 * window:
            compacted = await official.responses.create(**options, previous_response_id=previous, input=[*new, TRIGGER])
            kept: Any = [item.model_dump(exclude_none=True) for item in compacted.output]
            response = await official.responses.create(**options, input=kept)
        else:
            response = await official.responses.create(**options, previous_response_id=previous, input=new)
    counts = (await emulator.control.billing()).counts
    assert response.output_text == "All calls are answered."
    assert counts.compactions >= 200 * 2_000 // window
    assert counts.creates_accepted == 201 + counts.compactions
