"""Checks of the Temporal server, of the namespace, of the task queues and of the clock."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import NamespaceState, TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.taskqueue.v1 import TaskQueue as QueueName
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    GetClusterInfoRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.durations import in_words
from durable_responses.health.checks import Check, note, ok, problem
from durable_responses.jobs.dead_pollers import has_ended
from durable_responses.jobs.server_clock import measured_skew
from durable_responses.workflows.contract import WORKFLOW_TYPE, AgentStatus, TaskQueue
from durable_responses.workflows.search_attributes import AGENT_STATUS

POLL_WINDOW = timedelta(seconds=70)  # a worker polls again after at most 60 s
SHORTLY = timedelta(seconds=3)
_SHORTEST_RETENTION = timedelta(hours=24)
_TOLERATED_SKEW = timedelta(seconds=2)

WORKFLOWS, ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def check_server(client: Client) -> Check:
    """Whether the server answers, and its version."""
    try:
        answer = await client.workflow_service.get_cluster_info(GetClusterInfoRequest(), timeout=SHORTLY)
    except RPCError as error:
        if error.status is RPCStatusCode.UNIMPLEMENTED or error.status is RPCStatusCode.PERMISSION_DENIED:
            return ok("temporal", f"answers at {_address(client)}")
        return problem("temporal", f"{_address(client)}: {error.message}", "check the server, or TEMPORAL_ADDRESS")
    return ok("temporal", f"server {answer.server_version} answers at {_address(client)}")


async def check_namespace(client: Client) -> Check:
    """Whether the namespace exists and keeps finished runs for a day."""
    name = client.namespace
    try:
        answer = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=name), timeout=SHORTLY
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            cure = f"create it: temporal operator namespace create --namespace {name} --retention 72h"
            return problem("namespace", f"there is no namespace {name!r}", cure)
        return problem(
            "namespace", f"{name}: {error.message}", "check TEMPORAL_NAMESPACE and the permissions of the API key"
        )
    if answer.namespace_info.state != NamespaceState.NAMESPACE_STATE_REGISTERED:
        return problem("namespace", f"{name} is being deleted", "use another one: TEMPORAL_NAMESPACE")
    kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    found = f"{name}, keeps finished runs for {in_words(kept)}"
    if kept < _SHORTEST_RETENTION:
        cure = f"keep them for longer: temporal operator namespace update --namespace {name} --retention 72h"
        return note("namespace", found, cure)
    return ok("namespace", found)


async def check_queue(client: Client, queue: TaskQueue, base: str, ahead: timedelta = timedelta(0)) -> Check:
    """Whether workers poll one task queue. `ahead`: how far the server's clock is ahead of ours."""
    name = queue.under(base)
    title = f"queue {name}"
    try:
        pollers = await pollers_of(client, name, WORKFLOWS if queue is TaskQueue.AGENTS else ACTIVITIES, ahead)
    except RPCError as error:
        return problem(title, error.message, "check the permissions of the API key")
    workers = {poller.identity for poller in pollers}
    killed = {identity for identity in workers if has_ended(identity)}
    if killed == workers and killed:
        found = f"no pollers on this task queue; {', '.join(sorted(killed))} ended without a word"
        return problem(
            title, found, f"wait a moment if `up` or `run` started it, which start it again; else {_start_one(queue)}"
        )
    if not workers:
        return problem(title, "no pollers on this task queue", _start_one(queue))
    count = len(workers - killed)
    return ok(title, f"{count} worker{'s' if count > 1 else ''}")


async def check_project_of_stack(client: Client, folder: str, task_queue: str, ahead: timedelta) -> Check:
    """Whether one of the projects that share the embedded stack has a worker now. It is no problem if it has none."""
    title = f"project {folder}"
    try:
        pollers = await pollers_of(client, task_queue, WORKFLOWS, ahead)
    except RPCError as error:
        return problem(title, error.message, "check the permissions of the API key")
    is_served = any(not has_ended(poller.identity) for poller in pollers)
    return ok(title, f"on task queue {task_queue}, {'served' if is_served else 'without a worker at the moment'}")


def _start_one(queue: TaskQueue) -> str:
    short = queue.value.removeprefix("agents-")
    cure = (
        f"start one: `durable-responses up` or `durable-responses worker` (with --queues, {short} must be among them)"
    )
    return f"{cure}; or all of them are busy: {_LIMITS[queue]}" if queue in _LIMITS else cure


# A worker whose slots are all taken does not poll.
_LIMITS = {TaskQueue.CREATE: "AGENT_MAX_RESPONSES_IN_FLIGHT", TaskQueue.TOOLS: "AGENT_MAX_TOOLS"}


async def pollers_of(
    client: Client, queue: str, kind: TaskQueueType.ValueType, ahead: timedelta = timedelta(0)
) -> list[PollerInfo]:
    """The recent pollers of a queue, if the server's clock is so far ahead of ours. Raises `RPCError`."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=QueueName(name=queue), task_queue_type=kind
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=SHORTLY)
    since = datetime.now(UTC) + ahead - POLL_WINDOW
    return [poller for poller in answer.pollers if poller.last_access_time.ToDatetime(UTC) >= since]


async def check_clock(client: Client, now: Callable[[], float] = time.time) -> Check:
    """Whether our clock and the server's agree: what the server notes by its own is shown here as an age."""
    try:
        async with asyncio.timeout(SHORTLY.total_seconds()):
            skew = await measured_skew(client, now)
    except (RPCError, TimeoutError):
        return note("clock", "could not be compared with the server's", "compare it yourself: `date -u`")
    found = f"{abs(skew.total_seconds()):.1f} s {'behind' if skew > timedelta(0) else 'ahead of'} the server's"
    if abs(skew) > _TOLERATED_SKEW:
        return problem(
            "clock",
            found,
            "synchronise it by NTP, here or there: runs keep to the server's clock, but ages and `up` would be wrong",
        )
    return ok("clock", "agrees with the server's")


async def check_input_requests(client: Client, queue: str) -> Check:
    """How many runs of a task queue wait for their owner, as far as the namespace can tell."""
    waiting = f"{AGENT_STATUS.name} = '{AgentStatus.INPUT_REQUIRED}'"
    query = f"WorkflowType = '{WORKFLOW_TYPE}' AND TaskQueue = '{queue}' AND ExecutionStatus = 'Running' AND {waiting}"
    try:
        async with asyncio.timeout(SHORTLY.total_seconds()):
            count = (await client.count_workflows(query)).count
    except (RPCError, TimeoutError):
        return ok("input requests", f"not counted: that takes the search attribute {AGENT_STATUS.name}")
    if not count:
        return ok("input requests", "no run waits for its owner")
    found = "1 run waits for its owner" if count == 1 else f"{count} runs wait for their owners"
    cure = f'see what they ask: `durable-responses list --where "{waiting}"`; answer with `durable-responses respond`'
    return note("input requests", found, cure)


def _address(client: Client) -> str:
    return client.service_client.config.target_host
