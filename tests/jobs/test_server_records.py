"""What Temporal's records say of a run is read whatever they hold."""

import secrets
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from durable_responses.jobs.server_records import Records
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentStatus

ENCRYPTED = RawValue(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"secret"))


@workflow.defn(name="AgentWorkflow", sandboxed=False)
class Ends:
    """Stands in for an agent run of a worker that encrypts, or of another program."""

    @workflow.run
    async def run(self, ending: str) -> Any:
        match ending:
            case "encrypted result":
                return ENCRYPTED
            case "encrypted failure":
                raise ApplicationError("Encoded failure", ENCRYPTED)
            case _:
                return {"status": "no status of ours"}


@pytest.mark.parametrize("ending", ["encrypted result", "encrypted failure", "another program's result"])
async def test_a_result_that_cannot_be_read_is_a_failure_that_says_so(
    client: Client, settings: Settings, ending: str
) -> None:
    """A20: one such run must not keep the list from showing all others."""
    async with Worker(client, task_queue=settings.task_queue, workflows=[Ends]):
        run = await client.start_workflow(
            Ends.run, ending, id=f"odd-{secrets.token_hex(4)}", task_queue=settings.task_queue
        )
        records = Records(client)
        async for _ in run.fetch_history_events(wait_new_event=True):
            pass
        result = await records.outcome(await records.describe(run.id))
    assert result.error is not None
    assert (result.status, result.error.type) == (AgentStatus.FAILED, "unreadable_result")
