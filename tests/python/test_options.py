"""The keyword arguments of a run: the fields of its input, and what is wrong with them, before anything is paid."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from durable_responses import InvalidInput
from durable_responses.activities.messages import InputFile
from durable_responses.cli.options import RunOptions as CommandLineOptions
from durable_responses.python.options import SHORTER_NAMES, RunOptions, agent_input, check_names
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput

GIVEN_OTHERWISE = {"task", "tools", "caller_tools"}
CALLED_OTHERWISE = {
    **SHORTER_NAMES,
    "schema": "text_format",
    "file": "files",
    "mcp_server": "mcp_servers",
    "save_folder": "save",
    "save_name": "save",
    "save_format": "save",
    "save_files": "save",
}
OF_A_SHELL = {"set", "task", "task_file", "input", "job_id", "tool"}


class Summary(BaseModel):
    title: str


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(files_root=tmp_path, output_root=tmp_path, allow_websocket=True)


def asked(settings: Settings, **options: Any) -> AgentInput:
    output = options.pop("output", None)
    return agent_input({"task": "Do it."}, options, settings, output=output)


def test_every_field_of_the_input_is_a_keyword_argument() -> None:
    assert RunOptions.__annotations__.keys() - SHORTER_NAMES == AgentInput.model_fields.keys() - GIVEN_OTHERWISE


def test_every_option_of_the_command_line_is_one_too() -> None:
    options = {field.name for field in dataclasses.fields(CommandLineOptions)} - OF_A_SHELL
    assert {CALLED_OTHERWISE.get(name, name) for name in options} <= RunOptions.__annotations__.keys()


def test_the_options_become_the_input(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("n")
    request = asked(
        settings,
        effort="high",
        web_search=True,
        deadline="2m",
        tool_timeout=timedelta(seconds=5),
        heartbeat_timeout=20,
        files=[Path("notes.md"), InputFile(path="notes.md", label="twice")],
        save=True,
        metadata={"team": "blue"},
        model=None,
    )
    assert request.reasoning_effort == "high"
    assert request.enable_web_search
    assert (request.deadline, request.tool_timeout, request.heartbeat_timeout) == (120, 5, 20)
    assert [(file.path, file.label) for file in request.files] == [("notes.md", None), ("notes.md", "twice")]
    assert request.files_root == str(tmp_path)
    assert request.save is not None
    assert request.save.root == str(tmp_path)
    assert request.metadata == {"team": "blue"}
    assert request.allow_websocket
    assert asked(settings, save=False).save is None


def test_a_class_becomes_the_form_of_the_answer(settings: Settings) -> None:
    text_format = asked(settings, output=Summary).text_format
    assert text_format is not None
    assert (text_format["name"], text_format["schema"]["required"]) == ("Summary", ["title"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"effort": "hihg"}, "reasoning_effort"),
        ({"effort": "low", "reasoning_effort": "high"}, "effort and reasoning_effort are the same"),
        ({"deadline": "soon"}, "deadline 'soon' must be a time"),
        ({"tool_timeout": -1}, "tool_timeout"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"output": Summary, "text_format": {"type": "object"}}, "output and text_format both say"),
        ({"output": {"type": "object"}}, "output must be a class"),
        ({"output": list}, "output: list"),
        ({"output": int}, "output: int"),
        ({"files": "notes.md"}, "files must be a list of paths"),
        ({"files": ["missing.md"]}, "files: 'missing.md' does not exist"),
        ({"files": ["/etc/passwd"]}, "files: '/etc/passwd' is outside"),
        ({"files": [5]}, "files: 5 is neither a path"),
        ({"metadata": {"k": 5}}, "metadata"),
        ({"text_format": {"type": "array"}}, "text_format.type"),
        ({"save": {"colour": "red"}}, "save"),
        ({"transport": "pigeon"}, "transport"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_argument(
    settings: Settings, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        asked(settings, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", ["", "  ", [], None, 5, ["text"]])
def test_a_task_that_is_none_is_refused(settings: Settings, task: Any) -> None:
    with pytest.raises(InvalidInput, match="task"):
        agent_input({"task": task}, {}, settings)


def test_an_argument_that_there_is_not_is_refused_as_python_does() -> None:
    with pytest.raises(TypeError, match=r"'efort'\. Did you mean 'effort'"):
        check_names({"efort": "high"})
