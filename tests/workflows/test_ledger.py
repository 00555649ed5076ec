"""What a run remembers, without a run."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_responses.activities.messages import (
    CreatedResponse,
    ProgressReport,
    ResponseCost,
    ResponseRecord,
    SavedFile,
)
from durable_responses.responses_api.models import FunctionCall, Response, Usage
from durable_responses.workflows.contract import AgentInput, AgentState, AgentStatus, CallStatus
from durable_responses.workflows.ledger import Ledger, Most, usage_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def ledger() -> Ledger:
    made = Ledger(state=AgentState())
    made.begin(AgentInput(task="t", model="m", deadline=60), START)
    made.begin_iteration()
    return made


def response(response_id: str, text: str = "", status: str = "completed", **usage: Any) -> Response:
    output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}] if text else []
    return Response.model_validate(
        {"id": response_id, "status": status, "model": "m-1", "output": output, "usage": usage or None}
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 2},
                "total_tokens": 999,
            },
            (10, 4, 5, 2, 15),
        ),
        ({"prompt_tokens": 7, "completion_tokens": 3}, (7, 0, 3, 0, 10)),
        ({"input_tokens": 7, "prompt_tokens": 99, "output_tokens": 3}, (7, 0, 3, 0, 10)),
        ({"input_tokens": 1, "output_tokens": 1, "input_tokens_details": None}, (1, 0, 1, 0, 2)),
    ],
)
def test_usage_is_read_in_both_spellings_and_total_is_input_plus_output(
    usage: dict[str, Any], expected: tuple[int, ...]
) -> None:
    """A11."""
    read = usage_of(Usage.model_validate(usage))
    assert (
        read.input_tokens,
        read.cached_tokens,
        read.output_tokens,
        read.reasoning_tokens,
        read.total_tokens,
    ) == expected


def test_usage_is_summed_over_all_responses_whatever_their_end() -> None:
    """A11: cancelled and failed ones cost as well."""
    run = ledger()
    run.response_ended(response("a", input_tokens=10, output_tokens=1))
    run.response_ended(response("b", status="cancelled", input_tokens=20, output_tokens=2))
    run.response_lost("c")
    assert run.state.usage.total_tokens == 33
    assert [(entry.response_id, entry.status) for entry in run.responses] == [
        ("a", "completed"),
        ("b", "cancelled"),
        ("c", "lost"),
    ]


def recorded(cost: ResponseCost | None, usage: Usage | None = None) -> ResponseRecord:
    return ResponseRecord(id="a", status="failed", cost=cost, usage=usage)


@pytest.mark.parametrize(
    ("cost", "usage", "expected"),
    [
        # (at most, and of the budget for what has no bound: USD, tokens)
        (ResponseCost(usd=0.5), Usage(input_tokens=1, output_tokens=1), (None, 0, 0)),
        (ResponseCost(uncounted=True, unpriced=["w"]), None, (2.0, 0, 900)),
        (ResponseCost(uncounted=True, known=0.5, unpriced=["w"]), Usage(input_tokens=100), (2.0, 0, 800)),
        (ResponseCost(uncounted=True, known=3, unpriced=["w"]), Usage(input_tokens=2_000), (None, 0, 0)),
        (ResponseCost(known=0.5, unpriced=["1 images"]), Usage(input_tokens=100), (None, 1.5, 0)),
        (ResponseCost(unpriced=["the tier"]), Usage(input_tokens=100), (None, 2.0, 0)),
        (None, None, (None, 0, 900)),
    ],
)
def test_what_a_response_may_have_cost_counts_where_what_it_has_cost_is_not_known(
    cost: ResponseCost | None, usage: Usage | None, expected: tuple[float | None, float, int]
) -> None:
    run = ledger()
    run.response_created("a", "queued", "m")
    run.told_by_worker(CreatedResponse(response_id="a", status="queued", at_most=2.0, most_tokens=900))
    run.response_ended(recorded(cost, usage))
    assert (run.responses[0].at_most, run.usd_set_aside, run.tokens_set_aside) == expected


def test_what_one_response_may_cost_is_not_said_of_another() -> None:
    run = ledger()
    run.told_by_worker(CreatedResponse(response_id="a", status="queued", at_most=2.0, most_tokens=900))
    run.response_ended(recorded(ResponseCost(usd=0.5), Usage(input_tokens=1)))
    run.told_by_worker(recorded(None))
    run.response_ended(recorded(ResponseCost(uncounted=True, unpriced=["w"])))
    assert (run.responses[1].at_most, run.tokens_set_aside) == (None, 0)


def test_what_a_streamed_response_may_cost_comes_with_it() -> None:
    """In tokens alone, where nothing has a price."""
    run = ledger()
    known = ResponseRecord(id="a", status="completed", usage=Usage(input_tokens=1, output_tokens=1), at_most=2.0)
    run.response_ended(known)
    run.told_by_worker(known)
    run.response_ended(ResponseRecord(id="b", status="failed", cost=ResponseCost(uncounted=True, unpriced=["w"])))
    run.response_ended(ResponseRecord(id="c", status="failed", most_tokens=900))
    assert ([entry.at_most for entry in run.responses], run.tokens_set_aside) == ([None, None, None], 900)


def test_a_create_of_which_nobody_knows_takes_its_tokens_from_the_budget() -> None:
    run = ledger()
    run.create_ambiguous(Most(2.0, 900))
    run.response_lost("c", Most(1.0, 100))
    assert ([entry.at_most for entry in run.responses], run.tokens_set_aside) == ([2.0, 1.0], 1_000)


def test_a_run_is_queued_until_its_first_response_has_an_id() -> None:
    """A18, A19."""
    run = ledger()
    statuses = [run.state.status]
    run.response_created("a", "queued", "m-1")
    statuses.append(run.state.status)
    assert statuses == [AgentStatus.QUEUED, AgentStatus.RUNNING]
    assert (run.state.response_id, run.state.response_status, run.state.model) == ("a", "queued", "m-1")


def test_a_report_tells_the_id_before_the_response_ends() -> None:
    """A19."""
    run = ledger()
    run.progress_reported(ProgressReport(response_id="a", response_status="in_progress"))
    assert (run.state.status, run.state.response_id) == (AgentStatus.RUNNING, "a")


def test_only_completed_responses_are_chained_from() -> None:
    """A10."""
    run = ledger()
    for status in ("completed", "failed", "incomplete", "cancelled"):
        run.response_ended(response(status, status=status))
    assert run.chain == ["completed"]


def test_the_preview_is_the_tail_of_all_text_so_far() -> None:
    """A15: the last 4000 characters over all responses."""
    run = ledger()
    run.response_ended(response("a", "a" * 3000))
    run.begin_iteration()
    run.progress_reported(ProgressReport(response_id="b", preview="b" * 500))
    assert run.state.preview == "a" * 3000 + "b" * 500
    run.response_ended(response("b", "b" * 2000))
    assert run.state.preview == "a" * 2000 + "b" * 2000


def test_a_report_that_comes_after_the_end_of_its_response_is_void() -> None:
    """Else the text would stand twice in the preview, or a lost response would come back."""
    run = ledger()
    run.response_ended(response("a", "text of a"))
    run.begin_iteration()
    run.progress_reported(ProgressReport(response_id="b", response_status="in_progress", preview="text"))
    run.progress_reported(ProgressReport(response_id="a", response_status="in_progress", preview="text of a"))
    assert (run.state.response_id, run.state.preview) == ("b", "text of atext")


def test_the_calls_shown_are_the_newest_hundred_with_their_status() -> None:
    run = ledger()
    calls = [FunctionCall(call_id=f"call_{number}", name="add") for number in range(120)]
    run.calls_started(calls)[119].status = CallStatus.FAILED
    assert len(run.state.function_calls) == 100
    assert run.state.function_calls[-1].status is CallStatus.FAILED
    assert run.state.function_calls[0].status is CallStatus.RUNNING


def test_everything_survives_a_continue_as_new() -> None:
    run = ledger()
    run.response_ended(response("a", "text", input_tokens=1, output_tokens=2))
    run.calls_started([FunctionCall(call_id="c", name="add")])
    carried = Ledger.model_validate_json(run.model_dump_json())
    assert carried.model_dump() == run.model_dump()
    assert carried.deadline == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def test_the_result_shows_the_last_response_and_the_sums() -> None:
    run = ledger()
    run.response_ended(response("a", "first", input_tokens=1, output_tokens=2))
    run.iteration_ended()
    run.begin_iteration()
    run.response_ended(response("b", "second", input_tokens=3, output_tokens=4))
    result = run.result()
    assert (result.output_text, result.response_id, result.iterations) == ("second", "b", 2)
    assert result.usage.total_tokens == 10


def test_a_run_that_ends_just_after_a_continue_as_new_still_has_its_last_text() -> None:
    run = ledger()
    run.response_ended(response("a", "so far"))
    carried = Ledger.model_validate_json(run.to_carry(0).model_dump_json())
    assert carried.result().output_text == "so far"


# --- files -------------------------------------------------------------------------------------------------------


def test_a_file_that_was_not_saved_at_first_is_listed_once() -> None:
    run = ledger()
    run.files_saved({"mark": SavedFile(name="a.csv", error="Later.")})
    run.files_saved({"mark": SavedFile(name="a.csv", path="/out/a.csv", bytes=2)})
    assert [(file.name, file.bytes) for file in run.result().files] == [("a.csv", 2)]


def test_the_list_of_files_has_an_end_and_goes_over_into_a_new_history() -> None:
    run = ledger()
    run.files_saved({str(n): SavedFile(name="x" * 200, path="/" + "x" * 300, bytes=10**7) for n in range(500)})
    assert (run.files_left, run.bytes_left) == (0, 0)
    files = Ledger.model_validate(run.to_carry(0).model_dump(mode="json")).result().files
    assert len(files) == 201
    assert files[-1].error == "At most 200 files are listed."


def test_what_a_run_may_still_save_is_counted() -> None:
    run = ledger()
    run.files_saved({"a": SavedFile(name="a", path="/a", bytes=1000)})
    assert (run.files_left, run.bytes_left) == (199, 2**30 - 1000)
