"""Function tools: how a typed Python function becomes one, and the set of those that a worker offers.

    from typing import Annotated

    from pydantic import Field
    from durable_responses import Effect, tool

    @tool(effect=Effect.PURE, timeout=10)
    def count_words(text: Annotated[str, Field(description="What to count in.")]) -> int:
        '''Count the words of a text.'''
        return len(text.split())

Name the module in `AGENT_TOOL_MODULES` and the model may call it. An `async def` function must not block: it shares
its event loop, one for tools alone, with other calls. A plain `def` runs in a thread of its own.
"""

import asyncio
import contextvars
import importlib
import inspect
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Generic, ParamSpec, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import from_json, to_json

from durable_responses.json_text import mended_json
from durable_responses.tools.strict_schema import UnsupportedSchemaError, strict_schema, with_defaults_for_nulls

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_TIMEOUT = 60.0
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SHOWN_ERRORS = 20
SHOWN_INPUT = 100

# Exception
# ├── ToolError              what the model reads when a call fails
# │   └── ArgumentsError     the model's arguments are not what the function takes
# └── RegistryError          a worker cannot offer the tools that it should
#     ├── UnusableToolError  a function that cannot be a tool
#     └── UnknownToolError   a name that no tool has


class ToolError(Exception):
    """Raise it in a tool to tell the model, in your own words, what went wrong and what to do instead."""


class ArgumentsError(ToolError):
    """The arguments of a call do not fit the function; the text says which, and why."""


class RegistryError(Exception):
    """The tools of a worker cannot be put together; one sentence names the module or the tool."""


class UnusableToolError(RegistryError):
    """A function cannot be offered as a tool."""


class UnknownToolError(RegistryError):
    """No tool has one of these names. `names` are the unknown ones, `known` those there are."""

    def __init__(self, names: list[str], known: list[str]) -> None:
        available = ", ".join(known) or "none"
        super().__init__(f"There is no tool named {', '.join(map(repr, names))}; available tools: {available}.")
        self.names = names
        self.known = known


class Effect(StrEnum):
    """What running a call again would do. Decides whether it may be repeated after a crash."""

    PURE = "pure"
    """It only reads."""
    IDEMPOTENT = "idempotent"
    """A second run leaves the world as the first one did."""
    ONCE = "once"
    """It must never run twice: after an interruption its outcome is unknown."""


@dataclass(frozen=True)
class ToolContext:
    """What the worker passes to a tool that has a parameter of this type. The model does not see that parameter."""

    workspace: Path
    """The folder that file tools may use."""
    allow_private_addresses: bool = False
    """Whether web tools may connect to private and loopback addresses."""
    allow_hidden_files: bool = False
    """Whether file tools may write files and folders whose names begin with a dot."""
    idempotency_key: str = ""
    """The same for every attempt of one call, different for every other call."""
    run: str = ""
    """The job id of the run that calls it."""


