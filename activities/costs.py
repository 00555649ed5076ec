"""What a response has cost, as it goes into history with the response. Plain Python."""

from dataclasses import replace

from durable_responses.activities.messages import ResponseCost, ResponseRecord, RunPrices
from durable_responses.pricing.costs import Prices
from durable_responses.pricing.rates import Cost, Tier

NO_USAGE = "the provider has not said what it used"
_DIGITS = 9  # of a dollar: a single token of the cheapest model costs more than the last of them
_MOST_REASONS = 5
_LONGEST_NAME = 100  # characters


def cost_of(record: ResponseRecord, prices: Prices, of_run: RunPrices) -> ResponseCost | None:
    """What a response has cost by these prices, of which the run's own come first; None where there are none.

    Then history holds nothing of it.
    """
    prices = prices.with_own(of_run.rates or {})
    if record.billed is None or not prices.are_known:
        return None
    billed = replace(record.billed, tier_asked=of_run.tier, completion_window=of_run.completion_window)
    cost, doubts = prices.cost_of(billed), billed.doubts
    if record.usage is None:
        doubts = (NO_USAGE,)
        cost = Cost(None, cost.known, (*doubts, *cost.unpriced), cost.source)
    return ResponseCost(
        usd=None if cost.usd is None else round(float(cost.usd), _DIGITS),
        known=round(float(cost.known), _DIGITS) or None if cost.usd is None else None,
        unpriced=list(cost.unpriced[:_MOST_REASONS]) or None,
        source=cost.source if cost.usd is not None or cost.known else None,
        tier=(billed.tier or "")[:_LONGEST_NAME] or None if billed.tier != Tier.DEFAULT else None,
        web_searches=billed.web_searches or None,
        file_searches=billed.file_searches or None,
        code_interpreters=billed.code_interpreters or None,
        images=billed.images or None,
        uncounted=(bool(doubts) and cost.unpriced == doubts) or None,
    )
