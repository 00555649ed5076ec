"""Function tools whose runs are counted, and which end when the test opens their gate.

Named in `AGENT_TOOL_MODULES` of a worker under test. They share nothing but files in the workspace with the test, so
that both survive the worker.
"""

import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path

from durable_responses.tools.registry import Effect, ToolContext, tool

ALL_OPEN = "all-gates-are-open"


@dataclass(frozen=True)
class Gate:
    """The test's side of one call: has it begun, how often, and may it end?"""

    workspace: Path
    name: str

    @property
    def runs(self) -> int:
        """How often the call was begun."""
        return len(self._begun.read_text().splitlines()) if self._begun.exists() else 0

    async def has_begun(self) -> bool:
        """Whether the call was begun."""
        return self.runs > 0

    def open(self) -> None:
        """Let the call end, and every later one."""
        self._opened.touch()

    @staticmethod
    def open_all(workspace: Path) -> None:
        """Open every gate, those included that no call has come to yet."""
        (workspace / ALL_OPEN).touch()

    def pass_through(self) -> str:
        """The tool's side: leave a mark, then wait for the gate."""
        with self._begun.open("a") as begun:
            begun.write(f"{os.getpid()}\n")
        while not (self._opened.exists() or (self.workspace / ALL_OPEN).exists()):
            time.sleep(0.02)
        return f"The gate {self.name} is open."

    @property
    def _begun(self) -> Path:
        return self.workspace / f"{self.name}.begun"

    @property
    def _opened(self) -> Path:
        return self.workspace / f"{self.name}.opened"


@tool(effect=Effect.PURE)
def look(gate: str, context: ToolContext) -> str:
    """Wait for a gate without changing anything."""
    return Gate(context.workspace, gate).pass_through()


@tool(effect=Effect.IDEMPOTENT)
def put(gate: str, context: ToolContext) -> str:
    """Wait for a gate, changing something that a second run would change likewise."""
    return Gate(context.workspace, gate).pass_through()


@tool(effect=Effect.ONCE)
def send(gate: str, context: ToolContext) -> str:
    """Wait for a gate, doing something that must not be done twice."""
    return Gate(context.workspace, gate).pass_through()


@tool(effect=Effect.PURE)
async def block(gate: str, context: ToolContext) -> str:
    """Wait for a gate as an async tool must not: its event loop stands still."""
    return Gate(context.workspace, gate).pass_through()


@tool(effect=Effect.PURE)
def seize(gate: str, context: ToolContext) -> str:
    """Stop all threads of the process for eight seconds, as an extension that never lets go of the interpreter does."""
    passed = Gate(context.workspace, gate)
    is_first = passed.runs == 0
    said = passed.pass_through()
    if is_first:
        ctypes.PyDLL(None).sleep(8)
    return said
