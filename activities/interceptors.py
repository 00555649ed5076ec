"""Interceptors around activities: what a worker shutdown cuts off, and news for the run."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from durable_responses.activities.costs import cost_of
from durable_responses.activities.failures import attempt_is_over
from durable_responses.activities.messages import (
    AwaitResponse,
    CancelResponse,
    CompactConversation,
    CreatedResponse,
    CreateResponse,
    ResponseRecord,
    RunPrices,
    WebSocketTurn,
    records_in,
)
from durable_responses.activities.till import Tills, turn_of
from durable_responses.pricing.costs import Prices

logger = logging.getLogger(__name__)

WORKER_STOPPED = "worker_stopped"
_AT_ONCE = timedelta(milliseconds=100)


class WorkerShutdown(Interceptor):
    """Fails the activities that the shutdown of their worker has cut off, so that they are retried elsewhere at once.

    Left alone, the SDK reports such an activity as cancelled. Nobody has cancelled it, so the server ignores that
    and waits until the heartbeats have been missing for long enough. A failure is accepted, and retried.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """The interceptor around one activity."""
        return _HandOver(next)


class _HandOver(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 the SDK's
        try:
            return await super().execute_activity(input)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is None or not details.worker_shutdown or details.cancel_requested:
                raise
            raise ApplicationError(
                "The worker is shutting down; another one continues.",
                type=WORKER_STOPPED,
                next_retry_delay=_AT_ONCE,
                category=ApplicationErrorCategory.BENIGN,
            ) from None


class Forgotten(Interceptor):
    """Ends quietly the attempts that the server does not know any more: nobody hears how they end.

    Their run was terminated, deleted or reset, or another attempt has taken over. Left alone, the SDK logs each with
    a traceback, as if something had gone wrong here.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Forgotten(next)


class _Forgotten(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 the SDK's
        try:
            return await super().execute_activity(input)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is None or details.cancel_requested or not (details.not_found or details.timed_out):
                raise
            info = activity.info()
            logger.info("%s of %s is over: Temporal does not know it any more.", info.activity_type, info.workflow_id)
            raise attempt_is_over() from None


class TellOfSearchAttributes(Interceptor):
    """Tells a run, beside each response it obtains, that it may set search attributes, while `settable` says so.

    For workers whose namespace has ours: a run that sets one which is not registered cannot continue.
    """

    def __init__(self, settable: Callable[[], bool]) -> None:
        self._settable = settable

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Mark(next, lambda: {"search_attributes": True} if self._settable() else {})


class TellOfCallLimit(Interceptor):
    """Tells a run, beside each response it obtains, how many function calls of one response are executed."""

    def __init__(self, most_calls: int) -> None:
        self._most_calls = most_calls

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Mark(next, lambda: {"most_calls": self._most_calls})


class TellOfApprovals(Interceptor):
    """Tells a run, beside each response it obtains, that the worker has approval rules."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Mark(next, lambda: {"approvals": True})


class TellOfCosts(Interceptor):
    """Tells a run, with each response that has ended, what it has cost: a newer table of prices changes no replay."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Price(next, self._prices)


class KeepsTenantBudgets(Interceptor):
    """Settles what is set aside for a response in the budgets of its tenant, once that has ended.

    It stands around those that say what a response has cost.
    """

    def __init__(self, tills: Tills) -> None:
        self._tills = tills

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Settle(next, self._tills)


class _Settle(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, tills: Tills) -> None:  # noqa: A002 the SDK's
        super().__init__(next)
        self._tills = tills

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 the SDK's
        turn = self._tills.turn(input.args[0]) if input.args else None
        if turn is None:
            return await super().execute_activity(input)
        try:
            with turn_of(turn):
                result = await super().execute_activity(input)
        except BaseException as error:
            turn.failed(error)
            raise
        turn.ended(result)
        return result


class _Price(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, prices: Prices) -> None:  # noqa: A002 the SDK's
        super().__init__(next)
        self._prices = prices

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 the SDK's
        result = await super().execute_activity(input)
        records = records_in(result)
        if not records:
            return result
        of_run = next((prices for given in input.args if (prices := _prices_of(given)) is not None), None)
        for record in records:
            if record.is_finished:
                record.cost = cost_of(record, self._prices, of_run or RunPrices())
        return result


def _prices_of(given: Any) -> RunPrices | None:
    if isinstance(given, CompactConversation):
        return given.create.prices
    return given.prices if isinstance(given, CreateResponse | AwaitResponse | CancelResponse) else None


class _Mark(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, news: Callable[[], Mapping[str, int]]) -> None:  # noqa: A002
        super().__init__(next)
        self._news = news

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 the SDK's
        result = await super().execute_activity(input)
        obtained = result.response if isinstance(result, WebSocketTurn) else result
        if isinstance(obtained, CreatedResponse | ResponseRecord):
            for name, value in self._news().items():
                setattr(obtained, name, value)
        return result
