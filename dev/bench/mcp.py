"""(g) MCP: many jobs started at once by one client, and what a poll costs beside an empty tool call."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from dev.bench import empty_tool
from dev.bench.command import run
from dev.bench.stack import Stack
from dev.bench.table import Row, Table, Target, milliseconds
from durable_responses.settings import child_environment
from tests.support.mcp_clients import Session, StdioServer

IN_FLIGHT = 20
MODEL = "scenario:think?seconds=1"
POLLS = 100


async def measure(quick: bool) -> Table:
    jobs = 40 if quick else 200
    async with Stack.up() as stack:
        await stack.worker(AGENT_MAX_RESPONSES_IN_FLIGHT=str(IN_FLIGHT))
        settings = {
            "TEMPORAL_ADDRESS": stack.temporal.address,
            "OPENAI_BASE_URL": stack.emulator.base_url,
            "AGENT_LOG_LEVEL": "warning",
        }
        async with StdioServer(settings, stack.folder).session() as session, empty_server() as client:
            await session.ended(await session.start(model=MODEL))  # everything is loaded, and known to be there
            empty_alone = await one_by_one(lambda: call_empty(client), POLLS)
            empty_at_once = await at_once(lambda: call_empty(client), jobs)
            ids: list[str] = []
            starts = await at_once(lambda: start(session, ids), jobs)
            open_polls = await one_by_one(lambda: session.poll(ids[-1]), POLLS)
            ended = await asyncio.gather(*(session.ended(job_id) for job_id in ids))
            closed_polls = await one_by_one(lambda: session.poll(ids[0]), POLLS)
        bill = await stack.emulator.control.billing()
    completed = sum(reply["status"] == "completed" for reply in ended)
    per_job = [sum(each.metadata["workflow_id"] == job_id for each in bill.responses) for job_id in ids]
    table = Table(f"(g) MCP: {jobs} jobs started at once from one client, over stdio")
    table.rows = [
        Row("jobs with an answer", str(completed), str(jobs), target=Target(completed, jobs, at_least=True)),
        Row("most responses created for one job", str(max(per_job)), "1", target=Target(max(per_job), 1)),
        Row(
            "most responses in flight",
            str(bill.counts.max_in_flight),
            f"{IN_FLIGHT} allowed",
            target=Target(bill.counts.max_in_flight, IN_FLIGHT),
        ),
        row("start, all at once", starts, empty_at_once),
        row("poll of an open job, one at a time", open_polls, empty_alone),
        row("poll of a closed job, one at a time", closed_polls, empty_alone),
    ]
    table.notes.append("Latency as the client sees it, median (p95). Yardstick: an empty tool, called in the same way.")
    return table


def empty_server() -> Client:
    """A client of a server whose tool does nothing."""
    command = StdioServerParameters(command=sys.executable, args=["-m", empty_tool.__name__], env=child_environment())
    return Client(stdio_client(command))


async def call_empty(client: Client) -> None:
    await client.call_tool(empty_tool.NAME, {})


async def start(session: Session, ids: list[str]) -> None:
    ids.append(await session.start("Think about it.", model=MODEL, save_to_file=False))


async def at_once(call: Callable[[], Awaitable[object]], times: int) -> list[float]:
    """Seconds of each of so many calls that are made at the same moment."""
    return list(await asyncio.gather(*(seconds_of(call) for _ in range(times))))


async def one_by_one(call: Callable[[], Awaitable[object]], times: int) -> list[float]:
    """Seconds of each of so many calls, one after the other."""
    return [await seconds_of(call) for _ in range(times)]


async def seconds_of(call: Callable[[], Awaitable[object]]) -> float:
    asked = time.perf_counter()
    await call()
    return time.perf_counter() - asked


def row(measured: str, ours: list[float], empty: list[float]) -> Row:
    return Row(measured, latency(ours), latency(empty), median(ours) / median(empty))


def latency(seconds: list[float]) -> str:
    """Median and 95th percentile."""
    return f"{milliseconds(median(seconds))} (p95 {milliseconds(quantiles(seconds, n=20, method='inclusive')[-1])})"


if __name__ == "__main__":
    run(measure)
