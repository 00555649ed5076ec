"""One part of the stack: how it is started, known to serve, restarted and stopped."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.go_programs import Say
from durable_responses.embedded.locks import LockFile
from durable_responses.settings import SetupError, child_environment
from durable_responses.stack_file import PartName, PartState, PartStatus
from durable_responses.web_ui import ALLOWED_HOST

# Measured: with the dev server's own settings each activity waits 50 ms and each timer up to 1 s unnecessarily.
_DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=200",
    "system.enableActivityEagerExecution=true",
    'history.timerProcessorMaxTimeShift="50ms"',
    # Without it, any web page that the user visits can start agents with one simple request to the HTTP API.
    f'frontend.httpAllowedHosts=["{ALLOWED_HOST}"]',
)
# A killed server loses nothing with these, and does twice as many iterations a second.
_SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")

# What a program needs to start, a Python program included.
_BASIC = re.compile(r"PATH|TMPDIR|TZ|LANG|LC_\w+|(LD|DYLD)_LIBRARY_PATH|PYTHON\w*")

# A part that has never served is given up after this many starts: something about it is wrong.
_FIRST_STARTS = 2
_START_LIMIT = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_LEFTOVERS = 5.0
_SHORT_LIFE = 5.0


class PartCannotStart(SetupError):
    """A part of the stack ended each time before it served."""


def temporal_command(cli: Path, database: Path, *, port: int, http_port: int, namespace: str = "default") -> list[str]:
    """The command that serves Temporal on 127.0.0.1 from a database file.

    Its own Web UI is off, because it answers foreign pages (`durable_responses.web_ui`).
    """
    command = [str(cli), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--headless", "--http-port", str(http_port)]
    command += ["--db-filename", str(database), "--log-level", "warn", "--color", "never"]
    if namespace != "default":
        command += ["--namespace", namespace]
    for value in _DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", value]
    for pragma in _SQLITE_PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    return command


def our_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our programs with this Python."""
    # -P: a folder of the user called durable_responses must not be taken for ours.
    return [sys.executable, "-P", "-m", module, *arguments]


def bare_environment(**variables: str) -> dict[str, str]:
    """A minimal environment: no key, and nobody's PGPORT or TEMPORAL_TLS."""
    kept = {name: value for name, value in child_environment().items() if _BASIC.fullmatch(name)}
    return {**kept, **variables}


@dataclass(frozen=True)
class Launch:
    """One start of a part: its process, and when it was (seconds of the epoch)."""

    pid: int
    at: float


@dataclass(frozen=True)
class PartPlan:
    """How a part is started, when it counts as serving, and which kinds have to serve before it is started.

    `prepare` is awaited before each start. `serves` is asked again and again; it may also set up what others need of
    the part. `number` tells parts of one kind apart. Nobody else may read the files of a `private` part; the worker is
    not private: its tools write for others.
    """

    kind: PartName
    command: list[str]
    environment: dict[str, str]
    serves: Callable[[Launch], Awaitable[bool]]
    after: tuple[PartName, ...] = ()
    number: int = 1
    private: bool = True
    prepare: Callable[[], Awaitable[object]] | None = None

    @property
    def name(self) -> str:
        """The part's name in locks, logs and the stack file."""
        return self.kind if self.number == 1 else f"{self.kind}-{self.number}"


