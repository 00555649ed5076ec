"""The till of a worker: what its responses may cost is set aside in the budgets of their tenants, and settled.

A budget is an entity workflow, and takes ten updates at once and no more. So each process has one till for each budget,
which sends one Update at a time; that carries all reservations and settlements which wait. Settlements are in no hurry:
they go with the next reservation, or after a second.

From the bottom up: a till, all tills of a worker, what one activity has to do with them, and the activity by which a
budget learns of runs that have ended.
"""

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio import activity
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.budgets import WorstCase
from durable_responses.activities.executions import described
from durable_responses.activities.failures import detail_of, invalid_input, later, over_budget
from durable_responses.activities.inputs import InputError
from durable_responses.activities.messages import (
    AwaitResponse,
    CancelResponse,
    CompactConversation,
    CreatedResponse,
    CreateResponse,
    FailureDetail,
    FailureType,
    OverBudget,
    Reserved,
    TenantLine,
    records_in,
)
from durable_responses.activities.settlements import NOTHING_WAS_SENT, RecordedSettlements, cost_of, key_of
from durable_responses.pricing.rates import BudgetLine
from durable_responses.pricing.reservations import Left
from durable_responses.pricing.tenant_budgets import (
    EXCHANGE,
    SETTLE,
    WORKFLOW_TYPE,
    Amount,
    Answers,
    ClosedRuns,
    Exchange,
    OpenRuns,
    Reserve,
    Settle,
    TenantBudget,
    TenantBudgets,
    budget_id,
    refused_by,
)
from durable_responses.responses_api.request_fields import hidden_from_budgets

logger = logging.getLogger(__name__)

SETTLED_WITHIN = 1.0
"""Seconds that a settlement waits for a reservation to go with."""
ANSWERED_WITHIN = 30.0
"""Seconds that a create waits for its reservation; then it fails, and is tried again."""
LOOKED_WITHIN = 60.0
"""Seconds; the histories of hundreds of runs may take longer than the activity has."""
_SENT_WITHIN = timedelta(seconds=10)
_LOOKED_AT_WITHIN = 0.1
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_MOST_AT_ONCE = 500
_LONGEST_WAIT = 30.0
_ENDED_WITHIN = timedelta(seconds=3)
_RUNS_AT_ONCE = 10
_NOBODY_KNOWS_IT = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)
_ANOTHER_ATTEMPT_KNOWS = frozenset({FailureType.ATTEMPT_OVER})


# --- one till ----------------------------------------------------------------------------------------------------


