"""`up`: run the parts that nobody has configured, keep them alive, stop them in order.

One supervisor per state folder: it holds `stack.lock` for as long as it lives. Each part holds a lock of its own, so
that a part left behind by a supervisor that was killed is found, and ended before another one starts. A small shell,
the warden, outlives a killed supervisor by an instant: it starts a new one (background), or ends what was left
(foreground).

A stack has the worker of the project that started it. That of every other project has a supervisor of its own
(`serve_project`), which was started in that project's folder, with its environment: nothing of that is written down.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.embedded import readiness
from durable_responses.embedded.folder import StateFolder, running_projects
from durable_responses.embedded.go_programs import Say
from durable_responses.embedded.parts import Part, PartCannotStart, PartPlan, end_holder, our_command
from durable_responses.embedded.project_queues import claim, idle_owner, release
from durable_responses.embedded.topology import DevTopology, ProjectTopology, Topology
from durable_responses.projects import Project, ProjectRecord
from durable_responses.provider import ProviderKind, configured_provider
from durable_responses.settings import Settings, SetupError, child_environment, configured_address, temporal_namespace
from durable_responses.stack_file import PartName, PartState, Ports, StackFile, StackMode
from durable_responses.workflows.contract import TaskQueue
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
_LOOK_FOR_PROJECTS = 0.25
_STACK_IS_GONE = 5.0
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
    folder, has_worker = StateFolder(settings), mode is not StackMode.READING
    folder.make()
    if has_worker:
        prepare_workspace(settings, say)
    lock = await folder.stack_lock.take()
    if lock is None:
        raise StackRunning(_already(settings))
    with lock:
        lock.write_pid()
        resolved = with_queue(settings, await claim(settings)) if has_worker else settings
        supervisor = _Supervisor(settings, folder, say, mode, topology(resolved, folder, say))
        if has_worker:
            await end_stack(StateFolder(settings, supervisor.project))
        await supervisor.run(ports or Ports())


async def serve_project(settings: Settings, say: Say) -> None:
    """Run the worker of a project beside the stack that runs, until SIGTERM or until it has been idle for long enough.

    Raises `StackRunning`, `PartCannotStart` and `WorkspaceMissing`.
    """
    folder = StateFolder(settings, Project.of(settings))
    folder.make()
    prepare_workspace(settings, say)
    lock = await folder.stack_lock.take()
    if lock is None:
        raise StackRunning(f"The worker of {settings.workspace} is running already.")
    with lock:
        lock.write_pid()
        resolved = with_queue(settings, await claim(settings))
        await _ProjectSupervisor(settings, folder, say, StackMode.PROJECT, ProjectTopology(resolved, folder, say)).run(
            Ports()
        )


def with_queue(settings: Settings, task_queue: str) -> Settings:
    """The settings of a worker on a task queue."""
    return settings.model_copy(update={"task_queue": task_queue})


async def end_stack(folder: StateFolder) -> bool:
    """End the supervisor of a folder with all its parts. False if there was none. Takes 45 s at most."""
    found = False
    while pid := folder.stack_lock.holder:
        found = True
        _send(pid, signal.SIGTERM)
        if not await folder.stack_lock.wait_until_free(sum(GRACE.values()) + 5):
            _send(pid, signal.SIGKILL)
            await folder.stack_lock.wait_until_free(1)
    return found


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, number)


async def end_parts(folder: StateFolder, hurry: asyncio.Event) -> None:
    """Stop every part that runs on a state folder, whoever started it. The caller holds the stack's lock."""
    for kind, grace in GRACE.items():
        await asyncio.gather(*(end_holder(lock, grace, hurry) for lock in folder.part_locks(kind)))


async def end_projects(settings: Settings) -> list[Path]:
    """End the workers of all projects that run beside the stack, whoever started them; their workspaces."""
    folders = [folder for folder in StateFolder.of_projects(settings) if folder.path.is_dir()]
    files = [folder.running for folder in folders]
    await asyncio.gather(*(_end_project(folder) for folder in folders))
    return [file.workspace for file in files if file is not None and file.workspace is not None]


