"""(f) Events and bytes of history for an iteration, with a long prompt and many tools."""

from dataclasses import dataclass

from dev.bench.command import run
from dev.bench.stack import Stack, iterations_of
from dev.bench.table import Row, Table, Target, kilobytes
from durable_responses.activities.messages import Transport
from durable_responses.workflows.contract import TransportChoice

PROMPT = "Long. " * (100 * 1024 // 6)
OF_A_RIVAL = 135 * 1024  # bytes; Temporal's OpenAI plugin 1.1, the better of the two
MOST_GROWTH = 1.05


@dataclass(frozen=True)
class History:
    """The size of a finished run's history."""

    events: int
    bytes: int


async def measure(quick: bool) -> Table:
    few, many, more = (2, 5, 8) if quick else (5, 20, 35)
    table = Table("(f) History of an iteration")
    async with Stack.up() as stack:
        await stack.worker()
        for transport in (Transport.BACKGROUND, Transport.STREAM):
            first, second, third = [await _history(stack, transport, iterations) for iterations in (few, many, more)]
            bytes_early = (second.bytes - first.bytes) / (many - few)
            bytes_late = (third.bytes - second.bytes) / (more - many)
            table.rows += [
                Row(f"{transport}: events", f"{(third.events - first.events) / (more - few):.1f}"),
                Row(
                    f"{transport}: bytes",
                    kilobytes(bytes_late),
                    f"{kilobytes(OF_A_RIVAL)} (OpenAI plugin 1.1)",
                    bytes_late / OF_A_RIVAL,
                ),
                Row(
                    f"{transport}: bytes of iterations {many + 1} to {more}",
                    kilobytes(bytes_late),
                    f"{kilobytes(bytes_early)} (iterations {few + 1} to {many})",
                    bytes_late / bytes_early,
                    Target(bytes_late / bytes_early, MOST_GROWTH, "×"),
                ),
            ]
    table.notes.append("A prompt of 100 KiB, which every run's history holds once more, and 20 tools.")
    return table


async def _history(stack: Stack, transport: Transport, iterations: int) -> History:
    handle = await stack.start(iterations_of(iterations), TransportChoice(transport), task=PROMPT)
    await handle.result()
    info = (await handle.describe()).raw_description.workflow_execution_info
    return History(info.history_length, info.history_size_bytes)


if __name__ == "__main__":
    run(measure)
