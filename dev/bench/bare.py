"""The yardstick: a workflow that runs empty activities, and one that has responses waited for without being a run.

This module imports nothing but the SDK: the sandbox loads this module anew for every run.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity, workflow


@dataclass
class BareTurns:
    """How many iterations, and on which queue each activity of an iteration runs."""

    iterations: int
    queues: list[str]


@activity.defn
async def nothing() -> None:
    """An empty activity."""


@workflow.defn
class BareWorkflow:
    """Iterations of empty activities, one after the other."""

    @workflow.run
    async def run(self, wanted: BareTurns) -> None:
        for _ in range(wanted.iterations):
            for queue in wanted.queues:
                await workflow.execute_activity(nothing, task_queue=queue, start_to_close_timeout=timedelta(minutes=1))


@dataclass
class BareWaits:
    """Responses to be waited for, on which queue, and after how many seconds a lost worker is noticed."""

    response_ids: list[str]
    queue: str
    heartbeat_timeout: float


@dataclass
class Wait:
    """As much of an `AwaitResponse` as it takes."""

    response_id: str
    created_at: datetime


@workflow.defn
class WaitingWorkflow:
    """Has our worker wait for responses, all at once."""

    @workflow.run
    async def run(self, wanted: BareWaits) -> None:
        await asyncio.gather(
            *(
                workflow.execute_activity(
                    "await_response",
                    Wait(response_id, workflow.now()),
                    task_queue=wanted.queue,
                    schedule_to_close_timeout=timedelta(days=1),
                    heartbeat_timeout=timedelta(seconds=wanted.heartbeat_timeout),
                )
                for response_id in wanted.response_ids
            )
        )
