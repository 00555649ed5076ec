"""What the README says is so: its programs run, its commands exist, its table is the settings."""

import asyncio
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from durable_responses.cli.app import app
from durable_responses.tools.registry import Registry
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer, WorkerProcess
from tests.support.settings_table import settings_table

CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def program_with(words: str) -> str:
    found: list[str] = [program for program in PROGRAMS if words in program]
    assert len(found) == 1
    return found[0]


def test_the_table_of_settings_is_current() -> None:
    """`python -m tests.support.settings_table` prints the current one."""
    assert settings_table().strip() in README


def test_every_command_of_the_table_exists_and_none_is_left_out() -> None:
    table = README.split("## The command line")[1].split("## From Temporal")[0]
    named = set(re.findall(r"`([a-z]+)[ `]", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert named == commands


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+?)\)", README))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert target.startswith("http") or (CHECKOUT / target).exists()


def test_the_tool_of_the_readme_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool_of_the_readme.py").write_text(program_with("def count_words"))
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry.from_modules(["tool_of_the_readme"])
    assert registry["count_words"]("three little words") == 3
    assert importlib.util.find_spec("tool_of_the_readme") is not None


async def test_the_python_program_of_the_readme_prints_an_answer(temporal: TemporalServer, tmp_path: Path) -> None:
    async with (
        EmulatorProcess(tmp_path) as emulator,
        WorkerProcess(temporal, emulator.base_url, folder=tmp_path) as worker,
    ):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program_with("start_workflow")),
            cwd=CHECKOUT,
            env=worker.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(program.communicate(), 60)
        assert "Say hello." in printed.decode()
