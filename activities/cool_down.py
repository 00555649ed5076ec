"""When to leave the WebSocket alone for a while because it failed. Plain Python; the clock is given."""

from collections.abc import Callable
from dataclasses import dataclass

_FIRST = 30.0
_LONGEST = 600.0


@dataclass
class CoolDown:
    """The cool-down of one provider's WebSocket: 30 s after a failure, doubling to 10 minutes. `now` in seconds.

    Many turns fail of one outage: only a failure after the cool-down makes the next one longer.
    """

    now: Callable[[], float]

    def __post_init__(self) -> None:
        self._length = 0.0
        self._until = float("-inf")

    @property
    def is_on(self) -> bool:
        """Whether not to try."""
        return self.now() < self._until

    def failed(self, retry_after: float | None = None) -> None:
        """The WebSocket failed, and may have said for how many seconds to leave it alone."""
        if not self.is_on:
            self._length = min(self._length * 2 or _FIRST, _LONGEST)
            self._until = self.now() + self._length
        if retry_after is not None:
            self._until = max(self._until, self.now() + min(retry_after, _LONGEST))

    def succeeded(self) -> None:
        """The WebSocket works."""
        self._length, self._until = 0.0, float("-inf")
