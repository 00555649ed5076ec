"""The entity that keeps one tenant's budget for one day or month: it answers, waits, and ends after its window.

It has no rules of its own: these are `pricing.tenant_budgets`. What is held is freed by a settlement, or when a run is
found closed; never by a deadline, since a response may take hours, and two would pass the line together.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.till import TenantBudgetActivities
    from durable_responses.pricing.tenant_budgets import (
        EXCHANGE,
        LOOK,
        RAISE,
        SETTLE,
        SHOW,
        WORKFLOW_TYPE,
        Amount,
        Answers,
        Exchange,
        OpenRun,
        OpenRuns,
        TenantBudget,
    )
    from durable_responses.workflows.payloads import DATA_ERRORS, Unreadable, UnreadablePayload, read

_LOOKED_EVERY = timedelta(hours=1)
_OLD = timedelta(minutes=5)
_IN_THE_WAY = timedelta(minutes=1)
"""How old a hold is that is looked at because another run has no room: its worker may be lost. At first, the pause
between two such looks; it doubles while nothing is found, up to an hour.
"""
_SETTLED_WITHIN = timedelta(seconds=2)
"""After which a worker that lives has settled what its run has left behind."""
_BEHIND_PATCH = "tenant-budgets-look-at-what-is-left-behind"
_WAY_PATCH = "tenant-budgets-look-at-what-is-in-the-way"
_MOST_AT_ONCE = 500
_LOOK_RETRIES = RetryPolicy(maximum_attempts=3)
_UNUSABLE = "UnusableBudget"

M = TypeVar("M", bound=BaseModel)


@workflow.defn(name=WORKFLOW_TYPE)
class BudgetWorkflow:
    """One window of one tenant. Updates `exchange` and `raise_limit`, query `show`: plain functions, without await.

    Handlers take anything: a payload that does not decode, or a surplus argument, must not jam the budget.
    """

    @workflow.init
    def __init__(self, budget: Any = None, *_: Any) -> None:
        self._budget = _read(TenantBudget, budget)
        self._is_to_look = False
        self._has_left_behind = False
        self._seen_behind: set[str] = set()
        self._looks_again_at: datetime | None = None
        self._pause = _IN_THE_WAY

    @workflow.run
    async def run(self, _budget: Any = None, *_: Any) -> TenantBudget:
        """Keep the budget until its window is over and nothing is held. Returns how it stands then."""
        while not self._budget.is_over(workflow.now()):
            try:
                await workflow.wait_condition(
                    lambda: self._is_to_look or self._has_left_behind or workflow.info().is_continue_as_new_suggested(),
                    timeout=_LOOKED_EVERY,
                    timeout_summary="look at the runs",
                )
            except TimeoutError:
                await self._look_at_the_runs(self._budget.open_runs(workflow.now(), _OLD))
            if self._has_left_behind:
                await self._look_at_what_is_left_behind()
            if self._is_to_look:
                self._is_to_look = False
                await self._look_at_the_runs(self._budget.open_runs(workflow.now(), timedelta(0)))
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._budget)
        return self._budget

    async def _look_at_what_is_left_behind(self) -> None:
        try:
            await workflow.wait_condition(lambda: self._is_to_look, timeout=_SETTLED_WITHIN, timeout_summary="settled")
        except TimeoutError:
            behind = [run for run in self._budget.left_behind if run.key not in self._seen_behind]
            self._seen_behind = {run.key for run in self._budget.left_behind}
            await self._look_at_the_runs(behind)
        self._has_left_behind = False

    async def _look_at_the_runs(self, looked_at: Sequence[OpenRun]) -> None:
        """Settle what is held for runs whose response is over: a worker was lost before it could."""
        runs = list(looked_at[:_MOST_AT_ONCE])
        if not runs:
            return
        try:
            closed = read(
                await workflow.execute_activity_method(
                    TenantBudgetActivities.closed_runs,
                    OpenRuns(runs=runs),
                    start_to_close_timeout=timedelta(minutes=2),
                    schedule_to_close_timeout=timedelta(minutes=30),
                    retry_policy=_LOOK_RETRIES,
                )
            )
        except (ActivityError, UnreadablePayload) as error:
            workflow.logger.warning("Whether runs have ended is not known: %s", error.__cause__ or error)
            return
        self._budget.are_closed(closed, workflow.now())
        self._pause = _IN_THE_WAY if closed.keys or closed.settled else min(2 * self._pause, _LOOKED_EVERY)

    @workflow.update(name=EXCHANGE)
    def exchange(self, said: Any = None, *_: Any) -> Answers:
        """Take what a worker says, an `Exchange`."""
        answers = self._budget.exchange(_read(Exchange, said), workflow.now())
        if answers.refused:
            self._look_at_what_is_in_the_way(workflow.now())
        self._notice_what_is_left_behind()
        return answers

    def _notice_what_is_left_behind(self) -> None:
        if self._has_left_behind or all(run.key in self._seen_behind for run in self._budget.left_behind):
            return
        self._has_left_behind = workflow.patched(_BEHIND_PATCH)

    def _look_at_what_is_in_the_way(self, now: datetime) -> None:
        is_early = self._looks_again_at is not None and now < self._looks_again_at
        is_in_the_way = any(now - hold.since >= _IN_THE_WAY for hold in self._budget.held.values())
        if is_in_the_way and not is_early and workflow.patched(_WAY_PATCH):
            self._is_to_look = True
            self._looks_again_at = now + self._pause

    @exchange.validator
    def _check_exchange(self, said: Any = None, *_: Any) -> None:
        _read(Exchange, said)

    @workflow.signal(name=SETTLE)
    def settle(self, said: Any = None, *_: Any) -> None:
        """What a worker that stops has still to say, an `Exchange`: it does not wait for an answer."""
        try:
            self._budget.exchange(_read(Exchange, said), workflow.now())
        except ApplicationError as error:
            workflow.logger.warning("A %s signal did not hold settlements: %s", SETTLE, error)

    @workflow.signal(name=LOOK)
    def look_at_the_runs(self, *_: Any) -> None:
        """Look now which runs have ended, instead of within the hour."""
        self._is_to_look = True

    @workflow.update(name=RAISE)
    def raise_limit(self, to: Any = None, *_: Any) -> TenantBudget:
        """Let this window cost more: an `Amount`."""
        self._budget.raise_limit(_read(Amount, to))
        return self._budget

    @raise_limit.validator
    def _check_limit(self, to: Any = None, *_: Any) -> None:
        if problem := self._budget.problem_of_raising(_read(Amount, to)):
            raise ApplicationError(f"{problem}; nothing was raised", type=_UNUSABLE, non_retryable=True)

    @workflow.query(name=SHOW)
    def show(self, *_: Any) -> TenantBudget:
        """How the budget stands."""
        return self._budget


def _read(kind: type[M], given: object) -> M:
    """What was sent. Raises `ApplicationError`."""
    try:
        return kind.model_validate(given)
    except DATA_ERRORS:
        why = given.why if isinstance(given, Unreadable) else "it is of another form"
    raise ApplicationError(f"No {kind.__name__} was sent: {why}.", type=_UNUSABLE, non_retryable=True)
