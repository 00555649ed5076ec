"""The stack as its users see it: start it, ask about it, stop it."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from temporalio.client import Client

from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.embedded import readiness
from durable_responses.embedded.folder import StateFolder, running_projects
from durable_responses.embedded.go_programs import Say
from durable_responses.embedded.parts import our_command
from durable_responses.embedded.project_queues import move, release
from durable_responses.jobs.jobs import Jobs
from durable_responses.progress import Progress, Words, told_while
from durable_responses.projects import Project, Projects, task_queue_of
from durable_responses.responses_api.redaction import Secrets, redact
from durable_responses.settings import Settings, SetupError, child_environment, configured_address, is_set
from durable_responses.stack_file import PartName, StackFile, StackMode
from durable_responses.workflows.contract import TaskQueue
from durable_responses.workspace import is_copy, prepare_workspace

# A poll for tasks lasts a minute; a worker that has not polled for longer is gone.
_POLL_SECONDS = 70.0
_NOTE_USE = 1.0
# A worker with another key, provider or server would lose the runs that are open.
_MUST_FIT = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "AGENT_TASK_QUEUE"}
_CHECK_TOOLS = """
import sys
from durable_responses.settings import Settings
from durable_responses.tools.registry import RegistryError
from durable_responses.worker.offered_tools import offered_tools
settings = Settings.load()
sys.path.append(str(settings.project_folder))
try:
    offered_tools(settings)
except RegistryError as error:
    sys.exit(str(error))
