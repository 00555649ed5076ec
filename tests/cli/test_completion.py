"""`completion`: what a shell offers at the tab key."""

import subprocess
from pathlib import Path

import pytest

from durable_responses.cli.entry import COMMANDS
from tests.support.shell import COMMAND

_AT_TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_durable_responses
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    return subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def for_bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "bash"
    path.write_text(script("bash"))
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sho"], ["show"]),
        (["--v"], ["--version"]),
        (["run", "--eff"], ["--effort"]),
        (["run", "--effort", "m"], ["minimal", "medium", "max"]),
        (["run", "-e", "hi"], ["high"]),
        (["list", "--wh"], ["--where"]),
        (["show", "--m"], ["--markdown"]),
        (["tools", "ca"], ["call"]),
        (["tools", "--j"], ["--json"]),
        (["run", "--file", "nothing-of-ours"], [""]),
    ],
)
def test_bash_completes_commands_options_and_their_values(typed: list[str], offered: list[str], for_bash: Path) -> None:
    command = ["bash", "-c", _AT_TAB, "bash", str(for_bash), "durable-responses", *typed]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (told.stdout.rstrip("\n").split("\n"), told.stderr) == (offered, "")


def test_zsh_uses_the_same_through_its_own_door() -> None:
    assert script("zsh").startswith("autoload -U +X bashcompinit && bashcompinit\n")


def test_a_project_file_that_is_wrong_does_not_disturb_a_shell(tmp_path: Path) -> None:
    (tmp_path / "durable-responses.toml").write_text("This is not TOML.")
    told = subprocess.run([*COMMAND, "completion", "bash"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")


def test_fish_has_a_line_for_each_command_and_option() -> None:
    lines = script("fish").splitlines()
    assert all(any(f"-a {name} -d " in line for line in lines) for name in COMMANDS)
    [effort] = [line for line in lines if "from run'" in line and "-l effort" in line]
    assert "-xa 'none minimal low medium high xhigh max'" in effort
