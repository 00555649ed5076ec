"""`costs`: what runs have cost, added up."""

import csv
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from durable_responses.cli.command import Connection, command
from durable_responses.cli.options import moment_ago
from durable_responses.cli.output import ExitCode, Output
from durable_responses.cli.times import counted
from durable_responses.jobs.bills import Bill, BillBy, BillLine, bill_of
from durable_responses.jobs.job_errors import JobNotFound
from durable_responses.workflows.costs import usd

_COLUMNS = ("key", "runs", "usd", "known_usd", "wasted_usd", "unknown", "input_tokens", "output_tokens", "total_tokens")


def _check_costs(*, since: str, **_: object) -> None:
    moment_ago("--since", since)


def _cost_nothing(*, output: Output, job: str | None, by: BillBy, as_csv: bool, **_: object) -> ExitCode:
    if job is not None:
        raise JobNotFound(job)
    _print(bill_of([], by), output, as_csv=as_csv)
    return ExitCode.COMPLETED


@command("costs", check=_check_costs, without_runs=_cost_nothing)
async def costs(
    connection: Connection,
    output: Output,
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="One run, instead of all; or the beginning of its id.", show_default=False),
    ] = None,
    since: Annotated[
        str, typer.Option("--since", help="Runs that were started in so much time, such as 12h or 7d.", metavar="TIME")
    ] = "30d",
    by: Annotated[BillBy, typer.Option("--by", help="Add up by job, tenant, model or day (UTC).")] = BillBy.JOB,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the lines as CSV.")] = False,
) -> ExitCode:
    """Show what runs have cost, and what of it was wasted.

    Added up from Temporal's records, so for as long as it keeps runs. A cost that is not known is counted, never taken
    for nothing: then the sum is what it is at least.
    """
    if job is not None:
        bill = await connection.jobs.bill(by, job_id=await connection.find(job))
    else:
        bill = await connection.jobs.bill(by, since=moment_ago("--since", since))
    _print(bill, output, as_csv=as_csv)
    return ExitCode.COMPLETED


def _print(bill: Bill, output: Output, *, as_csv: bool) -> None:
    if output.as_json:
        output.object(bill)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_cells(line) for line in bill.lines)
    else:
        output.report_all(list(_lines(bill)))


def _cells(line: BillLine) -> tuple[object, ...]:
    cost, usage = line.cost, line.usage
    exact = "" if cost.usd is None else f"{cost.usd:f}"
    tokens = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    return (line.key, line.runs, exact, f"{cost.known:f}", f"{cost.wasted:f}", cost.unknown, *tokens)


def _lines(bill: Bill) -> Iterator[str]:
    if not bill.lines:
        yield "No runs in this time."
        return
    shown = [*bill.lines, bill.total] if len(bill.lines) > 1 else bill.lines
    width = max(len(line.key) for line in shown)
    for line in shown:
        yield f"{line.key:{width}}  {_sum(line)}"
    for why in bill.total.cost.why:
        yield f"not known: {why}"
    if not bill.is_whole:
        yield "There are more runs in this time than were added up: choose a shorter one."


def _sum(line: BillLine) -> str:
    cost = line.cost
    at_least = "at least " if cost.unknown else ""
    parts = [f"{at_least}{usd(cost.known)}"]
    parts += [f"at most {usd(cost.at_most)}"] if cost.unknown and cost.at_most is not None else []
    parts += [f"{usd(cost.wasted)} of it wasted"] if cost.wasted else []
    parts += [f"{counted(cost.unknown, 'response')} not known"] if cost.unknown else []
    parts += [f"{line.usage.total_tokens:,} tokens", counted(line.runs, "run")]
    return ", ".join(parts)