class Till:
    """What one process says to one budget, one Update at a time. `settled_within`: seconds."""

    def __init__(self, client: Client, task_queue: str, id_: str, settled_within: float = SETTLED_WITHIN) -> None:
        self.updates = 0
        self._client = client
        self._task_queue = task_queue
        self._id = id_
        self._settled_within = settled_within
        self._start: TenantBudget | None = None
        self._reserve: dict[str, tuple[Reserve, asyncio.Future[Answers]]] = {}
        self._settle: list[Settle] = []
        self._hurry = asyncio.Event()
        self._in_flight: list[Settle] = []
        self._is_ended = False
        self._sending: asyncio.Task[None] | None = None

    async def reserve(self, start: TenantBudget, reserve: Reserve) -> Answers:
        """Set something aside; `start` is the budget as it begins, where nothing was set aside yet.

        Raises `ApplicationError` where the budget does not answer.
        """
        self._start = start
        waiting = self._reserve.get(reserve.key)
        answered = waiting[1] if waiting is not None else asyncio.get_running_loop().create_future()
        self._reserve[reserve.key] = (reserve, answered)
        self._hurry.set()
        self._go_on()
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                return await asyncio.shield(answered)
        except TimeoutError:
            raise later(f"The budget of the tenant {start.tenant} does not answer.") from None

    def settle(self, settle: Settle) -> None:
        """What was set aside is over. It is said soon."""
        if settle.unsent_by is not None:  # if it is still to be said, it never will be
            self._reserve.pop(settle.key, None)
        self._settle.append(settle)
        self._go_on()

    async def end(self) -> None:
        """Say at once what is still to be settled: by a signal, for there may be no worker that answers."""
        self._is_ended = True
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        settle, self._settle, self._in_flight = [*self._in_flight, *self._settle], [], []
        if not settle:
            return
        handle = self._client.get_workflow_handle(self._id)
        try:
            for first in range(0, len(settle), _MOST_AT_ONCE):
                said = Exchange(settle=settle[first : first + _MOST_AT_ONCE])
                await handle.signal(SETTLE, said, rpc_timeout=_ENDED_WITHIN)
        except RPCError as error:
            logger.warning("%s cannot be told: %s", self._id, error)

    def _go_on(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._reserve or self._settle:
            if not self._reserve:
                self._hurry.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._settled_within)
            await self._send()

    async def _send(self) -> None:
        taken = dict(list(self._reserve.items())[:_MOST_AT_ONCE])
        self._in_flight, self._settle = self._settle[:_MOST_AT_ONCE], self._settle[_MOST_AT_ONCE:]
        for key in taken:
            del self._reserve[key]
        said = Exchange(
            limit=self._start.limit if self._start and taken else None,
            settle=self._in_flight,
            reserve=[reserve for reserve, _ in taken.values()],
        )
        try:
            answers = await self._answered(said, uuid.uuid4().hex)
        except Exception as error:  # whatever it is, those that wait must hear of it
            logger.warning("%s cannot be told: %s", self._id, error.__cause__ or error)
            self._in_flight = []
            for _, answered in taken.values():
                if not answered.done():
                    answered.set_exception(later(f"{self._id} cannot be used: {error}"))
                    answered.exception()  # its create may be gone
            return
        self._in_flight = []
        for _, answered in taken.values():
            if not answered.done():
                answered.set_result(answers)

    async def _answered(self, said: Exchange, update_id: str) -> Answers:
        """Send until it is answered, always under the same id: what was taken is not taken again.

        Raises the SDK's error for what will not be taken later either.
        """
        pause = _FIRST_PAUSE
        while True:
            self.updates += 1
            try:
                return await self._update(said, update_id)
            except WorkflowUpdateRPCTimeoutOrCancelledError:
                if self._is_ended:  # the SDK makes this of a cancel, too
                    raise asyncio.CancelledError from None
            except RPCError as error:
                is_gone = error.status is RPCStatusCode.NOT_FOUND and not said.reserve
                if is_gone or error.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED):
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _update(self, said: Exchange, update_id: str) -> Answers:
        if not said.reserve or self._start is None:  # for a settlement no budget is begun
            handle = self._client.get_workflow_handle(self._id)
            told: Answers = await handle.execute_update(
                EXCHANGE, said, id=update_id, result_type=Answers, rpc_timeout=_SENT_WITHIN
            )
            return told
        operation: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            WORKFLOW_TYPE,
            self._start,
            id=self._id,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        try:
            answered: Answers = await self._client.execute_update_with_start_workflow(
                EXCHANGE,
                said,
                start_workflow_operation=operation,
                id=update_id,
                result_type=Answers,
                rpc_timeout=_SENT_WITHIN,
            )
        except BaseException:
            # The operation has the same error, and asyncio complains if nobody looks at it.
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(operation.workflow_handle(), _LOOKED_AT_WITHIN)
            raise
        return answered


@dataclass
class Tills:
    """The tills of one worker. `budgets`: those that its operator grants. `task_queue`: that of the budgets."""

    client: Client
    task_queue: str
    budgets: TenantBudgets = field(default_factory=TenantBudgets)
    settled_within: float = SETTLED_WITHIN
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _tills: dict[str, Till] = field(default_factory=dict)

    def of(self, id_: str) -> Till:
        """The till of a budget."""
        if id_ not in self._tills:
            self._tills[id_] = Till(self.client, self.task_queue, id_, self.settled_within)
        return self._tills[id_]

    def ids_at(self, tenant: str | None, *times: datetime) -> list[str]:
        """The budgets of a tenant at these times."""
        found = (budget for at in times for budget in self.budgets.of(tenant, at))
        return list(dict.fromkeys(map(self.id_of, found)))

    def id_of(self, budget: TenantBudget) -> str:
        """The workflow id of a budget."""
        return budget_id(budget.tenant, budget.window, self.task_queue)

    def settle(self, reserved: Reserved, settle: Settle) -> None:
        """Something that was set aside is over, in all of its budgets."""
        for id_ in reserved.budgets:
            self.of(id_).settle(settle)

    def turn(self, given: Any) -> "TillTurn | None":
        """What an attempt of an activity with this argument has to do with budgets; None where that is nothing."""
        match given:
            case CompactConversation():
                return self._turn_of_create(given.create)
            case CreateResponse():
                return self._turn_of_create(given)
            case AwaitResponse() | CancelResponse() if given.reserved is not None:
                return TillTurn(self, given.reserved)
            case _:
                return None

    def _turn_of_create(self, create: CreateResponse) -> "TillTurn | None":
        if not self.budgets.tenants:
            return None
        info = activity.info()
        # An earlier attempt may have created the response that this one follows.
        ids = self.ids_at(create.tenant, info.scheduled_time, self.now()) if info.attempt > 1 else []
        return TillTurn(self, Reserved(key=_key(), budgets=ids) if ids else None)

    async def end(self) -> None:
        """Say what is still to be said."""
        await asyncio.gather(*(till.end() for till in self._tills.values()))
        self._tills.clear()


