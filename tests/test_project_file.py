"""`durable-responses.toml`: what it may say, where it is found, and what a file that was downloaded cannot do."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from durable_responses.settings import Settings, SettingsError, child_environment, configured_address, is_set
from durable_responses.tools.approvals import Approvals

NAME = "durable-responses.toml"


class Project:
    """A folder with a project file, in which a program is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / NAME

    def says(self, text: str) -> None:
        """Write the file."""
        self.file.write_text(text)

    @property
    def refusal(self) -> str:
        """Why the settings are refused: one sentence, and where in the file."""
        with pytest.raises(SettingsError) as caught:
            Settings.load()
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with nothing in it; programs are started two folders below."""
    folder = tmp_path.resolve() / "project"
    (folder / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(folder / "src" / "deep")
    return Project(folder)


# --- what is in force ------------------------------------------------------------------------------------------------


def test_a_file_in_a_folder_above_is_found_and_the_environment_wins(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.says('AGENT_MODEL = "of the file"\nAGENT_MAX_TOOLS = 7\n')
    monkeypatch.setenv("AGENT_MAX_TOOLS", "8")
    settings = Settings()
    assert (settings.model, settings.max_tools) == ("of the file", 8)
    assert settings.project_file == project.file


def test_a_program_can_say_more_than_the_file(project: Project) -> None:
    project.says('AGENT_MODEL = "of the file"\n')
    assert Settings(model="of the program").model == "of the program"


def test_the_nearest_file_counts_alone(project: Project) -> None:
    project.says('AGENT_MODEL = "far"\nAGENT_MAX_TOOLS = 7\n')
    (project.folder / "src" / NAME).write_text('AGENT_MODEL = "near"\n')
    settings = Settings.load()
    assert (settings.model, settings.max_tools) == ("near", 50)


def test_an_empty_variable_and_an_empty_text_count_as_not_set(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.says('AGENT_MODEL = "of the file"\nAGENT_TASK_QUEUE = ""\n')
    monkeypatch.setenv("AGENT_MODEL", "")
    settings = Settings.load()
    assert (settings.model, settings.task_queue) == ("of the file", "agents")


def test_values_have_the_types_of_toml_or_are_written_as_in_the_environment(project: Project) -> None:
    project.says(
        'AGENT_TOOL_MODULES = ["one", "more.two"]\nAGENT_ALLOW_HIDDEN_FILES = true\nAGENT_IDLE_STOP = 90\n'
        'AGENT_MAX_WAITING = "9"\nAGENT_POLL_CAP = 3\n'
    )
    settings = Settings.load()
    assert settings.tool_modules == ["one", "more.two"]
    assert settings.allow_hidden_files is True
    assert settings.idle_stop.total_seconds() == 90
    assert (settings.max_waiting, settings.poll_cap) == (9, 3.0)


def test_relative_folders_are_relative_to_the_file(project: Project) -> None:
    project.says('AGENT_STATE_FOLDER = "state"\nAGENT_OUTPUT_ROOT = "results/new"\n')
    settings = Settings.load()
    # The environment of the tests has a state folder.
    assert settings.output_root == project.folder / "results" / "new"
    assert child_environment()["AGENT_OUTPUT_ROOT"] == str(settings.output_root)


def test_the_folders_of_a_project_are_those_beside_its_file(project: Project) -> None:
    """From each of its folders the same: so one stack fits all of them."""
    project.says("")
    (project.folder / "workspace").mkdir()
    settings = Settings.load()
    assert settings.project_folder == settings.files_root == settings.output_root == project.folder
    assert settings.workspace == project.folder / "workspace"


def test_without_a_file_the_project_is_the_current_folder(project: Project) -> None:
    settings = Settings.load()
    assert settings.project_file is None
    assert settings.project_folder == settings.files_root == Path.cwd()


def test_the_environment_can_name_the_file_or_none(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project.says('AGENT_MODEL = "found"\n')
    other = tmp_path / "other.toml"
    other.write_text('AGENT_MODEL = "named"\n')
    monkeypatch.setenv("AGENT_PROJECT_FILE", str(other))
    assert Settings.load().model == "named"
    monkeypatch.setenv("AGENT_PROJECT_FILE", "none")
    assert (Settings.load().model, Settings.load().project_file) == ("gpt-5.4", None)


def test_a_child_has_what_the_file_says_wherever_it_is_started(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker in the background is started again, from another folder, after the file was edited."""
    project.says('AGENT_MODEL = "of the file"\nAGENT_TOOL_MODULES = ["a", "b"]\nAGENT_ALLOW_WEBSOCKET = true\n')
    ours = Settings.load()
    environment = child_environment()
    project.says("This is not TOML.")
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        if name.startswith("AGENT_"):
            monkeypatch.setenv(name, value)
    theirs = Settings.load()
    assert theirs.fingerprints() == ours.fingerprints()
    assert (theirs.allow_websocket, theirs.project_folder) == (True, project.folder)


