"""What an error of the API means for a create and for a read, as Temporal's failures say it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from durable_responses.activities import failures
from durable_responses.activities.failures import OF_CREATES, OF_READS, failed_create, failed_read
from durable_responses.activities.inputs import InputError
from durable_responses.activities.messages import FailureDetail, FailureType
from durable_responses.responses_api import errors
from durable_responses.responses_api.errors import LossCause, ResponsesError

# Never raised themselves: they are what their rows' classes have in common.
ABSTRACT = {errors.ResponsesError, errors.NotProcessed, errors.OutcomeUnknown, errors.GiveUp}


def tree(kind: type[ResponsesError]) -> list[type[ResponsesError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


def error_of(kind: type[ResponsesError]) -> ResponsesError:
    extra: dict[str, Any] = {"loss": LossCause.CLOSED} if issubclass(kind, errors.TurnLost) else {}
    return kind("It went wrong.", **extra)


RAISED = [kind for kind in tree(ResponsesError) if kind not in ABSTRACT]
every_error = pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
every_table = pytest.mark.parametrize("table", [OF_CREATES, OF_READS], ids=["creates", "reads"])


@every_table
@every_error
def test_the_table_knows_every_error(
    table: dict[type[ResponsesError], FailureType], kind: type[ResponsesError]
) -> None:
    """A new branch of the tree needs a row; a new leaf of a branch inherits it."""
    assert set(kind.__mro__) & set(table)


@every_table
def test_no_row_speaks_for_errors_that_ask_for_different_things(table: dict[type[ResponsesError], FailureType]) -> None:
    """A row for `OutcomeUnknown`, say, would take in the next branch below it without a thought."""
    assert not set(table) & ABSTRACT


@every_error
def test_only_try_later_is_retried_by_temporal(kind: type[ResponsesError]) -> None:
    for failure in (failed_create(error_of(kind)), failed_read(error_of(kind), "resp_1")):
        assert failure.non_retryable is (failure.type != FailureType.TRY_LATER)


@every_error
def test_a_create_is_repeated_only_where_the_provider_did_not_take_it(kind: type[ResponsesError]) -> None:
    """A create is not idempotent."""
    retried = not failed_create(error_of(kind)).non_retryable
    assert retried is issubclass(kind, errors.NotProcessed)


@every_error
def test_a_read_is_repeated_where_the_error_may_pass(kind: type[ResponsesError]) -> None:
    """A7, A8."""
    assert (not failed_read(error_of(kind), "resp_1").non_retryable) is kind.retry_read


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_these_answers_to_a_read_pass(status: int) -> None:
    """A7."""
    error = errors.error_for_answer("GET /v1/responses/resp_1", status, {}, b"")
    assert failed_read(error, "resp_1").type == FailureType.TRY_LATER


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_ends_the_run(status: int) -> None:
    """A7."""
    error = errors.error_for_answer("GET /v1/responses/resp_1", status, {}, b"")
    assert failed_read(error, "resp_1").type == FailureType.AUTHENTICATION_FAILED


@pytest.mark.parametrize("status", [408, 409, 500, 502, 504])
def test_these_answers_to_a_create_leave_it_ambiguous(status: int) -> None:
    error = errors.error_for_answer("POST /v1/responses", status, {}, b"")
    assert failed_create(error).type == FailureType.CREATE_AMBIGUOUS


def refused(**facts: Any) -> errors.Busy:
    return errors.Busy("Not now.", status=429, code="rate_limit_exceeded", request_id="req_1", **facts)


def test_a_failure_keeps_status_code_and_request_id() -> None:
    """A25."""
    failure = failed_read(refused(), "resp_1")
    assert failure.details == (
        FailureDetail(code="rate_limit_exceeded", http_status=429, request_id="req_1", response_id="resp_1"),
    )


def test_a_failure_of_a_create_names_the_response_if_its_stream_had_told_it() -> None:
    failure = failed_create(errors.ServerFailed("It broke.", response_id="resp_1"))
    assert failure.details == (FailureDetail(response_id="resp_1"),)


@pytest.mark.parametrize(
    ("retry_after", "delay"), [(None, None), (2.5, timedelta(seconds=2.5)), (0.0, None), (1e18, timedelta(days=1))]
)
def test_temporal_waits_as_long_as_the_provider_asks_for(retry_after: float | None, delay: timedelta | None) -> None:
    assert failed_create(refused(retry_after=retry_after)).next_retry_delay == delay


def test_a_failure_that_is_not_retried_asks_for_no_delay() -> None:
    assert failed_create(errors.ServerFailed("It broke.", retry_after=5)).next_retry_delay is None


def test_the_text_of_a_failure_is_redacted_and_capped() -> None:
    """A25: 2 kB, and no key, however it got into the provider's answer."""
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    body = b'{"error": {"message": "Bad key %s %s"}}' % (key.encode(), b"x" * 10_000)
    failure = failed_create(errors.error_for_answer("POST /v1/responses", 401, {}, body))
    assert key not in failure.message
    assert len(failure.message.encode()) <= 2048


OURS: dict[str, tuple[Callable[[], ApplicationError], FailureType]] = {
    "input": (lambda: failures.invalid_input(InputError("task", "is empty.")), FailureType.INVALID_INPUT),
    "ambiguous": (lambda: failures.ambiguous_create("it was cut."), FailureType.CREATE_AMBIGUOUS),
    "deadline": (failures.deadline_passed, FailureType.DEADLINE_PASSED),
    "lost": (lambda: failures.lost_response("resp_1", "it was cut."), FailureType.RESPONSE_LOST),
}


@pytest.mark.parametrize(("make", "kind"), OURS.values(), ids=OURS)
def test_what_we_find_ourselves_is_never_retried(make: Callable[[], ApplicationError], kind: FailureType) -> None:
    failure = make()
    assert (failure.type, failure.non_retryable) == (kind, True)


def test_bad_input_is_named_by_its_field() -> None:
    failure = failures.invalid_input(InputError("files[0].path", "does not exist; give another."))
    assert failure.message == "files[0].path: does not exist; give another."


def test_a_lost_response_is_named() -> None:
    """The run lists it in its usage."""
    failure = failures.lost_response("resp_1", "its stream was cut.")
    assert failure.details == (FailureDetail(response_id="resp_1"),)
