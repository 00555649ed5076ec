"""The Temporal server's clock: what it has noted is as old as that clock says, whatever the one here says."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue as QueueName
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, PollActivityTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

_SHORTLY = timedelta(seconds=3)
_ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
_HOLDS_FOR = 600.0  # seconds; clocks drift, and are set


class ServerClock:
    """The time at the server, asked for once in a while. `wall`: seconds since the epoch here; `steady`: of a clock
    that nobody sets.
    """

    def __init__(
        self, client: Client, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._wall = wall
        self._steady = steady
        self._asked_at = float("-inf")
        self._server_is_ahead = 0.0

    async def now(self) -> datetime:
        """The time there; that of this machine where the server cannot be asked. Raises nothing."""
        if self._steady() - self._asked_at > _HOLDS_FOR:
            ahead = await server_is_ahead_by(self._client, self._wall)
            self._asked_at = self._steady()
            self._server_is_ahead = self._wall() + ahead.total_seconds() - self._asked_at
        return datetime.fromtimestamp(self._server_is_ahead + self._steady(), UTC)


async def server_is_ahead_by(client: Client, now: Callable[[], float] = time.time) -> timedelta:
    """How far the server's clock is ahead of ours, beyond what a slow answer explains; 0 where it cannot be asked."""
    with suppress(RPCError, TimeoutError):
        async with asyncio.timeout(_SHORTLY.total_seconds()):
            return await measured_skew(client, now)
    return timedelta(0)


async def measured_skew(client: Client, now: Callable[[], float]) -> timedelta:
    """The same; raises `RPCError`, and waits as long as it takes.

    Polls a queue that nobody else uses: the server records by its own clock when that was.
    """
    queue = QueueName(name=f"clock-{secrets.token_hex(8)}")
    asked = now()
    # The server refuses short polls; this one is given up as soon as it has been recorded.
    asking = asyncio.create_task(
        client.workflow_service.poll_activity_task_queue(
            PollActivityTaskQueueRequest(namespace=client.namespace, task_queue=queue, identity="clock"),
            timeout=timedelta(seconds=60),
        )
    )
    try:
        while not (noted := await _first_poll(client, queue)):
            if asking.done():  # it was refused: the caller hears why
                await asking
            await asyncio.sleep(0.02)
        seen = now()
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError, RPCError):
            await asking
    if asked <= noted <= seen:
        return timedelta(0)
    return timedelta(seconds=noted - asked if noted < asked else noted - seen)


async def _first_poll(client: Client, queue: QueueName) -> float | None:
    request = DescribeTaskQueueRequest(namespace=client.namespace, task_queue=queue, task_queue_type=_ACTIVITIES)
    answer = await client.workflow_service.describe_task_queue(request, timeout=_SHORTLY)
    return min((poller.last_access_time.ToDatetime(UTC).timestamp() for poller in answer.pollers), default=None)
