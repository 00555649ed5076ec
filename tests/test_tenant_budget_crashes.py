"""The budget of a tenant when workers are killed: what was spent is what the provider bills, and nothing stays held."""

import asyncio
import json
import secrets
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import pytest

from durable_responses.activities.messages import ActivityName
from durable_responses.emulator.faults import Delay
from durable_responses.emulator.model.script import Script, Text
from durable_responses.pricing.tenant_budgets import TenantBudget, budget_id
from durable_responses.workflows.contract import TransportChoice
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.ledgers import cost_of
from tests.support.processes import WorkerProcess

TRANSPORTS = [TransportChoice.BACKGROUND, TransportChoice.STREAM]
ANSWER = Script(output=[Text(text="Done.")], write=0)


def worker(deployment: Deployment) -> WorkerProcess:
    """A worker whose operator grants the tenant of the test a thousand dollars a month."""
    granted = {"tenants": {deployment.task_queue: {"month": {"usd": 1000}}}}
    return deployment.worker(AGENT_BUDGETS=json.dumps(granted))


async def start(deployment: Deployment, transport: TransportChoice, *, seconds: float = 0, posts: float = 0) -> Run:
    turns = [Script(think=seconds, output=[calls("look", "gate")]), ANSWER]
    return await deployment.start(
        f"tenant-{secrets.token_hex(4)}",
        turns,
        fault=Delay(seconds=posts) if posts else None,
        transport=transport,
        tenant=deployment.task_queue,
        max_output_tokens=2_000,
    )


async def shown(deployment: Deployment) -> TenantBudget:
    id_ = budget_id(deployment.task_queue, f"{datetime.now(UTC):%Y-%m}", deployment.task_queue)
    return TenantBudget.model_validate(await deployment.client.get_workflow_handle(id_).query("show"))


async def is_settled(deployment: Deployment) -> bool:
    return not (await shown(deployment)).held


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_worker_killed_while_a_response_is_under_way_leaves_the_bill_as_it_is(
    deployment: Deployment, transport: TransportChoice
) -> None:
    deployment.open_gates()
    async with worker(deployment) as first:
        run = await start(deployment, transport, seconds=3)
        await until(lambda: is_known(run))
        first.kill()
    async with worker(deployment):
        cost = (await run.result()).cost
        await until(lambda: is_settled(deployment))
        state = await shown(deployment)
    assert cost is not None
    # A stream dies with its worker: what it has cost is not known, so it counts at its most.
    assert cost.unknown == (1 if transport is TransportChoice.STREAM else 0)
    assert float(state.spent.usd or 0) == pytest.approx(cost.at_most if cost.unknown else cost.usd)
    assert (state.spent.usd or 0) >= sum(cost_of(line) for line in (await run.bill()).responses)


async def test_a_worker_killed_in_the_middle_of_a_create_leaves_no_more_than_its_worst_case(
    deployment: Deployment,
) -> None:
    """Nobody knows whether it was taken: so it counts at the most that it may have cost, and once."""
    deployment.open_gates()
    async with worker(deployment) as first:
        run = await start(deployment, TransportChoice.BACKGROUND, posts=3)
        await until(lambda: is_held(deployment))
        [hold] = (await shown(deployment)).held.values()
        first.kill()
    async with worker(deployment):
        result = await run.result()
        await until(lambda: is_settled(deployment))
        state = await shown(deployment)
    known = Decimal(str(result.cost.known if result.cost else 0))
    assert result.ambiguous_creates == 1
    assert state.spent.usd == known + (hold.most.usd or 0)


async def test_runs_of_two_workers_that_are_killed_in_turn_spend_what_is_billed(deployment: Deployment) -> None:
    deployment.open_gates()
    async with worker(deployment) as first, worker(deployment):
        runs = [await start(deployment, TransportChoice.BACKGROUND, seconds=2) for _ in range(8)]
        await asyncio.gather(*(until(partial(is_known, run)) for run in runs))
        first.kill()
        await asyncio.gather(*(run.result() for run in runs))
        await until(lambda: is_settled(deployment))
        state = await shown(deployment)
    bills = [await run.bill() for run in runs]
    assert state.spent.usd == sum((cost_of(line) for bill in bills for line in bill.responses), Decimal(0))


async def is_known(run: Run) -> bool:
    """Whether Temporal knows the response that is under way."""
    told = [await run.heartbeat_of(name) for name in (ActivityName.AWAIT_RESPONSE, ActivityName.STREAM_RESPONSE)]
    return any(heartbeat is not None and heartbeat.response_id is not None for heartbeat in told)


async def is_held(deployment: Deployment) -> bool:
    try:
        return bool((await shown(deployment)).held)
    except Exception:  # it is not there yet
        return False
