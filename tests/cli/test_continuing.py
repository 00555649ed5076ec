"""`continue` and `steer`: going on from a run that has ended, and telling a running one something."""

import re

import pytest

from durable_responses.jobs.jobs import Jobs
from durable_responses.jobs.story import NOT_EXECUTED
from tests.support.runs import until
from tests.support.shell import CANCELLED, COMPLETED, FAILED, INCOMPLETE, USAGE, Shell, has_response, scenario


async def test_a_completed_run_is_continued_with_its_options_as_a_run_of_its_own(shell: Shell) -> None:
    first = await shell.run("run", "One.", "--json", "--tenant", "acme", *scenario("echo"))
    done = await shell.run("continue", first.json["job_id"], "And two.", "--json")
    assert (done.code, done.json["output_text"]) == (COMPLETED, "And two.")
    assert done.json["job_id"] != first.json["job_id"]
    shown = (await shell.run("show", done.json["job_id"], "--json")).json
    assert shown["request"]["previous_response_id"] == first.json["response_id"]
    assert (shown["request"]["tenant"], shown["request"]["reasoning_effort"]) == ("acme", "high")
    assert shown["continues"] == first.json["job_id"]
    assert f"continues {first.json['job_id']}" in (await shell.run("show", done.json["job_id"])).out
    assert f"Continues {first.json['job_id']}." in (await shell.run("show", done.json["job_id"], "--markdown")).out


async def test_the_newest_run_is_continued_with_what_a_pipe_says(shell: Shell) -> None:
    first = await shell.run("start", "One.", *scenario("echo"))
    await shell.jobs.result(first.out.strip())
    done = await shell.run("continue", "--json", piped="And two.")
    assert done.code == COMPLETED
    assert f"continues {first.out.strip()}" in done.err


async def test_options_can_be_changed_and_the_newest_run_is_continued_without_an_id(shell: Shell) -> None:
    first = await shell.run("start", "One.", *scenario("echo"))
    await shell.jobs.result(first.out.strip())
    done = await shell.run("continue", "And two.", "--effort", "low", "--json")
    assert done.code == COMPLETED
    shown = (await shell.run("show", done.json["job_id"], "--json")).json
    assert shown["request"]["reasoning_effort"] == "low"
    assert f"continues {first.out.strip()}" in done.err


async def test_calls_that_were_left_open_are_answered_as_not_executed(shell: Shell) -> None:
    first = await shell.run("run", "Call.", "--max-iterations", "1", "--json", *scenario("calls?iterations=1"))
    assert first.code == INCOMPLETE
    done = await shell.run("continue", first.json["job_id"], "Go on.", "--max-iterations", "5", "--json")
    assert done.code == COMPLETED, done.err
    items = (await shell.run("show", done.json["job_id"], "--json")).json["request"]["task"]
    assert [item.get("output") for item in items] == [NOT_EXECUTED, None]
    assert items[-1] == {"role": "user", "content": "Go on."}


async def test_what_the_owner_has_answered_is_not_lost(shell: Shell) -> None:
    """The first run is cancelled while it waits for its second answer; the model is told the first one all the same."""
    asks = 'calls?parallel=2&tool=ask_owner&arguments={"question": "Which {call}?", "choices": [], "why": "it matters"}'
    job_id = await shell.start(asks, allow_questions=True)
    await until(lambda: asks_twice(shell.jobs, job_id))
    assert (await shell.run("respond", job_id, "question-2", "the blue one")).code == COMPLETED
    waiting = (await shell.run("show", job_id, "--json")).json["steps"]
    assert [step["status"] for step in waiting[1:]] == ["running", "running"]
    await shell.jobs.cancel(job_id)
    await shell.jobs.result(job_id)
    ended = (await shell.run("show", job_id, "--json")).json["steps"]
    assert [(step["output"], step["error"]) for step in ended[1:]] == [(None, NOT_EXECUTED), ("the blue one", None)]
    for rebuild in ([], ["--rebuild"]):
        done = await shell.run("continue", job_id, "Go on.", "--json", *scenario("echo"), *rebuild)
        items = (await shell.run("show", done.json["job_id"], "--json")).json["request"]["task"]
        assert [item["output"] for item in items if "output" in item] == [NOT_EXECUTED, "the blue one"]


