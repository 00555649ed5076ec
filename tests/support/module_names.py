"""A tool module that tells, when a worker loads it, the names of the modules that the worker has loaded."""

import sys

from durable_responses import Effect, tool

print("loaded:", *sorted(sys.modules), flush=True)


@tool(effect=Effect.PURE)
def nothing() -> str:
    """A module without a tool is refused."""
    return ""
