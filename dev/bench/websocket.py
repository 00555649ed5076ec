"""(h) A run of many short calls over a WebSocket, beside the same run over HTTP: what a turn costs beside its model."""

from collections import defaultdict
from itertools import pairwise
from statistics import median

from temporalio.api.history.v1 import HistoryEvent

from dev.bench.command import run
from dev.bench.network import Distance, behind_tls
from dev.bench.stack import Stack, cpu_seconds, iterations_of
from dev.bench.table import Row, Table, Target, milliseconds
from dev.bench.timeline import events_of, second_of
from durable_responses.activities.messages import TRANSPORT_OF_ACTIVITY
from durable_responses.workflows.contract import TransportChoice
from tests.support.certificates import Authority
from tests.support.processes import WorkerProcess

LARGEST_RATIO = 0.6  # of a background turn
LONGEST_STREAM_TURN = 80  # milliseconds, beside the model
THINK = 0.1  # seconds that the model takes for each response
CALLS = 30
ROUND_TRIP = 0.04  # seconds to a provider that is not next door
TRANSPORTS = [TransportChoice.WEBSOCKET, TransportChoice.STREAM, TransportChoice.BACKGROUND]


async def measure(quick: bool) -> Table:
    table = Table(f"(h) Overhead of a turn over a WebSocket, runs of {CALLS} calls")
    async with Stack.up() as stack:
        authority = Authority(stack.folder)
        for round_trip in (ROUND_TRIP, 0.0):
            async with (
                behind_tls(stack.emulator.port, authority.server("127.0.0.1")) as secure_port,
                Distance(round_trip).to(secure_port) as port,
            ):
                worker = await stack.worker(
                    f"distance-{milliseconds(round_trip).split()[0]}",
                    base_url=f"https://127.0.0.1:{port}/v1",
                    SSL_CERT_FILE=str(authority.certificate),
                )
                table.rows += await _rows(stack, worker, round_trip, rounds=1 if quick else 3)
                worker.kill()
    table.notes.append(
        f"Overhead: a turn, less the {milliseconds(THINK)} of the model; the tool is empty. The transports take turns. "
        "A round trip is what separates worker and provider. Over HTTP each create has a connection of its own, which "
        "takes two more of them (TCP, TLS 1.3): it is opened while the model answers. Without any, both wait for "
        "Temporal alone."
    )
    return table


async def _rows(stack: Stack, worker: WorkerProcess, round_trip: float, *, rounds: int) -> list[Row]:
    seconds, cpu = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for number in range(rounds + 1):
        for transport in TRANSPORTS:
            before = cpu_seconds(worker)
            handle = await stack.start(iterations_of(CALLS, think=THINK), transport, task_queue=worker.task_queue)
            await handle.result()
            if number:  # everything was loaded for the first time
                cpu[transport].append((cpu_seconds(worker) - before) / (CALLS + 1))
                seconds[transport] += _overheads(await events_of(handle))
    websocket = median(seconds[TransportChoice.WEBSOCKET])
    return [
        Row(
            f"round trip {milliseconds(round_trip)}: WebSocket, beside {other}",
            f"{milliseconds(websocket)} (CPU {milliseconds(median(cpu[TransportChoice.WEBSOCKET]))})",
            f"{milliseconds(http)} (CPU {milliseconds(median(cpu[other]))})",
            websocket / http,
            _target(other, websocket, http) if round_trip else None,
        )
        for other in TRANSPORTS[1:]
        for http in [median(seconds[other])]
    ]


def _target(other: TransportChoice, websocket: float, http: float) -> Target:
    if other is TransportChoice.STREAM:
        return Target(http * 1000, LONGEST_STREAM_TURN, "ms")
    return Target(websocket / http, LARGEST_RATIO, "×")


def _overheads(events: list[HistoryEvent]) -> list[float]:
    """Seconds from each create to the next, without those of the model."""
    starts = [
        second_of(event)
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name in TRANSPORT_OF_ACTIVITY
    ]
    return [later - earlier - THINK for earlier, later in pairwise(starts)]


if __name__ == "__main__":
    run(measure)
