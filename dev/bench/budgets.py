"""(m) What a budget costs that is not reached: of a run, and one that the runs of a tenant share."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

from temporalio.api.enums.v1 import EventType

from dev.bench.command import run
from dev.bench.iterations import Iterations, rows_beside
from dev.bench.stack import Stack, cpu_seconds, iterations_of
from dev.bench.table import Row, Table, Target, milliseconds
from durable_responses.activities.messages import Transport
from durable_responses.pricing.tenant_budgets import budget_id
from durable_responses.workflows.contract import TransportChoice
from tests.support.processes import WorkerProcess

LARGEST_RATIO = 1.03
MOST_ALONE = 20  # milliseconds of a response
MOST_CPU_ALONE = 25  # milliseconds, of worker and server
MOST_OF_TEN = 6  # milliseconds
TENANT = "bench"
_PRICES = {"gpt-5.4": {"input": 2.5, "output": 15, "cached_input": 0.25}}
_PRICED: dict[str, Any] = {"model": "gpt-5.4", "prices": _PRICES}
_KINDS = (Transport.STREAM, Transport.BACKGROUND)


@dataclass
class Side:
    """Runs side by side: seconds and CPU seconds (of worker and server) for a response, by round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


async def measure(quick: bool) -> Table:
    table = Table("(m) A budget that is not reached")
    async with Stack.up() as stack:
        (stack.folder / "budgets.toml").write_text(f"[tenants.{TENANT}]\nmonth = {{usd = 1000000}}\n")
        worker = await stack.worker()
        kept = await stack.worker("kept", AGENT_BUDGETS=str(stack.folder / "budgets.toml"))
        await _of_runs(table, stack, worker, quick)
        await _of_a_tenant(table, stack, kept, quick)
    table.notes.append(
        "Medians, alternating, at the same prices; the emulator answers at once, so that nothing hides the overhead."
        " Yardstick: the same runs without a budget, or without the tenant."
    )
    return table


# --- the budget of a run -----------------------------------------------------------------------------------------


async def _of_runs(table: Table, stack: Stack, worker: WorkerProcess, quick: bool) -> None:
    iterations, rounds = (10, 1) if quick else (30, 10)
    without, within = defaultdict[Transport, Iterations](Iterations), defaultdict[Transport, Iterations](Iterations)
    events = defaultdict[Transport, list[int]](list)
    for number in range(rounds + 1):
        if number == 1:  # everything was loaded for the first time
            without.clear()
            within.clear()
        for kind in _KINDS:
            lengths = []
            for budget, taken in ((None, without[kind]), ({"usd": 1000, "tokens": 10**9}, within[kind])):
                scenario, transport = iterations_of(iterations), TransportChoice(kind)
                handle = await stack.start(scenario, transport, budget=budget, **_PRICED)
                await taken.take(handle, worker, iterations)
                lengths.append((await handle.describe()).history_length)
            events[kind].append(lengths[1] - lengths[0])
    for kind in _KINDS:
        table.rows += rows_beside(f"of a run, {kind}", within[kind], without[kind], LARGEST_RATIO)
        more = f"{median(events[kind]):g}"
        table.rows.append(Row(f"of a run, {kind}: more events of history in a run", more, "0", None, None))


# --- the budget of a tenant --------------------------------------------------------------------------------------


async def _of_a_tenant(table: Table, stack: Stack, worker: WorkerProcess, quick: bool) -> None:
    iterations, rounds = (5, 1) if quick else (20, 6)
    updates, responses = await _updates(stack, worker), 2  # those of the run by which they are counted again
    for count in (1, 10):
        without, within = Side(), Side()
        for number in range(rounds + 1):
            if number == 1:
                without, within = Side(), Side()
            for tenant, taken in ((None, without), (TENANT, within)):
                await _take(taken, stack, worker, count, iterations, tenant)
            responses += count * (iterations + 1)
        more = 1000 * (median(within.seconds) - median(without.seconds))
        more_cpu = 1000 * (median(within.cpu) - median(without.cpu))
        wall = Target(more, MOST_ALONE if count == 1 else MOST_OF_TEN, "ms")
        cpu = Target(more_cpu, MOST_CPU_ALONE, "ms") if count == 1 else None
        name = f"of a tenant, {count} in flight"
        table.rows += [
            Row(
                f"{name}: more time of a response", f"{more:.1f} ms", milliseconds(median(without.seconds)), None, wall
            ),
            Row(
                f"{name}: more CPU, worker and server",
                f"{more_cpu:.1f} ms",
                milliseconds(median(without.cpu)),
                None,
                cpu,
            ),
        ]
    each = (await _updates(stack, worker) - updates) / responses
    table.rows.append(Row("of a tenant: Updates for a response", f"{each:.2f}", "0", None, Target(each, 1)))


async def _take(
    taken: Side, stack: Stack, worker: WorkerProcess, count: int, iterations: int, tenant: str | None
) -> None:
    """Runs side by side, streamed, of a tenant or of nobody."""
    before, began = cpu_seconds(worker) + cpu_seconds(stack.temporal), time.monotonic()
    asked = {**_PRICED, "tenant": tenant, "task_queue": "kept", "max_output_tokens": 1024}
    scenario = iterations_of(iterations)
    runs = await asyncio.gather(*(stack.start(scenario, TransportChoice.STREAM, **asked) for _ in range(count)))
    await asyncio.gather(*(each.result() for each in runs))
    responses = count * (iterations + 1)
    taken.seconds.append((time.monotonic() - began) / responses)
    taken.cpu.append((cpu_seconds(worker) + cpu_seconds(stack.temporal) - before) / responses)


async def _updates(stack: Stack, worker: WorkerProcess) -> int:
    """Updates that the budget has taken so far, over all its histories; a run makes that it is there."""
    await _take(Side(), stack, worker, 1, 1, TENANT)
    id_ = budget_id(TENANT, f"{datetime.now(UTC):%Y-%m}", "kept")
    accepted = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
    taken = 0
    async for described in stack.client.list_workflows(f"WorkflowId = '{id_}'"):
        handle = stack.client.get_workflow_handle(id_, run_id=described.run_id)
        taken += sum([event.event_type == accepted async for event in handle.fetch_history_events()])
    return taken


if __name__ == "__main__":
    run(measure)
