"""Which queue is served by what."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.activity import _Definition
from temporalio.client import Client

from durable_responses.activities.interceptors import TellOfSearchAttributes
from durable_responses.activities.messages import ActivityName
from durable_responses.jobs.attribute_registration import AttributeWatch
from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import Settings
from durable_responses.worker.arguments import Queue
from durable_responses.worker.dependencies import Dependencies, ShutdownTimeouts, opened
from durable_responses.worker.queues import to_be_started_eagerly, workers_for
from durable_responses.workflows.contract import TaskQueue

NOBODY = "http://127.0.0.1:1/v1"
SHUTDOWN = ShutdownTimeouts(creates=timedelta(seconds=3), tools=timedelta(seconds=2))
Name = ActivityName
SERVED = {
    "agents": {
        Name.CANCEL_RESPONSE,
        Name.SAVE_ARTIFACT,
        Name.SAVE_FILES,
        Name.KEEP_CONVERSATION,
        Name.COMPACT_CONVERSATION,
        Name.CLOSED_RUNS,
        # Where there is room, started eagerly.
        Name.CREATE_RESPONSE,
        Name.STREAM_RESPONSE,
        Name.CALL_TOOL,
    },
    "agents-create": {Name.CREATE_RESPONSE, Name.STREAM_RESPONSE, Name.WEBSOCKET_TURN},
    "own": {Name.WEBSOCKET_TURN, Name.STEER_RESPONSE},
    "agents-waiting": {Name.AWAIT_RESPONSE},
    "agents-tools": {Name.CALL_TOOL, Name.DECIDE_CALLS, Name.LIST_TOOLS},
}


@pytest.fixture
async def dependencies(client: Client, tmp_path: Path) -> AsyncIterator[Dependencies]:
    provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=NOBODY, websocket_base_url=NOBODY.replace("http", "ws"))
    # One process has one worker for each queue, even if that worker never runs.
    queue = f"agents-{uuid.uuid4()}"
    settings = Settings(state_folder=tmp_path, workspace=tmp_path, task_queue=queue)
    async with opened(client, provider, settings, SHUTDOWN) as dependencies:
        yield dependencies


def configured(dependencies: Dependencies, *queues: Queue) -> dict[str, Any]:
    """How each queue is served, under its usual name; `own` is the one that only this worker serves."""
    workers = workers_for(queues, dependencies, AttributeWatch(settable=True))
    names = {queue.under(dependencies.settings.task_queue): str(queue) for queue in TaskQueue}
    names[dependencies.websockets.queue] = "own"
    return {names[worker.task_queue]: worker.config() for worker in workers}


def activities_of(config: Any) -> set[str | None]:
    return {_Definition.must_from_callable(method).name for method in config["activities"]}


async def test_each_queue_is_served_by_its_activities(dependencies: Dependencies) -> None:
    configs = configured(dependencies, *Queue)
    assert {queue: activities_of(config) for queue, config in configs.items()} == SERVED


async def test_every_activity_is_served(dependencies: Dependencies) -> None:
    configs = configured(dependencies, *Queue)
    assert set[str | None]().union(*map(activities_of, configs.values())) == set(ActivityName)


async def test_workflows_are_on_their_queue_only(dependencies: Dependencies) -> None:
    configs = configured(dependencies, *Queue)
    assert [queue for queue, config in configs.items() if config["workflows"]] == ["agents"]


async def test_a_worker_serves_the_queues_that_it_is_asked_to(dependencies: Dependencies) -> None:
    assert set(configured(dependencies, Queue.TOOLS, Queue.WAITING)) == {"agents-tools", "agents-waiting"}


async def test_each_queue_lets_its_work_end_for_as_long_as_it_may_take(dependencies: Dependencies) -> None:
    """A wait is handed to another worker at once: it is found again by the id of its response."""
    configs = configured(dependencies, *Queue)
    assert {queue: config["graceful_shutdown_timeout"].total_seconds() for queue, config in configs.items()} == {
        "agents": 3,
        "agents-create": 3,
        "own": 3,
        "agents-waiting": 0,
        "agents-tools": 2,
    }


async def test_runs_are_told_of_search_attributes_by_whoever_obtains_their_responses(
    dependencies: Dependencies,
) -> None:
    telling = {
        queue
        for queue, config in configured(dependencies, *Queue).items()
        if any(isinstance(interceptor, TellOfSearchAttributes) for interceptor in config["interceptors"])
    }
    assert telling == {"agents", "agents-create", "own"}


@pytest.mark.parametrize(
    ("queues", "eager"),
    [
        (list(Queue), {TaskQueue.CREATE, TaskQueue.TOOLS}),
        ([Queue.AGENTS, Queue.CREATE], {TaskQueue.CREATE}),
        ([Queue.AGENTS, Queue.WAITING], set()),
        ([Queue.CREATE, Queue.TOOLS], set()),
    ],
)
def test_only_who_serves_the_runs_and_their_work_starts_it_eagerly(queues: list[Queue], eager: set[TaskQueue]) -> None:
    assert to_be_started_eagerly(queues) == eager
