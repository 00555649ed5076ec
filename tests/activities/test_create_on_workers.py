"""Creates on real workers: what reaches the next attempt when one has failed or was cancelled."""

import uuid
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_responses.activities.messages import CreatedResponse, CreateResponse, ModelOptions, Opening
from durable_responses.activities.responses import ResponsesActivities
from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.responses_api.client import ResponsesClient
from tests.support.attempts import activities_of
from tests.support.emulator_control import RunningEmulator


@workflow.defn
class OneCreate:
    """Creates one response, as an agent run does."""

    @workflow.run
    async def run(self, create: CreateResponse) -> CreatedResponse:
        return await workflow.execute_activity_method(
            ResponsesActivities.create_response,
            create,
            schedule_to_close_timeout=timedelta(seconds=20),
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
        )


async def created(
    client: Client, provider: ResponsesClient, create: CreateResponse, **parts: object
) -> tuple[CreatedResponse, int]:
    """The response, and which attempt of the activity brought it."""
    queue = f"creates-{uuid.uuid4()}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneCreate],
        activities=[activities_of(provider, **parts).create_response],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
    ):
        run = await client.start_workflow(OneCreate.run, create, id=f"one-create-{uuid.uuid4()}", task_queue=queue)
        response = await run.result()
    events = [event async for event in run.fetch_history_events()]
    [started] = [event for event in events if event.HasField("activity_task_started_event_attributes")]
    return response, started.activity_task_started_event_attributes.attempt


def request(**fields: object) -> CreateResponse:
    given = {"options": ModelOptions(), "iteration": 1, "opening": Opening(task="Go on."), **fields}
    return CreateResponse.model_validate(given)


async def test_a_create_that_gave_its_slot_back_is_sent_by_the_next_attempt(
    client: Client, emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A21: the word that nothing was taken reaches the next attempt, although heartbeats are throttled."""
    busy = Answer(status=503, headers={"retry-after": "0.1"})
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=busy, times=2))
    _, attempt = await created(client, emulated, request(), patience=0.0)
    assert attempt == 3
    counts = (await emulator.control.billing()).counts
    assert (counts.creates_rejected, counts.creates_accepted) == (2, 1)


async def test_a_create_that_failed_before_its_post_is_sent_by_the_next_attempt(
    client: Client, emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    stored, _ = await created(client, emulated, request())
    await emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Answer(status=500)))
    rebuilt, attempt = await created(client, emulated, request(rebuild_from=[stored.response_id]))
    assert attempt == 2
    assert rebuilt.response_id != stored.response_id
