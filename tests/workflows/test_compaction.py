"""When a run has its conversation compacted, by tables; and whole runs at a server whose model has a small window."""

from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.emulator.faults import Answer, ExceedContext, Excess, Fault, Operation
from durable_responses.jobs.jobs import Jobs
from durable_responses.jobs.story import ResponseStep
from durable_responses.responses_api.context_errors import exceeds_window, is_too_long
from durable_responses.responses_api.models import FunctionCallOutput, InputImage, InputText, Response
from durable_responses.settings import Settings
from durable_responses.tools.outputs import id_in, shortened
from durable_responses.workflows.compaction import (
    bound_after,
    cut_answers,
    has_compaction,
    is_nearly_full,
    tokens_after,
)
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentStatus,
    InputRequestKind,
    OnRefusal,
    TransportChoice,
)
from tests.support.chainless_servers import Chain
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, agents_at, progress, reached, result_of
from tests.support.windowed_server import WindowedServer, serving_windowed

# --- the rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "window", "expected"),
    [(851, 1000, True), (850, 1000, False), (None, 1000, False), (851, None, False)],
)
def test_a_conversation_of_more_than_85_percent_of_the_window_is_compacted(
    tokens: int | None, window: int | None, expected: bool
) -> None:
    assert is_nearly_full(tokens, window) is expected


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("context_length_exceeded", "", True),
        (None, "Your input exceeds the context window of this model.", True),
        ("400", "This model's maximum context length is 8192 tokens.", True),
        ("exceed_context_size_error", "the request exceeds the available context size, try increasing it", True),
        ("ContextWindowExceededError", None, True),
        ("model_max_prompt_tokens_exceeded", "prompt token count of 70000 exceeds the limit of 64000", True),
        ("tokens_limit_reached", "Request body too large for gpt-4o model. Max size: 8000 tokens.", True),
        (None, "The decoder prompt (length 5000) is longer than the maximum model length of 4096.", True),
        (None, "prompt too long; exceeded max context length by 904 tokens", True),
        (None, "input length exceeds the context length", True),
        (None, "prompt is too long: 213462 tokens > 200000 maximum", True),
        (None, "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).", True),
        (None, "Input is too long for requested model.", True),
        (None, "This model's maximum prompt length is 131072 but the request contains 537812 tokens.", True),
        (None, "The input (5000 tokens) is longer than the model's context length (4096 tokens).", True),
        (None, "Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens).", True),
        (None, "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded", True),
        (None, "The number of tokens to keep from the initial prompt is greater than the context length.", True),
        (None, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", True),
        (None, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens", True),
        (None, "too many tokens: total number of tokens in the prompt exceeds the limit of 128000", True),
        (None, "context window exceeds limit (2013)", True),
        (None, "Your request exceeded model token limit: 8192", True),
        ("invalid_prompt", "Invalid prompt.", False),
        ("rate_limit_exceeded", "Request too large: Limit 30000 tokens per min, Requested 40000.", False),
        (None, "Too many tokens per minute: the request exceeds the rate limit.", False),
        ("string_above_max_length", "Invalid 'input': string too long. Expected at most 10485760 characters.", False),
        ("insufficient_quota", "You exceeded your current quota.", False),
        ("invalid_value", "Invalid 'safety_identifier': string too long.", False),
        ("invalid_value", "max_output_tokens exceeds the maximum of 128000 for this model.", False),
        (None, "The file is too large.", False),
        (None, None, False),
    ],
)
def test_code_or_message_says_that_the_window_is_exceeded(
    code: str | None, message: str | None, expected: bool
) -> None:
    assert exceeds_window(code, message) is expected
    assert is_too_long(code, message) is expected


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (
            None,
            "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
            True,
        ),
        (
            None,
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
            True,
        ),
        (None, "Range of input length should be [1, 30720]", True),
        (None, "Prompt length 9000 exceeds max model len 8192", True),
        (None, "Prompt exceeds max length", True),
        (None, "The prompt contains 9000 tokens, which is more than the model's limit of 8192", True),
        (None, "The total length of input tokens and max_tokens exceeds model limit", True),
        (None, "Content exceeds the maximum number of input tokens permitted", True),
        (None, "The request's token count 140000 is greater than the maximum of 131072", True),
        (None, "context size has been exceeded", True),
        (None, "messages too long for model, max 8192 tokens", True),
        (None, "This model only supports up to 32768 tokens", True),
        (None, "litellm.ContextWindowExceededError: the provider says no", True),
        (None, "error code: context_length_exceeded", True),
        (None, "您的输入超过了模型的最大上下文长度", True),
        ("input_length_exceeded", None, True),
        ("context_overflow", None, True),
        (None, "max_tokens is too large: 200000. This model supports at most 128000 completion tokens", False),
        (None, "Invalid 'instructions': string length 300000 exceeds maximum length 256000", False),
        (None, "The organization's input tokens exceed the configured limit for this month", False),
        (None, "Input tokens exceed the maximum number of tokens per minute", False),
        (None, "The image input is more than the maximum of 20 MB", False),
        (None, "Unknown parameter: 'context_management'", False),
        (None, "Too many tools: at most 128", False),
    ],
)
def test_words_that_were_learned_later_say_it_too(code: str | None, message: str | None, expected: bool) -> None:
    """Apart from the others: the histories of runs that did not know them are replayed."""
    assert not exceeds_window(code, message)
    assert is_too_long(code, message) is expected


