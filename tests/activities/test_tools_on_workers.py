"""Function calls on real workers: how a cancel and a shutdown reach a running tool."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_responses.activities.messages import CallTool, ToolOutcome, ToolResult
from durable_responses.activities.tools import HEARTBEAT_SECONDS, ToolActivities
from durable_responses.tools import outputs
from durable_responses.tools.registry import Effect, Registry, Tool, ToolContext, tool


@workflow.defn
class OneCall:
    """Makes one function call, as an agent run does."""

    @workflow.run
    async def run(self, call: CallTool) -> ToolResult:
        return await workflow.execute_activity_method(
            ToolActivities.call_tool,
            call,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
        )


class Interruptible:
    """An async tool whose first run waits for ever; it counts its runs and tells when one was started or stopped."""

    def __init__(self, effect: Effect) -> None:
        self.runs = 0
        self.started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.stopped_at = 0.0
        self.tool: Tool[..., Any] = tool(effect=effect)(self._function())

    def _function(self) -> Any:
        async def work() -> str:
            """Work."""
            self.runs += 1
            self._loop.call_soon_threadsafe(self.started.set)
            if self.runs > 1:
                return "done"
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped_at = time.monotonic()
            return "unreachable"

        return work


@asynccontextmanager
async def working(
    client: Client, queue: str, each: Tool[..., Any], workspace: Path = Path(), **bounds: int
) -> AsyncIterator[None]:
    activities = ToolActivities(Registry([each]), ToolContext(workspace=workspace), **bounds)  # type: ignore[arg-type]
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneCall],
        activities=[activities.call_tool],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS),
    ):
        yield


async def start(client: Client, queue: str) -> "WorkflowHandle[OneCall, ToolResult]":
    call = CallTool(call_id="call_1", name="work", arguments="{}", timeout=20)
    return await client.start_workflow(OneCall.run, call, id=f"one-call-{uuid.uuid4()}", task_queue=queue)


async def test_a_cancel_stops_a_running_tool_soon(client: Client) -> None:
    """A12: the heartbeat beside the tool brings the cancel."""
    queue, work = f"tools-{uuid.uuid4()}", Interruptible(Effect.PURE)
    async with working(client, queue, work.tool):
        run = await start(client, queue)
        await work.started.wait()

        cancelled_at = time.monotonic()
        await run.cancel()
        with pytest.raises(WorkflowFailureError):
            await run.result()

    print(f"\na running tool was stopped {work.stopped_at - cancelled_at:.2f} s after the cancel")
    assert work.runs == 1
    assert work.stopped_at - cancelled_at < 2


async def interrupted_by_a_shutdown(client: Client, effect: Effect) -> tuple[ToolResult, int]:
    """The result of a call whose first worker was shut down, and how often its tool ran."""
    queue, work = f"tools-{uuid.uuid4()}", Interruptible(effect)
    async with working(client, queue, work.tool):
        run = await start(client, queue)
        await work.started.wait()
    async with working(client, queue, work.tool), asyncio.timeout(15):
        return await run.result(), work.runs


async def test_a_tool_whose_worker_stops_is_run_by_another(client: Client) -> None:
    """A12: an interrupted call is answered after all."""
    result, runs = await interrupted_by_a_shutdown(client, Effect.IDEMPOTENT)

    assert result == ToolResult(call_id="call_1", output="done")
    assert runs == 2


async def test_a_once_tool_whose_worker_stops_has_an_unknown_outcome(client: Client) -> None:
    """A12: it is never run twice."""
    result, runs = await interrupted_by_a_shutdown(client, Effect.ONCE)

    assert result.outcome is ToolOutcome.UNKNOWN
    assert runs == 1


async def test_where_too_much_is_kept_that_of_runs_which_have_ended_goes_first(client: Client, tmp_path: Path) -> None:
    """Temporal says which have; a run that it does not know has ended, too."""

    @tool(effect=Effect.PURE)
    def work() -> str:
        """Work."""
        return "x" * 1000

    queue = f"tools-{uuid.uuid4()}"
    waiting = await start(client, f"{queue}-of-nobody")
    for run in ("gone", waiting.id):
        outputs.keep(tmp_path, run, "1-1", "x" * 1000)
    async with working(client, queue, work, tmp_path, long_output=500, most_kept=2500):
        first = await start(client, queue)
        assert (await first.result()).kept
        assert runs_that_keep(tmp_path) == {waiting.id, first.id}
        second = await start(client, queue)
        await second.result()
    assert runs_that_keep(tmp_path) == {waiting.id, second.id}
    await waiting.terminate()


def runs_that_keep(workspace: Path) -> set[str]:
    return {(path.parent / "run").read_text() for path in workspace.glob(".outputs/*/*.txt")}
