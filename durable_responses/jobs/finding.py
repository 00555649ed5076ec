"""Finding a job by what a person types: its id, the beginning of its id, or nothing for the newest."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from temporalio.client import Client

from durable_responses.activities.executions import Execution, listed
from durable_responses.jobs.job_errors import JobError, JobNotFound, NoJobs, SeveralJobs, asking_temporal
from durable_responses.jobs.server_records import Records
from durable_responses.jobs.starting import MEMO_PROJECT
from durable_responses.nearest_name import nearest_name
from durable_responses.workflows.contract import WORKFLOW_TYPE

AGENT_RUNS = f'WorkflowType = "{WORKFLOW_TYPE}" AND ExecutionStatus != "ContinuedAsNew"'
"""The condition of lists: each run once, however often it was continued as new."""

_ENDS = ("Completed", "Failed", "Canceled", "Terminated", "TimedOut")

# A server that cannot pause workflows refuses the condition that a status is "Paused".
OPEN = " AND ".join(f"ExecutionStatus != '{end}'" for end in _ENDS)
"""The condition of runs, listed once each, that have not ended: they run, or are paused."""

ENDED = "(" + " OR ".join(f"ExecutionStatus = '{end}'" for end in _ENDS) + ")"
"""The condition of runs that have ended."""

_NAMED_JOBS = 5  # in the error that several fit
_LISTED = 100
_QUOTABLE = re.compile(r"[^\"'`\\\x00-\x1f\x7f]+")
_UNTIL_LISTED = 1.0  # seconds
_LOOK_AGAIN = 0.05  # seconds


async def job_of(client: Client, records: Records, said: str) -> str:
    """The job with that id, else the only one whose id begins like that. Raises `JobNotFound`, `SeveralJobs`."""
    try:
        return (await records.describe(said)).id
    except JobNotFound:
        if not _QUOTABLE.fullmatch(said):
            raise
    found = await _ids(client, f'{AGENT_RUNS} AND WorkflowId STARTS_WITH "{said}"', _LISTED)
    fitting = [job_id for job_id in found if job_id.startswith(said)]
    if not fitting:
        raise JobNotFound(said, nearest_name(said, await _ids(client, AGENT_RUNS, _LISTED)))
    if len(fitting) > 1:
        more = ["…"] if len(fitting) > _NAMED_JOBS else []
        raise SeveralJobs(said, [*fitting[:_NAMED_JOBS], *more])
    return fitting[0]


async def newest_job(client: Client, task_queue: str, project: str | None = None) -> str:
    """The job that was started last on a task queue. Raises `NoJobs`.

    Of a project: the last one of its own, or that was started on its task queue by a program that knows no projects.
    """
    # Lists come in no order that can be asked for: open runs first, others by their end.
    newest: Execution | None = None
    condition = AGENT_RUNS if project is not None else f'{AGENT_RUNS} AND TaskQueue = "{task_queue}"'

    async def is_meant(execution: Execution) -> bool:
        return project is None or (await _project_of(execution) or execution.task_queue) in (project, task_queue)

    query = condition
    while (later := await _first(client, query, is_meant)) and (newest is None or later.start_time > newest.start_time):
        newest = later
        query = f'{condition} AND StartTime > "{_stamp(later.start_time)}"'
    if newest is None:
        raise NoJobs
    return newest.id


async def _project_of(execution: Execution) -> object:
    try:
        return (await execution.memo()).get(MEMO_PROJECT)
    except (KeyError, RuntimeError, ValueError):  # a memo that only its starter can read
        return None


async def until_listed(client: Client, job_id: str) -> None:
    """Wait until lists have a job that was started just now, a second at most: the server writes them a bit later."""
    if not _QUOTABLE.fullmatch(job_id):
        return
    try:
        async with asyncio.timeout(_UNTIL_LISTED):
            while not await _ids(client, f'WorkflowId = "{job_id}"', 1):  # noqa: ASYNC110 it has no event for it
                await asyncio.sleep(_LOOK_AGAIN)
    except (JobError, TimeoutError):  # it has been started, which is what counts
        return


async def _ids(client: Client, query: str, limit: int) -> list[str]:
    async with asking_temporal():
        return list(dict.fromkeys([each.id async for each in listed(client, query, limit)]))


async def _first(client: Client, query: str, is_meant: Callable[[Execution], Awaitable[bool]]) -> Execution | None:
    async with asking_temporal():
        async for execution in listed(client, query):
            if await is_meant(execution):
                return execution
    return None


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
