"""On which queue a step of a run is put: that of the run, where its worker may start it at once, or the step's own.

Part of the workflow. The worker is asked, and its answer is nowhere in history but in the queue of the activity:
Temporal compares the type of a command and the activity's name with history, not its options. So a replay need not
decide the same, and is not asked.
"""

from temporalio import workflow

from durable_responses.workflows.contract import TaskQueue

MAY_START_EAGERLY = "may_start_eagerly"
"""The name of a function of the worker: whether the work of this queue, after so much other, may be started eagerly."""


def queue_of(queue: TaskQueue, before: int = 0) -> str:
    """The name of the queue for a step that is usually on `queue`, the so many-th to be scheduled at this moment."""
    own = workflow.info().task_queue
    return own if _may_start_eagerly(queue, before) else queue.under(own)


def _may_start_eagerly(queue: TaskQueue, before: int) -> bool:
    ask = workflow.extern_functions().get(MAY_START_EAGERLY)
    return ask is not None and not workflow.unsafe.is_replaying() and bool(ask(queue, before))
