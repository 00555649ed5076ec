"""Two views of a job become one: nothing that was known is lost, nothing is made up."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_responses.jobs.job_view import (
    JobView,
    Source,
    closed_state,
    is_news,
    with_live_text,
    with_what_was_known,
)
from durable_responses.workflows.contract import (
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    CallRecord,
    CallStatus,
)


@pytest.mark.parametrize(
    ("preview", "live", "shown"),
    [
        pytest.param("", "", "", id="nothing"),
        pytest.param("before.", "", "before.", id="nothing is being written"),
        pytest.param("", "now", "now", id="the first text"),
        pytest.param("before. ", "now", "before. now", id="no signal has told of it yet"),
        pytest.param("before. no", "now and then", "before. now and then", id="a signal told of its beginning"),
        pytest.param("before.and", "now and then", "before.now and then", id="a signal told of its tail of then"),
        pytest.param("a" * 4000, "b" * 100, "a" * 3900 + "b" * 100, id="the last 4000 characters"),
        pytest.param("a", "b" * 4000, "b" * 4000, id="a long text"),
    ],
)
def test_live_text_takes_the_place_of_its_older_part(preview: str, live: str, shown: str) -> None:
    """A15: the preview is the last 4000 characters of all text so far."""
    assert with_live_text(preview, live) == shown


def view_of(source: Source = Source.WORKER, **state: Any) -> JobView:
    return JobView(job_id="agent-1", run_id="r", state=AgentState(**state), source=source, worker_running=True)


def test_a_worker_that_polls_is_no_news() -> None:
    before = view_of(response_id="r1")
    assert not is_news(before.model_copy(update={"worker_seen_at": datetime(2026, 1, 1, tzinfo=UTC)}), before)
    assert is_news(view_of(response_id="r2"), before)


def test_a_lost_worker_takes_nothing_off_the_screen() -> None:
    calls = [CallRecord(call_id="c", name="add", iteration=1, status=CallStatus.SUCCEEDED)]
    usage = AgentUsage(total_tokens=7)
    before = view_of(response_id="r1", response_status="queued", preview="some text", usage=usage, function_calls=calls)
    after = with_what_was_known(view_of(Source.SERVER, response_id="r1", preview="some"), before)
    assert after.state == before.state


def test_another_response_has_a_text_of_its_own() -> None:
    before = view_of(response_id="r1", preview="lost text")
    assert with_what_was_known(view_of(response_id="r2"), before).state.preview == ""


def test_how_a_run_closed_is_the_truth() -> None:
    """A18: a run that was terminated while it ran keeps what it had done, and is failed."""
    state = AgentState(status=AgentStatus.RUNNING, iteration=3, preview="some text", usage=AgentUsage(total_tokens=7))
    closed = closed_state(state, AgentResult(status=AgentStatus.FAILED), datetime(2026, 1, 1, tzinfo=UTC))
    assert (closed.status, closed.iteration, closed.preview, closed.usage.total_tokens) == (
        AgentStatus.FAILED,
        3,
        "some text",
        7,
    )
