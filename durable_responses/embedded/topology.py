"""The parts of a stack, and how each is started.

`DevTopology` is what `up` and `run` start: one dev server with its database file and its Web UI.
`ProjectTopology` is the worker of another project beside it.
`ServerTopology` is what `make stack` starts: a Temporal server on PostgreSQL, the Web UI's own server, several workers.
Both leave out what is configured elsewhere: Temporal, or the provider.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from temporalio.service import RPCError

from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.embedded import readiness
from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.go_programs import Say, find_go_program
from durable_responses.embedded.namespace import ensure_namespace
from durable_responses.embedded.parts import Launch, PartPlan, bare_environment, our_command, temporal_command
from durable_responses.embedded.postgres import PostgresCluster
from durable_responses.embedded.temporal_cli import find_temporal_cli
from durable_responses.embedded.temporal_server import PORTS, SERVER, SQL_TOOL, server_environment, set_up_schema
from durable_responses.embedded.web_ui import (
    WEB_UI,
    dev_server_with_pages,
    pages_folder,
    take_over_once,
    web_ui_command,
    web_ui_with_pages,
)
from durable_responses.provider import ProviderKind, configured_provider
from durable_responses.settings import Settings, child_environment, configured_address, temporal_namespace
from durable_responses.stack_file import PartName, Ports, StackFile
from durable_responses.web_ui.pages import PagesMissing


@dataclass(frozen=True)
class Topology(ABC):
    """The parts of a stack on a state folder."""

    settings: Settings
    folder: StateFolder
    say: Say

    temporal_ports = 2
    """How many ports Temporal takes, from its own one on. The second is the one of its HTTP API."""

    async def plans(self, ports: Ports) -> list[PartPlan]:
        """Every part, in the order of starting."""
        temporal = [] if configured_address() else await self.temporal(ports)
        emulated = configured_provider(self.settings) is ProviderKind.EMULATOR or self.folder.emulator_wanted.exists()
        return [*temporal, *([self.emulator(ports)] if emulated else []), *self.workers()]

    @abstractmethod
    async def temporal(self, ports: Ports) -> list[PartPlan]:
        """Temporal, with its database and its Web UI. Raises `ProgramMissing`."""

    def emulator(self, ports: Ports) -> PartPlan:
        """The emulator, on a state file."""
        command = our_command(
            "durable_responses.emulator",
            *("--host", readiness.HOST),
            *("--port", str(ports.emulator)),
            *("--state-file", str(self.folder.emulator_state)),
        )
        return PartPlan(PartName.EMULATOR, command, bare_environment(), listens_on(ports.emulator))

    def workers(self) -> list[PartPlan]:
        """The workers."""
        return [self.worker()]

    def worker(self) -> PartPlan:
        """One worker, which serves all queues."""
        environment = child_environment(
            AGENT_STATE_FOLDER=str(self.settings.state_folder), AGENT_TASK_QUEUE=self.settings.task_queue
        )
        after = (PartName.TEMPORAL, PartName.EMULATOR)
        command = our_command("durable_responses.worker")
        return PartPlan(PartName.WORKER, command, environment, self._worker_serves, after, private=False)

    def web_ui(self, ports: Ports, program: Path, serve: Callable[[int, Path], list[str]]) -> PartPlan:
        """The Web UI, with the pages of a program, which `serve` has it serve at a port."""
        pages = pages_folder(program, self.settings)
        command = web_ui_command(pages, port=ports.web_ui, http_port=ports.temporal + 1, namespace=temporal_namespace())

        async def have_pages() -> None:
            try:
                await take_over_once(pages, serve, self.say)
            except PagesMissing as error:
                self.say(f"The Web UI has no pages: {error}.")

        return PartPlan(
            PartName.WEB_UI, command, bare_environment(), listens_on(ports.web_ui), private=False, prepare=have_pages
        )

    async def _worker_serves(self, launch: Launch) -> bool:
        try:
            client = await connect(self.settings)
        except TemporalUnreachable:
            return False
        return await readiness.worker_polls(client, self.settings.task_queue, since=launch.at, pid=launch.pid)

    async def temporal_serves(self, _: Launch) -> bool:
        """Whether Temporal answers about the namespace, which exists from now on, with its retention."""
        try:
            client = await connect(self.settings)
            await ensure_namespace(client, self.settings.retention)
        except (TemporalUnreachable, RPCError):
            return False
        return await readiness.open_runs(client, self.settings.task_queue) is not None


class DevTopology(Topology):
    """Temporal's dev server on a database file, and one worker."""

    async def temporal(self, ports: Ports) -> list[PartPlan]:
        """The dev server, and the Web UI, unless the server does not have its pages."""
        cli = await find_temporal_cli(self.settings, self.say)
        command = temporal_command(
            cli,
            self.folder.database,
            port=ports.temporal,
            http_port=ports.temporal + 1,
            namespace=temporal_namespace(),
        )
        return [
            PartPlan(PartName.TEMPORAL, command, bare_environment(), self.temporal_serves),
            self.web_ui(ports, cli, lambda port, _: dev_server_with_pages(cli, port)),
        ]


