"""The stack under test: one of its own for each test, or one that stands for all tests of a module."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from durable_responses.embedded import ensure_running, running_stack
from durable_responses.embedded.locks import LockFile
from durable_responses.settings import Settings, child_environment
from durable_responses.stack_file import PartName, StackFile
from tests.support.machines import machine  # noqa: F401 a fixture
from tests.support.processes import Process

PARTS = (PartName.TEMPORAL, PartName.EMULATOR, PartName.WORKER)
"""The parts of the stack that `up` and `run` start."""


class Stack:
    """A stack seen from outside: what its file says, and the processes behind it. `said` holds what commands said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []

    @property
    def settings(self) -> Settings:
        """The settings of a command that is started now."""
        return Settings(state_folder=self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of such a command."""
        return child_environment(AGENT_STATE_FOLDER=str(self.folder))

    @property
    def running(self) -> StackFile | None:
        """The stack file; None when nothing runs."""
        return running_stack(self.settings)

    @property
    def file(self) -> StackFile:
        """The stack file; an error when nothing runs."""
        stack = self.running
        assert stack is not None, f"no stack runs; it logged:\n{self.log('stack')}"
        return stack

    @property
    def locks(self) -> list[LockFile]:
        """The locks of the supervisor and the parts."""
        return [LockFile(path) for path in self.folder.glob("*.lock")]

    def pid(self, name: PartName) -> int:
        """The process of a part."""
        pid = self.file.parts[name].pid
        assert pid is not None
        return pid

    def log(self, name: str) -> str:
        """What a part, or the supervisor in the background (`stack`), has printed."""
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    async def until(self, holds: Callable[[StackFile], bool], *, timeout: float = 30) -> StackFile:
        """Wait until the stack file says what is wanted."""
        give_up = time.monotonic() + timeout
        while not ((stack := self.running) and holds(stack)):
            assert time.monotonic() < give_up, f"the stack is {stack}; it logged:\n{self.log('stack')}"
            await asyncio.sleep(0.02)
        return stack

    async def until_gone(self) -> None:
        """Wait until no process of the stack is left."""
        assert all([await lock.wait_until_free(30) for lock in self.locks])

    def kill(self, *pids: int) -> None:
        """SIGKILL to all of them at once."""
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    async def kill_everything(self) -> None:
        """SIGKILL to the supervisor, the warden and the parts, at once."""
        while pids := [lock.holder for lock in self.locks if lock.is_held]:
            for pid in filter(None, pids):
                with contextlib.suppress(psutil.NoSuchProcess):
                    supervisor_or_part = psutil.Process(pid)
                    for process in [*supervisor_or_part.children(), supervisor_or_part]:
                        process.kill()
            await asyncio.sleep(0.02)

    async def ensure_running(self) -> StackFile:
        """`ensure_running`, where it has something to run."""
        stack = await ensure_running(self.settings, self.said.append)
        assert stack is not None
        return stack

    def up(self, log: str = "up.log") -> Process:
        """`durable-responses up`, not started yet."""
        command = [sys.executable, "-m", "durable_responses.cli", "up"]
        return Process(command, log=self.folder / log, env=self.environment)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """An empty state folder. Nothing that runs on it outlives the test."""
    stack = Stack(tmp_path / "state")
    yield stack
    await stack.kill_everything()


@pytest.fixture(scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack in the background that all tests of a module share, and leave running."""
    stack = Stack(tmp_path_factory.mktemp("standing") / "state")
    await stack.ensure_running()
    yield stack
    await stack.kill_everything()
