"""One deployment for all tests here: an emulator, a worker with queues of its own, an MCP server over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.emulator_control import EmulatorProcess
from tests.support.mcp_clients import HttpServer, McpServer, StdioServer
from tests.support.processes import TemporalServer, WorkerProcess

TASK_QUEUE = "agents-over-mcp"


@dataclass(frozen=True)
class Deployment:
    """What the tests share. `root` is the files root, the output root and the workspace."""

    temporal: TemporalServer
    emulator: EmulatorProcess
    client: Client
    root: Path
    folder: Path

    def settings(self, **changes: str) -> dict[str, str]:
        """The environment of a worker or an MCP server, `changes` on top."""
        return {
            "TEMPORAL_ADDRESS": self.temporal.address,
            "OPENAI_BASE_URL": self.emulator.base_url,
            "AGENT_STATE_FOLDER": str(self.folder / "state"),
            "AGENT_TASK_QUEUE": TASK_QUEUE,
            "AGENT_FILES_ROOT": str(self.root),
            "AGENT_OUTPUT_ROOT": str(self.root),
            "AGENT_WORKSPACE": str(self.root),
            "AGENT_POLL_FIRST": "0.1",
            **changes,
        }

    def worker(self, folder: Path, **changes: str) -> WorkerProcess:
        """A worker that is not started yet."""
        settings = self.settings(AGENT_STATE_FOLDER=str(folder / "state"), **changes)
        del settings["TEMPORAL_ADDRESS"], settings["OPENAI_BASE_URL"], settings["AGENT_STATE_FOLDER"]
        return WorkerProcess(self.temporal, self.emulator.base_url, folder=folder, **settings)


@pytest.fixture(scope="session")
async def deployment(
    temporal: TemporalServer, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """Temporal, emulator and worker, running."""
    folder = tmp_path_factory.mktemp("mcp")
    root = folder / "root"
    root.mkdir()
    async with EmulatorProcess(folder) as emulator:
        shared = Deployment(temporal, emulator, client, root, folder)
        async with shared.worker(folder):
            yield shared


@pytest.fixture(scope="session")
async def http(deployment: Deployment) -> AsyncIterator[HttpServer]:
    """The MCP server over HTTP that most tests use."""
    async with HttpServer(deployment.settings(), deployment.folder) as server:
        yield server


@pytest.fixture(scope="session")
def stdio(deployment: Deployment) -> StdioServer:
    """An MCP server over stdio: one for each session."""
    return StdioServer(deployment.settings(), deployment.folder)


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, stdio: StdioServer, http: HttpServer) -> McpServer:
    """Both, for what must hold over either transport."""
    return stdio if request.param == "stdio" else http
