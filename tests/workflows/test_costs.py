"""What a run has cost: the sum by tables, and whole runs whose ledger is the emulator's bill."""

from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.activities.messages import ResponseCost
from durable_responses.emulator.faults import Answer, End, Fault, Operation
from durable_responses.emulator.model.script import Ending
from durable_responses.pricing.rates import Rates
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.settings import Settings
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    Budget,
    ResponseUsage,
    RunCost,
    TransportChoice,
)
from durable_responses.workflows.costs import NOT_PRICED, NOT_TOLD, cost_text, spent_usd, sum_of, together, usd
from tests.support.chainless_servers import Chain, ChainlessServer, serving
from tests.support.emulator_control import RunningEmulator
from tests.support.ledgers import RATES, cost_of
from tests.support.runs import Agents, agents_at, progress, reached, result_of

# --- the sum -----------------------------------------------------------------------------------------------------


def entry(status: str = "completed", **cost: Any) -> ResponseUsage:
    priced = ResponseCost(**cost) if cost else None
    return ResponseUsage(response_id="resp_1", iteration=1, status=status, cost=priced)


def test_what_was_not_used_is_wasted_and_cents_add_up() -> None:
    entries = [entry(usd=0.1) for _ in range(10)] + [entry(status, usd=0.7) for status in ("cancelled", "superseded")]
    assert sum_of([*entries, entry("compaction", usd=0.2)]) == RunCost(usd=2.6, known=2.6, wasted=1.4)


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        (
            entry(known=0.4, unpriced=["1 images: their price is not known"]),
            (0.9, 0.0, "1 images: their price is not known"),
        ),
        (entry("lost"), (0.5, 0.0, NOT_TOLD)),
        (entry("ambiguous"), (0.5, 0.0, NOT_TOLD)),
        (entry("completed"), (0.5, 0.0, NOT_PRICED)),
        (entry("failed", known=0.4, unpriced=["w"]), (0.9, 0.4, "w")),
    ],
)
def test_a_cost_that_is_not_known_is_counted_and_never_nothing(
    unknown: ResponseUsage, expected: tuple[float, float, str]
) -> None:
    total = sum_of([entry(usd=0.5), unknown])
    assert (total.usd, total.unknown) == (None, 1)
    assert (total.known, total.wasted, total.why[0]) == expected


def test_what_the_unknown_ones_cost_at_most_is_added_where_all_of_it_can_be_worked_out() -> None:
    lost = [entry("lost").model_copy(update={"at_most": most}) for most in (0.25, 1.0)]
    assert sum_of([entry(usd=0.5), *lost]).at_most == 1.75
    assert sum_of([entry(usd=0.5), *lost, entry("lost")]).at_most is None
    assert sum_of([entry(usd=0.5), lost[0], entry("lost"), lost[1]]).at_most is None
    assert sum_of([entry(usd=0.5)]).at_most is None
    assert spent_usd([entry(usd=0.5), *lost, entry("lost"), entry(known=0.1, unpriced=["w"])]) == 1.85


def test_the_costs_of_runs_are_known_if_each_is() -> None:
    known, unknown = RunCost(usd=1.5, known=1.5, wasted=0.5), RunCost(usd=None, known=0.2, unknown=2, why=["w"])
    assert together(known, known) == RunCost(usd=3.0, known=3.0, wasted=1.0)
    assert together(known, unknown) == RunCost(usd=None, known=1.7, wasted=0.5, unknown=2, why=["w"])


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00 USD"),
        (4.1, "4.10 USD"),
        (1234.5, "1234.50 USD"),
        (0.41, "0.41 USD"),
        (0.0031, "0.0031 USD"),
        (0.05, "0.050 USD"),
    ],
)
def test_money_is_written_with_the_digits_that_count(amount: float, text: str) -> None:
    assert usd(amount) == text


def test_what_is_shown_says_at_least_where_not_all_is_known() -> None:
    assert cost_text(RunCost(usd=1.5, known=1.5, wasted=0.5)) == "1.50 USD (0.50 USD of it wasted)"
    assert cost_text(RunCost(usd=None, known=1.5, unknown=1)) == "at least 1.50 USD"
    assert cost_text(RunCost(usd=None, known=1.5, at_most=2, unknown=1)) == "at least 1.50 USD, at most 2.00 USD"
    assert cost_text(RunCost(usd=1.5, known=1.5), 5) == "1.50 of 5.00 USD"
    assert cost_text(RunCost(usd=None, unknown=1)) is None
    assert cost_text(None) is None


# --- whole runs --------------------------------------------------------------------------------------------------

CALLS = 'calls?iterations=3&tool=add&arguments={"a":1,"b":2}'
TRANSPORTS = [TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET]


def asks(scenario: str = CALLS, transport: TransportChoice = TransportChoice.BACKGROUND, **fields: Any) -> AgentInput:
    return AgentInput(
        task="Do it.",
        model="gpt-5.4",
        prices={"gpt-5.4": Rates.model_validate(RATES)},
        transport=transport,
        metadata={"scenario": scenario},
        **fields,
    )


