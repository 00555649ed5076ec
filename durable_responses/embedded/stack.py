"""The stack as its users see it: start it, ask about it, stop it."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress

from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.embedded import readiness
from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.go_programs import Say
from durable_responses.embedded.parts import our_command
from durable_responses.progress import Progress, Words, told_while
from durable_responses.settings import Settings, SetupError, child_environment, configured_address, is_set
from durable_responses.stack_file import StackFile, StackMode
from durable_responses.workspace import prepare_workspace

# A poll for tasks lasts a minute; a worker that has not polled for longer is gone.
_POLL_SECONDS = 70.0
# A worker with another key, provider or server would lose the runs that are open; one with another workspace would work
# in another project's folder.
_MUST_FIT = {
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "TEMPORAL_ADDRESS",
    "TEMPORAL_NAMESPACE",
    "AGENT_TASK_QUEUE",
    "AGENT_WORKSPACE",
}
# They follow from the folder that a command is started in: nobody forgets to set them.
_OF_THE_PLACE = {"AGENT_WORKSPACE", "AGENT_FILES_ROOT", "AGENT_OUTPUT_ROOT"}
_CHECK_TOOLS = """
import sys
from durable_responses.tools.registry import Registry, RegistryError
sys.path.append(sys.argv[1])
try:
    Registry.from_modules(sys.argv[2:])
except RegistryError as error:
    sys.exit(str(error))
