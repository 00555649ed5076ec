"""A run is not carried on from what a query has left in the cache.

A query that was on its way while something happened to the run (a signal, the end of an activity) reaches a worker with
a history that ends in the middle of a workflow task, or before it. The SDK (temporalio 1.35.0) then runs the workflow
up to there in order to answer, at the time of the task before, and keeps what came of it. The real task, given to the
same worker, goes on from that state: the clock that it has read, and the order of what it was told, are not those of
history. No replay comes to the same commands, and the run is stuck with its next worker. It takes no more than a
program that watches a run while its worker starts again.

So such a run leaves the cache with the query's answer, and its task replays what is in history.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowInstance, WorkflowInstanceDetails
from temporalio.workflow import Info

_QUERY_ALONE = "legacy_query"  # the SDK's id for a query that comes without a workflow task


class Work(StrEnum):
    """What a run did last in this worker, by what came before it."""

    FIRST = "first"
    """The first task of the run: the server takes no query before it has ended."""
    REPLAYED = "replayed"
    """Only what is in history."""
    BETWEEN_TASKS = "between_tasks"
    """History was longer, the time still that of the task before: this was no task."""
    AFTER_REPLAY = "after_replay"
    """The first thing that was new here: a task of this worker, or one that another was given and has not ended."""
    IN_TURN = "in_turn"
    """One more after that. For a task of another worker, this one's must have been lost on its way from the server."""


_AT_ONCE_SECONDS = {
    Work.FIRST: 0.0,
    Work.REPLAYED: 0.0,
    Work.BETWEEN_TASKS: float("inf"),
    Work.AFTER_REPLAY: 2.0,  # a worker that takes longer from one step to the next is taken for deadlocked by the SDK
    Work.IN_TURN: 0.02,
}


def may_be_unfinished(work: Work, seconds_ago: float) -> bool:
    """Whether this may have been done for a query that comes without a task, now, so long after it.

    A query follows at once what was run for it; one that follows a finished task comes through the server. Nothing else
    tells them apart. To be wrong costs a replay, and another query of that moment its answer: the SDK drops what waits.
    """
    return seconds_ago < _AT_ONCE_SECONDS[work]


@dataclass(frozen=True)
class Reached:
    """How far a run has come: events of history, and the time of the workflow in nanoseconds."""

    events: int = 0
    time: int = 0


def work_of(before: Work | None, reached: Reached, now: Reached, *, is_replaying: bool) -> Work:
    """What a run does that comes from `reached` to `now`, after what it did before; None for nothing."""
    if is_replaying:
        return Work.REPLAYED
    if before is None:
        return Work.FIRST
    if now == reached:  # the same task goes on
        return before
    if now.time == reached.time:
        return Work.BETWEEN_TASKS
    return Work.AFTER_REPLAY if before is Work.REPLAYED else Work.IN_TURN


class ReplaysUnfinishedTasks(UnsandboxedWorkflowRunner):
    """Runs workflows without a sandbox, and has those leave the cache whose state may not be that of history."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def serve(self, worker: Worker) -> None:
        """Say which worker this is the runner of: it is made with its runner, and has the cache."""
        self._worker = worker

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """A run in the cache."""
        return _CachedRun(super().create_instance(det), self._evict)

    def _evict(self, run_id: str) -> None:
        if self._worker is not None:
            self._worker._bridge_worker.request_workflow_eviction(run_id)  # the SDK has no other way


class _CachedRun(WorkflowInstance):
    """A run in the cache. `evict` has it leave once its activation is over."""

    def __init__(self, run: WorkflowInstance, evict: Callable[[str], None]) -> None:
        self._run = run
        self._evict = evict
        self._work: Work | None = None
        self._reached = Reached()
        self._ended_at = 0.0

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """As the SDK does it. What a query has run is forgotten with its answer."""
        queries = [job.query_workflow.query_id for job in act.jobs if job.HasField("query_workflow")]
        if not queries:
            return self._worked(act)
        is_alone = _QUERY_ALONE in queries
        if is_alone and self._work and may_be_unfinished(self._work, time.monotonic() - self._ended_at):
            self._evict(act.run_id)
        return self._run.activate(act)

    def _worked(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        now = Reached(act.history_length, act.timestamp.ToNanoseconds())
        self._work = work_of(self._work, self._reached, now, is_replaying=act.is_replaying)
        self._reached = now
        completion = self._run.activate(act)
        self._ended_at = time.monotonic()
        return completion

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
