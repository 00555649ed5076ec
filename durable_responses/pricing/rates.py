"""What prices are made of, and what a bill is: plain models, without the library that knows the prices.

Messages of runs and the input of a run hold them, so they load nothing that is slow.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Tier(StrEnum):
    """The service tiers that have a price. What a response names is what is billed."""

    DEFAULT = "default"
    FLEX = "flex"
    PRIORITY = "priority"


def not_a_truth(given: object) -> object:
    """What is to be a number, unless it is a truth value: true would be one. Raises `ValueError`."""
    if isinstance(given, bool):
        raise ValueError("must be a number")
    return given


class BudgetLine(StrEnum):
    """What a budget is counted in."""

    USD = "usd"
    TOKENS = "tokens"
    WORKING_SECONDS = "working_seconds"


_HOST = re.compile(r"[\w.\-:\[\]]+")
AUTO = "auto"
"""Not a rate: any tier that the project has."""


Price = Annotated[Decimal, Field(ge=0, le=1_000_000_000)]
"""USD; beyond the limit sums would no longer be numbers."""


class Rates(BaseModel):
    """The prices of one model, in USD: tokens by the million, searches by the thousand, sessions and images each.

    What has no price here has none: a response with it has a cost that is not known. `cached_input` and `cache_write`
    are what the part of the input that was read from the cache, or written to it, costs instead of `input`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Price
    output: Price
    cached_input: Price | None = None
    cache_write: Price | None = None
    web_search: Price | None = None
    file_search: Price | None = None
    code_interpreter: Price | None = None
    image: Price | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_one_model(cls, given: object) -> object:
        if isinstance(given, dict) and (
            inner := next((each for each in given.values() if isinstance(each, dict)), None)
        ):
            name = next(name for name, each in given.items() if each is inner)
            raise ValueError(
                f"{str(name)[:100]} is not a price; a model with a dot in its name is written in quotes, as in "
                '[models."gpt-5.4"]'
            )
        return given


class PriceList(BaseModel):
    """The prices of an operator.

    `models`: rates by model, or by model and tier (`gpt-5.4/flex`). `hosts`: the hosts whose prices are those of a
    known provider, such as `openai`, by the provider's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, Rates] = {}
    hosts: dict[str, str] = {}

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, hosts: dict[str, str]) -> dict[str, str]:
        for host in hosts:
            if not _HOST.fullmatch(host) or host.count(":") == 1:  # an address of IPv6 has more
                raise ValueError(f"{host!r} is not a host: give it without scheme, port and path")
        return {host.strip("[]").lower(): provider for host, provider in hosts.items()}


@dataclass(frozen=True)
class Billed:
    """What a bill is made of: one response as its provider reports it.

    `tier` is the one that the response names, `tier_asked` what its request asked for. Cached tokens and those written
    to the cache are part of the input. Then come counts, of calls, containers and images. `doubts`: why these numbers
    are not what is billed; then the cost is not known.
    """

    model: str
    created_at: datetime
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_12h_tokens: int = 0
    output_tokens: int = 0
    tier: str | None = None
    tier_asked: str | None = None
    completion_window: str | None = None
    web_searches: int = 0
    file_searches: int = 0
    code_interpreters: int = 0
    images: int = 0
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """What a response costs. `usd`: None where part of it has no price; then `known` is the rest, `unpriced` says why.

    `source`: where the prices are from.
    """

    usd: Decimal | None
    known: Decimal = Decimal(0)
    unpriced: tuple[str, ...] = ()
    source: str | None = None


@dataclass(frozen=True)
class PerToken:
    """What one token costs at most, in USD."""

    input: Decimal
    output: Decimal
