"""The settings: what the environment may say, and what a difference of it means."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from durable_responses.settings import Settings, SettingsError, child_environment
from durable_responses.tools.approvals import Approvals
from tests.support.settings_table import settings_table


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("AGENT_MAX_TOOLS", "0", "must be at least 1."),
        ("AGENT_MAX_WAITING", "many", "must be a whole number."),
        ("AGENT_RETENTION", "3h", "must be at least 1 day."),
        ("AGENT_RETENTION", "soon", "must be a time such as 90s, 15m, 72h or 3d"),
        ("AGENT_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("OPENAI_BASE_URL", "api.example.com", "must be an address such as https://host/v1"),
        ("OPENAI_WEBSOCKET_BASE_URL", "wss://", "must be an address such as https://host/v1"),
    ],
)
def test_a_bad_value_gives_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert str(caught.value).startswith(f"{variable} cannot be used: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variable", ["AGENT_DEPLOYMENT_NAME", "AGENT_BUILD_ID"])
def test_half_of_a_version_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """It would be a worker without a version, which takes the runs of every version."""
    monkeypatch.setenv(variable, "1")
    with pytest.raises(
        SettingsError, match="AGENT_DEPLOYMENT_NAME and AGENT_BUILD_ID must be set together or not at all"
    ):
        Settings.load()


def test_a_base_url_with_a_password_is_not_repeated_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "ftp://me:secret@host/v1")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "secret" not in str(caught.value)


def test_the_key_is_not_printed_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A25: the API key is never in a log."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    assert "sk-not" not in repr(Settings.load())


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1.5h", timedelta(minutes=90)),
        ("3d", timedelta(days=3)),
        ("60", timedelta(seconds=60)),
    ],
)
def test_times_are_written_with_a_unit(monkeypatch: pytest.MonkeyPatch, text: str, time: timedelta) -> None:
    monkeypatch.setenv("AGENT_IDLE_STOP", text)
    assert Settings.load().idle_stop == time


def test_tool_modules_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOOL_MODULES", "my_tools, more.tools,")
    assert Settings.load().tool_modules == ["my_tools", "more.tools"]


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MODEL", "")
    assert Settings.load().model == "gpt-5.4"


def test_relative_folders_are_resolved_where_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A24: the roots default to the folder in which the program was started, as absolute paths."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_OUTPUT_ROOT", "reports")
    settings = Settings.load()
    assert settings.files_root == tmp_path.resolve()
    assert settings.output_root == tmp_path.resolve() / "reports"


def test_the_state_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENT_STATE_FOLDER")
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert Settings.load().state_folder == Path("/somewhere/durable-responses")


def test_a_relative_xdg_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENT_CACHE_FOLDER", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert Settings.load().cache_folder == (Path.home() / ".cache" / "durable-responses").resolve()


def test_a_difference_between_settings_is_found_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Settings.load().fingerprints()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere:7233")
    after = Settings.load().fingerprints()
    assert {name for name in after if after[name] != before[name]} == {"OPENAI_API_KEY", "TEMPORAL_ADDRESS"}
    assert "sk-not" not in str(after)


def test_what_only_other_programs_read_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Settings.load().fingerprints()
    for variable, value in (("AGENT_LOG_LEVEL", "debug"), ("AGENT_IDLE_STOP", "1m"), ("AGENT_MCP_PORT", "1")):
        monkeypatch.setenv(variable, value)
    assert Settings.load().fingerprints() == before


def test_an_edited_tool_module_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_TOOL_MODULES", "my_tools")
    (tmp_path / "my_tools.py").write_text("# one\n")
    before = Settings.load().fingerprints()
    (tmp_path / "my_tools.py").write_text("# two\n")
    assert Settings.load().fingerprints()["AGENT_TOOL_MODULES"] != before["AGENT_TOOL_MODULES"]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program like ours: a module, and packages, of which one is a link."""
    for file in ("program/settings.py", "program/cli/runs.py", "program/worker/queues.py", "workflows/agent.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "program/workflows").symlink_to("../workflows")
    return tmp_path / "program"


@pytest.mark.parametrize("file", ["settings.py", "worker/queues.py", "workflows/agent.py"])
def test_an_update_of_the_program_is_a_difference(program: Path, file: str) -> None:
    before = Settings.load().fingerprints(program)
    edit(program / file)
    after = Settings.load().fingerprints(program)
    assert {name for name in after if after[name] != before[name]} == {"version of this program"}


def test_an_update_of_the_command_line_alone_is_no_difference_to_a_worker(program: Path) -> None:
    before = Settings.load().fingerprints(program)
    edit(program / "cli" / "runs.py")
    assert Settings.load().fingerprints(program) == before


def edit(file: Path) -> None:
    """Change a file later than any other was changed."""
    later = file.stat().st_mtime_ns + 10**9
    os.utime(file, ns=(later, later))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_table_with_its_meaning(name: str) -> None:
    row = next(line for line in settings_table().splitlines() if f"| `{Settings.variable(name)}` |" in line)
    assert str(Settings.model_fields[name].description) in row


def test_a_child_gets_our_environment_with_the_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MODEL", "one")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    environment = child_environment(AGENT_MODEL="two", OPENAI_API_KEY=None)
    assert environment["AGENT_MODEL"] == "two"
    assert "OPENAI_API_KEY" not in environment
    assert "PATH" in environment


# --- approval rules ----------------------------------------------------------------------------------------------

RULES = [{"tool": "write_*", "action": "ask", "reason": "Files are dear"}]


def test_rules_come_from_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('default = "deny"\n[[rules]]\ntool = "write_*"\naction = "ask"\nreason = "Files are dear"\n')
    monkeypatch.setenv("AGENT_APPROVALS", str(file))
    approvals = Settings.load().approvals
    assert approvals == Approvals.model_validate({"rules": RULES, "default": "deny"})
    before = Settings.load().fingerprints()
    file.write_text('default = "ask"\n')
    assert Settings.load().fingerprints()["AGENT_APPROVALS"] != before["AGENT_APPROVALS"]


@pytest.mark.parametrize(
    ("text", "approvals"),
    [
        ("", Approvals()),
        ("ask", Approvals.model_validate("ask")),
        ("DENY", Approvals.model_validate("deny")),
        (json.dumps(RULES), Approvals.model_validate(RULES)),
        (json.dumps({"rules": RULES, "default": "ask"}), Approvals.model_validate({"rules": RULES, "default": "ask"})),
    ],
)
def test_rules_may_be_a_word_or_json(monkeypatch: pytest.MonkeyPatch, text: str, approvals: Approvals) -> None:
    monkeypatch.setenv("AGENT_APPROVALS", text)
    assert Settings.load().approvals == approvals


UNUSABLE_RULES = [
    ("/nowhere/rules.toml", "AGENT_APPROVALS cannot be used: /nowhere/rules.toml cannot be read"),
    ("perhaps", "perhaps cannot be read"),
    ("[{]", "is not valid"),
    ('[{"tool": "a"}]', r"rules\[0\].action: Field required"),
    ('[{"tool": "a", "action": "maybe"}]', "must be 'allow', 'ask' or 'deny'"),
    ('[{"tol": "a", "action": "ask"}]', r"rules\[0\].tol"),
    ('[{"action": "ask", "arguments": {"a": {"regex": "("}}}]', "unclosed group"),
]


@pytest.mark.parametrize(("text", "why"), UNUSABLE_RULES)
def test_a_program_does_not_start_with_rules_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setenv("AGENT_APPROVALS", text)
    with pytest.raises(SettingsError, match=why):
        Settings.load()


def test_a_file_of_rules_that_is_not_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules.toml").write_bytes(b"default = ask\n\xff")
    monkeypatch.setenv("AGENT_APPROVALS", str(tmp_path / "rules.toml"))
    with pytest.raises(SettingsError, match=r"rules.toml is not valid"):
        Settings.load()
