"""(b) Thousands of responses waited for at once in one worker: CPU, GETs a second, memory."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise

from dev.bench import tools
from dev.bench.bare import BareWaits, WaitingWorkflow
from dev.bench.command import run
from dev.bench.stack import Stack, cpu_seconds, resident_bytes
from dev.bench.table import Row, Table, Target, kilobytes
from durable_responses.activities.tools import definitions
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import CreateRequest
from durable_responses.tools.registry import Registry
from durable_responses.workflows.contract import TaskQueue, TransportChoice, agent_workflow_id
from tests.support.processes import WorkerProcess

MOST_CORES = 1.0
LARGEST_WAIT = 30  # kilobytes
HEARTBEAT_TIMEOUT = 120.0  # seconds; the default of 10 is for runs by the hundred
AT_ONCE = 50
OF_ONE_WORKFLOW = 100
SCENARIO = "think?seconds=36000"


@dataclass(frozen=True)
class Level:
    """So many responses are being waited for. `cores`: CPU seconds a second; `gets`: GETs a second."""

    responses: int
    resident: int
    cores: float
    gets: float


async def measure(quick: bool) -> Table:
    runs, counts, seconds = ([50, 100], [500, 1000], 5.0) if quick else ([100, 400], [1000, 5000, 10_000], 20.0)
    async with Stack.up() as stack:
        limit = str(2 * counts[-1])
        worker = await stack.worker(AGENT_MAX_RESPONSES_IN_FLIGHT=limit, AGENT_MAX_WAITING=limit)
        await stack.bare_worker()
        cached: list[Level] = []
        for count in runs:
            await _start_runs(stack, count - (cached[-1].responses if cached else 0))
            cached.append(await _observe(stack, worker, count, 5))
        waits: list[Level] = []
        for count in counts:
            await _start_waits(stack, count - (waits[-1].responses if waits else runs[-1]))
            waits.append(await _observe(stack, worker, count, seconds))
    table = Table("(b) Responses waited for at once in one worker")
    table.rows = [
        *(_cpu(level) for level in waits),
        *(_memory("each response waited for", before, after, LARGEST_WAIT) for before, after in pairwise(waits)),
        _memory("each run in the worker's cache, with its wait", cached[0], cached[1]),
    ]
    table.notes.append(
        f"Over {seconds:.0f} s each, with 20 tools and a heartbeat timeout of {HEARTBEAT_TIMEOUT:g} s. All but the"
        f" first {runs[-1]} waits belong to no run, so that what grows is the waits alone: a worker caches 500 runs."
    )
    return table


def _cpu(level: Level) -> Row:
    figure = f"{level.cores:.2f} cores, {level.gets:.0f} GET/s"
    return Row(f"{level.responses:,} responses: CPU", figure, target=Target(level.cores, MOST_CORES, "core"))


def _memory(of: str, before: Level, after: Level, bound: float | None = None) -> Row:
    each = (after.resident - before.resident) / (after.responses - before.responses)
    return Row(
        f"memory of {of}, from {before.responses:,} to {after.responses:,}",
        kilobytes(each),
        f"{after.resident / 2**20:.0f} MB in all",
        target=Target(each / 1024, bound, "KB") if bound else None,
    )


async def _start_runs(stack: Stack, count: int) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def start() -> None:
        async with room:
            await stack.start(SCENARIO, TransportChoice.BACKGROUND, heartbeat_timeout=HEARTBEAT_TIMEOUT)

    await asyncio.gather(*(start() for _ in range(count)))


async def _start_waits(stack: Stack, count: int) -> None:
    """Create so many responses, and have them waited for."""
    response_ids = await _create(stack, count)
    for first in range(0, count, OF_ONE_WORKFLOW):
        ids = response_ids[first : first + OF_ONE_WORKFLOW]
        await stack.client.start_workflow(
            WaitingWorkflow.run,
            BareWaits(ids, TaskQueue.WAITING, HEARTBEAT_TIMEOUT),
            id=f"waiting-{agent_workflow_id()}",
            task_queue="bare",
        )


async def _create(stack: Stack, count: int) -> list[str]:
    functions = definitions(Registry.from_modules([tools.__name__]), None)
    request = CreateRequest(
        model="gpt-5.4",
        input="Go on.",
        tools=[*functions],
        background=True,
        store=True,
        metadata={"scenario": SCENARIO},
    )
    room = asyncio.Semaphore(AT_ONCE)
    async with ResponsesClient(stack.emulator.base_url, None) as client:

        async def create() -> str:
            async with room:
                return (await client.create(request)).id

        return await asyncio.gather(*(create() for _ in range(count)))


async def _observe(stack: Stack, worker: WorkerProcess, count: int, seconds: float) -> Level:
    """Wait until that many responses are being waited for, then look for so many seconds."""
    async with asyncio.timeout(300):
        while await _waited_for(stack) < count:
            await asyncio.sleep(max(1, count / 1000))  # a long bill keeps the emulator from answering
    gets, cpu = (await stack.emulator.control.billing()).counts.gets, cpu_seconds(worker)
    await asyncio.sleep(seconds)
    used, resident = cpu_seconds(worker) - cpu, resident_bytes(worker)
    read = (await stack.emulator.control.billing()).counts.gets - gets
    return Level(count, resident, used / seconds, read / seconds)


async def _waited_for(stack: Stack) -> int:
    return sum(1 for response in await stack.emulator.control.responses() if response.gets)


if __name__ == "__main__":
    run(measure)
