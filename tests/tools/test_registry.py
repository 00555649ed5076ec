"""Functions as tools: what the model is told, what it may send, what it gets back."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from durable_responses.tools.registry import (
    ArgumentsError,
    Effect,
    Registry,
    RegistryError,
    Tool,
    ToolContext,
    ToolError,
    UnknownToolError,
    UnusableToolError,
    tool,
)

CONTEXT = ToolContext(workspace=Path("somewhere"), idempotency_key="run:call")


class Unit(StrEnum):
    METRE = "m"
    FOOT = "ft"


class Point(BaseModel):
    x: float
    y: float = 0


async def called(each: Tool[..., Any], arguments: str, context: ToolContext = CONTEXT) -> str:
    return await each.run(each.parse(arguments), context)


@tool(effect=Effect.PURE)
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first number.
        b (int): The second number,
            if there is one.

    Returns:
        Their sum.
    """
    return a + b


# --- what the model is told --------------------------------------------------------------------------------------


def test_name_description_and_parameters_come_from_the_function() -> None:
    assert add.name == "add"
    assert add.description == "Add two numbers.\n\nReturns:\n    Their sum."
    assert add.parameters == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "The first number."},
            "b": {
                "anyOf": [{"type": "integer"}, {"type": "null"}],
                "description": "The second number, if there is one. (null means 1)",
            },
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }


def test_a_parameter_is_described_by_its_annotation() -> None:
    @tool(effect=Effect.PURE)
    def shout(text: Annotated[str, Field(description="What to shout.")]) -> str:
        """Shout."""
        return text.upper()

    assert shout.parameters["properties"]["text"]["description"] == "What to shout."


def test_the_context_is_not_shown_to_the_model() -> None:
    @tool(effect=Effect.PURE)
    def where(context: ToolContext) -> str:
        """Tell where."""
        return str(context.workspace)

    assert where.parameters == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_a_tool_is_still_a_function() -> None:
    assert add(2, b=3) == 5


def test_parameters_may_have_the_names_of_pydantics_own_attributes() -> None:
    @tool(effect=Effect.PURE)
    def odd(json: str, model_config: str, _private: str) -> str:
        """Join."""
        return json + model_config + _private

    assert odd.parse('{"json": "a", "model_config": "b", "_private": "c"}') == {
        "json": "a",
        "model_config": "b",
        "_private": "c",
    }


# --- what the model may send -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"), [('{"a": 2, "b": 3}', 5), ('{"a": 2}', 3), ('{"a": 2, "b": null}', 3)]
)
async def test_null_stands_for_a_default(arguments: str, expected: int) -> None:
    assert await called(add, arguments) == str(expected)


async def test_null_stands_for_a_default_inside_of_models_too() -> None:
    @tool(effect=Effect.PURE)
    def total(points: list[Point], extra: Point | None = None) -> float:
        """Sum."""
        return sum(p.x + p.y for p in [*points, *([extra] if extra else [])])

    assert await called(total, '{"points": [{"x": 1, "y": null}], "extra": {"x": 2, "y": null}}') == "3.0"


def test_values_arrive_as_the_declared_types() -> None:
    @tool(effect=Effect.PURE)
    def place(point: Point, unit: Unit, folder: Path) -> None:
        """Place."""

    assert place.parse('{"point": {"x": 1, "y": 2}, "unit": "ft", "folder": "a/b"}') == {
        "point": Point(x=1, y=2),
        "unit": Unit.FOOT,
        "folder": Path("a/b"),
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "- a: Field required"),
        ("{a: 1}", "not valid JSON"),
        ('{"a": "xx\n[cut: the first 655340 of 2000009 characters]', "too long to be taken whole. Send less"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": NaN}', "not valid JSON"),
        (r'{"a": "\ud800"}', '- a: Input should be a valid integer (got "\ufffd")'),
        ("[1]", "must be one JSON object, not list"),
        ("null", "- a: Field required"),
        ("{}", "- a: Field required"),
        ('{"a": "2"}', '- a: Input should be a valid integer (got "2")'),
        ('{"a": null}', "- a: Input should be a valid integer (got null)"),
        ('{"a": 1, "c": 2}', "- c: Extra inputs are not permitted"),
    ],
)
def test_arguments_are_never_guessed(arguments: str, told: str) -> None:
    """A12: the model reads what was wrong with its arguments."""
    with pytest.raises(ArgumentsError) as caught:
        add.parse(arguments)
    assert told in str(caught.value)


def test_an_error_text_does_not_repeat_large_arguments() -> None:
    with pytest.raises(ArgumentsError) as caught:
        add.parse('{"a": "%s"}' % ("x" * 100_000))
    assert len(str(caught.value)) < 500


# --- what it gets back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("plain text", "plain text"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (Point(x=1), '{"x":1.0,"y":0.0}'),
        (None, "null"),
        (True, "true"),
    ],
)
async def test_text_is_returned_as_it_is_and_anything_else_as_json(result: object, text: str) -> None:
    @tool(effect=Effect.PURE)
    def give() -> object:
        """Give."""
        return result

    assert await called(give, "{}") == text


async def test_a_blocking_function_runs_in_a_thread_with_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("carried over")

    @tool(effect=Effect.PURE)
    def look() -> list[object]:
        """Look."""
        return [variable.get(), threading.current_thread() is threading.main_thread()]

    assert await called(look, "{}") == '["carried over",false]'


async def test_blocking_functions_run_side_by_side_however_many_there_are() -> None:
    everybody = threading.Barrier(40)

    @tool(effect=Effect.PURE)
    def meet() -> None:
        """Return when all calls are running."""
        everybody.wait(timeout=10)

    await asyncio.gather(*(called(meet, "{}") for _ in range(40)))


