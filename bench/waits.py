"""(b) Thousands of responses waited for at once in one worker: CPU, GETs a second, memory."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise

from bench.command import run
from bench.stack import Stack, cpu_seconds, resident_bytes
from bench.table import Row, Table, Target, kilobytes
from tests.processes import WorkerProcess
from workflows.contract import TransportChoice

MOST_CORES = 1.0
LARGEST_RESPONSE = 30  # kilobytes
HEARTBEAT_TIMEOUT = 120  # seconds; the default of 10 would be for runs by the hundred
STARTED_AT_ONCE = 50
SCENARIO = "think?seconds=36000"


@dataclass(frozen=True)
class Level:
    """So many responses are being waited for. `cores`: CPU seconds a second; `gets`: GETs a second."""

    responses: int
    resident: int
    cores: float
    gets: float


async def measure(quick: bool) -> Table:
    counts, seconds = ([100, 600, 1200], 5.0) if quick else ([1000, 5000, 10_000], 20.0)
    async with Stack.up() as stack:
        limit = str(2 * counts[-1])
        worker = await stack.worker(AGENT_MAX_RESPONSES_IN_FLIGHT=limit, AGENT_MAX_WAITING=limit)
        levels: list[Level] = []
        for count in counts:
            await _start(stack, count - (levels[-1].responses if levels else 0))
            levels.append(await _observe(stack, worker, count, seconds))
    table = Table("(b) Responses waited for at once in one worker")
    for level in levels:
        table.rows.append(
            Row(
                f"{level.responses:,} responses: CPU of the worker",
                f"{level.cores:.2f} cores, {level.gets:.0f} GET/s",
                target=Target(level.cores, MOST_CORES, "core"),
            )
        )
    for before, after in pairwise(levels):
        each = (after.resident - before.resident) / (after.responses - before.responses)
        table.rows.append(
            Row(
                f"memory of each response from {before.responses:,} to {after.responses:,}",
                kilobytes(each),
                f"{after.resident / 2**20:.0f} MB in all",
                target=Target(each / 1024, LARGEST_RESPONSE, "KB"),
            )
        )
    table.notes.append(
        f"Over {seconds:.0f} s each, with 20 tools and a heartbeat timeout of {HEARTBEAT_TIMEOUT} s. The worker caches"
        " 500 workflows, as always, so what grows from one level to the next is the waits alone."
    )
    return table


async def _start(stack: Stack, count: int) -> None:
    """Start so many runs."""
    room = asyncio.Semaphore(STARTED_AT_ONCE)

    async def start() -> None:
        async with room:
            await stack.start(SCENARIO, TransportChoice.BACKGROUND, heartbeat_timeout=HEARTBEAT_TIMEOUT)

    await asyncio.gather(*(start() for _ in range(count)))


async def _observe(stack: Stack, worker: WorkerProcess, count: int, seconds: float) -> Level:
    """Wait until that many responses are being waited for, then look for so many seconds."""
    async with asyncio.timeout(600):
        while await _waited_for(stack) < count:
            await asyncio.sleep(2)
    gets, cpu = (await stack.emulator.control.billing()).counts.gets, cpu_seconds(worker)
    await asyncio.sleep(seconds)
    used, resident = cpu_seconds(worker) - cpu, resident_bytes(worker)
    read = (await stack.emulator.control.billing()).counts.gets - gets
    return Level(count, resident, used / seconds, read / seconds)


async def _waited_for(stack: Stack) -> int:
    return sum(1 for response in await stack.emulator.control.responses() if response.gets)


if __name__ == "__main__":
    run(measure)
