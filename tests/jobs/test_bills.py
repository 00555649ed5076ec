"""What several runs have cost, added up."""

from datetime import UTC, datetime

import pytest
from temporalio.client import Client

from durable_responses.jobs.bills import BillBy, bill_of
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.jobs.jobs import Jobs
from durable_responses.pricing.rates import Rates
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentState, AgentUsage, RunCost
from durable_responses.workflows.costs import NOT_PRICED
from tests.support.runs import working


def view(job_id: str, day: int, model: str, cost: RunCost | None, *, tenant: str | None = None) -> JobView:
    state = AgentState(
        model=model,
        iteration=1,
        started_at=datetime(2026, 11, day, 12, tzinfo=UTC),
        usage=AgentUsage(input_tokens=90, output_tokens=10, total_tokens=100),
        cost=cost,
    )
    return JobView(job_id=job_id, run_id="r", tenant=tenant, state=state, source=Source.SERVER, worker_running=True)


VIEWS = [
    view("a", 1, "gpt-5.4", RunCost(usd=0.1, known=0.1), tenant="acme"),
    view("b", 2, "gpt-5.4", RunCost(usd=0.2, known=0.2, wasted=0.1)),
    view("c", 2, "gpt-6", RunCost(usd=None, known=0.4, unknown=1, why=["w"]), tenant="acme"),
    view("d", 3, "gpt-6", None),
]


@pytest.mark.parametrize(
    ("by", "lines"),
    [
        (BillBy.JOB, [("c", 1, 0.4, 1), ("b", 1, 0.2, 0), ("a", 1, 0.1, 0), ("d", 1, 0, 1)]),
        (BillBy.TENANT, [("acme", 2, 0.5, 1), ("(none)", 2, 0.2, 1)]),
        (BillBy.MODEL, [("gpt-6", 2, 0.4, 2), ("gpt-5.4", 2, 0.3, 0)]),
        (BillBy.DAY, [("2026-11-03", 1, 0, 1), ("2026-11-02", 2, 0.6, 1), ("2026-11-01", 1, 0.1, 0)]),
    ],
)
def test_costs_are_added_up_by_what_is_asked_for(by: BillBy, lines: list[tuple[str, int, float, int]]) -> None:
    bill = bill_of(VIEWS, by)
    assert [(line.key, line.runs, line.cost.known, line.cost.unknown) for line in bill.lines] == lines
    assert bill.total.cost == RunCost(usd=None, known=0.7, wasted=0.1, unknown=2, why=["w", NOT_PRICED])
    assert (bill.total.runs, bill.total.usage.total_tokens) == (4, 400)


def test_an_open_run_that_has_no_response_has_cost_nothing_as_its_worker_knows() -> None:
    """It waits for its owner, for instance, because its budget is too small."""
    waits = view("a", 1, "gpt-5.4", None)
    waits.state.usage = AgentUsage()
    assert bill_of([waits], BillBy.JOB).total.cost.unknown == 1  # its worker may know of some
    told = waits.model_copy(update={"source": Source.WORKER})
    assert bill_of([told], BillBy.JOB).total.cost == RunCost(usd=0.0)
    told.state.response_id = "resp_1"
    assert bill_of([told], BillBy.JOB).total.cost.unknown == 1


def test_no_runs_have_cost_nothing() -> None:
    bill = bill_of([], BillBy.DAY)
    assert (bill.lines, bill.total.cost.usd) == ([], 0)


async def test_the_bill_of_a_run_is_read_from_its_records(
    client: Client, provider: Provider, settings: Settings
) -> None:
    prices = {"gpt-5.4": Rates.model_validate({"input": 100, "output": 1000})}
    began = datetime.now(UTC).replace(microsecond=0)
    async with working(client, provider, settings):
        jobs = Jobs(client, settings.task_queue)
        job_id = await jobs.start(AgentInput(task="Add.", model="gpt-5.4", prices=prices, tools=["add"]))
        result = await jobs.result(job_id)
    [line] = (await jobs.bill(BillBy.JOB, job_id=job_id)).lines
    assert result.cost is not None
    assert (line.key, line.cost) == (job_id, result.cost)
    assert line.cost.known > 0
    everything = await jobs.bill(BillBy.JOB, since=began)
    assert everything.is_whole
    assert line in everything.lines