# --- one activity ------------------------------------------------------------------------------------------------


@dataclass
class TillTurn:
    """What one attempt of an activity has to do with the budgets of its tenant.

    `reserved`: what is set aside for its response. `is_own`: whether this attempt has done so, or has begun to.
    """

    tills: Tills
    reserved: Reserved | None = None
    is_own: bool = False

    async def reserve(self, create: CreateResponse, worst_case: Callable[[], Awaitable[WorstCase]]) -> WorstCase | None:
        """Set aside what a create may cost. Returns that where it is to have less output than it was to have.

        Raises `ApplicationError` where a budget does not bear it.
        """
        budgets = self.tills.budgets.of(create.tenant, self.tills.now())
        if not budgets:
            return None
        if (hidden := hidden_from_budgets(create.options.extra_body)) is not None:
            problem = f"has {hidden}, by which the budget of the tenant counts: give it as a field of the run"
            raise invalid_input(InputError("extra_body", problem))
        info, key, worst = activity.info(), _key(), await worst_case()
        most = _most(worst)
        for budget in budgets:
            _check_known(budget, most)
        least = None if create.compacts else _most(worst.least)  # a compaction that is cut is of no use
        reserve = Reserve(key=key, job=info.workflow_id or "", attempt=info.attempt, most=most, least=least)
        ids = [self.tills.id_of(budget) for budget in budgets]
        self.reserved, self.is_own = Reserved(key=key, budgets=ids), True
        asked = (self.tills.of(id_).reserve(budget, reserve) for id_, budget in zip(ids, budgets, strict=True))
        try:
            answers = await asyncio.gather(*asked)
        except asyncio.CancelledError:
            self.nothing_was_sent()
            raise
        refusing = refused_by(list(zip(budgets, answers, strict=True)), key)
        if refusing is not None:
            raise _over(*refusing, most, least or most)
        lowered = [each.lowered[key] for each in answers if key in each.lowered]
        for left in lowered:
            worst = worst.within(Left(left.usd, left.tokens))
        return worst if lowered else None

    def ended(self, result: Any) -> None:
        """The activity has returned that: settle what has ended, and let the run know what has not."""
        records = records_in(result)
        if isinstance(result, CreatedResponse) and not records:
            result.reserved = self.reserved
        if self.reserved is None or not records:
            return
        if records[-1].is_finished:
            self._settle(cost_of(records))
        elif self.is_own:
            records[-1].reserved = self.reserved

    def failed(self, error: BaseException) -> None:
        """The activity has failed, or was cut off: free what was set aside where nothing was sent."""
        if self.reserved is None or not isinstance(error, ApplicationError) or error.type in _ANOTHER_ATTEMPT_KNOWS:
            return
        detail = detail_of(error) or FailureDetail()
        if error.type in NOTHING_WAS_SENT and not detail.may_still_run:
            self.nothing_was_sent()
        elif error.non_retryable:
            self._settle(Amount())

    def nothing_was_sent(self) -> None:
        """This attempt is over, and has not sent its create: what it has set aside is free."""
        if self.reserved is not None and self.is_own:
            self.tills.settle(self.reserved, Settle(key=self.reserved.key, unsent_by=activity.info().attempt))

    def _settle(self, cost: Amount) -> None:
        if self.reserved is not None:
            self.tills.settle(self.reserved, Settle(key=self.reserved.key, cost=cost))


_TURN: ContextVar[TillTurn | None] = ContextVar("till_turn", default=None)


@contextmanager
def turn_of(turn: TillTurn) -> Iterator[None]:
    """While inside, the activity that runs here has this turn."""
    token = _TURN.set(turn)
    try:
        yield
    finally:
        _TURN.reset(token)


def current_turn() -> TillTurn | None:
    """The turn of the activity that runs here; None where its worker keeps no budgets."""
    return _TURN.get()


def _key() -> str:
    info = activity.info()
    return key_of(info.workflow_run_id or "", info.activity_id)


def _most(worst: WorstCase) -> Amount:
    return Amount(usd=worst.exact_usd, tokens=worst.tokens)


