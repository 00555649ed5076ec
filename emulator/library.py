"""The built-in scenarios."""

from typing import Any

from pydantic import Field

from emulator.agent import agent
from emulator.conversation import Conversation
from emulator.scenarios import BuiltIn, Parameters
from emulator.script import FunctionCallStep, Step, Text, Turn


class Think(Parameters):
    """`seconds` of thought that cost `tokens`; then `text`."""

    seconds: float = Field(1.0, ge=0)
    tokens: int | None = None
    text: str = "Done thinking."


def think(_: Conversation, given: Think) -> Turn:
    """Thinks, and then says a word."""
    summary = ["Thinking it over."]
    output: list[Step] = [Text(text=given.text)]
    return Turn(think=given.seconds, reasoning_tokens=given.tokens, summary=summary, write=0, output=output)


class Calls(Parameters):
    """`iterations` rounds of `parallel` calls of `tool` with `arguments` (JSON), each after `think` seconds.

    `{iteration}` and `{call}` in the arguments become the numbers, from 1. The last round answers with `text`.
    """

    iterations: int = Field(1, ge=0)
    parallel: int = Field(1, ge=1)
    tool: str = ""
    arguments: str = "{}"
    think: float = Field(0.0, ge=0)
    text: str = "All calls are answered."


def calls(conversation: Conversation, given: Calls) -> Turn:
    """Calls a tool so many times, and answers."""
    iteration = conversation.rounds + 1
    if iteration > given.iterations:
        return Turn(think=given.think, write=0, output=[Text(text=given.text)])
    tool = given.tool or next(iter(conversation.functions), "no_such_tool")
    output: list[Step] = []
    for call in range(1, given.parallel + 1):
        arguments = given.arguments.replace("{iteration}", str(iteration)).replace("{call}", str(call))
        output.append(FunctionCallStep(name=tool, arguments=arguments))
    return Turn(think=given.think, write=0, output=output)


def echo(conversation: Conversation, _: Parameters) -> Turn:
    """Answers with the text of the newest input."""
    return Turn(write=0, output=[Text(text=conversation.last_text)])


BUILT_IN: list[BuiltIn[Any]] = [
    BuiltIn("agent", Parameters, agent),
    BuiltIn("echo", Parameters, echo),
    BuiltIn("think", Think, think),
    BuiltIn("calls", Calls, calls),
]
DEFAULT = "agent"
