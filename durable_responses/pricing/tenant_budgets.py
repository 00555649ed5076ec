"""The budgets of tenants: what an operator grants for a day or a month, and what is held and spent of it.

Plain Python, no I/O. `TenantBudget` is the whole state of one window of one tenant; an entity workflow keeps it
(`workflows.tenant_budget`), and tells its messages to it one at a time.
"""

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from durable_responses.pricing.rates import not_a_truth

WORKFLOW_TYPE = "BudgetWorkflow"
EXCHANGE = "exchange"
RAISE = "raise_limit"
SETTLE = "settle"
LOOK = "look_at_the_runs"
SHOW = "show"
USUAL_QUEUE = "agents"
OTHERS = "*"
"""Each tenant that has no budget of its own; and, as one, all runs that are for none."""

KEPT = timedelta(hours=1)
"""For how long a reservation that was settled is known: an attempt of which nobody hears may ask for it again."""
_MOST_KEPT = 2_000
_MOST_WAITING = 1_000
_AFTER_THE_END = timedelta(days=1)
_LONGEST_NAME = 200

N = TypeVar("N", int, Decimal)


class Amount(BaseModel):
    """A sum in USD, in tokens, or in both; None where there is no such line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: Decimal | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)

    _are_numbers = field_validator("usd", "tokens", mode="before")(not_a_truth)

    def plus(self, other: "Amount", sign: int = 1) -> "Amount":
        """The sum; what is not known counts as nothing."""
        usd = (self.usd or Decimal(0)) + sign * (other.usd or Decimal(0))
        tokens = (self.tokens or 0) + sign * (other.tokens or 0)
        return Amount(usd=max(usd, Decimal(0)), tokens=max(tokens, 0))

    def minus(self, other: "Amount") -> "Amount":
        """What is left of each line, nothing at least."""
        usd = None if self.usd is None else max(self.usd - (other.usd or 0), Decimal(0))
        tokens = None if self.tokens is None else max(self.tokens - (other.tokens or 0), 0)
        return Amount(usd=usd, tokens=tokens)

    def bears(self, sum_of: "Amount") -> bool:
        """Whether this limit is kept with such a sum."""
        too_dear = self.usd is not None and (sum_of.usd or 0) > self.usd
        return not too_dear and not (self.tokens is not None and (sum_of.tokens or 0) > self.tokens)


NOTHING = Amount(usd=Decimal(0), tokens=0)


# --- what the operator grants ------------------------------------------------------------------------------------


class Grant(Amount):
    """What one window may cost: one of the two lines at least."""

    @model_validator(mode="after")
    def _has_a_line(self) -> "Grant":
        if self.usd is None and self.tokens is None:
            raise ValueError("needs usd, tokens, or both")
        return self


class Grants(BaseModel):
    """What one tenant may use in each day and in each month (UTC): one of the two at least."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: Grant | None = None
    month: Grant | None = None

    @field_validator("day", "month", mode="before")
    @classmethod
    def _lines(cls, given: object) -> object:
        if isinstance(given, int | float | str):
            raise ValueError("must say of what: {usd = 20}, {tokens = 1000000}, or both")
        return given

    @model_validator(mode="before")
    @classmethod
    def _windows(cls, given: object) -> object:
        if isinstance(given, dict) and (
            unknown := next((name for name in given if name not in cls.model_fields), None)
        ):
            raise ValueError(
                f"{str(unknown)[:_LONGEST_NAME]} is not a window; there are day and month. A tenant with a dot in its "
                'name is written in quotes, as in [tenants."acme.com"]'
            )
        return given

    @model_validator(mode="after")
    def _has_a_window(self) -> "Grants":
        if self.day is None and self.month is None:
            raise ValueError("needs day, month, or both")
        return self


class TenantBudgets(BaseModel):
    """The budgets of all tenants. `*`: each tenant that is not named, and all runs without a tenant together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: dict[str, Grants] = {}

    @field_validator("tenants")
    @classmethod
    def _have_names(cls, tenants: dict[str, Grants]) -> dict[str, Grants]:
        if "" in tenants:
            raise ValueError(f"a tenant has a name; {OTHERS} stands for those that are not named")
        return tenants

    def of(self, tenant: str | None, at: datetime) -> "list[TenantBudget]":
        """The budgets that a response counts for which is created at this moment, as they begin; none where none are.

        The one that ends first comes first.
        """
        grants = self.tenants.get(tenant or OTHERS) or self.tenants.get(OTHERS)
        if grants is None:
            return []
        day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        windows = [
            (f"{day:%Y-%m-%d}", day + timedelta(days=1), grants.day),
            (f"{day:%Y-%m}", next_month, grants.month),
        ]
        return [
            TenantBudget(tenant=tenant or OTHERS, window=name, ends_at=end, limit=Amount(**grant.model_dump()))
            for name, end, grant in windows
            if grant is not None
        ]


def budget_id(tenant: str, window: str, task_queue: str = USUAL_QUEUE) -> str:
    """The workflow id of a budget. Each task queue has its own: nobody else's workers may be there to answer."""
    name = OTHERS if tenant == OTHERS else quote(tenant, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}~{hashlib.sha256(tenant.encode()).hexdigest()[:16]}"
    return f"budget-{name}-{window}" + (f"@{task_queue}" if task_queue != USUAL_QUEUE else "")


