"""The budgets of tenants: runs that share one cannot pass its line together, and ask."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from durable_responses.activities.budgets import LOWERED
from durable_responses.activities.till import TenantBudgetActivities, Till
from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.jobs.job_errors import InvalidInput
from durable_responses.jobs.tenant_budgets import raise_budget
from durable_responses.pricing.tenant_budgets import (
    NOTHING,
    Amount,
    ClosedRuns,
    Hold,
    OpenRun,
    OpenRuns,
    Reserve,
    Settle,
    TenantBudget,
    TenantBudgets,
    budget_id,
)
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, InputRequestKind, TransportChoice
from tests.support.emulator_control import RunningEmulator
from tests.support.processes import TemporalServer
from tests.support.runs import Agents, asked, reached, result_of, until, working
from tests.workflows.test_budgets import asks as asks_within
from tests.workflows.test_costs import TRANSPORTS

CALLS = 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'


def asks(tenant: str | None, scenario: str = CALLS, **fields: Any) -> AgentInput:
    return asks_within(None, scenario, max_iterations=None, **{"max_output_tokens": 1_024, "tenant": tenant, **fields})


def granted(**tenants: dict[str, Any]) -> TenantBudgets:
    return TenantBudgets.model_validate({"tenants": tenants})


@pytest.fixture
def tenant() -> str:
    return f"tenant {secrets.token_hex(4)}"


@pytest.fixture
async def budgeted(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings, tenant: str
) -> AsyncIterator[Agents]:
    """Agent runs, with a worker whose operator grants the tenant a little a month."""
    budgets = granted(**{tenant: {"month": {"usd": 1.4}}})
    with_budgets = settings.model_copy(update={"budgets": budgets})
    async with working(client, provider, with_budgets):
        yield Agents(client, emulator, with_budgets)


async def shown(agents: Agents, tenant: str) -> TenantBudget:
    id_ = budget_id(tenant, f"{datetime.now(UTC):%Y-%m}", agents.settings.task_queue)
    return TenantBudget.model_validate(await agents.client.get_workflow_handle(id_).query("show"))


def most(usd: float) -> Amount:
    return Amount(usd=Decimal(str(usd)))


def a_budget(tenant: str, usd: float) -> TenantBudget:
    [budget] = granted(**{tenant: {"month": {"usd": usd}}}).of(tenant, datetime.now(UTC))
    return budget


async def spends(agents: Agents, tenant: str, usd: float) -> None:
    """Let something else have spent so much of the budget."""
    start = a_budget(tenant, 1.4)
    till = Till(agents.client, agents.settings.task_queue, budget_id(tenant, start.window, agents.settings.task_queue))
    await till.reserve(start, Reserve(key="other/1", job="other", most=most(usd)))
    till.settle(Settle(key="other/1"))
    await till.end()


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_responses_cost_is_spent_of_the_budget_of_their_tenant(
    budgeted: Agents, tenant: str, transport: TransportChoice
) -> None:
    result = await budgeted.run(asks(tenant, transport=transport))
    assert result.status == "completed"
    assert result.cost is not None

    async def is_settled() -> bool:
        state = await shown(budgeted, tenant)
        return not state.held and float(state.spent.usd or 0) == pytest.approx(result.cost.known)  # type: ignore[union-attr]

    await until(is_settled)
    assert (await shown(budgeted, tenant)).spent.tokens == result.usage.total_tokens


async def test_a_run_asks_when_the_budget_of_its_tenant_is_used_up_and_goes_on_when_it_is_raised(
    budgeted: Agents, tenant: str
) -> None:
    await spends(budgeted, tenant, 1.2)
    run = await budgeted.start(asks(tenant))
    request = await asked(run)
    assert (request.kind, request.choices, request.limit) == (InputRequestKind.BUDGET, ["retry", "stop"], None)
    assert f"The budget of the tenant {tenant} for " in request.message
    before = await shown(budgeted, tenant)
    assert (list(before.waiting), before.held) == ([run.id], {})
    assert before.spent.usd == Decimal("1.2")
    assert request.resume_at == before.ends_at
    budget = budgeted.client.get_workflow_handle(budget_id(tenant, before.window, budgeted.settings.task_queue))
    both, queue = Amount(usd=Decimal(100), tokens=1_000), budgeted.settings.task_queue
    with pytest.raises(InvalidInput, match=r"cannot be raised: it has no limit in tokens .*; nothing was raised\.$"):
        await raise_budget(budgeted.client, queue, tenant, before.window, both)
    assert (await shown(budgeted, tenant)).raised is None
    await budget.execute_update("raise_limit", Amount(usd=Decimal(100)))
    await run.execute_update("respond", "retry")
    result = await result_of(run)
    assert (result.status, result.iterations) == ("completed", 3)


async def test_a_run_without_prices_waits_for_its_owner_and_for_no_other_day(budgeted: Agents, tenant: str) -> None:
    run = await budgeted.start(asks(tenant, prices=None))
    request = await asked(run)
    assert (request.choices, request.resume_at) == (["retry", "stop"], None)
    assert "the model has no price here" in request.message
    await run.execute_update("respond", "stop")
    assert (await result_of(run)).incomplete_reason == "budget"
    assert await budgeted.responses(run) == []


@pytest.mark.parametrize("name", ["max_output_tokens", "model", "service_tier"])
async def test_what_the_budget_of_a_tenant_counts_by_is_not_hidden_in_the_extra_body(
    budgeted: Agents, tenant: str, name: str
) -> None:
    run = await budgeted.start(asks(tenant, extra_body={name: "16"}))
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert f"extra_body: has {name}, by which the budget of the tenant counts" in str(failed.value.cause)
    assert await budgeted.responses(run) == []


async def test_a_run_whose_owner_says_stop_ends_with_what_it_has(budgeted: Agents, tenant: str) -> None:
    await spends(budgeted, tenant, 1.2)
    run = await budgeted.start(asks(tenant))
    await asked(run)
    await run.execute_update("respond", "stop")
    result = await result_of(run)
    assert (result.status, result.incomplete_reason) == ("incomplete", "budget")
    assert result.error is not None
    assert "is used up" in result.error.message


async def test_the_output_is_lowered_to_what_the_budget_of_the_tenant_has_left(budgeted: Agents, tenant: str) -> None:
    result = await budgeted.run(asks(tenant, "write?words=3000&seconds=0", tools=[], max_output_tokens=5_000))
    assert (result.status, result.incomplete_reason) == ("incomplete", "max_output_tokens")
    assert LOWERED in result.request_changes
    assert result.cost is not None
    assert 1 < result.cost.known <= 1.4


async def test_who_has_no_budget_is_not_limited(budgeted: Agents) -> None:
    result = await budgeted.run(asks(None))
    assert result.status == "completed"


# --- races -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("racers", "room"), [(50, 10), (500, 100)])
async def test_of_those_that_race_only_as_many_pass_as_there_is_room_for(
    budgeted: Agents, tenant: str, racers: int, room: int
) -> None:
    start = a_budget(tenant, room)
    id_ = budget_id(tenant, start.window, budgeted.settings.task_queue)
    tills = [Till(budgeted.client, budgeted.settings.task_queue, id_) for _ in range(2)]
    answers = await asyncio.gather(
        *(
            tills[number % 2].reserve(start, Reserve(key=f"run/{number}", job="job", most=most(1)))
            for number in range(racers)
        )
    )
    refused = {f"run/{number}" for number, each in enumerate(answers) if f"run/{number}" in each.refused}
    state = await shown(budgeted, tenant)
    assert (racers - len(refused), len(state.held)) == (room, room)
    assert refused.isdisjoint(state.held)


async def test_of_fifty_runs_on_two_workers_ten_are_created_where_the_budget_bears_ten(
    budgeted: Agents, temporal: TemporalServer, provider: Provider, tenant: str, tmp_path: Path
) -> None:
    """Whole runs, whose responses go on: what is held is not free before they end."""
    first = await budgeted.start(asks(tenant, "think?seconds=300", tools=[], transport="background"))
    await reached(first, lambda state: state.response_id is not None)
    state = await shown(budgeted, tenant)
    [held] = [hold.most.usd or Decimal(0) for hold in state.held.values()]
    budget = budgeted.client.get_workflow_handle(budget_id(tenant, state.window, budgeted.settings.task_queue))
    await budget.execute_update("raise_limit", Amount(usd=held * Decimal("10.5")))
    other = budgeted.settings.model_copy(update={"state_folder": tmp_path / "other"})
    async with working(await temporal.client(), provider, other):
        asked = asks(tenant, "think?seconds=300", tools=[], transport="background")
        runs = [first, *[await budgeted.start(asked) for _ in range(49)]]

        async def have_all_tried() -> bool:
            described = await asyncio.gather(*(run.describe() for run in runs))
            pending = [[*each.raw_description.pending_activities] for each in described]
            return all(
                each and (each[0].attempt > 1 or each[0].activity_type.name != "create_response") for each in pending
            )

        await until(have_all_tried, seconds=60)
        created = sum([len(await budgeted.responses(run)) for run in runs])
        assert (created, len((await shown(budgeted, tenant)).held)) == (10, 10)
        await asyncio.gather(*(run.signal("cancel") for run in runs))
        results = await asyncio.gather(*(result_of(run, seconds=60) for run in runs))
    assert {result.status for result in results} == {"cancelled"}
    assert sum(len(result.responses) for result in results) == 10


async def test_settlements_go_with_the_next_reservation_or_by_themselves(budgeted: Agents, tenant: str) -> None:
    start = a_budget(tenant, 10)
    till = Till(
        budgeted.client,
        budgeted.settings.task_queue,
        budget_id(tenant, start.window, budgeted.settings.task_queue),
        settled_within=60,
    )
    for number in (1, 2):
        await till.reserve(start, Reserve(key=f"run/{number}", job="job", most=most(9)))
        till.settle(Settle(key=f"run/{number}", cost=most(0.5)))
    assert till.updates == 2
    assert (await shown(budgeted, tenant)).spent.usd == Decimal("0.5")
    await till.end()

    async def is_settled() -> bool:
        return (await shown(budgeted, tenant)).spent.usd == 1

    await until(is_settled)


async def test_a_worker_that_is_lost_between_reserving_and_creating_leaves_its_place_to_the_next_attempt(
    budgeted: Agents, tenant: str
) -> None:
    start = a_budget(tenant, 1)
    id_ = budget_id(tenant, start.window, budgeted.settings.task_queue)
    lost, next_one = (Till(budgeted.client, budgeted.settings.task_queue, id_) for _ in range(2))
    await lost.reserve(start, Reserve(key="run/1", job="job", most=most(1)))
    answers = await next_one.reserve(start, Reserve(key="run/1", job="job", attempt=2, most=most(1)))
    assert answers.refused == []
    assert (await shown(budgeted, tenant)).held["run/1"].attempt == 2
    lost.settle(Settle(key="run/1", unsent_by=1))  # it was only frozen
    await lost.end()
    answers = await next_one.reserve(start, Reserve(key="run/2", job="job", most=most(1)))
    assert answers.refused == ["run/2"]


async def test_what_is_held_for_runs_that_have_ended_is_spent_and_for_open_ones_stays_held(
    budgeted: Agents, tenant: str
) -> None:
    """As after the loss of a worker that had yet to say what the responses have cost."""
    start = a_budget(tenant, 10)
    till = Till(
        budgeted.client, budgeted.settings.task_queue, budget_id(tenant, start.window, budgeted.settings.task_queue)
    )
    ended = await budgeted.start(asks(None, "echo"))
    await result_of(ended)
    waiting = await budgeted.start(asks(None, "think?seconds=300"))
    runs = {
        "ended": ended.result_run_id,
        "open": waiting.result_run_id,
        "unknown": "01a226a8-536d-70d5-ad95-02284d57813a",
    }
    jobs = {"ended": ended.id, "open": waiting.id, "unknown": "agent-gone"}
    for name, run_id in runs.items():
        await till.reserve(start, Reserve(key=f"{run_id}/5", job=jobs[name], most=most(2)))
    await budgeted.client.get_workflow_handle(budget_id(tenant, start.window, budgeted.settings.task_queue)).signal(
        "look_at_the_runs"
    )

    async def is_settled() -> bool:
        return len((await shown(budgeted, tenant)).held) == 1

    await until(is_settled)
    state = await shown(budgeted, tenant)
    assert list(state.held) == [f"{waiting.result_run_id}/5"]
    assert state.spent.usd == 4
    await waiting.signal("cancel")


async def test_runs_that_there_is_no_time_to_look_at_stay_as_they_are(client: Client) -> None:
    runs = OpenRuns(runs=[OpenRun(key="gone/1", job="agent-gone", run_id="01a226a8-536d-70d5-ad95-02284d57813a")])
    assert await TenantBudgetActivities(client).closed_runs(runs) == ClosedRuns(keys=["gone/1"])
    assert await TenantBudgetActivities(client, within=-1).closed_runs(runs) == ClosedRuns(keys=[])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_a_lost_worker_had_yet_to_say_is_read_from_the_history_of_the_run(
    budgeted: Agents, tenant: str, transport: TransportChoice
) -> None:
    start = a_budget(tenant, 10)
    id_ = budget_id(tenant, start.window, budgeted.settings.task_queue)
    run = await budgeted.start(asks(None, transport=transport))
    result = await result_of(run)
    assert result.cost is not None
    till = Till(budgeted.client, budgeted.settings.task_queue, id_)
    kinds = ("create_response", "stream_response", "websocket_turn")
    events = (await run.fetch_history()).events
    scheduled = [event.activity_task_scheduled_event_attributes for event in events]
    for each in scheduled:
        if each.activity_type.name in kinds:
            key = f"{run.result_run_id}/{each.activity_id}"
            await till.reserve(start, Reserve(key=key, job=run.id, most=most(3)))
    await till.end()
    assert len((await shown(budgeted, tenant)).held) == 3
    await budgeted.client.get_workflow_handle(id_).signal("look_at_the_runs")

    async def is_settled() -> bool:
        return not (await shown(budgeted, tenant)).held

    await until(is_settled)
    state = await shown(budgeted, tenant)
    assert float(state.spent.usd or 0) == pytest.approx(result.cost.known)
    assert state.spent.tokens == result.usage.total_tokens


async def holding(agents: Agents, tenant: str, amount: Amount) -> tuple[WorkflowHandle[Any, Any], TenantBudget, Till]:
    """A run that has ended, and a budget that has held so much for it for two minutes: at first, and as it is asked."""
    ended = await agents.start(asks(None, "echo"))
    await result_of(ended)
    start, now = a_budget(tenant, 10), datetime.now(UTC)
    id_, queue = budget_id(tenant, start.window, agents.settings.task_queue), agents.settings.task_queue
    held = Hold(job=ended.id, attempt=1, most=amount, since=now - timedelta(minutes=2))
    begun = start.model_copy(update={"held": {f"{ended.result_run_id}/unknown": held}})
    await agents.client.start_workflow("BudgetWorkflow", begun, id=id_, task_queue=queue)
    return ended, start, Till(agents.client, queue, id_)


async def test_what_has_been_held_for_long_is_looked_at_when_it_is_in_the_way(budgeted: Agents, tenant: str) -> None:
    _, start, till = await holding(budgeted, tenant, most(9))
    assert (await till.reserve(start, Reserve(key="run/1", job="job", most=most(2)))).refused == ["run/1"]

    async def is_settled() -> bool:
        return not (await shown(budgeted, tenant)).held

    await until(is_settled)
    assert (await shown(budgeted, tenant)).spent.usd == 9


async def test_what_a_run_that_goes_on_has_left_behind_is_settled_soon(budgeted: Agents, tenant: str) -> None:
    ended, start, till = await holding(budgeted, tenant, most(4))
    await till.reserve(start, Reserve(key=f"{ended.result_run_id}/next", job=ended.id, most=most(2)))

    async def is_settled() -> bool:
        return len((await shown(budgeted, tenant)).held) < 2

    await until(is_settled)
    assert (await shown(budgeted, tenant)).spent.usd == 4


async def test_what_is_set_aside_by_a_create_that_is_refused_is_free_again(budgeted: Agents, tenant: str) -> None:
    refused = Fault(operation=Operation.CREATE, effect=Answer(status=400))
    await budgeted.emulator.control.add_fault(refused)
    result = await budgeted.run(asks(tenant, "echo"))
    assert result.status == "failed"

    async def is_free() -> bool:
        return not (await shown(budgeted, tenant)).held

    await until(is_free)
    assert (await shown(budgeted, tenant)).spent == NOTHING


async def test_what_is_set_aside_by_a_create_that_is_never_sent_is_free_when_its_run_is_cancelled(
    budgeted: Agents, tenant: str
) -> None:
    metadata = {"scenario": "echo", "whose": tenant}
    busy = Fault(operation=Operation.CREATE, metadata=metadata, times=None, effect=Answer(status=503))
    await budgeted.emulator.control.add_fault(busy)
    run = await budgeted.start(asks(tenant, metadata=metadata))

    async def is_held() -> bool:
        with contextlib.suppress(RPCError):
            return bool((await shown(budgeted, tenant)).held)
        return False

    async def is_free() -> bool:
        return not await is_held()

    await until(is_held)
    await run.signal("cancel")
    assert (await result_of(run)).status == "cancelled"
    await until(is_free)
    assert (await shown(budgeted, tenant)).spent == NOTHING


async def test_a_create_waits_while_only_responses_under_way_are_in_its_way(budgeted: Agents, tenant: str) -> None:
    first = await budgeted.start(asks(tenant, "think?seconds=3", tools=[]))
    await reached(first, lambda state: state.response_id is not None)
    second = await budgeted.start(asks(tenant, "echo", tools=[]))
    results = await asyncio.gather(result_of(first), result_of(second))
    assert [(result.status, result.requests) for result in results] == [("completed", []), ("completed", [])]


async def test_a_run_goes_on_by_itself_when_the_window_of_the_budget_is_over(budgeted: Agents, tenant: str) -> None:
    await spends(budgeted, tenant, 1.2)
    request = await asked(run := await budgeted.start(asks(tenant)))
    assert request.resume_at == a_budget(tenant, 1).ends_at
    await run.signal("cancel")
    assert (await result_of(run)).status == "cancelled"


async def test_without_the_file_a_tenant_has_no_budget_and_history_says_nothing_of_one(
    agents: Agents, tenant: str
) -> None:
    run = await agents.start(asks(tenant))
    assert (await result_of(run)).status == "completed"
    with pytest.raises(RPCError, match="not found"):
        await shown(agents, tenant)
    events = (await run.fetch_history()).events
    assert not any(b"reserved" in event.SerializeToString() for event in events)


@pytest.fixture
async def suggesting(tmp_path: Path) -> AsyncIterator[Client]:
    """A server that suggests a new history after a few events."""
    server = await TemporalServer.on(tmp_path, "--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=40")
    async with server:
        yield await server.client()


async def test_a_budget_continues_in_new_histories_under_fire_and_forgets_nothing(
    suggesting: Client, emulator: RunningEmulator, provider: Provider, settings: Settings, tenant: str
) -> None:
    start = a_budget(tenant, 1_000)
    id_ = budget_id(tenant, start.window, settings.task_queue)
    async with working(suggesting, provider, settings):
        agents = Agents(suggesting, emulator, settings)
        tills = [Till(suggesting, settings.task_queue, id_, settled_within=0.01) for _ in range(4)]

        async def uses(till: Till, number: int) -> None:
            for turn in range(20):
                key = f"run-{number}/{turn}"
                assert (await till.reserve(start, Reserve(key=key, job="job", most=most(2)))).refused == []
                till.settle(Settle(key=key, cost=most(0.5)))

        await asyncio.gather(*(uses(till, number) for number, till in enumerate(tills)))
        await asyncio.gather(*(till.end() for till in tills))

        async def is_settled() -> bool:
            return not (await shown(agents, tenant)).held

        await until(is_settled)
        first = [each async for each in suggesting.list_workflows(f'WorkflowId = "{id_}"')]
        state = await shown(agents, tenant)
    assert state.spent.usd == 40
    assert len(state.settled) == 80
    assert len(first) > 1