async def billed(agents: Agents, run: Any) -> Decimal:
    """What the emulator's bill says that a run has cost."""
    return sum(map(cost_of, await agents.responses(run)), Decimal(0))


def known(result: AgentResult) -> Decimal:
    assert result.cost is not None
    return Decimal(str(result.cost.known))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_runs_ledger_is_its_bill(agents: Agents, transport: TransportChoice) -> None:
    run = await agents.start(asks(transport=transport))
    result = await result_of(run)
    assert result.cost is not None
    assert (result.status, result.cost.unknown, result.cost.wasted) == ("completed", 0, 0)
    assert known(result) == await billed(agents, run) > 0
    assert {response.cost.source for response in result.responses if response.cost} == {"own prices"}
    assert (await progress(run)).cost == result.cost


async def test_without_prices_the_cost_is_not_known_and_says_why(agents: Agents) -> None:
    result = await agents.run(AgentInput(task="Do it.", tools=[]))
    assert result.cost is not None
    assert (result.cost.usd, result.cost.known, result.cost.unknown) == (None, 0, 1)
    assert result.cost.why == [NOT_PRICED]


async def test_a_failed_response_that_is_created_again_is_wasted(agents: Agents) -> None:
    await agents.emulator.control.add_fault(
        Fault(
            operation=Operation.CREATE,
            effect=End(ending=Ending(status=ResponseStatus.FAILED, code="server_error")),
            times=1,
        )
    )
    run = await agents.start(asks())
    result = await result_of(run)
    assert result.cost is not None
    assert [response.status for response in result.responses][:2] == ["failed", "completed"]
    assert known(result) == await billed(agents, run)
    assert (result.cost.wasted > 0) is any(r.status == "failed" and r.total_tokens for r in result.responses)


@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_a_cancelled_response_is_in_the_ledger(agents: Agents, transport: TransportChoice) -> None:
    run = await agents.start(asks("think?seconds=60", transport=transport))
    await reached(run, lambda state: state.response_id is not None)
    await run.signal("cancel")
    result = await result_of(run)
    assert result.cost is not None
    assert (result.status, len(result.responses)) == ("cancelled", 1)
    assert known(result) == await billed(agents, run) or result.cost.unknown == 1


async def test_a_create_of_which_nobody_knows_is_an_entry_of_its_own(agents: Agents) -> None:
    await agents.emulator.control.add_fault(
        Fault(operation=Operation.CREATE, effect=Answer(status=500, message="Gone wrong."), times=1)
    )
    run = await agents.start(asks())
    result = await result_of(run)
    assert result.cost is not None
    assert result.ambiguous_creates == sum(response.status == "ambiguous" for response in result.responses)
    assert result.cost.unknown == result.ambiguous_creates
    assert known(result) == await billed(agents, run)


# --- servers that count otherwise ----------------------------------------------------------------------------------


class CountsOddly(ChainlessServer):
    """A server whose responses have this `usage`, whatever they used."""

    def __init__(self, usage: Any, *, queues: bool) -> None:
        super().__init__(Chain.CONTINUED, queues=queues)
        self.usage = usage

    def answer(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, body = super().answer(asked)
        return status, {**body, "usage": self.usage}


MORE_CACHED = {"input_tokens": 5, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 9}}


@pytest.mark.parametrize("usage", [None, {}, MORE_CACHED])
@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_what_cannot_be_the_usage_that_is_billed_leaves_the_cost_unknown(
    client: Client, emulator: RunningEmulator, settings: Settings, transport: TransportChoice, usage: Any
) -> None:
    queues = transport is TransportChoice.BACKGROUND
    with serving(CountsOddly(usage, queues=queues)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(transport=transport, tools=["add"], max_output_tokens=1_024))
    assert (result.status, len(result.responses)) == ("completed", 2)
    assert result.cost is not None
    assert (result.cost.usd, result.cost.unknown) == (None, 2)
    assert result.cost.why[0].startswith("the provider ")
    assert result.responses[0].at_most is not None  # what the second one is given of the first, nobody has counted
    assert result.responses[0].at_most > 1.024


@pytest.mark.parametrize("budget", [{"usd": 5}, {"tokens": 5_000}])
async def test_responses_whose_usage_is_not_known_use_up_a_budget(
    client: Client, emulator: RunningEmulator, settings: Settings, budget: dict[str, Any]
) -> None:
    """Else such a run would go on for ever."""
    server = CountsOddly(None, queues=False)
    server.calls = 20
    limits = Budget.model_validate({**budget, "on_exceeded": "stop"})
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(
                asks(
                    transport=TransportChoice.STREAM,
                    tools=["add"],
                    max_output_tokens=1_024,
                    max_iterations=25,
                    budget=limits,
                )
            )
    assert (result.status, result.incomplete_reason) == ("incomplete", "budget")
    assert 0 < len(result.responses) < 5