# --- messages ----------------------------------------------------------------------------------------------------


class Reserve(BaseModel):
    """Set aside what a response may cost at most. `key`: that of its create, also in a further attempt.

    `least`: what it is worth being created with, where its output may be less.
    """

    key: str
    job: str
    attempt: int = 1
    most: Amount
    least: Amount | None = None


class Settle(BaseModel):
    """What was set aside is over: the response has cost that much, where it is known, else what was set aside.

    `unsent_by`: this attempt has given up before it sent anything; nothing is done where a later one holds it.
    """

    key: str
    cost: Amount = Amount()
    unsent_by: int | None = None


class Exchange(BaseModel):
    """All that one worker has to say at one time. `limit`: as its operator grants it, if there are reservations."""

    limit: Amount | None = None
    settle: list[Settle] = []
    reserve: list[Reserve] = []


class Answers(BaseModel):
    """What became of the reservations: those that are not named in `refused` hold. And how the budget stands then.

    `lowered`: what is held for those of which not all was to be had.
    """

    refused: list[str] = []
    lowered: dict[str, Amount] = {}
    limit: Amount
    spent: Amount
    held: Amount


class OpenRun(BaseModel):
    """A run that a budget knows: `run_id`: this history of it, else whichever is the newest."""

    key: str
    job: str
    run_id: str | None = None


class OpenRuns(BaseModel):
    """Which of these have ended?"""

    runs: list[OpenRun]


class ClosedRuns(BaseModel):
    """The keys of those that have. `settled`: what their histories say, and those of runs that have not ended."""

    keys: list[str]
    settled: list[Settle] = []


# --- the state ---------------------------------------------------------------------------------------------------


class Hold(BaseModel):
    """What is set aside for one response."""

    job: str
    attempt: int
    most: Amount
    since: AwareDatetime