@dataclass(frozen=True, eq=False)
class Tool(Generic[P, R]):
    """A function that the model may call. Calling it in Python calls the function."""

    function: Callable[P, R]
    name: str
    description: str
    parameters: dict[str, Any]
    """The strict JSON schema of the arguments."""
    effect: Effect
    timeout: float
    """Seconds that one call may take."""
    arguments: type[BaseModel] = field(repr=False)
    context_parameter: str | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as it was written."""
        return self.function(*args, **kwargs)

    @property
    def is_async(self) -> bool:
        """Whether a running call can be cancelled; a thread cannot."""
        return inspect.iscoroutinefunction(self.function)

    def parse(self, arguments: str) -> dict[str, Any]:
        """The keyword arguments that the model's JSON text stands for. Raises `ArgumentsError`; nothing is guessed.

        No text, or `null`, is what some models write for no arguments.
        """
        model = self._read(arguments)
        return {info.alias or name: getattr(model, name) for name, info in self.arguments.model_fields.items()}

    def effective(self, arguments: str) -> Any:
        """The same as a JSON value: with defaults filled in, in the form that the function takes. Raises `ValueError`
        for what is not JSON, and `ArgumentsError`.
        """
        return self._read(arguments).model_dump(mode="json", by_alias=True)

    def _read(self, arguments: str) -> BaseModel:
        given = object_of(arguments, self.name)
        try:
            return with_defaults_for_nulls(self.arguments.model_validate_json, to_json(given))
        except ValidationError as error:
            raise ArgumentsError(f"The arguments of {self.name} do not fit:\n{_explain(error)}") from error

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> str:
        """Run the function with parsed arguments: text as it is, anything else as JSON. Raises what it raises."""
        if self.context_parameter:
            arguments = {**arguments, self.context_parameter: context}
        call: Callable[[], Any] = partial(self.function, **arguments)
        try:
            return _as_text(await (call() if self.is_async else _in_thread(call, self.name)))
        except (SystemExit, KeyboardInterrupt) as error:
            # Let through, it would end the worker.
            raise ToolError(f"{self.name} tried to end the process ({type(error).__name__}).") from error


_WAS_CUT = re.compile(r"\n\[cut: the first \d+ of \d+ characters\]\Z")
_LONGEST_NOTE = 80  # characters


def object_of(arguments: str, name: str) -> dict[str, Any]:
    """The JSON object that the model wrote as the arguments of a tool. Raises `ArgumentsError`.

    No text, or `null`, is what some models write for no arguments.
    """
    try:
        given = from_json(mended_json(arguments) if arguments.strip() else "{}", allow_inf_nan=False)
    except ValueError as error:
        if _WAS_CUT.search(arguments[-_LONGEST_NOTE:]):
            raise ArgumentsError(
                f"The arguments of {name} are too long to be taken whole. Send less at once."
            ) from error
        raise ArgumentsError(f"The arguments of {name} are not valid JSON ({error}). Send one JSON object.") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ArgumentsError(f"The arguments of {name} must be one JSON object, not {type(given).__name__}.")
    return given


def tool(*, effect: Effect, timeout: float = DEFAULT_TIMEOUT) -> Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a function tool of a function with typed parameters and a docstring.

    The docstring tells the model what the tool does; parameters are described by `Annotated[…, Field(description=…)]`
    or in an `Args:` section. A parameter with a default may be left out by the model. A parameter of type
    `ToolContext` is filled in by the worker. `timeout` is in seconds. Raises `UnusableToolError`.
    """
    return partial(_make_tool, effect=effect, timeout=timeout)


class Registry:
    """The tools that a worker offers, by name."""

    def __init__(self, tools: Iterable[Tool[..., Any]]) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        for each in tools:
            other = self._tools.setdefault(each.name, each)
            if other is not each:
                raise RegistryError(
                    f"Two tools are named {each.name!r}, in {_origin(other)} and {_origin(each)}; rename one."
                )

    @classmethod
    def from_modules(cls, modules: Iterable[str]) -> "Registry":
        """All tools defined in, or imported into, these modules. Raises `RegistryError` naming the module."""
        return cls(each for module in modules for each in _tools_in(_import(module)))

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._tools)

    def __getitem__(self, name: str) -> Tool[..., Any]:
        return self.select([name])[0]

    def select(self, names: Iterable[str] | None = None) -> list[Tool[..., Any]]:
        """The tools of these names, all of them for None, sorted by name. Raises `UnknownToolError`."""
        wanted = self.names if names is None else sorted(set(names))
        if unknown := [name for name in wanted if name not in self._tools]:
            raise UnknownToolError(unknown, self.names)
        return [self._tools[name] for name in wanted]


# --- from modules ------------------------------------------------------------------------------------------------


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise RegistryError(f"AGENT_TOOL_MODULES names {module!r}, which cannot be imported: {why}") from error


def _tools_in(module: ModuleType) -> list[Tool[..., Any]]:
    found = [value for value in vars(module).values() if isinstance(value, Tool)]
    if not found:
        raise RegistryError(f"AGENT_TOOL_MODULES names {module.__name__!r}, which has no function decorated by @tool.")
    return found


def _origin(each: Tool[..., Any]) -> str:
    return f"{each.function.__module__}.{each.function.__qualname__}"


# --- from functions ----------------------------------------------------------------------------------------------


def _make_tool(function: Callable[P, R], *, effect: Effect, timeout: float) -> Tool[P, R]:
    name = function.__name__
    description, described = _read_docstring(inspect.getdoc(function) or "")
    _check(function, description, timeout)
    hints = _hints(function)
    arguments = _arguments_model(function, hints, described)
    try:
        parameters = strict_schema(arguments.model_json_schema())
    except UnsupportedSchemaError as error:
        raise UnusableToolError(f"Tool {name!r}: parameter {error.where!r} {error.reason}") from error
    context = [parameter for parameter, hint in hints.items() if hint is ToolContext]
    return Tool(function, name, description, parameters, effect, timeout, arguments, context[0] if context else None)


