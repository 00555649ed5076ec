"""Several projects on one stack: real commands in two folders."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from durable_responses.connection import connect
from durable_responses.embedded.folder import running_projects
from durable_responses.settings import child_environment
from durable_responses.stack_file import PartName, StackFile, StackMode
from durable_responses.workflows.contract import WORKFLOW_TYPE, TaskQueue
from tests.embedded.conftest import Stack
from tests.support.processes import free_port
from tests.support.shell import COMMAND, COMPLETED, LEFT, UNAVAILABLE, Ended, ended, scenario

WRITE = scenario('calls?tool=write_file&arguments={"path":"report.md","content":"Here."}')
PATIENCE = 120


class Machine:
    """One state folder, and folders that commands are typed in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = Stack(folder / "state")

    def project(self, name: str) -> Path:
        """A project's folder, with a workspace."""
        (self.folder / name / "workspace").mkdir(parents=True, exist_ok=True)
        return self.folder / name

    async def type(self, place: str, *words: str, **variables: str) -> Ended:
        """Type a command in a project's folder, and wait for its end."""
        env = child_environment(AGENT_STATE_FOLDER=str(self.stack.folder), **variables)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *words,
            env=env,
            cwd=self.project(place),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        )
        return await ended(process, timeout=PATIENCE)

    async def start(self, place: str, seconds: float, **variables: str) -> str:
        """Start a run that thinks for so long; its id."""
        done = await self.type(place, "start", f"Think in {place}.", *scenario(f"think?seconds={seconds}"), **variables)
        assert done.code == COMPLETED, done.err
        return done.out.strip()

    @property
    def projects(self) -> dict[str, StackFile]:
        """What serves each project, by the name of its folder."""
        files = running_projects(self.stack.settings).values()
        return {file.workspace.parent.name: file for file in files if file.workspace is not None}

    @property
    def pids(self) -> set[int | None]:
        """All supervisors and parts."""
        files = [self.stack.file, *self.projects.values()]
        return {file.pid for file in files} | {part.pid for file in files for part in file.parts.values()}

    async def kill_everything(self) -> None:
        """SIGKILL to whatever runs on the state folder."""
        folders = [self.stack.folder, *(self.stack.folder / "projects").glob("*/")]
        for folder in [*folders, *folders]:  # a supervisor that was killed may just have been started again
            await Stack(folder).kill_everything()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine where nothing runs. Nothing that is started outlives the test."""
    machine = Machine(tmp_path)
    yield machine
    await machine.kill_everything()


async def test_while_a_run_of_one_project_is_open_another_works_in_its_own_folder(machine: Machine) -> None:
    """H1: with a run open in folder A, `run` in folder B wrote its file in A."""
    first = await machine.start("a", 300)
    before = machine.stack.file
    done = await machine.type("b", "run", "Write a report.", *WRITE)
    assert done.code == COMPLETED, done.err
    assert (machine.project("b") / "workspace" / "report.md").read_text() == "Here."
    assert not (machine.project("a") / "workspace" / "report.md").exists()
    assert machine.stack.file == before
    assert {name: file.task_queue for name, file in machine.projects.items()} == {
        "a": TaskQueue.AGENTS,
        "b": machine.projects["b"].task_queue,
    }
    assert machine.projects["b"].task_queue != TaskQueue.AGENTS

    listed = await machine.type("b", "list")
    assert (first in listed.out, "write-a-report" in listed.out) == (True, True)
    assert first in (await machine.type("a", "status")).out
    assert "write-a-report" in (await machine.type("b", "status")).out
    cancelled = await machine.type("b", "cancel", first, "--json")
    assert cancelled.json["status"] == "cancelled"


async def test_runs_of_every_project_go_on_after_everything_was_killed(machine: Machine) -> None:
    """H1: supervisors, workers, Temporal and emulator at once."""
    runs = {name: await machine.start(name, 15) for name in ("a", "b")}
    files = [machine.stack.file, *machine.projects.values()]
    before = machine.pids
    for file in files:
        for pid in (file.pid, *(part.pid for part in file.parts.values())):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    for name, job_id in runs.items():
        watched = await machine.type(name, "watch", job_id)
        assert (watched.code, watched.out) == (COMPLETED, "Done thinking.\n"), watched.err
    assert not before & machine.pids
    assert set(machine.projects) == {"a", "b"}


async def test_a_run_that_is_open_when_the_stack_is_stopped_is_left_to_its_own_project(machine: Machine) -> None:
    """H1: `down` in the middle, and then a start in another folder."""
    job_id = await machine.start("a", 20)
    down = await machine.type("b", "down")
    assert f", which serves the project in {machine.project('a')}." in down.out
    done = await machine.type("b", "run", "Write a report.", *WRITE)
    assert done.code == COMPLETED, done.err
    assert (machine.project("b") / "workspace" / "report.md").exists()
    assert set(machine.projects) == {"b"}
    steered = await machine.type("b", "cancel", job_id, "--json")
    assert "`durable-responses watch` in" in steered.err
    assert str(machine.project("a")) in steered.err
    watched = await machine.type("a", "watch", job_id)
    assert watched.code != LEFT, watched.err
    assert set(machine.projects) == {"a", "b"}


async def test_a_run_is_continued_in_the_project_that_it_belongs_to(machine: Machine) -> None:
    """H1, H7: whatever folder `continue` is typed in; and if that project has no worker, it is refused by name."""
    first = await machine.type("a", "run", "Say this.", *scenario("echo"))
    assert first.code == COMPLETED, first.err
    job_id = re.findall(r"say-this-[0-9a-f]{6}", first.err)[0]
    await machine.start("a", 300)
    # The response that it continues from counts as the first round.
    again = [word.replace("calls?", "calls?iterations=2&") for word in WRITE]
    continued = await machine.type("b", "continue", job_id, "Write a report.", *again)
    assert continued.code == COMPLETED, continued.err
    assert (machine.project("a") / "workspace" / "report.md").exists()
    assert not (machine.project("b") / "workspace" / "report.md").exists()

    assert (await machine.type("a", "down")).code == COMPLETED
    refused = await machine.type("b", "continue", job_id, "Again.", *WRITE)
    assert refused.code != COMPLETED
    assert "belongs to another project" in refused.err


async def test_each_project_has_its_own_provider_and_a_stack_without_an_emulator_gets_one(machine: Machine) -> None:
    """H1: its own key and base URL; a project without either is answered by the emulator."""
    place = {"OPENAI_BASE_URL": f"http://127.0.0.1:{free_port()}/v1", "OPENAI_API_KEY": "sk-not-to-be-shown"}
    await machine.start("a", 300, **place)
    assert PartName.EMULATOR not in machine.stack.file.parts
    done = await machine.type("b", "run", "Say this.", *scenario("echo"))
    assert (done.code, done.out) == (COMPLETED, "Say this.\n"), done.err
    assert machine.stack.file.emulator_serves
    files = [path for path in machine.stack.folder.rglob("*") if path.is_file()]
    assert not any(b"sk-not-to-be-shown" in path.read_bytes() for path in files)


async def test_a_mistake_in_one_project_stops_nothing_of_another_nor_of_its_own(machine: Machine) -> None:
    """H1: a typo in the tool modules, one that raises, a name twice, a workspace that is not there, a taken queue."""
    await machine.start("a", 300)
    tools = machine.project("b") / "twice.py"
    tools.write_text(
        "from durable_responses import Effect, tool\n\n\n@tool(effect=Effect.PURE)\n"
        'def read_file(path: str) -> str:\n    """Read."""\n    return path\n'
    )
    (machine.project("b") / "raising.py").write_text("raise RuntimeError('not today')\n")
    mistakes: list[tuple[dict[str, str], str]] = [
        ({"AGENT_TOOL_MODULES": "no_such_module"}, "no_such_module"),
        ({"AGENT_TOOL_MODULES": "raising"}, "not today"),
        ({"AGENT_TOOL_MODULES": "twice"}, "read_file"),
        ({"AGENT_WORKSPACE": "nowhere"}, "does not exist"),
        ({"AGENT_TASK_QUEUE": TaskQueue.AGENTS}, "AGENT_TASK_QUEUE"),
    ]
    before = machine.pids
    for variables, told in mistakes:
        done = await machine.type("b", "run", "Say this.", *scenario("echo"), **variables)
        assert (done.code, told in done.err) == (UNAVAILABLE, True), done.err
    assert machine.pids == before

    assert (await machine.type("b", "run", "Say this.", *scenario("echo"))).code == COMPLETED
    working = machine.pids
    for variables, told in mistakes[:3]:
        done = await machine.type("b", "run", "Say this.", *scenario("echo"), **variables)
        assert (done.code, told in done.err) == (UNAVAILABLE, True), done.err
        assert "restarting it" not in done.err
    assert machine.pids == working

    # Nor is it left for later while a run is open.
    done = await machine.type("a", "run", "Say this.", *scenario("echo"), AGENT_TOOL_MODULES="no_such_module")
    assert (done.code, "no_such_module" in done.err) == (UNAVAILABLE, True), done.err
    assert machine.pids == working


async def test_another_setting_restarts_the_worker_of_its_project_alone(machine: Machine) -> None:
    """H1: and a variable that is forgotten in a second terminal restarts nothing."""
    await machine.start("a", 300)
    say = ("run", "Say this.", *scenario("echo"))
    assert (await machine.type("b", *say, AGENT_MAX_TOOLS="3")).code == COMPLETED
    before, serving = machine.stack.file, machine.projects["b"]
    forgotten = await machine.type("b", *say)
    assert (forgotten.code, "AGENT_MAX_TOOLS, which is not set here" in forgotten.err) == (COMPLETED, True)
    assert machine.projects["b"] == serving
    changed = await machine.type("b", *say, AGENT_MAX_TOOLS="4")
    assert (changed.code, "restarting it" in changed.err) == (COMPLETED, True), changed.err
    assert machine.projects["b"].pid != serving.pid
    assert machine.stack.file == before
    provider = {"OPENAI_API_KEY": "sk-other", "OPENAI_BASE_URL": before.emulator_url or "", "AGENT_MAX_TOOLS": "4"}
    other_key = await machine.type("b", *say, **provider)
    assert (other_key.code, "restarting it" in other_key.err) == (COMPLETED, True), other_key.err
    assert machine.stack.file == before
    without_it = await machine.type("b", *say, AGENT_MAX_TOOLS="4", OPENAI_BASE_URL=provider["OPENAI_BASE_URL"])
    assert (without_it.code, "OPENAI_API_KEY, which is not set here" in without_it.err) == (UNAVAILABLE, True)


async def test_a_project_comes_to_a_stack_that_was_started_to_read(machine: Machine) -> None:
    """H1, H2: whoever reads is not interrupted."""
    assert (await machine.type("a", "run", "Say this.", *scenario("echo"))).code == COMPLETED
    assert (await machine.type("a", "down")).code == COMPLETED
    assert "Say this." in (await machine.type("b", "list")).out
    before = machine.stack.file
    assert before.mode is StackMode.READING
    done = await machine.type("b", "run", "Say that.", *scenario("echo"))
    assert (done.code, done.out) == (COMPLETED, "Say that.\n"), done.err
    assert machine.stack.file.pid == before.pid
    # Nobody has the usual task queue: the first project had no open run when it ended.
    assert machine.projects["b"].task_queue == TaskQueue.AGENTS


async def test_a_project_that_is_idle_ends_by_itself_and_the_stack_with_the_last_one(machine: Machine) -> None:
    """H1"""
    short = {"AGENT_IDLE_STOP": "3s"}
    await machine.type("a", "run", "Say this.", *scenario("echo"), **short)
    client = await connect(machine.stack.settings)
    assert (await machine.type("b", "run", "Say this.", *scenario("echo"), **short)).code == COMPLETED
    queue = machine.projects["b"].task_queue
    assert queue is not None
    run = await client.start_workflow(
        WORKFLOW_TYPE, {"task": "wait"}, id="open", task_queue=queue, start_delay=timedelta(hours=1)
    )
    locks = [lock for lock in machine.stack.locks if lock.path.name == "stack.lock"]
    assert not await locks[0].wait_until_free(8)
    await run.terminate()
    await machine.stack.until_gone()
    assert machine.projects == {}


async def test_ctrl_c_at_up_ends_the_workers_of_all_projects(machine: Machine) -> None:
    """H1: and `up` says whom it serves."""
    async with machine.stack.up() as up:
        await machine.stack.until(lambda file: file.is_ready)
        assert (await machine.type("b", "run", "Say this.", *scenario("echo"))).code == COMPLETED
        await up.wait_for_line(str(machine.project("b") / "workspace"))
        assert await up.stop(signal.SIGINT, timeout=60) == 0
    assert machine.projects == {}
    await machine.stack.until_gone()


async def test_a_project_whose_folder_is_gone_harms_no_other(machine: Machine) -> None:
    """H1: the folder that the stack was started in."""
    await machine.type("a", "run", "Say this.", *scenario("echo"))
    shutil.rmtree(machine.project("a"))
    done = await machine.type("b", "run", "Write a report.", *WRITE)
    assert done.code == COMPLETED, done.err
    assert (machine.project("b") / "workspace" / "report.md").exists()