def test_what_the_file_says_is_set(project: Project) -> None:
    project.says('AGENT_MODEL = "of the file"\n')
    assert (is_set("AGENT_MODEL"), is_set("AGENT_WORKSPACE")) == (True, False)


def test_the_file_may_name_the_server_of_the_runs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.says('TEMPORAL_ADDRESS = "ours:7233"\nTEMPORAL_NAMESPACE = "team"\n')
    assert configured_address() == "ours:7233"
    assert child_environment()["TEMPORAL_NAMESPACE"] == "team"
    monkeypatch.setenv("TEMPORAL_ADDRESS", "mine:7233")
    assert configured_address() == "mine:7233"


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('\nAGENT_MODLE = "x"\n', 2, "there is no setting 'AGENT_MODLE'. Did you mean 'AGENT_MODEL'?"),
        ('model = "x"\n', 1, "there is no setting 'model'. Did you mean 'AGENT_MODEL'?"),
        ('agent_model = "x"\n', 1, "there is no setting 'agent_model'. Did you mean 'AGENT_MODEL'?"),
        ('max-tools = "x"\n', 1, "there is no setting 'max-tools'. Did you mean 'AGENT_MAX_TOOLS'?"),
        ('base_url = "x"\n', 1, "there is no setting 'base_url'. Did you mean 'OPENAI_BASE_URL'?"),
        ('\n[agent]\nmodel = "x"\n', 2, "there is no setting 'agent'. Settings stand one a line"),
        ('AGENT_LOG_LEVEL = "waring"\n', 1, "Did you mean 'warning'?"),
        ("AGENT_RUN_FIELDS = { temprature = 1 }\n", 1, "AGENT_RUN_FIELDS cannot be used: temprature is not a field of"),
        (
            "AGENT_RUN_FIELDS = { temperature = 9 }\n",
            1,
            "AGENT_RUN_FIELDS cannot be used: temperature: must be at most",
        ),
        ('AGENT_LOG_FORMAT = "xml"\n', 1, "AGENT_LOG_FORMAT cannot be used: must be 'text' or 'json'."),
        ('AGENT_ALLOW_WEBSOCKET = "perhaps"\n', 1, "AGENT_ALLOW_WEBSOCKET cannot be used: must be true or false."),
        ('AGENT_ALLOW_HIDDEN_FILES = "ture"\n', 1, "Did you mean 'true'?"),
        ("# a\n\nAGENT_MODEL = 5\n", 3, "AGENT_MODEL cannot be used: must be text."),
        ('AGENT_MAX_TOOLS = "many"\n', 1, "must be a whole number."),
        ("AGENT_WORKSPACE = 5\n", 1, "AGENT_WORKSPACE cannot be used: must be the path of a folder, as text."),
        ("AGENT_IDLE_STOP = 07:30:00\n", 1, "AGENT_IDLE_STOP cannot be used: must be a time such as 90s"),
        ("AGENT_IDLE_STOP = true\n", 1, "must be a time such as 90s"),
        ("AGENT_POLL_CAP = inf\n", 1, "finite number"),
        ("TEMPORAL_NAMESPACE = 5\n", 1, "TEMPORAL_NAMESPACE cannot be used: must be text."),
        ('AGENT_TASK_QUEUE = """\nAGENT_MAX_TOOLS = 0\n"""\nAGENT_MAX_TOOLS = 0\n', 4, "must be at least 1."),
        ('OPENAI_API_KEY = "sk-1"\n', 1, "OPENAI_API_KEY is a secret, so it is read from the environment only."),
        ('AGENT_MCP_TOKEN = "x"\n', 1, "AGENT_MCP_TOKEN is a secret, so it is read from the environment only."),
        ('TEMPORAL_API_KEY = "x"\n', 1, "TEMPORAL_API_KEY is a secret, so it is read from the environment only."),
        ('TEMPORAL_PROFILE = "x"\n', 1, "or from Temporal's own file (TEMPORAL_CONFIG_FILE)."),
        ("OTEL_SDK_DISABLED = true\n", 1, "OTEL_SDK_DISABLED is read from the environment only."),
        ('AGENT_SECRETS = "HOME"\n', 1, "AGENT_SECRETS is read from the environment only."),
        ('AGENT_TRUSTED_PROJECTS = "/"\n', 1, "AGENT_TRUSTED_PROJECTS is read from the environment only."),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(project: Project, text: str, line: int, reason: str) -> None:
    project.says(text)
    assert project.refusal.startswith(f"{project.file}, line {line}: ")
    assert reason in project.refusal
    assert "sk-1" not in project.refusal


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\nAGENT_MODEL = gpt-5.4\n", ", line 2 is not valid TOML: this is no value; texts are written in quotes"),
        ('AGENT_MODEL = "gpt\n', ", line 1 is not valid TOML: a text begins with a quote, and the quote at its end"),
        ('AGENT_MODEL = "a"\nAGENT_MODEL = "b"\n', ", line 2 is not valid TOML: this setting has a value already."),
        ("AGENT_MODEL\n", ", line 1 is not valid TOML: expected '='"),
        ("export AGENT_MODEL=1\n", ", line 1 is not valid TOML: expected '='"),
        ("A = " + "[" * 5000, " is not valid TOML: it is nested too deep."),
        ("#" * 2**21, " cannot be read: it has more than 1048576 bytes."),
    ],
)
def test_what_is_not_toml_is_said_in_one_sentence(project: Project, text: str, told: str) -> None:
    project.says(text)
    assert project.refusal.startswith(f"{project.file}{told}")


