"""What a response may cost at most, worked out in the activity that is about to create it, and set aside.

A run's budget costs no activity of its own: the create is told what is left, lowers its `max_output_tokens` to what
that bears, or does not send at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from pydantic_core import to_jsonable_python
from temporalio.exceptions import ApplicationError

from durable_responses.activities.failures import invalid_input, over_budget
from durable_responses.activities.inputs import InputError
from durable_responses.activities.messages import BudgetLeft, CreateResponse, OverBudget
from durable_responses.pricing.rates import AUTO, BudgetLine, PerToken, Rates
from durable_responses.pricing.reservations import (
    LEAST_OUTPUT,
    Exceeds,
    Fits,
    Left,
    most_output,
    most_tokens_of,
    reserved,
)
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import ResponsesError
from durable_responses.responses_api.models import CreateRequest

LOWERED = "max_output_tokens is lowered to what the budget bears"
_TOLD_BELOW = 16_384  # tokens of output that nobody asked for: more is rarely missed
_NO_PRICE = "{0} has no price here; give its `prices`, or a budget of tokens instead"
_NOT_COUNTED = "its input is more than text, or of unknown length, and the server does not count its tokens"
_GIVEN_TO_THE_MODEL = ("input", "instructions", "tools", "text")
_MOST_KNOWN = 1000  # prices


class PriceTable(Protocol):
    """The prices that hold for a worker's provider (`pricing.costs.Prices`)."""

    @property
    def are_known(self) -> bool:
        """Whether anything has a price at all."""

    def with_own(self, more: dict[str, Rates]) -> "PriceTable":
        """The same with further rates."""

    def dearest(self, model: str, tiers: Sequence[str], input_tokens: int, at: datetime) -> PerToken | None:
        """What a token may cost at most; None where a price is missing."""

    def steps_before(self, model: str, input_tokens: int, at: datetime) -> int:
        """How many steps the price has below so much input."""


@dataclass(frozen=True)
class WorstCase:
    """What a response has at most, where that can be worked out.

    `is_lowered`: its output is less than it was to have, since the budget of its tenant bears no more.
    """

    input_tokens: int | None
    output_tokens: int
    per_token: PerToken | None
    is_lowered: bool = False

    @property
    def least(self) -> "WorstCase":
        """With no more output than makes it worth being created."""
        return replace(self, output_tokens=min(self.output_tokens, LEAST_OUTPUT), is_lowered=True)

    def within(self, left: Left) -> "WorstCase":
        """With as much output as this bears, which is enough."""
        fits = reserved(left, self.input_tokens, self.output_tokens, self.per_token)
        return (
            replace(self, output_tokens=fits.output_tokens, is_lowered=True) if isinstance(fits, Fits) else self.least
        )

    @property
    def usd(self) -> float | None:
        """What it costs then."""
        return None if self.exact_usd is None else float(self.exact_usd)

    @property
    def tokens(self) -> int | None:
        """How many there are, of both kinds."""
        return None if self.input_tokens is None else self.input_tokens + self.output_tokens

    @property
    def exact_usd(self) -> Decimal | None:
        """The same to the last digit."""
        if self.input_tokens is None or self.per_token is None:
            return None
        return self.input_tokens * self.per_token.input + self.output_tokens * self.per_token.output


