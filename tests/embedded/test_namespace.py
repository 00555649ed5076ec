"""`python -m durable_responses.embedded namespace`, which docker-compose.yml runs before any worker."""

import sys
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from durable_responses.settings import child_environment
from tests.support.processes import Process, TemporalServer


async def ensure_namespace(temporal: TemporalServer, folder: Path, retention: str) -> None:
    environment = child_environment(
        TEMPORAL_ADDRESS=temporal.address, TEMPORAL_NAMESPACE="team", AGENT_RETENTION=retention
    )
    async with Process(
        [sys.executable, "-m", "durable_responses.embedded", "namespace"], log=folder / "log", env=environment
    ) as command:
        assert await command.wait() == 0


async def retention_of(client: Client) -> timedelta:
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="team"))
    kept: timedelta = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    return kept


async def test_a_namespace_is_created_and_its_retention_changed_later(
    temporal: TemporalServer, client: Client, tmp_path: Path
) -> None:
    """A20."""
    await ensure_namespace(temporal, tmp_path, "48h")
    assert await retention_of(client) == timedelta(hours=48)
    await ensure_namespace(temporal, tmp_path, "96h")
    assert await retention_of(client) == timedelta(hours=96)
