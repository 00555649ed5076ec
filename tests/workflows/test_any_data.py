"""Whatever models and callers write, every function of `workflows/` that takes it answers, or refuses by `ValueError`.

What it answers passes through Temporal's payload converter, as it would in a run, and fits into a payload.
"""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutError, TimeoutType  # noqa: A004

from durable_responses.activities.messages import ResponseRecord, ToolResult, Waiting
from durable_responses.activities.records import record_of
from durable_responses.jobs.starting import static_details_of
from durable_responses.json_text import text_bytes
from durable_responses.responses_api.models import Response, read_json
from durable_responses.workflows import activity_errors, rules
from durable_responses.workflows.contract import AgentError, AgentInput, AgentResult, AgentState, AgentStatus
from durable_responses.workflows.interruptions import StopRequest
from durable_responses.workflows.ledger import Ledger
from durable_responses.workflows.payloads import TotalPayloadConverter, Unreadable, fitting, read
from durable_responses.workflows.search_attributes import search_attributes_of
from durable_responses.workflows.steering import SteeringMessages
from durable_responses.workflows.web_ui import (
    DETAILS_BYTES,
    SUMMARY_BYTES,
    call_summary,
    details_of,
    summary,
    summary_of,
)
from tests.support.outside_data import anything, json_texts, texts, travelled

NOW = datetime(2026, 1, 1, tzinfo=UTC)
quickly = settings(max_examples=60, deadline=None, database=None, derandomize=True)


@quickly
@given(
    data=json_texts.map(lambda text: text.encode(errors="surrogatepass")) | st.binary(),
    encoding=st.sampled_from([b"json/plain", b"binary/plain", b"binary/null", b"json/protobuf", b"", b"odd"]),
    hint=st.sampled_from([None, str, dict, AgentInput, ResponseRecord]),
)
def test_any_payload_is_decoded_into_some_value(data: bytes, encoding: bytes, hint: type | None) -> None:
    payload = Payload(metadata={"encoding": encoding}, data=data)
    [value] = TotalPayloadConverter().from_payloads([payload], [hint] if hint else None)
    if isinstance(value, Unreadable):
        travelled(value.why)
        with pytest.raises(ValueError):  # noqa: PT011 - the promise is the class
            read(value)


fields = st.dictionaries(st.sampled_from(sorted(AgentInput.model_fields)), anything, max_size=5)
inputs = anything | fields | fields.map(lambda given: {"task": "t"} | given)


@quickly
@given(inputs)
def test_any_input_is_taken_or_refused(payload: Any) -> None:
    try:
        request = rules.parse_input(payload)
    except ValueError as error:
        assert text_bytes(str(error)) < 20_000
        travelled(str(error))
        return
    assert travelled(request, AgentInput) == request
    assert rules.transport_for(request)
    assert rules.max_iterations_for(request) > 0
    travelled(rules.absolute_deadline(request, NOW))
    travelled(rules.model_options(request))
    travelled(timedelta(seconds=request.tool_timeout).total_seconds())
    travelled(rules.task_text(request))
    assert text_bytes(summary_of(request)) <= SUMMARY_BYTES
    assert text_bytes(static_details_of(request)) <= DETAILS_BYTES
    assert search_attributes_of(request, AgentState())


@quickly
@given(st.lists(anything, max_size=5), anything)
def test_any_signal_leaves_a_state_that_can_be_queried(messages: list[Any], report: Any) -> None:
    ledger = Ledger(state=AgentState())
    steering = SteeringMessages(ledger)
    for message in messages:
        steering.receive(message)
    with contextlib.suppress(ValueError):
        ledger.progress_reported(rules.parse_report(report))
    travelled(steering.for_next_create())
    travelled(ledger.to_carry(0), Ledger)
    travelled(ledger.state, AgentState)
    assert text_bytes(details_of(ledger.state, "agent-1", NOW)) <= DETAILS_BYTES


@quickly
@given(texts)
def test_any_reason_and_any_summary_is_short_enough(text: str) -> None:
    stop = StopRequest()
    stop.make(text)
    travelled(stop.reason)
    assert text_bytes(summary(text)) <= SUMMARY_BYTES


items = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "reasoning", "image_generation_call", "odd_call"]) | texts},
    optional=dict.fromkeys(
        ("content", "text", "call_id", "id", "name", "arguments", "phase", "summary", "status", "role"), anything
    ),
)
responses = st.fixed_dictionaries(
    {"id": st.just("resp_1"), "output": st.lists(items, max_size=5)},
    optional={
        "status": st.sampled_from(["completed", "incomplete", "failed", "cancelled", "queued"]) | texts,
        "model": texts,
        "error": anything,
        "incomplete_details": anything,
        "usage": anything,
    },
)


