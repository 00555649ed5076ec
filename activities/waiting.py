"""When to look at a response again, and when to tell the run about it. Plain Python; the clock is given."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from durable_responses.activities.messages import ProgressReport, ResponseRecord


@dataclass(frozen=True)
class Cadence:
    """The wait between two GETs of one response (row A4). Seconds."""

    first: float = 0.4
    factor: float = 1.35
    cap: float = 2.5
    jitter: float = 0.149
    old_age: float = 60.0
    cap_of_the_old: float = 30.0

    def wait(self, gets: int, age: float) -> float:
        """The wait after that many GETs (at least 1) of a response of that age, without jitter.

        Whole milliseconds, each step from the rounded one before it: 400, 540, 729, 984, 1328, 1792, 2419, 2500 …
        From a minute on, the cap grows to a 24th of the response's age.
        """
        cap = min(max(self.cap, age / 24), self.cap_of_the_old) if age > self.old_age else self.cap
        wait = self.first
        for _ in range(gets - 1):
            wait = int(wait * self.factor * 1000 + 1e-6) / 1000
            if wait >= cap:
                return cap
        return min(wait, cap)

    def jittered(self, wait: float, random: Random) -> float:
        """The wait with its jitter, which the next wait does not build upon."""
        return wait + random.uniform(0, self.jitter)


class GetBudget:
    """The limit on GETs a second that all waiting activities of one worker share.

    Each response may be read once in (responses waited for) / (GETs a second) seconds: its fair share. And since
    thousands may begin to be waited for at once, when another worker has died, each GET takes its turn.
    """

    def __init__(self, gets_per_second: float) -> None:
        self._gets_per_second = gets_per_second
        self._waiting = 0
        self._next_turn = 0.0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """One more response is being waited for."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    @property
    def fair_share(self) -> float:
        """Seconds between two GETs of one response."""
        return self._waiting / self._gets_per_second

    def take_turn(self, now: float) -> float:
        """Seconds until this GET may be sent. What a quiet second has left over may be sent at once."""
        turn = max(self._next_turn, now - 1)
        self._next_turn = turn + 1 / self._gets_per_second
        return max(0.0, turn - now)


class Waiters:
    """The activities of this worker that wait for a response, so that who learns its end first can tell them."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[ResponseRecord]] = {}

    @contextmanager
    def waiting(self, response_id: str) -> Iterator[asyncio.Future[ResponseRecord]]:
        """A future that holds the finished response once somebody else on this worker has seen it."""
        told = asyncio.get_running_loop().create_future()
        self._waiting[response_id] = told
        try:
            yield told
        finally:
            if self._waiting.get(response_id) is told:
                del self._waiting[response_id]

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._waiting

    def tell(self, response_id: str, finished: ResponseRecord) -> None:
        """Wake whoever waits for this response here."""
        told = self._waiting.get(response_id)
        if told is not None and not told.done():
            told.set_result(finished)


_FIRST_REPORT = 5.0
_GROWTH = 1.25
_LONGEST_SILENCE = 60.0


class ReportSchedule:
    """When the run is told of a response's progress: rarely, since every report is an event in history.

    Only when something changed; first 5 s after the start, then each time the response's age has grown by a quarter,
    at the latest after 60 s.
    """

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._due = started_at + _FIRST_REPORT
        self._told: str | None = None

    def due(self, report: ProgressReport, now: float) -> bool:
        """Whether to send this report now; if so, it counts as sent."""
        if not report.preview or now < self._due or report.preview == self._told:
            return False
        self._told = report.preview
        self._due = min(self._started_at + (now - self._started_at) * _GROWTH, now + _LONGEST_SILENCE)
        return True
