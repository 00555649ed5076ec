"""(a) What an iteration with a tool costs beside its model and its tool, and how much CPU of the worker."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from temporalio.client import WorkflowHandle

from dev.bench.command import run
from dev.bench.plain import model_seconds
from dev.bench.stack import OF_A_BACKGROUND_ITERATION, OF_A_STREAM_ITERATION, Stack, cpu_seconds, iterations_of
from dev.bench.table import Row, Table, Target, milliseconds
from dev.bench.timeline import activities_scheduled, creates_scheduled, events_of
from durable_responses.activities.messages import Transport
from durable_responses.workflows.contract import TaskQueue, TransportChoice
from tests.support.processes import WorkerProcess

LARGEST_RATIO = 1.2
LARGEST_RATIO_TO_EAGER = 1.3
LARGEST_CPU = 25  # milliseconds


@dataclass(frozen=True, eq=False)
class Kind:
    """How the model answers, after how many seconds; the queues of the yardstick; how many iterations a run has."""

    name: str
    transport: Transport
    think: float
    queues: Sequence[TaskQueue]
    iterations: int

    @property
    def scenario(self) -> str:
        return iterations_of(self.iterations, think=self.think)


KINDS = [
    Kind("stream", Transport.STREAM, 0.0, OF_A_STREAM_ITERATION, 30),
    Kind("stream, 0.3 s of model", Transport.STREAM, 0.3, OF_A_STREAM_ITERATION, 10),
    Kind("background", Transport.BACKGROUND, 0.0, OF_A_BACKGROUND_ITERATION, 30),
]


@dataclass
class Iterations:
    """Seconds from each iteration of some runs to the next, and CPU seconds of a worker for an iteration, by run."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def take(
        self, handle: WorkflowHandle[Any, Any], worker: WorkerProcess, iterations: int, each: int | None = None
    ) -> None:
        """Follow a run that has just been started to its end; a bare one has so many activities in each iteration."""
        before = cpu_seconds(worker)
        await handle.result()
        self.cpu.append((cpu_seconds(worker) - before) / (iterations + 1))  # the answer is one more
        events = await events_of(handle)
        starts = activities_scheduled(events)[::each] if each else creates_scheduled(events)
        self.seconds += [later - earlier for earlier, later in pairwise(starts)]


async def measure(quick: bool) -> Table:
    rounds = 1 if quick else 6
    bare, ours = defaultdict[Kind, Iterations](Iterations), defaultdict[Kind, Iterations](Iterations)
    eager = defaultdict[Kind, Iterations](Iterations)
    model = defaultdict[Kind, list[float]](list)
    async with Stack.up() as stack:
        worker, bare_worker = await stack.worker(), await stack.bare_worker()
        for number in range(rounds + 1):
            for kind in KINDS:
                for measured, queues in ((bare, kind.queues), (eager, [TaskQueue.AGENTS] * len(kind.queues))):
                    handle = await stack.start_bare(kind.iterations, queues)
                    await measured[kind].take(handle, bare_worker, kind.iterations, len(queues))
                run_of_ours = await stack.start(kind.scenario, TransportChoice(kind.transport))
                await ours[kind].take(run_of_ours, worker, kind.iterations)
                model[kind] += await model_seconds(stack.emulator.base_url, kind.scenario, kind.transport)
            if number == 0:  # everything was loaded for the first time
                for loaded in (bare, eager, ours, model):
                    loaded.clear()
    table = Table("(a) Overhead of an iteration with a tool, and CPU of the worker")
    for kind in KINDS:
        table.rows += _rows(kind, ours[kind], bare[kind], eager[kind], median(model[kind]))
    table.notes.append(
        f"Medians of {rounds} runs of 30 iterations (10 with the slower model), one run at a time. Overhead: an"
        " iteration, less what the provider takes for the same conversation with a plain loop; the tool is empty."
        " Yardstick: an iteration of as many empty activities, on the queues of ours, or all on the queue of the run,"
        " where they are started eagerly."
    )
    return table


def rows_beside(name: str, taken: Iterations, without: Iterations, largest_ratio: float) -> list[Row]:
    """What something costs an iteration: its time, which may be so many times that without it, and its CPU."""
    ratio = median(taken.seconds) / median(without.seconds)
    return [
        Row(
            f"{name}: an iteration",
            milliseconds(median(taken.seconds)),
            milliseconds(median(without.seconds)),
            ratio,
            Target(ratio, largest_ratio, "×"),
        ),
        Row(
            f"{name}: CPU of the worker for an iteration",
            milliseconds(median(taken.cpu)),
            milliseconds(median(without.cpu)),
            median(taken.cpu) / median(without.cpu),
        ),
    ]


def _rows(kind: Kind, ours: Iterations, bare: Iterations, eager: Iterations, model: float) -> list[Row]:
    overhead, yardstick, own_queue = median(ours.seconds) - model, median(bare.seconds), median(eager.seconds)
    cpu, bare_cpu = median(ours.cpu), median(bare.cpu)
    ratio = overhead / yardstick
    return [
        Row(
            f"{kind.name}: overhead (iteration {milliseconds(median(ours.seconds))}, model {milliseconds(model)})",
            milliseconds(overhead),
            f"{milliseconds(yardstick)} ({len(kind.queues)} empty activities)",
            ratio,
            Target(ratio, LARGEST_RATIO, "×"),
        ),
        Row(
            f"{kind.name}: the same overhead, beside activities that are all started eagerly",
            milliseconds(overhead),
            f"{milliseconds(own_queue)} ({len(kind.queues)} empty activities)",
            overhead / own_queue,
            Target(overhead / own_queue, LARGEST_RATIO_TO_EAGER, "×"),
        ),
        Row(
            f"{kind.name}: CPU of the worker",
            milliseconds(cpu),
            milliseconds(bare_cpu),
            cpu / bare_cpu,
            Target(cpu * 1000, LARGEST_CPU, "ms"),
        ),
    ]


if __name__ == "__main__":
    run(measure)
