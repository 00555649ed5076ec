"""`show`: what happened in a run, and with what."""

from durable_responses.jobs.story import NOT_EXECUTED
from tests.support.runs import until
from tests.support.shell import COMPLETED, Shell, has_response


async def finished(shell: Shell, scenario: str, **fields: object) -> str:
    job_id = await shell.start(scenario, **fields)
    await shell.jobs.result(job_id)
    return job_id


async def test_every_response_and_call_is_shown_with_its_arguments_and_its_answer(shell: Shell) -> None:
    job_id = await finished(shell, "calls?iterations=2")
    told = (await shell.run("show", job_id, "--json")).json
    kinds = [step["kind"] for step in told["steps"]]
    assert (kinds[0], kinds[-1], kinds.count("response")) == ("response", "response", 3)
    call = next(step for step in told["steps"] if step["kind"] == "call")
    assert call["name"]
    assert call["arguments"].startswith("{")
    assert call["output"]
    assert call["seconds"] is not None
    response = told["steps"][0]
    assert (response["iteration"], response["status"]) == (1, "completed")
    assert response["usage"]["total_tokens"] > 0
    assert told["request"]["task"] == "Do it."
    assert told["result"]["status"] == "completed"


async def test_a_person_reads_it_in_lines_and_a_document_in_markdown(shell: Shell) -> None:
    job_id = await finished(shell, "calls?iterations=1")
    lines = await shell.run("show", job_id)
    assert (lines.code, lines.err) == (COMPLETED, "")
    assert lines.out.startswith("completed · iteration 2 of 10")
    assert "→" in lines.out
    document = await shell.run("show", job_id, "--markdown")
    assert document.out.startswith(f"# {job_id}\n\ncompleted · ")
    assert "```json\n{" in document.out


async def test_a_call_that_failed_says_why_wherever_it_is_shown(shell: Shell) -> None:
    job_id = await finished(shell, 'calls?tool=read_file&arguments={"path": "gone.md"}')
    for words in (["watch", job_id], ["status", job_id], ["show", job_id], ["show", job_id, "--markdown"]):
        done = await shell.run(*words)
        assert "read_file gone.md ✗" in done.out + done.err or "gone.md" in done.out, words
        assert "There is no" in done.out + done.err or "does not exist" in done.out + done.err, words


DENIED = {"rules": [{"tool": "list_files", "action": "deny", "reason": "not on Fridays"}]}


async def test_a_call_that_was_denied_is_shown_with_what_the_model_was_told(shell: Shell) -> None:
    job_id = await finished(shell, "calls?iterations=1&tool=list_files", approvals=DENIED)
    steps = (await shell.run("show", job_id, "--json")).json["steps"]
    assert [step["kind"] for step in steps] == ["response", "call", "response"]
    assert (steps[1]["name"], steps[1]["status"], steps[1]["iteration"]) == ("list_files", "failed", 1)
    assert "not on Fridays" in steps[1]["output"]
    assert "list_files ✗" in (await shell.run("show", job_id)).out


async def test_a_call_that_is_open_when_the_run_ends_was_not_executed(shell: Shell) -> None:
    job_id = await finished(shell, "calls?iterations=3&tool=list_files", max_iterations=1)
    steps = (await shell.run("show", job_id, "--json")).json["steps"]
    assert [(step["kind"], step["status"], step["error"]) for step in steps[1:]] == [("call", "failed", NOT_EXECUTED)]


async def test_a_key_in_what_is_passed_on_is_not_printed(shell: Shell) -> None:
    job_id = await finished(shell, "echo", extra_body={"provider_options": {"api_key": "hunter2"}})
    told = await shell.run("show", job_id, "--json")
    assert told.json["request"]["extra_body"] == {"provider_options": {"api_key": "***"}}


async def test_what_of_the_request_was_changed_is_part_of_what_happened(shell: Shell) -> None:
    job_id = await finished(shell, "echo", enable_web_search=True, reasoning_effort="minimal")
    for words in ([], ["--markdown"]):
        assert "reasoning.effort is low instead of minimal" in (await shell.run("show", job_id, *words)).out


async def test_a_run_under_way_is_shown_so_far(shell: Shell) -> None:
    job_id = await shell.start("think?seconds=60")
    await until(lambda: has_response(shell.jobs, job_id))
    [step] = (await shell.run("show", job_id, "--json")).json["steps"]
    assert step["status"] in ("queued", "in_progress")
    assert step["response_id"]
    await shell.jobs.cancel(job_id)
    await shell.jobs.result(job_id)
    [step] = (await shell.run("show", job_id, "--json")).json["steps"]
    assert step["status"] == "cancelled"


async def test_a_run_is_shown_without_a_worker(bare: Shell) -> None:
    job_id = await bare.start("echo")
    told = (await bare.run("show", job_id, "--json")).json
    assert (told["job"]["status"], told["steps"]) == ("queued", [])
