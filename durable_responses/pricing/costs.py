"""What a response costs in USD, and what one may cost at most. Plain Python, no I/O.

The prices are those of the library `genai-prices`, which come with it, and the operator's or the run's own. The library
silently takes the standard price for a tier, or a kind of token, that it has no price for; here that is a cost that is
not known, with a reason.
"""

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlsplit

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from durable_responses.pricing.rates import AUTO, Billed, Cost, PerToken, Rates, Tier

OPENAI = "openai"
PRICED_HOSTS: Mapping[str, str] = {"api.openai.com": OPENAI}
"""The hosts whose prices are known, and the library's name for each provider. Of others it would guess."""
SOURCE = f"genai-prices {importlib.metadata.version('genai-prices')}"
OWN_PRICES = "own prices"
_NO_CACHE_WRITES = f"{SOURCE} has no price for this model's cache writes"
_SPELLINGS = {"fast": Tier.PRIORITY, "standard": Tier.DEFAULT}  # `fast` is answered as `priority`
_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|20\d{6})$")  # of a snapshot: `gpt-5.4-2026-03-05`
_LONGEST_NAME = 100  # characters of what a provider has named
_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1000)
_THOUSAND_TOKENS = 1000


@dataclass(frozen=True)
class Prices:
    """The prices that hold for one provider.

    `base_url`: where its responses come from. `own`: rates by model, or by model and tier (`gpt-5.4/flex`); they come
    before the library's, and those of a model hold for its dated snapshots too.
    `hosts`: further hosts that bill as a provider that the library knows.
    """

    base_url: str
    own: Mapping[str, Rates] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    def with_own(self, more: Mapping[str, Rates]) -> "Prices":
        """The same with further rates, which come first."""
        return Prices(self.base_url, {**self.own, **more}, self.hosts) if more else self

    @property
    def are_known(self) -> bool:
        """Whether anything has a price at all: the provider's host is known, or there are rates of its own."""
        return self._provider_id is not None or bool(self.own)

    def cost_of(self, billed: Billed) -> Cost:
        """What a response costs."""
        tier, why = _tier_of(billed)
        if tier is None:
            return Cost(None, unpriced=(*billed.doubts, why))
        rates = self._own_rates(billed.model, tier)
        cost = _by_own(rates, billed) if rates is not None else self._by_library(billed, tier)
        return replace(cost, usd=None, unpriced=(*billed.doubts, *cost.unpriced)) if billed.doubts else cost

    def dearest(self, model: str, tiers: Sequence[str], input_tokens: int, at: datetime) -> PerToken | None:
        """What a token of a response with so much input may cost at most; None where a price is missing.

        Nothing of its input is cached, unless that is dearer, all of it may be written to the cache, and of the tiers
        the dearest counts.
        Calls of hosted tools come on top.
        """
        found, tokens = [], max(1, input_tokens)
        for tier in dict.fromkeys(tier for asked in tiers or [Tier.DEFAULT] for tier in self._tiers(model, asked)):
            for cached, written in ((0, 0), (0, tokens), (tokens, 0)):
                cost = self.cost_of(Billed(model, at, tokens, cached, written, 0, 0, tier=tier))
                both = self.cost_of(Billed(model, at, tokens, cached, written, 0, _THOUSAND_TOKENS, tier=tier))
                if cost.usd is not None and both.usd is not None:
                    found.append(PerToken(cost.usd / tokens, (both.usd - cost.usd) / _THOUSAND_TOKENS))
                elif not written or not _has_no_cache_writes(cost):
                    return None
        if not found:
            return None
        return PerToken(max(rate.input for rate in found), max(rate.output for rate in found))

    def steps_before(self, model: str, input_tokens: int, at: datetime) -> int:
        """How many steps the price has below so much input: between two of them it is the same for each token."""
        known = self._model(model)
        standard = known.get_prices(at.astimezone(UTC)).input_mtok if known else None
        if not isinstance(standard, TieredPrices):
            return 0
        return sum(input_tokens > tier.start for tier in standard.tiers)

    def _tiers(self, model: str, asked: str) -> list[str]:
        """The tiers at which a response may be billed for which this one is asked."""
        if asked != AUTO:
            return [asked]
        known = self._model(model)
        offered = {str(variant.when.get("service_tier")) for variant in (known.price_variants if known else None) or []}
        owned = {tier for tier in Tier if tier is not Tier.DEFAULT and self._own_rates(model, tier) is not None}
        return [Tier.DEFAULT, *(tier for tier in Tier if tier in owned or tier in offered)]

    @property
    def _host(self) -> str:
        return (urlsplit(self.base_url).hostname or "").lower()

    @property
    def _provider_id(self) -> str | None:
        return {**PRICED_HOSTS, **self.hosts}.get(self._host)

    def _nobody_has_said(self, model: str) -> str:
        charges = f"nobody has said what {self._host or 'this provider'} charges"
        return f"{charges} for the model {_named(model)}" if self.own else charges

    @property
    def _provider(self) -> Provider | None:
        providers = get_snapshot().providers if self._provider_id else []
        return next((provider for provider in providers if provider.id == self._provider_id), None)

    def _model(self, name: str) -> ModelInfo | None:
        provider = self._provider
        return provider.find_model(name) if provider else None

    def _own_rates(self, model: str, tier: str) -> Rates | None:
        for name in dict.fromkeys((model, _DATE.sub("", model))):
            found = self.own.get(f"{name}/{tier}") or (self.own.get(name) if tier == Tier.DEFAULT else None)
            if found is not None:
                return found
        return None

    def _by_library(self, billed: Billed, tier: str) -> Cost:
        if tier not in list(Tier):
            return Cost(None, unpriced=(f"the price of the tier {_named(tier)} is not known",))
        model = self._model(billed.model)
        if self._provider_id is None:
            return Cost(None, unpriced=(self._nobody_has_said(billed.model),))
        if self._provider is None:
            return Cost(None, unpriced=(f"{SOURCE} knows no provider {_named(self._provider_id)}",))
        if not billed.model:
            return Cost(None, unpriced=("the response does not name its model",))
        if model is None:
            return Cost(None, unpriced=(f"{SOURCE} has no price for the model {_named(billed.model)}",))
        variants = {variant.when.get("service_tier") for variant in model.price_variants or []}
        if tier != Tier.DEFAULT and tier not in variants:
            return Cost(None, unpriced=(f"{SOURCE} has no {tier} price for the model {model.id}",))
        created_at = billed.created_at.astimezone(UTC)
        cached, written = _parts_of_input(billed)
        usage = genai_prices.Usage(
            input_tokens=billed.input_tokens,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            output_tokens=billed.output_tokens,
        )
        try:
            calculation = genai_prices.calc_price(
                usage,
                billed.model,
                provider_id=self._provider_id,
                genai_request_timestamp=created_at,
                price_context={"service_tier": str(tier)},
            )
        except (LookupError, ValueError) as error:
            return Cost(None, unpriced=(f"{SOURCE} has no price for it: {error}",))
        price = calculation.model_price
        calls, unpriced = _calls(billed, _library_calls(price))
        unpriced += _unpriced_tokens(billed, price, model.get_prices(created_at))
        return _cost(calculation.total_price + calls, unpriced, SOURCE)


