"""openai-agents: a tool, an output type, a stream, our tools over MCP."""

import asyncio
import json
import os

from agents import Agent, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents.mcp import MCPServerStdio
from openai.types.shared import Reasoning
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather."""

    sky: str
    degrees: int


@function_tool
def look_up(city: str, days: int) -> str:
    """Looks up the weather."""
    return f"It rains frogs in {city} for {days} day."


async def main() -> None:
    """Everything that the lane wants to see."""
    set_tracing_disabled(True)
    settings = ModelSettings(store=False, response_include=["reasoning.encrypted_content"], reasoning=Reasoning())
    for chosen in (ModelSettings(), ModelSettings(tool_choice="required"), settings):
        agent = Agent(name="a", model="gpt-5.4-mini", tools=[look_up], model_settings=chosen)
        done = await Runner.run(agent, "What is the weather?")
        assert "It rains frogs" in done.final_output, done.final_output
    typed = await Runner.run(Agent(name="t", model="gpt-5.4-mini", output_type=Weather), "Weather?")
    assert isinstance(typed.final_output, Weather), typed.final_output
    stream = Runner.run_streamed(Agent(name="s", model="gpt-5.4-mini"), "Say hello.")
    async for _ in stream.stream_events():
        pass
    assert "Say hello." in stream.final_output, stream.final_output
    environment = dict(os.environ)  # noqa: TID251 a program that has none of ours
    command, *arguments = json.loads(environment["MCP_SERVER"])
    parameters = {"command": command, "args": arguments, "env": environment}
    async with MCPServerStdio(parameters, client_session_timeout_seconds=60) as server:
        names = [tool.name for tool in await server.list_tools()]
        assert "gpt5_agent" in names, names
        answer = await server.call_tool("gpt5_agent", {"task": "Say hello.", "reasoning_effort": "low"})
        assert not answer.is_error, answer
    print("tool, required and without storing, output type, stream, our tools over MCP")


asyncio.run(main())