"""


class StackError(SetupError):
    """The background stack does not start, or was started with other settings."""


def running_stack(settings: Settings) -> StackFile | None:
    """The stack that runs on the state folder, ready or not; None if there is none."""
    return StateFolder(settings).running


def running_project(settings: Settings) -> StackFile | None:
    """The stack file of whatever has the worker of the project of these settings; None if there is none."""
    project = Project.of(settings)
    beside, stack = StateFolder(settings, project).running, running_stack(settings)
    return beside or (stack if stack is not None and stack.project == project.name else None)


async def ensure_running(settings: Settings, say: Say, *, timeout: float = 90) -> StackFile | None:
    """Make sure that Temporal, a provider and a worker of this project are up; start what is missing in the background.

    Returns the stack, ready; None if Temporal is configured and has a worker already. A stack that serves other
    projects gets one worker more. A worker in the background that was started with other settings, and has no open
    runs, is restarted with these. `say` gets a line for whatever takes time. Raises `StackError`, `TemporalCliMissing`,
    `TemporalUnreachable`, `QueueTaken` and `WorkspaceMissing`.
    """
    folder, beside = StateFolder(settings), StateFolder(settings, Project.of(settings))
    note_use(settings)
    if not folder.stack_lock.is_held:
        if configured_address() and await _has_worker(settings):
            return None
        folder.make()
        prepare_workspace(settings, say)
        if not configured_address():
            from durable_responses.embedded.temporal_cli import find_temporal_cli

            await find_temporal_cli(settings, say)
    start = _Start(settings, say, timeout)
    # The worker of this project may have outlived the stack that it belongs to.
    stack = await start.ready(folder, StackMode.READING if beside.stack_lock.is_held else StackMode.BACKGROUND)
    if configured_address() not in (None, stack.temporal_address) and await _has_worker(settings):
        return None
    if configured_address() is None and PartName.TEMPORAL not in stack.parts:
        raise StackError(_unset(["TEMPORAL_ADDRESS"]))
    mine = running_project(settings)
    if mine is None:
        await _start_beside(start, beside)
    elif mine.mode is StackMode.PROJECT:
        mine = await start.ready(beside, StackMode.PROJECT)
        if await _is_outdated(mine, stack, settings, say):
            await _end(beside)
            await _start_beside(start, beside)
    elif await _is_outdated(mine, stack, settings, say):
        if any(other.stack_lock.is_held for other in StateFolder.of_projects(settings)):
            await move(settings)
            await _start_beside(start, beside)
        else:
            in_one_line = _only_progress(say)
            await stop(settings, in_one_line)
            stack = await _Start(settings, in_one_line, timeout).ready(folder, StackMode.BACKGROUND)
    note_use(settings)
    return folder.running or stack  # with an emulator since then, perhaps


async def jobs_here(client: Client, settings: Settings) -> Jobs:
    """The jobs of a client, where new ones are those of this project.

    On a Temporal server that is configured they are started with this workspace if somebody has named it, or if it is
    the folder `workspace` here, and all workers are processes of this machine: elsewhere there may be no such folder.
    """
    if configured_address():
        named = "workspace" in settings.model_fields_set
        here = named or (not is_copy(settings) and await readiness.workers_are_here(client, settings.task_queue))
        return Jobs(client, settings.task_queue, workspace=settings.workspace if here else None)

    def queue_of(project: str) -> str | None:
        file = running_projects(settings).get(project)
        return file.task_queue if file else None

    return Jobs(
        client,
        task_queue_of(settings),
        workspace=settings.workspace,
        project=Project.of(settings).name,
        queue_of=queue_of,
    )


async def ensure_worker_of(job_id: str, jobs: Jobs, settings: Settings, say: Say) -> bool:
    """Start a worker if a job is open, is this project's, and has none. Whether one was started.

    That of another project needs its own folder and environment: `say` is told where a command starts it. Raises
    `JobError` and as `ensure_running` does.
    """
    if configured_address() or not await jobs.is_open(job_id):
        return False
    queue = await jobs.task_queue_of(job_id)
    if any(each.task_queue == queue and not each.ending for each in running_projects(settings).values()):
        return False
    if queue == task_queue_of(settings):
        await ensure_running(settings, say)
        return True
    known = Projects.read(settings)
    if owner := known.projects.get(known.owner_of(queue) or ""):
        say(f"{job_id} waits for a worker of its project: `durable-responses watch` in {owner.folder} starts it.")
    return False


async def _start_beside(start: "_Start", beside: StateFolder) -> None:
    prepare_workspace(start.settings, start.say)
    await _check_tools(start.settings)
    beside.make()
    await start.ready(beside, StackMode.PROJECT)


def has_records(settings: Settings) -> bool:
    """Whether there may be runs: a server is configured, or the embedded one has been started before."""
    if configured_address():
        return True
    folder = StateFolder(settings)
    return folder.stack_lock.is_held or folder.database.exists() or (folder.path / "postgres").exists()


async def ensure_readable(settings: Settings, say: Say, *, timeout: float = 90) -> StackFile | None:
    """Make sure that the records of the runs can be read; start Temporal in the background, without a worker, if not.

    Returns the stack; None if Temporal is configured. Raises `StackError`, `TemporalCliMissing`.
    """
    if configured_address():
        return None
    note_use(settings)
    folder = StateFolder(settings)
    if not folder.stack_lock.is_held:
        from durable_responses.embedded.temporal_cli import find_temporal_cli

        folder.make()
        await find_temporal_cli(settings, say)
    stack = await _Start(settings, say, timeout).ready(folder, StackMode.READING)
    note_use(settings)
    return stack


@asynccontextmanager
async def kept_in_use(settings: Settings) -> AsyncIterator[None]:
    """As long as this lasts, the embedded stack does not end for being idle."""

    async def note() -> None:
        while True:
            note_use(settings)
            await asyncio.sleep(_NOTE_USE)

    noting = asyncio.create_task(note())
    try:
        yield
    finally:
        noting.cancel()
        await asyncio.wait([noting])


def note_use(settings: Settings) -> None:
    """Let the embedded stack, and the worker of this project, know that they are in use. Before looking for them."""
    for folder in (StateFolder(settings), StateFolder(settings, Project.of(settings))):
        with suppress(OSError):  # somebody may have removed it
            if folder.path.is_dir():
                folder.last_use.touch()


async def stop(settings: Settings, say: Say) -> bool:
    """Stop the stack with all its projects, and parts that a killed supervisor left behind. False if nothing ran.

    Returns when everything has ended: at once if nothing is under way, else when the workers have finished what cannot
    be repeated, 40 s at most.
    """
    folder = StateFolder(settings)
    if not folder.path.is_dir():
        return False
    files = [each for each in (folder.running, *(other.running for other in StateFolder.of_projects(settings))) if each]
    if files:
        told = Projects.read(settings).told([file.project for file in files])
        served = f", which serves {told}" if told else ""
        say(f"Stopping the stack (process {files[0].pid}){served}.")
    await _release_unused(files, settings)
    found = await told_while(_end_all(folder, settings), "waiting for what must not be cut off", say)
    return await clean(settings) or found


async def _end(folder: StateFolder) -> bool:
    # Here and below loaded only where something is to be ended: `start` would wait for it each time.
    from durable_responses.embedded.supervisor import end_stack

    return await end_stack(folder)


async def _end_all(folder: StateFolder, settings: Settings) -> bool:
    from durable_responses.embedded.supervisor import end_projects

    found = bool(await end_projects(settings))
    return await _end(folder) or found


async def clean(settings: Settings) -> bool:
    """Stop the parts that a killed supervisor left behind. False if there were none, or a new one has them."""
    from durable_responses.embedded.supervisor import GRACE, end_parts, end_projects

    folder = StateFolder(settings)
    lock = await folder.stack_lock.take()
    if lock is None:
        return False
    with lock:
        lock.write_pid()
        found = any(lock.is_held for kind in GRACE for lock in folder.part_locks(kind))
        found |= bool(await end_projects(settings))
        await end_parts(folder, asyncio.Event())
        folder.stack_file.unlink(missing_ok=True)
    return found


async def _release_unused(files: Sequence[StackFile], settings: Settings) -> None:
    """Projects give up task queues on which no run is open; the usual one is for the next project that is started.

    That one is given up for a project as well that is not running: all of it was killed, or the machine was.
    """
    stack = next((file for file in files if PartName.TEMPORAL in file.parts), None)
    if stack is None:
        return
    owned = {file.project: file.task_queue for file in files if file.project is not None}
    if owner := Projects.read(settings).owner_of(TaskQueue.AGENTS):
        owned[owner] = TaskQueue.AGENTS.value
    for project, queue in owned.items():
        if await _open_runs(stack.model_copy(update={"task_queue": queue}), settings) == 0:
            await release(settings, project)


def _only_progress(say: Say) -> Say:
    """For what is done because of something that was said already: its steps are not said one by one."""
    return lambda line: say(line) if isinstance(line, Progress) else None


async def _has_worker(settings: Settings) -> bool:
    since = time.time() - _POLL_SECONDS
    return await readiness.worker_polls(await connect(settings), task_queue_of(settings), since=since)


_STARTING = {
    StackMode.BACKGROUND: "Starting Temporal, a worker and everything else that is not configured, in the background.",
    StackMode.READING: "Starting Temporal in the background, to read its runs.",
    StackMode.PROJECT: "Starting a worker for this project in the background.",
}


_WAITING = {
    StackMode.BACKGROUND: "waiting for Temporal and a worker",
    StackMode.READING: "waiting for Temporal",
    StackMode.PROJECT: "waiting for a worker",
}


@dataclass(frozen=True)
class _Start:
    """A command that needs something to be up."""

    settings: Settings
    say: Say
    timeout: float

    async def ready(self, folder: StateFolder, mode: StackMode) -> StackFile:
        """The stack of a folder, started if necessary, once it can do what that mode is for. Raises `StackError`."""
        give_up = time.monotonic() + self.timeout
        started: int | None = None
        words = Words(_WAITING[mode], self.say)
        while not ((stack := folder.running) and self._serves(stack, mode)):
            if time.monotonic() > give_up:
                logs = folder.path / "logs"
                raise StackError(f"The stack is not ready after {self.timeout:.0f} s: see the logs in {logs}.")
            if started is not None and (code := _exit_code(started)) is not None:
                started = None
                if code:
                    raise StackError(folder.last_words("stack"))
            if started is None and not folder.stack_lock.is_held:
                self.say(_STARTING[mode])
                started = self._start(folder, mode)
            words.come()
            await asyncio.sleep(0.05)
        return stack

    def _serves(self, stack: StackFile, mode: StackMode) -> bool:
        if mode is StackMode.PROJECT:
            return stack.is_ready
        if mode is StackMode.READING or stack.mode is StackMode.READING:
            return stack.can_be_read
        return stack.is_ready

    def _start(self, folder: StateFolder, mode: StackMode) -> int:
        # Not `subprocess`: this process ends first, and no object of it must end, or wait for, the stack.
        log = str(folder.log("stack"))
        command = our_command("durable_responses.embedded", mode)
        return os.posix_spawn(
            command[0],
            command,
            child_environment(AGENT_STATE_FOLDER=str(self.settings.state_folder)),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


async def _is_outdated(mine: StackFile, stack: StackFile, settings: Settings, say: Say) -> bool:
    """Whether the worker of this project must be restarted because it was started with other settings.

    Raises `StackError` where it cannot be used as it is, and must not be restarted, or would not start again.
    """
    wanted = settings.fingerprints()
    differing = [name for name in wanted if mine.settings.get(name) != wanted[name]]
    if not differing:
        return False
    names = ", ".join(differing)
    forgotten = [name for name in differing if name.isupper() and not _is_said(name, settings)]
    if unfit := sorted(_MUST_FIT & set(forgotten)):
        raise StackError(_unset(unfit))
    if forgotten == differing:
        say(f"The running stack was started with another {names}, which is not set here; it is used as it is.")
        return False
    is_idle = mine.mode is not StackMode.FOREGROUND and await _open_runs(mine, settings, stack) == 0
    if is_idle and forgotten:
        raise StackError(_unset(forgotten))
    if not is_idle and _MUST_FIT & set(differing):
        raise StackError(
            f"The running stack was started with another {names}: wait for its runs, or run `durable-responses down`."
        )
    # Whatever is wrong here is found before what works is stopped, and before anybody is told that it will be.
    await _check_tools(settings)
    if is_idle:
        prepare_workspace(settings, say)
        say(f"The background stack was started with another {names}; restarting it.")
        return True
    say(f"The running stack was started with another {names}; `durable-responses down` stops it, to use the new one.")
    return False


def _is_said(variable: str, settings: Settings) -> bool:
    """Whether the environment, or the project file, says something about a variable."""
    field = next((name for name in Settings.model_fields if Settings.variable(name) == variable), None)
    return is_set(variable) if field is None else field in settings.model_fields_set


def _unset(names: Sequence[str]) -> str:
    return (
        f"The running stack was started with another {', '.join(names)}, which is not set here: set it, "
        "or run `durable-responses down`."
    )


async def _check_tools(settings: Settings) -> None:
    """Raises `StackError`, which names the module, if a worker could not load the tools."""
    if not settings.tool_modules:
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _CHECK_TOOLS),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    if process.returncode:
        lines = told.decode(errors="replace").strip().splitlines() or ["they printed nothing"]
        why = redact(Secrets(settings.secrets()).mask(lines[-1]))
        raise StackError(f"The tools of AGENT_TOOL_MODULES cannot be loaded, so nothing was changed: {why}")


async def _open_runs(mine: StackFile, settings: Settings, stack: StackFile | None = None) -> int | None:
    try:
        client = await connect(settings, target_host=(stack or mine).temporal_address)
    except TemporalUnreachable:
        return None
    return await readiness.open_runs(client, mine.task_queue or settings.task_queue)