def _check(function: Callable[..., Any], description: str, timeout: float) -> None:
    name = function.__name__
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise UnusableToolError(f"Tool {name!r} is not a plain function; decorate a `def` or `async def`.")
    if not NAME.fullmatch(name):
        raise UnusableToolError(f"Tool {name!r}: a name has at most 64 of the characters A-Z, a-z, 0-9 and _.")
    if not description:
        raise UnusableToolError(f"Tool {name!r} has no docstring; the model needs one to know what it does.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UnusableToolError(f"Tool {name!r} is a generator; return the whole result.")
    if not timeout > 0:
        raise UnusableToolError(f"Tool {name!r}: timeout {timeout} must be above 0 seconds.")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise UnusableToolError(
            f"Tool {function.__name__!r}: an annotation cannot be resolved ({error}); define its types in the module."
        ) from error
    hints.pop("return", None)
    return hints


def _arguments_model(function: Callable[..., Any], hints: dict[str, Any], described: dict[str, str]) -> type[BaseModel]:
    """The model's arguments as pydantic fields. They go by alias, since a field could not be called `json` or `_x`."""
    fields: dict[str, Any] = {}
    for index, parameter in enumerate(inspect.signature(function).parameters.values()):
        _check_parameter(function.__name__, parameter, hints)
        if hints[parameter.name] is ToolContext:
            continue
        hint = hints[parameter.name]
        if text := described.get(parameter.name):
            hint = Annotated[hint, Field(description=text)]
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[f"argument_{index}"] = (hint, Field(default, alias=parameter.name))
    # Strict: "5" is not 5, and what is wrong goes back to the model.
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _check_parameter(name: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise UnusableToolError(f"Tool {name!r}: parameter {str(parameter)!r} cannot be given by name.")
    if parameter.name not in hints:
        raise UnusableToolError(f"Tool {name!r}: parameter {parameter.name!r} has no type annotation.")
    if hints[parameter.name] is ToolContext:
        return
    try:
        create_model(name, argument=(hints[parameter.name], ...)).model_json_schema()
    except PydanticUserError as error:
        reason = str(error).splitlines()[0]
        raise UnusableToolError(
            f"Tool {name!r}: parameter {parameter.name!r} has a type without a JSON schema ({reason})"
        ) from error


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description without its `Args:` section, and that section's texts by parameter (Google style)."""
    lines = text.splitlines()
    starts = [index for index, line in enumerate(lines) if line.strip() in ("Args:", "Arguments:")]
    if not starts:
        return text.strip(), {}
    start = starts[0]
    end = next((i for i in range(start + 1, len(lines)) if lines[i] and not lines[i][0].isspace()), len(lines))
    description = "\n".join([*lines[:start], *lines[end:]]).strip()
    return description, _read_args(inspect.cleandoc("\n" + "\n".join(lines[start + 1 : end])).splitlines())


def _read_args(lines: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    name = ""
    for line in lines:
        if entry := re.match(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)", line):
            name, texts[entry[1]] = entry[1], entry[2]
        elif name:
            texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts


# --- one call ----------------------------------------------------------------------------------------------------


def _explain(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False)
    lines = []
    for detail in details[:SHOWN_ERRORS]:
        where = ".".join(map(str, detail["loc"]))
        got = "" if detail["type"] in ("missing", "extra_forbidden") else f" (got {_shown(detail['input'])})"
        lines.append(f"- {where}: {detail['msg']}{got}")
    if len(details) > SHOWN_ERRORS:
        lines.append(f"- and {len(details) - SHOWN_ERRORS} more")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    text = to_json(value).decode()
    return text if len(text) <= SHOWN_INPUT else f"{text[:SHOWN_INPUT]}…"


def _as_text(result: Any) -> str:
    return result if isinstance(result, str) else to_json(result).decode()


async def _in_thread(call: Callable[[], Any], name: str) -> Any:
    """Run a blocking call in a daemon thread of its own.

    Not in a pool: a call that hangs would hold one of its few threads for ever, and keep the process from exiting.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if not outcome.done():
            outcome.set_result((result, error))

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(call)
        except BaseException as raised:
            error = raised
        # A call that was given up may end after its loop has.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=f"tool {name}", daemon=True).start()
    result, error = await outcome
    if error is not None:
        raise error
    return result
