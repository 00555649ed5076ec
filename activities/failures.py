"""Errors of the Responses API as Temporal failures: one table, which a test holds against the tree of errors.

Raise them `from None`: history stores the causes of a failure too, and their texts are not redacted.
"""

from datetime import timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from durable_responses.activities.inputs import InputError
from durable_responses.activities.messages import (
    FailureDetail,
    FailureType,
    HeartbeatDetails,
    OverBudget,
    failure_of_lost_create,
)
from durable_responses.responses_api import errors
from durable_responses.responses_api.errors import ResponsesError

# The failure of a create, by the error's class; a class without a row is treated as its parent. An ambiguous
# create is never sent again by a retry.
OF_CREATES: dict[type[ResponsesError], FailureType] = {
    errors.Unreachable: FailureType.TRY_LATER,
    errors.NotSent: FailureType.TRY_LATER,
    errors.Busy: FailureType.TRY_LATER,
    errors.ConnectionLost: FailureType.CREATE_AMBIGUOUS,
    errors.ServerFailed: FailureType.CREATE_AMBIGUOUS,
    errors.MalformedAnswer: FailureType.CREATE_AMBIGUOUS,
    errors.AnswerTooLarge: FailureType.ANSWER_TOO_LARGE,
    errors.ChainRejected: FailureType.CHAIN_REJECTED,
    errors.Misconfigured: FailureType.BAD_REQUEST,
    errors.BadRequest: FailureType.BAD_REQUEST,
    errors.AuthenticationFailed: FailureType.AUTHENTICATION_FAILED,
    errors.QuotaExhausted: FailureType.QUOTA_EXHAUSTED,
    errors.NotFound: FailureType.NOT_FOUND,
    errors.NoSuchEndpoint: FailureType.UNSUPPORTED_BY_PROVIDER,
}

# What reading or cancelling by id makes of the same errors: they may be repeated, and "not found" is about the id.
OF_READS: dict[type[ResponsesError], FailureType] = {
    **OF_CREATES,
    errors.ConnectionLost: FailureType.TRY_LATER,
    errors.ServerFailed: FailureType.TRY_LATER,
    errors.MalformedAnswer: FailureType.MALFORMED_ANSWER,
    errors.ChainRejected: FailureType.BAD_REQUEST,
    errors.NotFound: FailureType.RESPONSE_LOST,
}

_LONGEST_DELAY = 86_400.0  # seconds


def failed_create(error: ResponsesError) -> ApplicationError:
    """The failure of `create_response` or `stream_response`; Temporal retries only `try_later`."""
    return _failure(_row(OF_CREATES, error), error, error.response_id)


def failed_read(error: ResponsesError, response_id: str) -> ApplicationError:
    """The failure of `await_response` or `cancel_response`; Temporal retries only `try_later`."""
    return _failure(_row(OF_READS, error), error, response_id)


def may_still_run(error: ResponsesError, response_id: str, seconds: float) -> ApplicationError:
    """A response that could not be cancelled in so many seconds."""
    return ApplicationError(
        f"{response_id} may still run at the provider: it could not be cancelled within {seconds:g} seconds. {error}",
        FailureDetail(http_status=error.status, response_id=response_id, may_still_run=True),
        type=FailureType.RESPONSE_LOST,
        non_retryable=True,
    )


def detail_of(error: ApplicationError) -> FailureDetail | None:
    """What such a failure says of the provider; None for one that is not ours."""
    return next((detail for detail in error.details if isinstance(detail, FailureDetail)), None)


def invalid_input(error: InputError) -> ApplicationError:
    """The caller's input cannot be used."""
    return ApplicationError(str(error), FailureDetail(), type=FailureType.INVALID_INPUT, non_retryable=True)


def ambiguous_create(why: str) -> ApplicationError:
    """It cannot be known whether the provider took the request."""
    return ApplicationError(
        f"The outcome of this create is unknown: {why}",
        FailureDetail(),
        type=FailureType.CREATE_AMBIGUOUS,
        non_retryable=True,
    )


def broken_chain(error: ResponsesError) -> ApplicationError:
    """The provider refused the chain, and a response of it can no longer be read to send the full input instead."""
    return _failure(FailureType.CHAIN_REJECTED, error, error.response_id)


