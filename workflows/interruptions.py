"""Why a run ends before its answer: told to stop, out of time, or failed. Raised by a step, caught by the run."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.workflow import ActivityHandle

with workflow.unsafe.imports_passed_through():
    from durable_responses.json_text import cut
    from durable_responses.workflows import activity_errors
    from durable_responses.workflows.contract import AgentError
    from durable_responses.workflows.payloads import read

_LONGEST_REASON = 2000  # bytes

T = TypeVar("T")


class Stopped(Exception):
    """The run was told to stop, and the step under way has been stopped."""


class DeadlinePassed(Exception):
    """The run's time is up."""


class HistoryFull(Exception):
    """The run has waited so often in one iteration that it continues in a new history, in the middle of it."""


class RunFailed(Exception):
    """The run cannot continue."""

    def __init__(self, error: AgentError) -> None:
        super().__init__(error.message)
        self.error = error


class BudgetSpent(Exception):
    """The run may cost no more, and its owner, where they were asked, has not raised that."""

    def __init__(self, error: AgentError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass
class StopRequest:
    """Whether the run is to stop: set by the `cancel` signal and by Temporal's own cancel alike.

    `is_late`: not cancelled, but its owner was asked for more time, and gave it none.
    """

    requested: bool = False
    reason: str | None = None
    is_late: bool = False

    def make(self, reason: str | None) -> None:
        """Ask the run to stop. The first reason counts."""
        self.requested = True
        self.is_late = False
        self.reason = self.reason or (cut(reason, _LONGEST_REASON) if reason else None)

    def for_lateness(self) -> None:
        """The run's time is up, and its owner says so."""
        if not self.requested:
            self.requested = self.is_late = True


async def ended(handle: ActivityHandle[T], stop: StopRequest) -> T:
    """The activity's result. When the run is to stop, the activity is told so, and may still have a result.

    Raises `Stopped`, `ActivityError`, `UnreadablePayload`.
    """
    await workflow.wait_condition(lambda: handle.done() or stop.requested)
    if not handle.done():
        handle.cancel()
        await workflow.wait_condition(handle.done)
    if activity_errors.was_cancelled(handle.exception()):
        raise Stopped
    return read(await handle)


def time_left(deadline: datetime | None) -> timedelta | None:
    """What is left of the run's time, None without a deadline. Raises `DeadlinePassed` when nothing is."""
    if deadline is None:
        return None
    left = deadline - workflow.now()
    if left <= timedelta(0):
        raise DeadlinePassed
    return left
