"""What speaks against passing a queue by, as the server tells it: a rate limit, or a worker that serves it alone."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueKind, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue as QueueName
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client
from temporalio.service import RPCError

from durable_responses.workflows.contract import TaskQueue

logger = logging.getLogger(__name__)

_SHORTLY = timedelta(seconds=5)


class QueueWatch:
    """Which of these queues are not to be passed by, as a worker last saw it; all, until it has looked.

    `base`: the queue of the runs.
    """

    def __init__(self, client: Client, base: str, queues: Iterable[TaskQueue]) -> None:
        self._client = client
        self._base = base
        self._queues = frozenset(queues)
        self._apart = self._queues

    def is_apart(self, queue: TaskQueue) -> bool:
        """Whether work of this queue has to go through it."""
        return queue in self._apart

    async def look(self) -> None:
        """Ask the server. While it does not answer, nothing changes."""
        try:
            apart = frozenset([queue for queue in self._queues if await self._is_to_be_apart(queue)])
        except RPCError as error:
            logger.debug("What the task queues are set to is not known: %s", error)
            return
        if apart != self._apart:
            logger.debug("Not started eagerly: %s.", ", ".join(sorted(apart)) or "nothing")
        self._apart = apart

    async def run(self, *, every: float = 10.0) -> None:
        """Look again every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(every)
            await self.look()

    async def _is_to_be_apart(self, queue: TaskQueue) -> bool:
        described = await self._described(queue.under(self._base), TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
        if described.config.HasField("queue_rate_limit") and described.config.queue_rate_limit.HasField("rate_limit"):
            return True
        if described.config.HasField("fairness_keys_rate_limit_default"):
            return True
        others = {poller.identity for poller in described.pollers} - {self._client.identity}
        if not others:
            return False
        of_runs = await self._described(self._base, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
        return not others <= {poller.identity for poller in of_runs.pollers}

    async def _described(self, name: str, kind: TaskQueueType.ValueType) -> DescribeTaskQueueResponse:
        return await self._client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=QueueName(name=name, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
                task_queue_type=kind,
                report_config=True,
            ),
            timeout=_SHORTLY,
        )
