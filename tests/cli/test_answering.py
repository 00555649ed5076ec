"""What a run asks its owner, at the command line: shown everywhere, answered by `respond` or where it is followed."""

import re

import pytest

from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.workflows.contract import AgentStatus, InputRequest
from tests.support.runs import until
from tests.support.shell import COMPLETED, INCOMPLETE, LEFT, USAGE, Shell, ended, scenario
from tests.support.terminal import CTRL_C

CALLS = 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'
QUOTA = Answer(status=429, code="insufficient_quota", error_type="insufficient_quota", message="No credit is left.")


async def asking(shell: Shell, **fields: object) -> str:
    """A run that has used its one iteration, and asks for more."""
    job_id = await shell.start(CALLS, max_iterations=1, on_max_iterations="ask", **fields)
    await asked(shell, job_id)
    return job_id


async def refused(shell: Shell, times: int = 1) -> str:
    """A run that the provider refuses to go on with."""
    await shell.control.add_fault(Fault(operation=Operation.CREATE, effect=QUOTA, skip=1, times=times))
    job_id = await shell.start(CALLS)
    await asked(shell, job_id)
    return job_id


async def questioned(shell: Shell, **fields: object) -> str:
    """A run whose model asks its owner something, and tells the answer."""
    step = FunctionCallStep(name="ask_owner", arguments={"question": "Which plan?", **fields})
    script = [Script(output=[step]), Script(output=[Text(text="Thank you.")])]
    await shell.control.add_scenario(Scenario(name="asks", responses=script))
    job_id = await shell.start("asks", allow_questions=True)
    await asked(shell, job_id)
    return job_id


async def asked(shell: Shell, job_id: str) -> None:
    async def asks() -> bool:
        return (await shell.jobs.state(job_id)).state.status is AgentStatus.INPUT_REQUIRED

    await until(asks)


async def requests(shell: Shell, job_id: str) -> list[InputRequest]:
    return (await shell.jobs.result(job_id)).requests


# --- respond -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["retry"], ["refusal-1", "retry"], ["refusal-1", "RETRY", "--by", "Ada"]])
async def test_a_refused_run_goes_on_with_an_answer(shell: Shell, words: list[str]) -> None:
    job_id = await refused(shell)
    done = await shell.run("respond", job_id, *words)
    assert (done.code, done.out) == (COMPLETED, "")
    assert "refusal-1: answered retry by " in done.err
    [request] = await requests(shell, job_id)
    assert request.by == ("Ada" if "Ada" in words else request.by)
    assert request.by


async def test_an_answer_is_one_object_with_json(shell: Shell) -> None:
    job_id = await asking(shell)
    done = await shell.run("respond", job_id, "limit-1", "stop", "--json")
    assert (done.code, done.json["job_id"], done.json["taken"]) == (COMPLETED, job_id, "taken")
    assert done.json["request"]["answer"] == "stop"


async def test_a_long_answer_comes_by_a_pipe(shell: Shell) -> None:
    job_id = await asking(shell)
    assert (await shell.run("respond", job_id, "-", piped="5\n")).code == COMPLETED
    assert (await shell.jobs.result(job_id)).status is AgentStatus.COMPLETED


async def test_more_time_is_told_in_the_words_of_the_option(shell: Shell) -> None:
    job_id = await shell.start(CALLS.replace("calls?", "calls?think=4&"), deadline=1, on_deadline="ask")
    await asked(shell, job_id)
    done = await shell.run("respond", job_id, "30m")
    assert (done.code, "answered 1800 by" in done.err) == (COMPLETED, True)
    await shell.jobs.cancel(job_id)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["perhaps"], '"perhaps" does not answer refusal-1: send retry or stop.'),
        (["refusal-7", "retry"], "This run has no input request refusal-7"),
        ([""], "The answer is empty."),
        (["refusal-1"], "ANSWER is missing."),
        (["refusal-7"], "asks refusal-7 at the moment"),
    ],
)
async def test_what_is_no_answer_is_refused_in_one_sentence_and_the_question_stays_open(
    shell: Shell, words: list[str], why: str
) -> None:
    job_id = await refused(shell)
    done = await shell.run("respond", job_id, *words)
    assert (done.code, done.out) == (USAGE, "")
    assert why in done.err
    assert (await shell.jobs.state(job_id)).state.status is AgentStatus.INPUT_REQUIRED
    await shell.jobs.cancel(job_id)


async def test_after_the_end_a_repeat_hears_what_was_answered_and_another_answer_is_refused(shell: Shell) -> None:
    job_id = await refused(shell)
    await shell.jobs.respond(job_id, None, "stop", "Ada")
    await shell.jobs.result(job_id)
    for words, code in ((["stop"], COMPLETED), (["refusal-1", "stop"], COMPLETED), (["retry"], USAGE)):
        done = await shell.run("respond", job_id, *words)
        assert done.code == code
        assert "refusal-1 is already over: answered stop by Ada." in done.err


