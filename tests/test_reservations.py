"""What is set aside for a response, by tables: the bound of its input, and the output that a budget bears."""

import json
from decimal import Decimal
from typing import Any

import pytest

from durable_responses.pricing.rates import BudgetLine, PerToken
from durable_responses.pricing.reservations import Exceeds, Fits, Left, most_output, most_tokens_of, reserved

PRICE = PerToken(Decimal("0.001"), Decimal("0.01"))


@pytest.mark.parametrize(
    ("left", "input_tokens", "output_tokens", "expected"),
    [
        (Left(), None, 10_000, Fits(10_000)),
        (Left(tokens=20_000), 5_000, 10_000, Fits(10_000)),
        (Left(tokens=8_000), 5_000, 10_000, Fits(3_000)),
        (Left(tokens=6_024), 5_000, 10_000, Fits(1_024)),
        (Left(tokens=6_023), 5_000, 10_000, Exceeds(BudgetLine.TOKENS, Decimal(6_024), Decimal(15_000))),
        (Left(tokens=5_100), 5_000, 100, Fits(100)),  # fewer were asked for
        (Left(tokens=0), 0, 16, Exceeds(BudgetLine.TOKENS, Decimal(16), Decimal(16))),
        (Left(tokens=10**9), None, 16, Exceeds(BudgetLine.TOKENS)),
        (Left(usd=Decimal(105)), 5_000, 10_000, Fits(10_000)),
        (Left(usd=Decimal("104.99")), 5_000, 10_000, Fits(9_999)),
        (Left(usd=Decimal("15.24")), 5_000, 10_000, Fits(1_024)),
        (Left(usd=Decimal("15.23")), 5_000, 10_000, Exceeds(BudgetLine.USD, Decimal("15.24"), Decimal(105))),
        (Left(usd=Decimal(4)), 5_000, 16, Exceeds(BudgetLine.USD, Decimal("5.16"), Decimal("5.16"))),
        (Left(usd=Decimal(4), tokens=2), 5_000, 16, Exceeds(BudgetLine.TOKENS, Decimal(5_016), Decimal(5_016))),
        (Left(usd=Decimal(1000)), None, 16, Exceeds(BudgetLine.USD)),
    ],
)
def test_the_worst_case_fits_into_what_is_left_or_nothing_is_created(
    left: Left, input_tokens: int | None, output_tokens: int, expected: Fits | Exceeds
) -> None:
    assert reserved(left, input_tokens, output_tokens, PRICE) == expected


def test_what_has_no_price_does_not_fit_into_usd_and_what_costs_nothing_does() -> None:
    assert reserved(Left(usd=Decimal(1)), 10, 16, None) == Exceeds(BudgetLine.USD)
    assert reserved(Left(tokens=100), 10, 16, None) == Fits(16)
    assert reserved(Left(usd=Decimal(1)), 10, 16, PerToken(Decimal(0), Decimal(0))) == Fits(16)


@pytest.mark.parametrize("text", ["", "plain", "é" * 100, '"\\\n' * 50, "3f2b8c1e-aaaa", "猫" * 100])
def test_a_text_has_no_more_tokens_than_bytes(text: str) -> None:
    most = most_tokens_of([{"type": "message", "content": text}])
    assert most is not None
    assert most > len(json.dumps(text, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "item_reference", "id": "msg_1"},
    ],
)
def test_what_is_not_text_cannot_be_bounded_by_its_bytes(part: dict[str, Any]) -> None:
    assert most_tokens_of([{"type": "message", "content": [{"type": "input_text", "text": "t"}, part]}]) is None
    assert most_tokens_of([{"type": "function_call_output", "output": [part]}]) is None


@pytest.mark.parametrize(
    ("model", "asked", "most"),
    [
        ("gpt-5.4", None, 128_000),
        ("gpt-5.4", 500, 500),
        ("openai/gpt-4o-mini", None, 16_384),
        ("o3-pro", None, 100_000),
        ("somebody/else", None, 128_000),
    ],
)
def test_a_response_has_the_output_that_was_asked_for_or_the_most_that_its_model_gives(
    model: str, asked: int | None, most: int
) -> None:
    assert most_output(model, asked) == most
