"""Setting up .venv: what is said of it, on a terminal and in a log, and what happens where uv cannot."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from durable_responses.settings import child_environment
from tests.support.machines import executable
from tests.support.processes import CHECKOUT
from tests.support.terminal import TerminalProcess

SET_UP = str(CHECKOUT / "dev" / "set_up.py")
# What uv prints, without a terminal; the second time is the one of the project itself.
UV = """#!/bin/sh
case "$*" in
*--editable*) echo 'Installed 1 package in 1ms' ;;
*) printf 'Resolved 75 packages in 283ms\\nDownloading grpcio (7.0MiB)\\nDownloading temporalio (13.7MiB)\\n'
   printf ' Downloaded grpcio\\n'
   while [ -e "$(dirname "$0")/slow" ]; do sleep 0.1; done
   printf ' Downloaded temporalio\\nInstalled 67 packages in 60ms\\n'
   for name in a b c; do echo " + $name==1.0"; done ;;
esac
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    executable(tmp_path / "bin" / "uv", UV)
    return child_environment(PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_one_line_says_what_was_installed(tmp_path: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, SET_UP, "-r", "x.txt"], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("Installed 68 packages in ")


async def test_on_a_terminal_it_says_what_is_downloaded_and_how_large_that_is(
    tmp_path: Path, env: dict[str, str]
) -> None:
    slow = tmp_path / "bin" / "slow"
    slow.touch()
    async with TerminalProcess([sys.executable, SET_UP, "-r", "x.txt"], env, tmp_path) as terminal:
        await terminal.drawn(r"… installing packages, \d s: downloading temporalio \(13.7MiB\)")
        slow.unlink()
        assert await terminal.ended() == 0
    assert terminal.text.count("\n") == 1


async def test_a_log_gets_a_line_from_time_to_time(tmp_path: Path, env: dict[str, str]) -> None:
    slow = tmp_path / "bin" / "slow"
    slow.touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SET_UP, "-r", "x.txt"), env=env, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    word = (await asyncio.wait_for(process.stderr.readline(), 30)).decode()
    assert word.endswith(" s: downloading temporalio (13.7MiB)\n")
    slow.unlink()
    assert (await process.stderr.read()).decode().startswith("Installed 68 packages in ")


def test_where_uv_cannot_install_pip_tries_and_both_say_why_not(tmp_path: Path, env: dict[str, str]) -> None:
    executable(tmp_path / "bin" / "uv", "#!/bin/sh\necho 'error: no route to the packages'\nexit 2\n")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    command = [str(venv / "bin" / "python"), SET_UP, "-r", "missing.txt"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    first, second, *_, last = done.stderr.splitlines()
    assert (first, second) == ("error: no route to the packages", "uv cannot install it; trying pip.")
    assert "requirements" in done.stderr.split("trying pip.")[1]
    assert last == "The packages cannot be installed."
