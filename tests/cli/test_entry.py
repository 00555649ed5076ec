"""`durable-responses`: one program, whose commands are found without loading what the others need."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from durable_responses.cli.entry import COMMANDS, GROUPS
from durable_responses.settings import child_environment
from durable_responses.workflows.contract import AgentInput, AgentResult
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import CHECKOUT, TemporalServer, WorkerProcess

PROGRAM = str(Path(sys.executable).with_name("durable-responses"))
PROGRAMS = GROUPS["Programs"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # A terminal's width would break the lines of a help.
    env = child_environment(COLUMNS="200")
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def help_of(command: str) -> str:
    shown = run(PROGRAM, command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    return shown.stdout


def test_the_help_names_every_command_and_what_it_does() -> None:
    shown = run(PROGRAM, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    missing = [name for name, it in COMMANDS.items() if not re.search(rf"\b{name} +{it.help}\n", shown.stdout)]
    assert missing == []


def test_words_are_read_as_utf_8_where_the_locale_cannot_read_them() -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    shown = subprocess.run(
        [PROGRAM, "Übersicht"], capture_output=True, encoding="utf-8", check=False, env=child_environment(**locale)
    )
    assert shown.stderr.startswith("No such command: Übersicht.")


def test_without_a_command_there_is_the_help_and_it_counts_as_wrong_usage() -> None:
    shown = run(PROGRAM)
    assert (shown.returncode, shown.stdout) == (2, run(PROGRAM, "--help").stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_what_the_list_says(name: str) -> None:
    shown = help_of(name)
    assert shown.lower().startswith(f"usage: durable-responses {name} ")
    assert COMMANDS[name].help.rstrip(".") in shown


@pytest.mark.parametrize(("command", "text"), [("continue", "TASK"), ("steer", "TEXT")])
def test_who_goes_on_may_leave_out_which_run_is_meant(command: str, text: str) -> None:
    assert help_of(command).startswith(f"Usage: durable-responses {command} [OPTIONS] [JOB] [{text}]\n")


def test_the_help_of_temporal_fits_on_a_terminal() -> None:
    assert max(map(len, help_of("temporal").splitlines())) <= 80


def test_the_version_is_the_one_that_is_installed() -> None:
    assert run(PROGRAM, "--version").stdout == f"durable-responses {version('durable-responses')}\n"


@pytest.mark.parametrize(("word", "kind"), [("fly", "command"), ("--bogus", "option")])
def test_an_unknown_word_is_named(word: str, kind: str) -> None:
    refused = run(PROGRAM, word)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"No such {kind}: {word}. See `durable-responses --help`.\n"


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("--help >&3", 141),
        ("--version >&3", 141),
        ("--version >/dev/full", 5),
        ("--version 1</dev/null", 5),
        ("--help >&-", 0),
        ("fly 2>&-", 2),
        ("fly 2>/dev/full", 2),
        ("fly <&- >&- 2>&-", 2),
    ],
)
def test_streams_that_nobody_reads_or_that_are_closed_cost_a_sentence_at_most(typed: str, code: int) -> None:
    shown = run("bash", "-c", f"exec 3> >(true); wait $!; {PROGRAM} {typed}")
    assert (shown.returncode, shown.stdout) == (code, "")
    assert shown.stderr.count("\n") == (1 if code == 5 else 0)


@pytest.mark.parametrize("start", [["starter.py"], ["-m", "durable_responses.cli"]])
def test_each_other_way_in_is_the_same_program(start: list[str]) -> None:
    shown = subprocess.run([sys.executable, *start, "--help"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert shown.stdout == run(PROGRAM, "--help").stdout


def test_the_entry_loads_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import durable_responses.cli.entry; print(*set(sys.modules) - before)"
    )
    loaded = {name.split(".")[0] for name in run(sys.executable, "-c", code).stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"durable_responses"}


LOADED = """
import atexit, sys
from durable_responses.cli.entry import main
atexit.register(lambda: print(*sys.modules))
main()
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_starts_without_what_parses_the_commands(name: str) -> None:
    loaded = run(sys.executable, "-c", LOADED, name, "--help").stdout.splitlines()[-1].split()
    assert COMMANDS[name].module in loaded
    assert not {"typer", "durable_responses.cli.command"} & set(loaded)


def test_wrong_arguments_of_a_program_are_wrong_usage() -> None:
    refused = run(PROGRAM, "worker", "--queues", "none")
    assert refused.returncode == 2
    assert refused.stderr.startswith("Argument --queues: invalid choice: 'none'")
    assert refused.stderr.count("\n") == 1


def test_a_target_of_make_does_what_the_command_of_its_name_does() -> None:
    targets = dict(re.findall(r"^([a-z-]+):.*## (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    alike = targets.keys() & COMMANDS.keys() - {"temporal"}  # prints where the program is that our command becomes
    assert alike == {"run", "up", "down", "mcp"}
    assert [name for name in alike if not targets[name].startswith(COMMANDS[name].help.rstrip("."))] == []


async def test_files_of_a_user_that_are_named_like_ours_do_not_disturb_an_installed_worker(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    """One sees where a worker was started: its tool modules are looked for there."""
    for name in ("worker", "starter", "runtime", "workflows/__init__", "activities/__init__", "tools/weather"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')\n")
    (tmp_path / "tools" / "weather.py").write_text(
        "from durable_responses import Effect, tool\n\n\n@tool(effect=Effect.PURE)\n"
        'def forecast(place: str) -> str:\n    """The weather of tomorrow."""\n    return f"Rain in {place}."\n'
    )
    variables = {"AGENT_TASK_QUEUE": "agents-among-namesakes", "AGENT_TOOL_MODULES": "tools.weather"}
    async with EmulatorProcess(tmp_path) as emulator:
        worker = WorkerProcess(temporal, emulator.base_url, folder=tmp_path, **variables)
        worker.command, worker.cwd = [PROGRAM, "worker"], tmp_path
        async with worker:
            client = await temporal.client()
            request = AgentInput(task="Say this.", tools=["forecast"], metadata={"scenario": "echo"})
            outcome = await client.execute_workflow(
                "AgentWorkflow", request, id="among-namesakes", task_queue=worker.task_queue, result_type=AgentResult
            )
    assert outcome.output_text == "Say this."
