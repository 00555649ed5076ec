"""Runs on processes that export to a receiver in this one."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_responses.telemetry.export import Protocol
from durable_responses.workflows.contract import AgentInput, AgentResult, agent_workflow_id
from tests.support.deployment import Deployment, Run
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import CHECKOUT, TemporalServer, WorkerProcess
from tests.support.receiver import Received, receiving


@pytest.fixture(scope="session")
def received() -> Iterator[Received]:
    """What the processes of this session have sent over HTTP."""
    with receiving(Protocol.HTTP) as receiver:
        yield receiver


@pytest.fixture(scope="session")
async def deployment(
    temporal: TemporalServer, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """An emulator of its own; the workers are the test's."""
    folder = tmp_path_factory.mktemp("telemetry")
    async with EmulatorProcess(folder) as emulator:
        yield Deployment(temporal, client, emulator, folder)


@pytest.fixture
def apart(deployment: Deployment, tmp_path: Path) -> Deployment:
    """On a task queue of its own, for workers of the test's own."""
    return Deployment(deployment.temporal, deployment.client, deployment.emulator, tmp_path)


async def started_elsewhere(deployment: Deployment, received: Received, agent_input: AgentInput) -> Run:
    """A run that another program has started, and traced."""
    workflow_id = agent_workflow_id()
    environment = {
        "PATH": "",
        "TEMPORAL_ADDRESS": deployment.temporal.address,
        "AGENT_STATE_FOLDER": str(Path(deployment.folder) / "state-of-client"),
        "HOME": str(deployment.folder),
        **received.variables,
    }
    arguments = [workflow_id, deployment.task_queue, agent_input.model_dump_json()]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.starting", *arguments, cwd=CHECKOUT, env=environment
    )
    assert await asyncio.wait_for(program.wait(), 30) == 0
    handle = deployment.client.get_workflow_handle(workflow_id, result_type=AgentResult)
    return Run(handle, deployment.emulator.control)


def exporting_worker(deployment: Deployment, received: Received, **settings: str) -> WorkerProcess:
    """A worker, not started yet, that sends to the receiver. Calls of `look("open")` pass."""
    deployment.gate("open").open()
    return deployment.worker((), **received.variables, **settings)