"""


class StackError(SetupError):
    """The background stack does not start, or was started with other settings."""


def running_stack(settings: Settings) -> StackFile | None:
    """The stack that runs on the state folder, ready or not; None if there is none."""
    holder = StateFolder(settings).stack_lock.holder
    stack = StackFile.read(settings) if holder else None
    # A supervisor that has just started finds, and soon replaces, the file of one that was killed.
    return stack if stack and stack.pid == holder else None


async def ensure_running(settings: Settings, say: Say, *, timeout: float = 90) -> StackFile | None:
    """Make sure that Temporal, a provider and a worker are up; start what is missing in the background.

    Returns the stack, ready; None if Temporal is configured and has a worker already. A background stack that was
    started with other settings, and has no open runs, is restarted with these. `say` gets a line for whatever
    takes time. Raises `StackError`, `TemporalCliMissing`, `TemporalUnreachable` and `WorkspaceMissing`.
    """
    folder = StateFolder(settings)
    if not folder.stack_lock.is_held:
        if configured_address() and await _has_worker(settings):
            return None
        folder.make()
        prepare_workspace(settings, say)
        if not configured_address():
            from durable_responses.embedded.temporal_cli import find_temporal_cli

            await find_temporal_cli(settings, say)
    stack = await _ready(settings, folder, say, timeout)
    if stack.mode is StackMode.READING:
        say("Starting a worker as well.")
    if stack.mode is StackMode.READING or await _is_outdated(stack, settings, say):
        # Whatever is wrong here is found before what works is stopped.
        prepare_workspace(settings, say)
        await _check_tools(settings)
        in_one_line = _only_progress(say)
        await stop(settings, in_one_line)
        stack = await _ready(settings, folder, in_one_line, timeout)
    folder.last_use.touch()
    return stack


async def ensure_readable(settings: Settings, say: Say, *, timeout: float = 90) -> StackFile | None:
    """Make sure that the records of the runs can be read; start Temporal in the background, without a worker, if not.

    Returns the stack; None if Temporal is configured. Raises `StackError`, `TemporalCliMissing`.
    """
    if configured_address():
        return None
    folder = StateFolder(settings)
    if not folder.stack_lock.is_held:
        from durable_responses.embedded.temporal_cli import find_temporal_cli

        folder.make()
        await find_temporal_cli(settings, say)
    stack = await _ready(settings, folder, say, timeout, StackMode.READING)
    folder.last_use.touch()
    return stack


async def stop(settings: Settings, say: Say) -> bool:
    """Stop the stack, and parts that a killed supervisor left behind. False if nothing was running.

    Returns when everything has ended: at once if nothing is under way, else when the worker has finished what cannot
    be repeated, 40 s at most.
    """
    from durable_responses.embedded.supervisor import GRACE

    folder = StateFolder(settings)
    if not folder.path.is_dir():
        return False
    found = False
    while pid := folder.stack_lock.holder:
        say(f"Stopping the stack (process {pid}).")
        found = True
        _send(pid, signal.SIGTERM)
        ending = folder.stack_lock.wait_until_free(sum(GRACE.values()) + 5)
        if not await told_while(ending, "waiting for what must not be cut off", say):
            _send(pid, signal.SIGKILL)
            await folder.stack_lock.wait_until_free(1)
    return await clean(settings) or found


async def clean(settings: Settings) -> bool:
    """Stop the parts that a killed supervisor left behind. False if there were none, or a new one has them."""
    from durable_responses.embedded.supervisor import GRACE, end_parts

    folder = StateFolder(settings)
    lock = await folder.stack_lock.take()
    if lock is None:
        return False
    with lock:
        lock.write_pid()
        found = any(lock.is_held for kind in GRACE for lock in folder.part_locks(kind))
        await end_parts(folder, asyncio.Event())
        StackFile.path(settings).unlink(missing_ok=True)
    return found


def _only_progress(say: Say) -> Say:
    """For what is done because of something that was said already: its steps are not said one by one."""
    return lambda line: say(line) if isinstance(line, Progress) else None


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, number)


async def _has_worker(settings: Settings) -> bool:
    since = time.time() - _POLL_SECONDS
    return await readiness.worker_polls(await connect(settings), settings.task_queue, since=since)


_STARTING = {
    StackMode.BACKGROUND: "Starting Temporal, a worker and everything else that is not configured, in the background.",
    StackMode.READING: "Starting Temporal in the background, to read its runs.",
}


async def _ready(
    settings: Settings, folder: StateFolder, say: Say, timeout: float, mode: StackMode = StackMode.BACKGROUND
) -> StackFile:
    """The running stack, started if necessary, once it can do what that mode is for."""
    reads = mode is StackMode.READING
    give_up = time.monotonic() + timeout
    started: int | None = None
    words = Words("waiting for Temporal" if reads else "waiting for Temporal and a worker", say)
    while not ((stack := running_stack(settings)) and (stack.can_be_read if reads else stack.is_ready)):
        if time.monotonic() > give_up:
            raise StackError(f"The stack is not ready after {timeout:.0f} s: see the logs in {folder.path / 'logs'}.")
        if started is not None and (code := _exit_code(started)) is not None:
            started = None
            if code:
                raise StackError(folder.last_words("stack"))
        if started is None and not folder.stack_lock.is_held:
            say(_STARTING[mode])
            started = _start_in_background(folder, mode)
        words.come()
        await asyncio.sleep(0.05)
    return stack


def _start_in_background(folder: StateFolder, mode: StackMode) -> int:
    # Not `subprocess`: this process ends first, and no object of it must end, or wait for, the stack.
    log = str(folder.log("stack"))
    command = our_command("durable_responses.embedded", mode)
    return os.posix_spawn(
        command[0],
        command,
        child_environment(AGENT_STATE_FOLDER=str(folder.path)),
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


async def _is_outdated(stack: StackFile, settings: Settings, say: Say) -> bool:
    """Whether the stack must be restarted because it was started with other settings."""
    wanted = settings.fingerprints()
    differing = [name for name in wanted if stack.settings.get(name) != wanted[name]]
    if not differing:
        return False
    names = ", ".join(differing)
    forgotten = [name for name in differing if name.isupper() and name not in _OF_THE_PLACE and not is_set(name)]
    is_idle = stack.mode is StackMode.BACKGROUND and await _open_runs(stack, settings) == 0
    if is_idle and forgotten and (unfit := sorted(_MUST_FIT & set(forgotten))):
        raise StackError(
            f"The running stack was started with another {', '.join(unfit)}, which is not set here: set it, "
            "or run `durable-responses down`."
        )
    if is_idle and forgotten == differing:
        say(f"The running stack was started with another {names}, which is not set here; it is used as it is.")
        return False
    if is_idle:
        say(f"The background stack was started with another {names}; restarting it.")
        return True
    if unfit := sorted(_MUST_FIT & set(differing)):
        own = " To work here meanwhile, set AGENT_STATE_FOLDER: then this project has a stack of its own."
        raise StackError(
            f"The running stack was started with another {names}: wait for its runs, or run `durable-responses down`."
            + (own if "AGENT_WORKSPACE" in unfit else "")
        )
    say(f"The running stack was started with another {names}; `durable-responses down` stops it, to use the new one.")
    return False


async def _check_tools(settings: Settings) -> None:
    """Raises `StackError`, which names the module, if a worker could not load the tools."""
    if not settings.tool_modules:
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _CHECK_TOOLS, str(settings.project_folder), *settings.tool_modules),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    if process.returncode:
        lines = told.decode(errors="replace").strip().splitlines() or ["they printed nothing"]
        raise StackError(f"The tools of AGENT_TOOL_MODULES cannot be loaded, so nothing was changed: {lines[-1]}")


async def _open_runs(stack: StackFile, settings: Settings) -> int | None:
    try:
        client = await connect(settings, target_host=stack.temporal_address)
    except TemporalUnreachable:
        return None
    return await readiness.open_runs(client, settings.task_queue)