def _parts_of_input(billed: Billed) -> tuple[int, int]:
    """Of the input what was read from the cache and what was written to it, whatever the provider says."""
    cached = min(billed.cached_tokens, billed.input_tokens)
    return cached, min(billed.cache_write_tokens, billed.input_tokens - cached)


def _named(name: str) -> str:
    return name[:_LONGEST_NAME]


def _has_no_cache_writes(cost: Cost) -> bool:
    """Whether that is all that has no price: what is written to the cache is then billed as other input."""
    return cost.unpriced == (_NO_CACHE_WRITES,)


def _tier_of(billed: Billed) -> tuple[str | None, str]:
    """The tier that a response was billed at; None where that is not known, and why."""
    if billed.completion_window not in (None, "soonest"):
        return None, f"the price of the completion window {_named(billed.completion_window)} is not known"
    if not billed.tier and billed.tier_asked not in (None, Tier.DEFAULT):
        asked = _named(billed.tier_asked or "")
        return None, f"the tier {asked} was asked for, and the response does not name the one it had"
    named = billed.tier or Tier.DEFAULT
    return _SPELLINGS.get(named, named), ""


def _by_own(rates: Rates, billed: Billed) -> Cost:
    cached, written = _parts_of_input(billed)
    tokens = (
        (billed.input_tokens - cached - written) * rates.input
        + cached * (rates.cached_input if rates.cached_input is not None else rates.input)
        + written * (rates.cache_write if rates.cache_write is not None else rates.input)
        + billed.output_tokens * rates.output
    ) / _MILLION
    calls, unpriced = _calls(billed, rates)
    return _cost(tokens + calls, unpriced, OWN_PRICES)


def _cost(known: Decimal, unpriced: list[str], source: str) -> Cost:
    return Cost(None if unpriced else known, known, tuple(unpriced), source)


def _library_calls(price: ModelPrice) -> Rates:
    """The library's prices of calls; it has none of containers and of images."""
    return Rates(
        input=Decimal(0),
        output=Decimal(0),
        web_search=_flat(price.web_searches_kcount),
        file_search=_flat(price.storage_searches_kcount),
    )


def _flat(price: Decimal | TieredPrices | None) -> Decimal | None:
    return price.base if isinstance(price, TieredPrices) else price


def _calls(billed: Billed, rates: Rates) -> tuple[Decimal, list[str]]:
    """The price of the hosted tools' calls, and what of them has none."""
    known, unpriced = Decimal(0), []
    for what, count, rate, per in (
        ("web searches", billed.web_searches, rates.web_search, _THOUSAND),
        ("file searches", billed.file_searches, rates.file_search, _THOUSAND),
        ("code interpreter containers", billed.code_interpreters, rates.code_interpreter, Decimal(1)),
        ("images", billed.images, rates.image, Decimal(1)),
    ):
        if count and rate is None:
            unpriced.append(f"{count} {what}: their price is not known")
        elif count and rate is not None:
            known += count * rate / per
    return known, unpriced


def _unpriced_tokens(billed: Billed, price: ModelPrice, standard: ModelPrice) -> list[str]:
    """What the library has taken the wrong price for, without a word."""
    unpriced = []
    if billed.cache_write_12h_tokens:
        unpriced.append("the price of what is kept in the cache for 12 hours is not known")
    elif billed.cache_write_tokens and price.cache_write_mtok is None:
        unpriced.append(_NO_CACHE_WRITES)
    step = standard.input_mtok
    if (
        isinstance(step, TieredPrices)
        and not isinstance(price.input_mtok, TieredPrices)
        and any(billed.input_tokens > tier.start for tier in step.tiers)
    ):
        unpriced.append(f"{SOURCE} has no price for so long an input at this tier")
    return unpriced
