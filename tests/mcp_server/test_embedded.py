"""Without anything configured: the first server starts the stack, every other one shares it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil
import pytest

from durable_responses.embedded import find_temporal_cli, running_stack, stop
from durable_responses.settings import Settings, child_environment
from durable_responses.stack_file import PartName, PartState
from tests.support.mcp_clients import FINAL, Reply, Session, StdioServer
from tests.support.processes import CHECKOUT, Process


class Home:
    """A user's machine: a state folder, and the folder that clients start their servers in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(state_folder=folder / "state")

    @property
    def server(self) -> StdioServer:
        """A server as the entry in a client's configuration starts it."""
        return StdioServer({"AGENT_STATE_FOLDER": str(self.settings.state_folder)}, self.folder)

    @property
    def parts(self) -> Mapping[str, PartState]:
        """The processes of the stack."""
        stack = running_stack(self.settings)
        assert stack is not None
        return stack.parts

    def pid(self, name: str) -> int:
        """The process of a part of the stack."""
        pid = self.parts[name].pid
        assert pid is not None
        return pid


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """One stack for all tests here; it outlives the servers that start it."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    await stop(home.settings, print)


async def test_one_entry_is_all_the_set_up(home: Home) -> None:
    """The first call starts Temporal, emulator and worker; the result is saved where the client works."""
    async with home.server.session() as session:
        done = await session.call("gpt5_agent", task="Say hello.", reasoning_effort="low")
    assert done["status"] == "completed"
    assert Path(done["result_path"]).parent == home.folder / "_gpt5_docs"


async def test_the_program_in_the_documentation_works(home: Home) -> None:
    """docs/mcp.md: with nothing but a home and a `temporal` on the path."""
    [program] = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "mcp.md").read_text(), re.DOTALL)
    script = home.folder / "program.py"
    script.write_text(program.replace(".venv/bin/durable-responses", f"{sys.prefix}/bin/durable-responses"))
    (home.folder / "bin").mkdir()
    (home.folder / "bin" / "temporal").symlink_to(await find_temporal_cli(home.settings, print))
    # The SDK's client hands HOME and PATH on to the server, and not much else.
    path = f"{home.folder / 'bin'}:{child_environment()['PATH']}"
    environment = child_environment(HOME=str(home.folder), PATH=path)
    state = Settings(state_folder=home.folder / ".local" / "state" / "durable-responses")
    try:
        command = [sys.executable, "-P", str(script)]
        async with Process(command, log=home.folder / "program.log", env=environment, cwd=home.folder) as process:
            assert await process.wait(timeout=60) == 0
    finally:
        await stop(state, print)
    assert "You asked: Say hello." in process.output


async def test_servers_share_one_stack(home: Home) -> None:
    """A20: what one client started, another one polls; neither starts anything again."""
    async with home.server.session() as one, home.server.session() as two:
        job_id = await one.start(model="scenario:think?seconds=1")
        before = home.pid(PartName.TEMPORAL)
        assert (await two.ended(job_id))["status"] == "completed"
        listed = await two.call("gpt5_agent_list")
        assert home.pid(PartName.TEMPORAL) == before
    assert job_id in [job["job_id"] for job in listed["jobs"]]


async def test_a_job_survives_the_death_of_every_part_of_the_stack(home: Home) -> None:
    """A20: the stack starts them again; the client that waits gets its answer."""
    async with home.server.session() as session:
        job_id = await session.start(model="scenario:think?seconds=3")
        await session.until(job_id, "running")
        for name in (PartName.TEMPORAL, PartName.EMULATOR, PartName.WORKER):
            psutil.Process(home.pid(name)).kill()
    async with home.server.session() as session:
        done = await ended_in_spite_of_outages(session, job_id)
    assert (done["status"], done["output"]) == ("completed", "Done thinking.")


async def test_a_stack_that_has_gone_is_started_again_by_the_next_call(home: Home) -> None:
    """A20: a stack without runs ends after a while; a finished job is found again all the same."""
    async with home.server.session() as session:
        job_id = await session.start(model="scenario:echo")
        await session.ended(job_id)
        command = [sys.executable, "-P", "-m", "durable_responses.cli", "down"]
        async with Process(command, log=home.folder / "down.log", env=home.server.environment, cwd=home.folder) as down:
            assert await down.wait(timeout=60) == 0
        done = await ended_in_spite_of_outages(session, job_id)
    assert done["status"] == "completed"


async def ended_in_spite_of_outages(session: Session, job_id: str) -> Reply:
    """Poll, as a model would that reads that the job is not lost."""
    async with asyncio.timeout(60):
        while (reply := await session.poll(job_id, wait_seconds=2)).content.get("status") not in FINAL:
            if reply.is_error:
                assert "Runs are safe" in reply.text
                await asyncio.sleep(0.5)
    return reply
