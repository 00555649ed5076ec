"""Runs whose tools come from MCP servers: real programs, spoken to by the worker that runs the calls."""

import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.mcp_tools.configuration import McpServers
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentStatus, InputRequest, TransportChoice
from tests.support.runs import Agents, reached, result_of

PROJECT = Path(__file__).parents[2]
Run = WorkflowHandle[Any, Any]


def desk(folder: Path, **fields: Any) -> dict[str, Any]:
    """The test server as a program, as people configure it."""
    arguments = ["-m", "tests.support.mcp_tool_server", str(folder)]
    return {"command": sys.executable, "args": arguments, "cwd": str(PROJECT), **fields}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a worker with servers of tools: one that is trusted, and one of which nothing is known."""
    servers = {"desk": desk(tmp_path, trust="annotations"), "stranger": desk(tmp_path)}
    return settings.model_copy(update={"mcp_servers": McpServers.model_validate({"mcpServers": servers})})


async def calling(agents: Agents, *calls: tuple[str, Any], **fields: Any) -> Run:
    """A run whose model makes these calls in its first response."""
    name = f"of-{agents.settings.task_queue}"
    steps = [FunctionCallStep(name=tool_name, arguments=arguments) for tool_name, arguments in calls]
    scenario = Scenario(name=name, responses=[Script(output=[*steps]), Script(output=[Text(text="Done.")])])
    await agents.emulator.control.add_scenario(scenario)
    fields = {"transport": TransportChoice.STREAM, "tools": [], **fields}
    return await agents.start(AgentInput(task="Do it.", metadata={"scenario": name}, **fields))


async def asked(run: Run) -> InputRequest:
    """What the run asks its owner."""
    state = await reached(run, lambda state: any(request.is_open for request in state.input_requests))
    return next(request for request in state.input_requests if request.is_open)


def made(folder: Path, tool: str) -> int:
    """How often the server was called."""
    file = folder / tool
    return len(file.read_text().splitlines()) if file.exists() else 0


async def test_a_tool_of_a_server_is_offered_and_called(agents: Agents) -> None:
    """As one of the worker's own would be."""
    run = await calling(agents, ("desk__add", {"a": 1, "b": 2}), tools=["desk.add"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await agents.answers(run, 2) == ["3"]


async def test_a_tool_of_a_stranger_waits_for_its_owner(agents: Agents, tmp_path: Path) -> None:
    """Whatever its server says of it."""
    run = await calling(agents, ("stranger__append", {"text": "x"}), mcp_servers=["stranger"])
    request = await asked(run)
    assert request.call is not None
    assert (request.call.name, request.call.effect) == ("stranger__append", "once")
    assert made(tmp_path, "append") == 0
    await run.execute_update("respond", args=[request.id, "allow"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await agents.answers(run, 2) == ["appended 'x': 1"]


async def test_a_run_with_a_server_that_there_is_not_fails_before_anything_is_paid_for(agents: Agents) -> None:
    """The nearest one is named."""
    run = await calling(agents, mcp_servers=["dekc"])
    result = await result_of(run)
    assert result.error is not None
    assert result.error.message == (
        "mcp_servers: there is no server 'dekc'; there are: desk, stranger. Did you mean 'desk'?"
    )
    assert await agents.responses(run) == []
