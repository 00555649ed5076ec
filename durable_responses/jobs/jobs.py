"""Jobs seen from outside: start an agent run, look at it, follow it, cancel it.

A job is a workflow, its id the job id; nothing is kept here. The command line and the MCP server stand on this. A run's
state is read from its worker by the query `progress`, and without a worker from the records of the Temporal server.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.messages import PREVIEW_CHARACTERS
from durable_responses.jobs.attribute_registration import says_unregistered
from durable_responses.jobs.server_records import (
    InvalidInput,
    JobError,
    JobExists,
    JobNotFound,
    Records,
    TemporalNotAnswering,
    TemporalRefused,
    asking_temporal,
    is_closed,
    with_live_text,
)
from durable_responses.workflows.contract import (
    CANCEL_SIGNAL,
    PROGRESS_QUERY,
    WORKFLOW_TYPE,
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    TaskQueue,
    agent_workflow_id,
)
from durable_responses.workflows.rules import parse_input, transport_for
from durable_responses.workflows.search_attributes import search_attributes_of
from durable_responses.workflows.web_ui import DETAILS_BYTES, SUMMARY_BYTES, fit

__all__ = [
    "InvalidInput",
    "JobError",
    "JobExists",
    "JobNotFound",
    "JobView",
    "Jobs",
    "Source",
    "TemporalNotAnswering",
    "TemporalRefused",
    "job_id_for",
]

_QUERY_TIMEOUT = timedelta(seconds=2)  # without a worker the server would answer after 29 s
_START_TIMEOUT = 15.0
_POLL_WINDOW = timedelta(seconds=70)  # a worker asks again after at most 60 s
_SHORTEST_PAUSE, _LONGEST_PAUSE, _PAUSE_GROWTH = 0.5, 3.0, 1.3
_READ_AT_ONCE = 20
_SUMMARY_CHARACTERS, _TASK_CHARACTERS = 90, 4000


class Source(StrEnum):
    """Who told a state: the run's worker, the Temporal server's records, or nobody (what was known before)."""

    WORKER = "worker"
    SERVER = "server"
    EARLIER = "earlier"


class JobView(BaseModel):
    """A job at one moment.

    `result` is there once the run has closed. `worker_seen_at`: when a worker last asked for work, if lately. Where the
    source is not the worker, tokens and function calls of an open run are not known. `task_attempt`: a workflow task
    that is tried again and again means that the worker cannot carry on with the run. `memo`: as given to `start`.
    """

    job_id: str
    run_id: str
    summary: str | None = None
    state: AgentState
    result: AgentResult | None = None
    source: Source
    worker_running: bool
    worker_seen_at: datetime | None = None
    closed_at: datetime | None = None
    task_attempt: int = 0
    memo: Mapping[str, Any] = {}

    @property
    def is_closed(self) -> bool:
        """Whether the run has ended and its result is there."""
        return self.result is not None

    def elapsed(self, now: datetime) -> timedelta:
        """How long the run took, or has taken so far."""
        return max((self.closed_at or now) - (self.state.started_at or now), timedelta(0))


class _Answer(BaseModel):
    """What came of asking a worker: its state, or the reason to believe that there is no worker."""

    state: AgentState | None = None
    worker_running: bool
    worker_seen_at: datetime | None = None


def job_id_for(idempotency_key: str) -> str:
    """The job id of an idempotency key: the same for the same key, and 128 bits like any other (A14)."""
    return f"agent-{hashlib.sha256(idempotency_key.encode()).hexdigest()[:32]}"


class Jobs:
    """The agent runs of one namespace. Every method may raise `TemporalNotAnswering` or `TemporalRefused`.

    `task_queue` is where new runs go. The client needs Temporal's pydantic data converter.
    """

    def __init__(self, client: Client, task_queue: str = TaskQueue.AGENTS) -> None:
        self._client = client
        self._task_queue = task_queue
        self._records = Records(client)
        self._has_search_attributes = True  # until the server says otherwise

    async def start(
        self,
        request: AgentInput,
        *,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        memo: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run and return its job id.

        With an idempotency key a second start gives the same job, running or finished, whatever its arguments (A14).
        `memo` is kept beside the run for whoever looks at it; the run itself never sees it.
        Raises `JobExists` when the job id is taken, `InvalidInput`.
        """
        try:
            parse_input(request)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        shared = idempotency_key is not None
        chosen = job_id_for(idempotency_key) if idempotency_key is not None else job_id or agent_workflow_id()
        try:
            async with asking_temporal(seconds=_START_TIMEOUT):
                await self._start(request, chosen, shared=shared, memo=memo)
        except WorkflowAlreadyStartedError:
            if not shared:
                raise JobExists(chosen) from None
        except TemporalNotAnswering as error:
            raise TemporalNotAnswering(
                f"Temporal did not answer; the run may have been started all the same, look for job {chosen}."
            ) from error
        return chosen

    async def state(self, job_id: str) -> JobView:
        """The job now. Answers within 5 s, worker or not. Raises `JobNotFound`."""
        described = await self._records.describe(job_id)
        answer = await self._ask_worker(described)
        if answer.state is not None and answer.state.status.is_final and not is_closed(described):
            described = await self._closing(described)
        return await self._view(described, answer)

    async def result(self, job_id: str) -> AgentResult:
        """Wait until the run has closed, and return its result, whatever its status. Raises `JobNotFound`."""
        async for view in self.watch(job_id):
            if view.result is not None:
                return view.result
        raise AssertionError("watching ends with the result")

    async def cancel(self, job_id: str, reason: str | None = None, *, patience: float = 5.0) -> JobView:
        """Ask a run to stop, wait up to `patience` seconds for its end, and return what is then known.

        A run that has ended already keeps its status. Without a worker the request is kept by the server, and there is
        no waiting. Raises `JobNotFound`.
        """
        described = await self._records.describe(job_id)
        if not is_closed(described):
            await self._signal_cancel(job_id, reason)
        give_up = asyncio.get_running_loop().time() + patience
        while not (view := await self.state(job_id)).is_closed:
            left = give_up - asyncio.get_running_loop().time()
            if left <= 0 or not view.worker_running:
                view.state.cancel_requested = True
                break
            await self._until_closed(job_id, min(left, _SHORTEST_PAUSE))
        return view

    async def recent(self, *, limit: int = 20, where: str | None = None) -> list[JobView]:
        """The newest jobs, open ones first, as the server's records tell them; no worker is asked.

        `where` is a condition in Temporal's list filter language.
        """
        condition = f'WorkflowType = "{WORKFLOW_TYPE}" AND ExecutionStatus != "ContinuedAsNew"'
        query = f"{condition} AND ({where})" if where else condition
        async with asking_temporal():
            ids = [execution.id async for execution in self._client.list_workflows(query, limit=limit)]
        answer, turn = await self._look_for_worker(), asyncio.Semaphore(_READ_AT_ONCE)
        views = await asyncio.gather(*(self._recorded(job_id, answer, turn) for job_id in dict.fromkeys(ids)))
        return [view for view in views if view is not None]

    async def watch(self, job_id: str, *, patience: float = 120.0) -> AsyncGenerator[JobView, None]:
        """The job now, then each time something has changed, until its end; continue-as-new is followed.

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
            if changed:
                view = seen
                yield view

    # --- parts ---------------------------------------------------------------------------------------------------

    async def _start(self, request: AgentInput, job_id: str, *, shared: bool, memo: Mapping[str, Any] | None) -> None:
        attributes = search_attributes_of(request, AgentState()) if self._has_search_attributes else None
        try:
            await self._client.start_workflow(
                WORKFLOW_TYPE,
                request,
                id=job_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING if shared else WorkflowIDConflictPolicy.FAIL,
                memo=memo,
                search_attributes=attributes,
                static_summary=summary_of(request),
                static_details=static_details_of(request),
            )
        except RPCError as error:
            if attributes is None or not says_unregistered(error):
                raise
            self._has_search_attributes = False
            await self._start(request, job_id, shared=shared, memo=memo)

    async def _signal_cancel(self, job_id: str, reason: str | None) -> None:
        try:
            async with asking_temporal(job_id):
                await self._client.get_workflow_handle(job_id).signal(CANCEL_SIGNAL, args=[reason] if reason else [])
        except JobNotFound:  # it has closed in this very moment; its state will tell
            return

    async def _ask_worker(self, described: WorkflowExecutionDescription) -> _Answer:
        """Query the run, unless no worker has been about for minutes: then there is nobody to wait for."""
        seen_at = await self._records.last_poll(described.task_queue)
        if seen_at is None:
            return _Answer(worker_running=False)
        handle = self._client.get_workflow_handle(described.id)
        try:
            async with asyncio.timeout(_QUERY_TIMEOUT.total_seconds() + 0.2):
                state = await handle.query(PROGRESS_QUERY, result_type=AgentState, rpc_timeout=_QUERY_TIMEOUT)
        except WorkflowQueryFailedError:
            return _Answer(worker_running=True, worker_seen_at=seen_at)
        except TimeoutError:
            return _Answer(worker_running=False, worker_seen_at=seen_at)
        except RPCError as error:
            return _Answer(worker_running=not _says_no_worker(error), worker_seen_at=seen_at)
        return _Answer(state=state, worker_running=True, worker_seen_at=seen_at)

    async def _look_for_worker(self) -> _Answer:
        seen_at = await self._records.last_poll(self._task_queue)
        lately = seen_at is not None and datetime.now(UTC) - seen_at < _POLL_WINDOW
        return _Answer(worker_running=lately, worker_seen_at=seen_at)

    async def _recorded(self, job_id: str, answer: _Answer, turn: asyncio.Semaphore) -> JobView | None:
        async with turn:
            try:
                return await self._view(await self._records.describe(job_id), answer)
            except JobNotFound:  # its retention has ended since it was listed
                return None

    async def _view(self, described: WorkflowExecutionDescription, answer: _Answer) -> JobView:
        result = None
        if is_closed(described):
            state = answer.state or await self._records.state(described)
            result = full_result(await self._records.outcome(described), state)
            state = closed_state(state, result, described.close_time)
        elif answer.state is not None:
            state = await self._while_open(answer.state, described)
        else:
            state = await self._records.state(described)
        return JobView(
            job_id=described.id,
            run_id=described.run_id,
            summary=await self._records.summary(described),
            state=state,
            result=result,
            source=Source.SERVER if answer.state is None else Source.WORKER,
            worker_running=answer.worker_running,
            worker_seen_at=answer.worker_seen_at,
            closed_at=described.close_time,
            task_attempt=described.raw_description.pending_workflow_task.attempt,
            memo=await self._records.memo(described),
        )

    async def _while_open(self, state: AgentState, described: WorkflowExecutionDescription) -> AgentState:
        """Heartbeats tell of the response under way and of its text, sooner and more than signals to the run do."""
        if state.status.is_final:  # not before it has closed: its result would be missing
            state = state.model_copy(update={"status": AgentStatus.RUNNING})
        for beat in await self._records.beats(described):
            if beat.response_id is None or beat.response_id != state.response_id:
                continue
            preview = with_live_text(state.preview, beat.preview) if beat.preview else state.preview
            response_status = beat.response_status or state.response_status
            return state.model_copy(update={"preview": preview, "response_status": response_status})
        return state

    async def _closing(self, described: WorkflowExecutionDescription) -> WorkflowExecutionDescription:
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


def is_news(view: JobView, before: JobView) -> bool:
    """Whether anything has changed, except that a worker has asked for work again."""
    return view.model_copy(update={"worker_seen_at": before.worker_seen_at}) != before


def with_what_was_known(view: JobView, before: JobView) -> JobView:
    """A view of an open run that lacks nothing which was known before: a lost worker takes no text off the screen."""
    state, known = view.state, before.state
    kept: dict[str, object] = {}
    if view.source is Source.SERVER:
        kept["function_calls"] = state.function_calls or known.function_calls
        kept["usage"] = max(state.usage, known.usage, key=lambda usage: usage.total_tokens)
    if state.response_id == known.response_id:
        kept["response_status"] = state.response_status or known.response_status
        if state.preview in known.preview:
            kept["preview"] = known.preview
    return view if view.is_closed else view.model_copy(update={"state": state.model_copy(update=kept)})


def closed_state(state: AgentState, result: AgentResult, closed_at: datetime | None) -> AgentState:
    """The state of a run that has closed: how it closed in Temporal is the truth, whatever was known before."""
    told = {name: getattr(result, name) for name in ("response_id", "model", "usage", "ambiguous_creates")}
    if result.output_text and not state.preview:
        told["preview"] = result.output_text[-PREVIEW_CHARACTERS:]
    ended = {"status": result.status, "error": result.error, "updated_at": closed_at}
    if result.iterations == 0:  # closed from outside: the result tells no more than how
        return state.model_copy(update=ended)
    return state.model_copy(update={**told, "iteration": result.iterations, **ended})


def full_result(result: AgentResult, state: AgentState) -> AgentResult:
    """A result that Temporal could tell nothing of but its status, with what is known of the run."""
    if result.iterations > 0:
        return result
    known = {name: getattr(state, name) for name in ("response_id", "model", "usage", "ambiguous_creates")}
    return result.model_copy(update={**known, "iterations": state.iteration})


def summary_of(request: AgentInput) -> str:
    """One line for lists of runs: the beginning of the task."""
    line = " ".join(_task_text(request).split())
    short = line if len(line) <= _SUMMARY_CHARACTERS else line[: _SUMMARY_CHARACTERS - 1].rstrip() + "…"
    return fit(short, SUMMARY_BYTES)


def static_details_of(request: AgentInput) -> str:
    """Markdown for the Web UI: the task, model, effort and transport, and what was asked for besides."""
    always = {"model": request.model or "the worker's", "reasoning_effort": request.reasoning_effort}
    asked = request.model_dump(mode="json", exclude_defaults=True, exclude={"task", "context", "metadata"})
    said = {**always, "transport": transport_for(request), **asked}
    options = "\n".join(f"- {name}: `{json.dumps(value, ensure_ascii=False)}`" for name, value in said.items())
    return fit(f"{_task_text(request)[:_TASK_CHARACTERS]}\n\n{options}", DETAILS_BYTES)


def _task_text(request: AgentInput) -> str:
    if isinstance(request.task, str):
        return request.task
    contents = [item.get("content", "") for item in request.task]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    texts = [part.get("text", "") if isinstance(part, dict) else str(part) for part in parts]
    return "\n".join(filter(None, texts)) or f"{len(request.task)} input items"


def _says_no_worker(error: RPCError) -> bool:
    timed_out = error.status in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)
    return timed_out or "no poller" in error.message
