"""What a person types becomes the input of a run, or one sentence that says what is wrong."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_responses.activities.messages import ArtifactFormat
from durable_responses.cli.options import RunOptions, agent_input, moment_ago
from durable_responses.cli.output import UsageError
from durable_responses.responses_api.models import ReasoningEffort, Verbosity
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, ConversationChoice, TransportChoice


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that the command was started in."""
    (tmp_path / "notes.md").write_text("notes")
    (tmp_path / "a:b.md").write_text("a colon")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.fixture
def settings(root: Path) -> Settings:
    return Settings(files_root=root, output_root=root / "out")


def test_a_task_alone_is_enough(settings: Settings, root: Path) -> None:
    assert agent_input(RunOptions(task="Count."), settings, root) == AgentInput(task="Count.")


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [
        ({"model": "gpt-5.4-mini"}, "model", "gpt-5.4-mini"),
        ({"effort": ReasoningEffort.HIGH}, "reasoning_effort", ReasoningEffort.HIGH),
        ({"verbosity": Verbosity.LOW}, "verbosity", Verbosity.LOW),
        ({"instructions": "Be brief."}, "instructions", "Be brief."),
        ({"context": "It is Monday."}, "context", "It is Monday."),
        ({"web_search": True}, "enable_web_search", True),
        ({"code_interpreter": True}, "enable_code_interpreter", True),
        ({"tool": ["read_file", "list_files"]}, "tools", ["read_file", "list_files"]),
        ({"tool": []}, "tools", None),
        ({"reasoning_summary": True}, "reasoning_summary", True),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "resp_1"),
        ({"max_iterations": 3}, "max_iterations", 3),
        ({"max_output_tokens": 500}, "max_output_tokens", 500),
        ({"deadline": "90"}, "deadline", 90),
        ({"deadline": "30m"}, "deadline", 1800),
        ({"tool_timeout": "2m"}, "tool_timeout", 120),
        ({"transport": TransportChoice.STREAM}, "transport", TransportChoice.STREAM),
        ({"conversation": ConversationChoice.FULL}, "conversation", ConversationChoice.FULL),
        ({"live_preview": True}, "live_preview", True),
    ],
)
def test_each_option_sets_its_field(
    said: dict[str, Any], field: str, value: Any, settings: Settings, root: Path
) -> None:
    assert getattr(agent_input(RunOptions(task="Count.", **said), settings, root), field) == value


@pytest.mark.parametrize(
    ("said", "path", "label"),
    [
        ("notes.md", "notes.md", None),
        ("notes.md:my notes", "notes.md", "my notes"),
        ("notes.md:", "notes.md", None),
        ("a:b.md", "a:b.md", None),
        ("a:b.md:odd", "a:b.md", "odd"),
        ("sub/../notes.md", "notes.md", None),
    ],
)
def test_a_file_is_given_with_or_without_a_label(
    said: str, path: str, label: str | None, settings: Settings, root: Path
) -> None:
    """A24: the root is carried as an absolute path, files are relative to it."""
    request = agent_input(RunOptions(task="Read.", file=[said]), settings, root)
    assert [(file.path, file.label) for file in request.files] == [(path, label)]
    assert request.files_root == str(root)


def test_a_file_is_found_from_the_folder_that_the_command_was_started_in(root: Path) -> None:
    """A24: also where another root is set."""
    (root / "sub" / "deep.md").write_text("deep")
    request = agent_input(RunOptions(task="Read.", file=["deep.md"]), Settings(files_root=root), root / "sub")
    assert request.files[0].path == "sub/deep.md"


def test_a_link_that_leads_out_of_the_root_is_refused(settings: Settings, root: Path) -> None:
    """A24"""
    (root / "link").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="outside"):
        agent_input(RunOptions(task="Read.", file=["link"]), settings, root)


@pytest.mark.parametrize(
    ("said", "save"),
    [
        ({}, None),
        ({"save": True}, {}),
        ({"save_folder": "reports"}, {"folder": "reports"}),
        ({"save_name": "a", "save_format": ArtifactFormat.CLEAN}, {"filename": "a", "format": "clean"}),
    ],
)
def test_saving_is_asked_for_by_any_of_its_options(
    said: dict[str, Any], save: dict[str, Any] | None, settings: Settings, root: Path
) -> None:
    """A22, A24: the output root is carried as an absolute path."""
    request = agent_input(RunOptions(task="Save.", **said), settings, root)
    expected = None if save is None else {"format": "standard", "root": str(root / "out"), **save}
    assert (request.save.model_dump(exclude_none=True) if request.save else None) == expected


@pytest.mark.parametrize(("given", "allowed"), [({}, True), ({"allow_websocket": False}, False)])
def test_the_setting_allows_the_websocket_unless_the_input_says_otherwise(
    given: dict[str, Any], allowed: bool, settings: Settings, root: Path
) -> None:
    """W22."""
    (root / "input.json").write_text(json.dumps({"task": "Count.", **given}))
    allowing = settings.model_copy(update={"allow_websocket": True})
    assert agent_input(RunOptions(input=str(root / "input.json")), allowing, root).allow_websocket is allowed


