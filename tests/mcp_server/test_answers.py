"""What the tools answer, from a view of a job: models, schemas and text."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no types; comes with the MCP SDK
import pytest
from mcp_types import ResourceLink, TextContent

from durable_responses.activities.messages import SavedFile
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.mcp_server.answers import (
    MEMO_DISPLAY,
    CancelAnswer,
    JobAnswer,
    JobNotFoundAnswer,
    cancel_answer,
    job_answer,
    next_poll_ms,
    output_schema,
    start_answer,
    steer_answer,
)
from durable_responses.mcp_server.tools import job_result
from durable_responses.mcp_server.wording import duration, job_text, progress_text, started_text, steered_text
from durable_responses.workflows.contract import (
    AgentError,
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    IncompleteReason,
)

STARTED = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = STARTED + timedelta(seconds=41)


def view(status: AgentStatus = AgentStatus.RUNNING, *, output: str = "The answer.", **changes: Any) -> JobView:
    """A job 41 seconds old, in its second iteration."""
    state = AgentState(
        status=status,
        iteration=2,
        max_iterations=10,
        model="gpt-5.4",
        response_id="resp_2",
        response_status="in_progress",
        preview="What was written so far.",
        usage=AgentUsage(input_tokens=1000, output_tokens=234, reasoning_tokens=200, total_tokens=1234),
        started_at=STARTED,
        updated_at=NOW,
    )
    result = AgentResult(status=status, output_text=output, iterations=2) if status.is_final else None
    closed_at = NOW if status.is_final else None
    whole = JobView(
        job_id="agent-1", run_id="1", state=state, result=result, source=Source.WORKER, worker_running=True
    ).model_copy(update={"closed_at": closed_at})
    return whole.model_copy(update=changes)


def answer(of: JobView) -> JobAnswer:
    return job_answer(of, NOW)


def saved(of: JobView) -> JobView:
    """The same job with its result in a file."""
    assert of.result is not None
    return of.model_copy(update={"result": of.result.model_copy(update={"artifact_path": "/out/a.md"})})


# --- structured --------------------------------------------------------------------------------------------------


def test_times_are_iso_8601_in_utc() -> None:
    """A15."""
    assert answer(view()).model_dump(mode="json")["updated_at"] == "2026-03-01T12:00:41Z"


def test_a_queued_job_has_no_iteration_yet() -> None:
    """A15, A18."""
    queued = view(AgentStatus.QUEUED)
    assert (answer(queued).iterations, answer(queued).progress.iteration) == (0, 0)


def test_there_is_no_output_before_the_end() -> None:
    """A15."""
    assert answer(view()).output is None


@pytest.mark.parametrize("status", [status for status in AgentStatus if status.is_final])
def test_there_is_an_output_after_the_end(status: AgentStatus) -> None:
    """A15."""
    assert answer(view(status)).output == "The answer."


@pytest.mark.parametrize(("age", "expected"), [(0, 2000), (19, 2000), (41, 4100), (100, 10_000), (3600, 30_000)])
def test_old_jobs_are_to_be_polled_less_often(age: int, expected: int) -> None:
    """A15: `next_poll_ms`."""
    assert next_poll_ms(view(), STARTED + timedelta(seconds=age)) == expected


def test_an_ended_job_need_not_be_polled_again() -> None:
    """A15."""
    assert answer(view(AgentStatus.FAILED)).next_poll_ms is None


def test_a_saved_output_is_kept_back_where_it_should_not_be_displayed() -> None:
    """A23: `display_in_chat`."""
    hidden = saved(view(AgentStatus.COMPLETED, memo={MEMO_DISPLAY: False}))
    assert (answer(hidden).output, answer(hidden).result_path) == (None, "/out/a.md")


def test_an_output_that_was_not_saved_is_never_kept_back() -> None:
    """A23."""
    assert answer(view(AgentStatus.COMPLETED, memo={MEMO_DISPLAY: False})).output == "The answer."


def test_a_saved_output_is_displayed_by_default() -> None:
    """A23."""
    assert answer(saved(view(AgentStatus.COMPLETED, memo={MEMO_DISPLAY: True}))).output == "The answer."


def test_an_open_job_that_was_cancelled_is_being_cancelled() -> None:
    """A16."""
    assert cancel_answer(view()).status == "cancelling"


@pytest.mark.parametrize("status", [status for status in AgentStatus if status.is_final])
def test_a_closed_job_that_was_cancelled_has_its_real_status(status: AgentStatus) -> None:
    """A16."""
    assert cancel_answer(view(status)).status == status.value


def test_an_error_keeps_what_the_provider_said_but_no_secrets() -> None:
    """A25: redacted, at most 2 kB, with status, code and request id."""
    error = AgentError(
        type="terminated",
        message="Terminated: sk-proj-abcdefghijklmnopqrstuvwxyz " + "x" * 5000,
        code="c",
        http_status=500,
        request_id="req_1",
    )
    failed = view(AgentStatus.FAILED)
    told = answer(failed.model_copy(update={"state": failed.state.model_copy(update={"error": error})})).error
    assert told is not None
    assert "abcdefghijklm" not in told.message
    assert len(told.message.encode()) <= 2048
    assert (told.code, told.http_status, told.request_id) == ("c", 500, "req_1")


def test_the_text_is_there_once() -> None:
    """Clients show a model the whole structured content."""
    done = answer(view(AgentStatus.COMPLETED))
    assert (done.preview, done.output) == ("", "The answer.")


def test_a_run_that_ended_without_an_answer_keeps_its_preview() -> None:
    assert answer(view(AgentStatus.FAILED, output="")).preview == "What was written so far."


@pytest.mark.parametrize("status", [AgentStatus.RUNNING, AgentStatus.COMPLETED])
def test_what_is_not_to_be_displayed_is_in_no_preview_and_no_line_of_progress(status: AgentStatus) -> None:
    """A23: `display_in_chat`."""
    hidden = view(status, memo={MEMO_DISPLAY: False})
    hidden = saved(hidden) if status.is_final else hidden
    told = answer(hidden)
    everything = told.model_dump_json() + job_text(told) + progress_text(told)
    assert not any(text in everything for text in ("What was written", "The answer."))


@pytest.mark.parametrize("status", list(AgentStatus))
def test_what_to_do_next_is_in_the_structured_content_too(status: AgentStatus) -> None:
    """Codex and Claude Code show a model nothing else."""
    hidden = saved(view(status, memo={MEMO_DISPLAY: False})) if status.is_final else view(status)
    told = answer(hidden)
    assert told.next_step is not None
    assert told.next_step in job_text(told)
    assert ("/out/a.md" if status.is_final else '"agent-1"') in told.next_step


def test_a_long_output_comes_with_the_ways_to_all_of_it() -> None:
    """A client that cuts it keeps the beginning of the text, and what is short in the structured content."""
    long = saved(view(AgentStatus.COMPLETED, output="ä" * 50_000))
    told = answer(long)
    assert (told.output_bytes, told.result_uri) == (100_000, "job://agent-1/result")
    assert told.next_step == (
        "The output has 100,000 bytes. If it is cut here, read the file /out/a.md or the resource job://agent-1/result."
        ' To continue from here, pass {"previous_response_id": "resp_2"} to gpt5_agent, or call gpt5_agent_continue '
        'with {"job_id": "agent-1", "task": "…"}; add "rebuild": true if the provider no longer has the conversation.'
    )
    assert job_text(told).startswith(told.next_step)
    assert list(told.model_dump())[-1] == "output"
    [_, link] = job_result(long).content
    assert isinstance(link, ResourceLink)
    assert (link.uri, link.size) == ("job://agent-1/result", 100_000)


@pytest.mark.parametrize("status", [status for status in AgentStatus if status.is_final])
def test_how_to_continue_a_job_that_has_ended_is_in_the_structured_content(status: AgentStatus) -> None:
    """The text of the facts says it, too; only a completed job has a response that any job can continue from."""
    step = answer(view(status)).next_step or ""
    assert ("previous_response_id" in step) is (status is AgentStatus.COMPLETED)
    assert 'gpt5_agent_continue with {"job_id": "agent-1", "task": "…"}' in step
    assert '"rebuild": true' in step


def test_a_short_output_comes_without_a_link() -> None:
    assert len(job_result(saved(view(AgentStatus.COMPLETED))).content) == 1


def test_a_call_that_failed_has_no_structured_content() -> None:
    """Clients would check it against the schema of an answer, and show their complaint in place of our sentence."""
    failed = job_result(view(AgentStatus.FAILED), failed=True)
    assert failed.is_error
    assert "structuredContent" not in failed.model_dump(by_alias=True, exclude_unset=True)


# --- schemas -----------------------------------------------------------------------------------------------------


def test_a_job_that_is_not_found_is_allowed_by_the_schema() -> None:
    """A17."""
    schema = output_schema(JobAnswer, JobNotFoundAnswer)
    jsonschema.validate({"error": "job_not_found"}, schema)
    jsonschema.validate(answer(view()).model_dump(mode="json"), schema)


@pytest.mark.parametrize("content", [{}, {"error": "other"}, {"job_id": "agent-1"}])
def test_the_schema_allows_nothing_else(content: dict[str, object]) -> None:
    """A17."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, output_schema(CancelAnswer, JobNotFoundAnswer))