@quickly
@given(responses, anything)
def test_any_response_leads_to_a_step_and_to_a_result(answer: Any, schema: Any) -> None:
    try:
        received = record_of(Response.model_validate(read_json(json.dumps(answer))))
    except ValueError:
        return  # the activity names it
    response = travelled(received, ResponseRecord)
    ledger = Ledger(state=AgentState())
    ledger.begin(AgentInput(task="t"), NOW)
    ledger.begin_iteration()
    ledger.response_ended(response)
    step = rules.next_step(response, iterations_left=3)
    assert rules.is_empty(response) in (True, False)
    calls = response.function_calls
    for record, call in zip(ledger.calls_started(calls), calls, strict=True):
        assert call.call_id
        assert text_bytes(call_summary(call)) <= SUMMARY_BYTES
        travelled(record)
    results = [ToolResult(call_id=call.call_id, output=call.arguments) for call in calls]
    ledger.answers = travelled(rules.fit_outputs(results), list)
    result = ledger.result()
    result.structured_output = rules.structured_output(AgentInput(task="t", text_format={}), result.output_text)
    if isinstance(step, rules.Fail):
        result.error = step.error
    if isinstance(step, rules.Incomplete):
        result.incomplete_reason = step.reason
    rules.fit_result(result)
    travelled(result, AgentResult)
    travelled(ledger.state, AgentState)
    assert text_bytes(details_of(ledger.state, "agent-1", NOW)) <= DETAILS_BYTES


@quickly
@given(json_texts)
def test_any_text_has_a_structured_form_or_none(text: str) -> None:
    travelled(rules.structured_output(AgentInput(task="t", text_format={"type": "object"}), text))


@quickly
@given(st.lists(texts | st.integers(1, 300_000).map("\x01".__mul__), max_size=8))
def test_any_answers_fit_together(outputs: list[str]) -> None:
    fitted = rules.fit_outputs([ToolResult(call_id=str(n), output=text) for n, text in enumerate(outputs)])
    travelled(fitted)
    assert len(fitted) == len(outputs)


@quickly
@given(st.lists(anything, max_size=2), texts, st.booleans())
def test_any_failure_of_an_activity_becomes_an_error_of_the_run(details: list[Any], text: str, lost: bool) -> None:
    """Whoever may fail an activity by hand may give it any details."""
    cause: Exception = ApplicationError(text, *details, type=text)
    if lost:
        cause = TimeoutError(text, type=TimeoutType.HEARTBEAT, last_heartbeat_details=details)
    error = ActivityError(
        "failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="create_response",
        activity_id="1",
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    error.__cause__ = cause
    activity_errors.failure_type_of(error)
    activity_errors.delay_asked_for(error)
    activity_errors.last_heartbeat_of(error)
    activity_errors.detail_of(error)
    result = AgentResult(status=AgentStatus.FAILED, error=activity_errors.error_of(error))
    rules.fit_result(result)
    travelled(result, AgentResult)


@quickly
@given(texts, texts, texts)
def test_any_error_is_cut_to_what_can_be_shown(kind: str, message: str, code: str) -> None:
    travelled(rules.fit_error(AgentError.model_construct(type=kind, message=message, code=code)))


@quickly
@given(texts, texts, texts, st.none() | texts)
def test_any_failed_response_is_created_again_after_a_time_or_not(
    code: str, kind: str, message: str, cause: str | None
) -> None:
    error = {"code": code or None, "type": kind or None, "message": message}
    answer = read_json(json.dumps({"id": "resp_1", "status": "failed", "error": error}))
    failed = travelled(record_of(Response.model_validate(answer)), ResponseRecord)
    pause = rules.CreateHistory().after_failed_response(failed)
    assert pause is None or 1 <= pause <= 86_400
    waiting = travelled(
        rules.fit_waiting(Waiting(what=message, since=NOW, attempt=1, next_at=NOW, cause=cause)), Waiting
    )
    state = AgentState(waiting=waiting, started_at=NOW)
    travelled([rules.waiting_text(state), rules.waiting_text(state, NOW)])
    travelled(rules.late_because(state))
    assert text_bytes(details_of(state, "agent-1", NOW)) <= DETAILS_BYTES


def test_what_does_not_fit_into_a_payload_is_not_sent() -> None:
    with pytest.raises(ValueError, match="more than 2000000"):
        fitting(ToolResult(call_id="1", output="x" * 2_000_000))