def _line_of(limit: Amount, most: Amount, so_far: Amount) -> BudgetLine:
    """The line that does not bear it."""
    in_usd = Amount(usd=limit.usd)
    return BudgetLine.USD if not in_usd.bears(so_far.plus(most)) else BudgetLine.TOKENS


def _check_known(budget: TenantBudget, most: Amount) -> None:
    """Raise `ApplicationError` where a budget has a line in which nobody knows what the response may cost."""
    for line in (BudgetLine.USD, BudgetLine.TOKENS):
        if getattr(budget.limit, line) is not None and getattr(most, line) is None:
            standing = _standing(budget, line, budget.limit, Amount(), Amount())
            why = "the model has no price here, or its input cannot be counted"
            raise over_budget(OverBudget(line=line, why=why, tenant=standing))


def _over(budget: TenantBudget, answers: Answers, most: Amount, least: Amount) -> ApplicationError:
    """Why a response is not created. What is only held may be free soon: then it is tried again before anybody is
    asked.
    """
    if answers.limit.bears(answers.spent.plus(least)):
        attempt = activity.info().attempt
        wait = min(_LONGEST_WAIT, 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)
        return later(
            f"The budget of the tenant {budget.tenant} for {budget.window} is held by responses that are under way.",
            wait,
        )
    line = _line_of(answers.limit, least, answers.spent.plus(answers.held))
    standing = _standing(budget, line, answers.limit, answers.spent, answers.held)
    amounts = (float(Decimal(getattr(each, line) or 0)) for each in (least, most))  # an int may be too large for that
    return over_budget(OverBudget(line=line, least=next(amounts), most=next(amounts), tenant=standing))


def _standing(budget: TenantBudget, line: BudgetLine, limit: Amount, spent: Amount, held: Amount) -> TenantLine:
    limit_, spent_, held_ = (float(getattr(each, line) or 0) for each in (limit, spent, held))
    return TenantLine(
        tenant=budget.tenant, window=budget.window, ends_at=budget.ends_at, limit=limit_, spent=spent_, held=held_
    )


# --- the activity ------------------------------------------------------------------------------------------------


@dataclass
class TenantBudgetActivities:
    """What a budget asks Temporal. `within`: the seconds in which it begins to look at runs."""

    client: Client
    within: float = LOOKED_WITHIN

    @activity.defn
    async def closed_runs(self, open_: OpenRuns) -> ClosedRuns:
        """Those of the runs that have ended, or that nobody knows any more; and what is held for no good reason.

        That is what the history of a run, ended or open, says to be over. What there is no time for is looked at
        another time: the order is not always the same.
        """
        room, until = asyncio.Semaphore(_RUNS_AT_ONCE), asyncio.get_running_loop().time() + self.within
        held: dict[tuple[str, str | None], list[str]] = {}
        for run in open_.runs:
            held.setdefault((run.job, run.run_id), []).append(run.key)
        runs = random.sample(list(held.items()), len(held))
        looked_at = (self._look_at(job, run_id, keys, room, until) for (job, run_id), keys in runs)
        found = await asyncio.gather(*looked_at)
        return ClosedRuns(
            keys=[key for each in found for key in each.keys], settled=[one for each in found for one in each.settled]
        )

    async def _look_at(
        self, job: str, run_id: str | None, keys: list[str], room: asyncio.Semaphore, until: float
    ) -> ClosedRuns:
        async with room:
            if asyncio.get_running_loop().time() > until:
                return ClosedRuns(keys=[])
            is_closed = await self._is_closed(job, run_id)
            # For a run that waits nothing is held.
            settled = await self._settled(job, run_id) if run_id is not None else {}
        if settled is None:  # later, perhaps
            return ClosedRuns(keys=[])
        return ClosedRuns(
            keys=[key for key in keys if is_closed and key not in settled],
            settled=[settled[key] for key in keys if key in settled],
        )

    async def _is_closed(self, job: str, run_id: str | None) -> bool:
        try:
            return not (await described(self.client, job, run_id)).is_open
        except RPCError as error:
            if error.status in _NOBODY_KNOWS_IT:
                return True
            raise

    async def _settled(self, job: str, run_id: str) -> dict[str, Settle] | None:
        """What the history of a run says of its reservations; None where it cannot be read now."""
        recorded = RecordedSettlements(run_id, self.client.data_converter)
        try:
            async for event in self.client.get_workflow_handle(job, run_id=run_id).fetch_history_events():
                await recorded.take(event)
        except RPCError as error:
            if error.status in _NOBODY_KNOWS_IT:
                return {}
            logger.warning("The history of %s cannot be read: %s", job, error)
            return None
        return recorded.settled
