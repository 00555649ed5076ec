"""(c) From the moment at which a response is complete to the moment at which the workflow knows."""

import asyncio
from itertools import product
from statistics import median

from dev.bench.command import run
from dev.bench.stack import Run, Stack
from dev.bench.table import Row, Table, Target, spread
from dev.bench.timeline import events_of, last_known
from durable_responses.activities.messages import Transport
from durable_responses.workflows.contract import TransportChoice

OF_A_RIVAL = 1.7  # seconds, pydantic-ai 2.68
SPREAD = 0.1  # responses are up to so much shorter and longer, or all would end at the same point of the cadence


async def measure(quick: bool) -> Table:
    lengths, runs = ([1.0, 5.0], 6) if quick else ([1.0, 12.0, 60.0], 24)
    kinds = list(product([Transport.BACKGROUND, Transport.STREAM], lengths))
    async with Stack.up() as stack:
        await stack.worker(AGENT_MAX_RESPONSES_IN_FLIGHT=str(len(kinds) * runs))
        found = await asyncio.gather(*(_delays(stack, *kind, runs) for kind in kinds))
    table = Table("(c) From the response's completion to the workflow's knowledge of it")
    for (transport, length), delays in zip(kinds, found, strict=True):
        table.rows.append(
            Row(
                f"{transport}, responses of {length:g} s",
                spread(delays),
                ratio=median(delays) / OF_A_RIVAL,
                yardstick=f"{OF_A_RIVAL:g} s (pydantic-ai 2.68)",
                target=Target(median(delays), OF_A_RIVAL, "s"),
            )
        )
    table.notes.append(
        f"{runs} runs of each, all at once. In the background it is the cadence of the GETs that decides: it is the"
        " provider's time, not ours."
    )
    return table


async def _delays(stack: Stack, transport: Transport, length: float, runs: int) -> list[float]:
    """Seconds, one for each of so many runs with one response of about that length."""
    lengths = [length * (1 + SPREAD * (2 * number / (runs - 1) - 1)) for number in range(runs)]
    return await asyncio.gather(*(_delay(stack, transport, each) for each in lengths))


async def _delay(stack: Stack, transport: Transport, length: float) -> float:
    handle: Run = await stack.start(f"think?seconds={length:.3f}", TransportChoice(transport))
    await handle.result()
    (response,) = await stack.emulator.control.responses(workflow_id=handle.id)
    assert response.finished_at is not None
    return last_known(await events_of(handle)) - response.finished_at


if __name__ == "__main__":
    run(measure)
