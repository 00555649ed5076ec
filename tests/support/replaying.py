"""A program that replays stored histories with its exporters on: `python -m tests.support.replaying FILE…`."""

import asyncio
import sys
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from durable_responses.process import end_telemetry, setup_export
from durable_responses.telemetry.export import Content
from durable_responses.telemetry.plugin import tracing_plugin
from durable_responses.workflows.agent import AgentWorkflow


async def replay(paths: list[Path]) -> None:
    """Replay them, one after the other."""
    replayer = Replayer(
        workflows=[AgentWorkflow], data_converter=pydantic_data_converter, plugins=[tracing_plugin(Content.SPANS)]
    )
    for path in paths:
        await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))


if __name__ == "__main__":
    setup_export("replaying")
    asyncio.run(replay([Path(name) for name in sys.argv[1:]]))
    end_telemetry()
