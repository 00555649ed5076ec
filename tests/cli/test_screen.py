"""How a run looks, without a terminal: views in, text out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from durable_responses.activities.messages import FailureType, SavedFile, ToolOutcome, Waiting
from durable_responses.cli.screen import (
    RunScreen,
    call_line,
    calls_line,
    changes,
    error_line,
    head_of,
    ids_of,
    list_of,
    notices,
    particulars,
    row_of,
    standing,
    still,
    ways_on,
)
from durable_responses.cli.times import age, duration
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.responses_api.models import UrlCitation
from durable_responses.shown_text import shown
from durable_responses.workflows.contract import (
    AgentError,
    AgentResult,
    AgentStatus,
    AgentUsage,
    CallRecord,
    CallStatus,
    IncompleteReason,
    ResponseUsage,
    RunCost,
)

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = BEGAN + timedelta(seconds=41)
LINK = "http://127.0.0.1:8233/namespaces/default/workflows/agent-1"


_OF_THE_VIEW = {"result", "source", "worker_running", "worker_seen_at", "task_attempt", "summary", "last_sign", "memo"}


def view_of(**fields: Any) -> JobView:
    """A view of a run that has gone on for 41 seconds; what is no field of the view is one of the state."""
    state = {"status": AgentStatus.RUNNING, "iteration": 2, "max_iterations": 10, "started_at": BEGAN}
    state |= {name: value for name, value in fields.items() if name not in _OF_THE_VIEW}
    view = {"source": Source.WORKER, "worker_running": True, "closed_at": NOW if "result" in fields else None}
    view |= {name: value for name, value in fields.items() if name in _OF_THE_VIEW}
    return JobView.model_validate({"job_id": "agent-1", "run_id": "run", "state": state, **view})


def call(name: str, status: CallStatus, number: int = 1) -> CallRecord:
    return CallRecord(call_id=f"call_{number}", name=name, iteration=1, status=status)


def drawn(view: JobView, *, width: int = 60, height: int = 20) -> list[str]:
    """The lines of the screen on a terminal of this size."""
    console = Console(width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(RunScreen(view, LINK, lambda: NOW))
    return captured.get().splitlines()


# --- pieces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (41.9, "0:41"), (725, "12:05"), (11_220, "3:07:00"), (180_000, "2d 2:00:00"), (90_000, "1d 1:00:00")],
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J\x1b]0;owned\x07gone", "gone"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x9b31m\x00\x7f", ""),
        ("ä€🙂", "ä€🙂"),
    ],
)
def test_no_control_character_reaches_a_terminal(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_calls_are_shown_by_name_and_counted_when_there_are_many() -> None:
    calls = [call("read_file", CallStatus.SUCCEEDED, number) for number in range(7)]
    calls += [
        call("read_file", CallStatus.FAILED),
        call("write_file", CallStatus.RUNNING),
        call("send", CallStatus.UNKNOWN),
    ]
    assert calls_line(calls) == "read_file 7✓ 1✗, write_file …, send ?"


def test_every_call_status_has_a_sign() -> None:
    assert calls_line([call("t", status) for status in CallStatus]).count(" ") == 1
    assert {CallStatus(outcome) for outcome in ToolOutcome} < set(CallStatus)


def test_where_a_run_stands_names_status_iteration_time_and_tokens() -> None:
    usage = AgentUsage(total_tokens=1234, reasoning_tokens=500)
    assert standing(view_of(usage=usage), NOW) == [
        "running",
        "iteration 2 of 10",
        "0:41",
        "1,234 tokens (500 reasoning)",
    ]


def test_tokens_that_are_not_known_are_not_shown_as_none() -> None:
    assert standing(view_of(), NOW) == ["running", "iteration 2 of 10", "0:41"]


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (
            AgentResult(status=AgentStatus.INCOMPLETE, incomplete_reason=IncompleteReason.DEADLINE),
            "incomplete (deadline)",
        ),
        (AgentResult(status=AgentStatus.CANCELLED, cancel_reason="enough"), "cancelled (enough)"),
        (AgentResult(status=AgentStatus.COMPLETED), "completed"),
    ],
)
def test_the_end_of_a_run_has_its_reason(result: AgentResult, status: str) -> None:
    assert standing(view_of(result=result, status=result.status), NOW)[0] == status


# --- notices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen_at", "sentence"),
    [
        (None, "No worker is running. To resume the run, start one"),
        (NOW - timedelta(seconds=100), "No worker is running. To resume the run, start one"),
        (NOW - timedelta(seconds=14), "No worker is running, or it is not responding (last seen 14 s ago)."),
    ],
)
def test_without_a_worker_it_says_how_sure_that_is(seen_at: datetime | None, sentence: str) -> None:
    view = view_of(worker_running=False, worker_seen_at=seen_at, source=Source.SERVER)
    assert notices(view, NOW)["worker"].startswith(sentence)


def test_without_a_worker_of_its_project_it_says_where_what_is_to_be_typed() -> None:
    view = view_of(worker_running=False, source=Source.SERVER, memo={"project": "garden-360a934a"})
    told = (
        "No worker is running. To resume the run, type `durable-responses watch agent-1` in the folder of its project."
    )
    assert notices(view, NOW)["worker"] == told


def test_without_a_worker_nothing_is_said_of_its_slots() -> None:
    waiting = Waiting(what="no free slot for the create", since=NOW - timedelta(seconds=29), attempt=0)
    view = view_of(waiting=waiting, worker_running=False)
    assert "waiting" not in notices(view, NOW)
    assert notices(view_of(waiting=waiting), NOW)["waiting"].startswith("Waiting: no free slot")


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (view_of(), ""),
        (view_of(source=Source.EARLIER, worker_running=False), "Temporal is not responding. The run is safe"),
        (view_of(cancel_requested=True), "Cancel requested."),
        (view_of(ambiguous_creates=1), "1 create with an unknown outcome"),
        (view_of(task_attempt=2), ""),
        (view_of(task_attempt=9), "The worker keeps failing at this run"),
        (
            view_of(
                worker_running=False, status=AgentStatus.COMPLETED, result=AgentResult(status=AgentStatus.COMPLETED)
            ),
            "",
        ),
    ],
)
def test_what_is_out_of_the_ordinary_is_said(view: JobView, told: str) -> None:
    assert " ".join(notices(view, NOW).values()).startswith(told)
    assert bool(notices(view, NOW)) == bool(told)


# --- plain lines -------------------------------------------------------------------------------------------------


def test_the_first_line_says_where_the_run_stands() -> None:
    view = view_of(response_id="resp_1", response_status="queued")
    assert changes(None, view, NOW) == ["running: iteration 2 of 10, response queued, resp_1"]


def test_nothing_new_is_no_line() -> None:
    before = view_of(preview="some", worker_running=False, worker_seen_at=NOW)
    view = view_of(preview="some text", worker_running=False, worker_seen_at=NOW)
    assert changes(before, view, NOW + timedelta(seconds=3)) == []


def test_each_call_is_a_line_when_it_begins_and_when_it_ends() -> None:
    running = view_of(function_calls=[call("add", CallStatus.RUNNING)])
    ended = view_of(function_calls=[call("add", CallStatus.SUCCEEDED)])
    assert changes(view_of(), running, NOW) == ["add …"]
    assert changes(running, ended, NOW) == ["add ✓"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"status": CallStatus.SUCCEEDED, "argument": "a/b.md", "seconds": 0.21}, "read_file a/b.md ✓ 0.2 s"),
        ({"status": CallStatus.SUCCEEDED, "seconds": 125.0}, "read_file ✓ 2:05"),
        (
            {"status": CallStatus.FAILED, "argument": "gone.md", "seconds": 0.01, "reason": "no such file"},
            "read_file gone.md ✗ 0.0 s: no such file",
        ),
        ({"status": CallStatus.RUNNING, "argument": "a.md", "started_at": BEGAN}, "read_file a.md … 41.0 s"),
        (
            {"status": CallStatus.RUNNING, "argument": "a.md", "started_at": BEGAN, "waits_for": "approval-1"},
            "read_file a.md … waits for an answer to approval-1",
        ),
        ({"status": CallStatus.SUCCEEDED, "argument": "a\x1b[2J\nb"}, "read_file a b ✓"),
    ],
)
def test_a_call_is_shown_with_its_argument_its_time_and_why_it_failed(fields: dict[str, Any], line: str) -> None:
    record = CallRecord(call_id="c", name="read_file", iteration=1, **fields)
    assert call_line(record, NOW) == line


def test_a_worker_that_is_lost_and_comes_back_is_two_lines() -> None:
    lost = view_of(worker_running=False, source=Source.SERVER)
    assert [line[:20] for line in changes(view_of(), lost, NOW)] == ["No worker is running"]
    assert changes(lost, view_of(), NOW) == ["A worker is running."]


def test_a_server_that_is_away_and_comes_back_is_two_lines() -> None:
    away = view_of(source=Source.EARLIER)
    assert [line[:26] for line in changes(view_of(), away, NOW)] == ["Temporal is not responding"]
    assert changes(away, view_of(), NOW) == ["Temporal is back."]


# --- the screen --------------------------------------------------------------------------------------------------


def test_a_line_ends_with_as_much_of_the_id_as_is_needed_to_find_it() -> None:
    view = view_of(response_id=f"resp_{'0123456789abcdef' * 3}", response_status="queued")
    assert changes(None, view, NOW) == ["running: iteration 2 of 10, response queued, resp_0123456789ab…"]


def test_who_waits_is_told_what_is_still_running() -> None:
    running = CallRecord(
        call_id="2", name="read_file", iteration=2, status=CallStatus.RUNNING, argument="a.md", started_at=BEGAN
    )
    at_the_provider = {"response_id": "resp_1", "response_status": "in_progress", "last_sign": NOW}
    assert still(view_of(), NOW) == "still running: iteration 2 of 10"
    assert still(view_of(**at_the_provider), NOW) == "still running: response in_progress, last sign of life 0 s ago"
    no_slot = Waiting(what="no free slot", since=BEGAN, attempt=0)
    assert still(view_of(waiting=no_slot), NOW).startswith("still running: waiting: no free slot")
    assert still(view_of(waiting=no_slot, worker_running=False), NOW) == "still running: no worker is running"
    unreachable = Waiting(what="the provider is unreachable", since=BEGAN, attempt=9)
    assert still(view_of(waiting=unreachable), NOW).startswith("still running: waiting: the provider is unreachable")
    assert still(view_of(function_calls=[running]), NOW) == "still running: read_file a.md … 41.0 s"
    assert still(view_of(source=Source.EARLIER), NOW) == "Temporal is still not responding."


def test_what_can_be_typed_after_a_failure_is_what_can_help() -> None:
    """To continue takes the input over, so it is no way on from one that cannot be used."""

    def ways(failure: FailureType) -> list[str]:
        error = AgentError(type=failure, message="Sorry.")
        result = AgentResult(status=AgentStatus.FAILED, error=error)
        return [way.plain for way in ways_on(view_of(status=AgentStatus.FAILED, result=result))]

    assert ways(FailureType.INVALID_INPUT)[0] == 'correct the input and start again  durable-responses run "…"'
    assert ways(FailureType.AUTHENTICATION_FAILED)[0] == 'continue  durable-responses continue agent-1 "…"'
    assert ways(FailureType.CHAIN_REJECTED)[0] == 'continue  durable-responses continue --rebuild agent-1 "…"'


@pytest.mark.parametrize(
    ("job_id", "typed"), [("-x", "-- -x"), ("my job", "'my job'"), ("--help", "-- --help"), ("ünï", "'ünï'")]
)
def test_what_is_to_be_pasted_means_the_run(job_id: str, typed: str) -> None:
    ways = [way.plain for way in ways_on(view_of().model_copy(update={"job_id": job_id}))]
    assert ways[0].endswith(f"durable-responses watch {typed}")


def test_what_the_sentence_of_an_error_has_is_not_said_again() -> None:
    error = AgentError(
        type="not_found", message="No such model. (status 404, request id req_1)", http_status=404, request_id="req_1"
    )
    assert error_line(error) == "error: No such model. (status 404, request id req_1) (type not_found)"


def test_the_screen_shows_the_run_its_link_and_its_text() -> None:
    view = view_of(
        response_id="resp_1",
        response_status="in_progress",
        model="gpt-5.4",
        summary="Count the files",
        deadline=NOW + timedelta(seconds=1759),
        last_sign=NOW - timedelta(seconds=3),
        function_calls=[
            call("add", CallStatus.SUCCEEDED),
            CallRecord(
                call_id="2",
                name="read_file",
                iteration=2,
                status=CallStatus.RUNNING,
                argument="a.md",
                started_at=BEGAN,
            ),
        ],
        preview="Once upon a time",
    )
    assert drawn(view, width=80) == [
        "running · iteration 2 of 10 · 0:41 · 29:19 left",
        "Count the files",
        "gpt-5.4 · response in_progress · last sign of life 3 s ago",
        "add ✓, read_file …",
        "  read_file a.md … 41.0 s",
        "Once upon a time",
        "agent-1  resp_1",
        LINK,
    ]


def test_a_failed_call_says_why_on_the_screen() -> None:
    failed = CallRecord(call_id="c", name="add", iteration=1, status=CallStatus.FAILED, reason="no such number")
    assert "  add ✗: no such number" in drawn(view_of(function_calls=[failed]))


@pytest.mark.parametrize("height", [2, 4, 8, 12, 20, 100])
def test_the_screen_never_fills_the_terminal(height: int) -> None:
    lines = drawn(view_of(preview="word " * 800), height=height)
    assert len(lines) < height
    assert height < 8 or lines[-3].strip().endswith("word")


def test_the_screen_shows_the_end_of_the_text() -> None:
    lines = drawn(view_of(preview="\n".join(f"line {number}" for number in range(100))))
    assert "line 99" in lines
    assert "line 50" not in lines


def test_the_link_is_never_cut() -> None:
    assert LINK in "".join(drawn(view_of(), width=30))


def test_the_time_goes_on_between_two_views() -> None:
    clock = iter([NOW, NOW + timedelta(seconds=1)])
    screen = RunScreen(view_of(), None, lambda: next(clock))
    console = Console(width=60, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(screen)
        console.print(screen)
    assert "0:41" in captured.get()
    assert "0:42" in captured.get()


# --- the end, and lists ------------------------------------------------------------------------------------------


def test_a_failure_says_what_the_provider_said() -> None:
    """A25: status, code and request id stay."""
    error = AgentError(type="rate_limited", message="Slow down.", code="slow_down", http_status=429, request_id="req_1")
    facts = particulars(AgentResult(status=AgentStatus.FAILED, error=error))
    assert facts == ["error: Slow down. (type rate_limited, code slow_down, HTTP 429, request req_1)"]


def test_a_finished_run_says_where_it_was_saved_and_how_to_go_on() -> None:
    result = AgentResult(
        status=AgentStatus.COMPLETED,
        response_id="resp_2",
        artifact_path="/out/a.md",
        artifact_error="no space",
        files=[
            SavedFile(name="plot.png", path="/out/plot-1.png", bytes=12_345),
            SavedFile(name="a\x1b[2J.csv", error="It is gone."),
        ],
        citations=[UrlCitation(url="https://example.com", title="Example")],
        responses=[ResponseUsage(response_id=None, iteration=1, status="lost")],
    )
    assert particulars(result) == [
        "1 response lost: the tokens are not counted.",
        "saved: /out/a.md",
        "not saved: no space",
        "saved: /out/plot-1.png (12,345 bytes)",
        "not saved: a.csv: It is gone.",
        "source: Example https://example.com",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (9, "just now"),
        (41, "41 seconds ago"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (200_000, "2 days ago"),
        (40 * 86400, "2026-03-01"),
    ],
)
def test_an_age_is_told_in_words(seconds: int, words: str) -> None:
    assert age(BEGAN, BEGAN + timedelta(seconds=seconds)) == words


LISTED = {"summary": "Count\tthe\nfiles", "usage": AgentUsage(total_tokens=1234), "model": "gpt-5.4"}


def test_a_list_has_a_line_for_each_job_on_a_wide_terminal() -> None:
    header, line = list_of([view_of(**LISTED)], NOW, 160)
    assert header.plain.split() == ["status", "started", "iteration", "tokens", "model", "job", "task"]
    assert line.plain == "running  41 seconds ago       2/10   1,234  gpt-5.4  agent-1  Count the files"


def test_a_list_has_a_column_of_costs_where_any_is_known() -> None:
    views = [view_of(**LISTED), view_of(**LISTED, cost=RunCost(usd=0.41, known=0.41))]
    views.append(view_of(**LISTED, cost=RunCost(usd=None, known=1.5, unknown=1)))
    header, first, second, third = list_of(views, NOW, 160)
    assert header.plain.split() == ["status", "started", "iteration", "tokens", "USD", "model", "job", "task"]
    assert first.plain == "running  41 seconds ago       2/10   1,234          gpt-5.4  agent-1  Count the files"
    assert "  0.41  gpt" in second.plain
    assert "≥ 1.50  gpt" in third.plain
    assert row_of(views[1], NOW).split("\t")[-1] == "0.41"


def test_a_list_has_a_second_line_for_the_task_on_a_narrow_terminal() -> None:
    _, first, second = list_of([view_of(**LISTED)], NOW, 80)
    assert first.plain.split() == ["running", "41", "seconds", "ago", "2/10", "1,234", "agent-1"]
    assert second.plain.strip() == "gpt-5.4 · Count the files"


def test_an_empty_list_has_its_header() -> None:
    assert len(list_of([], NOW, 80)) == 1


def test_a_list_for_programs_has_tabs_between_its_fields() -> None:
    row = row_of(view_of(summary="Count\tthe\nfiles"), NOW)
    assert row.split("\t") == [
        "running",
        "2026-03-01T12:00:00Z",
        "0:41",
        "agent-1",
        "Count the files",
        "",
        "2",
        "",
        "",
        "",
    ]


def test_a_list_for_programs_says_what_a_job_waits_for() -> None:
    waiting = Waiting(what="no free slot for the create", since=NOW - timedelta(seconds=29), attempt=0)
    row = row_of(view_of(waiting=waiting), NOW)
    assert row.split("\t")[-2] == "no free slot for the create since 0:12"


def test_what_others_wrote_has_no_control_characters_anywhere() -> None:
    evil = "\x1b[31mevil"
    view = view_of(
        response_id=evil,
        response_status=evil,
        model=evil,
        preview=evil,
        summary=evil,
        function_calls=[call(evil, CallStatus.FAILED)],
    )
    result = AgentResult(status=AgentStatus.FAILED, error=AgentError(type=evil, message=evil), artifact_path=evil)
    texts = [line.plain for line in [*head_of(view, NOW), *ids_of(view, None), *list_of([view], NOW, 80)]]
    texts += [row_of(view, NOW), *changes(None, view, NOW), *particulars(result), *drawn(view)]
    assert "evil" in "".join(texts)
    assert "\x1b[31m" not in "".join(texts)


def test_a_run_that_waits_for_something_else_than_its_response_says_so_wherever_it_is_shown() -> None:
    since, next_at = BEGAN + timedelta(seconds=12), NOW + timedelta(seconds=8)
    waiting = Waiting(what="the provider is unreachable", since=since, attempt=5, next_at=next_at, cause="no route")
    view = view_of(waiting=waiting.model_dump())
    told = "Waiting: the provider is unreachable since 0:12, try 5, next in 8 s: no route"
    assert notices(view, NOW)["waiting"] == told
    assert told in [line.plain for line in head_of(view, NOW)]
    assert told in changes(None, view, NOW)
    assert told in list_of([view], NOW, 80)[3].plain


def test_what_of_the_request_was_changed_is_said() -> None:
    view = view_of(request_changes=["reasoning.summary was left out"])
    assert "reasoning.summary was left out" in notices(view, NOW)["changes"]