def conversation_lost(why: str) -> ApplicationError:
    """The conversation so far, which is to be sent in full, cannot be put together again. Nothing was sent."""
    return ApplicationError(
        f"The conversation so far cannot be put together again: {why}.",
        FailureDetail(),
        type=FailureType.CONVERSATION_LOST,
        non_retryable=True,
    )


def later(why: str, seconds: float | None = None) -> ApplicationError:
    """Nothing was sent, for a reason that passes, in so many seconds if that is known."""
    # A delay of 0 would disable Temporal's back-off.
    delay = timedelta(seconds=max(seconds, 1.0)) if seconds is not None else None
    return ApplicationError(why, FailureDetail(), type=FailureType.TRY_LATER, next_retry_delay=delay)


def mcp_server_failed(why: str) -> ApplicationError:
    """An MCP server that a run is to use cannot be used now; later it may be."""
    return ApplicationError(why, FailureDetail(), type=FailureType.MCP_SERVER_FAILED)


def attempt_is_over() -> ApplicationError:
    """Temporal has given up this attempt, so whatever it ends with is heard by nobody: no word in the log either."""
    return ApplicationError(
        "This attempt is over: Temporal has ended it or given it to another worker.",
        FailureDetail(),
        type=FailureType.ATTEMPT_OVER,
        category=ApplicationErrorCategory.BENIGN,
    )


def deadline_passed(though_sent: str | None = None) -> ApplicationError:
    """The run's time was up before the provider took the request; or, where it was sent, before it answered."""
    before = "took the request." if though_sent is None else f"answered: {though_sent}"
    return ApplicationError(
        f"The run's deadline passed before the provider {before}",
        FailureDetail(may_still_run=True if though_sent else None),
        type=FailureType.DEADLINE_PASSED,
        non_retryable=True,
    )


def over_budget(found: OverBudget) -> ApplicationError:
    """The response may cost more than the run's budget has left. Nothing was sent."""
    return ApplicationError(
        "No response was created: it may cost more than the budget has left.",
        FailureDetail(over_budget=found),
        type=FailureType.BUDGET_EXCEEDED,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )


def no_room() -> ApplicationError:
    """This worker has as many responses in flight as it may; nothing was sent."""
    return ApplicationError(
        "The worker that holds the run's WebSocket has no room for another response.",
        FailureDetail(),
        type=FailureType.NO_ROOM,
        non_retryable=True,
    )


def moved() -> ApplicationError:
    """There is no room for what was to be started eagerly: it is to go through its own queue. Nothing was done."""
    return ApplicationError(
        "There is no room for it here now; it waits in its own queue.",
        FailureDetail(),
        type=FailureType.MOVED,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )


def stopped_worker(heartbeat: HeartbeatDetails | None) -> ApplicationError:
    """This worker shuts down in the middle of a create that has no second attempt; `heartbeat`: how far it came."""
    return ApplicationError(
        "The worker was stopped in the middle of this create.",
        FailureDetail(response_id=heartbeat.response_id if heartbeat else None),
        type=failure_of_lost_create(heartbeat),
        non_retryable=True,
    )


def lost_response(response_id: str, why: str) -> ApplicationError:
    """A response that died with its connection, or that the provider no longer knows."""
    return ApplicationError(
        f"{response_id} is lost: {why}",
        FailureDetail(response_id=response_id),
        type=FailureType.RESPONSE_LOST,
        non_retryable=True,
    )


def _row(table: dict[type[ResponsesError], FailureType], error: ResponsesError) -> FailureType:
    return next(table[kind] for kind in type(error).__mro__ if kind in table)


def _failure(kind: FailureType, error: ResponsesError, response_id: str | None) -> ApplicationError:
    detail = FailureDetail(
        code=error.code,
        http_status=error.status,
        request_id=error.request_id,
        response_id=response_id,
        retry_after=None if kind is FailureType.TRY_LATER else error.retry_after,
    )
    # A delay of 0 would disable Temporal's backoff; one of centuries does not fit into a timedelta.
    delay = timedelta(seconds=min(error.retry_after, _LONGEST_DELAY)) if error.retry_after else None
    return ApplicationError(
        str(error),
        detail,
        type=kind,
        non_retryable=kind is not FailureType.TRY_LATER,
        next_retry_delay=delay if kind is FailureType.TRY_LATER else None,
    )
