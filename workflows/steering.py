"""The steering messages of a run (signal `steer`), and what becomes of each.

Plain Python. A message is sent into the response under way where that goes over a WebSocket; in every other case, and
when the provider hands it back, it becomes part of the next create's input. None is given to the model twice.
"""

from collections.abc import Sequence

from durable_responses.activities.messages import SteerOutcome, SteerResponse, SteerStatus
from durable_responses.json_text import well_formed
from durable_responses.workflows import rules
from durable_responses.workflows.contract import Steer
from durable_responses.workflows.ledger import Ledger
from durable_responses.workflows.payloads import Unreadable

_SHOWN_STEERS = 100  # in the state
_SHOWN_CHARACTERS = 200  # of each
_WAITING = (SteerStatus.PENDING, SteerStatus.FAILED)
_RUN_ENDED = "The run ended before the model could be given it."


class SteeringMessages:
    """The steering messages of one run. All that is remembered of them is in its ledger.

    `ledger.texts` holds in full those that may still have to be given to the model. One that the provider keeps until
    the calls of its response are answered is `pending` too, but no longer among them: it goes with its connection.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def receive(self, message: object) -> None:
        """A message came. One that cannot be taken is shown as failed."""
        ledger = self._ledger
        ledger.texts_received += 1
        said = well_formed(message) if isinstance(message, str) else None
        steer = Steer(id=f"steer-{ledger.texts_received}", text=(said or _shown(message))[:_SHOWN_CHARACTERS])
        if isinstance(message, Unreadable):
            steer.reason = f"It cannot be used: {message.why}."
        else:
            steer.reason = rules.unusable_steering_message(said, list(ledger.texts.values()))
        if steer.reason is None and said is not None:
            ledger.texts[steer.id] = said
        else:
            steer.status = SteerStatus.FAILED
        ledger.state.steers = [*ledger.state.steers, steer][-_SHOWN_STEERS:]

    # --- into the response under way ---------------------------------------------------------------------------------

    def next_to_send(self) -> SteerResponse | None:
        """The oldest message that was neither sent nor given, while there is a worker to send it by."""
        unsent = self._ids(SteerStatus.PENDING)
        if self._ledger.steering_queue is None or not unsent:
            return None
        return SteerResponse(id=unsent[0], text=self._ledger.texts[unsent[0]])

    def told(self, outcome: SteerOutcome) -> None:
        """The provider, or the lack of an answer, has told what became of a message that was sent."""
        for steer in self._ledger.state.steers:
            if steer.id == outcome.id:
                steer.status, steer.reason = outcome.status, outcome.reason

    def turn_ended(self, connection: str | None, outcomes: Sequence[SteerOutcome]) -> None:
        """The turn over that connection is over, and the provider said this of the messages sent into it.

        Those that it kept from the turn before have been part of this one's input, if it went over the same connection.
        """
        same = connection is not None and connection == self._ledger.connection
        self._settle_kept(SteerStatus.ACCEPTED if same else SteerStatus.UNKNOWN)
        for outcome in outcomes:
            self.told(outcome)
            if outcome.status is SteerStatus.PENDING:
                self._ledger.texts.pop(outcome.id, None)
        self._forget(SteerStatus.ACCEPTED, SteerStatus.UNKNOWN)
        self._ledger.connection = connection

    def turn_lost(self) -> None:
        """The turn ended without news of the messages sent into it, or kept from the one before."""
        self._settle_kept(SteerStatus.UNKNOWN)
        for id_ in self._ids(SteerStatus.ACCEPTED):
            self.told(SteerOutcome(id=id_, status=SteerStatus.UNKNOWN))
        self._forget(SteerStatus.UNKNOWN)

    # --- into the next create -----------------------------------------------------------------------------------------

    @property
    def are_waiting(self) -> bool:
        """Whether there is a message that the model has not been given."""
        return bool(self._ids(*_WAITING))

    def for_next_create(self) -> list[str]:
        """The messages that become part of the next create's input, or of the same create once more."""
        ids = self._ids(*_WAITING, SteerStatus.NEXT_INPUT)
        for id_ in ids:
            self.told(SteerOutcome(id=id_, status=SteerStatus.NEXT_INPUT))
        return [self._ledger.texts[id_] for id_ in ids]

    def given(self) -> None:
        """The create has brought its response: its messages need not be given again."""
        self._forget(SteerStatus.NEXT_INPUT)

    def run_ended(self) -> None:
        """Nothing that still waits will be given to the model."""
        for steer in self._ledger.state.steers:
            if steer.status is SteerStatus.PENDING:
                steer.status, steer.reason = SteerStatus.FAILED, _RUN_ENDED
        self._ledger.texts.clear()

    def _settle_kept(self, status: SteerStatus) -> None:
        for steer in self._ledger.state.steers:
            if steer.status is SteerStatus.PENDING and steer.id not in self._ledger.texts:
                steer.status = status

    def _forget(self, *statuses: SteerStatus) -> None:
        for id_ in self._ids(*statuses):
            del self._ledger.texts[id_]

    def _ids(self, *statuses: SteerStatus) -> list[str]:
        steers = self._ledger.state.steers
        return [steer.id for steer in steers if steer.status in statuses and steer.id in self._ledger.texts]


def _shown(message: object) -> str:
    if isinstance(message, Unreadable):
        return ""
    try:
        return well_formed(str(message))
    except (ValueError, RecursionError):  # a number with more digits than Python writes
        return f"({type(message).__name__})"
