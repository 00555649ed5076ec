"""(e) Iterations a second with twenty agents side by side, beside a bare workflow."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from temporalio.client import WorkflowHandle

from dev.bench.command import run
from dev.bench.stack import OF_A_BACKGROUND_ITERATION, OF_A_STREAM_ITERATION, Stack, cpu_seconds, iterations_of
from dev.bench.table import Row, Table, Target, milliseconds
from durable_responses.activities.messages import Transport
from durable_responses.workflows.contract import TransportChoice
from tests.support.processes import WorkerProcess

AGENTS = 20
SMALLEST_RATIO = 0.8
Start = Callable[[], Awaitable[WorkflowHandle[Any, Any]]]


@dataclass(frozen=True)
class Load:
    """One round: iterations per second, and CPU seconds per iteration of worker, Temporal and emulator."""

    rate: float
    worker: float
    temporal: float
    emulator: float


async def measure(quick: bool) -> Table:
    iterations, rounds = (5, 1) if quick else (10, 3)
    table = Table(f"(e) Iterations a second, {AGENTS} agents side by side")
    async with Stack.up() as stack:
        worker, bare_worker = await stack.worker(), await stack.bare_worker()
        for transport, queues in [
            (Transport.STREAM, OF_A_STREAM_ITERATION),
            (Transport.BACKGROUND, OF_A_BACKGROUND_ITERATION),
        ]:
            start_bare = partial(stack.start_bare, iterations, queues)
            start = partial(stack.start, iterations_of(iterations), TransportChoice(transport))
            bare, ours = [], []
            for _ in range(rounds + 1):
                bare.append(await _load(stack, bare_worker, iterations, start_bare))
                ours.append(await _load(stack, worker, iterations, start))
            # The first round of each loads everything for the first time.
            table.rows += _rows(transport, len(queues), ours[1:], bare[1:])
    table.notes.append(
        f"Medians of {rounds} rounds of {AGENTS} runs with {iterations} iterations each; the model and the tool take no"
        " time. All processes share the machine, the emulator too, which the bare workflow does without."
    )
    return table


async def _load(stack: Stack, worker: WorkerProcess, iterations: int, start: Start) -> Load:
    processes = [worker, stack.temporal, stack.emulator]
    before = [cpu_seconds(process) for process in processes]
    begun = time.perf_counter()
    handles = await asyncio.gather(*(start() for _ in range(AGENTS)))
    await asyncio.gather(*(handle.result() for handle in handles))
    rate = AGENTS * iterations / (time.perf_counter() - begun)
    used = [cpu_seconds(process) - then for process, then in zip(processes, before, strict=True)]
    return Load(rate, *(seconds / (AGENTS * iterations) for seconds in used))


def _rows(transport: Transport, activities: int, ours: list[Load], bare: list[Load]) -> list[Row]:
    rate, bare_rate = median(load.rate for load in ours), median(load.rate for load in bare)
    return [
        Row(
            f"{transport}: iterations per second",
            f"{rate:.1f}",
            f"{bare_rate:.1f} ({activities} empty activities)",
            rate / bare_rate,
            Target(rate / bare_rate, SMALLEST_RATIO, "×", at_least=True),
        ),
        Row(f"{transport}: CPU of an iteration (worker, Temporal, emulator)", _cpu(ours), _cpu(bare)),
    ]


def _cpu(loads: list[Load]) -> str:
    parts = [[load.worker for load in loads], [load.temporal for load in loads], [load.emulator for load in loads]]
    return " + ".join(milliseconds(median(part)) for part in parts)


if __name__ == "__main__":
    run(measure)
