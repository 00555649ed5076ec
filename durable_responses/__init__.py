"""The runtime for expensive OpenAI responses. What a user imports is here; everything else is in the sub-packages.

from durable_responses import run, start, attach, run_sync, tool, Effect, ToolContext

and what they return, raise and tell, besides `AgentInput`, `connect` and `run_main` for Temporal's own client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_responses.connection import connect
    from durable_responses.errors import DurableResponsesError
    from durable_responses.jobs.job_errors import (
        InvalidInput,
        JobError,
        JobExists,
        JobNotFound,
        TemporalNotAnswering,
    )
    from durable_responses.process import run_main
    from durable_responses.python.api import attach, run, run_sync, start
    from durable_responses.python.events import (
        CallEnded,
        CallStarted,
        Ended,
        Event,
        InputRequested,
        IterationStarted,
        ResponseChanged,
        TextWritten,
        Waiting,
    )
    from durable_responses.python.job import Job
    from durable_responses.python.outcomes import (
        OutputInvalid,
        RunCancelled,
        RunError,
        RunFailed,
        RunIncomplete,
        RunResult,
    )
    from durable_responses.settings import SetupError
    from durable_responses.tools.registry import Effect, ToolContext, ToolError, tool
    from durable_responses.workflows.contract import AgentInput, AgentResult

__all__ = [
    "AgentInput",
    "AgentResult",
    "CallEnded",
    "CallStarted",
    "DurableResponsesError",
    "Effect",
    "Ended",
    "Event",
    "InputRequested",
    "InvalidInput",
    "IterationStarted",
    "Job",
    "JobError",
    "JobExists",
    "JobNotFound",
    "OutputInvalid",
    "ResponseChanged",
    "RunCancelled",
    "RunError",
    "RunFailed",
    "RunIncomplete",
    "RunResult",
    "SetupError",
    "TemporalNotAnswering",
    "TextWritten",
    "ToolContext",
    "ToolError",
    "Waiting",
    "attach",
    "connect",
    "run",
    "run_main",
    "run_sync",
    "start",
    "tool",
]

# Loaded when they are asked for. An eager import here would run in Temporal's sandbox too, which would then have two
# contracts: stored histories no longer replay. No module may have one of these names.
_HOMES = {
    "AgentInput": "durable_responses.workflows.contract",
    "AgentResult": "durable_responses.workflows.contract",
    "CallEnded": "durable_responses.python.events",
    "CallStarted": "durable_responses.python.events",
    "DurableResponsesError": "durable_responses.errors",
    "Effect": "durable_responses.tools.registry",
    "Ended": "durable_responses.python.events",
    "Event": "durable_responses.python.events",
    "InputRequested": "durable_responses.python.events",
    "InvalidInput": "durable_responses.jobs.job_errors",
    "IterationStarted": "durable_responses.python.events",
    "Job": "durable_responses.python.job",
    "JobError": "durable_responses.jobs.job_errors",
    "JobExists": "durable_responses.jobs.job_errors",
    "JobNotFound": "durable_responses.jobs.job_errors",
    "OutputInvalid": "durable_responses.python.outcomes",
    "ResponseChanged": "durable_responses.python.events",
    "RunCancelled": "durable_responses.python.outcomes",
    "RunError": "durable_responses.python.outcomes",
    "RunFailed": "durable_responses.python.outcomes",
    "RunIncomplete": "durable_responses.python.outcomes",
    "RunResult": "durable_responses.python.outcomes",
    "SetupError": "durable_responses.settings",
    "TemporalNotAnswering": "durable_responses.jobs.job_errors",
    "TextWritten": "durable_responses.python.events",
    "ToolContext": "durable_responses.tools.registry",
    "ToolError": "durable_responses.tools.registry",
    "Waiting": "durable_responses.python.events",
    "attach": "durable_responses.python.api",
    "connect": "durable_responses.connection",
    "run": "durable_responses.python.api",
    "run_main": "durable_responses.process",
    "run_sync": "durable_responses.python.api",
    "start": "durable_responses.python.api",
    "tool": "durable_responses.tools.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