def test_json_gives_what_no_option_can_and_options_win(settings: Settings, root: Path) -> None:
    given = {"task": "From the file.", "metadata": {"team": "a"}, "model": "one", "save": {"filename": "kept"}}
    (root / "input.json").write_text(json.dumps(given))
    options = RunOptions(input=str(root / "input.json"), model="two", save_folder="reports")
    request = agent_input(options, settings, root)
    assert (request.task, request.metadata, request.model) == ("From the file.", {"team": "a"}, "two")
    assert request.save is not None
    assert (request.save.filename, request.save.folder) == ("kept", "reports")


def test_json_is_read_from_standard_input(settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"task": "Piped."}')))
    assert agent_input(RunOptions(input="-"), settings, root).task == "Piped."


def test_the_task_is_read_from_a_file(settings: Settings, root: Path) -> None:
    (root / "task.md").write_bytes("\ufeffZähle die Wörter.\n\nAlle.\n".encode())
    request = agent_input(RunOptions(task_file=str(root / "task.md")), settings, root)
    assert request.task == "Zähle die Wörter.\n\nAlle."


@pytest.mark.parametrize("said", [{"task": "-"}, {"task_file": "-"}, {"task": "Count.", "context": "-"}])
def test_a_minus_reads_standard_input(
    said: dict[str, Any], settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Piped.\n")))
    request = agent_input(RunOptions(**said), settings, root)
    assert "Piped." in (request.task, request.context)


@pytest.mark.parametrize(
    ("content", "named"), [(b"", "is empty"), (b" \n", "is empty"), (b"\xff\xfe", "UTF-8"), (b"a" * 5_000_000, "bytes")]
)
def test_a_task_that_cannot_be_read_is_refused(content: bytes, named: str, settings: Settings, root: Path) -> None:
    (root / "task.md").write_bytes(content)
    with pytest.raises(UsageError, match=rf"--task-file.*{named}"):
        agent_input(RunOptions(task_file=str(root / "task.md")), settings, root)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"task": "a", "task_file": "b"}, "TASK and --task-file"),
        ({"task": "-", "input": "-"}, "TASK and --input cannot both read"),
        ({"task_file": "-", "context": "-"}, "--task-file and --context cannot both read"),
        ({"task_file": "missing.md"}, "missing.md"),
        ({"task_file": "."}, "--task-file"),
        ({"task_file": ""}, "--task-file"),
        ({"task_file": "a\0b"}, "--task-file"),
    ],
)
def test_a_task_that_is_given_twice_or_not_at_all_is_refused(
    said: dict[str, Any], named: str, settings: Settings, root: Path
) -> None:
    with pytest.raises(UsageError, match=named):
        agent_input(RunOptions(**said), settings, root)


SCHEMA = {"type": "object", "properties": {"owner": {"type": "string"}}, "required": ["owner"]}


@pytest.mark.parametrize(
    "given", [SCHEMA, {"type": "json_object"}, {"type": "json_schema", "name": "a", "schema": SCHEMA}]
)
def test_a_schema_in_a_file_is_what_the_answer_must_follow(
    given: dict[str, Any], settings: Settings, root: Path
) -> None:
    (root / "schema.json").write_text(json.dumps(given))
    request = agent_input(RunOptions(task="Count.", schema=str(root / "schema.json")), settings, root)
    assert request.text_format == given


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "one JSON object"),
        ("{}", "is empty"),
        ('{"type": "array", "items": {"type": "string"}}', "type: an answer is an object"),
        ('{"type": "objekt"}', "type: an answer is an object"),
        ('{"type": "object", "properties": {"a": {"type": "text"}}}', "properties.a.type"),
        ('{"type": "object", "required": "a"}', "required"),
        ('{"type": "json_schema", "schema": {"type": "object"}}', "name"),
        ('{"type": "json_schema", "name": "a"}', "schema"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deep"),
    ],
)
def test_a_schema_that_no_answer_can_follow_is_refused_before_anything_is_started(
    content: str, named: str, settings: Settings, root: Path
) -> None:
    (root / "schema.json").write_text(content)
    with pytest.raises(UsageError, match=rf"--schema .*{named}"):
        agent_input(RunOptions(task="Count.", schema=str(root / "schema.json")), settings, root)


def test_files_in_json_are_under_our_root_unless_it_names_one(settings: Settings, root: Path) -> None:
    """A24"""
    (root / "input.json").write_text('{"task": "Read.", "files": [{"path": "notes.md"}]}')
    request = agent_input(RunOptions(input=str(root / "input.json")), settings, root)
    assert request.files_root == str(root)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"task": None}, "TASK"),
        ({"task": ""}, "TASK"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"max_output_tokens": 1}, "max_output_tokens"),
        ({"deadline": "soon"}, "--deadline"),
        ({"deadline": "0"}, "deadline"),
        ({"tool_timeout": "-5"}, "--tool-timeout"),
        ({"file": ["missing.md"]}, "missing.md"),
        ({"file": ["sub"]}, "sub"),
        ({"file": ["../outside.md"]}, "outside.md"),
        ({"input": "missing.json"}, "missing.json"),
    ],
)
def test_what_cannot_be_used_is_named(said: dict[str, Any], named: str, settings: Settings, root: Path) -> None:
    with pytest.raises(UsageError, match=named) as refused:
        agent_input(RunOptions(**{"task": "Count.", **said}), settings, root)
    assert len(str(refused.value).splitlines()) == 1


