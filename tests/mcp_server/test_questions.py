"""The forms of what a run asks, and what answers to them say."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_responses.jobs.job_view import JobView, Source
from durable_responses.mcp_server.questions import (
    MOST_KEYS,
    Key,
    RepeatedCall,
    answer_in,
    asks_again,
    forms_of,
    forms_of_task,
    key_of,
)
from durable_responses.mcp_server.tasks import TaskStatus, task_of
from durable_responses.workflows.contract import (
    AgentState,
    AgentStatus,
    CallToApprove,
    InputRequest,
    InputRequestKind,
    InputRequestStatus,
    Limit,
)

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def refusal(number: int = 1, asked_as: int = 1, **fields: Any) -> InputRequest:
    return InputRequest(
        id=f"refusal-{number}",
        kind=InputRequestKind.REFUSAL,
        message="No credit is left.",
        choices=["retry", "stop"],
        opened_at=NOW,
        asked_as=asked_as,
        **fields,
    )


def limit(kind: Limit) -> InputRequest:
    return InputRequest(
        id="limit-1", kind=InputRequestKind.LIMIT, message="?", choices=["stop"], limit=kind, opened_at=NOW
    )


def view(*requests: InputRequest, status: AgentStatus = AgentStatus.INPUT_REQUIRED) -> JobView:
    state = AgentState(status=status, started_at=NOW, input_requests=list(requests))
    return JobView(job_id="job", run_id="1", state=state, source=Source.WORKER, worker_running=True)


def test_a_refusal_is_a_choice() -> None:
    [form] = forms_of(view(refusal())).values()
    assert form.model_dump(by_alias=True, mode="json", exclude_none=True) == {
        "method": "elicitation/create",
        "params": {
            "mode": "form",
            "message": "No credit is left.\n(refusal-1 of job job)",
            "requestedSchema": {
                "type": "object",
                "properties": {"answer": {"type": "string", "title": "Answer", "enum": ["retry", "stop"]}},
                "required": ["answer"],
            },
        },
    }


@pytest.mark.parametrize("kind", list(Limit))
def test_a_limit_is_a_number_or_stop(kind: Limit) -> None:
    [form] = forms_of(view(limit(kind))).values()
    schema = form.model_dump(by_alias=True)["params"]["requestedSchema"]
    assert schema["properties"]["answer"]["type"] == "string"
    assert "or stop" in schema["properties"]["answer"]["title"]


def test_a_form_does_not_change_with_the_time() -> None:
    """Nor with anything else that a request may learn while it is open; times are in the status message."""
    later = NOW + timedelta(hours=1)
    changed = refusal(resume_at=later, expires_at=later, default="stop")
    assert forms_of(view(changed)) == forms_of(view(refusal()))
    task = task_of(view(changed))
    assert "goes on by itself at 2026-11-29 13:00:00Z" in task.status_message


@pytest.mark.parametrize(("content", "is_long"), [("wet", False), ("wet " * 100, True)])
def test_a_call_that_a_client_may_cut_says_so_before_it_is_shown(content: str, is_long: bool) -> None:
    """Claude Code shows three lines of a form, each cut at the width of the terminal."""
    call = CallToApprove(call_id="c", name="write_file", arguments=f'"{content}"', size=len(content) + 2, hash="h")
    asked = InputRequest(
        id="approval-1",
        kind=InputRequestKind.APPROVAL,
        message=f"The model wants to call write_file with {content}",
        choices=["allow", "deny"],
        call=call,
        opened_at=NOW,
    )
    [form] = forms_of(view(asked)).values()
    first, *_ = form.model_dump(by_alias=True)["params"]["message"].splitlines()
    assert (first == "This may be cut: gpt5_agent_poll shows the whole call.") is is_long


def test_a_question_that_is_asked_again_says_why_under_a_new_key() -> None:
    again = refusal(asked_as=2, not_taken='"perhaps" does not answer refusal-1: send retry or stop.')
    [(key, form)] = forms_of(view(again)).items()
    assert key != str(key_of(refusal()))
    assert form.model_dump(by_alias=True)["params"]["message"].startswith('"perhaps" does not answer')


def test_what_is_over_is_not_asked() -> None:
    assert forms_of(view(refusal(status=InputRequestStatus.ANSWERED, answer="retry"))) == {}


def test_a_task_asks_fifteen_times_and_then_names_the_other_ways_to_answer() -> None:
    """Claude Code ignores further keys of a task for good."""
    [form] = forms_of_task(view(refusal(1, MOST_KEYS - 1))).values()
    [last] = forms_of_task(view(refusal(1, MOST_KEYS))).values()
    told = "answer them with `durable-responses respond job`, or by the tool gpt5_agent_respond"
    assert told not in form.model_dump_json()
    assert told in last.model_dump_json()
    assert forms_of_task(view(refusal(1, MOST_KEYS + 1))) == {}
    task = task_of(view(refusal(1, MOST_KEYS + 1)))
    assert (task.status, task.input_requests) == (TaskStatus.WORKING, None)
    assert told in task.status_message


def test_keys_are_read_back() -> None:
    assert Key.read(str(Key("refusal-1", 7))) == Key("refusal-1", 7)


@pytest.mark.parametrize(
    "text", ["", ".", "refusal-1", "refusal-1.", ".1", "refusal-1.x", "refusal-1.²", "a." + "9" * 99]
)
def test_a_key_of_somebody_else_is_none_of_ours(text: str) -> None:
    assert Key.read(text) is None


RESPONSES: list[tuple[str, object, object]] = [
    ("refusal-1", {"action": "accept", "content": {"answer": "retry"}}, "retry"),
    ("limit-1", {"action": "accept", "content": {"answer": 20}}, 20),
    ("refusal-1", {"action": "decline"}, "stop"),
    ("limit-1", {"action": "decline", "content": None}, "stop"),
    ("approval-1", {"action": "accept", "content": {"answer": "allow"}}, {"decision": "allow", "words": None}),
    (
        "approval-1",
        {"action": "accept", "content": {"answer": "deny", "words": "No."}},
        {"decision": "deny", "words": "No."},
    ),
    ("approval-1", {"action": "accept", "content": {}}, {"decision": None, "words": None}),
    ("approval-1", {"action": "decline"}, {"decision": "deny"}),
    ("approval-1", {"action": "cancel"}, None),
    ("question-1", {"action": "accept", "content": {"answer": "left", "other": " "}}, "left"),
    ("question-1", {"action": "accept", "content": {"other": "Both."}}, "Both."),
    ("question-1", {"action": "accept", "content": {}}, ""),
    ("question-1", {"action": "decline"}, "The owner declines to answer."),
    ("refusal-1", {"action": "cancel"}, None),
    ("refusal-1", {"action": "cancel", "content": {"answer": "retry"}}, None),
    ("refusal-1", {"action": "accept"}, ""),
    ("refusal-1", {"action": "accept", "content": {}}, ""),
    ("refusal-1", {"action": "accept", "content": {"answer": None}}, ""),
    ("refusal-1", {"action": "accept", "content": "retry"}, ""),
    ("refusal-1", {"action": ["accept"]}, ""),
    ("refusal-1", {}, ""),
    ("refusal-1", None, ""),
    ("refusal-1", "retry", ""),
]


@pytest.mark.parametrize(("request_id", "response", "answer"), RESPONSES)
def test_accept_answers_decline_denies_and_cancel_leaves_the_question_open(
    request_id: str, response: object, answer: object
) -> None:
    """What is none of these is an answer that no request takes."""
    assert answer_in(response, request_id) == answer


def test_a_call_is_answered_with_forms_until_they_are_put_away() -> None:
    first = asks_again(view(refusal()), None)
    assert first is not None
    assert first.request_state is not None
    assert list(first.input_requests or {}) == ["refusal-1.1"]
    dismissed = RepeatedCall.of(first.request_state, {"refusal-1.1": {"action": "cancel"}})
    assert asks_again(view(refusal()), dismissed) is None
    other = asks_again(view(refusal(), refusal(2, 2)), dismissed)
    assert other is not None
    assert list(other.input_requests or {}) == ["refusal-2.2"]


def test_a_call_is_answered_with_forms_nine_times_at_most() -> None:
    """The SDK's client gives up after ten rounds, and the result would be lost."""
    call: RepeatedCall | None = None
    times = 0
    while (again := asks_again(view(refusal(times + 1, times + 1)), call)) is not None:
        times += 1
        assert again.request_state is not None
        call = RepeatedCall.of(again.request_state, {})
    assert times == 9


@pytest.mark.parametrize("state", ["", "{}", "null", '{"job_id": 7, "times": 1}', '{"job_id": "job", "times": -1}'])
def test_a_state_of_somebody_else_is_refused(state: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        RepeatedCall.of(state, {})
