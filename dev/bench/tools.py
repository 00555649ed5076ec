"""Twenty function tools that do nothing, as many as an agent may well have. Named in AGENT_TOOL_MODULES."""

from typing import Annotated, Any

from pydantic import Field

from durable_responses.tools.registry import Effect, Tool, tool

NAMES = [f"do_nothing_{number}" for number in range(1, 21)]


def _tool(name: str) -> Tool[..., Any]:
    async def nothing(
        about: Annotated[str, Field(description="What nothing is to be done about.")] = "",
        times: Annotated[int, Field(description="How often to do nothing.")] = 1,
    ) -> str:
        """Do nothing about a subject, as often as wanted, and say so."""
        return f"Nothing was done {times} times. {about}"

    nothing.__name__ = name
    return tool(effect=Effect.PURE)(nothing)


globals().update({name: _tool(name) for name in NAMES})
