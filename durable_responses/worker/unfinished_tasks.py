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

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowInstance, WorkflowInstanceDetails
from temporalio.workflow import Info

_QUERY_ALONE = "legacy_query"  # the SDK's id for a query that comes without a workflow task
AT_ONCE_SECONDS = 2.0
"""A query follows what was run for it at once. One that follows a finished task comes through the server."""


def may_be_unfinished(seconds_ago: float | None) -> bool:
    """Whether what a run did so long ago may have been done for a query alone. None: all that it did was a replay.

    Nothing that the SDK says tells the two apart. To be wrong costs one replay, so the time is long: a worker that
    takes longer from one step to the next is taken for deadlocked by the SDK.
    """
    return seconds_ago is not None and seconds_ago < AT_ONCE_SECONDS


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
        self._ran_at: float | None = None

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """As the SDK does it. What a query has run is forgotten with its answer."""
        queries = [job.query_workflow.query_id for job in act.jobs if job.HasField("query_workflow")]
        if _QUERY_ALONE in queries and may_be_unfinished(self._seconds_ago()):
            self._evict(act.run_id)
        completion = self._run.activate(act)
        if not queries:
            self._ran_at = None if act.is_replaying else time.monotonic()
        return completion

    def _seconds_ago(self) -> float | None:
        return None if self._ran_at is None else time.monotonic() - self._ran_at

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