@dataclass
class Reserving:
    """Sets aside what a create may cost. Without `prices` nothing has one."""

    client: ResponsesClient | None = None
    prices: PriceTable | None = None
    _known: dict[tuple[str, str, int, str], PerToken | None] = field(default_factory=dict)

    async def request_within(
        self, create: CreateResponse, request: CreateRequest, own: Sequence[Any]
    ) -> tuple[CreateRequest, WorstCase]:
        """The request with as much output as the run's budget bears, and what its response has at most.

        `own`: the items that the create adds to its conversation. Raises `ApplicationError` for one that may cost more
        than is left.
        """
        if create.budget is None and self._prices_of(create) is None:  # then nobody asks
            return request, WorstCase(None, most_output(request.model, create.options.max_output_tokens), None)
        worst = self._worst_case(create, request, own)
        if create.budget is None:
            return request, worst
        left = _left(create.budget)
        fits = reserved(left, worst.input_tokens, worst.output_tokens, worst.per_token)
        if isinstance(fits, Exceeds) and (counted := await self._counted(request)) is not None:
            worst = WorstCase(counted, worst.output_tokens, self._per_token(create, request.model, counted))
            fits = reserved(left, counted, worst.output_tokens, worst.per_token)
        if isinstance(fits, Exceeds):
            raise _refused(create, request.model, worst, fits)
        if create.compacts:  # one that is cut is of no use
            return request, worst
        worst = WorstCase(worst.input_tokens, fits.output_tokens, worst.per_token)
        return request.model_copy(update={"max_output_tokens": fits.output_tokens}), worst

    def _prices_of(self, create: CreateResponse) -> PriceTable | None:
        """The prices that hold for a run, of which its own come first; None where nothing has a price."""
        if self.prices is None:
            return None
        prices = self.prices.with_own((create.prices and create.prices.rates) or {})
        return prices if prices.are_known else None

    async def bounded(
        self, create: CreateResponse, request: CreateRequest, own: Sequence[Any], found: WorstCase
    ) -> WorstCase:
        """The same where it is known, else worked out; the server counts the input where nobody else knows it."""
        if found.input_tokens is None:
            found = self._worst_case(create, request, own)
        if found.input_tokens is not None or (counted := await self._counted(request)) is None:
            return found
        return WorstCase(counted, found.output_tokens, self._per_token(create, request.model, counted))

    def _worst_case(self, create: CreateResponse, request: CreateRequest, own: Sequence[Any]) -> WorstCase:
        most_input = _most_input(create, request, own)
        most = most_output(request.model, create.options.max_output_tokens)
        if create.compacts and most_input is not None:
            most = min(most, most_input)
        per_token = self._per_token(create, request.model, most_input) if most_input is not None else None
        return WorstCase(most_input, most, per_token)

    def _per_token(self, create: CreateResponse, model: str, input_tokens: int) -> PerToken | None:
        """The dearest price of a token. The table is asked once an hour for each step of a model's prices."""
        prices, at = self._prices_of(create), datetime.now(UTC)
        tier = (create.prices.tier if create.prices else None) or AUTO
        if prices is None:
            return None
        if prices is not self.prices:  # a run's own are kept for no other
            return prices.dearest(model, [tier], input_tokens, at)
        key = (model, tier, prices.steps_before(model, input_tokens, at), at.strftime("%Y%m%d%H"))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = prices.dearest(model, [tier], input_tokens, at)
        return self._known[key]

    async def _counted(self, request: CreateRequest) -> int | None:
        """The request's tokens as the server counts them; None where it does not."""
        if self.client is None:
            return None
        try:
            return await self.client.input_tokens(request)
        except ResponsesError:
            return None


def _refused(create: CreateResponse, model: str, worst: WorstCase, exceeds: Exceeds) -> ApplicationError:
    if exceeds.least is not None and exceeds.most is not None:
        return over_budget(OverBudget(line=exceeds.line, least=float(exceeds.least), most=float(exceeds.most)))
    lacks_price = exceeds.line is BudgetLine.USD and worst.input_tokens is not None
    if lacks_price and create.iteration == 1:  # nothing has been paid for
        return invalid_input(InputError("budget.usd", _NO_PRICE.format(model)))
    return over_budget(OverBudget(line=exceeds.line, why=_NO_PRICE.format(model) if lacks_price else _NOT_COUNTED))


def notice_of(create: CreateResponse, worst: WorstCase) -> list[str]:
    """What is said where a response may have less output than it is likely to want."""
    asked = create.options.max_output_tokens or _TOLD_BELOW
    return [LOWERED] if (create.budget is not None or worst.is_lowered) and worst.output_tokens < asked else []


def _left(budget: BudgetLeft) -> Left:
    usd = None if budget.usd is None else Decimal(str(budget.usd))
    return Left(usd, budget.tokens)


def _most_input(create: CreateResponse, request: CreateRequest, own: Sequence[Any]) -> int | None:
    """The most tokens of input: what the conversation carries with what is new, or all where all of it is sent."""
    if create.carried_tokens is not None:
        new = [*create.new_items, *create.texts] if create.rebuild_from else own
        most = most_tokens_of(to_jsonable_python(new))
        return None if most is None else create.carried_tokens + most
    if request.previous_response_id is not None:
        return None
    body = request.body()
    return most_tokens_of([body.get(part) for part in _GIVEN_TO_THE_MODEL])
