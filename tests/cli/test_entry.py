"""`durable-responses worker`, `emulator` and `mcp` are the programs of those names, and load nothing of the others."""

import subprocess
import sys

import pytest

from durable_responses.cli.entry import PROGRAMS

OF_THE_COMMANDS = {"typer", "durable_responses.cli.app"}


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_has_its_own_help_under_our_name(name: str) -> None:
    shown = run("from durable_responses.cli.entry import main; main()", name, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: durable-responses {name} ")


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_starts_without_what_parses_the_commands(name: str) -> None:
    code = """
import sys
from durable_responses.cli.entry import main
try:
    main()
except SystemExit:
    sys.stdout.write(chr(10) + " ".join(sys.modules))
"""
    loaded = run(code, name, "--help").stdout.splitlines()[-1].split()
    assert f"durable_responses.{'mcp_server' if name == 'mcp' else name}" in loaded
    assert not OF_THE_COMMANDS & set(loaded)


def test_wrong_arguments_of_a_program_are_wrong_usage() -> None:
    refused = run("from durable_responses.cli.entry import main; main()", "worker", "--queues", "none")
    assert refused.returncode == 2
    assert "durable-responses worker: error: argument --queues" in refused.stderr


def test_the_entry_itself_loads_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import durable_responses.cli.entry; print(*set(sys.modules) - before)"
    )
    loaded = {name.split(".")[0] for name in run(code).stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"durable_responses"}
