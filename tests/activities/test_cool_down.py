"""How long a WebSocket that failed is left alone."""

import pytest

from durable_responses.activities.cool_down import CoolDown


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cool_down(clock: Clock) -> CoolDown:
    return CoolDown(clock)


def length(cool_down: CoolDown, clock: Clock) -> int:
    """Let it pass; whole seconds."""
    seconds = 0
    while cool_down.is_on:
        clock.now += 1
        seconds += 1
    return seconds


def test_it_is_off_at_first(cool_down: CoolDown) -> None:
    assert not cool_down.is_on


def test_each_failure_after_it_makes_it_longer_up_to_ten_minutes(cool_down: CoolDown, clock: Clock) -> None:
    lengths = []
    for _ in range(7):
        cool_down.failed()
        lengths.append(length(cool_down, clock))
    assert lengths == [30, 60, 120, 240, 480, 600, 600]


def test_the_many_failures_of_one_outage_count_once(cool_down: CoolDown, clock: Clock) -> None:
    cool_down.failed()
    clock.now += 10
    cool_down.failed()
    assert length(cool_down, clock) == 20
    cool_down.failed()
    assert length(cool_down, clock) == 60


def test_a_success_ends_it_and_makes_the_next_one_short(cool_down: CoolDown, clock: Clock) -> None:
    cool_down.failed()
    length(cool_down, clock)
    cool_down.failed()
    cool_down.succeeded()
    assert not cool_down.is_on
    cool_down.failed()
    assert length(cool_down, clock) == 30


@pytest.mark.parametrize(("asked", "expected"), [(5, 30), (90, 90), (86_400, 600)])
def test_a_server_may_ask_for_more_within_bounds(
    cool_down: CoolDown, clock: Clock, asked: float, expected: int
) -> None:
    cool_down.failed(asked)
    assert length(cool_down, clock) == expected
