"""The command line as a person and a script meet it: real processes, a real terminal, a real Temporal server."""

import asyncio
import json
import re
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.jobs.jobs import Jobs
from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import Settings, child_environment
from durable_responses.workflows.contract import AgentInput, AgentStatus, TransportChoice
from tests.support.emulator_control import EmulatorControl, running_emulator
from tests.support.processes import TemporalServer, free_port
from tests.support.runs import until, working
from tests.support.terminal import CTRL_C, TerminalProcess

COMMAND = [sys.executable, "-m", "durable_responses.cli"]
ANSWERS = 4.0  # seconds: 3 for the answer, and the start of an interpreter on a busy machine
COMPLETED, FAILED, USAGE, INCOMPLETE, CANCELLED, UNAVAILABLE, LEFT = 0, 1, 2, 3, 4, 5, 130


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Where commands are typed: a folder and an environment."""

    folder: Path
    env: dict[str, str]
    jobs: Jobs
    task_queue: str = "agents"
    control: EmulatorControl = field(init=False)

    async def spawn(self, *words: str) -> asyncio.subprocess.Process:
        """Start a command whose streams are pipes."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *COMMAND, *words, env=self.env, cwd=self.folder, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    async def run(self, *words: str, timeout: float = 30) -> Ended:
        """Run a command to its end."""
        return await ended(await self.spawn(*words), timeout=timeout)

    def on_terminal(self, *words: str) -> TerminalProcess:
        """A command on a terminal of its own."""
        return TerminalProcess([*COMMAND, *words], self.env, self.folder)

    async def start(self, scenario: str, **fields: Any) -> str:
        """Start a run without the command line; returns its job id."""
        fields = {"transport": TransportChoice.BACKGROUND, "metadata": {"scenario": scenario}, **fields}
        return await self.jobs.start(AgentInput(task="Do it.", **fields))


async def ended(process: asyncio.subprocess.Process, *, timeout: float = 30) -> Ended:
    """Wait for the end of a command, and read what it wrote."""
    out, err = await asyncio.wait_for(process.communicate(), timeout)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


def scenario(name: str) -> list[str]:
    """Options of a background run that the emulator answers by this scenario."""
    return ["--effort", "high", "--model", f"scenario:{name}"]


@pytest.fixture
async def bare(temporal: TemporalServer, client: Client, tmp_path: Path) -> Shell:
    """A shell with Temporal configured, on a task queue that no worker serves."""
    queue = f"agents-of-test-{secrets.token_hex(4)}"
    env = child_environment(
        TEMPORAL_ADDRESS=temporal.address, AGENT_TASK_QUEUE=queue, AGENT_STATE_FOLDER=str(tmp_path / "state")
    )
    return Shell(tmp_path, env, Jobs(client, queue), queue)


@pytest.fixture
async def shell(bare: Shell, client: Client) -> AsyncIterator[Shell]:
    """The same with a worker and an emulator."""
    settings = Settings(
        task_queue=bare.task_queue,
        state_folder=bare.folder / "worker",
        workspace=bare.folder,
        files_root=bare.folder,
        output_root=bare.folder,
        poll_first=0.05,
        poll_cap=0.2,
    )
    async with running_emulator() as emulator:
        url = emulator.base_url
        provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=url, websocket_base_url=url)
        async with working(client, provider, settings):
            bare.control = emulator.control
            yield bare


# --- run, start, watch, result -----------------------------------------------------------------------------------


async def test_run_prints_plain_lines_and_the_answer(shell: Shell) -> None:
    done = await shell.run("run", "Say this.", *scenario("echo"))
    assert (done.code, done.err) == (COMPLETED, "")
    assert re.search(r"^Started agent-[0-9a-f]{32}$", done.out, re.MULTILINE)
    assert re.search(
        r"^\[0:0\d\] completed: iteration 1 of 12, resp_\w+ completed, \d+ tokens$", done.out, re.MULTILINE
    )
    assert "\nSay this.\n" in done.out
    assert "\x1b" not in done.out


