"""What is set aside for a response before it is created, so that it cannot cost more than the budget has left.

Plain Python, no I/O. The worst case is taken: a token for each byte of what is new (that is the most for a tokenizer
that works on bytes; bytes ÷ 4 is 60 % too low on identifiers and base64), and as much output as the response may have.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from fnmatch import fnmatchcase
from typing import Any

from durable_responses.pricing.rates import BudgetLine, PerToken

LEAST_OUTPUT = 1024
"""The tokens of output below which a response is not worth being created, unless fewer were asked for."""
MOST_OUTPUT = 128_000
"""The most that a response of OpenAI's newer models may have; it is asked for where no other limit is known."""
_OLDER_MODELS: Mapping[str, int] = {"gpt-4o*": 16_384, "gpt-4.1*": 32_768, "o[1-4]*": 100_000}
"""As OpenAI's pages of these models say (looked up in November 2026); these refuse to be asked for more."""
_FRAME = 512  # tokens that surround what is sent: roles, the form of a schema, a tool that is offered from now on
_FRAME_OF_ITEM = 16
_NOT_TEXT = frozenset({"input_image", "input_file", "input_audio", "computer_screenshot", "item_reference"})


@dataclass(frozen=True)
class Left:
    """What a budget has left, in USD and in tokens; None where there is no such line."""

    usd: Decimal | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Fits:
    """The response may be created, with so much output."""

    output_tokens: int


@dataclass(frozen=True)
class Exceeds:
    """It may not. In the unit of the line: what it costs at least and at most; None where that is not known."""

    line: BudgetLine
    least: Decimal | None = None
    most: Decimal | None = None


def most_output(model: str, asked: int | None) -> int:
    """The tokens of output that a response may have."""
    name = model.rsplit("/", 1)[-1].lower()
    known = (most for pattern, most in _OLDER_MODELS.items() if fnmatchcase(name, pattern))
    return asked or next(known, MOST_OUTPUT)


def most_tokens_of(items: Any) -> int | None:
    """The most tokens that input items, or other parts of a request, may have; None where they are not all text."""
    if _has_other_than_text(items):
        return None
    data = json.dumps(items, ensure_ascii=False).encode(errors="replace")
    return len(data) + _FRAME + _FRAME_OF_ITEM * (len(items) if isinstance(items, list) else 1)


def _has_other_than_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return value.get("type") in _NOT_TEXT or any(map(_has_other_than_text, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_other_than_text, value))


def reserved(left: Left, input_tokens: int | None, output_tokens: int, per_token: PerToken | None) -> Fits | Exceeds:
    """Whether a response fits into what is left; its output may become less for that, down to `LEAST_OUTPUT`."""
    least = min(output_tokens, LEAST_OUTPUT)
    fits = output_tokens
    if left.tokens is not None:
        if input_tokens is None:
            return Exceeds(BudgetLine.TOKENS)
        fits = min(fits, left.tokens - input_tokens)
        if fits < least:
            return Exceeds(BudgetLine.TOKENS, Decimal(input_tokens + least), Decimal(input_tokens + output_tokens))
    if left.usd is not None:
        if input_tokens is None or per_token is None:
            return Exceeds(BudgetLine.USD)
        given = input_tokens * per_token.input
        if per_token.output > 0:
            borne = ((left.usd - given) / per_token.output).to_integral_value(ROUND_FLOOR)
            fits = int(min(Decimal(fits), borne))
        if given > left.usd or fits < least:
            most = given + output_tokens * per_token.output
            return Exceeds(BudgetLine.USD, given + least * per_token.output, most)
    return Fits(fits)
