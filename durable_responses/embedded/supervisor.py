"""`up`: run the parts that nobody has configured, keep them alive, stop them in order.

One supervisor per state folder: it holds `stack.lock` for as long as it lives. Each part holds a lock of its own, so
that a part left behind by a supervisor that was killed is found, and ended before another one starts. A small shell,
the warden, outlives a killed supervisor by an instant: it starts a new one (background), or ends what was left
(foreground).
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.embedded import readiness
from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.go_programs import Say
from durable_responses.embedded.parts import Part, PartCannotStart, PartPlan, end_holder, our_command
from durable_responses.embedded.topology import DevTopology, Topology
from durable_responses.settings import Settings, SetupError, child_environment, configured_address, temporal_namespace
from durable_responses.stack_file import PartName, PartState, Ports, StackFile, StackMode
from durable_responses.workspace import prepare_workspace

# Seconds from SIGTERM to SIGKILL, in the order of stopping. The worker's is longer than a POST, which must not be cut.
GRACE = {
    PartName.WORKER: 40.0,
    PartName.EMULATOR: 5.0,
    PartName.WEB_UI: 5.0,
    PartName.TEMPORAL: 10.0,
    PartName.POSTGRES: 10.0,
}
_LOOK_FOR_RUNS = 30.0
_LOOK_AT_LOGS = 2.0
_NEARBY_PORTS = 20


class StackRunning(SetupError):
    """A stack is already running on this state folder."""


async def up(
    settings: Settings,
    say: Say,
    *,
    mode: StackMode = StackMode.FOREGROUND,
    ports: Ports | None = None,
    topology: Callable[[Settings, StateFolder, Say], Topology] = DevTopology,
) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; in the background also until it has been idle for long enough.

    A second signal ends it at once. `say` gets a line for whatever the user should know. Raises `StackRunning`,
    `PartCannotStart`, `ProgramMissing` and `WorkspaceMissing`.
    """
    folder = StateFolder(settings)
    folder.make()
    if mode is not StackMode.READING:
        prepare_workspace(settings, say)
    lock = await folder.stack_lock.take()
    if lock is None:
        raise StackRunning(_already(settings))
    with lock:
        lock.write_pid()
        await _Supervisor(settings, folder, say, mode, topology(settings, folder, say)).run(ports or Ports())


async def end_parts(folder: StateFolder, hurry: asyncio.Event) -> None:
    """Stop every part that runs on a state folder, whoever started it. The caller holds the stack's lock."""
    for kind, grace in GRACE.items():
        await asyncio.gather(*(end_holder(lock, grace, hurry) for lock in folder.part_locks(kind)))


def _whereabouts(stack: StackFile) -> list[str]:
    web_ui = f", Web UI {stack.web_ui}" if stack.web_ui else ""
    emulator = [f"Emulator at {stack.emulator_url}"] if stack.emulator_url else []
    return [f"Temporal at {stack.temporal_address}{web_ui}", *emulator]


def _already(settings: Settings) -> str:
    stack = StackFile.read(settings)
    where = f" in the {stack.mode} (process {stack.pid}), Temporal at {stack.temporal_address}" if stack else ""
    return f"A stack is already running{where}: `durable-responses down` stops it."


