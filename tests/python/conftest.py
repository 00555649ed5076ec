"""A folder in which Python programs are run, with a Temporal server, a worker and an emulator that they find."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_responses.jobs.jobs import Jobs
from durable_responses.settings import Settings, child_environment
from tests.support.emulator_control import EmulatorControl
from tests.support.processes import TemporalServer
from tests.support.served_folder import served


@dataclass
class Ended:
    """A program that has ended."""

    code: int | None
    out: str
    err: str


@dataclass
class Programs:
    """Where programs are run: a folder that is not the checkout, and an environment."""

    folder: Path
    env: dict[str, str]
    jobs: Jobs
    control: EmulatorControl

    async def begin(self, program: str) -> asyncio.subprocess.Process:
        """Begin a program whose output streams are pipes."""
        pipe = asyncio.subprocess.PIPE
        file = self.folder / f"program_{secrets.token_hex(4)}.py"
        file.write_text(program)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(file)), env=self.env, cwd=self.folder, stdout=pipe, stderr=pipe
        )

    async def run(self, program: str, *, timeout: float = 60) -> Ended:
        """Run a program to its end."""
        return await ended(await self.begin(program), timeout=timeout)


async def ended(process: asyncio.subprocess.Process, *, timeout: float = 60) -> Ended:
    """Wait for the end of a program, and read what it wrote."""
    out, err = await asyncio.wait_for(process.communicate(), timeout)
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def programs(temporal: TemporalServer, client: Client, tmp_path: Path) -> AsyncIterator[Programs]:
    """Programs that find all that runs need."""
    folder = tmp_path / "project"
    folder.mkdir()
    queue = f"agents-of-test-{secrets.token_hex(4)}"
    state = tmp_path / "worker"
    async with served(client, queue, folder, model=Settings().model, state=state, within=90) as control:
        env = child_environment(
            TEMPORAL_ADDRESS=temporal.address,
            AGENT_TASK_QUEUE=queue,
            AGENT_STATE_FOLDER=str(tmp_path / "state"),
            AGENT_WORKSPACE=str(folder),
            PYTHONDONTWRITEBYTECODE="1",
        )
        yield Programs(folder, env, Jobs(client, queue), control)


@pytest.fixture
def here(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """The same for programs that are the test itself."""
    for name in ("TEMPORAL_ADDRESS", "AGENT_TASK_QUEUE", "AGENT_STATE_FOLDER", "AGENT_WORKSPACE"):
        monkeypatch.setenv(name, programs.env[name])
    monkeypatch.chdir(programs.folder)
    return programs
