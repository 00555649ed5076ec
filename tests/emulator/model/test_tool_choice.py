"""`tool_choice` and `parallel_tool_calls`, whatever the scenario would do by itself."""

from typing import Any

import pytest

from durable_responses.emulator.model.library import BUILT_IN
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import (
    CustomToolCallStep,
    FunctionCallStep,
    ItemStep,
    Script,
    Text,
)
from durable_responses.emulator.objects.api_errors import ApiError
from durable_responses.emulator.objects.request_checks import check
from tests.support.conversations import book, conversation, request

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "f", "parameters": NUMBER},
    {"type": "function", "name": "g", "parameters": NUMBER},
    {"type": "custom", "name": "shell"},
    {"type": "web_search"},
]
SCENARIOS = sorted(scenario.name for scenario in BUILT_IN)


def answered(scenario: str, choice: Any, **fields: Any) -> Script:
    """The script for a task, with all tools on offer."""
    asked = {"model": f"scenario:{scenario}", "tools": TOOLS, "tool_choice": choice, **fields}
    check(request("Look into it.", **asked))
    return book().respond(conversation("Look into it.", **asked))


def used(script: Script) -> list[str]:
    """The tools that a script uses."""
    return [
        step.name
        if isinstance(step, FunctionCallStep | CustomToolCallStep)
        else str(step.item["type"])
        if isinstance(step, ItemStep)
        else step.type
        for step in script.output
        if not isinstance(step, Text) and step.type != "refusal" and not _is_hologram(step)
    ]


def _is_hologram(step: object) -> bool:
    return isinstance(step, ItemStep) and step.item["type"] == "hologram"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_none_means_that_no_tool_is_used(scenario: str) -> None:
    assert used(answered(scenario, "none")) == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_required_means_that_a_tool_is_used(scenario: str) -> None:
    assert used(answered(scenario, "required"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_named_function_is_called_and_no_other(scenario: str) -> None:
    assert set(used(answered(scenario, {"type": "function", "name": "g"}))) == {"g"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_named_custom_tool_is_called_and_no_other(scenario: str) -> None:
    assert set(used(answered(scenario, {"type": "custom", "name": "shell"}))) == {"shell"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_hosted_tool_is_used_and_no_other(scenario: str) -> None:
    assert set(used(answered(scenario, {"type": "web_search"}))) == {"web_search"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_only_allowed_tools_are_called(scenario: str) -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}
    assert set(used(answered(scenario, choice))) <= {"g"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_of_the_allowed_tools_is_called_where_that_is_required(scenario: str) -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    assert set(used(answered(scenario, choice))) == {"g"}


def test_a_registered_scenario_keeps_to_it_too() -> None:
    scenarios = book()
    scenarios.register(Scenario(name="mine", responses=[Script(output=[FunctionCallStep(name="f")])]))
    asked = conversation(model="scenario:mine", tools=TOOLS, tool_choice="none")
    assert used(scenarios.respond(asked)) == []


def test_arguments_of_a_call_that_must_be_made_fit_its_schema() -> None:
    [step] = answered("echo", {"type": "function", "name": "g"}).output
    assert isinstance(step, FunctionCallStep)
    assert step.arguments == {"n": 1}


def test_calls_are_made_one_at_a_time_where_that_is_asked_for() -> None:
    script = answered("calls?parallel=3&tool=f", "auto", parallel_tool_calls=False)
    assert used(script) == ["f"]


def test_without_a_choice_a_script_may_call_what_is_not_offered() -> None:
    """Tests of clients want to see what they make of it."""
    assert used(book().respond(conversation(model="scenario:calls?tool=unheard_of"))) == ["unheard_of"]


@pytest.mark.parametrize(
    "choice",
    [
        "sometimes",
        {"type": "function", "name": "h"},
        {"type": "custom", "name": "f"},
        {"type": "file_search"},
        {"name": "f"},
        {"type": "allowed_tools", "mode": "auto", "tools": []},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "h"}]},
        {"type": "allowed_tools", "mode": "maybe", "tools": [{"type": "function", "name": "f"}]},
    ],
)
def test_a_choice_of_what_is_not_there_is_refused(choice: Any) -> None:
    with pytest.raises(ApiError) as refused:
        answered("echo", choice)
    assert refused.value.status == 400
    assert str(refused.value.error.param).startswith("tool_choice")


def test_required_without_tools_is_refused() -> None:
    with pytest.raises(ApiError, match="must be specified with 'tools' parameter"):
        answered("echo", "required", tools=[])


def test_a_function_of_a_namespace_is_called_in_it() -> None:
    """Codex offers the tools of each MCP server as one namespace."""
    look = {"type": "function", "name": "look", "parameters": NUMBER}
    tools = [{"type": "namespace", "name": "mcp__files__", "tools": [look]}]
    for choice in ("auto", "required", {"type": "function", "name": "look"}):
        [step] = answered("calls", choice, tools=tools).output
        assert step == FunctionCallStep(name="look", arguments=getattr(step, "arguments", {}), namespace="mcp__files__")