async def test_run_json_is_one_object_on_standard_output(shell: Shell) -> None:
    done = await shell.run("run", "Say this.", "--json", *scenario("echo"))
    assert done.code == COMPLETED
    assert (done.json["status"], done.json["output_text"]) == ("completed", "Say this.")
    assert done.json["job_id"] in done.err
    assert len(done.out.splitlines()) == 1


async def test_start_returns_at_once_and_watch_follows(shell: Shell) -> None:
    started = await shell.run("start", "Think.", "--json", *scenario("think?seconds=60"))
    job_id = started.json["job_id"]
    await until(lambda: _has_response(shell.jobs, job_id))
    watching = await shell.spawn("watch", job_id)
    await shell.control.advance(60)
    watched = await ended(watching)
    assert watched.code == COMPLETED
    assert "\nDone thinking.\n" in watched.out


async def test_result_prints_the_answer_and_nothing_else(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=1&text=Done.")
    done = await shell.run("result", job_id)
    assert (done.code, done.out, done.err) == (COMPLETED, "Done.\n", "")


async def test_a_job_id_of_ones_own_is_used_once(shell: Shell) -> None:
    job_id = f"mine-{secrets.token_hex(4)}"
    assert (await shell.run("start", "One.", "--job-id", job_id)).code == COMPLETED
    again = await shell.run("start", "Two.", "--job-id", job_id)
    assert again.code == USAGE
    assert job_id in again.err


async def test_a_failed_run_ends_with_1_and_says_why(shell: Shell) -> None:
    done = await shell.run("run", "Fail.", *scenario("no_such_scenario"))
    assert done.code == FAILED
    assert re.search(r"^error: .*no_such_scenario", done.out, re.MULTILINE)


async def test_an_incomplete_run_ends_with_3_and_says_why(shell: Shell) -> None:
    done = await shell.run("run", "Call.", "--max-iterations", "1", *scenario("calls?iterations=5"))
    assert done.code == INCOMPLETE
    assert "incomplete (max_iterations)" in done.out


async def test_a_run_that_is_cancelled_meanwhile_ends_with_4(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    watching = await shell.spawn("watch", job_id)
    cancelled = await shell.run("cancel", job_id, "--reason", "enough", "--json")
    assert (cancelled.code, cancelled.json["status"]) == (0, "cancelled")
    done = await ended(watching)
    assert done.code == CANCELLED
    assert "cancelled (enough)" in done.out


async def test_files_are_relative_to_where_the_command_was_started(shell: Shell) -> None:
    """A24"""
    (shell.folder / "notes.md").write_text("The sky is green.")
    done = await shell.run("run", "Read.", "--file", "notes.md:colours", *scenario("echo"))
    assert done.code == COMPLETED
    assert "label: colours" in done.out
    assert "The sky is green." in done.out


async def test_the_result_is_saved_where_the_command_was_started(shell: Shell) -> None:
    """A22, A24"""
    done = await shell.run(
        "run", "Save this.", "--save-name", "kept", "--save-format", "clean", "--json", *scenario("echo")
    )
    assert Path(done.json["artifact_path"]).read_text().strip() == "Save this."
    assert Path(done.json["artifact_path"]).is_relative_to(shell.folder.resolve())


async def test_a_pipe_gets_the_answer_as_the_model_wrote_it(shell: Shell) -> None:
    await shell.control.add_scenario(Scenario(name="evil", responses=[Script(output=[Text(text="\x1b[31mred")])]))
    job_id = await shell.start("evil")
    assert (await shell.run("result", job_id)).out == "\x1b[31mred\n"


async def test_a_reader_that_goes_away_is_no_error_of_ours(shell: Shell) -> None:
    job_id = await shell.start("echo")
    await shell.jobs.result(job_id)
    process = await shell.spawn("watch", job_id)
    assert process.stdout is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]
    done = await ended(process)
    assert (done.code, done.err) == (141, "")


# --- status, cancel, list ----------------------------------------------------------------------------------------


async def test_status_shows_an_open_run(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    await until(lambda: _has_response(shell.jobs, job_id))
    done = await shell.run("status", job_id)
    assert done.code == COMPLETED
    assert re.match(r"running · iteration 1 of 10 · 0:\d\d\n" + job_id, done.out)
    await shell.jobs.cancel(job_id)


async def _has_response(jobs: Jobs, job_id: str) -> bool:
    return (await jobs.state(job_id)).state.response_id is not None


@pytest.mark.parametrize("command", ["status", "cancel"])
async def test_without_a_worker_commands_answer_soon_and_say_so(bare: Shell, command: str) -> None:
    job_id = await bare.start("echo")
    began = time.monotonic()
    done = await bare.run(command, job_id)
    assert time.monotonic() - began < ANSWERS
    assert done.code == COMPLETED
    assert done.out.startswith("queued · ")
    assert "No worker is running" in done.out


async def test_the_list_is_filtered_by_what_temporal_knows_of_a_run(shell: Shell) -> None:
    tenant = f"tenant-{secrets.token_hex(4)}"
    job_id = await shell.start("echo", tenant=tenant)
    await shell.jobs.result(job_id)

    async def is_listed() -> bool:
        where = f'AgentTenant = "{tenant}" AND AgentStatus = "completed"'
        listed = (await shell.run("list", "--json", "--where", where)).json["jobs"]
        return [job["job_id"] for job in listed] == [job_id]

    await until(is_listed)
    listed = await shell.run("list", "--open", "--where", f'AgentTenant = "{tenant}" OR AgentTenant = "nobody"')
    assert (listed.code, listed.out) == (COMPLETED, "")


async def test_a_filter_that_temporal_does_not_understand_is_refused_in_one_sentence(bare: Shell) -> None:
    done = await bare.run("list", "--where", "AgentTenant is release")
    assert done.code == UNAVAILABLE
    assert done.err.startswith("Temporal refused: ")
    assert done.err.count("\n") == 1


async def test_without_a_worker_the_list_answers_soon_and_says_so(bare: Shell) -> None:
    job_id = await bare.start("echo")
    began = time.monotonic()
    done = await bare.run("list", "--open")
    assert time.monotonic() - began < ANSWERS
    assert [row.split("\t")[0] for row in done.out.splitlines() if job_id in row] == ["queued"]
    assert "No worker is running" in done.err


async def test_without_a_worker_json_says_so(bare: Shell) -> None:
    job_id = await bare.start("echo")
    report = (await bare.run("status", job_id, "--json")).json
    assert (report["status"], report["source"], report["worker_running"]) == ("queued", "server", False)
    listed = (await bare.run("list", "--json")).json["jobs"]
    assert job_id in [job["job_id"] for job in listed]


@pytest.mark.parametrize("command", ["watch", "status", "result", "cancel"])
async def test_an_unknown_job_is_wrong_usage(bare: Shell, command: str) -> None:
    """A17: in one sentence."""
    done = await bare.run(command, "agent-unknown")
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.count("\n") == 1
    assert "agent-unknown" in done.err


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["status", "agent-1"],
        ["watch", "agent-1"],
        ["cancel", "agent-1"],
        ["result", "agent-1"],
        ["list"],
        ["start", "Count."],
    ],
)
async def test_without_temporal_there_is_one_clear_sentence(bare: Shell, words: list[str]) -> None:
    """A20: the run is not lost."""
    bare.env["TEMPORAL_ADDRESS"] = f"127.0.0.1:{free_port()}"
    done = await bare.run(*words)
    assert (done.code, done.out) == (UNAVAILABLE, "")
    assert done.err.count("\n") == 1
    assert "Runs are safe" in done.err


