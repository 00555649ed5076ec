"""A client program that starts one run and leaves: `python -m tests.support.starting ID QUEUE INPUT`."""

import asyncio
import sys

from durable_responses.connection import connect
from durable_responses.process import leave, setup_export
from durable_responses.workflows.contract import WORKFLOW_TYPE, AgentInput


async def start(workflow_id: str, task_queue: str, agent_input: str) -> None:
    """Start a run."""
    client = await connect()
    await client.start_workflow(
        WORKFLOW_TYPE, AgentInput.model_validate_json(agent_input), id=workflow_id, task_queue=task_queue
    )


if __name__ == "__main__":
    setup_export("starting-client")
    asyncio.run(start(*sys.argv[1:]))
    leave(0)
