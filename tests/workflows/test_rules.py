"""The rules, case by case."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_responses.activities.messages import (
    LARGEST_ANSWERS,
    FailureType,
    SaveOptions,
    ToolResult,
    Transport,
    Waiting,
)
from durable_responses.json_text import json_bytes
from durable_responses.responses_api.models import Response, UrlCitation
from durable_responses.workflows import rules
from durable_responses.workflows.contract import (
    AgentError,
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    IncompleteReason,
    OnAmbiguousCreate,
)
from durable_responses.workflows.rules import AfterFailedCreate, CreateHistory, Fail, Finish, Incomplete, RunTools

MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"}
REASONING = {"type": "reasoning", "summary": []}

CALLER_TOOL = {"name": "shout", "parameters": {}, "task_queue": "of-a-program"}


def response(status: str = "completed", *output: dict[str, Any], **fields: Any) -> Response:
    return Response.model_validate({"id": "resp_1", "status": status, "output": list(output), **fields})


def step_after(answer: Response, iteration: int = 1, max_iterations: int = 5) -> rules.NextStep:
    return rules.next_step(answer, iterations_left=max_iterations - iteration)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


# --- transports, limits, deadlines -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "web_search", "expected"),
    [
        ("none", False, Transport.STREAM),
        ("minimal", False, Transport.STREAM),
        ("low", False, Transport.STREAM),
        ("medium", False, Transport.STREAM),
        ("high", False, Transport.BACKGROUND),
        ("xhigh", False, Transport.BACKGROUND),
        ("max", False, Transport.BACKGROUND),
        ("none", True, Transport.STREAM),
        ("minimal", True, Transport.STREAM),
        ("low", True, Transport.STREAM),
        ("medium", True, Transport.BACKGROUND),
        ("high", True, Transport.BACKGROUND),
    ],
)
def test_auto_chooses_the_transport_by_effort_and_web_search(
    effort: str, web_search: bool, expected: Transport
) -> None:
    """A1: background from high on, and from medium on with web search; streaming otherwise."""
    request = rules.parse_input({"task": "t", "reasoning_effort": effort, "enable_web_search": web_search})
    assert rules.transport_for(request) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Transport.WEBSOCKET),
        ({"tools": ["add"]}, Transport.WEBSOCKET),
        ({"tools": []}, Transport.STREAM),
        ({"tools": [], "caller_tools": [{"name": "a", "parameters": {}, "task_queue": "q"}]}, Transport.WEBSOCKET),
        ({"reasoning_effort": "high"}, Transport.BACKGROUND),
        ({"enable_web_search": True}, Transport.BACKGROUND),
        ({"enable_web_search": True, "reasoning_effort": "low"}, Transport.WEBSOCKET),
        ({"transport": "stream"}, Transport.STREAM),
        ({"transport": "background"}, Transport.BACKGROUND),
    ],
)
def test_where_it_is_allowed_auto_takes_the_websocket_for_short_turns_with_function_tools(
    fields: dict[str, Any], expected: Transport
) -> None:
    """W22, A1: what would be a background response stays one."""
    assert rules.transport_for(rules.parse_input({"task": "t", "allow_websocket": True, **fields})) is expected


@pytest.mark.parametrize("transport", ["background", "stream", "websocket"])
@pytest.mark.parametrize("effort", ["none", "max"])
def test_a_caller_may_force_any_transport(transport: str, effort: str) -> None:
    """A1: what the caller says wins."""
    request = rules.parse_input({"task": "t", "reasoning_effort": effort, "transport": transport})
    assert rules.transport_for(request) == transport


@pytest.mark.parametrize(
    ("effort", "expected"),
    [("none", 5), ("minimal", 6), ("low", 8), ("medium", 10), ("high", 12), ("xhigh", 12), ("max", 12)],
)
def test_iterations_are_limited_by_effort_unless_given(effort: str, expected: int) -> None:
    """A23: 5/6/8/10/12."""
    assert rules.max_iterations_for(rules.parse_input({"task": "t", "reasoning_effort": effort})) == expected
    given = rules.parse_input({"task": "t", "reasoning_effort": effort, "max_iterations": 77})
    assert rules.max_iterations_for(given) == 77


def test_the_deadline_is_one_moment_for_the_whole_run() -> None:
    """A6: absolute, from the start."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    request = rules.parse_input({"task": "t", "deadline": 90})
    assert rules.absolute_deadline(request, start) == start + timedelta(seconds=90)
    assert rules.absolute_deadline(rules.parse_input({"task": "t"}), start) is None