@pytest.mark.parametrize("kinds", [(JobAnswer,), (JobAnswer, JobNotFoundAnswer)])
def test_the_schema_is_an_object_at_its_root(kinds: tuple[type[Any], ...]) -> None:
    """Revisions of the protocol before 2026-07-28 allow nothing else."""
    assert output_schema(*kinds)["type"] == "object"


# --- text --------------------------------------------------------------------------------------------------------


def test_the_text_of_a_finished_job_has_the_answer_and_the_facts() -> None:
    """A15: status, response id, model, iterations, tokens, time, path."""
    assert job_text(answer(saved(view(AgentStatus.COMPLETED)))) == (
        "The answer.\n\n---\njob: agent-1\nstatus: completed\n"
        "response: resp_2 (pass it as previous_response_id to continue)\nmodel: gpt-5.4\niterations: 2\n"
        "tokens: 1,234 tokens (200 reasoning)\ntime: 0:41\nsaved: /out/a.md"
    )


def test_the_text_says_where_an_output_is_that_was_kept_back() -> None:
    """A23: path, size, and a line saying so."""
    hidden = saved(view(AgentStatus.COMPLETED, output="ä" * 2000, memo={MEMO_DISPLAY: False}))
    content, link = job_result(hidden).content
    assert "The output (4,000 bytes) is in /out/a.md; it is not shown" in getattr(content, "text", "")
    assert (getattr(link, "uri", ""), getattr(link, "size", 0)) == ("job://agent-1/result", 4000)


