"""Whether an attempt of an activity is still ours, and whether another one came before it.

A process that was stopped for a while (a closed lid, a paused container, SIGSTOP) finds attempts in its hands that
Temporal has given to others since. What must not happen twice is therefore preceded by a heartbeat that the server has
answered, if the attempt may be so old that it is no longer ours; the server refuses the heartbeat of one that is over.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.clocks import Clock, steady
from durable_responses.activities.failures import attempt_is_over

logger = logging.getLogger(__name__)

_LATE = 0.5  # of the heartbeat timeout
_NO_TIMEOUT = timedelta(seconds=5)
_ANSWERED_WITHIN = timedelta(seconds=3)
_ASK_AGAIN = 0.5  # seconds
_CANCEL_ARRIVES = 10.0  # seconds
_SAME_MOMENT = timedelta(milliseconds=10)


@dataclass
class Claims:
    """What the attempts of one worker have in common: how far the server's clock is ahead of our steady one.

    Each task says when the server started it, so the greatest difference seen so far is the true one but for the time
    that a task takes to come here. A task whose difference is smaller by seconds has come late. `wall` is the clock of
    this machine: a virtual machine that was paused may notice it by that clock alone.
    """

    steady: Clock = steady
    wall: Clock = time.time
    server_is_ahead: float | None = None

    def begin(self) -> "Claim":
        """The claim of the attempt that runs here; call it when the attempt begins."""
        info = activity.info()
        started, now = info.started_time.timestamp(), self.steady()
        if self.server_is_ahead is None:  # the first task: only the wall clock can tell that it is late
            self.server_is_ahead = max(started, self.wall()) - now
        else:
            self.server_is_ahead = max(self.server_is_ahead, started - now)
        delay = now + self.server_is_ahead - started
        return Claim(self, started - now, info.heartbeat_timeout or _NO_TIMEOUT, now - delay, self.wall() - delay)


@dataclass
class Claim:
    """One attempt's claim to its activity; it was proven last at these times of the two clocks."""

    _claims: Claims
    _server_is_ahead: float
    _timeout: timedelta
    _proven_at: float
    _proven_at_wall: float

    @property
    def is_late(self) -> bool:
        """Whether so much time has passed since it was proven that the server may have given the activity to others."""
        return self._age > _LATE * self._timeout.total_seconds()

    @property
    def _age(self) -> float:
        return max(self._claims.steady() - self._proven_at, self._claims.wall() - self._proven_at_wall)

    async def prove_if_late(self, heartbeat: BaseModel) -> None:
        """`prove()`, where that is necessary: for the moment before something is sent."""
        if self.is_late:
            await self.prove(heartbeat)

    async def prove(self, heartbeat: BaseModel) -> None:
        """Send a heartbeat with these details, and wait until the server has taken it.

        Raises the cancel of the activity, if one was asked for, and `ApplicationError` if the attempt is over. While
        the server does not answer, nobody knows, so it is asked again.
        """
        handle = activity.client().get_async_activity_handle(task_token=activity.info().task_token)
        while True:
            age, now, wall = self._age, self._claims.steady(), self._claims.wall()
            try:
                await handle.heartbeat(heartbeat, rpc_timeout=_ANSWERED_WITHIN)
            except AsyncActivityCancelledError:
                await _cancelled(heartbeat)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise attempt_is_over() from None
                logger.warning("Whether this attempt is still ours is not known yet: %s", error)
                await asyncio.sleep(_ASK_AGAIN)
            else:
                self._proven(age, now, wall)
                return

    def _proven(self, age: float, now: float, wall: float) -> None:
        if age > self._timeout.total_seconds():  # it cannot be that old: one of the clocks was set
            self._claims.server_is_ahead = self._server_is_ahead
        self._proven_at, self._proven_at_wall = now, wall


async def _cancelled(heartbeat: BaseModel) -> None:
    """Wait until the SDK has heard the same by a heartbeat of its own, and cancels us."""
    activity.heartbeat(heartbeat)
    await asyncio.sleep(_CANCEL_ARRIVES)
    raise attempt_is_over()


def came_first() -> bool:
    """Whether no attempt of this activity can have run before this one.

    The attempt's number alone does not tell: an operator may have set it back (`temporal activity reset`, `unpause
    --reset-attempts`), and cleared the heartbeats' details, too. Then the server knows of no earlier attempt any more,
    only that this one was not scheduled when the activity was.
    """
    info = activity.info()
    return info.attempt == 1 and info.current_attempt_scheduled_time - info.scheduled_time < _SAME_MOMENT
