"""What an activity's failure means for the run: read from the error alone, as Temporal hands it over."""

from datetime import timedelta

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    TimeoutError,  # noqa: A004
    TimeoutType,
)

from durable_responses.activities.messages import CreatePhase, FailureType, HeartbeatDetails
from durable_responses.workflows import activity_errors as errors


def failed(cause: BaseException, retry_state: RetryState = RetryState.NON_RETRYABLE_FAILURE) -> ActivityError:
    """The error of an activity that ended so."""
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=5,
        started_event_id=6,
        identity="worker",
        activity_type="create_response",
        activity_id="1",
        retry_state=retry_state,
    )
    error.__cause__ = cause
    return error


def timed_out(
    kind: TimeoutType, *heartbeats: HeartbeatDetails, retry_state: RetryState = RetryState.IN_PROGRESS
) -> ActivityError:
    details = [heartbeat.model_dump(mode="json") for heartbeat in heartbeats]
    return failed(TimeoutError("timed out", type=kind, last_heartbeat_details=details), retry_state)


def said(kind: str, *details: object, delay: timedelta | None = None) -> ActivityError:
    """What an activity of ours raised."""
    return failed(ApplicationError("The provider says no.", *details, type=kind, next_retry_delay=delay))


LOST_AFTER_THE_ID = timed_out(TimeoutType.HEARTBEAT, HeartbeatDetails(response_id="resp_1", phase=CreatePhase.CREATED))
LOST_WHILE_POSTING = timed_out(TimeoutType.HEARTBEAT, HeartbeatDetails(phase=CreatePhase.POSTING))
LOST_IN_SILENCE = timed_out(TimeoutType.HEARTBEAT)
NOT_TAKEN = timed_out(TimeoutType.SCHEDULE_TO_START)
TOO_LONG = timed_out(TimeoutType.SCHEDULE_TO_CLOSE)
# The last attempt failed by itself, and there was no time for another.
OUT_OF_TIME_BETWEEN_ATTEMPTS = failed(ApplicationError("No.", type="try_later"), RetryState.TIMEOUT)
CANCELLED = failed(CancelledError("cancelled"))


def test_a_lost_worker_is_told_from_time_that_is_over() -> None:
    lost = [LOST_AFTER_THE_ID, LOST_WHILE_POSTING, LOST_IN_SILENCE]
    over = [TOO_LONG, NOT_TAKEN, OUT_OF_TIME_BETWEEN_ATTEMPTS]
    neither = [CANCELLED, said("bad_request")]
    assert [errors.worker_was_lost(error) for error in (*lost, *over, *neither)] == [True] * 3 + [False] * 5
    assert [errors.ran_out_of_time(error) for error in (*lost, *over, *neither)] == [False] * 3 + [True] * 3 + [
        False
    ] * 2


def test_a_lost_worker_whose_time_is_over_too_is_out_of_time() -> None:
    error = timed_out(TimeoutType.HEARTBEAT, retry_state=RetryState.TIMEOUT)
    assert errors.ran_out_of_time(error)
    assert not errors.worker_was_lost(error)


def test_what_the_loss_of_a_worker_means_is_read_from_its_last_heartbeat() -> None:
    """A9: with an id the response can be read back; without one nobody knows whether there is one."""
    assert errors.failure_type_of(LOST_AFTER_THE_ID) is FailureType.TURN_INTERRUPTED
    assert errors.detail_of(LOST_AFTER_THE_ID).response_id == "resp_1"
    assert errors.failure_type_of(LOST_WHILE_POSTING) is FailureType.CREATE_AMBIGUOUS
    assert errors.failure_type_of(LOST_IN_SILENCE) is FailureType.CREATE_AMBIGUOUS
    assert errors.detail_of(LOST_IN_SILENCE).response_id is None
    shown = errors.error_of(LOST_WHILE_POSTING)
    assert (shown.type, shown.message) == ("create_ambiguous", "The worker was lost in the middle of the create.")


def test_a_lost_worker_has_said_what_its_response_may_cost() -> None:
    beat = HeartbeatDetails(phase=CreatePhase.POSTING, at_most=1.5, most_tokens=900)
    detail = errors.detail_of(timed_out(TimeoutType.HEARTBEAT, beat))
    assert (detail.at_most, detail.most_tokens) == (1.5, 900)


def test_only_a_failure_that_we_raised_has_a_type() -> None:
    assert errors.failure_type_of(said("try_later")) is FailureType.TRY_LATER
    assert [errors.failure_type_of(error) for error in (said("ValueError"), CANCELLED, TOO_LONG)] == [None] * 3


def test_a_turn_that_never_began_was_not_taken_or_found_no_room() -> None:
    assert [errors.never_began(error) for error in (NOT_TAKEN, said("no_room"))] == [True, True]
    assert [errors.never_began(error) for error in (TOO_LONG, said("try_later"), LOST_IN_SILENCE)] == [False] * 3
    assert [errors.nobody_took(error) for error in (NOT_TAKEN, said("no_room"))] == [True, False]


def test_only_what_the_workflow_cancelled_was_cancelled() -> None:
    assert errors.was_cancelled(CANCELLED)
    assert not any(errors.was_cancelled(error) for error in (None, CancelledError("outside"), TOO_LONG))


def test_what_the_provider_said_is_shown() -> None:
    detail = {"code": "slow_down", "http_status": 429, "request_id": "req_1"}
    error = said("try_later", detail, delay=timedelta(seconds=7))
    shown = errors.error_of(error)
    assert (shown.type, shown.message) == ("try_later", "The provider says no.")
    assert (shown.code, shown.http_status, shown.request_id) == ("slow_down", 429, "req_1")
    assert errors.delay_asked_for(error) == timedelta(seconds=7)


def test_an_error_that_is_none_of_ours_is_shown_as_it_is() -> None:
    assert errors.detail_of(said("ValueError", "no detail of ours")).code is None
    shown = errors.error_of(failed(ValueError("unforeseen")))
    assert (shown.type, shown.message) == ("error", "unforeseen")
    assert errors.delay_asked_for(CANCELLED) is None
    assert errors.last_heartbeat_of(CANCELLED) is None
