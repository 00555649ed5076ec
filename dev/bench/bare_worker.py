"""The yardstick's worker: `python -m dev.bench.bare_worker` serves the queues that a real one does."""

import asyncio

from temporalio.worker import Worker

from dev.bench.bare import BareWorkflow, WaitingWorkflow, nothing
from durable_responses.connection import connect
from durable_responses.settings import Settings
from durable_responses.workflows.contract import TaskQueue


async def serve(settings: Settings) -> None:
    """Serve until killed."""
    client = await connect(settings)
    activity_queues = [TaskQueue.CREATE, TaskQueue.WAITING, TaskQueue.TOOLS]
    await asyncio.gather(
        Worker(
            client, task_queue=settings.task_queue, workflows=[BareWorkflow, WaitingWorkflow], activities=[nothing]
        ).run(),
        *(
            Worker(client, task_queue=queue.under(settings.task_queue), activities=[nothing]).run()
            for queue in activity_queues
        ),
    )


if __name__ == "__main__":
    asyncio.run(serve(Settings.load()))
