"""From the arguments of `gpt5_agent` to the input of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable_responses.activities.inputs import IMAGE_BYTES, TEXT_FILE_BYTES
from durable_responses.activities.messages import ArtifactFormat, InputFile, SaveOptions
from durable_responses.mcp_server.arguments import AgentArguments, ArgumentsError, read_arguments
from durable_responses.mcp_server.inputs import PREAMBLES, Surroundings, agent_input, check_paths
from durable_responses.workflows.contract import AgentInput


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    """A server with one root, two file tools and one more tool."""
    return Surroundings(
        model="gpt-5.4",
        files_root=tmp_path,
        output_root=tmp_path,
        tools=frozenset({"fetch_url", "read_file", "write_file"}),
        file_tools=frozenset({"read_file", "write_file"}),
    )


def arguments(**given: Any) -> AgentArguments:
    return read_arguments(AgentArguments, {"task": "Think.", **given})


@pytest.mark.parametrize("allowed", [True, False])
def test_runs_may_use_the_websocket_where_the_setting_allows_it(surroundings: Surroundings, allowed: bool) -> None:
    """W22: it is no argument of the tool."""
    assert agent_input(arguments(), replace(surroundings, allow_websocket=allowed)).allow_websocket is allowed


def test_the_arguments_become_the_input_of_a_run(surroundings: Surroundings) -> None:
    """A23: each argument by its place in the input."""
    given = arguments(
        reasoning_effort="high",
        verbosity="low",
        model="gpt-6",
        enable_web_search=False,
        enable_code_interpreter=True,
        enable_file_operations=True,
        max_iterations=3,
        max_execution_time_seconds=100,
        tool_timeout_seconds=50,
        show_reasoning_summary=False,
        system_prompt="Be brief.",
        context="It rains.",
        text_format={"type": "object"},
        previous_response_id="resp_1",
        conversation="server",
        quality_over_cost=True,
        save_format="clean",
        output_folder="results",
        output_filename="weather.md",
        file_path="a.md",
        files=[{"path": "b.md", "label": "the second"}],
        show_preambles=False,
    )
    root = str(surroundings.files_root)
    assert agent_input(given, surroundings) == AgentInput.model_validate(
        {
            "task": "Think.",
            "reasoning_effort": "high",
            "verbosity": "low",
            "model": "gpt-6",
            "enable_web_search": False,
            "enable_code_interpreter": True,
            "tools": ["fetch_url", "read_file", "write_file"],
            "max_iterations": 3,
            "deadline": 100,
            "tool_timeout": 50,
            "reasoning_summary": False,
            "instructions": "Be brief.",
            "context": "It rains.",
            "text_format": {"type": "object"},
            "previous_response_id": "resp_1",
            "conversation": "server",
            "max_output_tokens": 64_000,
            "save": SaveOptions(format=ArtifactFormat.CLEAN, folder="results", filename="weather.md", root=root),
            "files": [InputFile(path="a.md"), InputFile(path="b.md", label="the second")],
            "files_root": root,
        }
    )


def test_the_defaults_become_the_input_of_a_run(surroundings: Surroundings) -> None:
    """A23."""
    assert agent_input(arguments(), surroundings) == AgentInput.model_validate(
        {
            "task": "Think.",
            "reasoning_effort": "medium",
            "verbosity": "medium",
            "model": "gpt-5.4",
            "enable_web_search": True,
            "tools": ["fetch_url"],
            "max_iterations": 10,
            "deadline": 810,
            "tool_timeout": 90,
            "reasoning_summary": True,
            "instructions": PREAMBLES,
            "max_output_tokens": 32_000,
            "save": SaveOptions(root=str(surroundings.output_root)),
        }
    )


def test_an_effort_that_nobody_gave_is_not_asked_for(surroundings: Surroundings) -> None:
    """As from every other door: a model that does not reason would refuse it."""
    assert not agent_input(arguments(), surroundings).effort_asked
    assert agent_input(arguments(reasoning_effort="medium"), surroundings).effort_asked


@pytest.mark.parametrize(
    ("effort", "iterations", "execution", "tool"),
    [
        ("none", 5, 270, 30),
        ("minimal", 6, 360, 45),
        ("low", 8, 540, 70),
        ("medium", 10, 810, 90),
        ("high", 12, 1800, 180),
        ("xhigh", 12, 1800, 180),
        ("max", 12, 1800, 180),
    ],
)
def test_limits_that_are_not_given_go_by_effort(
    surroundings: Surroundings, effort: str, iterations: int, execution: int, tool: int
) -> None:
    """A23."""
    request = agent_input(arguments(reasoning_effort=effort), surroundings)
    assert (request.max_iterations, request.deadline, request.tool_timeout) == (iterations, execution, tool)


def test_file_tools_are_offered_only_when_asked_for(surroundings: Surroundings) -> None:
    """A23: `enable_file_operations`."""
    assert agent_input(arguments(), surroundings).tools == ["fetch_url"]


def test_preambles_are_one_sentence_behind_the_system_prompt(surroundings: Surroundings) -> None:
    """A23: `show_preambles`."""
    request = agent_input(arguments(system_prompt="Be brief."), surroundings)
    assert request.instructions == f"Be brief.\n\n{PREAMBLES}"


def test_nothing_is_saved_when_that_is_not_wanted(surroundings: Surroundings) -> None:
    """A22: `save_to_file`."""
    assert agent_input(arguments(save_to_file=False), surroundings).save is None


def test_files_of_the_provider_are_saved_where_the_result_is(surroundings: Surroundings) -> None:
    save = agent_input(arguments(save_files=True), surroundings).save
    assert save is not None
    assert save.files
    with pytest.raises(ArgumentsError, match="set save_to_file"):
        check_paths(arguments(save_files=True, save_to_file=False), surroundings)


# --- files and folders -------------------------------------------------------------------------------------------


def test_files_under_the_root_pass(surroundings: Surroundings) -> None:
    """A24: relative or absolute."""
    path = surroundings.files_root / "notes.md"
    path.write_text("Some notes.")
    check_paths(arguments(file_path="notes.md", files=[{"path": str(path)}]), surroundings)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"file_path": "missing.md"}, "file_path does not exist"),
        ({"file_path": "../outside.md"}, "file_path is outside the allowed root"),
        ({"file_path": "/etc/passwd"}, "file_path is outside the allowed root"),
        ({"file_path": "link.md"}, "file_path is outside the allowed root"),
        ({"file_path": "large.md"}, "file_path is larger than 1 MiB"),
        ({"files": [{"path": "small.md"}, {"path": "large.png"}]}, "files[1].path is larger than 10 MiB"),
        ({"file_path": "small.md", "files": [{"path": "missing.md"}]}, "files[0].path does not exist"),
        ({"file_path": "."}, "file_path is not a regular file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_the_run_could_not_have_is_refused_by_its_argument(
    surroundings: Surroundings, given: dict[str, Any], named: str
) -> None:
    """A24: outside, behind a symlink, too large, missing."""
    root = surroundings.files_root
    (root.parent / "outside.md").write_text("secret")
    (root / "link.md").symlink_to(root.parent / "outside.md")
    (root / "small.md").write_text("small")
    (root / "large.md").write_bytes(b"x" * (TEXT_FILE_BYTES + 1))
    with (root / "large.png").open("wb") as file:
        file.truncate(IMAGE_BYTES + 1)
    with pytest.raises(ArgumentsError) as refusal:
        check_paths(arguments(**given), surroundings)
    assert named in str(refusal.value)


@pytest.mark.parametrize("folder", ["../elsewhere", "/tmp/elsewhere", "link"])
def test_an_output_folder_outside_the_root_is_refused(surroundings: Surroundings, folder: str) -> None:
    """A22: before anything is started; symlinks resolved."""
    (surroundings.output_root / "link").symlink_to(surroundings.output_root.parent)
    with pytest.raises(ArgumentsError, match="output_folder is outside the output root"):
        check_paths(arguments(output_folder=folder), surroundings)
