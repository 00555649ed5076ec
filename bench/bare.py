"""The yardstick: a workflow that runs empty activities. What Temporal itself costs.

It imports nothing but the SDK: the sandbox loads this module anew for every run.
"""

from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow


@dataclass
class BareTurns:
    """How many turns, and on which queue each activity of a turn runs."""

    turns: int
    queues: list[str]


@activity.defn
async def nothing() -> None:
    """An empty activity."""


@workflow.defn
class BareWorkflow:
    """Turns of empty activities, one after the other."""

    @workflow.run
    async def run(self, wanted: BareTurns) -> None:
        for _ in range(wanted.turns):
            for queue in wanted.queues:
                await workflow.execute_activity(nothing, task_queue=queue, start_to_close_timeout=timedelta(minutes=1))
