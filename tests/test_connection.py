"""Where Temporal is, and what is said when it does not answer."""

import asyncio
import socket
from pathlib import Path

import pytest

from durable_responses.connection import TemporalUnreachable, connect, temporal_address
from durable_responses.settings import Settings, SettingsError, configured_address, temporal_namespace
from tests.support.processes import TemporalServer, free_port
from tests.support.stack_files import write_stack_file


def test_the_address_of_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stack_file(tmp_path)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "configured:7233")
    assert temporal_address(Settings(state_folder=tmp_path)) == "configured:7233"


def test_a_profile_of_temporals_own_file_counts_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.work]\naddress = "profile:7233"\nnamespace = "team"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_PROFILE", "work")
    assert (temporal_address(Settings(state_folder=tmp_path)), temporal_namespace()) == ("profile:7233", "team")


def test_where_nothing_is_configured_the_stacks_address_is_used(tmp_path: Path) -> None:
    write_stack_file(tmp_path, address="127.0.0.1:7239")
    assert configured_address() is None
    assert temporal_address(Settings(state_folder=tmp_path)) == "127.0.0.1:7239"


def test_without_a_stack_the_usual_address_is_used(tmp_path: Path) -> None:
    assert temporal_address(Settings(state_folder=tmp_path)) == "localhost:7233"


def test_a_configuration_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporal.toml").write_text("no toml")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "temporal.toml"))
    with pytest.raises(SettingsError, match="Temporal's configuration cannot be read"):
        temporal_address(Settings(state_folder=tmp_path))


async def test_a_server_that_does_not_answer_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises(TemporalUnreachable, match=f"Temporal is not responding at {address}: .* Runs are safe"):
        await connect()


async def test_a_server_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(TemporalUnreachable):
            await connect(attempt=0.3)


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
