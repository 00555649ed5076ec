"""The tools of a run that a Python program starts: names of the worker's, and functions of the program's own."""

import asyncio
import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from durable_responses.activities.messages import CallerTool
from durable_responses.jobs.job_errors import InvalidInput
from durable_responses.tools.registry import Effect, Registry, RegistryError, Tool, tool
from durable_responses.worker.offered_tools import TOOL_MODULES

GivenTool = str | Callable[..., Any]

_AS_LONG_AS_THE_RUN_ALLOWS = 86400.0  # seconds: what `tool_timeout` can be at most


@dataclass(frozen=True)
class GivenTools:
    """What was given as `tools`: `names` for the worker, None for all of its; `functions` for this program."""

    names: list[str] | None = None
    functions: tuple[Tool[..., Any], ...] = ()

    def for_callers(self, task_queue: str) -> list[CallerTool]:
        """The functions as the input of a run has them."""
        return [
            CallerTool(
                name=each.name,
                description=each.description,
                parameters=each.parameters,
                task_queue=task_queue,
                effect=each.effect,
            )
            for each in self.functions
        ]


def given_tools(given: Sequence[GivenTool] | None, loop: asyncio.AbstractEventLoop | None = None) -> GivenTools:
    """The tools that were given. A function without `@tool` must not run twice (`once`). Raises `InvalidInput`.

    Async functions are run in `loop`, the one of the program, as long as it runs.
    """
    if given is None:
        return GivenTools()
    if isinstance(given, str) or callable(given) or not isinstance(given, Sequence):
        raise InvalidInput("tools must be a list of functions, and of names of the worker's tools.")
    built_in = Registry.from_modules(TOOL_MODULES) if any(not isinstance(each, str) for each in given) else Registry([])
    names, functions = [], {}
    for each in given:
        if isinstance(each, str):
            names.append(each)
            continue
        made = _tool_of(each)
        if made.name in built_in.names:
            if built_in[made.name] is not made:
                raise InvalidInput(f"tools: there is a built-in tool named {made.name!r}; rename the function.")
            names.append(made.name)
        elif made.name in functions:
            raise InvalidInput(f"tools: two functions are named {made.name!r}; rename one.")
        else:
            functions[made.name] = _on(loop, made) if loop is not None and made.is_async else made
    if twice := sorted(functions.keys() & set(names)):
        raise InvalidInput(f"tools: {twice[0]!r} is given as a name and as a function; rename the function.")
    return GivenTools(names, tuple(functions.values()))


def _tool_of(given: Any) -> Tool[..., Any]:
    if isinstance(given, Tool):
        return given
    if not inspect.isroutine(given):
        raise InvalidInput(f"tools: {given!r:.80} is neither a function nor the name of a tool.")
    try:
        return tool(effect=Effect.ONCE, timeout=_AS_LONG_AS_THE_RUN_ALLOWS)(given)
    except RegistryError as error:
        raise InvalidInput(f"tools: {error}") from None


def _on(loop: asyncio.AbstractEventLoop, made: Tool[..., Any]) -> Tool[..., Any]:
    """The tool, called where whatever the program uses in it belongs: clients, locks, pools."""
    function = made.function

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not loop.is_running():
            return await function(*args, **kwargs)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(function(*args, **kwargs), loop))

    return dataclasses.replace(made, function=call)
