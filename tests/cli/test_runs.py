"""`run`, `start`, `watch` and `result` as a script meets them."""

import asyncio
import re
import secrets
import shlex
from pathlib import Path

import pytest

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from tests.support.runs import until
from tests.support.shell import (
    CANCELLED,
    COMMAND,
    COMPLETED,
    FAILED,
    INCOMPLETE,
    UNAVAILABLE,
    USAGE,
    Ended,
    Shell,
    ended,
    has_response,
    scenario,
)


async def test_run_prints_the_answer_on_standard_output_and_plain_lines_beside_it(shell: Shell) -> None:
    done = await shell.run("run", "Say this.", *scenario("echo"))
    assert (done.code, done.out) == (COMPLETED, "Say this.\n")
    assert re.search(r"^Started say-this-[0-9a-f]{6}$", done.err, re.MULTILINE)
    assert re.search(
        r"^\[0:0\d\] completed: iteration 1 of 12, response completed, \d+ tokens, resp_\w{12}…$",
        done.err,
        re.MULTILINE,
    )
    assert "\x1b" not in done.err


async def test_run_json_is_one_object_on_standard_output(shell: Shell) -> None:
    done = await shell.run("run", "Say this.", "--json", *scenario("echo"))
    assert done.code == COMPLETED
    assert (done.json["status"], done.json["output_text"]) == ("completed", "Say this.")
    assert done.json["job_id"] in done.err
    assert len(done.out.splitlines()) == 1


async def test_start_returns_at_once_and_watch_follows(shell: Shell) -> None:
    started = await shell.run("start", "Think.", "--json", *scenario("think?seconds=60"))
    job_id = started.json["job_id"]
    await until(lambda: has_response(shell.jobs, job_id))
    watching = await shell.spawn("watch", job_id)
    await shell.control.advance(60)
    watched = await ended(watching)
    assert (watched.code, watched.out) == (COMPLETED, "Done thinking.\n")


async def test_start_prints_the_job_id_alone_on_standard_output(shell: Shell) -> None:
    started = await shell.run("start", "Say this.", *scenario("echo"))
    job_id = started.out.removesuffix("\n")
    assert (started.code, (await shell.run("result", job_id)).out) == (COMPLETED, "Say this.\n")
    assert f"durable-responses watch {job_id}" in started.err


async def test_a_run_that_fails_has_nothing_on_standard_output(shell: Shell) -> None:
    assert (await shell.run("run", "Fail.", *scenario("no_such_scenario"))).out == ""


MARKED_UP = "# Title\n\nSome **bold** text, [a link](http://example.com/).\n"


async def test_a_terminal_gets_the_answer_rendered_and_a_pipe_as_it_is(shell: Shell) -> None:
    await shell.control.add_scenario(Scenario(name="marked", responses=[Script(output=[Text(text=MARKED_UP)])]))
    job_id = await shell.start("marked")
    assert (await shell.run("result", job_id)).out == MARKED_UP
    for command in ("result", "watch"):
        async with shell.on_terminal(command, job_id) as terminal:
            assert await terminal.ended() == COMPLETED
        assert "\x1b[1mbold\x1b[0m" in terminal.raw
        assert "a link (http://example.com/)" in terminal.text


async def test_an_answer_that_follows_a_schema_is_never_rendered(shell: Shell) -> None:
    answer = '{"name": "a*b*c_d_e"}'
    await shell.control.add_scenario(Scenario(name="object", responses=[Script(output=[Text(text=answer)])]))
    job_id = await shell.start("object", text_format={"type": "json_object"})
    async with shell.on_terminal("result", job_id) as terminal:
        assert await terminal.ended() == COMPLETED
    assert terminal.text.strip() == answer


async def test_json_of_the_emulator_comes_with_the_line_that_no_model_has_read_it_beside_it(shell: Shell) -> None:
    (shell.folder / "schema.json").write_text('{"type": "object", "properties": {"days": {"type": "integer"}}}')
    done = await shell.run("run", "How many?", "--schema", "schema.json")
    assert done.out.strip() == '{"days": 1}'
    assert "No model has read this: the emulator wrote it. Set OPENAI_API_KEY" in " ".join(done.err.split())


async def test_start_loads_nothing_that_only_a_worker_or_a_screen_needs(shell: Shell) -> None:
    loaded = await shell.modules_loaded_by("start", "Say this.", *scenario("echo"))
    assert "temporalio.client" in loaded
    assert not loaded & {"temporalio.worker", "temporalio.testing", "rich", "durable_responses.embedded.supervisor"}
    assert "tomllib" not in loaded  # there is no project file


