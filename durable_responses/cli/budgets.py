"""`budgets`: how the budgets of tenants stand; `budgets raise` raises one."""

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from pydantic import BaseModel

from durable_responses.cli.command import Connection, command, refused
from durable_responses.cli.output import ExitCode, Output, UsageError
from durable_responses.cli.times import counted
from durable_responses.nearest_name import did_you_mean
from durable_responses.pricing.tenant_budgets import Amount, TenantBudget
from durable_responses.shell_words import typed
from durable_responses.workflows.costs import usd

RAISE = "raise"


class Standing(BaseModel):
    """How one budget stands. `waiting`: the runs that it has refused, and that have not gone on since."""

    tenant: str
    window: str
    ends_at: str
    limit: Amount
    spent: Amount
    held: Amount
    responses_under_way: int
    waiting: list[str]


class BudgetList(BaseModel):
    """`budgets --json`."""

    budgets: list[Standing]


def budgets(arguments: Sequence[str]) -> ExitCode:
    """The command, and the one below it."""
    first = next(iter(arguments), "-")
    if first == RAISE:
        _raise(arguments[1:])
    if first.startswith("-"):
        _list(arguments)
    problem = f"No such command: budgets {first}.{did_you_mean(first, [RAISE])} See `durable-responses budgets --help`."
    return refused(problem, ExitCode.USAGE, Output(as_json="--json" in arguments))


def _list_nothing(*, output: Output, **_: object) -> ExitCode:
    return _print([], output)


@command("budgets", without_runs=_list_nothing)
async def _list(connection: Connection, output: Output) -> ExitCode:
    """Show the budgets of tenants, or raise one.

    Each window in which anything was set aside, until a day after its end: what is spent, what is set aside for
    responses under way, and how many runs wait for more. `durable-responses budgets raise TENANT WINDOW --usd 50`
    raises one.
    """
    return _print([_standing(each) for each in await connection.jobs.tenant_budgets()], output)


def _print(found: Sequence[Standing], output: Output) -> ExitCode:
    if output.as_json:
        output.object(BudgetList(budgets=list(found)))
    else:
        output.report_all(list(_lines(found)))
    return ExitCode.COMPLETED


def _check_raise(*, usd_: str | None, tokens: int | None, **_: object) -> None:
    if usd_ is None and tokens is None:
        raise UsageError("Raise it to what? Give --usd, --tokens, or both.")
    if usd_ is not None:
        _dollars(usd_)


@command("budgets raise", check=_check_raise)
async def _raise(
    connection: Connection,
    output: Output,
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="The tenant; * for the runs without one.", show_default=False)
    ],
    window: Annotated[
        str, typer.Argument(metavar="WINDOW", help="Its day or month, such as 2026-11-29.", show_default=False)
    ],
    usd_: Annotated[
        str | None, typer.Option("--usd", help="The USD that it may cost in all.", show_default=False)
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", help="The tokens that it may have in all.", min=1, show_default=False)
    ] = None,
) -> ExitCode:
    """Let one window of a tenant cost more. A limit is never lowered by this.

    Runs that wait go on once they are answered: `durable-responses respond JOB retry`.
    """
    to = Amount(usd=None if usd_ is None else _dollars(usd_), tokens=tokens)
    raised = _standing(await connection.jobs.raise_tenant_budget(tenant, window, to))
    if output.as_json:
        output.object(raised)
    else:
        output.report_all(
            [*_lines([raised]), *(f"durable-responses respond {typed(job, 'retry')}" for job in raised.waiting)]
        )
    return ExitCode.COMPLETED


def _dollars(said: str) -> Decimal:
    try:
        amount = Decimal(said)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount > 0):
        raise UsageError(f"--usd {said!r} is not a number of USD above 0.")
    return amount


def _standing(budget: TenantBudget) -> Standing:
    return Standing(
        tenant=budget.tenant,
        window=budget.window,
        ends_at=budget.ends_at.isoformat(),
        limit=budget.bound,
        spent=budget.spent,
        held=budget.held_in_all,
        responses_under_way=len(budget.held),
        waiting=list(budget.waiting),
    )


def _lines(found: Sequence[Standing]) -> Iterator[str]:
    if not found:
        yield "Nothing is spent of a tenant's budget, as far as workers have one (AGENT_BUDGETS)."
        return
    tenants, windows = (max(len(getattr(each, part)) for each in found) for part in ("tenant", "window"))
    for each in found:
        yield f"{each.tenant:{tenants}}  {each.window:{windows}}  {_sums(each)}"


def _sums(standing: Standing) -> str:
    parts = []
    if standing.limit.usd is not None:
        spent, limit, held = (float(each.usd or 0) for each in (standing.spent, standing.limit, standing.held))
        parts.append(f"{usd(spent)} of {usd(limit)} spent" + (f", {usd(held)} set aside" if held else ""))
    if standing.limit.tokens is not None:
        held_tokens = standing.held.tokens or 0
        parts.append(
            f"{standing.spent.tokens or 0:,} of {standing.limit.tokens:,} tokens"
            + (f", {held_tokens:,} set aside" if held_tokens else "")
        )
    parts += [f"{counted(standing.responses_under_way, 'response')} under way"] if standing.responses_under_way else []
    parts += [f"{counted(len(standing.waiting), 'run')} waiting"] if standing.waiting else []
    return ", ".join(parts)
