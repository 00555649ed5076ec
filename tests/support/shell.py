"""Commands typed in a shell: real processes, with pipes or on a terminal."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable_responses.jobs.jobs import Jobs
from durable_responses.workflows.contract import AgentInput, TransportChoice
from tests.support.emulator_control import EmulatorControl
from tests.support.terminal import TerminalProcess

COMMAND = [sys.executable, "-m", "durable_responses.cli"]
COMPLETED, FAILED, USAGE, INCOMPLETE, CANCELLED, UNAVAILABLE, LEFT = 0, 1, 2, 3, 4, 5, 130


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Where commands are typed: a folder and an environment."""

    folder: Path
    env: dict[str, str]
    jobs: Jobs
    task_queue: str = "agents"
    control: EmulatorControl = field(init=False)

    async def spawn(
        self, *words: str, stdin: int = asyncio.subprocess.DEVNULL, **variables: str
    ) -> asyncio.subprocess.Process:
        """Start a command whose output streams are pipes."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *COMMAND,
            *words,
            env=self.env | variables,
            cwd=self.folder,
            stdin=stdin,
            stdout=pipe,
            stderr=pipe,
        )

    async def run(self, *words: str, timeout: float = 30, piped: str | None = None) -> Ended:
        """Run a command to its end; `piped` comes by a pipe on its standard input."""
        if piped is None:
            return await ended(await self.spawn(*words), timeout=timeout)
        reading, writing = os.pipe()
        with os.fdopen(writing, "w") as pipe:
            process = await self.spawn(*words, stdin=reading)
            os.close(reading)
            pipe.write(piped)
        return await ended(process, timeout=timeout)

    async def modules_loaded_by(self, *words: str) -> set[str]:
        """The modules that a command loads, which ends well."""
        process = await self.spawn(*words, PYTHONPROFILEIMPORTTIME="1")
        done = await ended(process)
        assert done.code == COMPLETED
        return {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}

    def on_terminal(self, *words: str) -> TerminalProcess:
        """A command on a terminal of its own."""
        return TerminalProcess([*COMMAND, *words], self.env, self.folder)

    async def start(self, scenario: str, **fields: Any) -> str:
        """Start a run without the command line; returns its job id."""
        fields = {"transport": TransportChoice.BACKGROUND, "metadata": {"scenario": scenario}, **fields}
        return await self.jobs.start(AgentInput(task="Do it.", **fields))


async def ended(process: asyncio.subprocess.Process, *, timeout: float = 30) -> Ended:
    """Wait for the end of a command, and read what it wrote."""
    out, err = await asyncio.wait_for(process.communicate(), timeout)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


def scenario(name: str) -> list[str]:
    """Options of a background run that the emulator answers by this scenario."""
    return ["--effort", "high", "--model", f"scenario:{name}"]


async def has_response(jobs: Jobs, job_id: str) -> bool:
    """Whether a run has a response by now."""
    return (await jobs.state(job_id)).state.response_id is not None
