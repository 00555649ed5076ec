"""(m) What a budget costs a run that does not reach it: iterations with one, beside the same without."""

from statistics import median
from typing import Any

from dev.bench.command import run
from dev.bench.iterations import Iterations
from dev.bench.stack import Stack, iterations_of
from dev.bench.table import Row, Table, Target, milliseconds
from durable_responses.activities.messages import Transport
from durable_responses.workflows.contract import TransportChoice

LARGEST_RATIO = 1.03
_PRICES = {"gpt-5.4": {"input": 2.5, "output": 15, "cached_input": 0.25}}
_PRICED: dict[str, Any] = {"model": "gpt-5.4", "prices": _PRICES}


async def measure(quick: bool) -> Table:
    iterations, rounds = (10, 1) if quick else (30, 10)
    kinds = (Transport.STREAM, Transport.BACKGROUND)
    without, within = {kind: Iterations() for kind in kinds}, {kind: Iterations() for kind in kinds}
    events: dict[Transport, list[int]] = {kind: [] for kind in kinds}
    async with Stack.up() as stack:
        worker = await stack.worker()
        for number in range(rounds + 1):
            if number == 1:  # everything was loaded for the first time
                without, within = {kind: Iterations() for kind in kinds}, {kind: Iterations() for kind in kinds}
            for kind in kinds:
                lengths = []
                for budget, taken in ((None, without[kind]), ({"usd": 1000, "tokens": 10**9}, within[kind])):
                    scenario, transport = iterations_of(iterations), TransportChoice(kind)
                    handle = await stack.start(scenario, transport, budget=budget, **_PRICED)
                    await taken.take(handle, worker, iterations)
                    lengths.append((await handle.describe()).history_length)
                events[kind].append(lengths[1] - lengths[0])
    table = Table("(m) A budget that is not reached")
    for kind in kinds:
        table.rows += _rows(kind, without[kind], within[kind], events[kind])
    table.notes.append(
        f"Medians of {rounds * iterations} iterations of each kind, alternating, at the same prices; the emulator"
        " answers at once, so that nothing hides the overhead. Yardstick: the same run without a budget."
    )
    return table


def _rows(kind: Transport, without: Iterations, within: Iterations, events: list[int]) -> list[Row]:
    ratio = median(within.seconds) / median(without.seconds)
    return [
        Row(
            f"{kind}: an iteration",
            milliseconds(median(within.seconds)),
            milliseconds(median(without.seconds)),
            ratio,
            Target(ratio, LARGEST_RATIO, "×"),
        ),
        Row(
            f"{kind}: CPU of the worker for an iteration",
            milliseconds(median(within.cpu)),
            milliseconds(median(without.cpu)),
            median(within.cpu) / median(without.cpu),
        ),
        Row(f"{kind}: more events of history in a run", f"{median(events):g}", "0", None, None),
    ]


if __name__ == "__main__":
    run(measure)
