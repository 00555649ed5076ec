"""The load lane, `make test-load`: hundreds of runs on the embedded stack's parts, and SIGKILLs of their only worker.

`make test` leaves it out: it takes minutes, and what it counts depends on where the kills fall.
"""

import asyncio
import contextlib
import time
from collections import Counter
from decimal import Decimal

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from durable_responses.workflows.contract import AgentResult, AgentStatus, TransportChoice
from tests.support.deployment import Deployment, Run, until
from tests.support.ledgers import cost_of
from tests.support.processes import WorkerProcess

RUNS = 300
PRICED_RUNS = 1000
ITERATIONS = 2
KILLS = (4.0, 8.0)  # seconds, from the start of the runs and from the kill before
ENOUGH = 1200.0


async def killed_twice(worker: WorkerProcess) -> None:
    """SIGKILL, in the middle of the load, and a restart at once."""
    for pause in KILLS:
        await asyncio.sleep(pause)
        worker.kill()
        await worker.start()


async def ended(run: Run) -> AgentResult:
    try:
        return await run.result(seconds=ENOUGH)
    except WorkflowFailureError as failure:
        raise AssertionError(f"{run.handle.id}: {failure.cause}") from failure


async def test_no_run_is_lost_and_each_doubled_create_is_told_of(deployment: Deployment) -> None:
    """What is created twice is what the provider had taken when the worker died, and each is counted as ambiguous."""
    call = 'tool=list_files&arguments={"folder": "."}'
    fields = {
        "metadata": {"scenario": f"calls?iterations={ITERATIONS}&{call}"},
        "transport": TransportChoice.BACKGROUND,
    }
    began = time.monotonic()
    async with deployment.worker() as worker:
        killing = asyncio.create_task(killed_twice(worker))
        runs = await asyncio.gather(*(deployment.start_only(**fields) for _ in range(RUNS)))
        results = await asyncio.gather(*(ended(run) for run in runs))
        await killing
    bills = await asyncio.gather(*(run.bill() for run in runs))
    responses = [response for bill in bills for response in bill.responses]
    iterations = sum(result.iterations for result in results)
    ambiguous = sum(result.ambiguous_creates for result in results)
    creates = Counter((each.metadata["workflow_id"], each.metadata["iteration"]) for each in responses)
    doubled = sum(count - 1 for count in creates.values())
    print(
        f"\n{RUNS} runs in {time.monotonic() - began:.0f} s with {len(KILLS)} SIGKILLs: "
        f"{dict(Counter(str(result.status) for result in results))}",
        f"{iterations} iterations, {len(responses)} creates: {doubled} doubled; {ambiguous} counted as ambiguous",
        sep="\n",
    )
    assert Counter(result.status for result in results) == {AgentStatus.COMPLETED: RUNS}
    assert len(creates) == iterations
    assert all(
        len(bill.responses) <= result.iterations + result.ambiguous_creates
        for bill, result in zip(bills, results, strict=True)
    )
    assert doubled <= ambiguous
    assert await until(lambda: all_over(runs)), "a response was left running"


async def test_the_ledgers_of_a_thousand_runs_are_their_bills(deployment: Deployment) -> None:
    """Over all transports, with kills and cancels: to the cent, or with what the unknown ones may cost at most."""
    transports = [TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET]
    call = 'tool=list_files&arguments={"folder": "."}'
    metadata = {"scenario": f"calls?iterations={ITERATIONS}&{call}"}
    began = time.monotonic()
    async with deployment.worker() as worker:
        killing = asyncio.create_task(killed_twice(worker))
        runs = [
            await deployment.start_only(metadata=metadata, transport=transports[n % len(transports)], max_iterations=9)
            for n in range(PRICED_RUNS)
        ]
        for run in runs[::10]:
            with contextlib.suppress(RPCError):  # it may have ended
                await run.handle.signal("cancel")
        await killing
        results = await asyncio.gather(*(ended(run) for run in runs))  # each against its bill
    bills = await asyncio.gather(*(run.bill() for run in runs))
    billed = sum((cost_of(line) for bill in bills for line in bill.responses), Decimal(0))
    costs = [result.cost for result in results if result.cost is not None]
    known = sum((Decimal(str(cost.known)) for cost in costs), Decimal(0))
    wasted = sum((Decimal(str(cost.wasted)) for cost in costs), Decimal(0))
    unknown = [entry for result in results for entry in result.responses if entry.cost is None]
    unbounded = sum(entry.at_most is None for entry in unknown)
    most = sum((Decimal(str(entry.at_most or 0)) for entry in unknown), Decimal(0))
    print(
        f"\n{PRICED_RUNS} runs in {time.monotonic() - began:.0f} s with {len(KILLS)} SIGKILLs: "
        f"{dict(Counter(str(result.status) for result in results))}",
        f"billed {billed} USD; in the ledgers {known} USD, {wasted} of it wasted; {len(unknown)} entries are unknown, "
        f"{most} USD at most ({unbounded} of cancelled runs without a bound)",
        sep="\n",
    )
    assert known <= billed
    assert billed <= known + most or unbounded


async def all_over(runs: list[Run]) -> bool:
    """Nothing is left running at the provider: the responses that nobody uses end as well."""
    bills = await asyncio.gather(*(run.bill() for run in runs))
    return all(response.status not in ("queued", "in_progress") for bill in bills for response in bill.responses)