class Part:
    """A process that is kept alive. `changed` gets each new state, `say` a line for what the user should know."""

    def __init__(
        self, plan: PartPlan, folder: StateFolder, *, say: Say, changed: Callable[[str, PartState], None]
    ) -> None:
        self.name = plan.name
        self.kind = plan.kind
        self.after = plan.after
        self.serving = asyncio.Event()
        self._plan = plan
        self._folder = folder
        self._say = say
        self._changed = changed
        self._state = PartState()
        self._process: asyncio.subprocess.Process | None = None

    async def keep_alive(self, after: "Sequence[Part]" = ()) -> None:
        """Start the part, and again whenever it ends, but only while those that it comes `after` serve.

        Raises `PartCannotStart` if it never serves.
        """
        pause, has_served, starts = _FIRST_PAUSE, False, 0
        while True:
            for part in after:
                await part.serving.wait()
            if self._plan.prepare is not None:
                await self._plan.prepare()
            began = time.monotonic()
            process = await self._start()
            starts += 1
            served = await self._reach_service(process)
            code = await process.wait()
            self.serving.clear()
            # A program that finds its port taken ends at once, while the program that has the port answers for it.
            has_served |= served and not (code > 0 and time.monotonic() - began < _SHORT_LIFE)
            if not has_served and starts >= _FIRST_STARTS:
                raise PartCannotStart(self._why_it_cannot_start())
            self._say(f"The {self.name} (process {process.pid}) {_how_it_ended(code)}; restarting it.")
            self._tell(PartStatus.ENDED, restarts=self._state.restarts + 1)
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def restart(self) -> None:
        """SIGTERM: the part ends in its own time, and is started again as whenever it ends."""
        if (process := self._process) and process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds or on `hurry`; returns when the process has ended."""
        # By the process and not by its lock: somebody may have removed the state folder.
        if process := self._process:
            await _end(lambda: process.returncode is None, lambda: process.pid, grace, hurry)

    async def _start(self) -> asyncio.subprocess.Process:
        lock = self._folder.part_lock(self.name)
        # Children of a killed part hold its lock for a moment longer: PostgreSQL's, until their query has ended.
        await lock.wait_until_free(_LEFTOVERS)
        held = await lock.take()
        if held is None:
            raise PartCannotStart(f"Another {self.name} holds {lock.path}: `durable-responses down` stops it.")
        with held, self._folder.open_log(self.name) as log:
            process = await asyncio.create_subprocess_exec(
                *_writing_its_pid(lock.path),
                *self._plan.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._plan.environment,
                umask=0o077 if self._plan.private else -1,
                # Not in the terminal's group: Ctrl-C is for the supervisor, which stops the parts in order.
                start_new_session=True,
                pass_fds=[held.fd],
            )
        # Kept: asyncio kills the process of an object that is garbage.
        self._process = process
        self._tell(PartStatus.STARTING, pid=process.pid)
        return process

    async def _reach_service(self, process: asyncio.subprocess.Process) -> bool:
        launch, began = Launch(process.pid, time.time()), time.monotonic()
        while process.returncode is None:
            if await self._plan.serves(launch):
                self._tell(PartStatus.RUNNING)
                self.serving.set()
                return True
            if time.monotonic() - began > _START_LIMIT:
                self._say(f"The {self.name} is not up after {_START_LIMIT:.0f} s; stopping it.")
                _signal_group(process.pid, signal.SIGKILL)
                return False
            await asyncio.sleep(0.05)
        return False

    def _tell(self, status: PartStatus, **changes: int) -> None:
        self._state = self._state.model_copy(update={"status": status, **changes})
        self._changed(self.name, self._state)

    def _why_it_cannot_start(self) -> str:
        words = self._folder.last_words(self.name).removeprefix(f"{self.name}: ")
        return f"The {self.name} did not start: {words} (see its log, {self._folder.log(self.name)})"


async def end_holder(lock: LockFile, grace: float, hurry: asyncio.Event) -> None:
    """End the part that holds a lock, whoever started it: SIGTERM, then SIGKILL after `grace` seconds or on `hurry`."""
    # No pid is known for the instant from fork to exec.
    await _end(lambda: lock.is_held, lambda: lock.holder, grace, hurry)


async def _end(
    is_alive: Callable[[], bool], find_pid: Callable[[], int | None], grace: float, hurry: asyncio.Event
) -> None:
    give_up = time.monotonic() + grace
    asked: int | None = None
    while is_alive():
        pid = find_pid()
        if pid and (hurry.is_set() or time.monotonic() > give_up):
            _signal_group(pid, signal.SIGKILL)
        elif pid and pid != asked:
            _signal_group(pid, signal.SIGTERM)
            asked = pid
        await asyncio.sleep(0.02)


def _signal_group(pid: int, number: signal.Signals) -> None:
    # A part leads its own session, so its group is its pid; only a holder of the lock is ever signalled.
    with suppress(ProcessLookupError):  # it has just ended
        os.killpg(pid, number)


def _writing_its_pid(lock: Path) -> list[str]:
    # The part writes its own pid before it becomes the real program: whenever its lock is held, the pid is known.
    return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(lock)]


def _how_it_ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
