"""The embedded stack: Temporal, emulator and worker as local processes, for whoever has configured none."""

from embedded.parts import temporal_command
from embedded.temporal_cli import TemporalCliMissing, find_temporal_cli

__all__ = ["TemporalCliMissing", "find_temporal_cli", "temporal_command"]
