"""Whether something serves: a port, a Temporal server, a worker."""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from durable_responses.jobs.dead_pollers import has_ended
from durable_responses.jobs.server_clock import server_is_ahead_by

HOST = "127.0.0.1"
# A healthy dev server answers in milliseconds; one that starts, or is being killed, may not answer at all.
_SHORTLY = timedelta(seconds=2)


def port_serves(port: int) -> bool:
    """Whether a port of 127.0.0.1 accepts connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def port_is_free(port: int) -> bool:
    """Whether a server could listen on a port of 127.0.0.1."""
    if port_serves(port):
        return False
    with socket.socket() as probe:
        # As servers do it: connections that a killed server left behind do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that the system chooses."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def open_runs(client: Client, task_queue: str) -> int | None:
    """How many runs of a task queue are open; None if the server does not answer at once."""
    query = f'TaskQueue="{task_queue}" AND ExecutionStatus="Running"'
    try:
        return (await client.count_workflows(query, rpc_timeout=_SHORTLY)).count
    except RPCError:
        return None


async def worker_polls(
    client: Client, task_queue: str, *, since: float, pid: int | None = None, wall: Callable[[], float] = time.time
) -> bool:
    """Whether a worker has polled for workflow tasks since a time: any, or a process here.

    The time is in seconds since the epoch, by `wall`, the clock of this machine; the server notes polls by its own.
    """
    # The SDK's identity of a client.
    identity = f"{pid}@{socket.gethostname()}" if pid else ""
    pollers = await _pollers(client, task_queue)
    polls = [poller.last_access_time for poller in pollers if poller.identity.startswith(identity)]
    if not polls:
        return False
    moment = datetime.fromtimestamp(since, UTC) + await server_is_ahead_by(client, wall)
    return any(poll.ToDatetime(UTC) >= moment for poll in polls)


async def workers_are_here(client: Client, task_queue: str) -> bool:
    """Whether a task queue has workers, all of which are processes of this machine."""
    pollers = await _pollers(client, task_queue)
    return bool(pollers) and all(poller.identity.endswith(f"@{socket.gethostname()}") for poller in pollers)


async def _pollers(client: Client, task_queue: str) -> list[PollerInfo]:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        answer = await client.workflow_service.describe_task_queue(request, timeout=_SHORTLY)
    except RPCError:
        return []
    return [poller for poller in answer.pollers if not has_ended(poller.identity)]
