"""Following a run: Ctrl-C, and what is drawn on a terminal."""

import signal
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from durable_responses.cli.following import PlainLines
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.workflows.contract import AgentState, AgentStatus
from tests.support.shell import CANCELLED, COMPLETED, LEFT, Shell, ended
from tests.support.terminal import CTRL_C


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_without_a_terminal_ctrl_c_leaves_and_says_how_to_come_back(shell: Shell, sent: signal.Signals) -> None:
    job_id = await shell.start("think?seconds=60")
    watching = await shell.spawn("watch", job_id)
    assert watching.stderr is not None
    await watching.stderr.readline()
    watching.send_signal(sent)
    done = await ended(watching)
    assert done.code == LEFT
    assert f"durable-responses watch {job_id}" in done.err
    assert not (await shell.jobs.state(job_id)).is_closed
    await shell.jobs.cancel(job_id)


@pytest.mark.parametrize("keys", ["l\n", "\n", CTRL_C])
async def test_at_ctrl_c_one_can_leave_the_run(shell: Shell, keys: str) -> None:
    job_id = await shell.start("think?seconds=60")
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("running · iteration 1")
        terminal.press(CTRL_C)
        await terminal.drawn(r"\(Enter\), or cancel it \(c and Enter\)\? ")
        terminal.press(keys)
        assert await terminal.ended() == LEFT
    assert f"durable-responses watch {job_id}" in terminal.text
    assert not (await shell.jobs.state(job_id)).is_closed
    await shell.jobs.cancel(job_id)


async def test_a_terminal_is_left_as_it_was_at_sigterm(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("running · iteration 1")
        terminal.send_signal(signal.SIGTERM)
        assert await terminal.ended() == LEFT
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")
    assert f"durable-responses watch {job_id}" in terminal.text
    await shell.jobs.cancel(job_id)


async def test_at_ctrl_c_one_can_cancel_the_run_and_sees_its_end(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("running · iteration 1")
        terminal.press(CTRL_C)
        await terminal.drawn(r"cancel it \(c and Enter\)\? ")
        terminal.press("what?\n")
        await terminal.drawn(r"cancel it \(c and Enter\)\? ", times=2)
        terminal.press("c\n")
        assert await terminal.ended() == CANCELLED
    assert (await shell.jobs.state(job_id)).state.status is AgentStatus.CANCELLED


async def test_a_run_that_ends_during_the_question_is_shown_to_its_end(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("running · iteration 1")
        terminal.press(CTRL_C)
        await terminal.drawn(r"cancel it \(c and Enter\)\? ")
        await shell.control.advance(60)
        assert await terminal.ended() == COMPLETED


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
    assert "bad" in terminal.text
    assert "owned" not in terminal.raw
    assert "\x1b[5m" not in terminal.raw


async def test_a_log_says_now_and_then_that_nothing_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """After 10 s, and then more and more seldom, every ten minutes at least."""
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    lines = PlainLines(Console(stderr=True, highlight=False, markup=False), now=lambda: now)
    state = AgentState(status=AgentStatus.RUNNING, iteration=1, response_id="resp_1", response_status="in_progress")
    state.started_at = now
    lines.show(JobView(job_id="job", run_id="run", source=Source.WORKER, worker_running=True, state=state))
    for second in range(3600):
        now = state.started_at + timedelta(seconds=second)
        lines.remind()
    said = capsys.readouterr().err.splitlines()
    assert said[1] == "[0:10] still running: response in_progress"
    times = [line.partition("]")[0].strip("[") for line in said]
    assert times == ["0:00", "0:10", "0:30", "1:10", "2:30", "5:10", "10:30", "20:30", "30:30", "40:30", "50:30"]


async def test_a_dumb_terminal_gets_plain_lines(shell: Shell) -> None:
    job_id = await shell.start("echo")
    terminal = shell.on_terminal("watch", job_id)
    terminal.env["TERM"] = "dumb"
    async with terminal:
        assert await terminal.ended() == COMPLETED
    assert "\x1b" not in terminal.raw
