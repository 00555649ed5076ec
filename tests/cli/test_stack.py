"""`up`, `down`, and `run` of somebody who has configured nothing."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator

import pytest

from durable_responses.settings import child_environment
from tests.support.shell import COMPLETED, Shell, ended, scenario


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
    assert (done.code, done.out) == (COMPLETED, "Say this.\n")
    assert "in the background" in done.err
    assert "the emulator" in done.err
    job_id = re.findall(r"say-this-[0-9a-f]{6}", done.err)[0]
    assert re.search(rf"^http://127.0.0.1:\d+/namespaces/default/workflows/{job_id}$", done.err, re.MULTILINE)
    assert (await fresh.run("result", job_id)).out == "Say this.\n"
    down = await fresh.run("down", timeout=60)
    assert (down.code, "Stopping" in down.out) == (COMPLETED, True)
    assert (await fresh.run("down")).out == "Nothing was running.\n"
    assert (await fresh.run("start", "Say that.", timeout=60)).code == COMPLETED
    assert (await fresh.run("result", job_id)).out == "Say this.\n"
    assert "Say that." in (await fresh.run("show")).out


async def test_after_its_end_the_stack_is_started_again_by_whoever_looks_at_runs(fresh: Shell) -> None:
    """Temporal alone is started to read, and a worker as well for a run that is still open."""
    done = await fresh.run("run", "Say this.", *scenario("echo"), timeout=60)
    assert done.code == COMPLETED
    thinking = await fresh.run("start", "Think on.", *scenario("think?seconds=12"))
    assert (await fresh.run("down", timeout=60)).code == COMPLETED
    read = await fresh.run("result", "say-this", timeout=60)
    said = [line for line in read.err.splitlines() if not line.startswith("  …")]
    assert (read.code, read.out) == (COMPLETED, "Say this.\n")
    assert said == ["Starting Temporal in the background, to read its runs."]
    listed = await fresh.run("list")
    assert (len(listed.out.splitlines()), "Starting" in listed.err) == (2, False)
    watched = await fresh.run("watch", thinking.out.strip(), timeout=120)
    assert watched.code == COMPLETED
    assert "Starting a worker for this project" in watched.err


async def test_the_whole_stack_works_as_the_project_file_says(fresh: Shell) -> None:
    """From a folder of the project: model, tools and workspace are the file's, for the worker in the background too."""
    folder = fresh.folder / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "my_tools.py").write_text(
        "from durable_responses import Effect, ToolContext, tool\n\n\n@tool(effect=Effect.PURE)\n"
        'def whereabouts(context: ToolContext) -> str:\n    """Where this is."""\n    return str(context.workspace)\n'
    )
    file = folder / "durable-responses.toml"
    file.write_text(
        'AGENT_MODEL = "scenario:calls?iterations=1"\nAGENT_TOOL_MODULES = ["my_tools"]\nAGENT_WORKSPACE = "data"\n'
    )
    shell = Shell(folder / "src", fresh.env, fresh.jobs)
    done = await shell.run("run", "Where are you?", "--effort", "low", "--tool", "whereabouts", timeout=90)
    assert done.code == COMPLETED, done.err
    shown = (await shell.run("show", "--json")).out
    assert str(folder.resolve() / "data") in shown
    assert (await shell.run("status", "--json")).json["model"] == "scenario:calls?iterations=1"
    # Another folder of the project is the same project, so nothing is started again.
    again = await Shell(folder, fresh.env, fresh.jobs).run("run", "Again.", "--tool", "whereabouts", timeout=60)
    assert (again.code, "start" in again.err.lower().replace("started again", "")) == (COMPLETED, False)


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
