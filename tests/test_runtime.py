import asyncio
import logging
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_responses.runtime import (
    LogLevel,
    Ports,
    Provider,
    ProviderKind,
    ProviderMissing,
    Settings,
    SettingsError,
    SetupError,
    StackFile,
    StackMode,
    TemporalUnreachable,
    child_environment,
    configured_address,
    connect,
    find_provider,
    setup_telemetry,
    temporal_address,
    temporal_namespace,
)
from tests.support.processes import CHECKOUT, TemporalServer, free_port
from tests.support.settings_table import settings_table

EMULATOR = "http://127.0.0.1:8484/v1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of the test, which exists and is empty."""
    monkeypatch.setenv("AGENT_STATE_FOLDER", str(tmp_path))
    return tmp_path


def write_stack_file(folder: Path, *, address: str = "127.0.0.1:7239", emulator: str | None = EMULATOR) -> None:
    stack = StackFile(
        pid=1,
        mode=StackMode.BACKGROUND,
        started_at=datetime.now(UTC),
        temporal_address=address,
        namespace="default",
        ports=Ports(),
        emulator_url=emulator,
        web_ui="http://127.0.0.1:8233",
    )
    (folder / "stack.json").write_text(stack.model_dump_json())


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("AGENT_MAX_TOOLS", "0", "greater than or equal to 1"),
        ("AGENT_MAX_WAITING", "many", "valid integer"),
        ("AGENT_RETENTION", "3h", "greater than or equal to 1 day"),
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
    with pytest.raises(SettingsError, match="AGENT_DEPLOYMENT_NAME and AGENT_BUILD_ID are set together or not at all"):
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


def test_an_update_of_the_program_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Settings.load().fingerprints()
    worker = CHECKOUT / "worker.py"
    monkeypatch.setattr("durable_responses.runtime._last_edit", lambda: worker.stat().st_mtime_ns + 1)
    after = Settings.load().fingerprints()
    assert {name for name in after if after[name] != before[name]} == {"version of this program"}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_table_with_its_meaning(name: str) -> None:
    row = next(line for line in settings_table().splitlines() if f"| `{Settings.variable(name)}` |" in line)
    assert str(Settings.model_fields[name].description) in row


# --- the provider ------------------------------------------------------------------------------------------------


def provider(**settings: Any) -> Provider:
    return find_provider(Settings(**settings))


def test_a_key_means_openai() -> None:
    found = provider(openai_api_key="sk-1")
    assert (found.kind, found.base_url) == (ProviderKind.OPENAI, "https://api.openai.com/v1")
    assert found.websocket_base_url == "wss://api.openai.com/v1"
    assert found.sentence == "Responses come from OpenAI, because OPENAI_API_KEY is set."


@pytest.mark.parametrize("key", [None, "sk-1"])
def test_a_base_url_means_a_compatible_server_with_or_without_a_key(key: str | None) -> None:
    found = provider(openai_base_url="http://host:1234/v1/", openai_api_key=key)
    assert (found.kind, found.base_url) == (ProviderKind.COMPATIBLE, "http://host:1234/v1")
    assert found.sentence == "Responses come from host:1234, because OPENAI_BASE_URL is set."


def test_a_websocket_address_of_its_own_is_taken_as_it_is() -> None:
    found = provider(openai_api_key="sk-1", openai_websocket_base_url="wss://other/v2")
    assert found.websocket_base_url == "wss://other/v2"


def test_a_password_in_the_base_url_is_not_told() -> None:
    assert "secret" not in provider(openai_base_url="http://me:secret@host/v1").sentence


def test_neither_key_nor_base_url_means_the_emulator_of_the_stack(folder: Path) -> None:
    write_stack_file(folder)
    found = find_provider(Settings.load())
    assert (found.kind, found.base_url) == (ProviderKind.EMULATOR, EMULATOR)
    assert "emulator" in found.sentence


@pytest.mark.parametrize("has_stack", [False, True], ids=["no stack", "a stack without emulator"])
def test_without_any_provider_the_error_says_what_to_set(folder: Path, has_stack: bool) -> None:
    if has_stack:
        write_stack_file(folder, emulator=None)
    with pytest.raises(ProviderMissing, match="OPENAI_API_KEY or OPENAI_BASE_URL, or start the emulator"):
        find_provider(Settings.load())


# --- Temporal ----------------------------------------------------------------------------------------------------


def test_the_address_of_the_environment_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stack_file(folder)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "configured:7233")
    assert temporal_address(Settings.load()) == "configured:7233"


def test_a_profile_of_temporals_own_file_counts_as_configured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "temporal.toml"
    file.write_text('[profile.work]\naddress = "profile:7233"\nnamespace = "team"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_PROFILE", "work")
    assert (temporal_address(Settings.load()), temporal_namespace()) == ("profile:7233", "team")


def test_where_nothing_is_configured_the_stacks_address_is_used(folder: Path) -> None:
    write_stack_file(folder, address="127.0.0.1:7239")
    assert configured_address() is None
    assert temporal_address(Settings.load()) == "127.0.0.1:7239"


def test_without_a_stack_the_usual_address_is_used(folder: Path) -> None:
    assert temporal_address(Settings.load()) == "localhost:7233"


def test_a_configuration_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "temporal.toml").write_text("no toml")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(folder / "temporal.toml"))
    with pytest.raises(SettingsError, match="Temporal's configuration cannot be read"):
        temporal_address(Settings.load())


def test_a_stack_file_of_another_version_is_named(folder: Path) -> None:
    (folder / "stack.json").write_text("{}")
    with pytest.raises(SetupError, match=r"stack\.json was written by another version"):
        temporal_address(Settings.load())


async def test_a_server_that_does_not_answer_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises(TemporalUnreachable, match=f"No Temporal server answers at {address}: .* are not lost"):
        await connect()


async def test_a_server_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable_responses.runtime.CONNECT_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(TemporalUnreachable):
            await connect()
    assert time.monotonic() - began < 3


async def test_an_address_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "no:address:at all")
    with pytest.raises(SettingsError, match="TEMPORAL_ADDRESS 'no:address:at all' cannot be used"):
        await connect()


async def test_patience_waits_for_a_server_that_is_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await TemporalServer.on(tmp_path)
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    async with asyncio.TaskGroup() as group:
        connecting = group.create_task(connect(patience=30))
        await asyncio.sleep(0)
        async with server:
            assert (await connecting).namespace == "default"


# --- processes ---------------------------------------------------------------------------------------------------


def test_a_child_gets_our_environment_with_the_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MODEL", "one")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    environment = child_environment(AGENT_MODEL="two", OPENAI_API_KEY=None)
    assert environment["AGENT_MODEL"] == "two"
    assert "OPENAI_API_KEY" not in environment
    assert "PATH" in environment


def test_the_log_level_is_set_for_everything_but_single_requests() -> None:
    root, level = logging.getLogger(), logging.getLogger().level
    try:
        setup_telemetry(Settings(log_level=LogLevel.DEBUG))
        assert root.level == logging.DEBUG
        assert logging.getLogger("httpx").getEffectiveLevel() == logging.WARNING
    finally:
        root.handlers.clear()
        root.setLevel(level)
