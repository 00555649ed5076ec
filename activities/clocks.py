"""Time inside an attempt: a clock that nobody sets, and the Temporal server's.

A wait must not end, or stand still, because this machine's wall clock is set; and a deadline is a point in time of the
server's clock, from which that of this machine may differ.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

from temporalio import activity

Clock: TypeAlias = Callable[[], float]

# Linux and macOS each have one clock that nobody sets and that also counts the time for which a computer sleeps.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Seconds on a clock that nobody sets, for which a computer that sleeps does not stand still."""
    return time.clock_gettime(_STEADY)


def server_clock(steady: Clock = steady) -> Clock:
    """The server's clock, in seconds since the epoch: when it started this attempt, and what has passed since."""
    ahead = activity.info().started_time.timestamp() - steady()
    return lambda: ahead + steady()
