"""The rules of the budgets of tenants: what is granted, held and spent, by tables."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from durable_responses.pricing.tenant_budgets import (
    Amount,
    ClosedRuns,
    Exchange,
    Reserve,
    Settle,
    TenantBudget,
    TenantBudgets,
    budget_id,
)

NOW = datetime(2026, 11, 29, 9, 30, tzinfo=UTC)
GRANTED = {
    "tenants": {
        "acme": {"day": {"usd": 20}, "month": {"usd": 300, "tokens": 5_000_000}},
        "*": {"day": {"tokens": 1_000}},
    }
}


def usd(amount: float) -> Amount:
    return Amount(usd=Decimal(str(amount)))


def budget(limit: Amount | None = None, **state: Any) -> TenantBudget:
    ends_at = datetime(2026, 11, 30, tzinfo=UTC)
    return TenantBudget(tenant="acme", window="2026-11-29", ends_at=ends_at, limit=limit or usd(10), **state)


@pytest.mark.parametrize(
    ("granted", "problem"),
    [
        ({"acme": {"day": 20}}, "must say of what: {usd = 20}"),
        ({"acme": {"day": "20 USD"}}, "must say of what"),
        ({"acme": {"week": {"usd": 20}}}, "week is not a window; there are day and month"),
        ({"acme": {"com": {"day": {"usd": 20}}}}, "com is not a window"),
        ({"acme": {"day": {"tokens": True}}}, "must be a number"),
        ({"acme": {}}, "needs day, month, or both"),
        ({"": {"day": {"usd": 1}}}, "a tenant has a name"),
    ],
)
def test_a_grant_that_cannot_be_meant_is_named(granted: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        TenantBudgets.model_validate({"tenants": granted})


@pytest.mark.parametrize(
    ("limit", "to", "problem"),
    [
        (usd(10), Amount(usd=Decimal(20)), None),
        (usd(10), Amount(usd=Decimal(20), tokens=5), "it has no limit in tokens that could be raised"),
        (usd(10), Amount(tokens=5), "it has no limit in tokens that could be raised"),
        (Amount(tokens=5), usd(20), "it has no limit in USD that could be raised"),
    ],
)
def test_only_what_is_granted_can_be_raised(limit: Amount, to: Amount, problem: str | None) -> None:
    assert budget(limit).problem_of_raising(to) == problem


def reserve(key: str, most: float, attempt: int = 1) -> Exchange:
    return Exchange(reserve=[Reserve(key=key, job=f"job-of-{key}", attempt=attempt, most=usd(most))])


def settle(key: str, cost: float | None = None, unsent_by: int | None = None) -> Exchange:
    return Exchange(settle=[Settle(key=key, cost=Amount() if cost is None else usd(cost), unsent_by=unsent_by)])


def standing(of: TenantBudget) -> tuple[float, float]:
    return float(of.spent.usd or 0), float(of.held_in_all.usd or 0)


# --- what is granted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "at", "windows"),
    [
        ("acme", NOW, [("acme", "2026-11-29", "2026-11-30"), ("acme", "2026-11", "2026-12-01")]),
        (
            "acme",
            NOW.replace(month=12, day=31),
            [("acme", "2026-12-31", "2027-01-01"), ("acme", "2026-12", "2027-01-01")],
        ),
        ("beta", NOW, [("beta", "2026-11-29", "2026-11-30")]),
        (None, NOW, [("*", "2026-11-29", "2026-11-30")]),
        ("beta", datetime.fromisoformat("2026-11-30T00:30+01:00"), [("beta", "2026-11-29", "2026-11-30")]),
    ],
)
def test_a_response_counts_for_the_windows_of_its_tenant_in_utc(
    tenant: str | None, at: datetime, windows: list[tuple[str, str, str]]
) -> None:
    found = TenantBudgets.model_validate(GRANTED).of(tenant, at)
    assert [(each.tenant, each.window, f"{each.ends_at:%Y-%m-%d}") for each in found] == windows


def test_who_is_not_named_has_no_budget_unless_there_is_one_for_all_others() -> None:
    granted = TenantBudgets.model_validate({"tenants": {"acme": {"day": {"usd": 1}}}})
    assert granted.of("beta", NOW) == granted.of(None, NOW) == TenantBudgets().of("acme", NOW) == []


@pytest.mark.parametrize(
    "grants", [{}, {"day": {}}, {"week": {"usd": 1}}, {"day": {"usd": -1}}, {"day": {"usd": 1, "eur": 1}}]
)
def test_a_tenant_is_granted_something_in_a_day_or_a_month(grants: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tenants"):
        TenantBudgets.model_validate({"tenants": {"acme": grants}})


@pytest.mark.parametrize(
    ("tenant", "id_"),
    [
        ("acme", "budget-acme-2026-11"),
        ("*", "budget-*-2026-11"),
        ("a/b c", "budget-a%2Fb%20c-2026-11"),
        ("%2A", "budget-%252A-2026-11"),
    ],
)
def test_the_id_of_a_budget_names_its_tenant_and_its_window(tenant: str, id_: str) -> None:
    assert budget_id(tenant, "2026-11") == id_


def test_each_task_queue_has_budgets_of_its_own() -> None:
    assert budget_id("acme", "2026-11", "agents") == budget_id("acme", "2026-11")
    assert budget_id("acme", "2026-11", "others") == "budget-acme-2026-11@others"


def test_long_names_make_short_ids_that_differ() -> None:
    ids = {budget_id("é" * 99 + end, "2026-11") for end in "ab"}
    assert len(ids) == 2
    assert all(len(id_) < 300 for id_ in ids)


# --- what is held and spent ------------------------------------------------------------------------------------------


def test_what_may_not_fit_beside_what_is_spent_and_held_is_refused() -> None:
    state = budget(spent=usd(4))
    assert state.exchange(reserve("r/1", 5), NOW).refused == []
    answers = state.exchange(reserve("r/2", 1.01), NOW)
    assert answers.refused == ["r/2"]
    assert standing(state) == (4, 5)
    assert state.exchange(reserve("r/3", 1), NOW).refused == []


@pytest.mark.parametrize(
    ("line", "most", "is_refused"),
    [
        (Amount(usd=Decimal(1), tokens=100), Amount(usd=Decimal(1), tokens=100), False),
        (Amount(usd=Decimal(1), tokens=100), Amount(usd=Decimal(1), tokens=101), True),
        (Amount(usd=Decimal(1), tokens=100), Amount(usd=Decimal("1.000001"), tokens=1), True),
        (Amount(tokens=100), Amount(usd=Decimal(1000), tokens=100), False),
        (Amount(usd=Decimal(1)), Amount(usd=Decimal(1), tokens=10**9), False),
    ],
)
def test_each_line_of_a_limit_holds_for_itself(line: Amount, most: Amount, is_refused: bool) -> None:
    answers = budget(line).exchange(Exchange(reserve=[Reserve(key="r/1", job="j", most=most)]), NOW)
    assert bool(answers.refused) == is_refused


@pytest.mark.parametrize(
    ("said", "spent_and_held"),
    [
        ([settle("r/1", 1.5)], (1.5, 0)),
        ([settle("r/1")], (4, 0)),
        ([settle("r/1", 0)], (0, 0)),
        ([settle("r/1", 9)], (9, 0)),
        ([settle("r/1", unsent_by=1)], (0, 0)),
        ([settle("r/2", 1.5)], (0, 4)),
        ([settle("r/1", 1.5), settle("r/1", 1.5)], (1.5, 0)),
        ([settle("r/1", 1.5), reserve("r/1", 4)], (1.5, 0)),
        ([settle("r/1", unsent_by=1), reserve("r/1", 4, 2)], (0, 4)),
        ([reserve("r/1", 4, 2)], (0, 4)),
        ([reserve("r/1", 5, 2)], (0, 5)),
        ([reserve("r/1", 4, 2), settle("r/1", unsent_by=1)], (0, 4)),
        ([reserve("r/1", 4, 2), settle("r/1", unsent_by=2)], (0, 0)),
        ([reserve("r/1", 4, 2), reserve("r/1", 9, 1)], (0, 4)),
        ([reserve("r/1", 4, 2), settle("r/1", 1)], (1, 0)),
    ],
)
def test_what_is_said_again_or_too_late_changes_nothing(
    said: list[Exchange], spent_and_held: tuple[float, float]
) -> None:
    state = budget()
    state.exchange(reserve("r/1", 4), NOW)
    for each in said:
        state.exchange(each, NOW)
    assert standing(state) == spent_and_held


@pytest.mark.parametrize(
    ("spent", "held", "most", "least", "borne"),
    [
        (4, 0, 6, 1, 6),  # it fits
        (4, 0, 7, 1, 6),  # all that is left
        (4, 2, 7, 1, 4),
        (4, 5, 7, 1, 1),
        (4, 5.01, 7, 1, None),  # too little is left
        (4, 5, 6, 1, None),  # it may have all of it once what is held is free
        (4, 0, 7, 7, None),
        (4, 0, 7, None, None),  # less is of no use
        (10, 0, 7, 1, None),
    ],
)
def test_where_the_most_of_a_response_is_spent_already_it_gets_what_is_left(
    spent: float, held: float, most: float, least: float | None, borne: float | None
) -> None:
    state = budget(spent=usd(spent))
    state.exchange(reserve("r/0", held), NOW)
    asked = Reserve(key="r/1", job="j", most=usd(most), least=None if least is None else usd(least))
    answers = state.exchange(Exchange(reserve=[asked]), NOW)
    assert answers.refused == (["r/1"] if borne is None else [])
    assert answers.lowered == ({"r/1": usd(borne)} if borne not in (None, most) else {})
    assert standing(state) == (spent, held + (borne or 0))


def test_the_line_that_is_short_is_the_one_that_is_lowered() -> None:
    state = budget(Amount(usd=Decimal(10), tokens=1_000))
    asked = Reserve(
        key="r/1", job="j", most=Amount(usd=Decimal(3), tokens=4_000), least=Amount(usd=Decimal(1), tokens=900)
    )
    assert state.exchange(Exchange(reserve=[asked]), NOW).lowered == {"r/1": Amount(usd=Decimal(3), tokens=1_000)}


def test_a_line_that_was_not_granted_is_not_made_by_raising_it() -> None:
    state = budget()
    state.raise_limit(Amount(tokens=5))
    assert state.bound == usd(10)


def test_settlements_make_room_for_the_reservations_beside_them() -> None:
    state = budget()
    state.exchange(reserve("r/1", 10), NOW)
    both = Exchange(settle=settle("r/1", 3).settle, reserve=reserve("r/2", 7).reserve)
    assert state.exchange(both, NOW).refused == []


def test_nothing_is_released_by_time() -> None:
    state = budget()
    state.exchange(reserve("r/1", 4), NOW)
    much_later = NOW + timedelta(days=40)
    assert not state.is_over(much_later)
    state.are_closed(ClosedRuns(keys=["r/1"]), much_later)
    assert standing(state) == (4, 0)
    assert state.is_over(much_later)
    assert not budget().is_over(NOW + timedelta(days=1))


def test_runs_that_something_is_held_for_are_looked_at_with_those_that_wait() -> None:
    state = budget()
    state.exchange(reserve("run/1", 10), NOW)
    state.exchange(reserve("run-2/1", 1), NOW + timedelta(minutes=1))
    state.exchange(reserve("run-3/1", 1), NOW + timedelta(minutes=9))
    found = state.open_runs(NOW + timedelta(minutes=10), timedelta(minutes=5))
    assert [(run.job, run.run_id) for run in found] == [("job-of-run/1", "run"), ("job-of-run-2/1", None)]
    state.are_closed(ClosedRuns(keys=["job-of-run-2/1"]), NOW)
    assert list(state.waiting) == ["job-of-run-3/1"]


def test_what_a_run_holds_for_an_earlier_response_is_left_behind() -> None:
    state = budget()
    for minutes, key in enumerate(("run/1", "run/5", "other/1", "run/9")):
        state.exchange(reserve(key, 1), NOW + timedelta(minutes=minutes))
    assert [(run.key, run.run_id) for run in state.left_behind] == [("run/1", "run"), ("run/5", "run")]
    for key in ("run/1", "run/5"):
        state.exchange(settle(key, 1), NOW)
    assert state.left_behind == []


def test_a_run_no_longer_waits_once_it_has_something_set_aside() -> None:
    state = budget(spent=usd(10))
    state.exchange(reserve("r/1", 1), NOW)
    assert list(state.waiting) == ["job-of-r/1"]
    state.raise_limit(usd(11))
    state.exchange(reserve("r/1", 1, 2), NOW)
    assert state.waiting == {}


@pytest.mark.parametrize(
    ("granted", "raised", "bound"), [(10, [20], 20), (10, [5], 10), (10, [20, 15], 20), (30, [20], 30)]
)
def test_a_limit_is_only_raised(granted: float, raised: list[float], bound: float) -> None:
    state = budget()
    for to in raised:
        state.raise_limit(usd(to))
    state.exchange(Exchange(limit=usd(granted)), NOW)
    assert state.bound.usd == bound


def test_what_is_known_of_settled_reservations_stays_small() -> None:
    state = budget(usd(1_000_000))
    for number in range(2_100):
        state.exchange(reserve(f"r/{number}", 1), NOW)
        state.exchange(settle(f"r/{number}", 1), NOW)
    assert (len(state.settled), "r/2099" in state.settled) == (2_000, True)
    assert standing(state) == (2_100, 0)
    state.exchange(reserve("r/last", 1), NOW)
    state.exchange(settle("r/last", 1), NOW + timedelta(hours=2))
    assert list(state.settled) == ["r/last"]


def test_the_state_survives_its_way_into_a_new_history() -> None:
    state = budget()
    state.exchange(reserve("r/1", 4), NOW)
    state.exchange(reserve("r/2", 8), NOW)
    assert TenantBudget.model_validate_json(state.model_dump_json()) == state
