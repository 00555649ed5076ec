"""What the server has noted, looked at from a machine whose clock differs."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from durable_responses.embedded.readiness import worker_polls
from durable_responses.jobs.jobs import Jobs
from durable_responses.jobs.server_clock import ServerClock, server_is_ahead_by
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput
from tests.support.runs import working

A_MOMENT = timedelta(seconds=2)


async def test_it_is_known_how_far_the_server_is_ahead(client: Client) -> None:
    ahead = await server_is_ahead_by(client, lambda: time.time() - 3600)
    assert abs(ahead - timedelta(hours=1)) < timedelta(seconds=2)


@pytest.mark.parametrize("wrong_by", [-3600, 0, 3600])
async def test_the_servers_time_is_told_whatever_the_clock_here_says(client: Client, wrong_by: float) -> None:
    clock = ServerClock(client, wall=lambda: time.time() + wrong_by)
    for _ in range(2):
        assert abs(await clock.now() - datetime.now(UTC)) < A_MOMENT


async def test_a_clock_that_is_set_later_changes_nothing(client: Client) -> None:
    wrong_by = [0.0]
    clock = ServerClock(client, wall=lambda: time.time() + wrong_by[0])
    await clock.now()
    wrong_by[0] = -7200
    assert abs(await clock.now() - datetime.now(UTC)) < A_MOMENT


@pytest.mark.parametrize("wrong_by", [-3600, 3600])
async def test_a_worker_is_seen_from_a_machine_whose_clock_differs(
    client: Client, provider: Provider, settings: Settings, wrong_by: float
) -> None:
    def wall() -> float:
        return time.time() + wrong_by

    before = wall()
    async with working(client, provider, settings):
        jobs = Jobs(client, settings.task_queue, ServerClock(client, wall))
        job_id = await jobs.start(AgentInput(task="Say hello.", tools=["add"]))
        await jobs.result(job_id)
        # Visibility lags a completed run; runs of other tests, on other task queues, are listed beside it.
        while not (mine := [view for view in await jobs.recent() if view.job_id == job_id and view.is_closed]):
            await asyncio.sleep(0.05)
        assert all(view.worker_running for view in mine)
        assert await worker_polls(client, settings.task_queue, since=before, wall=wall)
        assert not await worker_polls(client, settings.task_queue, since=wall() + 60, wall=wall)
