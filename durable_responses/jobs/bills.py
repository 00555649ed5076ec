"""What several runs have cost, added up by run, tenant, model or day. Plain Python."""

from collections.abc import Callable, Iterable
from datetime import UTC
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from durable_responses.jobs.job_view import JobView, Source
from durable_responses.workflows.contract import AgentUsage, RunCost
from durable_responses.workflows.costs import NOT_PRICED, together
from durable_responses.workflows.ledger import add_usage


class BillBy(StrEnum):
    """What costs are added up by."""

    JOB = "job"
    TENANT = "tenant"
    MODEL = "model"
    DAY = "day"


class BillLine(BaseModel):
    """What the runs of one kind have cost together: `key` is the job, tenant, model or day (UTC) of their starts."""

    model_config = ConfigDict(frozen=True)

    key: str
    runs: int
    usage: AgentUsage
    cost: RunCost


class Bill(BaseModel):
    """The costs of runs and their sum. `is_whole`: whether all of the runs that were asked about are in it."""

    by: BillBy
    lines: list[BillLine]
    total: BillLine
    is_whole: bool = True


NOBODY = "(none)"
_KEYS: dict[BillBy, Callable[[JobView], str]] = {
    BillBy.JOB: lambda view: view.job_id,
    BillBy.TENANT: lambda view: view.tenant or NOBODY,
    BillBy.MODEL: lambda view: view.state.model or NOBODY,
    BillBy.DAY: lambda view: f"{view.state.started_at.astimezone(UTC):%Y-%m-%d}" if view.state.started_at else NOBODY,
}


def bill_of(views: Iterable[JobView], by: BillBy, *, is_whole: bool = True) -> Bill:
    """The bill of these runs. The dearest line comes first, of days the newest."""
    found: dict[str, BillLine] = {}
    total = _nothing("total")
    for view in views:
        key, line = _KEYS[by](view), _line_of(view)
        found[key] = _added(found.get(key) or _nothing(key), line)
        total = _added(total, line)
    order = (lambda line: line.key) if by is BillBy.DAY else (lambda line: line.cost.known)
    return Bill(by=by, lines=sorted(found.values(), key=order, reverse=True), total=total, is_whole=is_whole)


def _nothing(key: str) -> BillLine:
    return BillLine(key=key, runs=0, usage=AgentUsage(), cost=RunCost())


def _line_of(view: JobView) -> BillLine:
    usage, cost = view.state.usage, view.state.cost
    if cost is None:  # it has no response yet, or nobody knows: there is no worker, or the run is an old one
        has_none = view.source is Source.WORKER and view.state.response_id is None
        is_unknown = usage.total_tokens > 0 or not (view.is_closed or view.state.iteration == 0 or has_none)
        cost = RunCost(usd=None, unknown=1, why=[NOT_PRICED]) if is_unknown else RunCost()
    return BillLine(key=view.job_id, runs=1, usage=usage, cost=cost)


def _added(left: BillLine, right: BillLine) -> BillLine:
    return BillLine(
        key=left.key,
        runs=left.runs + right.runs,
        usage=add_usage(left.usage, right.usage),
        cost=together(left.cost, right.cost),
    )
