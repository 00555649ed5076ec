"""The runtime for expensive OpenAI responses. What a user imports is here; everything else is in the sub-packages.

from durable_responses import tool, Effect, ToolContext, AgentInput, AgentResult, connect, run_main
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_responses.connection import connect
    from durable_responses.process import run_main
    from durable_responses.tools.registry import Effect, ToolContext, tool
    from durable_responses.workflows.contract import AgentInput, AgentResult

__all__ = ["AgentInput", "AgentResult", "Effect", "ToolContext", "connect", "run_main", "tool"]

# Loaded when they are asked for. An eager import here would run in Temporal's sandbox too, which would then have two
# contracts: stored histories no longer replay. No module may have one of these names.
_HOMES = {
    "AgentInput": "durable_responses.workflows.contract",
    "AgentResult": "durable_responses.workflows.contract",
    "Effect": "durable_responses.tools.registry",
    "ToolContext": "durable_responses.tools.registry",
    "connect": "durable_responses.connection",
    "run_main": "durable_responses.process",
    "tool": "durable_responses.tools.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
