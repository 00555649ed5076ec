"""When to look and when to tell, on a clock of numbers."""

from contextlib import ExitStack
from itertools import pairwise
from random import Random

import pytest

from durable_responses.activities.messages import ProgressReport
from durable_responses.activities.waiting import Cadence, GetBudget, ReportSchedule


def test_the_cadence_starts_at_once_and_grows_to_its_cap() -> None:
    """A4: 400, 540, 729, 984, 1328, 1792, 2419, 2500, 2500 ms."""
    waits = [round(Cadence().wait(gets, age=0) * 1000) for gets in range(1, 10)]
    assert waits == [400, 540, 729, 984, 1328, 1792, 2419, 2500, 2500]


@pytest.mark.parametrize(("age", "cap"), [(59, 2.5), (60, 2.5), (240, 10.0), (720, 30.0), (7200, 30.0)])
def test_the_cap_grows_with_the_age_of_an_old_response(age: float, cap: float) -> None:
    """A4: age / 24 from a minute on, at most 30 s."""
    assert Cadence().wait(100, age) == pytest.approx(cap)


def test_jitter_is_at_most_149_ms_and_not_compounded() -> None:
    """A4."""
    cadence, random = Cadence(), Random(1)
    jittered = [cadence.jittered(0.4, random) for _ in range(1000)]
    assert min(jittered) >= 0.4
    assert max(jittered) <= 0.4 + 0.149
    assert cadence.wait(2, 0) == 0.54


def test_first_interval_factor_and_cap_are_settings() -> None:
    """A4."""
    assert [Cadence(first=1, factor=2, cap=5).wait(gets, 0) for gets in range(1, 5)] == [1, 2, 4, 5]


def test_waiting_responses_share_the_budget_of_gets() -> None:
    """A4: never more GETs a second than the worker may send, however many responses are waited for."""
    budget = GetBudget(gets_per_second=200)
    with ExitStack() as waiting:
        waiting.enter_context(budget.shared())
        assert budget.fair_share == pytest.approx(1 / 200)
        for _ in range(9_999):
            waiting.enter_context(budget.shared())
        assert budget.fair_share == pytest.approx(50)


def test_gets_beyond_the_budget_of_a_second_take_turns() -> None:
    """A4: also the first ones, when a worker takes over thousands of waits at once."""
    budget = GetBudget(gets_per_second=8)
    turns = [budget.take_turn(now=100.0) for _ in range(17)]
    assert turns == [0.0] * 9 + [n / 8 for n in range(1, 9)]


def test_no_more_than_a_quiet_second_is_saved_up() -> None:
    budget = GetBudget(gets_per_second=8)
    budget.take_turn(now=100.0)
    assert sum(budget.take_turn(now=300.0) == 0.0 for _ in range(30)) == 9


def report(preview: str | None) -> ProgressReport:
    return ProgressReport(response_id="resp_1", response_status="in_progress", preview=preview)


def test_an_hour_of_growing_text_is_told_in_tens_of_reports() -> None:
    schedule = ReportSchedule(started_at=0)
    told = [second for second in range(3600) if schedule.due(report(f"text {second}"), second)]
    assert told[0] == 5
    assert all(later - earlier <= 61 for earlier, later in pairwise(told))
    assert 50 < len(told) < 90


def test_nothing_is_told_without_a_preview_or_when_nothing_changed() -> None:
    schedule = ReportSchedule(started_at=0)
    assert not any(schedule.due(report(None), second) for second in range(600))
    assert schedule.due(report("text"), 600)
    assert not any(schedule.due(report("text"), second) for second in range(601, 1200))
