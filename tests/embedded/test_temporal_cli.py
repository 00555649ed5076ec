"""The search for the `temporal` binary, with real executables that only claim to be what they are not."""

import asyncio
import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from durable_responses import progress
from durable_responses.embedded import TemporalCliMissing, temporal_cli
from tests.support.machines import GO, TEMPORAL, Machine, executable


@pytest.fixture
def silent_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A proxy that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield


async def test_the_binary_that_is_named_comes_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    named = executable(machine.cache.parent / "mine", TEMPORAL)
    executable(machine.path / "temporal", TEMPORAL)
    monkeypatch.setenv("TEMPORAL_CLI", str(named))
    assert await machine.find() == named


@pytest.mark.parametrize("script", ["", "#!/bin/sh\necho something else\n", None], ids=["empty", "other", "missing"])
async def test_a_named_binary_that_is_none_is_an_error_and_not_passed_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    named = machine.cache.parent / "mine"
    if script is not None:
        executable(named, script)
    executable(machine.path / "temporal", TEMPORAL)
    monkeypatch.setenv("TEMPORAL_CLI", str(named))
    with pytest.raises(TemporalCliMissing, match=r"TEMPORAL_CLI is .*/mine, which is not a Temporal CLI"):
        await machine.find()


async def test_the_path_comes_before_the_cache(machine: Machine) -> None:
    on_path = executable(machine.path / "temporal", TEMPORAL)
    executable(machine.cache / "bin" / f"temporal-{temporal_cli.TEMPORAL_CLI.version}", TEMPORAL)
    assert await machine.find() == on_path


async def test_another_program_called_temporal_is_passed_over(machine: Machine) -> None:
    executable(machine.path / "temporal", "#!/bin/sh\necho a clock\n")
    cached = executable(machine.cache / "bin" / f"temporal-{temporal_cli.TEMPORAL_CLI.version}", TEMPORAL)
    assert await machine.find() == cached
    assert machine.said == [f"{machine.path / 'temporal'} is not a Temporal CLI with a dev server; looking elsewhere."]


async def test_the_cache_comes_before_the_network(machine: Machine) -> None:
    cached = executable(machine.cache / "bin" / f"temporal-{temporal_cli.TEMPORAL_CLI.version}", TEMPORAL)
    assert await machine.find() == cached
    assert machine.said == []


async def test_where_nothing_can_be_fetched_it_is_built_with_go(machine: Machine) -> None:
    executable(machine.path / "go", GO)
    built = await machine.find()
    assert built == machine.cache / "bin" / f"temporal-{temporal_cli.TEMPORAL_CLI.version}"
    assert os.access(built, os.X_OK)
    assert machine.said[0] == "Downloading the Temporal CLI."
    assert machine.said[1].startswith("The Temporal CLI could not be downloaded (")
    assert "Building the Temporal CLI 1.5.1 with Go, once" in machine.said[2]


async def test_a_download_of_which_nothing_arrives_is_given_up(
    machine: Machine, silent_proxy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_cli, "_STALLED", 0.3)
    executable(machine.path / "go", GO)
    await machine.find()
    assert machine.said[1] == "The Temporal CLI could not be downloaded (nothing arrived)."


async def test_two_at_the_same_time_build_once(machine: Machine) -> None:
    executable(machine.path / "go", GO)
    one, other = await asyncio.gather(machine.find(), machine.find())
    assert one == other
    assert (machine.path / "calls").read_text() == "called\n"


async def test_a_build_that_takes_long_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_WORD", 0.1)
    executable(machine.path / "go", GO.replace("while", "sleep 0.5\nwhile", 1))
    await machine.find()
    assert any(line.startswith("  … building the Temporal CLI, ") for line in machine.said)


async def test_a_build_that_fails_is_told_with_its_last_words(machine: Machine) -> None:
    executable(machine.path / "go", "#!/bin/sh\necho 'go: the disk is full' >&2\nexit 1\n")
    with pytest.raises(TemporalCliMissing, match=r"could not be built \(go: the disk is full\): install it"):
        await machine.find()
    assert not (machine.cache / "bin" / f"temporal-{temporal_cli.TEMPORAL_CLI.version}").exists()


async def test_a_build_that_is_interrupted_leaves_no_process(machine: Machine) -> None:
    executable(machine.path / "go", '#!/bin/sh\necho $$ > "$(dirname "$0")/pid"\nsleep 1000\n')
    finding = asyncio.create_task(machine.find())
    pid = machine.path / "pid"
    async with asyncio.timeout(20):
        while not (pid.exists() and pid.read_text()):
            await asyncio.sleep(0.02)
    building = psutil.Process(int(pid.read_text()))
    finding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finding
    assert not building.is_running()


async def test_without_any_way_to_have_it_the_message_says_what_to_install(machine: Machine) -> None:
    with pytest.raises(TemporalCliMissing, match=r"install it and put it on the PATH, .* TEMPORAL_CLI, or install Go"):
        await machine.find()


async def test_a_cache_folder_that_cannot_be_used_is_named(machine: Machine) -> None:
    machine.cache.write_text("a file")
    with pytest.raises(TemporalCliMissing, match=r"cache folder .*/cache/bin cannot be used .* set AGENT_CACHE_FOLDER"):
        await machine.find()
