"""A namespace is given our search attributes where it takes them; where it does not, runs work without them."""

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client

from durable_responses.jobs.attribute_registration import are_registered, look_up, register
from durable_responses.jobs.jobs import Jobs
from durable_responses.pricing.rates import Rates
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentStatus
from tests.support.processes import TemporalServer
from tests.support.runs import working

LOGGER = "durable_responses.jobs.attribute_registration"


@pytest.fixture
async def crowded(tmp_path: Path) -> Any:
    """A client of a server whose namespace has no room for another number: ours are refused."""
    async with await TemporalServer.on(tmp_path) as server:
        client = await server.client()
        kind = IndexedValueType.INDEXED_VALUE_TYPE_INT
        request = AddSearchAttributesRequest(
            namespace="default", search_attributes={f"Number{place}": kind for place in range(3)}
        )
        await client.operator_service.add_search_attributes(request)
        yield client


async def test_where_there_is_no_room_for_those_of_the_costs_runs_have_the_others(
    tmp_path: Path, provider: Provider, settings: Settings
) -> None:
    async with await TemporalServer.on(tmp_path) as server:
        client = await server.client()
        kind = IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE
        names = {f"Number{place}": kind for place in range(2)}
        request = AddSearchAttributesRequest(namespace="default", search_attributes=names)
        await client.operator_service.add_search_attributes(request)
        async with working(client, provider, settings):
            jobs = Jobs(client, settings.task_queue)
            prices = {"gpt-5.4": Rates(input=Decimal(100), output=Decimal(1000))}
            job_id = await jobs.start(AgentInput(task="Add.", model="gpt-5.4", tools=["add"], prices=prices))
            assert (await jobs.result(job_id)).status is AgentStatus.COMPLETED
        found = await look_up(client)
        assert (found.are_complete, found.has_costs) == (True, False)


async def test_they_are_registered_once_and_asked_for_after_that(client: Client) -> None:
    assert await register(client)
    assert await register(client)
    assert await are_registered(client)


async def test_where_they_are_refused_runs_work_without_them_and_one_line_says_so(
    crowded: Client, provider: Provider, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger=LOGGER):
        async with working(crowded, provider, settings):
            jobs = Jobs(crowded, settings.task_queue)
            job_id = await jobs.start(AgentInput(task="Add.", tenant="acme", tools=["add"]))
            assert (await jobs.result(job_id)).status is AgentStatus.COMPLETED
    assert not await are_registered(crowded)
    lines = [record for record in caplog.records if record.name == LOGGER]
    assert [line.getMessage().partition(" (")[0] for line in lines] == [
        "Runs have no search attributes: they could not be registered"
    ]
