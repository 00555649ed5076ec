"""What a response costs: the library's prices where they hold, the operator's, and "not known" for everything else."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from durable_responses.pricing.costs import OWN_PRICES, SOURCE, Prices
from durable_responses.pricing.rates import Billed, PriceList, Rates

AT = datetime(2026, 11, 1, tzinfo=UTC)
OPENAI = Prices("https://api.openai.com/v1")
NOT_NAMED = "the tier {} was asked for, and the response does not name the one it had"
PLAIN = Billed("gpt-5.4", AT, input_tokens=100_000, output_tokens=10_000, tier="default")


@pytest.mark.parametrize(
    ("billed", "usd"),
    [
        (PLAIN, "0.40"),
        (replace(PLAIN, tier=None), "0.40"),
        (replace(PLAIN, cached_tokens=80_000), "0.22"),
        (replace(PLAIN, tier="flex"), "0.20"),
        (replace(PLAIN, tier="priority"), "0.80"),
        (replace(PLAIN, tier="fast"), "0.80"),
        (replace(PLAIN, tier="default", tier_asked="priority"), "0.40"),  # what the response names is billed
        (replace(PLAIN, input_tokens=272_000, output_tokens=0), "0.68"),
        (replace(PLAIN, input_tokens=272_001, output_tokens=0), "1.360005"),  # all of it at the price of long inputs
        (replace(PLAIN, web_searches=3), "0.43"),
        (replace(PLAIN, file_searches=4), "0.41"),
        (replace(PLAIN, model="gpt-6-astra", cache_write_tokens=20_000, cached_tokens=50_000), "1.10"),
        (replace(PLAIN, completion_window="soonest"), "0.40"),
    ],
)
def test_a_response_costs_what_its_tokens_calls_and_tier_cost(billed: Billed, usd: str) -> None:
    cost = OPENAI.cost_of(billed)
    assert cost.usd == cost.known == Decimal(usd)
    assert (cost.unpriced, cost.source) == ((), SOURCE)


@pytest.mark.parametrize(
    ("billed", "known", "why"),
    [
        (replace(PLAIN, model="no-such-model"), "0", f"{SOURCE} has no price for the model no-such-model"),
        (replace(PLAIN, tier="ultrafast"), "0", "the price of the tier ultrafast is not known"),
        (replace(PLAIN, tier="scale"), "0", "the price of the tier scale is not known"),
        (replace(PLAIN, tier="auto"), "0", "the price of the tier auto is not known"),
        (
            replace(PLAIN, tier=None, tier_asked="auto"),
            "0",
            NOT_NAMED.format("auto"),
        ),
        (replace(PLAIN, completion_window="8h"), "0", "the price of the completion window 8h is not known"),
        (
            replace(PLAIN, model="gpt-6-astra", cache_write_tokens=20_000, cache_write_12h_tokens=20_000),
            "1.55",
            "the price of what is kept in the cache for 12 hours is not known",
        ),
        (replace(PLAIN, cache_write_tokens=10), "0.4", f"{SOURCE} has no price for this model's cache writes"),
        (
            replace(PLAIN, tier="priority", input_tokens=300_000),
            "1.8",
            f"{SOURCE} has no price for so long an input at this tier",
        ),
        (replace(PLAIN, code_interpreters=1), "0.4", "1 code interpreter containers: their price is not known"),
        (replace(PLAIN, images=2), "0.4", "2 images: their price is not known"),
        (replace(PLAIN, doubts=("nobody knows",)), "0.4", "nobody knows"),
        (replace(PLAIN, tier="", tier_asked="flex"), "0", NOT_NAMED.format("flex")),
        (replace(PLAIN, model="gpt-5.4-of-tomorrow"), "0", f"{SOURCE} has no price for the model gpt-5.4-of-tomorrow"),
    ],
)
def test_what_has_no_price_is_not_known_and_never_taken_for_the_standard_price(
    billed: Billed, known: str, why: str
) -> None:
    cost = OPENAI.cost_of(billed)
    assert (cost.usd, cost.known, cost.unpriced) == (None, Decimal(known), (why,))


def test_a_host_that_nobody_has_mapped_has_no_prices() -> None:
    assert Prices("http://127.0.0.1:4010/v1").cost_of(PLAIN).usd is None
    assert Prices("https://gateway.example/v1").cost_of(PLAIN).unpriced == (
        "nobody has said what gateway.example charges",
    )
    mapped = Prices("https://gateway.example/v1", hosts={"gateway.example": "openai"})
    assert mapped.cost_of(PLAIN).usd == Decimal("0.4")


def test_a_host_that_is_mapped_to_a_provider_that_nobody_knows_says_so() -> None:
    mapped = Prices("https://gateway.example/v1", hosts={"gateway.example": "opanai"})
    assert mapped.cost_of(PLAIN).unpriced == (f"{SOURCE} knows no provider opanai",)
    assert mapped.dearest("gpt-5.4", [], 100, AT) is None


@pytest.mark.parametrize(
    "host", ["https://gateway.example", "gateway.example/v1", "gateway.example:8443", "", "*.example"]
)
def test_a_host_is_given_without_scheme_port_and_path(host: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        PriceList(hosts={host: "openai"})
    assert PriceList(hosts={"Gateway.Example": "openai", "[::1]": "openai"}).hosts == {
        "gateway.example": "openai",
        "::1": "openai",
    }


def test_a_response_that_does_not_name_its_model_has_no_price() -> None:
    assert OPENAI.cost_of(replace(PLAIN, model="")).unpriced == ("the response does not name its model",)


def test_prices_hold_at_the_time_of_the_response() -> None:
    [then, now] = [
        OPENAI.cost_of(replace(PLAIN, model="gpt-5.6-sol", created_at=at)).usd
        for at in (datetime(2026, 7, 1, tzinfo=UTC), AT)
    ]
    assert (then, now) == (Decimal("0.8"), Decimal("0.6"))


def test_own_prices_come_before_the_librarys_and_hold_for_any_host() -> None:
    rates = Rates(input=Decimal(1), cached_input=Decimal("0.1"), output=Decimal(2), code_interpreter=Decimal("0.03"))
    prices = Prices("http://127.0.0.1:4010/v1", own={"gpt-5.4": rates})
    cost = prices.cost_of(replace(PLAIN, cached_tokens=50_000, code_interpreters=2))
    assert (cost.usd, cost.source) == (Decimal("0.135"), OWN_PRICES)
    assert prices.cost_of(replace(PLAIN, web_searches=1)).usd is None
    assert prices.cost_of(replace(PLAIN, tier="flex")).usd is None  # its price was given for no other tier
    flex = prices.with_own({"gpt-5.4/flex": Rates(input=Decimal("0.5"), output=Decimal(1))})
    assert flex.cost_of(replace(PLAIN, tier="flex")).usd == Decimal("0.06")
    assert prices.cost_of(replace(PLAIN, model="other")).unpriced == (
        "nobody has said what 127.0.0.1 charges for the model other",
    )


@pytest.mark.parametrize("model", ["mine", "mine-2026-03-05", "mine-20260305", "mine@20260305"])
def test_own_prices_of_a_model_hold_for_its_dated_snapshots(model: str) -> None:
    prices = Prices("http://127.0.0.1/v1", own={"mine": Rates(input=Decimal(1), output=Decimal(2))})
    assert prices.cost_of(replace(PLAIN, model=model)).usd == Decimal("0.12")
    dated = prices.with_own({model: Rates(input=Decimal(10), output=Decimal(20))})
    assert dated.cost_of(replace(PLAIN, model=model)).usd == Decimal("1.2")
    assert prices.cost_of(replace(PLAIN, model="mine-mini")).usd is None


def test_own_prices_may_be_of_any_tier() -> None:
    own = {"gpt-5.4/ultrafast": Rates(input=Decimal(10), output=Decimal(20))}
    prices = Prices("https://api.openai.com/v1", own=own)
    assert prices.cost_of(replace(PLAIN, tier="ultrafast")).usd == Decimal("1.2")
    assert prices.cost_of(replace(PLAIN, tier="default")).usd == Decimal("0.4")


def test_a_provider_that_counts_more_of_a_part_than_of_the_whole_stops_nobody() -> None:
    for model in ("gpt-5.4", "gpt-6-astra"):
        cost = OPENAI.cost_of(replace(PLAIN, model=model, cached_tokens=200_000, cache_write_tokens=300_000))
        assert cost.known > 0


@pytest.mark.parametrize(
    ("model", "tiers", "input_tokens", "usd"),
    [
        ("gpt-5.4", [], 100_000, "0.40"),
        ("gpt-5.4", ["flex"], 100_000, "0.20"),
        ("gpt-5.4", ["auto"], 100_000, "0.80"),  # the dearest tier that it may be
        ("gpt-5.4", [], 300_000, "1.725"),
        ("gpt-5.4", ["auto"], 300_000, None),  # priority has no price for so long an input
        ("gpt-6-astra", [], 100_000, "1.75"),  # all of it may be written to the cache
        ("gpt-5.4", ["ultrafast"], 100_000, None),
        ("no-such-model", [], 1, None),
    ],
)
def test_the_most_that_a_response_may_cost_takes_nothing_for_cached_and_the_dearest_tier(
    model: str, tiers: list[str], input_tokens: int, usd: str | None
) -> None:
    per_token = OPENAI.dearest(model, tiers, input_tokens, AT)
    most = per_token and input_tokens * per_token.input + 10_000 * per_token.output
    assert most == (None if usd is None else Decimal(usd))


def test_a_price_for_each_token_holds_up_to_the_next_step() -> None:
    steps = [OPENAI.steps_before("gpt-5.4", tokens, AT) for tokens in (1, 272_000, 272_001, 1_000_000)]
    assert steps == [0, 0, 1, 1]
    assert OPENAI.steps_before("no-such-model", 1_000_000, AT) == 0


@pytest.mark.parametrize("price", ["1e400", "9e999999", "-1", "NaN", "Infinity"])
def test_a_price_is_a_number_that_sums_can_be_made_of(price: str) -> None:
    with pytest.raises(ValueError, match="input"):
        Rates.model_validate({"input": price, "output": 1})


def test_a_model_with_a_dot_in_its_name_is_written_in_quotes() -> None:
    with pytest.raises(ValueError, match=r"4 is not a price; a model with a dot in its name is written in quotes"):
        PriceList.model_validate({"models": {"gpt-5": {"4": {"input": 1, "output": 2}}}})


def test_the_most_counts_what_is_cached_where_that_is_dearer() -> None:
    """Whatever an operator has written: a budget is not passed for it."""
    dear = Prices("https://h/v1", own={"m": Rates(input=Decimal(1), output=Decimal(1), cached_input=Decimal(9))})
    per_token = dear.dearest("m", [], 100, AT)
    assert per_token is not None
    assert per_token.input == Decimal("0.000009")
