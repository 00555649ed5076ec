"""Which parts the stack of `make stack` has."""

from pathlib import Path

import pytest

from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.topology import ServerTopology
from durable_responses.settings import Settings
from durable_responses.stack_file import PartName, Ports
from tests.support.processes import free_port


@pytest.fixture
def topology(tmp_path: Path) -> ServerTopology:
    settings = Settings(state_folder=tmp_path)
    return ServerTopology(settings, StateFolder(settings), print, worker_count=3)


async def test_workers_and_the_emulator_alone_where_temporal_is_configured(
    topology: ServerTopology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    plans = await topology.plans(Ports())
    assert [plan.name for plan in plans] == ["emulator", "worker", "worker-2", "worker-3"]


def test_a_worker_waits_for_temporal_and_the_emulator(topology: ServerTopology) -> None:
    assert {plan.after for plan in topology.workers()} == {(PartName.TEMPORAL, PartName.EMULATOR)}


def test_no_two_workers_tell_of_their_health_at_the_same_port(tmp_path: Path) -> None:
    settings = Settings(state_folder=tmp_path, health_port=8391)
    topology = ServerTopology(settings, StateFolder(settings), print, worker_count=3)
    ports = [plan.environment["AGENT_HEALTH_PORT"] for plan in topology.workers()]
    assert ports == ["8391", "8392", "8393"]
