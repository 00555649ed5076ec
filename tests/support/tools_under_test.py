"""Tools that behave in the ways a run has to cope with. Those that must be counted write to the workspace."""

import asyncio
import threading
from typing import Annotated

from pydantic import Field

from durable_responses.tools.registry import Effect, ToolContext, tool


@tool(effect=Effect.PURE)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(effect=Effect.PURE)
def raise_error() -> str:
    """Fail."""
    raise RuntimeError("the disk is on fire")


@tool(effect=Effect.PURE, timeout=0.2)
async def never_end() -> str:
    """Run into the tool's own timeout."""
    await asyncio.Event().wait()
    return "unreachable"


@tool(effect=Effect.PURE)
async def wait_long(context: ToolContext) -> str:
    """Run until cancelled, and leave a file then."""
    (context.workspace / "started").touch()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        (context.workspace / "cancelled").touch()
        raise
    return "unreachable"


@tool(effect=Effect.PURE, timeout=30)
def block(context: ToolContext, seconds: Annotated[float, Field(description="How long.")]) -> str:
    """Block a thread, which nobody can stop."""
    (context.workspace / "started").touch()
    threading.Event().wait(seconds)
    return "done"


@tool(effect=Effect.PURE)
def return_megabytes(megabytes: int) -> str:
    """Return far too much."""
    return "x" * (megabytes * 1024 * 1024)


@tool(effect=Effect.PURE)
def return_control_characters(count: int) -> str:
    """Return text of which each character takes six bytes in JSON."""
    return "\x01" * count