async def _end_project(folder: StateFolder) -> None:
    await end_stack(folder)
    if (lock := await folder.stack_lock.take()) is not None:
        with lock:
            await end_parts(folder, asyncio.Event())
            folder.stack_file.unlink(missing_ok=True)


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
        self.project = Project.of(settings)
        self._parts: list[Part] = []
        self._is_described = False
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
                await self._end_all()
                self._folder.stack_file.unlink(missing_ok=True)
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
            if self._is_described:
                with suppress(OSError):  # somebody may have removed the state folder
                    self._write(self._stack.model_copy(update={"ending": True}))
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
        self._parts = [self._part(plan) for plan in plans]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_warden())
                group.create_task(self._keep_logs_short())
                group.create_task(self._beside(ports, group))
                for part in self._parts:
                    group.create_task(part.keep_alive([other for other in self._parts if other.kind in part.after]))
                await self._announce()
                if self._mode is not StackMode.FOREGROUND:
                    await self._until_idle()
                    self._stop()
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    def _part(self, plan: PartPlan) -> Part:
        return Part(plan, self._folder, say=self._say, changed=self._record)

    async def _beside(self, ports: Ports, group: asyncio.TaskGroup) -> None:
        """What other projects need of this stack: the emulator, if one asks for it, and to be told of."""
        told: set[str] = set()
        while True:
            if self._folder.emulator_wanted.exists() and PartName.EMULATOR not in self._stack.parts:
                emulator = self._part(self._topology.emulator(ports))
                self._parts.append(emulator)
                parts = {**self._stack.parts, emulator.name: PartState()}
                self._write(self._stack.model_copy(update={"parts": parts, "emulator_url": _emulator_url(ports)}))
                group.create_task(emulator.keep_alive())
            for name, file in running_projects(self._settings).items():
                if name not in told and name != self._stack.project and file.is_ready:
                    self._say(_serving(file))
                    told.add(name)
            await asyncio.sleep(_LOOK_FOR_PROJECTS)

    async def _end_all(self) -> None:
        """End the workers of the other projects, which are nothing without Temporal, then the parts."""
        others = asyncio.create_task(end_projects(self._settings))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([others, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if self._hurry.is_set():
            # As a second Ctrl-C does. Killed they would be started again.
            for folder in StateFolder.of_projects(self._settings):
                if pid := folder.stack_lock.holder:
                    _send(pid, signal.SIGTERM)
        await asyncio.gather(others, self._end_parts())
        self._folder.emulator_wanted.unlink(missing_ok=True)

    async def _end_parts(self) -> None:
        for kind, grace in GRACE.items():
            await asyncio.gather(*(part.stop(grace, self._hurry) for part in self._parts if part.kind is kind))
        await end_parts(self._folder, self._hurry)

    async def _announce(self) -> None:
        for part in self._parts:
            await part.serving.wait()
        served = [_serving(self._stack)] if self._stack.workspace else []
        if served and configured_address() is None and (owner := idle_owner(self._settings)):
            served.append(_elsewhere(owner))
        for line in [*_whereabouts(self._stack), *served, f"State and logs in {self._folder.path}"]:
            self._say(line)

    def _choose_ports(self, usual: Ports) -> Ports:
        """The usual ports, or free ones nearby; first those of a killed stack, to which its clients come back."""
        killed = StackFile.read_from(self._folder.stack_file)
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
            emulator_url=_emulator_url(ports) if PartName.EMULATOR in kinds else None,
            settings=self._settings.fingerprints(),
            project=self.project.name if PartName.WORKER in kinds else None,
            workspace=self._settings.workspace if PartName.WORKER in kinds else None,
            task_queue=self._topology.settings.task_queue if PartName.WORKER in kinds else None,
            parts={plan.name: PartState() for plan in plans},
        )

    def _record(self, name: str, state: PartState) -> None:
        self._write(self._stack.model_copy(update={"parts": {**self._stack.parts, name: state}}))

    def _write(self, stack: StackFile) -> None:
        self._stack = stack
        path = self._folder.stack_file
        # Replaced in one step: whoever reads it finds the old one or the new one.
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(stack.model_dump_json(indent=2))
        unfinished.replace(path)
        self._is_described = True

    # --- how it ends ---

    async def _until_idle(self) -> None:
        limit = self._settings.idle_stop.total_seconds()
        # The time of the last use is only compared with itself: somebody may set the clock that it comes from.
        used, since = self._last_use(), time.monotonic()
        while True:
            await asyncio.sleep(min(_LOOK_FOR_RUNS, limit / 4))
            now_used = self._last_use()
            if now_used != used or await self._is_in_use():
                used, since = now_used, time.monotonic()
            if time.monotonic() - since < limit:
                continue
            # A command notes its use before it reads this file, and we look for the note after writing it: either it
            # finds a stack that ends, and waits for the next one, or we find that it is in use.
            self._write(self._stack.model_copy(update={"ending": True}))
            if self._last_use() == used:
                break
            self._write(self._stack.model_copy(update={"ending": False}))
        if self._mode is not StackMode.READING:
            await release(self._settings, self.project.name)
        self._say(f"No run was open for {limit / 60:.0f} minutes.")

    def _last_use(self) -> int:
        return self._folder.last_use.stat().st_mtime_ns

    async def _is_in_use(self) -> bool:
        if any(folder.stack_lock.is_held for folder in StateFolder.of_projects(self._settings)):
            return True
        return self._mode is StackMode.BACKGROUND and await self._has_open_runs()

    async def _has_open_runs(self) -> bool:
        try:
            runs = await readiness.open_runs(await connect(self._settings), self._topology.settings.task_queue)
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
        environment = child_environment(AGENT_STATE_FOLDER=str(self._settings.state_folder))
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


class _ProjectSupervisor(_Supervisor):
    """One life of a project's worker, beside the stack."""

    async def _serve(self, usual: Ports) -> None:
        await self._end_parts()
        stack = StateFolder(self._settings).running
        await self._run_parts(stack.ports if stack else usual)

    async def _beside(self, _: Ports, __: asyncio.TaskGroup) -> None:
        """What this worker needs of the stack: that it runs, and that the worker knows where.

        A stack that was killed starts again by itself. One that does not, because everything of it was killed, is
        started from here: the runs of this project are not to wait for somebody who types a command.
        """
        stack, place, missed = StateFolder(self._settings), None, 0.0
        while True:
            if configured_provider(self._settings) is ProviderKind.EMULATOR:
                stack.emulator_wanted.touch()
            if (file := stack.running) and file.can_be_read:
                missed, now = 0.0, (file.temporal_address, file.emulator_url)
                if place is not None and now != place:
                    self._say("The stack is at other ports now; restarting the worker.")
                    for part in self._parts:
                        part.restart()
                place = now
            elif not stack.stack_lock.is_held:
                missed += _LOOK_FOR_PROJECTS
            if missed > _STACK_IS_GONE:
                self._say("The stack has gone; starting Temporal in the background.")
                missed = 0.0
                await asyncio.create_subprocess_exec(
                    *our_command("durable_responses.embedded", StackMode.READING),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    env=child_environment(AGENT_STATE_FOLDER=str(self._settings.state_folder)),
                    start_new_session=True,
                )
            await asyncio.sleep(_LOOK_FOR_PROJECTS)

    async def _announce(self) -> None:
        for part in self._parts:
            await part.serving.wait()
        self._say(_serving(self._stack))

    async def _end_all(self) -> None:
        await self._end_parts()

    async def _is_in_use(self) -> bool:
        return await self._has_open_runs()


def _serving(stack: StackFile) -> str:
    return f"Runs of the project with the workspace {stack.workspace} are on task queue {stack.task_queue}"


def _elsewhere(owner: ProjectRecord) -> str:
    return (
        f"Task queue {TaskQueue.AGENTS} belongs to the project in {owner.folder}, which is not running: a command "
        "there serves it, and `durable-responses down` frees it for the next start unless runs wait on it."
    )


def _emulator_url(ports: Ports) -> str:
    return f"http://{readiness.HOST}:{ports.emulator}/v1"


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
