"""The functions of a program as tools: what is wrong with them is said at the call, before anything is paid."""

import asyncio
import functools
import threading
from typing import Any

import pytest

from durable_responses import Effect, InvalidInput, ToolContext, tool
from durable_responses.python.functions import given_tools
from durable_responses.tools.files import read_file as built_in
from durable_responses.workflows.rules import parse_input


def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


class Stock:
    def __init__(self) -> None:
        self.pens = 3

    def left(self, article: str) -> int:
        """How many are left."""
        return self.pens if article == "pen" else 0


def read_file(path: str) -> str:
    """Read it."""
    return path


def nameless(text) -> str:  # type: ignore[no-untyped-def]
    """Say it."""
    return str(text)


def undocumented(text: str) -> str:
    return text


def any_keys(**more: str) -> str:
    """Take what comes."""
    return str(more)


def unspeakable(lock: threading.Lock) -> str:
    """Take a lock."""
    return str(lock)


def yields(text: str) -> Any:
    """Say it bit by bit."""
    yield text


class Odd:
    def __call__(self, text: str) -> str:
        """Say it."""
        return text


def test_a_plain_function_must_not_run_twice_and_has_the_time_of_the_run() -> None:
    [made] = given_tools([count_words]).functions
    assert made.effect is Effect.ONCE
    assert made.timeout == 86400


def test_a_decorated_function_keeps_what_it_says() -> None:
    decorated = tool(effect=Effect.PURE, timeout=3)(count_words)
    assert given_tools([decorated]).functions == (decorated,)


def test_a_method_is_a_tool_of_its_object() -> None:
    [made] = given_tools([Stock().left]).functions
    assert made.parameters["required"] == ["article"]
    assert made("pen") == 3


def test_names_and_functions_may_be_mixed() -> None:
    given = given_tools(["read_file", count_words])
    assert given.names == ["read_file"]
    assert [each.name for each in given.functions] == ["count_words"]


def test_a_tool_of_the_worker_that_is_given_itself_is_meant_by_its_name() -> None:
    given = given_tools([built_in])
    assert (given.names, given.functions) == (["read_file"], ())


def test_nothing_given_means_all_tools_of_the_worker_and_an_empty_list_none() -> None:
    assert given_tools(None).names is None
    assert given_tools([]).names == []


def test_the_input_of_the_run_takes_them_as_they_are() -> None:
    def report(text: str, context: ToolContext, times: int = 2) -> str:
        """Report it."""
        return text * times

    tools = given_tools([report, count_words]).for_callers("queue")
    request = parse_input({"task": "t", "caller_tools": [each.model_dump() for each in tools]})
    assert [each.name for each in request.caller_tools or []] == ["report", "count_words"]
    assert set(tools[0].parameters["properties"]) == {"text", "times"}


@pytest.mark.parametrize(
    ("tools", "sentence"),
    [
        (count_words, "tools must be a list"),
        ("read_file", "tools must be a list"),
        ({"count_words": count_words}, "tools must be a list"),
        ([nameless], "parameter 'text' has no type annotation"),
        ([undocumented], "has no docstring"),
        ([any_keys], "cannot be given by name"),
        ([unspeakable], "has a type without a JSON schema"),
        ([yields], "is a generator"),
        ([lambda text: text], "'<lambda>'"),
        ([len], "is not a plain function"),
        ([Odd()], "is neither a function nor the name of a tool"),
        ([functools.partial(count_words, "a b")], "is neither a function nor the name of a tool"),
        ([5], "5 is neither a function nor the name of a tool"),
        ([None], "None is neither a function nor the name of a tool"),
        ([count_words, count_words], "two functions are named 'count_words'"),
        ([read_file], "there is a built-in tool named 'read_file'"),
        ([count_words, "count_words"], "'count_words' is given as a name and as a function"),
    ],
)
def test_what_cannot_be_a_tool_is_one_sentence(tools: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        given_tools(tools)
    assert sentence in str(caught.value)


async def test_an_async_function_runs_in_the_loop_of_the_program() -> None:
    """What it uses belongs there: clients, locks, pools."""

    async def where() -> str:
        """Say where."""
        return threading.current_thread().name

    [made] = given_tools([where], asyncio.get_running_loop()).functions
    assert await asyncio.to_thread(lambda: asyncio.run(made.run({}, ToolContext(None)))) == (  # type: ignore[arg-type]
        threading.current_thread().name
    )


def test_an_async_function_whose_loop_has_ended_runs_elsewhere() -> None:
    async def where() -> str:
        """Say where."""
        return threading.current_thread().name

    over = asyncio.new_event_loop()
    over.close()
    [made] = given_tools([where], over).functions
    assert asyncio.run(made.function()) == threading.current_thread().name
