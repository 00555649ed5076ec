"""(d) From the SIGKILL of a worker to the moment at which its waits continue: elsewhere, or when it is there again."""

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from dev.bench.command import run
from dev.bench.stack import Run, Stack
from dev.bench.table import Row, Table, Target
from dev.bench.timeline import events_of, last_start
from durable_responses.workflows.contract import TransportChoice
from tests.support.processes import WorkerProcess

BEYOND_THE_TIMEOUT = 2.0  # seconds
SCENARIO = "think?seconds=12"  # longer than it takes to have all runs waiting


@dataclass(frozen=True)
class Recovery:
    """One run: its heartbeat timeout, the seconds for which nobody waited for its response, and its creates."""

    heartbeat_timeout: float
    seconds: float
    creates: int


async def measure(quick: bool) -> Table:
    timeouts, runs = ([2.0], 3) if quick else ([2.0, 5.0, 10.0], 8)
    async with Stack.up() as stack:
        first = await stack.worker()
        waiting = await _waiting(stack, timeouts, runs)
        second = await stack.worker()
        taken_over = await _recoveries(stack, waiting, _killed(first))
        waiting = await _waiting(stack, timeouts, runs)
        killed_at = _killed(second)
        await second.start()
        restarted = await _recoveries(stack, waiting, killed_at)
    table = Table("(d) From the worker's SIGKILL to the moment at which its waits continue")
    for name, recoveries in [("another worker stands by", taken_over), ("it is started again", restarted)]:
        table.rows += [_row(name, timeout, recoveries) for timeout in timeouts]
    every = [*taken_over, *restarted]
    table.rows.append(_creates(every))
    table.notes.append(
        f"{runs} runs of each kind. A run's heartbeat timeout is a field of its input, 10 s by default. To beat:"
        " pydantic-ai 2.68 12-16 s; Temporal's OpenAI plugin 1.1 70 s, with a second create."
    )
    return table


async def _waiting(stack: Stack, timeouts: list[float], runs: int) -> list[tuple[float, Run]]:
    """Start so many runs with each heartbeat timeout; returns when all their responses are being waited for."""
    started = [
        (timeout, await stack.start(SCENARIO, TransportChoice.BACKGROUND, heartbeat_timeout=timeout))
        for timeout in timeouts
        for _ in range(runs)
    ]
    async with asyncio.timeout(10):
        for _, handle in started:
            while not any(response.gets for response in await stack.emulator.control.responses(workflow_id=handle.id)):
                await asyncio.sleep(0.05)
    return started


def _killed(worker: WorkerProcess) -> float:
    worker.kill()
    return time.time()


async def _recoveries(stack: Stack, waiting: list[tuple[float, Run]], killed_at: float) -> list[Recovery]:
    found = []
    for timeout, handle in waiting:
        await handle.result()
        creates = (await stack.emulator.control.billing(workflow_id=handle.id)).counts.creates_accepted
        found.append(Recovery(timeout, last_start(await events_of(handle)) - killed_at, creates))
    return found


def _row(name: str, timeout: float, recoveries: list[Recovery]) -> Row:
    seconds = [recovery.seconds for recovery in recoveries if recovery.heartbeat_timeout == timeout]
    return Row(
        f"{name}, heartbeat timeout {timeout:g} s",
        f"{median(seconds):.1f} s (worst {max(seconds):.1f} s)",
        target=Target(max(seconds), timeout + BEYOND_THE_TIMEOUT, "s"),
    )


def _creates(recoveries: list[Recovery]) -> Row:
    creates = sum(recovery.creates for recovery in recoveries)
    return Row(
        f"creates of these {len(recoveries)} runs with one response each",
        f"{creates}",
        ratio=creates / len(recoveries),
        target=Target(creates / len(recoveries), 1, "a response"),
    )


if __name__ == "__main__":
    run(measure)