def test_what_a_response_has_compacted_itself_has_no_length_that_is_known() -> None:
    usage = {"input_tokens": 90, "output_tokens": 5}
    plain = Response.model_validate({"id": "resp_1", "status": "completed", "usage": usage})
    item = {"type": "compaction", "encrypted_content": "x"}
    compacted = Response.model_validate({"id": "resp_1", "status": "completed", "usage": usage, "output": [item]})
    assert (tokens_after(plain), has_compaction(plain)) == (95, False)
    assert (tokens_after(compacted), has_compaction(compacted)) == (None, True)
    assert (bound_after(plain), bound_after(compacted)) == (95, None)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"output_tokens": 5},
        {"input_tokens": 5},
        {"input_tokens": 5, "output_tokens": "five"},
        {"input_tokens": 5, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 90}},
        {"input_tokens": 5, "output_tokens": 5, "total_tokens": 100},
    ],
)
def test_a_usage_that_cannot_be_trusted_bounds_nothing(usage: dict[str, Any] | None) -> None:
    received = Response.model_validate({"id": "resp_1", "status": "completed", "usage": usage})
    assert bound_after(received) is None
    assert bound_after(Response.model_validate(received.model_dump(mode="json"))) is None  # as history has it


def test_answers_are_cut_to_head_tail_and_size_within_what_the_conversation_leaves() -> None:
    whole = FunctionCallOutput(call_id="c1", output="a" * 5000 + "z" * 5000)
    short = FunctionCallOutput(call_id="c2", output="4")
    first, second = cut_answers([whole, short], tokens=6000, window=10_000)
    assert second == short
    assert first.text.startswith("aaa")
    assert first.text.endswith("zzz")
    assert "10,000 bytes" in first.text
    assert len(first.text) < 1200
    assert "the conversation has no room" in first.text
    assert "get it in smaller parts" in first.text


def test_the_images_of_an_answer_that_is_cut_stay() -> None:
    image = InputImage(image_url="kept:1-1-1.png")
    whole = FunctionCallOutput(call_id="c1", output=[InputText(text="a" * 10_000), image])
    [cut] = cut_answers([whole], tokens=6000, window=10_000)
    assert len(cut.text) < 2500
    assert cut.output[-1] == image


def test_an_answer_that_is_kept_can_be_read_on_however_much_it_is_cut() -> None:
    kept = FunctionCallOutput(call_id="c1", output=shortened("x" * 100_000, "3-1", 32_000))
    [cut] = cut_answers([kept], tokens=6000, window=10_000)
    assert id_in(cut.text) == "3-1"
    assert len(cut.output) < 2300


# --- whole runs --------------------------------------------------------------------------------------------------


def asks(server: WindowedServer, **fields: Any) -> AgentInput:
    given: dict[str, Any] = {
        "transport": TransportChoice.STREAM,
        "max_iterations": 60,
        "context_window": server.window,
        **fields,
    }
    return AgentInput(task="Add.", tools=["add"], **given)


def compactions(result: AgentResult) -> int:
    return sum(entry.status == "compaction" for entry in result.responses)


@pytest.mark.parametrize("conversation", ["auto", "server", "full"])
@pytest.mark.parametrize("ways", [{}, {"triggers": False}], ids=["trigger", "compact"])
@pytest.mark.parametrize("transport", [TransportChoice.STREAM, TransportChoice.BACKGROUND])
async def test_a_run_outlives_its_context_window(
    client: Client,
    emulator: RunningEmulator,
    settings: Settings,
    conversation: str,
    ways: dict[str, Any],
    transport: TransportChoice,
) -> None:
    """Each compaction is listed, none is an iteration, and each begins a new chain."""
    if conversation == "full" and transport is TransportChoice.BACKGROUND:
        transport = TransportChoice.AUTO
    with serving_windowed(WindowedServer(Chain.CONTINUED, calls=30, padding=1500, queues=True, **ways)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(server, conversation=conversation, transport=transport))
            result = await result_of(run)
            state = await progress(run)
            story = await Jobs(client, settings.task_queue).story(run.id)
    assert (result.status, result.error) == ("completed", None)
    assert result.iterations == 31
    assert len(state.function_calls) == 30
    assert compactions(result) == len(server.compactions) == len(state.compactions) > 0
    told = [step.status for step in story.steps if isinstance(step, ResponseStep)]
    assert told.count("compaction") == len(server.compactions)
    begun = [asked for asked in server.asked if asked.get("previous_response_id") is None]
    if conversation != "full":
        assert len(begun) == 1 + len(server.compactions)
    assert result.usage.input_tokens == sum(entry.input_tokens for entry in result.responses)


