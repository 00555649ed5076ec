"""A run is not carried on from what a query has left in the cache.

A query that was on its way while something happened to the run (a signal, the end of an activity) reaches a worker with
a history that ends in the middle of a workflow task, or before it. The SDK (temporalio 1.35.0) then runs the workflow
up to there in order to answer, at the time of the task before, and keeps what came of it. The real task, given to the
same worker, goes on from that state: the clock that it has read, and the order of what it was told, are not those of
history. No replay comes to the same commands, and the run is stuck with its next worker. It takes no more than a
program that watches a run while its worker starts again.

So such a run leaves the cache with the query's answer, and its task replays what is in history.
"""

import asyncio
import logging
import math
import time
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowInstance, WorkflowInstanceDetails
from temporalio.workflow import Info

logger = logging.getLogger(__name__)

_QUERY_ALONE = "legacy_query"  # the SDK's id for a query that comes without a workflow task
_ASKED_FOR = timedelta(seconds=1)  # well under the two seconds after which the SDK takes a run for deadlocked


class Work(StrEnum):
    """What a run did last in this worker, by what came before it."""

    IN_HISTORY = "in_history"
    """A replay."""
    BETWEEN_TASKS = "between_tasks"
    """History was longer, the time still that of the task before: this was no task."""
    AFTER_REPLAY = "after_replay"
    """The first thing that was new here: a task of this worker, or one that another was given and has not ended."""
    IN_TURN = "in_turn"
    """One more after that, or the run's first. To be another's, it must have been lost on its way to this worker."""


_ASKED_ABOUT_SECONDS = {
    Work.IN_HISTORY: 0.0,
    Work.BETWEEN_TASKS: 0.0,
    Work.AFTER_REPLAY: 2.0,
    Work.IN_TURN: 0.05,
}


def is_asked_about(work: Work, seconds_ago: float) -> bool:
    """Whether the server has to say if this was a task that has ended, when a query comes so long after it.

    A query follows at once what was run for it; one that follows a finished task comes through the server.
    """
    return seconds_ago < _ASKED_ABOUT_SECONDS[work]


@dataclass(frozen=True)
class Reached:
    """How far a run has come: events of history, and the time of the workflow in nanoseconds."""

    events: int = 0
    time: int = 0


def work_of(before: Work | None, reached: Reached, now: Reached, *, is_replaying: bool) -> Work:
    """What a run does that comes from `reached` to `now`, after what it did before; None for nothing."""
    if is_replaying:
        return Work.IN_HISTORY
    if before is None:
        return Work.IN_TURN
    if now == reached:  # the same task goes on
        return before
    if now.time == reached.time:
        return Work.BETWEEN_TASKS
    return Work.AFTER_REPLAY if before is Work.IN_HISTORY else Work.IN_TURN


class ReplaysUnfinishedTasks(UnsandboxedWorkflowRunner):
    """Runs workflows without a sandbox, and has those leave the cache whose state is not that of history."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve(self, worker: Worker) -> None:
        """Say which worker this is the runner of: it is made with its runner. To be called in its event loop."""
        self._worker, self._loop = worker, asyncio.get_running_loop()

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """A run in the cache."""
        return _CachedRun(super().create_instance(det), self)

    def has_task(self, run: Info) -> bool:
        """Whether the server waits for a workflow task of this run. To be called outside of the event loop.

        Also if the server does not say: then the run leaves the cache, which costs a replay.
        """
        if self._worker is None or self._loop is None:
            return False
        execution = WorkflowExecution(workflow_id=run.workflow_id, run_id=run.run_id)
        request = DescribeWorkflowExecutionRequest(namespace=run.namespace, execution=execution)
        service = self._worker.client.workflow_service
        asked = asyncio.run_coroutine_threadsafe(
            service.describe_workflow_execution(request, timeout=_ASKED_FOR), self._loop
        )
        try:
            return asked.result(_ASKED_FOR.total_seconds()).HasField("pending_workflow_task")
        except (RPCError, NotInTime) as error:
            logger.debug("Whether a workflow task is under way is not known: %s", error)
            return True

    def evict(self, run_id: str) -> None:
        """Have a run leave the cache once its activation is over. The SDK drops what waits for it there."""
        if self._worker is not None:
            self._worker._bridge_worker.request_workflow_eviction(run_id)  # the SDK has no other way


class _CachedRun(WorkflowInstance):
    """A run in the cache."""

    def __init__(self, run: WorkflowInstance, cache: ReplaysUnfinishedTasks) -> None:
        self._run = run
        self._cache = cache
        self._work: Work | None = None
        self._reached = Reached()
        self._ended_at = 0.0

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """As the SDK does it. What a query has run is forgotten with its answer."""
        queries = [job.query_workflow.query_id for job in act.jobs if job.HasField("query_workflow")]
        if not queries:
            return self._worked(act)
        if _QUERY_ALONE in queries and self._is_unfinished():
            self._cache.evict(act.run_id)
        return self._run.activate(act)

    def _worked(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        now = Reached(act.history_length, act.timestamp.ToNanoseconds())
        self._work = work_of(self._work, self._reached, now, is_replaying=act.is_replaying)
        self._reached = now
        completion = self._run.activate(act)
        self._ended_at = time.monotonic()
        return completion

    def _is_unfinished(self) -> bool:
        if self._work is Work.BETWEEN_TASKS:
            return True
        if self._work is None or not is_asked_about(self._work, time.monotonic() - self._ended_at):
            return False
        if self._cache.has_task(self.get_info()):
            return True
        self._work, self._ended_at = Work.IN_TURN, -math.inf  # no need to ask again
        return False

    def get_serialization_context(self, command_info: object) -> SerializationContext | None:
        """As the SDK has it."""
        return self._run.get_serialization_context(command_info)  # type: ignore[arg-type]

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        """As the SDK has it."""
        return self._run.get_external_store_context(command_info)  # type: ignore[arg-type]

    def get_info(self) -> Info:
        """As the SDK has it."""
        return self._run.get_info()

    def get_thread_id(self) -> int | None:
        """As the SDK has it."""
        return self._run.get_thread_id()