async def test_an_error_is_an_object_with_json(bare: Shell) -> None:
    done = await bare.run("status", "agent-unknown", "--json")
    assert (done.code, done.json["exit_code"]) == (USAGE, USAGE)
    assert "agent-unknown" in done.json["error"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run"], "TASK"),
        (["run", ""], "task"),
        (["run", "x", "--effort", "huge"], "--effort"),
        (["run", "x", "--transport", "pigeon"], "--transport"),
        (["run", "x", "--max-iterations", "0"], "max_iterations"),
        (["run", "x", "--max-iterations", "many"], "--max-iterations"),
        (["run", "x", "--deadline", "soon"], "--deadline"),
        (["run", "x", "--file", "missing.md"], "missing.md"),
        (["run", "x", "--file", "/etc/hostname"], "AGENT_FILES_ROOT"),
        (["run", "x", "--input", "missing.json"], "missing.json"),
        (["run", "x", "y"], "y"),
        (["run", "x", "--bogus"], "--bogus"),
        (["fly"], "fly"),
        (["status"], "JOB"),
        (["list", "--limit", "0"], "--limit"),
    ],
)
async def test_wrong_usage_names_what_is_wrong_and_starts_nothing(bare: Shell, words: list[str], named: str) -> None:
    done = await bare.run(*words)
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.count("\n") == 1
    assert named in done.err
    assert await bare.jobs.recent(where=f"TaskQueue = '{bare.task_queue}'") == []


