"""Conversations with the scripted model, without a server: requests, and the answers of its calls."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from durable_responses.emulator.model.conversation import Conversation
from durable_responses.emulator.model.library import BUILT_IN, DEFAULT
from durable_responses.emulator.model.scenarios import ScenarioBook
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.emulator.objects.request_bodies import CreateBody, Item, input_items


def book() -> ScenarioBook:
    """The built-in scenarios."""
    return ScenarioBook(BUILT_IN, DEFAULT)


def request(said: str = "Hello.", /, **fields: Any) -> CreateBody:
    """A request, as the API would read it."""
    return CreateBody.model_validate({"model": "gpt-5.4", "input": said, **fields})


def conversation(said: str = "Hello.", /, before: list[Item] | None = None, **fields: Any) -> Conversation:
    """A request in its context."""
    asked = request(said, **fields)
    return Conversation(asked, before or [], input_items(asked.input))


def said(script: Script) -> str:
    """The text that a script says."""
    return "".join(step.text for step in script.output if isinstance(step, Text))


def called(script: Script) -> list[FunctionCallStep]:
    """The function calls of a script."""
    return [step for step in script.output if isinstance(step, FunctionCallStep)]


async def ok(_: str, __: str) -> str:
    """The answer of a function that does nothing."""
    return "ok"


async def run(task: str, answer: Callable[[str, str], Awaitable[str]] = ok, /, **fields: Any) -> list[Script]:
    """All responses of a run whose calls are answered by `answer(name, arguments)`, the last one being the answer."""
    before: list[Item] = []
    new = input_items(task)
    scripts: list[Script] = []
    while not scripts or called(scripts[-1]):
        scripts.append(book().respond(Conversation(request(task, **fields), before, new)))
        before = [*before, *new]
        new = []
        for number, call in enumerate(called(scripts[-1])):
            call_id = f"call_{len(scripts)}_{number}"
            arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
            before.append({"type": "function_call", "call_id": call_id, "name": call.name, "arguments": arguments})
            output = await answer(call.name, arguments)
            new.append({"type": "function_call_output", "call_id": call_id, "output": output})
        assert len(scripts) < 20, "the run does not end"
    return scripts
