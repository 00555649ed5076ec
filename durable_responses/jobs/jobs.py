"""Jobs seen from outside: start an agent run, look at it, follow it, cancel it.

A job is a workflow, its id the job id; nothing is stored here. The command line and the MCP server use this. A run's
state is read from its worker by the query `progress`, and without a worker from the records of the Temporal server.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.executions import DescribedExecution, listed
from durable_responses.jobs import list_filters
from durable_responses.jobs.attribute_registration import says_unregistered
from durable_responses.jobs.bills import Bill, BillBy, bill_of
from durable_responses.jobs.continuing import MEMO_CONTINUES, continued, rebuilt
from durable_responses.jobs.finding import AGENT_RUNS, ENDED, OPEN, job_of, newest_job, until_listed
from durable_responses.jobs.job_errors import (
    InvalidInput,
    JobError,
    JobExists,
    JobNotFound,
    KeyReused,
    ProjectNotServed,
    StillRunning,
    TemporalNotAnswering,
    TemporalRefused,
    asking_temporal,
    is_misunderstanding,
)
from durable_responses.jobs.job_view import (
    JobView,
    Source,
    closed_state,
    full_result,
    is_news,
    with_live_text,
    with_what_was_known,
)
from durable_responses.jobs.responding import Responded, as_meant, by_signal, by_update, noted, over, request_meant
from durable_responses.jobs.server_clock import ServerClock
from durable_responses.jobs.server_records import (
    Records,
    is_closed,
    is_shown,
    is_unattended,
    last_heartbeat,
    paused_parts,
    pinned_build,
    unattended,
)
from durable_responses.jobs.starting import (
    MEMO_FINGERPRINT,
    MEMO_PROJECT,
    check_job_id,
    fingerprint_of,
    job_id_for,
    new_job_id,
    static_details_of,
)
from durable_responses.jobs.story import Story, request_of, story_of
from durable_responses.jobs.tenant_budgets import open_budgets, raise_budget
from durable_responses.pricing.tenant_budgets import Amount, TenantBudget
from durable_responses.workflows.contract import (
    CANCEL_SIGNAL,
    PROGRESS_QUERY,
    STEER_SIGNAL,
    WORKFLOW_TYPE,
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    Respond,
    TaskQueue,
)
from durable_responses.workflows.rules import parse_input, unusable_steering_message
from durable_responses.workflows.search_attributes import AGENT_TENANT, search_attributes_of
from durable_responses.workflows.web_ui import MEMO_TASK, summary_of, task_text

_QUERY_TIMEOUT = timedelta(seconds=2)  # without a worker the server would answer after 29 s
_START_TIMEOUT = 15.0  # seconds
_POLL_WINDOW = timedelta(seconds=70)  # a worker polls again after at most 60 s
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 3.0  # seconds between two looks at a run
_PAUSE_GROWTH = 1.3
_READS_AT_ONCE = 20  # jobs
_MOST_BILLED = 10_000  # jobs
_MOST_ASKED = 20  # jobs of a list
_LONGEST_CHAIN = 50  # jobs, each of which continues the one before


class _WorkerAnswer(BaseModel):
    """The outcome of asking a worker: its state, or the reason to believe that there is no worker."""

    state: AgentState | None = None
    worker_running: bool
    worker_seen_at: datetime | None = None


class _Workers:
    """Whether there are workers, looked up once for each task queue."""

    def __init__(self, look: Callable[[str], Coroutine[Any, Any, _WorkerAnswer]]) -> None:
        self._look = look
        self._looks: dict[str, asyncio.Task[_WorkerAnswer]] = {}

    async def of(self, task_queue: str) -> _WorkerAnswer:
        if task_queue not in self._looks:
            self._looks[task_queue] = asyncio.create_task(self._look(task_queue))
        return await self._looks[task_queue]


class Jobs:
    """The agent runs of one namespace. Every method may raise `TemporalNotAnswering` or `TemporalRefused`.

    `task_queue` is where new runs go, `workspace` what they work in unless they say otherwise: None leaves it to the
    worker. `project` is whose they are, if several projects share the server, and `queue_of` tells the task queue of
    another one, if that has a worker now. The client needs Temporal's pydantic data converter.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str = TaskQueue.AGENTS,
        clock: ServerClock | None = None,
        *,
        workspace: Path | None = None,
        project: str | None = None,
        queue_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._workspace = workspace
        self._project = project
        self._queue_of = queue_of
        self._records = Records(client)
        self._clock = clock or ServerClock(client)
        self._has_search_attributes = True  # until the server says otherwise

    @property
    def task_queue(self) -> str:
        """Where new runs go that continue none of another project."""
        return self._task_queue

    async def start(
        self,
        request: AgentInput,
        *,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        memo: Mapping[str, Any] | None = None,
        fingerprint: str | None = None,
        about: str | None = None,
    ) -> str:
        """Start a run and return its job id.

        With an idempotency key a second start gives the same job, running or finished; with the key and another
        `fingerprint`, of the request if none is given, it raises `KeyReused`. `memo` is kept beside the run for whoever
        looks at it; the run itself never sees it. `about`: what its id and lists call it, if not its task. A run that
        continues another goes where that one was. Raises `JobExists` when the job id is taken, `ProjectNotServed`,
        `InvalidInput`.
        """
        try:
            request = parse_input(request)
            if job_id is not None:
                check_job_id(job_id)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        shared = idempotency_key is not None
        named = job_id_for(idempotency_key) if idempotency_key is not None else job_id
        chosen = named or new_job_id(about or task_text(request))
        if shared:
            fingerprint = fingerprint or fingerprint_of(request)
            memo = {**(memo or {}), MEMO_FINGERPRINT: fingerprint}
        project, task_queue = await self._home_of((memo or {}).get(MEMO_CONTINUES))
        if request.workspace is None and self._workspace is not None and project == self._project:
            request = request.model_copy(update={"workspace": str(self._workspace)})
        if project is not None:
            memo = {**(memo or {}), MEMO_PROJECT: project}
        try:
            async with asking_temporal(seconds=_START_TIMEOUT):
                await self._start(request, chosen, task_queue, memo=memo, about=about)
        except WorkflowAlreadyStartedError:
            if named is None:  # other characters, then
                return await self.start(request, memo=memo, about=about)
            if not shared:
                raise JobExists(chosen) from None
            await self._check_fingerprint(chosen, fingerprint)
        except TemporalNotAnswering as error:
            raise TemporalNotAnswering(
                f"Temporal did not answer; the run may have been started anyway: look for job {chosen}."
            ) from error
        return chosen

    async def find(self, said: str | None) -> str:
        """The id of the job that a person means: by its id, or the beginning of it, or the newest for None.

        Raises `JobNotFound`, `NoJobs`, `SeveralJobs`.
        """
        if said is None:
            return await newest_job(self._client, self._task_queue, self._project)
        return await job_of(self._client, self._records, said)

    async def is_open(self, job_id: str) -> bool:
        """Whether the job has not ended, as the server knows it. Raises `JobNotFound`."""
        return not is_closed(await self._records.describe(job_id))

    async def task_queue_of(self, job_id: str) -> str:
        """The task queue that the workflow of a job is on. Raises `JobNotFound`."""
        return (await self._records.describe(job_id)).task_queue

    async def until_listed(self, job_id: str) -> None:
        """Wait a moment until lists, and `find`, know a job that was started just now."""
        await until_listed(self._client, job_id)

    async def state(self, job_id: str) -> JobView:
        """The job now. Answers within 5 s, worker or not. Raises `JobNotFound`."""
        described = await self._records.describe(job_id)
        answer = await self._ask_worker(described)
        if answer.state is not None and answer.state.status.is_final and not is_closed(described):
            described = await self._closing(described)
        return await self._view(described, answer)

    async def story(self, job_id: str) -> Story:
        """Every response and function call of the job so far; no worker is asked. Raises `JobNotFound`."""
        return await story_of(self._client, await self._records.describe(job_id))

    async def request(self, job_id: str) -> AgentInput:
        """What the job was asked for; no worker is asked. Raises `JobNotFound`, `InvalidInput` if it cannot be read."""
        if (request := await request_of(self._client, await self._records.describe(job_id))) is None:
            raise InvalidInput(f"What job {job_id} was asked for cannot be read.")
        return request

    async def continued(self, job_id: str, text: str, *, rebuild: bool = False) -> dict[str, Any]:
        """The fields of an input that continues an ended job with `text`; `rebuild`: without the provider's memory.

        Start it with the memo `continues`. Raises `JobNotFound`, `StillRunning`.
        """
        if not text.strip():
            raise InvalidInput("Nothing is said to continue with: the text is empty.")
        if await self.is_open(job_id):
            raise StillRunning(job_id)
        stories = [await self.story(job_id)]
        if not rebuild and (fields := continued(stories[0], text)) is not None:
            return fields
        while len(stories) < _LONGEST_CHAIN and (before := await self._continued_by(job_id)) is not None:
            try:
                stories.insert(0, await self.story(before))
            except JobNotFound:  # its retention is over
                break
            job_id = before
        return rebuilt(stories, text)

    async def _continued_by(self, job_id: str) -> str | None:
        before = (await self._records.memo(await self._records.describe(job_id))).get(MEMO_CONTINUES)
        return before if isinstance(before, str) else None

    async def steer(self, job_id: str, text: str) -> None:
        """Tell a running job something; the model is given it with its next response at the latest.

        Raises `JobNotFound`, `InvalidInput`.
        """
        if problem := unusable_steering_message(text, []):
            raise InvalidInput(f"The message cannot be sent: {problem[0].lower()}{problem[1:]}")
        has_ended = InvalidInput(f"Job {job_id} has ended: continue it instead.")
        if not await self.is_open(job_id):
            raise has_ended
        try:
            async with asking_temporal(job_id):
                await self._client.get_workflow_handle(job_id).signal(STEER_SIGNAL, text)
        except JobNotFound:  # a closed run takes no signals; it was open a moment ago
            raise has_ended from None

    async def respond(self, job_id: str, request_id: str | None, answer: object, by: str | None = None) -> Responded:
        """Answer what a run asks its owner; `by`: who answers, in their own words.

        Without a request id the answer is for the only request that is open. Without a worker the answer is kept by the
        server. Raises `JobNotFound`, `AnswerRefused`.
        """
        view = await self.state(job_id)
        if view.is_closed:
            return over(view, request_id)
        meant = request_meant(view, request_id)
        respond = Respond(id=meant, answer=as_meant(answer, meant), by=by)
        if view.worker_running and (responded := await by_update(self._client, job_id, respond)) is not None:
            return responded
        if not await by_signal(self._client, job_id, respond):
            return over(await self._ended(job_id), respond.id)
        return noted(job_id, respond.id, perhaps_taken=view.worker_running)

    async def respond_by_signal(self, job_id: str, request_id: str, answer: object, by: str | None = None) -> None:
        """Give an answer that the run cannot refuse: if it is none, the run asks again, and says why.

        An answer to a run that has ended changes nothing.
        """
        await by_signal(self._client, job_id, Respond(id=request_id, answer=answer, by=by))

    async def result(self, job_id: str) -> AgentResult:
        """Wait until the run has closed, and return its result, whatever its status. Raises `JobNotFound`."""
        result = (await self._ended(job_id)).result
        assert result is not None
        return result

    async def cancel(self, job_id: str, reason: str | None = None, *, patience: float = 5.0) -> JobView:
        """Ask a run to stop, wait up to `patience` seconds for its end, and return what is then known.

        A run that has ended already keeps its status. Without a worker the request is kept by the server, and there is
        no waiting. Raises `JobNotFound`.
        """
        described = await self._records.describe(job_id)
        if not is_closed(described):
            await self._request_cancel(job_id, reason)
        give_up = asyncio.get_running_loop().time() + patience
        while not (view := await self.state(job_id)).is_closed:
            left = give_up - asyncio.get_running_loop().time()
            if left <= 0 or not view.worker_running:
                view.state.cancel_requested = True
                break
            await self._until_closed(job_id, min(left, _SHORTEST_PAUSE))
        return view

    async def recent(
        self,
        *,
        limit: int = 20,
        where: str | None = None,
        is_open: bool = False,
        ended_since: datetime | None = None,
    ) -> list[JobView]:
        """The newest jobs, as the server's records tell them: open ones first, then those that have ended last.

        A worker is only asked what the first of those that wait for their owner wait for.

        `where` is a condition in Temporal's list filter language; `is_open`: only those that have not ended;
        `ended_since`: only those that have, since then. Raises `InvalidInput` if the server does not understand the
        condition.
        """
        runs = f"{AGENT_RUNS} AND {OPEN}" if is_open else AGENT_RUNS
        if ended_since is not None:
            # The dev server takes the close time of an open run for the end of all times.
            runs += f' AND {ENDED} AND CloseTime >= "{_stamp(ended_since)}"'
        before = f"{runs} AND ("
        query = f"{before}{where})" if where else runs
        try:
            async with asking_temporal():
                ids = [execution.id async for execution in listed(self._client, query, limit)]
        except TemporalRefused as error:
            if where is None or not is_misunderstanding(error):
                raise
            why = await self._why_misunderstood(str(error), where, len(before))
            raise InvalidInput(f"The filter {where!r} is not understood: {why}") from None
        workers, room = _Workers(self._look_for_worker), asyncio.Semaphore(_READS_AT_ONCE)
        views = await asyncio.gather(*(self._recorded(job_id, workers, room) for job_id in dict.fromkeys(ids)))
        found = [view for view in views if view is not None]
        asking = [view for view in found if view.worker_running and view.state.status is AgentStatus.INPUT_REQUIRED]
        states = await asyncio.gather(*(self._asked_state(view.job_id) for view in asking[:_MOST_ASKED]))
        for view, state in zip(asking, states, strict=False):
            view.state.input_requests = state.input_requests if state else []
        return found

    async def bill(self, by: BillBy, *, since: datetime | None = None, job_id: str | None = None) -> Bill:
        """What one job has cost, or all that were started since then, as long as Temporal keeps them.

        Visibility cannot add up, so the newest 10,000 are listed and added. Workers are asked about open jobs.
        """
        if job_id is not None:
            return bill_of([await self.state(job_id)], by)
        began = f' AND StartTime >= "{_stamp(since)}"' if since else ""
        async with asking_temporal():
            found = listed(self._client, f"{AGENT_RUNS}{began}", _MOST_BILLED + 1)
            ids = list(dict.fromkeys([execution.id async for execution in found]))
        room = asyncio.Semaphore(_READS_AT_ONCE)
        views = await asyncio.gather(*(self._billed(id_, room) for id_ in ids[:_MOST_BILLED]))
        return bill_of([view for view in views if view is not None], by, is_whole=len(ids) <= _MOST_BILLED)

    async def tenant_budgets(self) -> list[TenantBudget]:
        """How the budgets of tenants stand that anything was set aside in. They answer while there is a worker."""
        return await open_budgets(self._client, self._task_queue)

    async def raise_tenant_budget(self, tenant: str, window: str, to: Amount) -> TenantBudget:
        """Let a window of a tenant cost more. Returns how it stands then. Raises `InvalidInput`."""
        return await raise_budget(self._client, self._task_queue, tenant, window, to)

    async def _billed(self, job_id: str, room: asyncio.Semaphore) -> JobView | None:
        async with room:
            try:
                return await self.state(job_id)
            except JobNotFound:  # its retention has ended since it was listed
                return None

    async def _asked_state(self, job_id: str) -> AgentState | None:
        return (await self._ask_worker(await self._records.describe(job_id))).state

    async def _why_misunderstood(self, refusal: str, where: str, before: int) -> str:
        start = None
        if list_filters.position_in(refusal) is not None:
            try:
                async with asking_temporal():
                    await self._client.count_workflows(list_filters.CALIBRATION)
            except JobError as error:
                start = list_filters.position_in(str(error))
        return list_filters.reason(refusal, where, before, start)

    async def watch(
        self, job_id: str, *, patience: float = 120.0, signs_of_life: bool = False
    ) -> AsyncGenerator[JobView, None]:
        """The job now, then each time something has changed, until its end; continue-as-new is followed.

        With `signs_of_life` a heartbeat of the run is a change, too.

        While the server does not answer, the last view comes again with source `earlier`; after `patience` seconds of
        silence `TemporalNotAnswering` is raised. Raises `JobNotFound`.
        """
        view = await self.state(job_id)
        yield view
        pause, silent_since = _SHORTEST_PAUSE, None
        while not view.is_closed:
            await self._until_closed(job_id, pause)
            try:
                seen, silent_since = with_what_was_known(await self.state(job_id), view), None
            except TemporalNotAnswering:
                now = asyncio.get_running_loop().time()
                silent_since = silent_since or now
                if now - silent_since >= patience:
                    raise
                seen = view.model_copy(update={"source": Source.EARLIER})
            changed = is_news(seen, view)
            pause = next_pause(pause, changed=changed)
            if changed or (signs_of_life and seen.last_sign != view.last_sign):
                view = seen
                yield view

    async def _ended(self, job_id: str) -> JobView:
        """Wait until the run has closed."""
        async for view in self.watch(job_id):
            if view.is_closed:
                return view
        raise AssertionError("watching ends with the result")

    # --- parts ---------------------------------------------------------------------------------------------------

    async def _check_fingerprint(self, job_id: str, fingerprint: str | None) -> None:
        memo = await self._records.memo(await self._records.describe(job_id))
        # A job of an earlier version has none; nor has one whose memo only its starter can read.
        if memo.get(MEMO_FINGERPRINT, fingerprint) != fingerprint:
            raise KeyReused(job_id)

    async def _home_of(self, before: object) -> tuple[str | None, str]:
        """The project that a new run belongs to, and its task queue: of the job that it continues, if it does."""
        if not isinstance(before, str) or self._project is None:
            return self._project, self._task_queue
        described = await self._records.describe(before)
        project = (await self._records.memo(described)).get(MEMO_PROJECT, self._project)
        if project == self._project:
            return self._project, self._task_queue
        if not isinstance(project, str) or (task_queue := self._queue_of(project)) is None:
            raise ProjectNotServed(before, str(project))
        return project, task_queue

    async def _start(
        self, request: AgentInput, job_id: str, task_queue: str, *, memo: Mapping[str, Any] | None, about: str | None
    ) -> None:
        summary = summary_of(request if about is None else request.model_copy(update={"task": about}))
        attributes = search_attributes_of(request, AgentState()) if self._has_search_attributes else None
        try:
            await self._client.start_workflow(
                WORKFLOW_TYPE,
                request,
                id=job_id,
                task_queue=task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                memo={MEMO_TASK: summary, **(memo or {})},
                search_attributes=attributes,
                static_summary=summary,
                static_details=static_details_of(request),
            )
        except RPCError as error:
            if attributes is None or not says_unregistered(error):
                raise
            self._has_search_attributes = False
            await self._start(request, job_id, task_queue, memo=memo, about=about)

    async def _request_cancel(self, job_id: str, reason: str | None) -> None:
        """By our signal, which carries the reason; where the server takes no more signals, by Temporal's own cancel.

        A run takes 10,000 signals in all. Returns only if one of both was taken, or the run has closed meanwhile.
        """
        handle = self._client.get_workflow_handle(job_id)
        async with asking_temporal():
            try:
                await handle.signal(CANCEL_SIGNAL, args=[reason] if reason else [])
            except RPCError as error:
                if not _is_refusal(error):
                    if error.status is RPCStatusCode.NOT_FOUND:  # closed in this very moment; its state will tell
                        return
                    raise
                await self._cancel_by_temporal(handle)

    async def _cancel_by_temporal(self, handle: WorkflowHandle[Any, Any]) -> None:
        try:
            await handle.cancel()
        except RPCError as error:
            if error.status not in (RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.NOT_FOUND):
                raise

    async def _ask_worker(self, described: DescribedExecution) -> _WorkerAnswer:
        """Query the run, unless no worker has polled for minutes: then there is nothing to wait for."""
        seen_at = await self._records.last_poll(described.task_queue)
        if seen_at is None:
            return _WorkerAnswer(worker_running=False)
        handle = self._client.get_workflow_handle(described.id)
        try:
            async with asyncio.timeout(_QUERY_TIMEOUT.total_seconds() + 0.2):
                state = await handle.query(PROGRESS_QUERY, result_type=AgentState, rpc_timeout=_QUERY_TIMEOUT)
        except WorkflowQueryFailedError:
            return _WorkerAnswer(worker_running=True, worker_seen_at=seen_at)
        except TimeoutError:
            return _WorkerAnswer(worker_running=False, worker_seen_at=seen_at)
        except RPCError as error:
            return _WorkerAnswer(worker_running=not _says_no_worker(error), worker_seen_at=seen_at)
        return _WorkerAnswer(state=state, worker_running=True, worker_seen_at=seen_at)

    async def _look_for_worker(self, task_queue: str) -> _WorkerAnswer:
        seen_at = await self._records.last_poll(task_queue)
        lately = seen_at is not None and await self._clock.now() - seen_at < _POLL_WINDOW
        return _WorkerAnswer(worker_running=lately, worker_seen_at=seen_at)

    async def _recorded(self, job_id: str, workers: "_Workers", room: asyncio.Semaphore) -> JobView | None:
        async with room:
            try:
                described = await self._records.describe(job_id)
                return await self._view(described, await workers.of(described.task_queue))
            except JobNotFound:  # its retention has ended since it was listed
                return None

    async def _view(self, described: DescribedExecution, answer: _WorkerAnswer) -> JobView:
        result = None
        if is_closed(described):
            state = answer.state or await self._records.state(described)
            result = full_result(await self._records.outcome(described), state)
            state = closed_state(state, result, described.close_time)
        elif answer.state is not None:
            state = await self._with_wait(await self._while_open(answer.state, described), described)
        else:
            state = await self._with_wait(await self._records.state(described), described)
        return JobView(
            job_id=described.id,
            run_id=described.run_id,
            summary=await self._records.summary(described),
            tenant=described.typed_search_attributes.get(AGENT_TENANT),
            state=state,
            result=result,
            source=Source.SERVER if answer.state is None else Source.WORKER,
            worker_running=answer.worker_running,
            worker_seen_at=answer.worker_seen_at,
            closed_at=described.close_time,
            task_attempt=described.raw_description.pending_workflow_task.attempt,
            memo=await self._records.memo(described),
            paused=paused_parts(described),
            absent_build=None if answer.worker_running else pinned_build(described),
            last_sign=None if result else max(filter(None, [last_heartbeat(described), state.updated_at])),
        )

    async def _while_open(self, state: AgentState, described: DescribedExecution) -> AgentState:
        """Heartbeats carry the response under way and its text, sooner and more than signals to the run do."""
        if state.status.is_final:  # not before it has closed: its result would be missing
            state = state.model_copy(update={"status": AgentStatus.RUNNING})
        for heartbeat in await self._records.heartbeats(described):
            if heartbeat.response_id is None or heartbeat.response_id != state.response_id:
                continue
            preview = with_live_text(state.preview, heartbeat.preview) if heartbeat.preview else state.preview
            response_status = heartbeat.response_status or state.response_status
            return state.model_copy(update={"preview": preview, "response_status": response_status})
        return state

    async def _with_wait(self, state: AgentState, described: DescribedExecution) -> AgentState:
        """With what only the server knows: that no worker has taken the run's next step yet."""
        waiting = state.waiting
        if not is_unattended(described) and (waiting is None or waiting.attempt):
            return state
        now = await self._clock.now()
        if waiting is None or not waiting.attempt:
            waiting = unattended(described, now) or waiting
        shown = waiting if waiting is not None and is_shown(waiting, now) else None
        return state.model_copy(update={"waiting": shown})

    async def _closing(self, described: DescribedExecution) -> DescribedExecution:
        """A run that calls itself ended closes in a moment: look again, so that its status comes with its result."""
        await self._until_closed(described.id, 1.0)
        return await self._records.describe(described.id)

    async def _until_closed(self, job_id: str, seconds: float) -> None:
        """Wait that long, or until the newest execution closes."""
        handle = self._client.get_workflow_handle(job_id)
        closing = handle.fetch_history_events(
            wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT, skip_archival=True
        )
        try:
            async with asyncio.timeout(seconds):
                await anext(closing, None)
        except TimeoutError:
            return
        except RPCError:  # the caller reads the state next, and that says what is wrong
            await asyncio.sleep(seconds)


# --- rules -------------------------------------------------------------------------------------------------------


def next_pause(pause: float, *, changed: bool) -> float:
    """Seconds until a run is looked at again: often while something happens, less and less while nothing does."""
    return _SHORTEST_PAUSE if changed else min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _is_refusal(error: RPCError) -> bool:
    """Whether the server is there, and knows the run, but does not do what it was asked."""
    return error.status in (
        RPCStatusCode.INVALID_ARGUMENT,  # what it says of the ten thousandth signal
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.OUT_OF_RANGE,
    )


def _says_no_worker(error: RPCError) -> bool:
    timed_out = error.status in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)
    return timed_out or "no poller" in error.message
