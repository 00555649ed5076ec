"""What an activity's failure means for the run: why it ended, what the provider said, what the last heartbeat held."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    TimeoutError,  # noqa: A004
    TimeoutType,
)

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.messages import (
        FailureDetail,
        FailureType,
        HeartbeatDetails,
        detail_as,
        failure_of_lost_create,
    )
    from durable_responses.workflows import rules
    from durable_responses.workflows.contract import AgentError

NOT_REGISTERED = "NotFoundError"
"""What the SDK calls the failure of an activity that a worker does not have."""


def ran_out_of_time(error: ActivityError) -> bool:
    """Whether an activity ended because the time it was given is over, while it ran or between two attempts."""
    if isinstance(error.cause, TimeoutError) and error.cause.type is not TimeoutType.HEARTBEAT:
        return True
    return error.retry_state is RetryState.TIMEOUT


def never_began(error: ActivityError) -> bool:
    """Whether a turn over a WebSocket was neither started in time nor let in where it was."""
    return nobody_took(error) or failure_type_of(error) is FailureType.NO_ROOM


def was_moved(error: ActivityError) -> bool:
    """Whether an activity that was to be started eagerly has to go through its own queue; it has done nothing.

    Workers of an older version do not know it on the queue of the runs.
    """
    kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
    return kind in (FailureType.MOVED, NOT_REGISTERED)


def nobody_took(error: ActivityError) -> bool:
    """Whether no worker started an activity in time."""
    return isinstance(error.cause, TimeoutError) and error.cause.type is TimeoutType.SCHEDULE_TO_START


def worker_was_lost(error: ActivityError) -> bool:
    """Whether the only attempt of an activity died with its worker."""
    return not ran_out_of_time(error) and isinstance(error.cause, TimeoutError)


def was_cancelled(error: BaseException | None) -> bool:
    """Whether an activity ended because the workflow cancelled it."""
    return isinstance(error, ActivityError) and isinstance(error.cause, CancelledError)


def failure_type_of(error: ActivityError) -> FailureType | None:
    """What an activity called its failure, or what the loss of its worker means for the create that it was.

    None for any other time-out, and for anything we did not raise ourselves.
    """
    if worker_was_lost(error):
        return failure_of_lost_create(last_heartbeat_of(error))
    kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
    return FailureType(kind) if kind in set(FailureType) else None


def detail_of(error: ActivityError) -> FailureDetail:
    """What the provider said of an activity's failure, or the response that was under way when its worker was lost."""
    if worker_was_lost(error):
        heartbeat = last_heartbeat_of(error) or HeartbeatDetails()
        return FailureDetail(
            response_id=heartbeat.response_id, at_most=heartbeat.at_most, most_tokens=heartbeat.most_tokens
        )
    details = error.cause.details if isinstance(error.cause, ApplicationError) else ()
    return detail_as(FailureDetail, details) or FailureDetail()


def delay_asked_for(error: ActivityError) -> timedelta | None:
    """How long the provider wants to be left alone before the next try."""
    return error.cause.next_retry_delay if isinstance(error.cause, ApplicationError) else None


def error_of(error: ActivityError) -> AgentError:
    """An activity's failure as the run shows it."""
    if worker_was_lost(error):
        kind = failure_of_lost_create(last_heartbeat_of(error))
        return rules.error_of(kind, "The worker was lost in the middle of the create.", detail_of(error))
    if isinstance(error.cause, ApplicationError):
        return rules.error_of(error.cause.type or "error", error.cause.message, detail_of(error))
    return rules.error_of("error", str(error.cause or error), None)


def last_heartbeat_of(error: ActivityError) -> HeartbeatDetails | None:
    """The last heartbeat that reached the server from an activity that timed out."""
    details = error.cause.last_heartbeat_details if isinstance(error.cause, TimeoutError) else ()
    return detail_as(HeartbeatDetails, details)
