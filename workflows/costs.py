"""What a run has cost: the sum over all responses that were ever created for it. Plain Python, without prices."""

from collections.abc import Iterable
from decimal import Decimal
from functools import reduce

from durable_responses.activities.messages import ResponseCost
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.workflows.contract import ResponseUsage, RunCost

USED = (ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE, "compaction")
NOT_TOLD = "a response whose end nobody knows"
NOT_PRICED = "nobody has said what the provider charges"
_MOST_REASONS = 5


def sum_of(entries: Iterable[ResponseUsage]) -> RunCost:
    """What these responses have cost."""
    return reduce(plus, entries, RunCost())


def plus(total: RunCost, entry: ResponseUsage) -> RunCost:
    """The sum with one more response. What nobody has priced is counted, and never taken for nothing."""
    cost = entry.cost or ResponseCost(unpriced=[NOT_PRICED if entry.status in list(ResponseStatus) else NOT_TOLD])
    price = cost.usd if cost.usd is not None else cost.known or 0
    most = cost.usd if cost.usd is not None else entry.at_most
    so_far = total.at_most if total.unknown else total.known
    known = added(total.known, price)
    unknown = total.unknown + (cost.usd is None)
    return RunCost(
        usd=None if unknown else known,
        known=known,
        at_most=added(so_far, most) if unknown and so_far is not None and most is not None else None,
        wasted=total.wasted if entry.status in USED else added(total.wasted, price),
        unknown=unknown,
        why=[*total.why, *(why for why in cost.unpriced or [] if why not in total.why)][:_MOST_REASONS],
    )


def spent_usd(entries: Iterable[ResponseUsage]) -> float:
    """What these responses have cost, and for those of which nobody knows it what they may have cost at most."""
    return float(sum((Decimal(str(_at_most(entry) or 0)) for entry in entries), Decimal(0)))


def _at_most(entry: ResponseUsage) -> float | None:
    """What one has cost at most; None where that is not known."""
    if entry.cost is None:
        return entry.at_most
    return entry.cost.usd if entry.cost.usd is not None else entry.at_most or entry.cost.known


def together(left: RunCost, right: RunCost) -> RunCost:
    """The costs of several runs."""
    unknown, known = left.unknown + right.unknown, added(left.known, right.known)
    mosts = [cost.at_most if cost.unknown else cost.known for cost in (left, right)]
    most = [most for most in mosts if most is not None]
    return RunCost(
        usd=None if unknown else known,
        known=known,
        at_most=added(*most) if unknown and len(most) == len(mosts) else None,
        wasted=added(left.wasted, right.wasted),
        unknown=unknown,
        why=[*left.why, *(why for why in right.why if why not in left.why)][:_MOST_REASONS],
    )


def usd(amount: float) -> str:
    """`4.10 USD`; what is less than a dollar with its first two digits that count: `0.0031 USD`."""
    places = 2 if amount >= 1 or amount == 0 else 1 - Decimal(str(amount)).adjusted()
    return f"{amount:.{max(places, 2)}f} USD"


def cost_text(cost: RunCost | None, budget: float | None = None) -> str | None:
    """`0.41 of 5.00 USD (0.05 USD of it wasted)`, or `at least …, at most …` where not all is known.

    None where nothing is known. `budget`: the USD that it may cost.
    """
    if cost is None or (cost.usd is None and not cost.known):
        return None
    wasted = f" ({usd(cost.wasted)} of it wasted)" if cost.wasted else ""
    of = f" of {usd(budget)}" if budget is not None else ""
    if cost.usd is not None:
        known = usd(cost.known).removesuffix(" USD") if of else usd(cost.known)
        return f"{known}{of}{wasted}"
    most = f", at most {usd(cost.at_most)}" if cost.at_most is not None else ""
    return f"at least {usd(cost.known)}{most}{of}{wasted}"


def added(left: float, right: float) -> float:
    """The sum of two amounts."""
    # A float's own digits are the price as it was recorded: added up as such, no fraction of a cent is lost.
    return float(Decimal(str(left)) + Decimal(str(right)))
