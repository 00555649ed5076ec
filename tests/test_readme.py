"""What the README says is so: its programs run, its commands do what it says, its table is the settings."""

import asyncio
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

from durable_responses.cli.entry import COMMANDS
from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import child_environment
from durable_responses.tools.registry import Registry
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import CHECKOUT, TemporalServer, WorkerProcess
from tests.support.settings_table import IN_THE_README, settings_table

README = (CHECKOUT / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def program_with(words: str) -> str:
    found: list[str] = [program for program in PYTHON if words in program]
    assert len(found) == 1
    return found[0]


def test_it_can_be_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 220


def test_the_settings_that_matter_are_current() -> None:
    """`python -m tests.support.settings_table readme` prints the current table."""
    assert settings_table(IN_THE_README) in README


def test_the_page_of_all_settings_is_current() -> None:
    """`python -m tests.support.settings_table` prints the current table."""
    assert settings_table() in (CHECKOUT / "docs" / "settings.md").read_text()


def rows_of_commands() -> list[tuple[list[str], str]]:
    """The table of the command line: the commands of a row, and what it says of them."""
    table = README.split("## The command line")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", table, re.MULTILINE)
    return [(re.findall(r"`([a-z]+)[ `]", first), text) for first, text in rows]


def test_every_command_of_the_table_exists_and_none_is_left_out() -> None:
    assert {name for names, _ in rows_of_commands() for name in names} == COMMANDS.keys()


def test_the_table_says_of_a_command_what_its_help_says() -> None:
    told = {names[0]: text for names, text in rows_of_commands() if len(names) == 1}
    assert told
    assert [name for name, text in told.items() if not text.startswith(_as_a_part(COMMANDS[name].help))] == []


def _as_a_part(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")


def likeness(line: str) -> str:
    """A line of output without what differs from run to run: ids, times, counts, and where a response stood."""
    line = re.sub(r"response \w+", "response …", line)
    line = re.sub(r"(resp_)[0-9a-f]+|(?<=-)[0-9a-f]{6}\b", r"\1…", line)
    return re.sub(r"\d+(,\d+)*", "0", line)


async def test_the_output_of_the_readme_is_what_is_printed(temporal: TemporalServer, tmp_path: Path) -> None:
    """The run of `make run`. The first two lines are those of the embedded stack, whose tests look at them."""
    [block] = re.findall(r"^\$ make run\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    _starting, responses, *lines = [line for line in block.splitlines() if line != "…"]
    emulated = Provider(kind=ProviderKind.EMULATOR, base_url="http://localhost", websocket_base_url="ws://localhost")
    assert responses == emulated.sentence
    task = re.search(r"^TASK = (.*?[^\\])$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    assert task is not None
    async with (
        EmulatorProcess(tmp_path) as emulator,
        WorkerProcess(
            temporal, emulator.base_url, folder=tmp_path, AGENT_WORKSPACE=str(CHECKOUT / "workspace")
        ) as worker,
    ):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "durable_responses.cli", "run", "--effort", "high", re.sub(r"\\\s+", "", task[1])),
            cwd=tmp_path,
            env=worker.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(program.communicate(), 120)
    seen = {likeness(line) for line in printed.decode().splitlines()}
    assert [line for line in lines if likeness(line) not in seen and not line.startswith("http://")] == []


async def test_the_commands_of_temporal_do_what_the_readme_says(temporal: TemporalServer, tmp_path: Path) -> None:
    """Start, query, signal and result, one after the other; then cancel, on a second run of that id."""
    section = README.split("## From Temporal")[1].split("\n## ")[0]
    start, query, signal, cancel, result = re.findall(r"^durable-responses (temporal .*)$", section, re.MULTILINE)

    async def typed(command: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "durable_responses.cli", *shlex.split(command)),
            env=child_environment(TEMPORAL_ADDRESS=temporal.address, AGENT_STATE_FOLDER=str(tmp_path / "state")),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, printed.decode()

    async with (
        EmulatorProcess(tmp_path, "--scenario", "think?seconds=600") as emulator,
        WorkerProcess(temporal, emulator.base_url, folder=tmp_path),
    ):
        assert (await typed(start))[0] == 0
        code, printed = await typed(query)
        assert code == 0, printed
        assert "max_iterations" in printed
        assert (await typed(signal))[0] == 0
        code, printed = await typed(result)
        assert code == 0, printed
        assert '"status":"cancelled"' in "".join(printed.split())
        assert "no longer needed" in printed
        assert (await typed(start))[0] == 0
        assert (await typed(cancel))[0] == 0
        _, printed = await typed(result)
        assert "CANCELED" in printed.upper()


def test_the_tool_of_the_readme_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool_of_the_readme.py").write_text(program_with("def count_words"))
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry.from_modules(["tool_of_the_readme"])
    assert registry["count_words"]("three little words") == 3
    assert importlib.util.find_spec("tool_of_the_readme") is not None


async def test_the_python_program_of_the_readme_prints_an_answer(temporal: TemporalServer, tmp_path: Path) -> None:
    (tmp_path / "my_tools.py").write_text(program_with("def count_words"))
    async with (
        EmulatorProcess(tmp_path) as emulator,
        WorkerProcess(temporal, emulator.base_url, folder=tmp_path) as worker,
    ):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program_with("await run(")),
            cwd=tmp_path,
            env=worker.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(program.communicate(), 60)
        assert "Say hello." in printed.decode()
        assert program.returncode == 0
