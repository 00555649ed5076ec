"""The fields of a run at each door: docs/fields.md has them all, and each name leads to its field."""

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from durable_responses.activities.messages import CallerTool, ModelOptions
from durable_responses.cli.options import RunOptions
from durable_responses.cli.options import agent_input as input_of_options
from durable_responses.mcp_server.arguments import AgentArguments, ArgumentsError, read_arguments
from durable_responses.mcp_server.inputs import Surroundings
from durable_responses.mcp_server.inputs import agent_input as input_of_arguments
from durable_responses.python.api import start
from durable_responses.python.options import RunOptions as Keywords
from durable_responses.python.options import agent_input as input_of_keywords
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, Budget
from durable_responses.workflows.rules import model_options
from tests.support.fields_table import FIELDS, OTHER_ARGUMENTS, OTHER_OPTIONS, differences_table, fields_table, keywords
from tests.support.processes import CHECKOUT

PAGE = (CHECKOUT / "docs" / "fields.md").read_text()
VALUES: dict[str, Any] = {
    "task": "Count.",
    "context": "It rains.",
    "previous_response_id": "resp_1",
    "model": "gpt-6",
    "instructions": "Be brief.",
    "reasoning_effort": "high",
    "reasoning_summary": True,
    "verbosity": "low",
    "enable_web_search": True,
    "enable_code_interpreter": True,
    "tools": ["read_file"],
    "mcp_servers": ["github"],
    "text_format": {"type": "object"},
    "max_output_tokens": 64_000,
    "live_preview": True,
    "max_iterations": 7,
    "deadline": 120,
    "tool_timeout": 60,
    "allow_questions": True,
    "answer_within": 120,
    "on_refusal": "pause",
    "on_max_iterations": "ask",
    "on_deadline": "ask",
    "transport": "stream",
    "conversation": "server",
    "max_tool_calls": 3,
    "service_tier": "flex",
    "compaction": "off",
    "context_window": 32_000,
    "budget": 2.5,
    "save.format": "clean",
    "save.folder": "results",
    "save.filename": "a.md",
    "save.files": True,
    "tenant": "ada",
}
"""A value of each field whose names take it as it is."""
AS_READ = {"budget": Budget(usd=2.5).model_dump()}
AS_TYPED = {"deadline": "2m", "answer_within": "2m", "tool_timeout": "60s"}
RENAMED = sorted(name for name in VALUES if FIELDS[name].option)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(files_root=tmp_path, output_root=tmp_path)


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings("gpt-5.4", tmp_path, tmp_path, frozenset({"read_file", "count"}), frozenset({"read_file"}))


def test_the_page_has_the_tables_of_the_code() -> None:
    """`python -m tests.support.fields_table` prints them."""
    assert fields_table() in PAGE
    assert differences_table() in PAGE


def test_every_field_of_the_input_is_in_the_table() -> None:
    assert [name for name in FIELDS if "." not in name] == list(AgentInput.model_fields)


def test_every_option_is_in_the_table_or_is_none_of_the_input() -> None:
    named = {names.option for names in FIELDS.values()} | OTHER_OPTIONS
    assert named - {None} == {field.name for field in dataclasses.fields(RunOptions)}


def test_every_argument_is_in_the_table_or_is_none_of_the_input() -> None:
    named = {argument for names in FIELDS.values() for argument in names.arguments} | OTHER_ARGUMENTS
    assert named == AgentArguments.model_fields.keys()
    assert all(f"`{argument}`" in PAGE for argument in named)


def test_a_field_without_an_argument_says_why() -> None:
    assert [name for name, names in FIELDS.items() if not names.arguments and not names.why_no_argument] == []


def test_every_field_has_a_keyword_in_python_and_every_keyword_a_field() -> None:
    named = {keyword for name in FIELDS for keyword in keywords(name)}
    parameters = {"task", "output", "tools"}
    assert named == Keywords.__annotations__.keys() | parameters
    assert parameters <= inspect.signature(start).parameters.keys()
    assert [name for name in AgentInput.model_fields if not keywords(name)] == []


def at(request: AgentInput, name: str) -> Any:
    found: Any = request.model_dump(mode="json")
    for part in name.split("."):
        found = found[part]
    return found


@pytest.mark.parametrize("name", RENAMED)
def test_an_option_leads_to_its_field(name: str, settings: Settings, tmp_path: Path) -> None:
    option, value = FIELDS[name].option, VALUES[name]
    assert option is not None
    if name == "text_format":
        (tmp_path / "schema.json").write_text('{"type": "object"}')
        said: Any = str(tmp_path / "schema.json")
    else:
        said = AS_TYPED.get(name, value)
    options = RunOptions(**{"task": "t", option: said})
    assert at(input_of_options(options, settings, tmp_path), name) == AS_READ.get(name, value)


