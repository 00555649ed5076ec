"""What the runs of one worker learn from each other about their key."""

import pytest

from durable_responses.activities.gate import LEASE, LONGEST_PAUSE, KeyGate
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    Busy,
    QuotaExhausted,
    ResponsesError,
    ServerFailed,
    Unreachable,
)

MODEL = "gpt-5.4"
QUOTA = QuotaExhausted("No credit is left.", status=429)


class Gate(KeyGate):
    """A gate with a clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1000.0
        super().__init__(now=lambda: self.time)

    def held(self, run: str, *, probes: bool = True, model: str = MODEL) -> float | None:
        held = self.wait(run, model, probes=probes)
        return None if held is None else held.seconds

    def refused(self, run: str, error: ResponsesError = QUOTA) -> None:
        self.failed(run, MODEL, error)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_at_first_everybody_may_send(gate: Gate) -> None:
    assert gate.held("a") is None


@pytest.mark.parametrize("error", [QUOTA, AuthenticationFailed("No.", status=401)])
def test_of_the_runs_that_try_again_one_probes_and_the_others_wait(gate: Gate, error: ResponsesError) -> None:
    gate.refused("a", error)
    gate.time += 3600
    assert gate.held("b") is None
    gate.time += 10
    assert (gate.held("a"), gate.held("c")) == (LEASE - 10, LEASE - 10)
    assert gate.held("b") is None


def test_what_the_run_hears_that_probes_holds_for_all(gate: Gate) -> None:
    gate.refused("a")
    gate.passed(MODEL)
    assert gate.held("b") is None


def test_a_run_that_probes_in_vain_is_not_followed_at_once(gate: Gate) -> None:
    gate.refused("a")
    gate.time += 3600
    gate.held("b")
    gate.time += 30
    gate.refused("b")
    assert gate.held("c") == LEASE


def test_a_run_that_is_to_probe_and_does_not_is_not_waited_for_for_ever(gate: Gate) -> None:
    """It may have been cancelled."""
    gate.refused("a")
    gate.time += LEASE
    assert gate.held("b") is None
    gate.time += LEASE
    assert gate.held("c") is None


def test_a_run_that_was_never_refused_finds_out_by_itself(gate: Gate) -> None:
    """A wrong key is no reason to hang; and an owner who says that all is well is believed."""
    gate.refused("a")
    assert gate.held("b", probes=False) is None


@pytest.mark.parametrize("error", [BadRequest("No.", status=400), ServerFailed("No.", status=500), Unreachable("No.")])
def test_other_failures_are_the_runs_own(gate: Gate, error: ResponsesError) -> None:
    gate.refused("a", error)
    assert gate.held("b") is None


def test_a_rate_limit_holds_back_all_runs_of_the_model(gate: Gate) -> None:
    gate.refused("a", Busy("Slow down.", status=429, retry_after=5))
    assert gate.held("b", probes=False) == 5
    assert gate.held("b", model="gpt-5.4-mini") is None
    gate.time += 5
    assert gate.held("b") is None


def test_no_rate_limit_holds_back_others_for_longer_than_a_minute(gate: Gate) -> None:
    gate.refused("a", Busy("Slow down.", status=429, retry_after=7200))
    assert gate.held("b") == LONGEST_PAUSE


@pytest.mark.parametrize("error", [Busy("Full.", status=503, retry_after=5), Busy("Slow down.", status=429)])
def test_only_a_rate_limit_with_a_time_holds_others_back(gate: Gate, error: ResponsesError) -> None:
    gate.refused("a", error)
    assert gate.held("b") is None
