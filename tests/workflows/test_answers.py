"""What an answer to an input request is, and which request takes it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_responses.workflows.answers import accepted, outcome, request_for, respond_of, words_of
from durable_responses.workflows.contract import (
    AgentState,
    Budget,
    InputRequest,
    InputRequestKind,
    InputRequestStatus,
    Limit,
    Respond,
)
from durable_responses.workflows.payloads import Unreadable

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def refusal(id_: str = "refusal-1", **fields: Any) -> InputRequest:
    return InputRequest(
        id=id_, kind=InputRequestKind.REFUSAL, message="No credit.", choices=["retry", "stop"], opened_at=NOW, **fields
    )


def limit(kind: Limit) -> InputRequest:
    return InputRequest(
        id="limit-2", kind=InputRequestKind.LIMIT, message="More?", choices=["stop"], limit=kind, opened_at=NOW
    )


def answered(id_: str = "refusal-1", seconds_ago: float = 0) -> InputRequest:
    closed_at = NOW - timedelta(seconds=seconds_ago)
    return refusal(id_, status=InputRequestStatus.ANSWERED, answer="retry", closed_at=closed_at)


FORMS: list[tuple[list[object], Respond]] = [
    ([{"id": "refusal-1", "answer": "retry", "by": "Ada"}], Respond(id="refusal-1", answer="retry", by="Ada")),
    ([{"answer": 20}], Respond(answer=20)),
    (["retry"], Respond(answer="retry")),
    ([20], Respond(answer=20)),
    (["refusal-1", "retry"], Respond(id="refusal-1", answer="retry")),
    (["retry", None], Respond(answer="retry")),
]


@pytest.mark.parametrize(("arguments", "respond"), FORMS)
def test_an_answer_may_be_an_object_or_stand_alone_or_follow_its_id(arguments: list[object], respond: Respond) -> None:
    assert respond_of(arguments) == respond


REFUSED_FORMS: list[tuple[list[object], str]] = [
    ([], "cannot be used"),
    ([None], "cannot be used"),
    ([["retry"]], "cannot be used"),
    ([{}], "answer: is required"),
    ([{"id": "refusal-1"}], "answer: is required"),
    ([{"id": 7, "answer": "retry"}], "id: must be text"),
    ([{"id": {}, "answer": "retry"}], "id: must be text"),
    ([{"anser": "retry"}], "anser is not a field of an answer"),
    (["a", "b", "c"], "cannot be used"),
    ([Unreadable("its encoding is not json/plain")], "its encoding is not json/plain"),
]


@pytest.mark.parametrize(("arguments", "why"), REFUSED_FORMS)
def test_what_is_not_an_answer_is_refused_with_the_form_of_one(arguments: list[object], why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        respond_of(arguments)
    assert '{"id": "refusal-1", "answer": "retry"' in str(caught.value)


def test_an_answer_without_an_id_is_for_the_only_open_request() -> None:
    assert (
        request_for(Respond(answer="retry"), [answered("refusal-1", 100), refusal("refusal-2")], NOW).id == "refusal-2"
    )


def test_an_answer_with_an_id_may_name_one_that_is_over() -> None:
    assert (
        request_for(Respond(id="refusal-1", answer="retry"), [answered(), refusal("refusal-2")], NOW).id == "refusal-1"
    )


REFUSED_IDS: list[tuple[str | None, list[InputRequest], str]] = [
    ("refusal-9", [refusal()], "has no input request refusal-9; open at the moment: refusal-1"),
    ("refusal-9", [], "open at the moment: none"),
    (None, [], "Nothing is asked"),
    (None, [answered()], "Nothing is asked"),
    (None, [refusal("refusal-1"), refusal("refusal-2")], r"name the id of one \(refusal-1, refusal-2\)"),
    (None, [answered("refusal-1", 59), refusal("refusal-2")], "may be meant for the same question"),
]


@pytest.mark.parametrize(("id_", "requests", "why"), REFUSED_IDS)
def test_an_answer_that_may_be_for_another_question_is_refused(
    id_: str | None, requests: list[InputRequest], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        request_for(Respond(id=id_, answer="retry"), requests, NOW)


ACCEPTED: list[tuple[InputRequest, object, str]] = [
    (refusal(), "retry", "retry"),
    (refusal(), " Stop ", "stop"),
    (limit(Limit.MAX_ITERATIONS), 20, "20"),
    (limit(Limit.MAX_ITERATIONS), "20", "20"),
    (limit(Limit.MAX_ITERATIONS), "stop", "stop"),
    (limit(Limit.DEADLINE), 3600, "3600"),
    (limit(Limit.DEADLINE), 0.5, "0.5"),
    (limit(Limit.DEADLINE), "STOP", "stop"),
]


@pytest.mark.parametrize(("request_", "answer", "kept"), ACCEPTED)
def test_an_answer_is_kept_in_one_form(request_: InputRequest, answer: object, kept: str) -> None:
    assert accepted(answer, request_, AgentState(iteration=5)) == kept


def budgeted(**lines: float) -> AgentState:
    return AgentState(iteration=5, budget=Budget.model_validate(lines))


TOTALS: list[tuple[Limit, object, str]] = [
    (Limit.USD, 12345.678, "12345.678"),
    (Limit.USD, 10.1234567, "10.1234567"),
    (Limit.USD, "1e2", "100"),
    (Limit.USD, 20.0, "20"),
    (Limit.TOKENS, 2_000_000.0, "2000000"),
    (Limit.TOKENS, 123_456_789, "123456789"),
    (Limit.WORKING_SECONDS, 1_234_567.5, "1234567.5"),
]


@pytest.mark.parametrize(("line", "answer", "kept"), TOTALS)
def test_a_new_total_is_kept_to_the_last_digit(line: Limit, answer: object, kept: str) -> None:
    """However it is sent: programs write whole numbers as 2000000.0, too."""
    assert accepted(answer, limit(line), budgeted(usd=5, tokens=1000, working_seconds=60)) == kept


NO_TOTALS = ["$10", "10 USD", "10,000.00", "-5", "nan", "inf", "1e400", "more", 5, 4.99, "1000001", "0x10"]


@pytest.mark.parametrize("answer", NO_TOTALS)
def test_what_is_no_new_total_is_refused_with_what_is(answer: object) -> None:
    with pytest.raises(ValueError, match="send the total of USD that the run may use, more than 5 and at most 1,000,"):
        accepted(answer, limit(Limit.USD), budgeted(usd=5))


REFUSED: list[tuple[InputRequest, object, str]] = [
    (refusal(), "maybe", '"maybe" does not answer refusal-1: send retry or stop'),
    (refusal(), "", '"" does not answer'),
    (refusal(), True, "must be text or a number"),
    (refusal(), ["retry"], "must be text or a number"),
    (refusal(), {"action": "retry"}, "must be text or a number"),
    (limit(Limit.MAX_ITERATIONS), 5, "from 6 to 1000"),
    (limit(Limit.MAX_ITERATIONS), 1001, "from 6 to 1000"),
    (limit(Limit.MAX_ITERATIONS), 6.5, "from 6 to 1000"),
    (limit(Limit.MAX_ITERATIONS), 10**5000, "must be text or a number"),
    (limit(Limit.MAX_ITERATIONS), "9" * 5000, "from 6 to 1000"),
    (limit(Limit.MAX_ITERATIONS), "more", "or stop"),
    (limit(Limit.DEADLINE), 0, "at most 2592000"),
    (limit(Limit.DEADLINE), "nan", "at most 2592000"),
    (limit(Limit.DEADLINE), "inf", "at most 2592000"),
    (limit(Limit.DEADLINE), 2592001, "at most 2592000"),
]


@pytest.mark.parametrize(("request_", "answer", "why"), REFUSED, ids=range(len(REFUSED)))
def test_what_a_request_does_not_take_is_refused_with_what_it_takes(
    request_: InputRequest, answer: object, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        accepted(answer, request_, AgentState(iteration=5))


# --- approvals and questions -------------------------------------------------------------------------------------


def approval(**fields: Any) -> InputRequest:
    return InputRequest(
        id="approval-1",
        kind=InputRequestKind.APPROVAL,
        message="May it?",
        choices=["allow", "deny"],
        opened_at=NOW,
        **fields,
    )


def question(*choices: str, **fields: Any) -> InputRequest:
    return InputRequest(
        id="question-1", kind=InputRequestKind.QUESTION, message="What?", choices=list(choices), opened_at=NOW, **fields
    )


DECISIONS: list[tuple[object, str, str | None]] = [
    ("allow", "allow", None),
    (" Allow ", "allow", None),
    ("YES", "allow", None),
    ("y", "allow", None),
    ("deny", "deny", None),
    ("no", "deny", None),
    ("N", "deny", None),
    ("not on Fridays", "deny", "not on Fridays"),
    ("deny: not on Fridays", "deny", "not on Fridays"),
    ("deny:", "deny", "deny:"),
    ("allow, but not on Fridays", "deny", "allow, but not on Fridays"),
    ("allow: all of it", "deny", "allow: all of it"),
    ("yes!", "deny", "yes!"),
    ("allow allow", "deny", "allow allow"),
    ("do not allow", "deny", "do not allow"),
    ({"decision": "allow"}, "allow", None),
    ({"decision": "allow", "words": None}, "allow", None),
    ({"decision": "allow", "words": " "}, "allow", None),
    ({"decision": "allow", "words": "the last one"}, "allow", "the last one"),
    ({"decision": "Deny", "words": "why?"}, "deny", "why?"),
]


@pytest.mark.parametrize(("answer", "decision", "words"), DECISIONS)
def test_only_what_allows_a_call_without_doubt_does(answer: object, decision: str, words: str | None) -> None:
    assert (accepted(answer, approval(), AgentState()), words_of(answer, approval())) == (decision, words)


NO_DECISIONS: list[tuple[object, str]] = [
    ("", "empty"),
    (" ", "empty"),
    (True, "cannot be used"),
    (1, "cannot be used"),
    (["allow"], "cannot be used"),
    ({}, "decision: must be allow or deny"),
    ({"decision": "perhaps"}, "decision: must be allow or deny"),
    ({"decision": True}, "decision: must be allow or deny"),
    ({"words": "yes"}, "decision: must be allow or deny"),
    ({"decision": "allow", "words": 7}, "cannot be used"),
    ({"decision": "allow", "arguments": "{}"}, "arguments is not a part of the answer"),
    ("x" * 33_000, "at most 32768 bytes"),
]


@pytest.mark.parametrize(("answer", "why"), NO_DECISIONS)
def test_what_does_not_decide_about_a_call_is_refused(answer: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        accepted(answer, approval(), AgentState())


REPLIES: list[tuple[InputRequest, object, str]] = [
    (question(), "Green.", "Green."),
    (question(), "  Two\nlines ", "Two\nlines"),
    (question(), 7, "7"),
    (question("Red", "Blue"), "red", "Red"),
    (question("Red", "Blue"), "neither", "neither"),
    (question(), "\ud800", "\ufffd"),
]


@pytest.mark.parametrize(("request_", "answer", "kept"), REPLIES)
def test_a_question_takes_any_text(request_: InputRequest, answer: object, kept: str) -> None:
    assert accepted(answer, request_, AgentState()) == kept


@pytest.mark.parametrize("answer", ["", " ", True, {"a": 1}, ["a"], "x" * 33_000])
def test_what_is_no_text_does_not_answer_a_question(answer: object) -> None:
    with pytest.raises(ValueError, match=r"empty|text or a number|at most"):
        accepted(answer, question(), AgentState())


OVER = [
    (approval(status="answered", answer="deny", words="no", by="Ada"), "answered deny by Ada: no"),
    (approval(status="expired", default="deny", answer="deny"), "nobody answered in time, so deny was taken"),
    (question(status="expired"), "nobody answered in time"),
]


@pytest.mark.parametrize(("request_", "said"), OVER)
def test_what_has_become_of_a_request_is_told(request_: InputRequest, said: str) -> None:
    assert outcome(request_) == said