class _Supervisor:
    """One life of the stack."""

    def __init__(self, settings: Settings, folder: StateFolder, say: Say, mode: StackMode, topology: Topology) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self._mode = mode
        self._topology = topology
        self._parts: list[Part] = []
        self._stop_requested = False
        self._hurry = asyncio.Event()

    async def run(self, usual: Ports) -> None:
        self._serving = asyncio.create_task(self._serve(usual))
        with _on_signals(self._stop):
            try:
                await asyncio.wait([self._serving])
            finally:
                self._serving.cancel()
                await asyncio.wait([self._serving])
                await self._end_parts()
                StackFile.path(self._settings).unlink(missing_ok=True)
        if self._serving.cancelled():
            return
        try:
            self._serving.result()
        except OSError as error:
            raise SetupError(f"The state folder {self._folder.path} can no longer be used: {error}.") from error

    def _stop(self) -> None:
        # Said last: after SIGHUP there is no terminal any more.
        if self._stop_requested:
            self._hurry.set()
            self._say("Stopping the remaining parts now.")
        else:
            self._stop_requested = True
            self._serving.cancel()
            self._say("Stopping. Open runs are kept and resume at the next start.")

    async def _serve(self, usual: Ports) -> None:
        while True:
            await self._end_parts()
            ports = self._choose_ports(usual)
            try:
                return await self._run_parts(ports)
            except PartCannotStart:
                await self._end_parts()
                if _are_free(ports.temporal, self._topology.temporal_ports) and all(
                    readiness.port_is_free(port) for _, port in ports
                ):
                    raise
                self._say("Another program has taken a port in the meantime; choosing others.")

    async def _run_parts(self, ports: Ports) -> None:
        plans = await self._topology.plans(ports)
        self._write(self._describe(ports, plans))
        self._parts = [Part(plan, self._folder, say=self._say, changed=self._record) for plan in plans]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_warden())
                group.create_task(self._keep_logs_short())
                for part in self._parts:
                    group.create_task(part.keep_alive([other for other in self._parts if other.kind in part.after]))
                await self._announce()
                if self._mode is not StackMode.FOREGROUND:
                    await self._until_idle()
                    self._stop()
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _end_parts(self) -> None:
        for kind, grace in GRACE.items():
            await asyncio.gather(*(part.stop(grace, self._hurry) for part in self._parts if part.kind is kind))
        await end_parts(self._folder, self._hurry)

    async def _announce(self) -> None:
        for part in self._parts:
            await part.serving.wait()
        for line in [*_whereabouts(self._stack), f"State and logs in {self._folder.path}"]:
            self._say(line)

    def _choose_ports(self, usual: Ports) -> Ports:
        """The usual ports, or free ones nearby; first those of a killed stack, to which its clients come back."""
        killed = StackFile.read(self._settings)
        wanted = killed.ports if killed else usual
        return Ports(
            temporal=_near(wanted.temporal, self._topology.temporal_ports),
            web_ui=_near(wanted.web_ui),
            emulator=_near(wanted.emulator),
            postgres=_near(wanted.postgres),
        )

    # --- what others see ---

    def _describe(self, ports: Ports, plans: list[PartPlan]) -> StackFile:
        kinds = {plan.kind for plan in plans}
        return StackFile(
            pid=os.getpid(),
            mode=self._mode,
            started_at=datetime.now(UTC),
            temporal_address=configured_address() or f"{readiness.HOST}:{ports.temporal}",
            namespace=temporal_namespace(),
            ports=ports,
            web_ui=f"http://{readiness.HOST}:{ports.web_ui}" if PartName.WEB_UI in kinds else None,
            emulator_url=f"http://{readiness.HOST}:{ports.emulator}/v1" if PartName.EMULATOR in kinds else None,
            settings=self._settings.fingerprints(),
            parts={plan.name: PartState() for plan in plans},
        )

    def _record(self, name: str, state: PartState) -> None:
        self._write(self._stack.model_copy(update={"parts": {**self._stack.parts, name: state}}))

    def _write(self, stack: StackFile) -> None:
        self._stack = stack
        path = StackFile.path(self._settings)
        # Replaced in one step: whoever reads it finds the old one or the new one.
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(stack.model_dump_json(indent=2))
        unfinished.replace(path)

    # --- how it ends ---

    async def _until_idle(self) -> None:
        limit = self._settings.idle_stop.total_seconds()
        # The time of the last use is only compared with itself: somebody may set the clock that it comes from.
        used, since = self._folder.last_use.stat().st_mtime, time.monotonic()
        while time.monotonic() - since < limit:
            await asyncio.sleep(min(_LOOK_FOR_RUNS, limit / 4))
            now_used = self._folder.last_use.stat().st_mtime
            if now_used != used or (self._mode is StackMode.BACKGROUND and await self._has_open_runs()):
                used, since = now_used, time.monotonic()
        self._say(f"No run was open for {limit / 60:.0f} minutes.")

    async def _has_open_runs(self) -> bool:
        try:
            runs = await readiness.open_runs(await connect(self._settings), self._settings.task_queue)
        except TemporalUnreachable:
            runs = None
        # A server that does not answer, because it is being started again, proves nothing.
        return runs is None or runs > 0

    async def _keep_logs_short(self) -> None:
        while True:
            await asyncio.to_thread(self._folder.rotate_logs)
            await asyncio.sleep(_LOOK_AT_LOGS)

    async def _keep_warden(self) -> None:
        again = "clean" if self._mode is StackMode.FOREGROUND else self._mode.value
        then = our_command("durable_responses.embedded", again)
        environment = child_environment(AGENT_STATE_FOLDER=str(self._folder.path))
        while True:
            with self._folder.open_log("stack") as log:
                warden = await asyncio.create_subprocess_exec(
                    *("/bin/sh", "-c", 'read -r farewell || exec "$@"', "warden", *then),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            try:
                await warden.wait()
            finally:
                await warden.communicate(b"farewell\n")
            await asyncio.sleep(1)


def _near(port: int, count: int = 1) -> int:
    """A port near another from which on so many are free."""
    nearby = range(port, port + _NEARBY_PORTS * count, count)
    return next((start for start in nearby if _are_free(start, count)), readiness.free_port())


def _are_free(start: int, count: int) -> bool:
    return all(readiness.port_is_free(port) for port in range(start, start + count))


@contextmanager
def _on_signals(act: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