def test_the_text_of_an_incomplete_job_says_why() -> None:
    incomplete = view(AgentStatus.INCOMPLETE)
    assert incomplete.result is not None
    incomplete.result.incomplete_reason = IncompleteReason.DEADLINE
    assert "status: incomplete (deadline)" in job_text(answer(incomplete))


def test_a_result_that_was_not_saved_is_reported() -> None:
    """A22."""
    unsaved = view(AgentStatus.COMPLETED)
    assert unsaved.result is not None
    unsaved.result.artifact_error = "The disk is full."
    assert "not saved: The disk is full." in job_text(answer(unsaved))


def test_files_are_listed_and_those_that_were_not_saved_are_noticed() -> None:
    done = view(AgentStatus.COMPLETED)
    assert done.result is not None
    gone = [SavedFile(name=f"{number}\x1b[2J.csv", error="It is gone.") for number in range(7)]
    done.result.files = [SavedFile(name="plot.png", path="/out/plot-1.png", bytes=12_345), *gone]
    structured = answer(done).model_dump(mode="json")
    assert structured["files"][0] == {"name": "plot.png", "path": "/out/plot-1.png", "bytes": 12_345, "error": None}
    assert [file["name"] for file in structured["files"][1:]] == [f"{number}.csv" for number in range(7)]
    text = job_text(answer(done))
    assert "file: /out/plot-1.png (12,345 bytes)" in text
    assert "4.csv was not saved: It is gone." in text
    assert "2 more files were not saved." in text
    assert "\x1b" not in text


def test_the_text_of_an_open_job_says_how_far_it_is_and_what_to_call() -> None:
    """A13, A15."""
    text = job_text(answer(view()))
    assert text.startswith("Job agent-1 is running, iteration 2 of 10, in_progress, 1,234 tokens")
    assert "What was written so far." in text
    assert 'Call gpt5_agent_poll with {"job_id": "agent-1"} in about 4 s' in text


def test_no_worker_is_said_in_the_text() -> None:
    assert "No worker is running" in job_text(answer(view(worker_running=False, source=Source.SERVER)))


def test_what_was_known_before_is_told_as_such() -> None:
    assert "Temporal is not responding" in job_text(answer(view(source=Source.EARLIER)))


def test_a_line_of_progress_has_status_iteration_tokens_and_the_end_of_the_text() -> None:
    """A13."""
    line = progress_text(answer(view()))
    assert line == (
        "running, iteration 2 of 10, in_progress, 1,234 tokens (200 reasoning), 0:41: …What was written so far."
    )


def test_a_started_job_is_told_with_what_to_call_next() -> None:
    """A14."""
    text = started_text(start_answer("agent-1", AgentStatus.QUEUED))
    assert 'gpt5_agent_poll with {"job_id": "agent-1"}' in text


def test_a_steered_job_without_a_worker_is_told_with_what_to_call_next() -> None:
    told = steer_answer(view(worker_running=False, source=Source.SERVER))
    assert (told.job_id, told.status, len(told.notices)) == ("agent-1", "running", 1)
    assert "No worker is running" in steered_text(told)
    assert 'gpt5_agent_poll with {"job_id": "agent-1"} to follow it' in steered_text(told)


@pytest.mark.parametrize(("seconds", "shown"), [(0.9, "0:00"), (61, "1:01"), (10_867, "3:01:07")])
def test_durations_are_shown_as_clocks(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_text_has_no_control_characters_and_the_structured_content_has_the_answer_as_it_came() -> None:
    hostile = view(AgentStatus.COMPLETED)
    assert hostile.result is not None
    hostile.result.output_text = "a\x1b[2Jb\u202e"
    told = job_result(hostile)
    assert isinstance(told.content[0], TextContent)
    assert told.content[0].text.startswith("ab\n")
    assert told.structured_content is not None
    assert told.structured_content["output"] == "a\x1b[2Jb\u202e"