@pytest.mark.parametrize("name", [name for name in RENAMED if len(FIELDS[name].arguments) == 1])
def test_an_argument_leads_to_its_field(name: str, surroundings: Surroundings) -> None:
    [argument] = FIELDS[name].arguments
    said = True if argument in ("quality_over_cost", "enable_file_operations") else VALUES[name]
    arguments = read_arguments(AgentArguments, {"task": "t", argument: said})
    wanted = ["count", "read_file"] if name == "tools" else AS_READ.get(name, VALUES[name])
    assert at(input_of_arguments(arguments, surroundings), name) == wanted


def test_the_same_task_alone_is_the_same_input_from_the_command_line_as_from_temporal(
    settings: Settings, tmp_path: Path
) -> None:
    assert input_of_options(RunOptions(task="Count."), settings, tmp_path) == AgentInput(task="Count.")


# --- the fields that each create carries -----------------------------------------------------------------------------

SERVED: dict[str, Any] = {
    "name": "add",
    "description": "",
    "parameters": {"type": "object"},
    "strict": True,
    "task_queue": "mine",
}
CARRIED: dict[str, Any] = {
    **{name: VALUES[name] for name in VALUES if name in ModelOptions.model_fields},
    "caller_tools": [SERVED],
    "metadata": {"team": "blue"},
    "temperature": 0.5,
    "top_p": 0.25,
    "truncation": "auto",
    "include": ["web_search_call.action.sources"],
    "prompt_cache_key": "of the team",
    "safety_identifier": "user-1",
    "parallel_tool_calls": False,
    "tool_choice": {"type": "function", "name": "add"},
    "hosted_tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}],
    "extra_body": {"background_options": {"completion_window": "2h"}},
}
"""A value of each."""


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {as_toml(part)}" for name, part in value.items()) + "}"
    return "[" + ", ".join(map(as_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def by_command_line(name: str, value: Any, settings: Settings, around: Surroundings) -> AgentInput:
    options = RunOptions(task="t", set=[f"{name}={json.dumps(value)}"])
    return input_of_options(options, settings, around.files_root)


def by_keyword(name: str, value: Any, settings: Settings, _: Surroundings) -> AgentInput:
    if name == "tools":
        return input_of_keywords({"task": "t"}, {}, settings, names=value)
    if name == "caller_tools":
        return input_of_keywords({"task": "t", "tools": []}, {}, settings, functions=[CallerTool(**SERVED)])
    return input_of_keywords({"task": "t"}, {name: value}, settings)


def by_project_file(name: str, value: Any, settings: Settings, around: Surroundings) -> AgentInput:
    return input_of_options(RunOptions(task="t"), told_by_file(name, value, settings), around.files_root)


def by_mcp(name: str, value: Any, settings: Settings, around: Surroundings) -> AgentInput:
    """By its argument; where it has none, or one that says something else, the project file of the server says it."""
    if name in AgentArguments.model_fields:
        return input_of_arguments(read_arguments(AgentArguments, {"task": "t", name: value}), around)
    around = dataclasses.replace(around, run_fields=told_by_file(name, value, settings).run_fields)
    return input_of_arguments(read_arguments(AgentArguments, {"task": "t"}), around)


def told_by_file(name: str, value: Any, settings: Settings) -> Settings:
    """The settings of a program that is started where the file is."""
    Path("durable-responses.toml").write_text(f"AGENT_RUN_FIELDS = {as_toml({name: value})}\n")
    return settings.model_copy(update={"run_fields": Settings.load().run_fields})


WAYS = {"command line": by_command_line, "Python": by_keyword, "project file": by_project_file, "MCP": by_mcp}


def test_every_field_of_a_create_is_tried_in_each_way() -> None:
    assert CARRIED.keys() == ModelOptions.model_fields.keys()


@pytest.mark.parametrize("name", CARRIED)
@pytest.mark.parametrize("way", WAYS)
def test_a_field_of_a_create_passes_as_it_was_said(
    way: str, name: str, settings: Settings, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(settings.files_root)
    request = WAYS[way](name, CARRIED[name], settings, surroundings)
    carried = model_options(request).model_dump(mode="json")
    assert carried[name] == CARRIED[name]


def test_an_argument_goes_before_the_project_file_of_the_server(surroundings: Surroundings) -> None:
    fields = {"service_tier": "flex", "max_tool_calls": 3, "deadline": 120, "enable_web_search": False}
    around = dataclasses.replace(surroundings, run_fields=fields)
    said = {"task": "t", "service_tier": "priority", "max_execution_time_seconds": 60}
    request = input_of_arguments(read_arguments(AgentArguments, said), around)
    told = (request.service_tier, request.max_tool_calls, request.deadline, request.enable_web_search)
    assert told == ("priority", 3, 60, False)


def test_a_project_file_of_the_server_that_is_wrong_is_said(surroundings: Surroundings) -> None:
    around = dataclasses.replace(surroundings, run_fields={"temperature": 9})
    with pytest.raises(ArgumentsError, match=r"AGENT_RUN_FIELDS of this server cannot be used: .*temperature"):
        input_of_arguments(read_arguments(AgentArguments, {"task": "t"}), around)