async def test_an_async_function_is_awaited_in_the_callers_loop() -> None:
    @tool(effect=Effect.PURE)
    async def look() -> bool:
        """Look."""
        return asyncio.get_running_loop() is loop

    loop = asyncio.get_running_loop()
    assert await called(look, "{}") == "true"


async def test_the_context_is_handed_over() -> None:
    @tool(effect=Effect.ONCE)
    def pay(amount: int, context: ToolContext) -> str:
        """Pay."""
        return f"{context.idempotency_key} {amount}"

    assert await called(pay, '{"amount": 3}') == "run:call 3"


@pytest.mark.parametrize("raised", [ValueError("no"), StopIteration(), KeyError("k")])
async def test_an_exception_in_a_thread_arrives(raised: Exception) -> None:
    @tool(effect=Effect.PURE)
    def fail() -> None:
        """Fail."""
        raise raised

    with pytest.raises((type(raised), RuntimeError)):
        await called(fail, "{}")


@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt()])
async def test_a_tool_cannot_end_the_process(raised: BaseException) -> None:
    @tool(effect=Effect.PURE)
    def leave() -> None:
        """Leave."""
        raise raised

    with pytest.raises(ToolError, match="tried to end the process"):
        await called(leave, "{}")


# --- what cannot be a tool ---------------------------------------------------------------------------------------


def undocumented(a: int) -> None: ...


def unannotated(a):  # type: ignore[no-untyped-def]
    """Do."""


def variadic(*values: int) -> None:
    """Do."""


def keywords(**values: int) -> None:
    """Do."""


def positional(value: int, /) -> None:
    """Do."""


def open_dictionary(options: dict[str, int]) -> None:
    """Do."""


def anything(value: Any) -> None:
    """Do."""


def without_schema(value: threading.Thread) -> None:
    """Do."""


def function_as_argument(value: "contextvars.ContextVar[int]") -> None:
    """Do."""


def unresolved(value: "Missing") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do."""


def generator() -> Iterator[int]:
    """Do."""
    yield 1


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (undocumented, "'undocumented' has no docstring"),
        (unannotated, "'a' has no type annotation"),
        (variadic, "'*values: int' cannot be given by name"),
        (keywords, "'**values: int' cannot be given by name"),
        (positional, "'value: int' cannot be given by name"),
        (open_dictionary, "'options' takes arbitrary keys"),
        (anything, "'value' accepts anything"),
        (without_schema, "'value' has a type without a JSON schema"),
        (function_as_argument, "'value' has a type without a JSON schema"),
        (unresolved, "'Missing' is not defined"),
        (generator, "'generator' is a generator"),
    ],
)
def test_an_unusable_function_is_refused_by_name(function: Any, named: str) -> None:
    with pytest.raises(UnusableToolError) as caught:
        tool(effect=Effect.PURE)(function)
    assert named in str(caught.value)
    assert function.__name__ in str(caught.value)


def test_a_timeout_must_be_positive() -> None:
    def fine() -> None:
        """Do."""

    with pytest.raises(UnusableToolError, match="timeout 0"):
        tool(effect=Effect.PURE, timeout=0)(fine)


# --- the registry ------------------------------------------------------------------------------------------------


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to import from; what was imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write_module(folder: Path, name: str, *functions: str) -> None:
    tools = (
        dedent(f'''
        @tool(effect=Effect.PURE)
        def {function}() -> str:
            """Do {function}."""
            return "{name}"
        ''')
        for function in functions
    )
    (folder / f"{name}.py").write_text("\n".join(["from durable_responses import Effect, tool", *tools]))


def test_the_tools_of_all_modules_are_offered_sorted_by_name(modules: Path) -> None:
    write_module(modules, "first", "walk", "crawl")
    write_module(modules, "second", "run")

    registry = Registry.from_modules(["first", "second"])

    assert [each.name for each in registry.select()] == ["crawl", "run", "walk"]


def test_some_can_be_selected(modules: Path) -> None:
    write_module(modules, "first", "walk", "crawl", "run")

    selected = Registry.from_modules(["first"]).select(["walk", "crawl", "walk"])

    assert [each.name for each in selected] == ["crawl", "walk"]


def test_unknown_names_are_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownToolError) as caught:
        Registry([add]).select(["subtract", "add"])
    assert str(caught.value) == "There is no tool named 'subtract'; available tools: add."


def test_a_missing_module_is_named() -> None:
    with pytest.raises(RegistryError, match="AGENT_TOOL_MODULES names 'no_such_module'"):
        Registry.from_modules(["no_such_module"])


def test_a_module_that_fails_to_import_is_named_with_the_reason(modules: Path) -> None:
    (modules / "broken.py").write_text("1 / 0")
    with pytest.raises(RegistryError, match=r"'broken'.*ZeroDivisionError"):
        Registry.from_modules(["broken"])


def test_a_module_without_tools_is_named() -> None:
    with pytest.raises(RegistryError, match="'textwrap', which has no function"):
        Registry.from_modules(["textwrap"])


def test_two_tools_of_one_name_are_refused_with_their_modules(modules: Path) -> None:
    write_module(modules, "first", "walk")
    write_module(modules, "second", "walk")

    with pytest.raises(RegistryError, match=r"'walk', in first\.walk and second\.walk"):
        Registry.from_modules(["first", "second"])


def test_a_tool_that_two_modules_share_is_one_tool(modules: Path) -> None:
    write_module(modules, "first", "walk")
    (modules / "second.py").write_text("from first import walk")

    assert Registry.from_modules(["first", "second"]).names == ["walk"]