def test_text_in_another_encoding_is_said_with_its_line(project: Project) -> None:
    project.file.write_bytes("AGENT_MODEL = 'x'\n# Größe\n".encode("latin-1"))
    assert project.refusal == f"{project.file}, line 2: this is not UTF-8 text."


def test_a_byte_order_mark_and_carriage_returns_are_no_problem(project: Project) -> None:
    project.file.write_bytes(b"\xef\xbb\xbfAGENT_MODEL = 'x'\r\nAGENT_MAX_TOOLS = 3\r\n")
    assert (Settings.load().model, Settings.load().max_tools) == ("x", 3)


def test_a_folder_of_that_name_is_refused(project: Project) -> None:
    project.file.mkdir()
    assert project.refusal == f"{project.file} cannot be read: it is not a file."


def test_a_file_that_is_named_and_missing_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_PROJECT_FILE", str(project.file))
    assert project.refusal == f"{project.file} cannot be read: No such file or directory."


def test_a_current_folder_that_was_removed_is_said(project: Project) -> None:
    Path.cwd().rmdir()
    assert project.refusal == "The current folder does not exist any more: change to another one."


# --- a file that came with a folder ----------------------------------------------------------------------------------

CARRIES_THE_KEY_AWAY = [
    ('OPENAI_BASE_URL = "https://evil.example/v1"', "OPENAI_BASE_URL would send OPENAI_API_KEY to evil.example"),
    ('OPENAI_BASE_URL = "https://u:secret@evil.example/v1"', "would send OPENAI_API_KEY to evil.example;"),
    ('OPENAI_WEBSOCKET_BASE_URL = "wss://evil.example"', "would send OPENAI_API_KEY to evil.example"),
    ('TEMPORAL_ADDRESS = "evil.example:7233"', "let evil.example:7233 start runs that OPENAI_API_KEY pays for"),
    ('AGENT_TOOL_MODULES = "my_tools"', "would let files of this folder run with OPENAI_API_KEY"),
    ('AGENT_STATE_FOLDER = "state"', "would let files of this folder run with OPENAI_API_KEY"),
    ('AGENT_CACHE_FOLDER = "bin"', "would let programs of this folder run"),
    ('TEMPORAL_CLI = "temporal"', "would let programs of this folder run"),
    ('[mcpServers.a]\ncommand = "a"', "would let programs of this folder run"),
    ('AGENT_WORKSPACE = ".."', "AGENT_WORKSPACE is outside of the project"),
    ('AGENT_FILES_ROOT = "/"', "AGENT_FILES_ROOT is outside of the project"),
    ('AGENT_OUTPUT_ROOT = "~"', "AGENT_OUTPUT_ROOT is outside of the project"),
    ('AGENT_RUN_FIELDS = { service_tier = "flex" }', "would decide what runs send to whom"),
    ("AGENT_ALLOW_PRIVATE_ADDRESSES = true", "would open your network to the model"),
]


