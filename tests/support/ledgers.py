"""The ledger of a run against the emulator's bill: they are equal, or the ledger says what it does not know."""

from datetime import UTC, datetime
from decimal import Decimal

from durable_responses.emulator.state.billing import Bill, BilledCompaction, BilledResponse
from durable_responses.pricing.costs import Prices
from durable_responses.pricing.rates import Billed, Rates
from durable_responses.workflows.contract import AgentResult, AgentStatus

MODEL = "gpt-5.4"
RATES = {"input": 100, "output": 1000, "cached_input": 10}
PRICES = {MODEL: RATES}
_KNOWN = Prices("http://127.0.0.1", {MODEL: Rates.model_validate(RATES)})


def cost_of(line: BilledResponse | BilledCompaction) -> Decimal:
    """What a line of the bill costs at these prices."""
    billed = Billed(
        model=line.model,
        created_at=datetime.fromtimestamp(line.created_at, UTC),
        input_tokens=line.input_tokens,
        cached_tokens=line.cached_tokens,
        output_tokens=line.output_tokens,
    )
    return _KNOWN.cost_of(billed).usd or Decimal(0)


def differences(result: AgentResult, bill: Bill) -> list[str]:
    """What the ledger does not say of the bill, as sentences: none where it adds up."""
    billed: list[BilledResponse | BilledCompaction] = [*bill.responses, *bill.compactions]
    lines = {line.id: cost_of(line) for line in billed}
    priced = [entry for entry in result.responses if entry.cost is not None and entry.cost.usd is not None]
    known = {entry.response_id: entry.cost.usd for entry in priced if entry.cost}
    unknown = [entry for entry in result.responses if entry.cost is None or entry.cost.usd is None]
    found = [
        f"{response_id} costs {lines.get(response_id or '')} on the bill, {usd} in the ledger"
        for response_id, usd in known.items()
        if lines.get(response_id or "") != Decimal(str(usd))
    ]
    others = {response_id: cost for response_id, cost in lines.items() if response_id not in known and cost}
    if len(others) > len(unknown):
        found.append(f"{others} are on the bill, and only {len(unknown)} entries are unknown")
    # The most that a create may have cost whose worker died is worked out with the next one: some runs have none.
    if result.status is AgentStatus.COMPLETED:
        unbounded = [entry for entry in unknown if entry.at_most is None and entry.cost is None]
        found += [f"the {entry.status} {entry.response_id} has no at_most" for entry in unbounded]
    most = sum(Decimal(str(entry.at_most or 0)) for entry in unknown)
    if sum(others.values(), Decimal(0)) > most and all(entry.at_most is not None for entry in unknown):
        found.append(f"{others} cost more than the {most} that the unknown entries may cost")
    return found