async def asks_twice(jobs: Jobs, job_id: str) -> bool:
    """Whether both questions of a run are open."""
    return len((await jobs.state(job_id)).open_requests) == 2


async def test_a_cancelled_run_without_a_completed_response_is_told_again(shell: Shell) -> None:
    job_id = (await shell.run("start", "Do it.", *scenario("think?seconds=60"))).out.strip()
    await until(lambda: has_response(shell.jobs, job_id))
    await shell.jobs.cancel(job_id)
    await shell.jobs.result(job_id)
    done = await shell.run("continue", job_id, "Now.", "--json", *scenario("echo"))
    assert done.code == COMPLETED
    shown = (await shell.run("show", done.json["job_id"], "--json")).json
    assert [item["content"] for item in shown["request"]["task"]] == ["Do it.", "Now."]


async def test_a_conversation_can_be_told_again_over_several_runs(shell: Shell) -> None:
    job_id = (await shell.run("start", "Do it.", *scenario("calls?iterations=1"))).out.strip()
    await shell.jobs.result(job_id)
    second = await shell.run("continue", job_id, "Second.", "--json", *scenario("echo"))
    third = await shell.run("continue", second.json["job_id"], "Third.", "--rebuild", "--json")
    assert third.code == COMPLETED, third.err
    items = (await shell.run("show", third.json["job_id"], "--json")).json["request"]["task"]
    texts = [item["content"] for item in items if "content" in item]
    assert texts == ["Do it.", "All calls are answered.", "Second.", "Second.", "Third."]
    assert {item["type"] for item in items if "type" in item} == {"function_call", "function_call_output"}


async def test_where_the_provider_has_forgotten_the_conversation_it_says_what_to_type(shell: Shell) -> None:
    failed = await shell.run("run", "Go on.", "--previous-response-id", "resp_gone", *scenario("echo"))
    assert failed.code == FAILED
    [typed] = re.findall(r'durable-responses continue --rebuild (\S+) "…"', failed.err)
    done = await shell.run("continue", typed, "Again.", "--rebuild", "--json")
    assert (done.code, done.json["output_text"]) == (COMPLETED, "Again.")
    assert done.json["job_id"].startswith("again-")


async def test_a_run_that_kept_its_conversation_itself_is_told_again(shell: Shell) -> None:
    first = await shell.run("run", "One.", "--json", "--conversation", "full", *scenario("echo"))
    done = await shell.run("continue", first.json["job_id"], "And two.", "--json")
    assert (done.code, done.json["output_text"]) == (COMPLETED, "And two.")
    asked = (await shell.run("show", done.json["job_id"], "--json")).json["request"]
    assert asked.get("previous_response_id") is None
    assert [item["content"] for item in asked["task"]] == ["One.", "One.", "And two."]


async def test_a_run_that_is_still_running_is_steered_and_not_continued(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    refused = await shell.run("continue", job_id, "More.")
    assert refused.code == USAGE
    assert "has not ended yet" in refused.err
    steered = await shell.run("steer", job_id, "Be brief.")
    assert (steered.code, steered.out) == (COMPLETED, "")
    assert [steer.text for steer in (await shell.jobs.state(job_id)).state.steers] == ["Be brief."]
    await shell.jobs.cancel(job_id)


@pytest.mark.parametrize("command", ["continue", "steer"])
async def test_a_run_that_is_told_nothing_is_left_alone(shell: Shell, command: str) -> None:
    job_id = await shell.start("echo")
    await shell.jobs.result(job_id)
    for words in ([], [job_id], [job_id, ""], [job_id, "-"]):
        refused = await shell.run(command, *words)
        assert (refused.code, refused.out) == (USAGE, ""), words


async def test_a_run_that_has_ended_is_not_steered(shell: Shell) -> None:
    job_id = await shell.start("echo")
    await shell.jobs.result(job_id)
    refused = await shell.run("steer", job_id, "Be brief.")
    assert refused.code == USAGE
    assert "continue it" in refused.err


async def test_the_end_of_a_run_says_how_to_go_on(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    await shell.jobs.cancel(job_id)
    done = await shell.run("watch", job_id)
    assert done.code == CANCELLED
    assert f'durable-responses continue {job_id} "…"' in done.err