async def test_a_setting_that_cannot_be_used_is_wrong_usage(bare: Shell) -> None:
    bare.env["AGENT_RETENTION"] = "soon"
    done = await bare.run("list")
    assert done.code == USAGE
    assert "AGENT_RETENTION" in done.err


async def test_the_help_is_there_without_temporals_client(bare: Shell) -> None:
    code = "import sys, starter; sys.exit('temporalio' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=bare.env, cwd=bare.folder)
    assert await process.wait() == 0
    assert "--previous-response-id" in (await bare.run("run", "--help")).out


# --- Ctrl-C ------------------------------------------------------------------------------------------------------


async def test_without_a_terminal_ctrl_c_leaves_and_says_how_to_come_back(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    watching = await shell.spawn("watch", job_id)
    assert watching.stdout is not None
    await watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    done = await ended(watching)
    assert done.code == LEFT
    assert f"durable-responses watch {job_id}" in done.out
    assert not (await shell.jobs.state(job_id)).is_closed
    await shell.jobs.cancel(job_id)


@pytest.mark.parametrize("keys", ["l\n", "\n", CTRL_C])
async def test_at_ctrl_c_one_can_leave_the_run(shell: Shell, keys: str) -> None:
    job_id = await shell.start("think?seconds=60")
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("running · iteration 1")
        terminal.press(CTRL_C)
        await terminal.drawn(re.escape("[l]eave it running, or [c]ancel it?"))
        terminal.press(keys)
        assert await terminal.ended() == LEFT
    assert f"durable-responses watch {job_id}" in terminal.text
    assert not (await shell.jobs.state(job_id)).is_closed
    await shell.jobs.cancel(job_id)


async def test_at_ctrl_c_one_can_cancel_the_run_and_sees_its_end(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("running · iteration 1")
        terminal.press(CTRL_C)
        await terminal.drawn(re.escape("[c]ancel it?"))
        terminal.press("what?\n")
        await terminal.drawn(re.escape("[c]ancel it?"), times=2)
        terminal.press("c\n")
        assert await terminal.ended() == CANCELLED
    assert (await shell.jobs.state(job_id)).state.status is AgentStatus.CANCELLED


async def test_a_run_that_ends_during_the_question_is_shown_to_its_end(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("running · iteration 1")
        terminal.press(CTRL_C)
        await terminal.drawn(re.escape("[c]ancel it?"))
        await shell.control.advance(60)
        assert await terminal.ended() == COMPLETED


# --- the screen --------------------------------------------------------------------------------------------------


async def test_the_screen_shows_the_text_while_it_grows_and_is_never_cleared(shell: Shell) -> None:
    async with shell.on_terminal("run", "Write.", "-e", "low", "-m", "scenario:write?seconds=60&words=300") as terminal:
        await terminal.drawn(r"word5\b")
        assert "word300" not in terminal.text
        await shell.control.advance(60)
        assert await terminal.ended() == COMPLETED
    assert "word300" in terminal.text
    assert "\x1b[2J" not in terminal.raw


async def test_a_model_cannot_write_to_the_terminal(shell: Shell) -> None:
    await shell.control.add_scenario(
        Scenario(name="evil", responses=[Script(output=[Text(text="\x1b]0;owned\x07\x1b[5mbad")])])
    )
    job_id = await shell.start("evil")
    async with shell.on_terminal("watch", job_id) as terminal:
        assert await terminal.ended() == COMPLETED
    assert "]0;owned[5mbad" in terminal.text
    assert "\x1b[5m" not in terminal.raw


async def test_a_dumb_terminal_gets_plain_lines(shell: Shell) -> None:
    job_id = await shell.start("echo")
    terminal = shell.on_terminal("watch", job_id)
    terminal.env["TERM"] = "dumb"
    async with terminal:
        assert await terminal.ended() == COMPLETED
    assert "\x1b" not in terminal.raw


async def test_the_list_has_columns_on_a_terminal(bare: Shell) -> None:
    job_id = await bare.start("echo")
    async with bare.on_terminal("list", "--open") as terminal:
        assert await terminal.ended() == COMPLETED
    assert re.search(rf"queued +\d\d:\d\d +0:\d\d +{job_id}", terminal.text)


# --- the embedded stack ------------------------------------------------------------------------------------------


@pytest.fixture
async def fresh(bare: Shell) -> AsyncIterator[Shell]:
    """A shell of somebody who has configured nothing; whatever was started ends with the test."""
    (bare.folder / "workspace").mkdir()
    env = child_environment(AGENT_STATE_FOLDER=str(bare.folder / "state"))
    shell = Shell(bare.folder, env, bare.jobs)
    yield shell
    await shell.run("down", timeout=60)


async def test_run_starts_what_is_needed_and_down_stops_it(fresh: Shell) -> None:
    """A20: what `run` has started outlives it, until `down`; the finished job is there again after the next start."""
    done = await fresh.run("run", "Say this.", *scenario("echo"), timeout=60)
    assert done.code == COMPLETED
    assert "in the background" in done.out
    assert "the emulator" in done.out
    job_id = re.findall(r"agent-[0-9a-f]{32}", done.out)[0]
    assert re.search(rf"^http://127.0.0.1:\d+/namespaces/default/workflows/{job_id}$", done.out, re.MULTILINE)
    assert (await fresh.run("result", job_id)).out == "Say this.\n"
    down = await fresh.run("down", timeout=60)
    assert (down.code, "Stopping" in down.out) == (COMPLETED, True)
    assert (await fresh.run("down")).out == "Nothing was running.\n"
    assert (await fresh.run("start", "Say that.", timeout=60)).code == COMPLETED
    assert (await fresh.run("result", job_id)).out == "Say this.\n"


async def test_up_serves_runs_until_ctrl_c(fresh: Shell) -> None:
    up = await fresh.spawn("up")
    assert up.stdout is not None
    first_lines = b""
    async with asyncio.timeout(60):
        while b"State and logs in" not in first_lines:
            line = await up.stdout.readline()
            assert line, f"`up` ended: {first_lines!r}"
            first_lines += line
    assert b"Web UI http://127.0.0.1:" in first_lines
    done = await fresh.run("run", "Say this.", "--json", *scenario("echo"))
    assert done.json["output_text"] == "Say this."
    up.send_signal(signal.SIGINT)
    assert (await ended(up, timeout=60)).code == COMPLETED
