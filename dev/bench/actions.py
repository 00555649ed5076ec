"""(j) Temporal Actions of a run, which Temporal Cloud charges for: as the server itself counts them, by kind.

https://docs.temporal.io/cloud/actions and, for the server's metric `action`, /cloud/migrate/estimate-actions.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from dev.bench.command import run
from dev.bench.stack import Run, Stack, iterations_of
from dev.bench.table import Row, Table, Target
from dev.bench.timeline import events_of
from durable_responses.activities.polling import OF_THE_TIMEOUT
from durable_responses.workflows.contract import TransportChoice
from tests.support.processes import TemporalServer

MOST_ACTIONS = 30
LONG = 600.0  # seconds of the response that is asked about
HEARTBEAT = 30.0  # seconds from one heartbeat of its wait to the next
HEARTBEAT_TIMEOUT = HEARTBEAT / OF_THE_TIMEOUT
ITERATIONS = 10
_LINE = re.compile(r'^action\{action_type="(?:command|grpc)_(\w+)",namespace="default",.*\} (\d+)$', re.MULTILINE)

# The kinds of events that are Actions, as far as an agent run has them.
_EVENTS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_MARKER_RECORDED,
}


async def measure(quick: bool) -> Table:
    scale = 20 if quick else 10
    table = Table("(j) Temporal Actions of a run")
    async with Stack.up() as stack:
        await stack.worker()
        think, timeout = LONG / scale, HEARTBEAT_TIMEOUT / scale
        scenario = f"think?seconds={think:g}"
        starting = stack.start(scenario, TransportChoice.BACKGROUND, heartbeat_timeout=timeout)
        counted, handle = await _counted(stack, starting)
        table.rows.append(
            Row(
                f"one response of {LONG / 60:.0f} min in the background, a heartbeat every {HEARTBEAT:.0f} s",
                f"{counted.total()} Actions",
                f"{await _in_history(handle)} of them in history",
                target=Target(counted.total(), MOST_ACTIONS, "Actions"),
            )
        )
        fixed = counted.total() - round(LONG / HEARTBEAT)
        notes = [
            f"Measured on a response and a heartbeat timeout {scale} times as short as 10 min and"
            f" {HEARTBEAT_TIMEOUT:.0f} s: {_told(counted)}. Otherwise it is"
            f" {fixed} + seconds / ({OF_THE_TIMEOUT} × `heartbeat_timeout`)."
        ]
        for transport in (TransportChoice.BACKGROUND, TransportChoice.STREAM):
            counted, handle = await _counted(stack, stack.start(iterations_of(ITERATIONS), transport))
            figure = f"{counted.total() / ITERATIONS:.1f} Actions per iteration"
            table.rows.append(
                Row(
                    f"{transport}: {ITERATIONS} short iterations",
                    figure,
                    f"{await _in_history(handle)} in history in all",
                )
            )
            notes.append(f"{transport}: {_told(counted)}.")
    table.notes += notes
    return table


async def _counted(stack: Stack, starting: Awaitable[Run]) -> tuple[Counter[str], Run]:
    """What the server has counted from the start of a run to its end: nothing else goes on at it."""
    before = await _actions(stack.temporal)
    handle = await starting
    await handle.result()
    await asyncio.sleep(1)  # what comes late: the last heartbeat of a wait
    return await _actions(stack.temporal) - before, handle


async def _actions(server: TemporalServer) -> Counter[str]:
    match = re.search(r"Metrics:\s+(http://\S+)", server.output)
    assert match, server.tail()
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(match[1])).text
    counts: Counter[str] = Counter()
    for kind, count in _LINE.findall(text):
        counts[kind] += int(count)
    return counts


async def _in_history(handle: WorkflowHandle[object, object]) -> int:
    return sum(event.event_type in _EVENTS for event in await events_of(handle))


def _told(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counted.most_common())


if __name__ == "__main__":
    run(measure)
