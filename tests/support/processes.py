"""Real processes under test: a Temporal dev server, workers, and anything else that is started and killed."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Self

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from durable_responses.embedded import find_temporal_cli, temporal_command
from durable_responses.embedded.readiness import free_port, port_serves, worker_polls
from durable_responses.settings import Settings, child_environment
from durable_responses.workflows.contract import TaskQueue

__all__ = ["CHECKOUT", "Process", "TemporalServer", "WorkerProcess", "free_port", "port_serves"]

CHECKOUT = Path(__file__).parent.parent.parent
_SHORTLY = timedelta(seconds=2)


class Process:
    """A process that a test starts, watches and ends. Its output, both streams, goes to `log`.

    Use it as an async context manager, or call `start` and `kill`. A failed test shows the end of the log.
    """

    started: ClassVar[list["Process"]] = []
    """Every process with a log worth showing when the running test fails."""

    def __init__(
        self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path = CHECKOUT
    ) -> None:
        self.command = list(command)
        self.log = log
        self.env = dict(env) if env is not None else child_environment()
        self.cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; an error before `start`."""
        return self._running().pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What the process has printed, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    async def start(self) -> Self:
        """Start the process (again); returns at once. `TemporalServer` and `WorkerProcess` wait until they serve."""
        assert not self.is_alive, f"{self.command} runs already"
        self._process = self._spawn()
        if self not in self.started:
            self.started.append(self)
        return self

    async def wait_for_line(self, pattern: str, *, timeout: float = 20) -> re.Match[str]:
        """Wait until the output has a match of `pattern`, and return it."""
        give_up = time.monotonic() + timeout
        while not (match := re.search(pattern, self.output, re.MULTILINE)):
            if not self.is_alive or time.monotonic() > give_up:
                raise AssertionError(f"{self.command} did not print {pattern!r}:\n{self.tail()}")
            await asyncio.sleep(0.02)
        return match

    async def wait(self, *, timeout: float = 20) -> int:
        """Wait until the process ends; returns its exit code (minus the signal's number when killed)."""
        give_up = time.monotonic() + timeout
        while (code := self._running().poll()) is None:
            if time.monotonic() > give_up:
                raise AssertionError(f"{self.command} did not end in {timeout} s:\n{self.tail()}")
            await asyncio.sleep(0.02)
        return code

    def kill(self) -> None:
        """SIGKILL, and reap. Nothing happens when the process has ended already."""
        if self.is_alive:
            self._running().kill()
            self._running().wait()

    def freeze(self) -> None:
        """SIGSTOP: the process stands still until `thaw`, and does not know it."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    async def terminate(self, *, timeout: float = 20) -> int:
        """SIGTERM, and wait for the end; returns the exit code."""
        return await self.stop(signal.SIGTERM, timeout=timeout)

    async def stop(self, signal_number: signal.Signals, *, timeout: float = 20) -> int:
        """Send a signal, and wait for the end; returns the exit code."""
        self._running().send_signal(signal_number)
        return await self.wait(timeout=timeout)

    def tail(self, characters: int = 4000) -> str:
        """The end of the output."""
        return self.output[-characters:]

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd=self.cwd
            )

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.command} was not started"
        return self._process

    async def __aenter__(self) -> Self:
        return self if self.is_alive else await self.start()

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        if self in self.started:
            self.started.remove(self)


class TemporalServer(Process):
    """A Temporal dev server on free ports and a database file in `folder`, with the embedded stack's flags.

    `kill` and then `start` (or `restart`) serve the same runs at the same address.
    """

    def __init__(self, folder: Path, cli: Path, flags: Sequence[str] = ()) -> None:
        self.port, self.http_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        command = temporal_command(cli, folder / "temporal.db", port=self.port, http_port=self.http_port)
        super().__init__([*command, *flags], log=folder / "temporal.log")

    @classmethod
    async def on(cls, folder: Path, *flags: str) -> "TemporalServer":
        """A server that is not started yet; finds, or builds, the `temporal` binary."""
        return cls(folder, await find_temporal_cli(Settings(), print), flags)

    async def start(self) -> Self:
        """Start, and wait until the default namespace answers."""
        await super().start()
        give_up = time.monotonic() + 30
        while not await self._answers():
            if not self.is_alive or time.monotonic() > give_up:
                raise AssertionError(f"the Temporal dev server did not start:\n{self.tail()}")
            await asyncio.sleep(0.05)
        return self

    async def restart(self) -> Self:
        """SIGKILL, and start again."""
        self.kill()
        return await self.start()

    async def client(self) -> Client:
        """A new client, with our data converter."""
        return await Client.connect(self.address, data_converter=pydantic_data_converter)

    async def _answers(self) -> bool:
        if not port_serves(self.port):
            return False
        try:
            client = await self.client()
            # A listing needs the namespace and the visibility store: the last to come up.
            await client.count_workflows(rpc_timeout=_SHORTLY)
        except Exception:  # not yet: the caller looks again, with a bound
            return False
        return True


class WorkerProcess(Process):
    """A worker's process for a Temporal server and a provider. Settings are given by variable: AGENT_MODEL="…"."""

    def __init__(
        self, temporal: TemporalServer, base_url: str, *, folder: Path, name: str = "worker", **settings: str
    ) -> None:
        env = child_environment(
            TEMPORAL_ADDRESS=temporal.address,
            OPENAI_BASE_URL=base_url,
            AGENT_STATE_FOLDER=str(folder / "state"),
            **settings,
        )
        super().__init__([sys.executable, "-m", "durable_responses.worker"], log=folder / f"{name}.log", env=env)
        self.temporal = temporal
        self.task_queue = settings.get("AGENT_TASK_QUEUE", TaskQueue.AGENTS)

    async def start(self, *, within: float = 30) -> Self:
        """Start, and wait until the worker polls for workflow tasks, so many seconds at most."""
        since = time.time()
        await super().start()
        client = await self.temporal.client()
        give_up = time.monotonic() + within
        while not await worker_polls(client, self.task_queue, since=since):
            if not self.is_alive or time.monotonic() > give_up:
                raise AssertionError(f"the worker did not start:\n{self.tail()}")
            await asyncio.sleep(0.05)
        return self