def test_a_run_that_began_with_a_deadline_beyond_the_limit_keeps_one() -> None:
    """It began before there was a limit; a datetime cannot hold what it asked for."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    deadline = rules.absolute_deadline(rules.parse_input({"task": "t", "deadline": 1e15}, bounded=False), start)
    assert deadline is not None
    assert deadline.year >= 2035


# --- the input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (None, "one JSON object"),
        ("text", "one JSON object"),
        ([1], "one JSON object"),
        ({}, "task: is required"),
        ({"task": ""}, "task: is empty"),
        ({"task": "  \n"}, "task: is empty"),
        ({"task": []}, "task: is empty"),
        ({"task": 7}, "task: must be text, or a list of input items"),
        ({"task": ["a"]}, "each a JSON object"),
        ({"task": "t", "transport": "pigeon"}, "transport: must be 'auto'"),
        ({"task": "t", "reasoning_effort": "huge"}, "reasoning_effort: must be 'none'"),
        ({"task": "t", "effort": "high"}, "effort is not a field of AgentInput (did you mean reasoning_effort?)"),
        ({"task": "t", "efort": "high"}, "efort is not a field of AgentInput."),
        ({"task": "t", "modell": "m"}, "modell is not a field of AgentInput (did you mean model?)"),
        ({"task": "t", "reasoning_effort": "hihg"}, "'xhigh' or 'max' (did you mean high?)."),
        ({"task": "t", "max_iterations": 0}, "max_iterations: must be at least 1"),
        ({"task": "t", "max_iterations": 1001}, "max_iterations: must be at most 1000"),
        ({"task": "t", "max_iterations": "many"}, "max_iterations: must be a whole number"),
        ({"task": "t", "deadline": -1}, "deadline: must be more than 0"),
        ({"task": "t", "deadline": 300_000_000_000}, "deadline: seconds, at most 2592000"),
        ({"task": "t", "deadline": 1e300}, "deadline: seconds, at most 2592000"),
        ({"task": "t", "deadline": float("inf")}, "deadline: must be a finite number"),
        ({"task": "t", "deadline": float("nan")}, "deadline: must be a finite number"),
        ({"task": "t", "tool_timeout": 1e300}, "tool_timeout: seconds, at most 86400"),
        ({"task": "t", "tool_timeout": float("inf")}, "tool_timeout: must be a finite number"),
        ({"task": "t", "heartbeat_timeout": float("nan")}, "heartbeat_timeout: must be a finite number"),
        ({"task": "t", "max_output_tokens": 10**20}, "max_output_tokens: tokens, at most 10000000"),
        ({"task": "t", "max_output_tokens": 10**4000}, "max_output_tokens: is too large a number"),
        ({"task": "t", "tools": ["t"] * 129}, "tools: at most 128 names"),
        ({"task": "t", "metadata": {str(n): "v" for n in range(13)}}, "metadata: has too many entries: at most 12"),
        ({"task": "t", "tools": ["t" * 257]}, "tools: at most 256 characters each"),
        ({"task": "t", "caller_tools": [{**CALLER_TOOL, "name": "a b"}]}, "caller_tools: a name has 1 to 64 of"),
        ({"task": "t", "caller_tools": [{"name": "a", "parameters": {}}]}, "caller_tools[0].task_queue: is required"),
        ({"task": "t", "caller_tools": [CALLER_TOOL] * 2}, "caller_tools: two of them have the same name"),
        ({"task": "t", "caller_tools": [CALLER_TOOL] * 129}, "caller_tools: at most 128"),
        (
            {"task": "t", "caller_tools": [{**CALLER_TOOL, "task_queue": "q" * 1001}]},
            "caller_tools: at most 1000 characters for a task_queue",
        ),
        (
            {"task": "t", "caller_tools": [{**CALLER_TOOL, "description": "d" * 65536}]},
            "caller_tools: at most 65536 bytes together",
        ),
        ({"task": "t", "model": "m" * 257}, "model: at most 256 characters"),
        ({"task": [{"role": "user", "content": [float("inf")]}]}, "task.0.content.0: must be a finite number"),
        ({"task": "t", "text_format": nested(101)}, "text_format: is nested more than 100 levels deep"),
        ({"task": [{"role": nested(400)}]}, "task: is nested more than 100 levels deep"),
        ({"task": "t", **{f"field_{number}": 1 for number in range(30)}}, "and 20 more"),
        ({"task": "t", "files": ["a.txt"]}, "files[0]: must be a JSON object"),
        ({"task": "t", "save": True}, "save: must be a JSON object"),
        ({"task": "t", "tools": "list_files"}, "tools: must be a list"),
        ({"task": "t", "context": 5}, "context: must be text"),
        ({"task": "t", "live_preview": "often"}, "live_preview: must be true or false"),
        ({"task": "t", "deadline": "60s"}, "deadline: must be a number"),
        ({"task": "t", "max_iterations": 2.5}, "max_iterations: must be a whole number"),
        ({"task": "t", "metadata": {"k" * 65: "v"}}, "a name has 1 to 64 characters"),
        ({"task": "t", "metadata": {"": "v"}}, "a name has 1 to 64 characters"),
        ({"task": "t", "metadata": {"k": "v" * 513}}, "metadata.k: a name has 1 to 64 characters, a value at most 512"),
        ({"task": "t", "files": [{"label": "x"}]}, "files[0].path: is required"),
        ({"task": "t", "tol": ["x"]}, "tol is not a field of AgentInput"),
        ({"task": "t", "budget": {"usd": 5, "currency": "EUR"}}, "budget.currency is not a field of budget."),
        ({"task": "t", "budget": {"USD": 5}}, "budget.USD is not a field of budget."),
        ({"task": "t", "budget": "5 USD"}, 'budget: must be a number of USD, or an object such as {"usd": 5}'),
        ({"task": "t", "budget": True}, "budget: must be a number of USD"),
        ({"task": "t", "budget": {"usd": True}}, "budget.usd: must be a number"),
        ({"task": "t", "budget": {"tokens": True}}, "budget.tokens: must be a number"),
        ({"task": "t", "prices": {"m": {"input": "1 USD", "output": 1}}}, "prices.m.input: must be a number"),
        ({"task": "t", "prices": {"m": {"in": 1, "input": 1, "output": 1}}}, "prices.m.in is not a field of prices.m"),
        ({"task": "x" * 1_100_000}, "more than 1048576: give long texts in `files`"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_field(payload: object, said: str) -> None:
    with pytest.raises(ValueError, match="input") as caught:
        rules.parse_input(payload)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refused_input_does_not_echo_its_values() -> None:
    """A25: a value may be a secret in the wrong place."""
    with pytest.raises(ValueError, match="max_iterations") as caught:
        rules.parse_input({"task": "t", "max_iterations": "sk-secret", "sk-field": {"a": "sk-other"}})
    assert "sk-secret" not in str(caught.value)
    assert "sk-other" not in str(caught.value)


def test_only_the_task_is_required_and_defaults_are_those_of_the_contract() -> None:
    request = rules.parse_input({"task": "t"})
    assert request == AgentInput(task="t")
    assert (request.reasoning_effort, request.enable_web_search, request.enable_code_interpreter) == (
        "medium",
        False,
        False,
    )


# --- after a response --------------------------------------------------------------------------------------------


def test_a_message_finishes_the_run() -> None:
    assert step_after(response("completed", REASONING, MESSAGE)) == Finish()


def test_function_calls_are_found_anywhere_in_the_output() -> None:
    """A12: all items count, not the first."""
    second = {**CALL, "call_id": "call_2"}
    step = step_after(response("completed", CALL, MESSAGE, REASONING, second))
    assert isinstance(step, RunTools)
    assert [call.call_id for call in step.calls] == ["call_1", "call_2"]


def test_calls_after_the_last_iteration_end_the_run_incomplete() -> None:
    assert step_after(response("completed", CALL), iteration=5) == Incomplete(IncompleteReason.MAX_ITERATIONS)


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_unfinished_response_means_that_the_deadline_has_passed(status: str) -> None:
    """A5, A6: only these two statuses are not terminal."""
    assert step_after(response(status, MESSAGE)) == Incomplete(IncompleteReason.DEADLINE)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", IncompleteReason.MAX_OUTPUT_TOKENS),
        ("content_filter", IncompleteReason.CONTENT_FILTER),
        ("a_newer_reason", "a_newer_reason"),
    ],
)
def test_an_incomplete_response_says_why_and_its_calls_are_not_run(reason: str, expected: str) -> None:
    """A10: never chained from."""
    answer = response("incomplete", CALL, incomplete_details={"reason": reason})
    assert step_after(answer) == Incomplete(expected)


STEERED = {"incomplete_details": {"reason": "steered"}}


def test_a_response_that_a_text_ended_early_says_so() -> None:
    assert step_after(response("incomplete", MESSAGE, **STEERED)) == Incomplete(IncompleteReason.STEERED)


def test_the_calls_of_a_response_that_a_text_ended_early_are_run() -> None:
    """The provider keeps the text until they are answered."""
    step = step_after(response("incomplete", CALL, **STEERED))
    assert isinstance(step, RunTools)
    assert step_after(response("incomplete", CALL, **STEERED), 5, 5) == Incomplete(IncompleteReason.MAX_ITERATIONS)


@pytest.mark.parametrize(
    ("answer", "continued"),
    [
        (response("completed", MESSAGE), True),
        (response("incomplete", MESSAGE, **STEERED), True),
        (response("incomplete", MESSAGE, incomplete_details={"reason": "max_output_tokens"}), False),
        (response("incomplete", MESSAGE), False),
        (response("failed"), False),
        (response("cancelled"), False),
        (response("in_progress"), False),
    ],
)
def test_only_what_is_complete_or_was_steered_is_chained_from(answer: Response, continued: bool) -> None:
    """A10: the exception is what the provider itself continues from."""
    assert rules.may_be_continued(answer) is continued


@pytest.mark.parametrize(
    ("step", "iteration", "goes_on"),
    [
        (Finish(), 4, True),
        (Finish(), 5, False),
        (Incomplete(IncompleteReason.STEERED), 4, True),
        (Incomplete(IncompleteReason.STEERED), 5, False),
        (Incomplete(IncompleteReason.MAX_OUTPUT_TOKENS), 1, False),
        (Incomplete(IncompleteReason.DEADLINE), 1, False),
    ],
)
def test_a_run_that_would_end_continues_for_steering_messages_within_its_iterations(
    step: rules.NextStep, iteration: int, goes_on: bool
) -> None:
    assert rules.continues_with_steering(step, iterations_left=5 - iteration) is goes_on


@pytest.mark.parametrize(
    ("text", "waiting", "why"),
    [
        ("Be brief.", [], None),
        ("", [], "not text"),
        (" \n", [], "not text"),
        (None, [], "not text"),
        ({"text": "Be brief."}, [], "not text"),
        ("x" * 65536, [], None),
        ("x" * 65537, [], "65537 bytes"),
        ("x", ["y"] * 50, "50 steering messages"),
        ("x" * 65536, ["y" * 65536] * 3, None),
        ("x" * 65536, ["y" * 65536] * 4, "262144 bytes"),
    ],
)
def test_a_steering_message_that_cannot_be_taken_is_told_why(text: object, waiting: list[str], why: str | None) -> None:
    said = rules.unusable_steering_message(text, waiting)
    assert said is None if why is None else why in (said or "")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "server_error", "message": "no"}, "response_failed"),
        ({"code": "insufficient_quota", "message": "no"}, "quota_exhausted"),
        ({"code": "project_spend_limit_exceeded", "message": "no"}, "quota_exhausted"),
        ({"code": "credit_balance_exhausted", "message": "no"}, "quota_exhausted"),
        ({"code": "organization_usage_limit_exceeded", "message": "no"}, "quota_exhausted"),
        ({"code": "rate_limit_exceeded", "message": "no"}, "response_failed"),
        (None, "response_failed"),
    ],
)
def test_a_failed_response_fails_the_run_unless_it_is_created_again(error: Any, kind: str) -> None:
    """A10: a quota error arrives this way too."""
    step = step_after(response("failed", CALL, error=error))
    assert isinstance(step, Fail)
    assert step.error.type == kind


def test_a_response_that_somebody_else_cancelled_fails_the_run() -> None:
    """A10."""
    step = step_after(response("cancelled", CALL))
    assert isinstance(step, Fail)
    assert step.error.type == "response_cancelled"


def test_an_unknown_status_ends_the_run() -> None:
    """A5: unknown statuses end the wait."""
    step = step_after(response("exploded", MESSAGE))
    assert isinstance(step, Fail)
    assert "exploded" in step.error.message


def test_a_response_without_message_and_call_fails_the_run() -> None:
    step = step_after(response("completed", REASONING))
    assert isinstance(step, Fail)
    assert step.error.type == "empty_output"


@pytest.mark.parametrize(
    "item",
    [
        {"type": "computer_call", "call_id": "c"},
        {"type": "custom_tool_call", "call_id": "c"},
        {"type": "local_shell_call", "call_id": "c"},
        {"type": "apply_patch_call", "call_id": "c"},
        {"type": "a_future_call", "call_id": "c"},
        {"type": "mcp_approval_request", "id": "m"},
    ],
)
def test_a_call_that_we_cannot_answer_fails_the_run_and_is_named(item: dict[str, Any]) -> None:
    step = step_after(response("completed", item, MESSAGE, CALL))
    assert isinstance(step, Fail)
    assert item["type"] in step.error.message


@pytest.mark.parametrize(
    "items",
    [
        [{"type": "web_search_call", "id": "w"}],
        [{"type": "code_interpreter_call", "id": "w", "call_id": "c"}],
        [{"type": "a_future_call", "call_id": 5}],
        [{"type": "mcp_call", "id": "w"}],
        [{"type": "shell_call", "call_id": "c"}, {"type": "shell_call_output", "call_id": "c"}],
        [{"type": "hologram", "id": "h"}],
        [{"type": "a_future_call", "id": "f"}],
    ],
)
def test_what_the_provider_carries_out_itself_needs_no_answer(items: list[dict[str, Any]]) -> None:
    assert step_after(response("completed", *items, MESSAGE)) == Finish()


# --- after a create that failed ----------------------------------------------------------------------------------

RETRY, GIVE_UP = OnAmbiguousCreate.RETRY_ONCE, OnAmbiguousCreate.FAIL
AGAIN, FAIL, FULL = AfterFailedCreate.CREATE_AGAIN, AfterFailedCreate.FAIL, AfterFailedCreate.CREATE_WITH_FULL_INPUT


@pytest.mark.parametrize(
    ("failures", "policy", "decisions", "attempt"),
    [
        ([FailureType.CREATE_AMBIGUOUS], RETRY, [AGAIN], 2),
        ([FailureType.CREATE_AMBIGUOUS] * 2, RETRY, [AGAIN, FAIL], 3),
        ([FailureType.CREATE_AMBIGUOUS], GIVE_UP, [FAIL], 2),
        ([FailureType.CHAIN_REJECTED], RETRY, [FULL], 1),
        ([FailureType.CHAIN_REJECTED] * 2, RETRY, [FULL, FAIL], 1),
        ([FailureType.RESPONSE_LOST] * 4, RETRY, [AGAIN, AGAIN, AGAIN, FAIL], 5),
        ([FailureType.CHAIN_REJECTED, FailureType.CREATE_AMBIGUOUS], RETRY, [FULL, AGAIN], 2),
        ([FailureType.AUTHENTICATION_FAILED], RETRY, [FAIL], 1),
        ([FailureType.QUOTA_EXHAUSTED], RETRY, [FAIL], 1),
        ([FailureType.BAD_REQUEST], RETRY, [FAIL], 1),
        ([None], RETRY, [FAIL], 1),
    ],
)
def test_a_failed_create_is_repeated_only_as_the_rules_say(
    failures: list[FailureType | None],
    policy: OnAmbiguousCreate,
    decisions: list[AfterFailedCreate],
    attempt: int,
) -> None:
    creates = CreateHistory()
    assert [creates.after(failure, policy) for failure in failures] == decisions
    assert creates.attempt == attempt


def failed(**error: Any) -> Response:
    return response("failed", CALL, error=error)


@pytest.mark.parametrize(
    "error",
    [
        {"code": "server_error"},
        {"code": "rate_limit_exceeded"},
        {"code": "server_is_overloaded"},
        {"code": "vector_store_timeout"},
        {"code": "slow_down"},
        {"code": "service_unavailable"},
        {"code": "internal_server_error"},
        {"code": 503},
        {"code": 429},
        {"type": "overloaded_error"},
        {"type": "server_error"},
        {"code": None, "type": "rate_limit_error"},
        {"message": "The server had an error while processing your request. Sorry about that!"},
        {"message": "That model is currently overloaded with other requests."},
    ],
)
def test_a_response_that_failed_for_what_passes_may_be_created_again(error: dict[str, Any]) -> None:
    assert rules.may_succeed_later(failed(**error))


@pytest.mark.parametrize(
    "error",
    [
        {"code": "upstream_error"},
        {"code": "bad_gateway"},
        {"code": "server_shutting_down"},
        {"code": "INTERNAL"},
        {"code": "ThrottlingException"},
        {"code": "ModelNotReadyException"},
        {"type": "connection_error"},
        {"code": "RESOURCE_EXHAUSTED", "message": "Try again later."},
        {"message": "Internal server error"},
        {"message": "upstream connect error or disconnect/reset before headers"},
        {"code": "error", "message": "Service temporarily unavailable"},
        {"code": "unknown", "message": "The connection timed out."},
    ],
)
def test_a_response_that_failed_for_what_passes_in_a_gateways_words_may_be_created_again(error: dict[str, Any]) -> None:
    assert rules.may_succeed_later_in_other_words(failed(**error))
    assert CreateHistory().after_failed_response(failed(**error), passes=True) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"code": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota."},
        {"code": "invalid_prompt", "message": "Internal error"},
        {"code": "internal", "message": "The context length is exceeded."},
        {"code": "invalid_prompt", "message": "Try again later."},
        {"code": "context_length_exceeded", "type": "server_error"},
        {"code": "image_file_too_large"},
        {"code": "content_policy_violation"},
        {"code": "insufficient_quota"},
        {"code": "rate_limit_exceeded", "type": "insufficient_quota"},
        {"code": 400},
        {"message": "It is not to be."},
        {},
    ],
)
def test_a_response_that_failed_for_another_reason_is_not_created_again(error: dict[str, Any]) -> None:
    assert not rules.may_succeed_later(failed(**error))
    assert not rules.may_succeed_later_in_other_words(failed(**error))
    assert CreateHistory().after_failed_response(failed(**error)) is None


def test_only_failed_responses_are_created_again() -> None:
    for status in ("completed", "incomplete", "cancelled", "in_progress"):
        assert not rules.may_succeed_later(response(status, MESSAGE, error={"code": "server_error"}))


def test_a_failed_response_is_created_again_three_times_each_after_a_longer_pause() -> None:
    creates = CreateHistory()
    pauses = [creates.after_failed_response(failed(code="server_error")) for _ in range(4)]
    assert pauses == [1, 5, 25, None]
    assert creates.attempt == 4


def test_a_failed_response_is_created_again_no_sooner_than_it_says() -> None:
    error = {"code": "rate_limit_exceeded", "message": "Limit 500, Used 500. Please try again in 1m2.5s. Visit us."}
    assert CreateHistory().after_failed_response(failed(**error)) == 62.5


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 20s.", 20),
        ("Please try again in 350ms.", 0.35),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 7h12m0s.", 25920),
        ("Retry after 30 seconds.", 30),
        ("Please retry your request after 5 sec.", 5),
        ("Please wait 2 minutes.", 120),
        ("Try again in 2 minutes.", 120),
        ("Try again in 999999h.", 86400),
        ("Try again in a moment.", 0),
        ("", 0),
        ("try again in " + "1" * 5000, 0),
    ],
)
def test_the_delay_that_an_error_asks_for_is_read_from_its_words(message: str, seconds: float) -> None:
    assert rules.delay_in(message) == pytest.approx(seconds)


RETRY = OnAmbiguousCreate.RETRY_ONCE


def test_a_response_that_nobody_follows_any_more_is_to_be_read_first() -> None:
    """W23: and once it is known to be lost, a new one is created."""
    creates = CreateHistory()
    assert creates.after(FailureType.TURN_INTERRUPTED, RETRY, "resp_1") is AfterFailedCreate.CREATE_AGAIN
    assert (creates.interrupted, creates.attempt) == ("resp_1", 1)
    assert creates.after(FailureType.RESPONSE_LOST, RETRY, "resp_1") is AfterFailedCreate.CREATE_AGAIN
    assert (creates.interrupted, creates.attempt) == (None, 2)


def test_reading_it_may_take_several_attempts() -> None:
    creates = CreateHistory()
    creates.after(FailureType.TURN_INTERRUPTED, RETRY, "resp_1")
    assert creates.after(FailureType.TRY_LATER, RETRY) is AfterFailedCreate.CREATE_AGAIN
    assert creates.interrupted == "resp_1"


def test_what_was_turned_away_is_sent_again_for_as_long_as_the_run_lasts() -> None:
    creates = CreateHistory()
    pauses = []
    for _ in range(8):
        assert creates.after(FailureType.TRY_LATER, RETRY) is AfterFailedCreate.CREATE_AGAIN
        pauses.append(creates.pause)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    creates.turned_away = 5000  # after days
    assert creates.pause == 30
    assert creates.attempt == 1


def test_a_conversation_that_the_caller_began_is_not_quietly_cut_off() -> None:
    """A refused chain is rebuilt only where the run knows all of it."""
    creates = CreateHistory(can_rebuild=False)
    assert creates.after(FailureType.CHAIN_REJECTED, RETRY) is FAIL


# --- what a run waits for ----------------------------------------------------------------------------------------

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def waiting_state(**fields: Any) -> AgentState:
    given = {"what": "the provider is unreachable", "since": NOON + timedelta(seconds=12), "attempt": 5, **fields}
    return AgentState(started_at=NOON, waiting=Waiting.model_validate(given))


def test_what_a_run_waits_for_is_said_with_its_time_its_try_and_the_next_one() -> None:
    state = waiting_state(next_at=NOON + timedelta(seconds=28), cause="no route")
    told = "the provider is unreachable since 0:12, try 5, next in 8 s: no route"
    assert rules.waiting_text(state, NOON + timedelta(seconds=20)) == told
    assert "next at 12:00:28 UTC" in (rules.waiting_text(state) or "")
    assert rules.waiting_text(AgentState()) is None


def test_a_deadline_that_passed_meanwhile_names_what_was_waited_for() -> None:
    error = rules.late_because(waiting_state(next_at=NOON, cause="no route"))
    assert error is not None
    assert (error.type, error.message) == (
        "deadline_passed",
        "The deadline passed: the provider is unreachable since 0:12, try 5: no route",
    )
    assert rules.late_because(AgentState()) is None


def test_a_report_of_a_wait_is_cut_to_what_can_be_shown() -> None:
    state = waiting_state(what="w" * 10_000, cause="c" * 1_000_000)
    assert state.waiting is not None
    assert json_bytes(rules.fit_waiting(state.waiting)) < 3000


# --- what fits into history --------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [2, 17, 128, 400])
def test_answers_within_their_fair_share_are_not_cut(calls: int) -> None:
    share = rules.fair_output(calls)
    assert share is not None
    results = [ToolResult(call_id=f"call_{number:030}", output="x" * share) for number in range(calls)]
    assert [fitted.output for fitted in rules.fit_outputs(results)] == ["x" * share] * calls


def test_answers_that_fit_are_passed_on_whole() -> None:
    results = [ToolResult(call_id="a", output="x" * 100_000), ToolResult(call_id="b", output="y")]
    assert [item.output for item in rules.fit_outputs(results)] == ["x" * 100_000, "y"]


def test_answers_that_are_too_large_together_are_cut_with_a_note() -> None:
    results = [ToolResult(call_id=str(number), output="ä" * 100_000) for number in range(20)]
    items = rules.fit_outputs(results)
    assert json_bytes(items) <= LARGEST_ANSWERS
    assert all("[cut: the first" in item.output for item in items)


def test_answers_are_measured_as_they_travel() -> None:
    """JSON takes six bytes for a control character."""
    results = [ToolResult(call_id=str(number), output="\x01" * 100_000) for number in range(5)]
    assert json_bytes(rules.fit_outputs(results)) <= LARGEST_ANSWERS


def test_a_short_answer_is_kept_whole_beside_long_ones() -> None:
    results = [ToolResult(call_id="a", output="x" * 2_000_000), ToolResult(call_id="b", output="y" * 200_000)]
    long, short = rules.fit_outputs(results)
    assert short.output == "y" * 200_000
    assert json_bytes([long, short]) > 0.99 * LARGEST_ANSWERS


def test_more_calls_than_can_be_answered_at_once_are_a_data_error() -> None:
    results = [ToolResult(call_id=str(number), output="x") for number in range(20_000)]
    with pytest.raises(ValueError, match="20000 function calls"):
        rules.fit_outputs(results)


def test_structured_output_is_parsed_only_where_a_schema_was_given() -> None:
    schema = {"type": "object"}
    assert rules.structured_output(AgentInput(task="t", text_format=schema), '{"a": 1}') == {"a": 1}
    assert rules.structured_output(AgentInput(task="t", text_format=schema), "no JSON") is None
    assert rules.structured_output(AgentInput(task="t"), '{"a": 1}') is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 300 + "]" * 300, None),
        ("[" * 101 + "]" * 101, None),
        ("[" * 2000, None),
        ('{"a": 1e999}', None),
        ('{"a": NaN}', None),
        ("9" * 5000, None),
        (r'{"half": "\ud83d"}', {"half": "\ufffd"}),
        (r'{"whole": "\ud83d\ude00"}', {"whole": "😀"}),
    ],
)
def test_a_structured_answer_is_a_value_that_can_be_passed_on_or_none(text: str, expected: Any) -> None:
    answer = rules.structured_output(AgentInput(task="t", text_format={"type": "object"}), text)
    assert answer == expected
    assert json_bytes(answer) > 0


@pytest.mark.parametrize("name", sorted(AgentInput.model_fields.keys() - {"task"}))
def test_null_means_the_default(name: str) -> None:
    """Structs, beans and dataclasses send null for what was not set."""
    assert rules.parse_input({"task": "t", name: None}) == AgentInput(task="t")


def test_null_means_the_default_in_nested_objects_too() -> None:
    given = {"task": "t", "save": {"format": None, "folder": None}, "files": [{"path": "a.txt", "label": None}]}
    assert rules.parse_input(given).save == SaveOptions()


def test_a_required_or_unknown_field_is_refused_as_null_too() -> None:
    for given in ({"task": None}, {"task": "t", "tol": None}):
        with pytest.raises(ValueError, match="cannot be used"):
            rules.parse_input(given)


def test_half_characters_in_the_input_are_replaced() -> None:
    half = "cut \ud83d"
    request = rules.parse_input({"task": [{"role": half}], "model": half, "metadata": {half: half}})
    assert (request.task, request.model, request.metadata) == (
        [{"role": "cut \ufffd"}],
        "cut \ufffd",
        {"cut \ufffd": "cut \ufffd"},
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"output_text": "\x01" * 400_000},
        {"output_text": "x" * 1_000_000, "structured_output": ["y" * 1_000_000]},
        {"citations": [UrlCitation(url="https://example.org/" + "x" * 1000)] * 3000},
        {"error": AgentError(type="e", message="m" * 3_000_000)},
        {"cancel_reason": "m" * 3_000_000},
        {"incomplete_reason": "m" * 3_000_000},
        {"structured_output": float("nan"), "output_text": "x"},
        {"reasoning_summary": "x" * 3_000_000, "output_text": "answer"},
    ],
)
def test_a_result_is_cut_until_it_fits_into_one_payload(fields: dict[str, Any]) -> None:
    result = AgentResult(status=AgentStatus.COMPLETED, **fields)
    rules.fit_result(result)
    assert json_bytes(result) <= rules.LARGEST_MESSAGE
    assert bool(result.output_text) == ("output_text" in fields)


def test_what_is_saved_has_the_whole_answer_and_as_much_of_the_task_as_fits() -> None:
    request = AgentInput(task=[{"content": [0] * 400_000}])
    result = AgentResult(status=AgentStatus.COMPLETED, output_text="x" * 600_000)
    artifact = rules.artifact_of(SaveOptions(), request, result, datetime(2026, 1, 1, tzinfo=UTC), None)
    assert artifact.output_text == result.output_text
    assert "[cut: the first" in artifact.task
    assert json_bytes(artifact) <= rules.LARGEST_MESSAGE


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (AgentStatus.COMPLETED, "answer", True),
        (AgentStatus.INCOMPLETE, "part", True),
        (AgentStatus.INCOMPLETE, "", False),
        (AgentStatus.CANCELLED, "part", False),
        (AgentStatus.FAILED, "part", False),
    ],
)
def test_an_answer_or_a_part_of_one_is_worth_saving(status: AgentStatus, text: str, expected: bool) -> None:
    """A22."""
    assert rules.worth_saving(AgentResult(status=status, output_text=text)) is expected


def test_usage_keeps_its_numbers_in_the_form_of_the_api() -> None:
    usage = rules.api_usage(
        AgentUsage(input_tokens=10, cached_tokens=4, output_tokens=5, reasoning_tokens=2, total_tokens=15)
    )
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (4, 2)
    assert usage.total_tokens == 15


@pytest.mark.parametrize(
    ("status", "error", "refuses"),
    [
        ("failed", {"code": "previous_response_not_found", "message": "No."}, True),
        ("failed", {"code": "invalid_prompt", "message": "previous_response_id is unknown"}, True),
        ("failed", {"message": "KeyError: 'resp_1'"}, True),
        ("failed", {"message": "No tool call found for function call output with call_id call_1."}, True),
        ("failed", {"code": "server_error", "message": "Sorry."}, False),
        ("failed", None, False),
        ("completed", {"message": "previous_response_id"}, False),
    ],
)
def test_a_response_that_failed_may_refuse_what_it_was_to_continue_from(
    status: str, error: dict[str, str] | None, refuses: bool
) -> None:
    failed = Response.model_validate({"id": "resp_2", "status": status, "error": error})
    assert rules.refuses_the_chain(failed, "resp_1") is refuses
    assert rules.refuses_the_chain(failed, None) is False