class ReadingTopology(DevTopology):
    """The dev server alone, for those who only look at runs."""

    async def plans(self, ports: Ports) -> list[PartPlan]:
        """Temporal and its Web UI, and the emulator if a project has asked for it."""
        emulator = [self.emulator(ports)] if self.folder.emulator_wanted.exists() else []
        return [*await self.temporal(ports), *emulator]


class ProjectTopology(Topology):
    """The worker of a project, on the Temporal server and the emulator of the stack that runs already."""

    async def plans(self, _: Ports) -> list[PartPlan]:
        """The worker."""
        return [replace(self.worker(), after=(), prepare=self._stack_serves)]

    async def temporal(self, _: Ports) -> list[PartPlan]:
        """Nothing: it is the stack's."""
        return []

    def worker(self) -> PartPlan:
        """One worker; its health is served at the next port that is free, if it is to be served."""
        worker, wanted = super().worker(), self.settings.health_port
        if not wanted:
            return worker
        port = next(port for port in range(wanted, 65536) if readiness.port_is_free(port))
        return replace(worker, environment={**worker.environment, "AGENT_HEALTH_PORT": str(port)})

    async def _stack_serves(self) -> None:
        # It may be starting, or be started again. A worker that finds no server would end.
        stack = StateFolder(self.settings)
        while not ((file := stack.running) and file.can_be_read and self._has_provider(file)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        while not configured_address():
            with suppress(TemporalUnreachable, RPCError):
                await ensure_namespace(await connect(self.settings), self.settings.retention)
                return
            await asyncio.sleep(0.1)

    def _has_provider(self, stack: StackFile) -> bool:
        if configured_provider(self.settings) is not ProviderKind.EMULATOR:
            return True
        return stack.emulator_serves


@dataclass(frozen=True)
class ServerTopology(Topology):
    """The Temporal server on PostgreSQL, its Web UI, and any number of workers, as in docker-compose.yml."""

    worker_count: int = 1

    temporal_ports = PORTS

    async def temporal(self, ports: Ports) -> list[PartPlan]:
        """PostgreSQL, the server, the Web UI."""
        cluster = PostgresCluster.of(self.folder, ports.postgres)
        server, sql_tool, web_ui = [
            await find_go_program(program, self.settings, self.say) for program in (SERVER, SQL_TOOL, WEB_UI)
        ]
        await cluster.make(self.say)

        async def database_serves(_: Launch) -> bool:
            return await set_up_schema(sql_tool, cluster)

        return [
            PartPlan(PartName.POSTGRES, cluster.command(), bare_environment(LC_ALL="C"), database_serves),
            PartPlan(
                PartName.TEMPORAL,
                [str(server), "--allow-no-auth", "start"],
                server_environment(cluster, ports.temporal),
                self.temporal_serves,
                after=(PartName.POSTGRES,),
            ),
            self.web_ui(ports, web_ui, partial(web_ui_with_pages, web_ui)),
        ]

    def workers(self) -> list[PartPlan]:
        """As many as requested; each serves its health at the next port."""
        first, port = self.worker(), self.settings.health_port
        ports = [{"AGENT_HEALTH_PORT": str(port + more)} if port else {} for more in range(self.worker_count)]
        return [
            replace(first, number=number, environment=first.environment | health)
            for number, health in enumerate(ports, start=1)
        ]


def listens_on(port: int) -> Callable[[Launch], Awaitable[bool]]:
    """A part serves when its port accepts connections."""

    async def serves(_: Launch) -> bool:
        return await asyncio.to_thread(readiness.port_serves, port)

    return serves
