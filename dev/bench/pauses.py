"""(k) A thousand runs that wait for their owner at once: what they cost; each is answered, and paid for once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import TypeVar

from dev.bench.command import run
from dev.bench.stack import Run, Stack, cpu_seconds, resident_bytes
from dev.bench.table import Row, Table, Target, kilobytes
from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.workflows.contract import RESPOND, OnRefusal, TransportChoice
from tests.support.processes import WorkerProcess

T = TypeVar("T")
R = TypeVar("R")

MOST_KILOBYTES = 150
MOST_EVENTS = 8
OF_A_REFUSED_CREATE = 6
"""Events: its activity is scheduled, started and has failed; three of the workflow task that learns of it."""
AT_ONCE = 20
IDLE = 20.0  # seconds
SCENARIO = "echo"
RETRY = {"id": "refusal-1", "answer": "retry", "by": "the owner"}
QUOTA = Answer(status=429, code="insufficient_quota", message="No credit is left.")


async def measure(quick: bool) -> Table:
    count, idle = (50, 5.0) if quick else (1000, IDLE)
    table = Table(f"(k) {count:,} runs that wait for their owner at once")
    async with Stack.up() as stack:
        worker = await stack.worker()
        unhindered = await _start(stack)
        await unhindered.result()
        plain = (await unhindered.describe()).history_length
        before, resident = await _idle_cores(worker, idle), resident_bytes(worker)
        await stack.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=QUOTA, times=count))
        runs = await _each(range(count), lambda _: _start(stack))
        await _each(runs, _until_it_waits)
        waiting, each = await _idle_cores(worker, idle), (resident_bytes(worker) - resident) / count
        await _each(runs, lambda paused: paused.execute_update(RESPOND, RETRY))
        await _each(runs, lambda paused: paused.result())
        lengths = [(await paused.describe()).history_length for paused in runs[:50]]
        bills = Counter(response.metadata["workflow_id"] for response in await stack.emulator.control.responses())
    more = median(lengths) - plain - OF_A_REFUSED_CREATE
    once = sum(bills[paused.id] == 1 for paused in runs)
    table.rows = [
        Row("CPU of the worker while they wait", f"{waiting:.3f} cores", f"{before:.3f} with none"),
        Row("its memory, for each", kilobytes(each), target=Target(each / 1024, MOST_KILOBYTES, "KB")),
        Row("events for waiting, being shown and being answered", f"{more:g}", target=Target(more, MOST_EVENTS)),
        Row("answered, completed and paid for once", f"{once:,}", target=Target(once, count, at_least=True)),
    ]
    table.notes.append(
        f"CPU over {idle:g} s each. Events beside the {OF_A_REFUSED_CREATE} of the refused create: two of the "
        "update, three of its workflow task, two for the statuses shown. No activity, timer or heartbeat belongs to a "
        "run that waits."
    )
    return table


async def _start(stack: Stack) -> Run:
    return await stack.start(SCENARIO, TransportChoice.BACKGROUND, on_refusal=OnRefusal.PAUSE)


async def _until_it_waits(paused: Run) -> None:
    """Wait until nothing is left to do for a run. Not by query: each would have the worker replay a run."""
    async with asyncio.timeout(600):
        while True:
            described = (await paused.describe()).raw_description
            is_idle = not described.pending_activities and not described.HasField("pending_workflow_task")
            if is_idle and described.workflow_execution_info.history_length > OF_A_REFUSED_CREATE:
                return
            await asyncio.sleep(0.5)


async def _each(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Do it for all of them, some at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def do(item: T) -> R:
        async with room:
            return await work(item)

    return await asyncio.gather(*map(do, items))


async def _idle_cores(worker: WorkerProcess, seconds: float) -> float:
    """CPU seconds a second while nothing happens."""
    await asyncio.sleep(3)
    begin = cpu_seconds(worker)
    await asyncio.sleep(seconds)
    return (cpu_seconds(worker) - begin) / seconds


if __name__ == "__main__":
    run(measure)
