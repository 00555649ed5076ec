"""Errors of the Responses API as Temporal failures: one table, which a test holds against the tree of errors.

Raise them `from None`: history stores the causes of a failure too, and theirs are texts that nobody redacted (A25).
"""

from datetime import timedelta

from temporalio.exceptions import ApplicationError

from activities.inputs import InputError
from activities.messages import FailureDetail, FailureType
from responses_api import errors
from responses_api.errors import ResponsesError

# The failure of a create, by the error's class. An ambiguous create is never sent again by a retry.
OF_CREATES: dict[type[ResponsesError], FailureType] = {
    errors.Unreachable: FailureType.TRY_LATER,
    errors.Busy: FailureType.TRY_LATER,
    errors.ConnectionLost: FailureType.CREATE_AMBIGUOUS,
    errors.ServerFailed: FailureType.CREATE_AMBIGUOUS,
    errors.MalformedAnswer: FailureType.CREATE_AMBIGUOUS,
    errors.ChainRejected: FailureType.CHAIN_REJECTED,
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


def failed_create(error: ResponsesError) -> ApplicationError:
    """The failure of `create_response` or `stream_response`; only `try_later` lets Temporal try again."""
    return _failure(OF_CREATES[type(error)], error, error.response_id)


def failed_read(error: ResponsesError, response_id: str) -> ApplicationError:
    """The failure of `await_response` or `cancel_response`; only `try_later` lets Temporal try again."""
    return _failure(OF_READS[type(error)], error, response_id)


def invalid_input(error: InputError) -> ApplicationError:
    """What the caller gave cannot be used."""
    return ApplicationError(str(error), FailureDetail(), type=FailureType.INVALID_INPUT, non_retryable=True)


def ambiguous_create(why: str) -> ApplicationError:
    """It cannot be known whether the provider took the request."""
    return ApplicationError(
        f"The outcome of this create is unknown: {why}",
        FailureDetail(),
        type=FailureType.CREATE_AMBIGUOUS,
        non_retryable=True,
    )


def deadline_passed() -> ApplicationError:
    """The run's time was over before the provider had taken the request."""
    return ApplicationError(
        "The run's deadline passed before the provider took the request.",
        FailureDetail(),
        type=FailureType.DEADLINE_PASSED,
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


def _failure(kind: FailureType, error: ResponsesError, response_id: str | None) -> ApplicationError:
    detail = FailureDetail(
        code=error.code, http_status=error.status, request_id=error.request_id, response_id=response_id
    )
    delay = timedelta(seconds=error.retry_after) if error.retry_after is not None else None
    return ApplicationError(
        str(error),
        detail,
        type=kind,
        non_retryable=kind is not FailureType.TRY_LATER,
        next_retry_delay=delay if kind is FailureType.TRY_LATER else None,
    )
