"""Programs that are built with Go, with a `go` that only claims to build."""

from pathlib import Path

import pytest

from durable_responses.embedded.go_programs import ProgramMissing, find_go_program, output_of
from durable_responses.embedded.temporal_server import SERVER, SQL_TOOL
from durable_responses.embedded.web_ui import WEB_UI
from durable_responses.settings import Settings
from tests.support.machines import GO, Machine, executable

PROGRAMS = [SERVER, SQL_TOOL, WEB_UI]


async def test_a_program_is_built_once_into_the_cache_folder(machine: Machine) -> None:
    executable(machine.path / "go", GO)
    settings = Settings(cache_folder=machine.cache)
    for program in [*PROGRAMS, *PROGRAMS]:
        path = await find_go_program(program, settings, machine.said.append)
        assert path == machine.cache / "bin" / f"{program.binary}-{program.version}"
    assert (machine.path / "calls").read_text() == "called\n" * len(PROGRAMS)


async def test_how_long_the_build_takes_is_said_beforehand(machine: Machine) -> None:
    executable(machine.path / "go", GO)
    await find_go_program(SERVER, Settings(cache_folder=machine.cache), machine.said.append)
    assert machine.said[0] == "Building the Temporal server 1.32.1 with Go, once; this takes about nine minutes."


async def test_without_go_the_message_says_what_to_do(machine: Machine) -> None:
    with pytest.raises(ProgramMissing, match=r"No Temporal server was found: run the images of docker-compose\.yml .*"):
        await find_go_program(SERVER, Settings(cache_folder=Path(machine.cache)), print)


async def test_programs_of_others_get_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-others")
    monkeypatch.setenv("AGENT_MCP_TOKEN", "not-for-others")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    code, text = await output_of(["env"], SQL_PORT="5432")
    assert code == 0
    assert "not-for-others" not in text
    assert {"HTTPS_PROXY=http://proxy.example", "SQL_PORT=5432"} <= set(text.splitlines())
