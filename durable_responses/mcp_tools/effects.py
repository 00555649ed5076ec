"""What running a tool of an MCP server again would do, and whether its owner is asked first. No I/O.

Annotations are hints of a stranger: they count only for a server that the configuration trusts so far. What it says of
a tool itself counts before that.
"""

from typing import NamedTuple

from durable_responses.mcp_tools.configuration import McpServer, Trust
from durable_responses.tools.approvals import Action
from durable_responses.tools.registry import Effect

_STRICTEST = list(Action)


class Hints(NamedTuple):
    """A tool's annotations; None where the server says nothing."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None


class Treatment(NamedTuple):
    """How calls of a tool are treated. `approval` is what holds where no rule is about the call."""

    effect: Effect
    approval: Action


def treatment_of(server: McpServer, tool: str, hints: Hints) -> Treatment:
    """How calls of a server's tool are treated."""
    known = server.override_of(tool)
    hinted = _hinted(hints) if server.trust is Trust.ANNOTATIONS else Treatment(Effect.ONCE, Action.ASK)
    effect = known.effect or hinted.effect
    approval = known.approval or server.approval
    if approval is None:
        approval = Action.ALLOW if effect is Effect.PURE else hinted.approval
    return Treatment(effect, approval)


def _hinted(hints: Hints) -> Treatment:
    if hints.read_only:
        return Treatment(Effect.PURE, Action.ALLOW)
    effect = Effect.IDEMPOTENT if hints.idempotent else Effect.ONCE
    return Treatment(effect, Action.ALLOW if hints.destructive is False else Action.ASK)


def stricter(one: Action, other: Action) -> Action:
    """The stricter of two actions."""
    return max(one, other, key=_STRICTEST.index)
