"""The budget of a run: what of it is left, when the model is told to finish, and how its owner is asked for more.

Part of the workflow: deterministic, owned by `ResponseSource`. The prices are the workers': a create is told what is
left, and comes back with `budget_exceeded` where that is not enough (`activities.budgets`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.messages import BudgetLeft, FailureType, OverBudget, TenantLine
    from durable_responses.pricing.rates import BudgetLine
    from durable_responses.workflows.answers import ALLOW, RETRY, STOP
    from durable_responses.workflows.contract import (
        AgentError,
        Budget,
        InputRequestKind,
        Limit,
        OnBudget,
    )
    from durable_responses.workflows.costs import added, spent_usd, usd
    from durable_responses.workflows.input_requests import InputRequests
    from durable_responses.workflows.interruptions import BudgetSpent
    from durable_responses.workflows.ledger import Ledger
    from durable_responses.workflows.steering import SteeringMessages

_UNKNOWN_PATCH = "what-no-time-mends-waits-for-its-owner"
WRAP_UP = (
    "The budget of this run is nearly spent. Finish now: call no further tools unless you must, and give the answer."
)


@contextmanager
def working(ledger: Ledger) -> Iterator[None]:
    """While this is entered, a response or a tool runs."""
    ledger.work_began(workflow.now())
    try:
        yield
    except GeneratorExit:  # this instance is being evicted from the cache: there is no time in it any more
        raise
    except BaseException:
        ledger.work_ended(workflow.now())
        raise
    ledger.work_ended(workflow.now())


@dataclass
class RunBudget:
    """What one run may cost. All that is remembered of it is in the ledger."""

    ledger: Ledger
    steering: SteeringMessages
    requests: InputRequests

    @property
    def _budget(self) -> Budget | None:
        return self.ledger.state.budget

    def left(self) -> BudgetLeft | None:
        """What the next response may cost; None where it may cost whatever it does."""
        budget = self._budget
        if budget is None or self.ledger.budget_waived or (budget.usd is None and budget.tokens is None):
            return None
        spent = self._spent(budget)
        usd = None if budget.usd is None else max(0.0, _difference(budget.usd, spent[BudgetLine.USD]))
        tokens = None if budget.tokens is None else max(0, budget.tokens - int(spent[BudgetLine.TOKENS]))
        return BudgetLeft(usd=usd, tokens=tokens)

    async def before_create(self) -> None:
        """Return once another response may be begun, as far as time goes. Raises `BudgetSpent`, and as `closed`."""
        while (budget := self._budget) is not None and budget.working_seconds is not None:
            if self.ledger.state.worked_seconds < budget.working_seconds:
                break
            await self._ask(budget, OverBudget(line=BudgetLine.WORKING_SECONDS))
        self._warn()

    async def raised(self, over: OverBudget) -> None:
        """Return once the budget bears what it did not, as its owner says. Raises `BudgetSpent`, and as `closed`."""
        budget = self._budget
        if budget is None:
            return
        await self._ask(budget, over)

    async def of_tenant_raised(self, standing: TenantLine, over: OverBudget) -> None:
        """Return once the budget of the run's tenant may bear it: its window is over, or the owner says so.

        Raises `BudgetSpent`, and as `closed`.
        """
        message = over_tenant_message(standing, over)
        error = AgentError(type=FailureType.BUDGET_EXCEEDED, message=message)
        budget = self._budget
        if budget is not None and budget.on_exceeded is OnBudget.STOP:
            raise BudgetSpent(error)
        resume_at: datetime | None = standing.ends_at
        again = f"It is tried again at {standing.ends_at:%Y-%m-%d %H:%M} UTC; answer {RETRY} to try it now, or {STOP}."
        if over.most is None and workflow.patched(_UNKNOWN_PATCH):  # no time mends that
            resume_at, again = None, f"Answer {RETRY} when that is mended, or {STOP}."
        asked = self.requests.open(InputRequestKind.BUDGET, f"{message} {again}", (RETRY, STOP), resume_at=resume_at)
        closed = await self.requests.closed(asked)
        if closed.answer == STOP:
            raise BudgetSpent(error)

    def bore_it(self) -> None:
        """A response has been created: what the owner has allowed for one holds for no other."""
        self.ledger.budget_waived = False

    def _warn(self) -> None:
        """Tell the model once that the budget is nearly spent, and again where it was raised since."""
        budget = self._budget
        if budget is None or self.ledger.budget_warned or budget.warn_at >= 1:
            return
        spent = self._spent(budget)
        limits = {line: getattr(budget, line.value) for line in BudgetLine}
        if any(limit is not None and spent[line] >= budget.warn_at * limit for line, limit in limits.items()):
            self.ledger.budget_warned = True
            self.steering.receive(WRAP_UP)

    def _spent(self, budget: Budget) -> dict[BudgetLine, float]:
        """What counts as spent: where that is not known, what was set aside."""
        state, aside = self.ledger.state, self.ledger.usd_set_aside
        return {
            BudgetLine.USD: 0 if budget.usd is None else added(spent_usd(self.ledger.responses), aside),
            BudgetLine.TOKENS: state.usage.total_tokens + self.ledger.tokens_set_aside,
            BudgetLine.WORKING_SECONDS: state.worked_seconds,
        }

    async def _ask(self, budget: Budget, over: OverBudget) -> None:
        spent, limit = self._spent(budget)[over.line], getattr(budget, over.line.value)
        message = over_budget_message(over, spent, limit or 0)
        error = AgentError(type=FailureType.BUDGET_EXCEEDED, message=message)
        if budget.on_exceeded is OnBudget.STOP:
            raise BudgetSpent(error)
        is_unknown = over.least is None and over.line is not BudgetLine.WORKING_SECONDS
        asked = self.requests.open(
            InputRequestKind.BUDGET,
            f"{message} {_answers_to(over, is_unknown=is_unknown)}",
            (ALLOW, STOP) if is_unknown else (STOP,),
            limit=None if is_unknown else Limit(over.line),
            at_least=added(spent, over.least) if over.least is not None else None,
        )
        closed = await self.requests.closed(asked)
        if closed.answer is None or closed.answer == STOP:
            raise BudgetSpent(error)
        if closed.answer == ALLOW:
            self.ledger.budget_waived = True
            return
        raised = int(closed.answer) if over.line is BudgetLine.TOKENS else float(closed.answer)
        self.ledger.state.budget = budget.model_copy(update={over.line.value: raised})
        self.ledger.budget_warned = False


# --- plain Python --------------------------------------------------------------------------------------------------


def over_budget_message(over: OverBudget, spent: float, limit: float) -> str:
    """Why no further response is created: `Spent 4.10 of 5.00 USD; the next response may cost up to 1.30 USD.`"""
    if over.line is BudgetLine.WORKING_SECONDS:
        return f"The run has worked for {spent:,.0f} of {limit:,.0f} seconds."
    amount: Callable[[float], str] = usd if over.line is BudgetLine.USD else _tokens
    so_far = f"Spent {amount(spent).partition(' ')[0]} of {amount(limit)}"
    if over.least is None or over.most is None:
        return f"{so_far}; what the next response may cost is not known: {over.why}."
    least = f"needs {amount(over.least)} at least, and " if over.least < over.most else ""
    return f"{so_far}; the next response {least}may cost up to {amount(over.most)}."


def over_tenant_message(standing: TenantLine, over: OverBudget) -> str:
    """Why no further response is created for this tenant."""
    whose = f"The budget of the tenant {standing.tenant} for {standing.window}"
    amount: Callable[[float], str] = usd if over.line is BudgetLine.USD else _tokens
    if over.most is None:
        return f"{whose} is {amount(standing.limit)}, and what the next response may cost is not known: {over.why}."
    held = f", and {amount(standing.held)} set aside for responses under way" if standing.held else ""
    least = f"needs {amount(over.least)} at least, and " if over.least is not None and over.least < over.most else ""
    return (
        f"{whose} is used up: {amount(standing.spent)} of {amount(standing.limit)} are spent{held}; the next response "
        f"{least}may cost up to {amount(over.most)}."
    )


def _answers_to(over: OverBudget, *, is_unknown: bool) -> str:
    """What the owner of such a run can say."""
    if is_unknown:
        return f"Answer {ALLOW} to have this one created all the same, or {STOP}."
    unit = {BudgetLine.USD: "USD", BudgetLine.TOKENS: "tokens", BudgetLine.WORKING_SECONDS: "seconds"}[over.line]
    return f"Answer the total in {unit} that the run may use, or {STOP}."


def _tokens(number: float) -> str:
    return f"{number:,.0f} tokens"


def _difference(left: float, right: float) -> float:
    # A float's own digits are the amount as it was recorded: no fraction of a cent is lost.
    return float(Decimal(str(left)) - Decimal(str(right)))