async def test_without_compaction_the_refusal_ends_the_run(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving_windowed(WindowedServer(Chain.CONTINUED, calls=30, padding=1500)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(server, compaction="off", on_refusal="fail"))
    assert result.error is not None
    assert (result.status, result.error.code) == ("failed", "context_length_exceeded")
    assert server.compactions == []


async def test_a_server_that_compacts_in_no_way_is_said_so(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    ways: dict[str, Any] = {"triggers": False, "compacts": False}
    with serving_windowed(WindowedServer(Chain.CONTINUED, calls=30, padding=1500, **ways)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(server, on_refusal="fail"))
    assert (result.status, compactions(result)) == ("failed", 0)
    assert "the conversation is not compacted: the server has no way to" in result.request_changes


async def test_what_exceeds_the_window_is_compacted_once_and_the_run_goes_on(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    """The window is smaller than the run was told, so only the refusal says that it is full."""
    with serving_windowed(WindowedServer(Chain.CONTINUED, calls=30, padding=1500)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            server.triggers = False  # which it would refuse for its length, too
            result = await agents.run(asks(server, context_window=100_000))
    assert (result.status, result.error) == ("completed", None)
    assert compactions(result) == len(server.compactions) > 0


async def test_context_management_is_asked_for_at_seventy_percent_of_the_window(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving_windowed(WindowedServer(Chain.CONTINUED)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            await agents.run(asks(server))
            await agents.run(
                AgentInput(task="Add.", model="a-model-that-nobody-knows", transport=TransportChoice.STREAM)
            )
    asked = [body.get("context_management") for body in server.asked]
    assert asked == [[{"type": "compaction", "compact_threshold": 5600}]] * 2 + [None] * 2


# --- how it is said that the window is exceeded --------------------------------------------------------------------

SAID = {
    "HTTP 400": (Excess.REFUSED, "background"),
    "an event": (Excess.EVENT, "stream"),
    "a failed background response": (Excess.FAILED, "background"),
    "an event over a WebSocket": (Excess.EVENT, "websocket"),
}


async def exceeds(agents: Agents, how: Excess, *, skip: int = 0) -> None:
    """A create of the second iteration is too long, in these words; the first `skip` that could be are not."""
    effect = ExceedContext(how=how, always=True)
    fault = Fault(operation=Operation.CREATE, metadata={"iteration": "2"}, effect=effect, skip=skip)
    await agents.emulator.control.add_fault(fault)


def calls(transport: str) -> AgentInput:
    return AgentInput(
        task="Add.",
        tools=["add"],
        transport=TransportChoice(transport),
        context_window=32_000,
        on_refusal=OnRefusal.PAUSE,
        metadata={"scenario": 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'},
    )


@pytest.mark.parametrize("said", SAID)
async def test_however_it_is_said_the_run_compacts_once_and_goes_on(agents: Agents, said: str) -> None:
    how, transport = SAID[said]
    await exceeds(agents, how)
    run = await agents.start(calls(transport))
    result = await result_of(run)
    assert (result.status, result.error, result.iterations) == ("completed", None, 3)
    assert (compactions(result), result.requests) == (1, [])
    state = await progress(run)
    assert [compaction.iteration for compaction in state.compactions] == [2]
    assert [call.status for call in state.function_calls] == ["succeeded"] * 2


async def test_words_of_another_server_mean_the_same(agents: Agents) -> None:
    """Compacted once, and its owner is asked the second time."""
    message = "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens."
    for skip in (0, 1):  # the compaction itself passes
        fault = Fault(
            operation=Operation.CREATE,
            metadata={"iteration": "2"},
            effect=Answer(status=400, code="invalid_value", message=message),
            skip=skip,
        )
        await agents.emulator.control.add_fault(fault)
    run = await agents.start(calls("background"))
    state = await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
    assert len(state.compactions) == 1
    assert state.input_requests[0].kind is InputRequestKind.REFUSAL
    assert message in state.input_requests[0].message
    await run.execute_update("respond", "retry")
    assert (await result_of(run)).status == "completed"


@pytest.mark.parametrize("said", SAID)
async def test_the_second_time_in_a_row_the_owner_is_asked(agents: Agents, said: str) -> None:
    how, transport = SAID[said]
    await exceeds(agents, how)
    await exceeds(agents, how, skip=1)  # the compaction itself passes
    run = await agents.start(calls(transport))
    state = await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
    [asked] = state.input_requests
    assert asked.error is not None
    assert (asked.kind, asked.error.code) == (InputRequestKind.REFUSAL, "context_length_exceeded")
    assert len(state.compactions) == 1
    await run.execute_update("respond", {"id": asked.id, "answer": "retry"})
    result = await result_of(run)
    assert (result.status, result.error, result.iterations) == ("completed", None, 3)
