"""What the runs of one worker learn from each other about their key: one probes, the others wait for what it hears.

A hundred runs that wait for the same quota go on by themselves at the same moment. Without this, each would ask the
provider, and its owner a hundred times more. A create that is held back is not sent, holds no slot, and comes again
after a while, by Temporal's retry delay: no event in history. All is in the memory of one worker, so each worker probes
for itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

from durable_responses.activities.clocks import steady
from durable_responses.responses_api.errors import AuthenticationFailed, Busy, QuotaExhausted, ResponsesError

LEASE = 60.0
"""Seconds for which only one run probes after a refusal: it may be cancelled meanwhile, or wait for its owner."""
LONGEST_PAUSE = 60.0
"""Seconds for which a rate limit of one run holds the others back, whatever the provider says."""

_REFUSALS = (QuotaExhausted, AuthenticationFailed)


@dataclass(frozen=True)
class Held:
    """Why a create is not sent now, and the seconds after which it may come again."""

    seconds: float
    what: str
    why: str


@dataclass(frozen=True)
class _Refusal:
    prober: str
    until: float
    why: str


@dataclass
class KeyGate:
    """The gate of one key. `now`: seconds of a steady clock."""

    now: Callable[[], float] = steady

    def __post_init__(self) -> None:
        self._refusal: _Refusal | None = None
        self._busy: dict[str, tuple[float, str]] = {}  # by model, since that is what rate limits are for

    def wait(self, run: str, model: str, *, probes: bool) -> Held | None:
        """What holds a create of a run back, None if it may be sent now.

        `probes`: whether the run was refused and tries again by itself. One that was never refused finds out for
        itself, and one whose owner says that all is well is believed.
        """
        now = self.now()
        until, why = self._busy.get(model, (0.0, ""))
        if now < until:
            return Held(until - now, "the provider has asked another run to wait", why)
        refusal = self._refusal
        if refusal is None or not probes:
            return None
        if run != refusal.prober and now < refusal.until:
            return Held(
                refusal.until - now, "the provider has refused the key, and another run tries it first", refusal.why
            )
        self._refusal = _Refusal(run, now + LEASE, refusal.why)
        return None

    def failed(self, run: str, model: str, error: ResponsesError) -> None:
        """A create of this run was not taken."""
        now = self.now()
        if isinstance(error, _REFUSALS):
            self._refusal = _Refusal(run, now + LEASE, str(error))
        elif isinstance(error, Busy) and error.status == 429 and error.retry_after:
            self._busy[model] = (now + min(error.retry_after, LONGEST_PAUSE), str(error))

    def passed(self, model: str) -> None:
        """A create was taken: nothing is refused any more."""
        self._refusal = None
        self._busy.pop(model, None)


@dataclass(frozen=True)
class GateTurn:
    """One create at the gate."""

    gate: KeyGate
    run: str
    model: str
    probes: bool

    def wait(self) -> Held | None:
        """As `KeyGate.wait`."""
        return self.gate.wait(self.run, self.model, probes=self.probes)

    def failed(self, error: ResponsesError) -> None:
        """As `KeyGate.failed`."""
        self.gate.failed(self.run, self.model, error)

    def passed(self) -> None:
        """As `KeyGate.passed`."""
        self.gate.passed(self.model)
