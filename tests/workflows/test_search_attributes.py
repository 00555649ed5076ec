"""Runs can be found by status, model, iteration and tenant where the namespace has search attributes for them."""

import secrets
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from durable_responses.jobs.attribute_registration import register, register_costs
from durable_responses.jobs.jobs import Jobs
from durable_responses.pricing.rates import Rates
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentState, AgentStatus
from durable_responses.workflows.search_attributes import (
    AGENT_COST,
    AGENT_ITERATION,
    AGENT_MODEL,
    AGENT_STATUS,
    AGENT_TENANT,
    AGENT_WASTED,
    is_worth_showing,
    search_attributes_of,
)
from tests.support.runs import Agents, result_of, until

TWICE = {"scenario": 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'}
UPSERT = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES


async def attributes(run: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    shown = (await run.describe()).typed_search_attributes
    return {key.name: shown.get(key) for key in (AGENT_STATUS, AGENT_MODEL, AGENT_ITERATION, AGENT_TENANT)}


def asks_for(tenant: str, **fields: Any) -> AgentInput:
    return AgentInput(task="Add.", model="gpt-5.4", tenant=tenant, metadata=TWICE, **fields)


def test_an_iteration_counts_once_its_first_response_is_there() -> None:
    """So that the status and the iteration change together, which is one event."""
    queued, running = (
        search_attributes_of(AgentInput(task="Add."), AgentState(status=status, iteration=1))
        for status in (AgentStatus.QUEUED, AgentStatus.RUNNING)
    )
    assert (queued[AGENT_ITERATION], running[AGENT_ITERATION]) == (0, 1)


@pytest.mark.parametrize("transport", ["background", "stream", "websocket"])
async def test_a_run_started_without_them_is_told_by_its_worker_that_it_may_set_them(
    agents: Agents, transport: str
) -> None:
    run = await agents.start(asks_for("acme", transport=transport))
    await result_of(run)
    expected = {"AgentStatus": "completed", "AgentModel": "gpt-5.4", "AgentIteration": 3, "AgentTenant": "acme"}
    assert await attributes(run) == expected


async def test_a_run_with_prices_shows_at_its_end_what_it_has_cost(agents: Agents, client: Client) -> None:
    assert await register_costs(client)
    priced = asks_for("acme", prices={"gpt-5.4": Rates(input=Decimal(100), output=Decimal(1000))})
    run, free = await agents.start(priced), await agents.start(asks_for("acme"))
    result = await result_of(run)
    await result_of(free)
    shown = (await run.describe()).typed_search_attributes
    assert result.cost is not None
    assert (shown.get(AGENT_COST), shown.get(AGENT_WASTED)) == (result.cost.known, 0)
    assert (await free.describe()).typed_search_attributes.get(AGENT_COST) is None
    query = f"AgentCostUSD >= {result.cost.known} AND WorkflowId = '{run.id}'"

    async def is_found() -> bool:
        return (await client.count_workflows(query)).count == 1

    await until(is_found)


async def test_a_run_started_by_jobs_has_them_before_any_worker_sees_it(client: Client, settings: Settings) -> None:
    assert await register(client)
    job_id = await Jobs(client, settings.task_queue).start(asks_for("acme"))
    run = client.get_workflow_handle(job_id)
    expected = {"AgentStatus": "queued", "AgentModel": "gpt-5.4", "AgentIteration": 0, "AgentTenant": "acme"}
    assert await attributes(run) == expected
    await run.terminate()


async def test_quick_iterations_cost_no_event_and_the_last_one_is_shown_at_the_end(agents: Agents) -> None:
    run = await agents.start(asks_for("acme"))
    await result_of(run)
    events = [event async for event in run.fetch_history_events() if event.event_type == UPSERT]
    # `running` and `completed`; the others are the SDK's own, for the patches: this one, and that of a run whose
    # starter gave it no memo.
    assert len(events) == 2 + 2
    assert (await attributes(run))["AgentIteration"] == 3


@pytest.mark.parametrize(
    ("changed", "since", "is_worth_it"),
    [
        ({"AgentIteration"}, 0.1, False),
        ({"AgentIteration"}, 4.9, False),
        ({"AgentIteration"}, 5.0, True),
        ({"AgentIteration"}, None, True),
        ({"AgentIteration", "AgentStatus"}, 0.1, True),
        ({"AgentModel"}, 0.1, True),
    ],
)
def test_the_iteration_alone_is_set_at_most_every_five_seconds(
    changed: set[str], since: float | None, is_worth_it: bool
) -> None:
    assert is_worth_showing(changed, None if since is None else timedelta(seconds=since)) is is_worth_it


async def test_a_list_finds_runs_by_them(agents: Agents) -> None:
    tenant = f"tenant-{secrets.token_hex(4)}"
    jobs = Jobs(agents.client, agents.settings.task_queue)
    job_id = await jobs.start(asks_for(tenant))
    assert (await jobs.result(job_id)).status is AgentStatus.COMPLETED

    async def is_found() -> bool:
        found = await jobs.recent(
            where=f'AgentTenant = "{tenant}" AND AgentStatus = "completed" AND AgentIteration > 1'
        )
        return [view.job_id for view in found] == [job_id]

    await until(is_found)
    assert await jobs.recent(where=f'AgentTenant = "{tenant}" AND AgentStatus = "failed"') == []
