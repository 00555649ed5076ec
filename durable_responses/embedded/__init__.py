"""The embedded stack: Temporal, emulator and worker as local processes, for whoever has configured none.

`up` runs it in the foreground, `ensure_running` has it in the background, `stop` ends it, `running_stack` tells where
it is. All state is in the state folder of the settings.
"""

from durable_responses.embedded.parts import PartCannotStart, temporal_command
from durable_responses.embedded.stack import StackError, ensure_running, running_stack, stop
from durable_responses.embedded.supervisor import StackRunning, up
from durable_responses.embedded.temporal_cli import TemporalCliMissing, find_temporal_cli

__all__ = [
    "PartCannotStart",
    "StackError",
    "StackRunning",
    "TemporalCliMissing",
    "ensure_running",
    "find_temporal_cli",
    "running_stack",
    "stop",
    "temporal_command",
    "up",
]
