"""A tool of an MCP server as the activity calls it that runs a worker's own tools."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from durable_responses.mcp_tools.schemas import for_server
from durable_responses.mcp_tools.sessions import (
    NOBODY,
    NOTHING,
    Answer,
    Caller,
    CallInterrupted,
    Given,
    ServerTool,
    SessionOver,
    Sessions,
    TooLate,
)
from durable_responses.tools.registry import Effect, ToolContext, ToolError, object_of

_MOST_TRIES = 2


class OutcomeUnknown(Exception):
    """The call was made, and nobody knows what has become of it; the text says why, as the end of a sentence."""


@dataclass(frozen=True)
class McpTool:
    """One tool, as it was when its run began. `told` is called whenever the server says how far it has come."""

    sessions: Sessions
    listed: ServerTool
    name: str
    effect: Effect
    timeout: float
    told: Callable[[str], None]
    given: Given = NOTHING
    caller: Caller = NOBODY
    is_async: bool = True

    def parse(self, arguments: str) -> dict[str, Any]:
        """The arguments as the server takes them, which checks them itself. Raises `ArgumentsError`."""
        given = object_of(arguments, self.name)
        offer = self.listed.offer
        return for_server(given, dict(self.listed.schema)) if offer and offer.strict else given

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> Answer:  # noqa: ARG002 - nothing of it is sent
        """What the server answers. Raises `ToolError`, and `OutcomeUnknown` where a call must not be repeated.

        `AsksFirst` where the server wants answers before, `SessionReplaced` where its session is another one by now.
        """
        given = self.given
        for tries in range(1, _MOST_TRIES + 1):
            try:
                answer = await self.sessions.call(
                    self.listed.server, self.listed.name, arguments, self._progress, given, self.caller
                )
                break
            except CallInterrupted as error:
                given = replace(given, held=None)
                if self.effect is Effect.ONCE and isinstance(error, TooLate):
                    raise ToolError(f"{error}\n\n(Its server did not wait for its owner's answer.)") from None
                if self.effect is Effect.ONCE and isinstance(error, SessionOver):
                    raise ToolError(f"{self.name} was not called: {error}. Call it again.") from None
                if self.effect is Effect.ONCE:
                    raise OutcomeUnknown(str(error)) from None
                if tries == _MOST_TRIES:
                    raise ToolError(f"{self.name} failed: {error}.") from None
        if answer.is_error:
            raise ToolError(answer.text)
        return answer

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        of = f" of {total:g}" if total is not None else ""
        self.told(f"{progress:g}{of}{f': {message}' if message else ''}")