async def test_a_run_that_asks_nothing_says_so(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    done = await shell.run("respond", job_id)
    assert done.code == USAGE
    assert re.search(rf"{job_id} asks nothing at the moment: it is (queued|running)\.", done.err)
    await shell.jobs.cancel(job_id)


async def test_without_a_terminal_the_question_is_shown_with_what_to_type(shell: Shell) -> None:
    job_id = await refused(shell)
    done = await shell.run("respond", job_id)
    assert (done.code, done.out) == (USAGE, "")
    assert "No credit is left." in done.err
    for answer in ("retry", "stop"):
        assert f"durable-responses respond {job_id} refusal-1 {answer}\n" in done.err
    await shell.jobs.cancel(job_id)


async def test_on_a_terminal_respond_asks(shell: Shell) -> None:
    job_id = await refused(shell)
    async with shell.on_terminal("respond", job_id) as terminal:
        await terminal.drawn("Type retry or stop. Enter alone leaves it open: ")
        terminal.press("what?\n")
        await terminal.drawn("That is not an answer.")
        await terminal.drawn("Enter alone leaves it open: ", times=2)
        terminal.press("r\n")
        assert await terminal.ended() == COMPLETED
    assert "No credit is left." in terminal.text
    assert (await shell.jobs.result(job_id)).status is AgentStatus.COMPLETED


async def test_enter_alone_leaves_the_question_open(shell: Shell) -> None:
    job_id = await asking(shell)
    async with shell.on_terminal("respond", job_id) as terminal:
        await terminal.drawn("Enter alone leaves it open: ")
        terminal.press("\n")
        assert await terminal.ended() == COMPLETED
    assert f"durable-responses respond {job_id}" in terminal.text
    assert (await shell.jobs.state(job_id)).state.status is AgentStatus.INPUT_REQUIRED
    await shell.jobs.cancel(job_id)


# --- where it is followed ----------------------------------------------------------------------------------------


async def test_the_panel_asks_and_the_run_goes_on_to_its_end(shell: Shell) -> None:
    job_id = await refused(shell)
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("Type retry or stop. Enter alone leaves it open: ")
        terminal.press("retry\n")
        await terminal.drawn("refusal-1: answered retry by ")
        assert await terminal.ended() == COMPLETED


async def test_an_answer_that_the_run_refuses_is_asked_for_again(shell: Shell) -> None:
    job_id = await asking(shell)
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("Type a number or stop. Enter alone leaves it open: ")
        terminal.press("1\n")
        await terminal.drawn("is not a new limit: send a whole number")
        await terminal.drawn("Type a number or stop. Enter alone leaves it open: ", times=2)
        terminal.press("s\n")
        assert await terminal.ended() == INCOMPLETE


async def test_a_question_that_was_left_is_on_the_panel_and_can_be_answered_elsewhere(shell: Shell) -> None:
    job_id = await asking(shell)
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("Enter alone leaves it open: ")
        terminal.press("\n")
        await terminal.drawn(f"durable-responses respond {job_id} limit-1 stop")
        await shell.jobs.respond(job_id, "limit-1", "stop", "Ada")
        assert await terminal.ended() == INCOMPLETE
    assert terminal.text.count("Enter alone leaves it open: ") == 1


async def test_a_question_that_is_answered_elsewhere_is_not_asked_any_longer(shell: Shell) -> None:
    job_id = await refused(shell)
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("Enter alone leaves it open: ")
        await shell.jobs.respond(job_id, "refusal-1", "retry", "Ada")
        await terminal.drawn("refusal-1: answered retry by Ada")
        assert await terminal.ended() == COMPLETED


async def test_ctrl_c_works_while_a_question_is_asked(shell: Shell) -> None:
    job_id = await asking(shell)
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("Enter alone leaves it open: ")
        terminal.press(CTRL_C)
        await terminal.drawn("cancel it \\(c and Enter\\)\\?")
        terminal.press("\n")
        assert await terminal.ended() == LEFT
    assert (await shell.jobs.state(job_id)).state.status is AgentStatus.INPUT_REQUIRED
    await shell.jobs.cancel(job_id)


async def test_a_pipe_is_told_what_to_type_and_waits_on(shell: Shell) -> None:
    job_id = await refused(shell)
    watching = await shell.spawn("watch", job_id)
    assert watching.stderr is not None
    said = ""
    while "refusal-1 stop" not in said:
        said += (await watching.stderr.readline()).decode()
    assert "refusal-1: The provider refuses to go on: " in said
    assert f"durable-responses respond {job_id} refusal-1 retry\n" in said
    assert watching.returncode is None
    await shell.jobs.respond(job_id, None, "retry", "Ada")
    done = await ended(watching)
    assert (done.code, "refusal-1: answered retry by Ada" in done.err) == (COMPLETED, True)


async def test_a_choice_is_made_by_its_number(shell: Shell) -> None:
    job_id = await questioned(shell, choices=["the old one", "the new one"])
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("  2  the new one")
        await terminal.drawn("Type 1 to 2, or an answer in your own words; e opens your editor.")
        terminal.press("2\n")
        assert await terminal.ended() == COMPLETED
    assert [request.answer for request in await requests(shell, job_id)] == ["the new one"]


@pytest.mark.parametrize("key", ["\x04", CTRL_C])
async def test_what_follows_a_prompt_that_was_left_begins_on_a_line_of_its_own(shell: Shell, key: str) -> None:
    """Neither Ctrl-D nor Ctrl-C ends the line that the prompt is on."""
    job_id = await questioned(shell)
    async with shell.on_terminal("watch", job_id) as terminal:
        await terminal.drawn("Enter alone leaves it open: ")
        terminal.press(key)
        await terminal.drawn(r"leaves it open: (\^C)?\r\n")
    await shell.jobs.cancel(job_id)


async def test_a_long_answer_is_written_in_an_editor(shell: Shell) -> None:
    job_id = await questioned(shell)
    terminal = shell.on_terminal("watch", job_id)
    terminal.env["VISUAL"] = (
        """sh -c 'grep -q "# Which plan" "$0" && printf "The old one.\\n\\n# For now.\\n" > "$0"'"""
    )
    async with terminal:
        await terminal.drawn("e opens your editor. Enter alone leaves it open: ")
        terminal.press("e\n")
        assert await terminal.ended() == COMPLETED
    assert [request.answer for request in await requests(shell, job_id)] == ["The old one.\n\n# For now."]


async def test_an_editor_that_fails_is_told_and_the_question_asked_again(shell: Shell) -> None:
    job_id = await questioned(shell)
    terminal = shell.on_terminal("watch", job_id)
    terminal.env["VISUAL"] = "no-such-editor"
    async with terminal:
        await terminal.drawn("Enter alone leaves it open: ")
        terminal.press("e\n")
        await terminal.drawn("The editor failed")
        await terminal.drawn("Enter alone leaves it open: ", times=2)
        terminal.press("The old one.\n")
        assert await terminal.ended() == COMPLETED


async def test_a_model_may_ask_where_a_terminal_follows_the_run_and_not_otherwise(shell: Shell) -> None:
    done = await shell.run("run", "Say this.", *scenario("echo"), "--json")
    assert not (await shell.jobs.request(done.json["job_id"])).allow_questions
    async with shell.on_terminal("run", "Say this.", "--job-id", f"{done.json['job_id']}-2", *scenario("echo")) as run:
        assert await run.ended() == COMPLETED
    assert (await shell.jobs.request(f"{done.json['job_id']}-2")).allow_questions


# --- what is shown -----------------------------------------------------------------------------------------------


async def test_status_list_and_show_tell_what_is_asked(shell: Shell) -> None:
    job_id = await refused(shell)
    shown = (await shell.run("status", job_id)).out
    assert shown.startswith("input_required · iteration ")
    assert f"durable-responses respond {job_id} refusal-1 retry\n" in shown

    async def is_listed() -> bool:
        listed = await shell.run("list", "--where", f"AgentStatus = 'input_required' AND WorkflowId = '{job_id}'")
        fields = listed.out.rstrip("\n").split("\t")
        return fields[0] == "input_required" and "refusal-1, asked" in fields[-2] and "No credit is left." in fields[-2]

    await until(is_listed)
    await shell.jobs.respond(job_id, None, "retry", "Ada")
    await shell.jobs.result(job_id)
    told = await shell.run("show", job_id)
    assert "refusal-1: answered retry by Ada" in told.out
    assert "No credit is left." in told.out
    assert "refusal-1: answered retry by Ada" in (await shell.run("show", job_id, "--markdown")).out


async def test_run_takes_what_is_to_be_asked_as_options(shell: Shell) -> None:
    words = ["--max-iterations", "1", "--on-max-iterations", "ask", "--on-refusal", "fail", "--on-deadline", "ask"]
    started = await shell.run("start", "Count.", *words, "--json", "-e", "high", "-m", f"scenario:{CALLS}")
    job_id = started.json["job_id"]
    await asked(shell, job_id)
    await shell.jobs.cancel(job_id)
