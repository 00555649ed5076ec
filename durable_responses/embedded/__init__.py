"""The embedded stack: Temporal, emulator and worker as local processes, for users who have not configured their own.

`up` runs it in the foreground, `ensure_running` in the background, `ensure_readable` its server alone,
`stop` stops it, `running_stack` says where it is.
All state is in the state folder of the settings.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_responses.embedded.folder import running_projects
    from durable_responses.embedded.parts import PartCannotStart, temporal_command
    from durable_responses.embedded.stack import (
        StackError,
        ensure_readable,
        ensure_running,
        ensure_worker_of,
        has_records,
        jobs_here,
        kept_in_use,
        note_use,
        running_project,
        running_stack,
        stop,
    )
    from durable_responses.embedded.supervisor import StackRunning, up
    from durable_responses.embedded.temporal_cli import TemporalCliMissing, find_temporal_cli

__all__ = [
    "PartCannotStart",
    "StackError",
    "StackRunning",
    "TemporalCliMissing",
    "ensure_readable",
    "ensure_running",
    "ensure_worker_of",
    "find_temporal_cli",
    "has_records",
    "jobs_here",
    "kept_in_use",
    "note_use",
    "running_project",
    "running_projects",
    "running_stack",
    "stop",
    "temporal_command",
    "up",
]

# Loaded when they are asked for, as in `durable_responses` itself. No module may have one of these names.
_HOMES = {
    "PartCannotStart": "durable_responses.embedded.parts",
    "StackError": "durable_responses.embedded.stack",
    "StackRunning": "durable_responses.embedded.supervisor",
    "TemporalCliMissing": "durable_responses.embedded.temporal_cli",
    "ensure_readable": "durable_responses.embedded.stack",
    "ensure_running": "durable_responses.embedded.stack",
    "ensure_worker_of": "durable_responses.embedded.stack",
    "find_temporal_cli": "durable_responses.embedded.temporal_cli",
    "has_records": "durable_responses.embedded.stack",
    "jobs_here": "durable_responses.embedded.stack",
    "kept_in_use": "durable_responses.embedded.stack",
    "note_use": "durable_responses.embedded.stack",
    "running_project": "durable_responses.embedded.stack",
    "running_projects": "durable_responses.embedded.folder",
    "running_stack": "durable_responses.embedded.stack",
    "stop": "durable_responses.embedded.stack",
    "temporal_command": "durable_responses.embedded.parts",
    "up": "durable_responses.embedded.supervisor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