@pytest.fixture
def with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment, and no server or binary named there."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    for name in ("TEMPORAL_CLI", "AGENT_CACHE_FOLDER", "AGENT_STATE_FOLDER", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("with_key")
@pytest.mark.parametrize(("text", "reason"), CARRIES_THE_KEY_AWAY)
def test_with_a_key_nothing_in_the_file_may_carry_it_away(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    project.says(f"{text}\n")
    assert reason in project.refusal
    assert project.refusal.endswith(f"set AGENT_TRUSTED_PROJECTS={project.folder} in the environment.")
    assert "secret" not in project.refusal
    monkeypatch.setenv("AGENT_TRUSTED_PROJECTS", f"/nowhere, {project.folder}")
    assert Settings.load().project_file == project.file
    monkeypatch.setenv("AGENT_TRUSTED_PROJECTS", str(project.folder.parent))
    assert Settings.load().project_file == project.file
    monkeypatch.delenv("AGENT_TRUSTED_PROJECTS")
    monkeypatch.setenv("AGENT_PROJECT_FILE", str(project.file))
    assert Settings.load().project_file == project.file


@pytest.mark.usefixtures("with_key")
@pytest.mark.parametrize(
    "text",
    [
        'OPENAI_BASE_URL = "https://api.openai.com/v1/"',
        'AGENT_MODEL = "x"',
        'AGENT_WORKSPACE = "data"',
        "AGENT_ALLOW_PRIVATE_ADDRESSES = false",
        'OPENAI_BASE_URL = ""',
    ],
)
def test_with_a_key_the_file_may_say_what_is_harmless(project: Project, text: str) -> None:
    project.says(f"{text}\n")
    assert Settings.load().project_file == project.file


@pytest.mark.usefixtures("with_key")
def test_what_the_environment_decides_is_not_the_files_to_decide(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.says('OPENAI_BASE_URL = "https://evil.example/v1"\n')
    monkeypatch.setenv("OPENAI_BASE_URL", "https://mine.example/v1")
    assert Settings.load().openai_base_url == "https://mine.example/v1"


def test_a_key_of_a_program_is_no_safer_from_the_file(project: Project) -> None:
    project.says('OPENAI_BASE_URL = "https://evil.example/v1"\n')
    with pytest.raises(SettingsError, match="would send OPENAI_API_KEY to evil"):
        Settings(openai_api_key=SecretStr("sk-of-the-program"))


def test_without_a_key_the_file_may_name_a_server_and_tools(project: Project) -> None:
    project.says('OPENAI_BASE_URL = "http://127.0.0.1:8080/v1"\nAGENT_TOOL_MODULES = "my_tools"\n')
    assert Settings.load().openai_base_url == "http://127.0.0.1:8080/v1"


def test_programs_of_the_folder_do_not_run_without_a_key_either(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever only lists runs would start them."""
    monkeypatch.delenv("AGENT_CACHE_FOLDER", raising=False)
    project.says('AGENT_CACHE_FOLDER = "bin"\n')
    assert "AGENT_CACHE_FOLDER would let programs of this folder run" in project.refusal


def test_a_server_that_the_file_names_sees_no_files_outside_of_the_project(project: Project) -> None:
    project.says('OPENAI_BASE_URL = "http://evil.example/v1"\nAGENT_WORKSPACE = "~"\n')
    assert "AGENT_WORKSPACE is outside of the project" in project.refusal


def test_a_link_out_of_the_project_leads_outside(project: Project, tmp_path: Path, with_key: None) -> None:
    (project.folder / "data").symlink_to(tmp_path)
    project.says('AGENT_WORKSPACE = "data"\n')
    assert "AGENT_WORKSPACE is outside of the project" in project.refusal


def test_the_key_of_a_profile_of_temporals_is_not_sent_to_the_files_server(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "temporal.toml"
    profile.write_text('[profile.default]\naddress = "mine:7233"\napi_key = "secret"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profile))
    project.says('TEMPORAL_ADDRESS = "evil.example:7233"\n')
    with pytest.raises(SettingsError, match="would send TEMPORAL_API_KEY to evil"):
        configured_address()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder above, such as /tmp, anybody may have put one."""
    project.says('AGENT_MODEL = "x"\n')
    os.chown(project.file, 4321, 4321)
    assert project.refusal.startswith(f"{project.file} belongs to another user, so it is not read: ")
    monkeypatch.setenv("AGENT_TRUSTED_PROJECTS", str(project.folder))
    assert Settings.load().model == "x"


# --- approval rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'AGENT_APPROVALS = "rules/mine.toml"\n',
        'AGENT_APPROVALS = {default = "ask", rules = [{tool = "a", action = "deny"}]}\n',
        '[AGENT_APPROVALS]\ndefault = "ask"\n[[AGENT_APPROVALS.rules]]\ntool = "a"\naction = "deny"\n',
    ],
)
def test_rules_stand_in_the_file_or_in_one_beside_it(project: Project, text: str) -> None:
    """A child gets the same, wherever it starts."""
    (project.folder / "rules").mkdir()
    (project.folder / "rules" / "mine.toml").write_text('default = "ask"\nrules = [{tool = "a", action = "deny"}]\n')
    project.says(text)
    wanted = Approvals.model_validate({"default": "ask", "rules": [{"tool": "a", "action": "deny"}]})
    assert Settings.load().approvals == wanted
    said = child_environment()["AGENT_APPROVALS"]
    assert Settings(approvals=said).approvals == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["ask", "deny"])
def test_a_default_alone_is_a_word(project: Project, word: str) -> None:
    project.says(f'AGENT_APPROVALS = "{word}"\n')
    assert Settings.load().approvals == Approvals.model_validate(word)


def test_a_list_of_rules_may_stand_in_the_file(project: Project) -> None:
    project.says('AGENT_APPROVALS = [{tool = "a", action = "ask"}]\n')
    assert Settings.load().approvals == Approvals.model_validate([{"tool": "a", "action": "ask"}])
    assert child_environment()["AGENT_APPROVALS"].startswith("[")


def test_rules_that_cannot_be_used_are_told_with_their_line(project: Project) -> None:
    project.says('AGENT_MODEL = "m"\n\n[[AGENT_APPROVALS]]\ntool = "a"\n')
    with pytest.raises(SettingsError, match=r"line 3: AGENT_APPROVALS cannot be used: rules\[0\].action"):
        Settings.load()
