"""Texts for a response under way over a WebSocket: sent one at a time, and what the server says of each.

The server gives each text an id of its own with its first answer. What it says comes as events of the turn: `accepted`,
and then, when the response ends, perhaps `pending` (kept until the calls of the response are answered) or `failed`
(handed back).
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from durable_responses.activities.messages import SteerOutcome, SteerResponse, SteerStatus
from durable_responses.responses_api.errors import ConnectionLost, NotConnected
from durable_responses.responses_api.events import Event, SteerAccepted, SteerFailed, SteerPending
from durable_responses.responses_api.websocket_pool import Turn

_ANSWERED_WITHIN = 10.0  # seconds


@dataclass
class Steering:
    """The texts sent into one turn. `outcomes`: the latest of each, by our id."""

    turn: Turn
    outcomes: dict[str, SteerOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._unanswered: str | None = None
        self._changed = asyncio.Event()
        self._ours: dict[str, str] = {}

    async def send(self, steer: SteerResponse) -> SteerOutcome:
        """Send a text and wait for the server's first word about it. Unknown: it may or may not have arrived."""
        async with self._one_at_a_time:
            if self._unanswered is not None:  # answers carry no id of ours: the next one is about that text
                return _failed(steer, "The provider has not answered to an earlier text.")
            self._unanswered = steer.id
            self._changed.clear()
            try:
                await self.turn.steer(steer.text)
            except NotConnected:
                self._unanswered = None
                return _failed(steer, "No response was under way.")
            except ConnectionLost as error:
                return self._note(steer.id, SteerStatus.UNKNOWN, str(error))
            self._note(steer.id, SteerStatus.UNKNOWN, "The provider did not answer.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _ANSWERED_WITHIN)
            return self.outcomes[steer.id]

    def take(self, event: Event) -> None:
        """Take an event of the turn."""
        match event:
            case SteerAccepted():
                self._told(event.steer.id, SteerStatus.ACCEPTED)
            case SteerPending():
                self._told(event.steer.id, SteerStatus.PENDING, event.reason)
            case SteerFailed():
                self._told(event.steer.id, SteerStatus.FAILED, event.error.message or event.error.code)

    def lose(self) -> None:
        """The turn was lost: what the server has accepted may never have been applied."""
        for outcome in list(self.outcomes.values()):
            if outcome.status is not SteerStatus.FAILED:
                self._note(outcome.id, SteerStatus.UNKNOWN, "The turn was lost.")

    def close(self) -> None:
        """The turn is over: nothing more will be said."""
        self._changed.set()

    def _told(self, server_id: str | None, status: SteerStatus, reason: str | None = None) -> None:
        # A text that is refused at once has no id of the server's: it is the one that waits for its answer.
        ours = self._ours.get(server_id or "", self._unanswered)
        if ours is None:
            return
        if server_id is not None:
            self._ours[server_id] = ours
        if ours == self._unanswered:
            self._unanswered = None
        self._note(ours, status, reason)
        self._changed.set()

    def _note(self, ours: str, status: SteerStatus, reason: str | None = None) -> SteerOutcome:
        self.outcomes[ours] = SteerOutcome(id=ours, status=status, reason=reason)
        return self.outcomes[ours]


class TurnsUnderWay:
    """The turns that texts can be sent into, by their run."""

    def __init__(self) -> None:
        self._by_run: dict[str, Steering] = {}

    def of(self, workflow_id: str | None) -> Steering | None:
        """The steering of the turn of this run."""
        return self._by_run.get(workflow_id or "")

    @contextlib.contextmanager
    def open_to_texts(self, workflow_id: str, turn: Turn) -> Iterator[Steering]:
        """The turn is under way."""
        steering = self._by_run[workflow_id] = Steering(turn)
        try:
            yield steering
        finally:
            steering.close()
            if self._by_run.get(workflow_id) is steering:
                del self._by_run[workflow_id]


def _failed(steer: SteerResponse, reason: str) -> SteerOutcome:
    return SteerOutcome(id=steer.id, status=SteerStatus.FAILED, reason=reason)
