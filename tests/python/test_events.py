"""What is new between two views of a run, as events, in the order in which it happened."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from durable_responses.jobs.job_view import JobView, Source
from durable_responses.python.events import (
    NO_TEMPORAL,
    NO_WORKER,
    CallEnded,
    CallStarted,
    Ended,
    IterationStarted,
    ResponseChanged,
    TextWritten,
    Waiting,
    events_between,
    new_text,
)
from durable_responses.workflows.contract import (
    AgentResult,
    AgentState,
    AgentStatus,
    CallRecord,
    CallStatus,
    InputRequest,
    InputRequestKind,
    InputRequestStatus,
)

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def call(name: str, status: CallStatus = CallStatus.RUNNING, iteration: int = 1, **fields: Any) -> CallRecord:
    return CallRecord(call_id=f"call_{name}", name=name, iteration=iteration, status=status, **fields)


def view(*, result: AgentResult | None = None, source: Source = Source.WORKER, **state: Any) -> JobView:
    told = AgentState.model_validate(
        {"status": AgentStatus.RUNNING, "iteration": 1, "max_iterations": 6, "started_at": NOON, **state}
    )
    return JobView(
        job_id="job", run_id="run", state=told, result=result, source=source, worker_running=source is Source.WORKER
    )


def told(before: JobView | None, after: JobView) -> list[str]:
    return [type(event).__name__ for event in events_between(before, after)]


def test_a_run_tells_its_story_in_order() -> None:
    views = [
        view(),
        view(response_id="resp_1", response_status="in_progress"),
        view(response_id="resp_1", response_status="completed", function_calls=[call("add")]),
        view(iteration=2, response_id="resp_1", function_calls=[call("add", CallStatus.SUCCEEDED)]),
        view(iteration=2, response_id="resp_2", preview="Done.", function_calls=[call("add", CallStatus.SUCCEEDED)]),
        view(
            iteration=2,
            response_id="resp_2",
            preview="Done.",
            function_calls=[call("add", CallStatus.SUCCEEDED)],
            status=AgentStatus.COMPLETED,
            result=AgentResult(status=AgentStatus.COMPLETED),
        ),
    ]
    story = [told(before, after) for before, after in zip([None, *views], views, strict=False)]
    assert story == [
        ["IterationStarted"],
        ["ResponseChanged"],
        ["ResponseChanged", "CallStarted"],
        ["CallEnded", "IterationStarted", "ResponseChanged"],
        ["ResponseChanged", "TextWritten"],
        ["Ended"],
    ]


def test_whoever_comes_late_is_told_what_has_happened() -> None:
    done = call("add", CallStatus.FAILED, reason="no such number", seconds=0.2)
    late = view(iteration=2, response_id="resp_2", preview="Half a", function_calls=[done])
    started, ended, iteration, response, text = events_between(None, late)
    assert isinstance(started, CallStarted)
    assert (started.call.status, started.call.seconds, started.call.reason) == (CallStatus.RUNNING, None, None)
    assert isinstance(ended, CallEnded)
    assert ended.call == done
    assert isinstance(iteration, IterationStarted)
    assert (iteration.iteration, iteration.max_iterations) == (2, 6)
    assert isinstance(response, ResponseChanged)
    assert response.response_id == "resp_2"
    assert isinstance(text, TextWritten)
    assert text.text == "Half a"


def test_nothing_new_is_no_event() -> None:
    assert told(view(), view()) == []


def test_an_outage_is_told_once_and_its_end_as_well() -> None:
    there, gone, unserved = view(), view(source=Source.EARLIER), view(source=Source.SERVER)
    reasons = [
        event.reason
        for before, after in [(there, gone), (gone, gone), (gone, unserved), (unserved, there)]
        for event in events_between(before, after)
        if isinstance(event, Waiting)
    ]
    assert reasons == [NO_TEMPORAL, NO_WORKER, None]


def test_what_the_owner_is_asked_is_told_once_and_again_when_it_is_asked_again() -> None:
    def asked(times: int, status: InputRequestStatus = InputRequestStatus.OPEN) -> JobView:
        request = InputRequest(
            id="question-1",
            kind=InputRequestKind.QUESTION,
            message="Which one?",
            opened_at=NOON,
            asked_as=times,
            status=status,
        )
        return view(input_requests=[request])

    steps = [view(), asked(1), asked(1), asked(2), asked(2, InputRequestStatus.ANSWERED)]
    told_each_time = [told(before, after) for before, after in itertools.pairwise(steps)]
    assert told_each_time == [["InputRequested"], [], ["InputRequested"], []]


def test_a_run_that_has_ended_waits_for_nothing() -> None:
    ended = view(source=Source.SERVER, result=AgentResult(status=AgentStatus.FAILED))
    assert [type(event) for event in events_between(view(source=Source.SERVER), ended)] == [Waiting, Ended]


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "Hello", "Hello"),
        ("Hello", "Hello there", " there"),
        ("Hello", "Hello", ""),
        ("0123456789", "456789abcd", "abcd"),
        ("abc", "xyz", "xyz"),
    ],
)
def test_the_text_that_is_new_is_what_follows_the_known_one(before: str, now: str, new: str) -> None:
    assert new_text(before, now) == new
