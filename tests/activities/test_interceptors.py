"""What stands around an activity: how a shutdown of its worker ends it, and what its result tells of the namespace."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from durable_responses.activities.interceptors import (
    WORKER_STOPPED,
    Forgotten,
    TellOfCallLimit,
    TellOfSearchAttributes,
    WorkerShutdown,
)
from durable_responses.activities.messages import CreatedResponse, ResponseRecord, ToolResult, WebSocketTurn
from tests.support.attempts import Attempt

NOTHING = cast(ExecuteActivityInput, None)
RECORD = ResponseRecord(id="resp_1", status="completed")


class Inner(ActivityInboundInterceptor):
    """The activity itself: what the SDK puts at the end of the chain."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ARG002 the SDK's
        return await self._work()


async def run(interceptor: Interceptor, work: Callable[[], Awaitable[Any]], attempt: Attempt | None = None) -> Any:
    """Run this as an activity that the interceptor stands around."""
    around = interceptor.intercept_activity(Inner(work))

    async def activity() -> Any:
        return await around.execute_activity(NOTHING)

    return await (attempt or Attempt()).run(activity)


async def cut_off(details: ActivityCancellationDetails, interceptor: Interceptor | None = None) -> BaseException:
    """How an activity ends that is cancelled for this reason."""
    attempt, begun = Attempt(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(run(interceptor or WorkerShutdown(), work, attempt))
    await begun.wait()
    attempt.cancel(details)
    await asyncio.wait((running,))
    try:
        error = running.exception()
    except asyncio.CancelledError as cancelled:
        error = cancelled
    assert error is not None
    return error


async def test_what_the_shutdown_of_its_worker_cuts_off_is_retried_elsewhere_at_once() -> None:
    """A20: the server does not believe that it was cancelled, and would wait for heartbeats."""
    error = await cut_off(ActivityCancellationDetails(worker_shutdown=True))
    assert isinstance(error, ApplicationError)
    assert (error.type, error.non_retryable) == (WORKER_STOPPED, False)
    assert error.next_retry_delay is not None
    assert error.next_retry_delay.total_seconds() < 1
    assert error.category is ApplicationErrorCategory.BENIGN


@pytest.mark.parametrize(
    "details",
    [
        ActivityCancellationDetails(cancel_requested=True),
        ActivityCancellationDetails(cancel_requested=True, worker_shutdown=True),
        ActivityCancellationDetails(timed_out=True),
    ],
    ids=["by the run", "by the run, of a worker that shuts down", "by a timeout"],
)
async def test_what_was_cancelled_ends_as_cancelled(details: ActivityCancellationDetails) -> None:
    assert isinstance(await cut_off(details), asyncio.CancelledError)


async def test_what_ends_by_itself_ends_as_it_does() -> None:
    async def fails() -> None:
        raise ApplicationError("No.", type="no")

    with pytest.raises(ApplicationError, match="No"):
        await run(WorkerShutdown(), fails)


@pytest.mark.parametrize(
    "result",
    [CreatedResponse(response_id="resp_1", status="queued"), RECORD, WebSocketTurn(response=RECORD)],
    ids=lambda result: type(result).__name__,
)
async def test_a_run_is_told_of_search_attributes_beside_each_response(result: Any) -> None:
    given = result.model_copy(deep=True)

    async def work() -> Any:
        return given

    told = await run(TellOfSearchAttributes(lambda: True), work)
    assert getattr(told, "response", told).search_attributes is True
    limited = await run(TellOfCallLimit(7), work)
    assert getattr(limited, "response", limited).most_calls == 7


async def test_a_run_is_not_told_of_search_attributes_that_are_not_there_any_more() -> None:
    async def work() -> Any:
        return RECORD.model_copy()

    assert await run(TellOfSearchAttributes(lambda: False), work) == RECORD


async def test_other_results_stay_as_they_are() -> None:
    result = ToolResult(call_id="call_1", output="3")

    async def work() -> Any:
        return result.model_copy()

    assert await run(TellOfSearchAttributes(lambda: True), work) == result


# --- forgotten attempts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["not_found", "timed_out"])
async def test_an_attempt_that_the_server_does_not_know_any_more_ends_quietly(why: str) -> None:
    error = await cut_off(ActivityCancellationDetails(**{why: True}), Forgotten())
    assert isinstance(error, ApplicationError)
    assert error.category is ApplicationErrorCategory.BENIGN


@pytest.mark.parametrize("why", ["cancel_requested", "paused", "reset", "worker_shutdown"])
async def test_an_attempt_that_is_stopped_for_another_reason_is_cancelled(why: str) -> None:
    assert isinstance(await cut_off(ActivityCancellationDetails(**{why: True}), Forgotten()), asyncio.CancelledError)
