"""`budgets`, and `budgets raise`."""

import secrets
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from temporalio.client import Client

from durable_responses.activities.till import Till
from durable_responses.pricing.tenant_budgets import Amount, Reserve, Settle, TenantBudgets, budget_id
from tests.support.shell import COMPLETED, USAGE, Shell


async def spends(client: Client, shell: Shell, tenant: str) -> str:
    """Let a tenant that has 10 USD a month spend 4, set 5 aside, and ask for more. Returns the window."""
    granted = TenantBudgets.model_validate({"tenants": {tenant: {"month": {"usd": 10, "tokens": 50_000}}}})
    [start] = granted.of(tenant, datetime.now(UTC))
    till = Till(client, shell.task_queue, budget_id(tenant, start.window, shell.task_queue))
    for number, cost in enumerate((4, 5, 3)):
        most = Amount(usd=Decimal(cost), tokens=1_000 * cost)
        await till.reserve(start, Reserve(key=f"run-{number}/1", job=f"job-{number}", most=most))
        if number == 0:
            till.settle(Settle(key="run-0/1"))
    await till.end()
    return start.window


async def test_budgets_are_shown_and_raised(shell: Shell, client: Client) -> None:
    tenant = f"tenant-{secrets.token_hex(4)}"
    window = await spends(client, shell, tenant)
    line = (
        f"{tenant}  {window}  4.00 USD of 10.00 USD spent, 5.00 USD set aside, 4,000 of 50,000 tokens, "
        "5,000 set aside, 1 response under way, 1 run waiting\n"
    )
    done = await shell.run("budgets")
    assert (done.code, done.out) == (COMPLETED, line)
    raised = await shell.run("budgets", "raise", tenant, window, "--usd", "50")
    again = line.replace("of 10.00 USD", "of 50.00 USD")
    assert (raised.code, raised.out) == (COMPLETED, f"{again}durable-responses respond job-2 retry\n")
    [standing] = (await shell.run("budgets", "--json")).json["budgets"]
    assert (standing["tenant"], standing["limit"]["usd"], standing["waiting"]) == (tenant, "50", ["job-2"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["raise", "acme", "2026-11", "--usd", "50"], "There is no budget of 'acme' for '2026-11'"),
        (["raise", "acme", "2026-11"], "Raise it to what?"),
        (["raise", "acme", "2026-11", "--usd", "plenty"], "is not a number of USD above 0"),
        (["rise"], "Did you mean 'raise'?"),
    ],
)
async def test_what_cannot_be_raised_is_refused_in_one_sentence(bare: Shell, words: list[str], why: str) -> None:
    done = await bare.run("budgets", *words)
    assert (done.code, done.out) == (USAGE, "")
    assert why in done.err
    assert done.err.count("\n") == 1


async def test_without_budgets_the_command_says_so(bare: Shell) -> None:
    done = await bare.run("budgets")
    assert (done.code, done.out) == (
        COMPLETED,
        "Nothing is spent of a tenant's budget, as far as workers have one (AGENT_BUDGETS).\n",
    )