async def test_result_prints_the_answer_and_nothing_else(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=1&text=Done.")
    done = await shell.run("result", job_id)
    assert (done.code, done.out, done.err) == (COMPLETED, "Done.\n", "")


@pytest.mark.parametrize(
    ("words", "piped", "answer"),
    [
        (["run", "-"], "By a minus.\n", "By a minus.\n"),
        (["run"], "By a pipe.\n", "By a pipe.\n"),
        (["run", "By words."], "left alone", "By words.\n"),
        (["run", "--task-file", "-"], "By a file.", "By a file.\n"),
    ],
)
async def test_the_task_comes_from_anywhere(shell: Shell, words: list[str], piped: str, answer: str) -> None:
    done = await shell.run(*words, *scenario("echo"), piped=piped)
    assert (done.code, done.out) == (COMPLETED, answer)


async def test_a_job_id_of_ones_own_is_used_once(shell: Shell) -> None:
    job_id = f"mine-{secrets.token_hex(4)}"
    assert (await shell.run("start", "One.", "--job-id", job_id)).code == COMPLETED
    again = await shell.run("start", "Two.", "--job-id", job_id)
    assert again.code == USAGE
    assert job_id in again.err


async def test_a_failed_run_ends_with_1_and_says_why(shell: Shell) -> None:
    done = await shell.run("run", "Fail.", *scenario("no_such_scenario"))
    assert done.code == FAILED
    assert re.search(r"^error: .*no_such_scenario", done.err, re.MULTILINE)


async def test_an_incomplete_run_ends_with_3_and_says_why(shell: Shell) -> None:
    done = await shell.run("run", "Call.", "--max-iterations", "1", *scenario("calls?iterations=5"))
    assert done.code == INCOMPLETE
    assert "incomplete (max_iterations)" in done.err


async def test_a_run_that_is_cancelled_meanwhile_ends_with_4(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    watching = await shell.spawn("watch", job_id)
    cancelled = await shell.run("cancel", job_id, "--reason", "enough", "--json")
    assert (cancelled.code, cancelled.json["status"]) == (0, "cancelled")
    done = await ended(watching)
    assert done.code == CANCELLED
    assert "cancelled (enough)" in done.err


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


async def test_files_of_the_provider_are_saved_and_listed(shell: Shell) -> None:
    command = ["run", "Plot.", "--code-interpreter", "--save-files", "--json", *scenario("code_interpreter?files=2")]
    done = await shell.run(*command)
    [plot, table] = done.json["files"]
    assert (plot["name"], table["name"]) == ("plot.png", "table1.csv")
    assert Path(table["path"]).read_text() == "a,b\n1,2\n"
    assert Path(table["path"]).parent.parent == Path(done.json["artifact_path"]).parent
    job_id = done.json["job_id"]
    assert f"saved: {table['path']} (8 bytes)" in (await shell.run("show", job_id)).out
    assert f"- saved: {table['path']} (8 bytes)" in (await shell.run("show", job_id, "--markdown")).out
    assert (await shell.run("show", job_id, "--json")).json["result"]["files"] == [plot, table]


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
    assert done.code == 141
    assert "Error" not in done.err


@pytest.mark.parametrize("command", ["run", "watch", "result"])
async def test_a_run_is_left_as_soon_as_nobody_can_read_its_answer_any_more(shell: Shell, command: str) -> None:
    if command == "run":
        words = ["Think.", "--job-id", f"{shell.task_queue}-unread", *scenario("think?seconds=600")]
    else:
        words = [await shell.start("think?seconds=600")]
    done = await _in_bash(shell, f"{shlex.join([*COMMAND, command, *words])} | true; exit ${{PIPESTATUS[0]}}")
    assert done.code == 141
    assert ("The run is still going. Reattach with: durable-responses watch " in done.err) is (command != "result")


@pytest.mark.parametrize("stderr", ["/dev/full", "&-", ">(true)"])
async def test_what_cannot_be_said_beside_it_costs_no_answer(shell: Shell, stderr: str) -> None:
    typed = shlex.join([*COMMAND, "run", "Say this.", *scenario("echo")])
    done = await _in_bash(shell, f"{typed} 2> {stderr}" if stderr != "&-" else f"{typed} 2>&-")
    assert (done.code, done.out) == (COMPLETED, "Say this.\n")


async def _in_bash(shell: Shell, typed: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", typed),
        env=shell.env,
        cwd=shell.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return await ended(process)


@pytest.mark.parametrize(("stdout", "code"), [("/dev/full", UNAVAILABLE), ("&-", COMPLETED)])
async def test_an_answer_that_cannot_be_written_is_told_in_one_sentence(shell: Shell, stdout: str, code: int) -> None:
    job_id = await shell.start("echo")
    await shell.jobs.result(job_id)
    typed = f"{shlex.join([*COMMAND, 'result', job_id])} >{stdout}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", typed), env=shell.env, cwd=shell.folder, stderr=asyncio.subprocess.PIPE
    )
    _, told = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == code
    assert told.decode().count("\n") == (1 if code else 0)
