"""What is measured: a Temporal dev server with the embedded stack's flags, an emulator and workers, each a process."""

import itertools
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from temporalio.client import Client, WorkflowHandle

from dev.bench import bare_worker, tools
from dev.bench.bare import BareTurns, BareWorkflow
from durable_responses.workflows.contract import (
    WORKFLOW_TYPE,
    AgentInput,
    AgentResult,
    TaskQueue,
    TransportChoice,
    agent_workflow_id,
)
from durable_responses.workflows.web_ui import MEMO_TASK, summary_of
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import Process, TemporalServer, WorkerProcess

Run = WorkflowHandle[Any, AgentResult]

# The queues of an iteration's activities, for the yardstick.
OF_A_STREAM_ITERATION = [TaskQueue.CREATE, TaskQueue.TOOLS]
OF_A_BACKGROUND_ITERATION = [TaskQueue.CREATE, TaskQueue.WAITING, TaskQueue.TOOLS]


@dataclass
class Stack:
    """The processes of one benchmark. Workers are ended with it."""

    temporal: TemporalServer
    client: Client
    emulator: EmulatorProcess
    folder: Path
    exits: AsyncExitStack
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    @asynccontextmanager
    async def up(cls) -> AsyncIterator["Stack"]:
        """A fresh stack in a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            (folder / "workspace").mkdir()
            async with (
                await TemporalServer.on(folder) as temporal,
                EmulatorProcess(folder) as emulator,
                AsyncExitStack() as exits,
            ):
                yield cls(temporal, await temporal.client(), emulator, folder, exits)

    async def worker(
        self, task_queue: str = TaskQueue.AGENTS, *, base_url: str | None = None, **settings: str
    ) -> WorkerProcess:
        """One more of our workers, serving all queues under that name; `base_url` leads to the emulator."""
        return await self._start(self._worker(task_queue, base_url, **settings))

    async def bare_worker(self) -> WorkerProcess:
        """The yardstick's worker, on queues of its own."""
        worker = self._worker("bare")
        worker.command = [sys.executable, "-m", bare_worker.__name__]
        return await self._start(worker)

    def _worker(self, task_queue: str, base_url: str | None = None, **settings: str) -> WorkerProcess:
        fixed = {
            "AGENT_TASK_QUEUE": task_queue,
            "AGENT_WORKSPACE": str(self.folder / "workspace"),
            "AGENT_TOOL_MODULES": tools.__name__,
            "AGENT_LOG_LEVEL": "warning",
        }
        name = f"worker-{next(self._names)}"
        return WorkerProcess(
            self.temporal,
            base_url or self.emulator.base_url,
            folder=self.folder,
            name=name,
            **{**fixed, **settings},
        )

    async def _start(self, worker: WorkerProcess) -> WorkerProcess:
        return await self.exits.enter_async_context(worker)

    async def start(self, scenario: str, transport: TransportChoice, **fields: Any) -> Run:
        """Start an agent run as our clients do, by a scenario of the emulator. `fields` are of `AgentInput`."""
        task_queue = fields.pop("task_queue", TaskQueue.AGENTS)
        asked = {"task": "Do nothing, often.", "metadata": {"scenario": scenario}, "max_iterations": 1000, **fields}
        request = AgentInput.model_validate({**asked, "transport": transport})
        return await self.client.start_workflow(
            WORKFLOW_TYPE,
            request,
            id=agent_workflow_id(),
            task_queue=task_queue,
            memo={MEMO_TASK: summary_of(request)},
            result_type=AgentResult,
        )

    async def start_bare(self, iterations: int, queues: Sequence[TaskQueue]) -> WorkflowHandle[Any, None]:
        """Start the yardstick."""
        return await self.client.start_workflow(
            BareWorkflow.run,
            BareTurns(iterations=iterations, queues=[queue.under("bare") for queue in queues]),
            id=f"bare-{agent_workflow_id()}",
            task_queue="bare",
        )


def iterations_of(iterations: int, *, think: float = 0.0) -> str:
    """The scenario of so many iterations with one function call each, and an answer."""
    return f"calls?iterations={iterations}&tool={tools.NAMES[0]}&think={think:g}"


def cpu_seconds(process: Process) -> float:
    """CPU that a process has used since its start, all threads."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def resident_bytes(process: Process) -> int:
    """Memory of a process."""
    size: int = psutil.Process(process.pid).memory_info().rss
    return size