def test_null_in_the_json_means_the_default(settings: Settings, root: Path) -> None:
    fields = {name: None for name in AgentInput.model_fields if name != "task"}
    (root / "input.json").write_text(json.dumps({"task": "a", **fields}))
    said = agent_input(RunOptions(input=str(root / "input.json")), settings, root)
    (root / "input.json").write_text('{"task": "a"}')
    assert said == agent_input(RunOptions(input=str(root / "input.json")), settings, root)


def test_half_a_character_in_the_json_is_replaced(settings: Settings, root: Path) -> None:
    (root / "input.json").write_bytes(rb'{"task": "cut \ud83d"}')
    assert agent_input(RunOptions(input=str(root / "input.json")), settings, root).task == "cut \ufffd"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "one JSON object"),
        (b"\xff", "UTF-8"),
        (b'{"task": "a", "modell": "b"}', "modell"),
        (b'{"tsak": "a"}', "--input: a run has no field 'tsak'. Did you mean 'task'?"),
        (b'{"task": "a", "model": 5}', "model"),
        (b'{"task": "a", "save": 5}', "save"),
        (b'{"task": "a", "files": 5}', "files"),
        (b'{"task": "a", "text_format": ' + b'{"a":' * 5000 + b"}" * 5001, "text_format is nested too deep"),
        (b'{"task": "a", "text_format": ' + b'{"a":' * 150 + b"1" + b"}" * 151, "text_format: is nested more than 100"),
        (b'{"task": "a", "deadline": 300000000000}', "deadline: seconds, at most 2592000"),
        (b'{"task": "a", "tool_timeout": 1e999}', "tool_timeout: must be a finite number"),
    ],
)
def test_json_that_cannot_be_used_is_refused_by_name(
    content: bytes, named: str, settings: Settings, root: Path
) -> None:
    (root / "input.json").write_bytes(content)
    with pytest.raises(UsageError, match=named):
        agent_input(RunOptions(input=str(root / "input.json")), settings, root)


def test_any_field_can_be_set_with_its_value_in_json(settings: Settings, root: Path) -> None:
    said = ["temperature=0.2", 'hosted_tools=[{"type": "file_search"}]', ' truncation ="auto"', "top_p=null"]
    request = agent_input(RunOptions(task="t", set=said), settings, root)
    assert (request.temperature, request.truncation, request.top_p) == (0.2, "auto", None)
    assert request.hosted_tools == [{"type": "file_search"}]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("service_tier", "--set 'service_tier' has no value: give it as --set service_tier=VALUE, the value in JSON."),
        ("temprature=1", "--set: a run has no field 'temprature'. Did you mean 'temperature'?"),
        ("service_tier=flex", "Text stands in quotes: --set 'service_tier=\"flex\"'."),
        ("extra_body={", "--set extra_body: '{' is not valid JSON"),
        ("temperature=3", "temperature"),
        ('extra_body={"store": false}', "extra_body: has store, which is decided by the run"),
    ],
)
def test_what_cannot_be_set_is_said_in_one_sentence(settings: Settings, root: Path, said: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        agent_input(RunOptions(task="t", set=[said]), settings, root)
    assert sentence in str(refused.value)


def test_fields_of_all_runs_hold_where_a_run_says_nothing_else(settings: Settings, root: Path) -> None:
    settings = settings.model_copy(update={"run_fields": {"service_tier": "flex", "max_tool_calls": 3}})
    request = agent_input(RunOptions(task="t", service_tier="priority"), settings, root)
    assert (request.service_tier, request.max_tool_calls) == ("priority", 3)


@pytest.mark.parametrize(("said", "ago"), [("12h", timedelta(hours=12)), ("9999999d", timedelta(days=36_500))])
def test_a_time_may_be_longer_ago_than_there_are_dates(said: str, ago: timedelta) -> None:
    before = datetime.now(UTC)
    assert before - ago <= moment_ago("--since", said) <= datetime.now(UTC) - ago


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"task": "t", "set": ['task="u"']}, "TASK and --set task both say it"),
        ({"task": "t", "set": ["budget=5", "budget=6"]}, "--set and --set budget both say it"),
        ({"task": "t", "budget": 5.0, "set": ["budget=6"]}, "--budget and --set budget both say it"),
        (
            {"task": "t", "effort": ReasoningEffort.HIGH, "set": ['reasoning_effort="low"']},
            "--effort and --set reasoning",
        ),
    ],
)
def test_what_is_said_twice_is_not_chosen_from(
    settings: Settings, root: Path, said: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        agent_input(RunOptions(**said), settings, root)


def test_the_task_may_be_a_field_like_any_other(settings: Settings, root: Path) -> None:
    assert agent_input(RunOptions(set=['task="Count."']), settings, root).task == "Count."