class TenantBudget(BaseModel):
    """One window of one tenant. What is held counts as spent until it is settled; no time frees it.

    `waiting`: the runs that were refused since they last were not. `settled`: keys, the newest last.
    """

    tenant: str
    window: str
    ends_at: AwareDatetime
    limit: Amount
    raised: Amount | None = None
    spent: Amount = NOTHING
    held: dict[str, Hold] = {}
    settled: dict[str, AwareDatetime] = {}
    waiting: dict[str, AwareDatetime] = {}

    @property
    def bound(self) -> Amount:
        """The limit, as it was raised. Where there is none, it stays without."""
        raised, limit = self.raised or Amount(), self.limit
        return Amount(
            usd=None if limit.usd is None else _greater(limit.usd, raised.usd),
            tokens=None if limit.tokens is None else _greater(limit.tokens, raised.tokens),
        )

    @property
    def held_in_all(self) -> Amount:
        """The sum of what is held."""
        total = NOTHING
        for hold in self.held.values():
            total = total.plus(hold.most)
        return total

    def exchange(self, said: Exchange, now: datetime) -> Answers:
        """Take what a worker says; the same said twice changes nothing."""
        self.limit = said.limit or self.limit
        for settle in said.settle:
            self._settle(settle, now)
        held, refused, lowered = self.held_in_all, [], {}
        for reserve in said.reserve:
            before = self.held.get(reserve.key)
            if reserve.key in self.settled or (before is not None and before.attempt > reserve.attempt):
                continue  # said by an attempt that is over: nobody hears the answer
            if before is not None:
                held = held.plus(before.most, -1)
                del self.held[reserve.key]
            most = self._borne(reserve, held)
            if most is None:
                refused.append(reserve.key)
                self._waits(reserve.job, now)
                continue
            if most != reserve.most:
                lowered[reserve.key] = most
            held = held.plus(most)
            self.waiting.pop(reserve.job, None)
            self.held[reserve.key] = Hold(job=reserve.job, attempt=reserve.attempt, most=most, since=now)
        return Answers(refused=refused, lowered=lowered, limit=self.bound, spent=self.spent, held=held)

    def _borne(self, reserve: Reserve, held: Amount) -> Amount | None:
        """What can be set aside for a response beside what is held; None where that is not enough.

        Less than its most is given only where that is spent: what is held may soon be free.
        """
        bound, taken = self.bound, self.spent.plus(held)
        if bound.bears(taken.plus(reserve.most)):
            return reserve.most
        least = reserve.least
        if least is None or bound.bears(self.spent.plus(reserve.most)) or not bound.bears(taken.plus(least)):
            return None
        left = bound.minus(taken)
        return Amount(usd=_smaller(reserve.most.usd, left.usd), tokens=_smaller(reserve.most.tokens, left.tokens))

    def problem_of_raising(self, to: Amount) -> str | None:
        """Why the limit cannot be raised to this; None if it can."""
        for line, unit in (("usd", "USD"), ("tokens", "tokens")):
            if getattr(to, line) is not None and getattr(self.limit, line) is None:
                return f"it has no limit in {unit} that could be raised"
        return None

    def raise_limit(self, to: Amount) -> None:
        """Let this window cost more. A line that is not named, or would be lowered, stays as it is."""
        raised = self.raised or Amount()
        self.raised = Amount(usd=_greater(raised.usd, to.usd), tokens=_greater(raised.tokens, to.tokens))

    def open_runs(self, now: datetime, older_than: timedelta) -> list[OpenRun]:
        """The runs that something has been held for, or that wait, for so long: the oldest first."""
        held = [
            (hold.since, OpenRun(key=key, job=hold.job, run_id=key.partition("/")[0]))
            for key, hold in self.held.items()
            if now - hold.since >= older_than
        ]
        waiting = [
            (since, OpenRun(key=job, job=job)) for job, since in self.waiting.items() if now - since >= older_than
        ]
        return [run for _, run in sorted([*held, *waiting], key=lambda each: each[0])]

    @property
    def left_behind(self) -> list[OpenRun]:
        """What is held for a response whose run has set something aside for another one since, so that it is over."""
        newest: dict[str, datetime] = {}
        for key, hold in self.held.items():
            run_id = key.partition("/")[0]
            newest[run_id] = max(newest.get(run_id, hold.since), hold.since)
        runs = {key: key.partition("/")[0] for key in self.held}
        return [
            OpenRun(key=key, job=self.held[key].job, run_id=run_id)
            for key, run_id in runs.items()
            if self.held[key].since < newest[run_id]
        ]

    def are_closed(self, closed: ClosedRuns, now: datetime) -> None:
        """These runs have ended. What their responses have cost and nobody knows is what they may have cost."""
        for settle in closed.settled:
            self._settle(settle, now)
        for key in closed.keys:
            self.waiting.pop(key, None)
            self._settle(Settle(key=key), now)

    def is_over(self, now: datetime) -> bool:
        """Whether nobody will ask for it any more."""
        return not self.held and now >= self.ends_at + _AFTER_THE_END

    def _settle(self, settle: Settle, now: datetime) -> None:
        hold = self.held.get(settle.key)
        if hold is None or (settle.unsent_by is not None and settle.unsent_by < hold.attempt):
            return
        del self.held[settle.key]
        if settle.unsent_by is not None:  # a further attempt may reserve it again
            return
        usd = hold.most.usd if settle.cost.usd is None else settle.cost.usd
        tokens = hold.most.tokens if settle.cost.tokens is None else settle.cost.tokens
        self.spent = self.spent.plus(Amount(usd=usd, tokens=tokens))
        self.settled[settle.key] = now
        _forget(self.settled, _MOST_KEPT, now - KEPT)

    def _waits(self, job: str, now: datetime) -> None:
        self.waiting.setdefault(job, now)
        _forget(self.waiting, _MOST_WAITING)


def refused_by(budgets: Collection[tuple[TenantBudget, Answers]], key: str) -> tuple[TenantBudget, Answers] | None:
    """Of the budgets that do not bear a response the one that ends last; None where all bear it."""
    refusing = [(budget, answers) for budget, answers in budgets if key in answers.refused]
    return max(refusing, key=lambda each: each[0].ends_at, default=None)


def _greater(left: N | None, right: N | None) -> N | None:
    given = [each for each in (left, right) if each is not None]
    return max(given, default=None)


def _smaller(left: N | None, right: N | None) -> N | None:
    given = [each for each in (left, right) if each is not None]
    return min(given, default=None)


def _forget(kept: dict[str, datetime], most: int, until: datetime | None = None) -> None:
    for key in list(kept):
        if len(kept) <= most and (until is None or kept[key] > until):
            break
        del kept[key]
