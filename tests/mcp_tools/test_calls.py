"""Calls of tools of MCP servers: what is sent, and what is done when the server goes away."""

from pathlib import Path
from typing import Any

import pytest

from durable_responses.mcp_tools.calls import McpTool, OutcomeUnknown
from durable_responses.mcp_tools.effects import Treatment
from durable_responses.mcp_tools.schemas import offer_of
from durable_responses.mcp_tools.sessions import (
    NOBODY,
    NOTHING,
    Answer,
    Caller,
    CallInterrupted,
    Given,
    Progress,
    ServerTool,
    SessionOver,
    Sessions,
)
from durable_responses.tools.approvals import Action
from durable_responses.tools.registry import ArgumentsError, Effect, ToolContext, ToolError

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


class Scripted(Sessions):
    """Sessions that answer as they are told."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__({})
        self.answers = list(answers)

    async def call(
        self,
        server: str,  # noqa: ARG002 - there is one
        tool: str,  # noqa: ARG002
        arguments: dict[str, Any],  # noqa: ARG002
        progress: Progress,
        given: Given = NOTHING,  # noqa: ARG002
        caller: Caller = NOBODY,  # noqa: ARG002
    ) -> Answer:
        """The next of the answers."""
        await progress(1, 3, "on its way")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def tool(sessions: Sessions, effect: Effect, told: list[str] | None = None) -> McpTool:
    unheard: list[str] = []
    listed = ServerTool("it", "get", "", SCHEMA, "h", Treatment(effect, Action.ALLOW), offer_of(SCHEMA))
    return McpTool(sessions, listed, "it__get", effect, 10, (told if told is not None else unheard).append)


@pytest.mark.parametrize(
    ("written", "sent"),
    [("", {}), ("null", {}), ('{"a": null}', {}), ('{"a": "b"}', {"a": "b"}), ('{"b": 1}', {"b": 1})],
)
def test_arguments_are_sent_as_the_server_takes_them(written: str, sent: dict[str, Any]) -> None:
    """Which checks them itself; what a strict schema says by null is left out."""
    assert tool(Scripted(), Effect.PURE).parse(written) == sent


@pytest.mark.parametrize("written", ["{", "[1]", '"a"'])
def test_what_is_not_an_object_is_not_sent(written: str) -> None:
    with pytest.raises(ArgumentsError, match="it__get"):
        tool(Scripted(), Effect.PURE).parse(written)


@pytest.mark.parametrize("effect", [Effect.PURE, Effect.IDEMPOTENT])
@pytest.mark.parametrize("error", [CallInterrupted("it ended"), SessionOver("it has begun anew")])
async def test_a_call_that_does_no_harm_is_made_once_more(effect: Effect, error: Exception, tmp_path: Path) -> None:
    sessions = Scripted(error, Answer("done", is_error=False))
    assert await tool(sessions, effect).run({}, ToolContext(tmp_path)) == Answer("done", is_error=False)


async def test_it_is_not_made_for_ever(tmp_path: Path) -> None:
    sessions = Scripted(*[CallInterrupted("it ended") for _ in range(5)])
    with pytest.raises(ToolError, match=r"^it__get failed: it ended\.$"):
        await tool(sessions, Effect.PURE).run({}, ToolContext(tmp_path))
    assert len(sessions.answers) == 3


@pytest.mark.parametrize(
    ("error", "raised", "told"),
    [
        (CallInterrupted("it ended"), OutcomeUnknown, "^it ended$"),
        (SessionOver("it has begun anew"), ToolError, r"was not called: it has begun anew\. Call it again\.$"),
    ],
)
async def test_a_call_that_must_not_be_made_twice_is_not(
    error: Exception, raised: type[Exception], told: str, tmp_path: Path
) -> None:
    sessions = Scripted(error, Answer("done", is_error=False))
    with pytest.raises(raised, match=told):
        await tool(sessions, Effect.ONCE).run({}, ToolContext(tmp_path))
    assert len(sessions.answers) == 1


async def test_an_error_of_the_tool_is_one_and_progress_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(ToolError, match=r"^the disk is full$"):
        await tool(Scripted(Answer("the disk is full", is_error=True)), Effect.PURE, told).run(
            {}, ToolContext(tmp_path)
        )
    assert told == ["1 of 3: on its way"]
