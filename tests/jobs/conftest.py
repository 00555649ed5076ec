"""The worker and the settings that runs are tested with, and the jobs of their task queue."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from temporalio.client import Client

from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.jobs import Jobs
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from tests.support.runs import working
from tests.workflows.conftest import agents, provider, settings  # noqa: F401 fixtures


@pytest.fixture
def jobs(client: Client, settings: Settings) -> Jobs:  # noqa: F811
    """Jobs of a task queue that no worker serves, unless `agents` or `worker` is asked for."""
    return Jobs(client, settings.task_queue)


@pytest.fixture
async def worker(client: Client, provider: Provider, settings: Settings) -> AsyncIterator[None]:  # noqa: F811
    """A worker of that task queue."""
    async with working(client, provider, settings):
        yield


async def seen(jobs: Jobs, job_id: str, condition: Callable[[JobView], object]) -> JobView:
    """Watch a job until a view of it fulfils a condition."""
    async with asyncio.timeout(20):
        async for view in jobs.watch(job_id):
            if condition(view):
                return view
    raise AssertionError(f"{job_id} ended first: {view}")
