"""Runs from a program: their results, their functions, their events, and what else can be done with them."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from pydantic import BaseModel

from durable_responses import (
    CallEnded,
    CallStarted,
    Effect,
    Ended,
    InputRequested,
    InvalidInput,
    IterationStarted,
    JobExists,
    JobNotFound,
    OutputInvalid,
    RunCancelled,
    RunFailed,
    RunIncomplete,
    SetupError,
    TextWritten,
    Waiting,
    attach,
    run,
    start,
    tool,
)
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.workflows.contract import AgentStatus, CallStatus
from tests.python.conftest import Programs
from tests.support.runs import until

CALLS = {"scenario": 'calls?tool=shout&arguments={"text":"hi"}'}
SLOW = {"scenario": "think?seconds=600"}


class Summary(BaseModel):
    title: str
    points: list[str] = []


def shout(text: str) -> str:
    """Shout."""
    return text.upper()


async def answers(here: Programs, text: str) -> dict[str, str]:
    """Metadata of a run that is answered with this text."""
    await here.control.add_scenario(Scenario(name="answers", responses=[Script(output=[Text(text=text)])]))
    return {"scenario": "answers"}


# --- results -----------------------------------------------------------------------------------------------------


async def test_the_answer_is_an_object_of_the_class(here: Programs) -> None:
    result = await run("Sum it up.", output=Summary, metadata=await answers(here, '{"title": "T", "points": null}'))
    assert result.output == Summary(title="T")
    assert result.usage.total_tokens > 0


async def test_an_answer_of_another_form_is_an_exception_with_what_it_cost(here: Programs) -> None:
    with pytest.raises(OutputInvalid, match="is not a Summary: title: is required") as caught:
        await run("Sum it up.", output=Summary, metadata=await answers(here, "{}"))
    assert caught.value.result.usage.total_tokens > 0
    assert caught.value.result.output_text == "{}"


async def test_an_incomplete_run_is_an_exception_with_the_part_that_is_there(here: Programs) -> None:
    with pytest.raises(RunIncomplete, match="max_iterations") as caught:
        await run("Do it.", tools=[shout], max_iterations=1, metadata=CALLS)
    assert caught.value.result.iterations == 1
    assert caught.value.result.usage.total_tokens > 0


async def test_a_failed_run_is_an_exception_with_its_sentence(here: Programs) -> None:
    with pytest.raises(RunFailed, match="There is no tool named 'no_such_tool'") as caught:
        await run("Do it.", tools=["no_such_tool", shout])
    assert caught.value.result.error is not None
    assert caught.value.result.usage.total_tokens == 0
    assert caught.value.job_id in str(caught.value)


async def test_a_cancelled_run_is_an_exception_with_its_reason(here: Programs) -> None:
    job = await start("Do it.", effort="high", metadata=SLOW)
    waiting = asyncio.create_task(job.result())
    assert (await job.cancel("no need")).status is AgentStatus.CANCELLED
    with pytest.raises(RunCancelled, match="no need"):
        await waiting


async def test_whoever_stops_waiting_does_not_stop_the_run(here: Programs) -> None:
    job = await start("Do it.", effort="high", metadata=SLOW)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await job.result()
    assert not (await job.state()).status.is_final
    await job.cancel()


# --- before anything is paid -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"effort": "hihg"}, "reasoning_effort"),
        ({"tools": [print]}, "is not a plain function"),
        ({"output": int}, "output: int"),
        ({"job_id": "a", "idempotency_key": "b"}, "give one of them"),
        ({"idempotency_key": " "}, "The idempotency_key is empty"),
        ({"job_id": "a\nb"}, "line breaks"),
    ],
)
async def test_what_cannot_be_used_is_an_exception_of_ours(
    here: Programs, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        await start("Do it.", **options)
    assert await here.control.responses() == []


async def test_a_taken_id_and_an_unknown_one_are_exceptions_of_ours(here: Programs) -> None:
    job_id = f"{here.env['AGENT_TASK_QUEUE']}-taken"
    await run("Do it.", job_id=job_id, tools=[])
    with pytest.raises(JobExists, match="taken"):
        await start("Do it.", job_id=job_id, tools=[shout])
    with pytest.raises(JobNotFound):
        await attach(f"{job_id}-not")


async def test_a_server_that_is_not_there_is_an_exception_of_ours(
    here: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    with pytest.raises(SetupError, match=r"127\.0\.0\.1:1"):
        await start("Do it.")


async def test_a_setting_that_cannot_be_used_is_an_exception_of_ours(
    here: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_MAX_TOOLS", "many")
    with pytest.raises(SetupError, match="AGENT_MAX_TOOLS"):
        await start("Do it.")


# --- functions ---------------------------------------------------------------------------------------------------


async def test_a_function_of_the_program_is_called_in_it(here: Programs) -> None:
    threads = []

    def shout(text: str) -> str:
        """Shout."""
        threads.append(threading.current_thread())
        return text.upper()

    result = await run("Do it.", tools=[shout], metadata=CALLS)
    assert result.status is AgentStatus.COMPLETED
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_an_async_function_shares_the_loop_of_the_program(here: Programs) -> None:
    ready, loops = asyncio.Event(), []

    async def shout(text: str) -> str:
        """Shout."""
        await ready.wait()
        loops.append(asyncio.get_running_loop())
        return text.upper()

    running = asyncio.create_task(run("Do it.", tools=[shout], metadata=CALLS))
    ready.set()
    assert (await running).status is AgentStatus.COMPLETED
    assert loops == [asyncio.get_running_loop()]


async def test_what_a_function_raises_is_text_for_the_model(here: Programs) -> None:
    def shout(text: str) -> str:
        """Shout."""
        raise ValueError(f"{text} is too quiet")

    job = await start("Do it.", tools=[shout], metadata=CALLS)
    await job.result()
    [call] = (await job.state()).function_calls
    assert call.status is CallStatus.FAILED
    assert call.reason is not None
    assert "hi is too quiet" in call.reason


async def test_only_what_was_given_is_offered(here: Programs) -> None:
    job = await start("Do it.", tools=["list_files", shout], metadata={"scenario": "echo"})
    await job.result()
    [response] = await here.control.responses(workflow_id=job.id)
    request = await here.jobs.request(job.id)
    assert request.tools == ["list_files"]
    assert [each.name for each in request.caller_tools or []] == ["shout"]
    assert response.status == "completed"


async def test_a_run_waits_for_the_functions_of_a_program_and_goes_on_when_they_are_given_again(
    here: Programs,
) -> None:
    job_id = f"{here.env['AGENT_TASK_QUEUE']}-waits"
    program = await here.begin(
        f"""
import asyncio, os
from durable_responses import start

def shout(text: str) -> str:
    "Shout."
    os.kill(os.getpid(), 9)

async def main():
    job = await start("Do it.", tools=[shout], job_id={job_id!r}, metadata={CALLS!r})
    await job.result()

asyncio.run(main())
"""
    )
    assert await program.wait() == -9
    again = tool(effect=Effect.ONCE)(shout)
    job = await attach(job_id, tools=[again])
    assert (await job.result()).status is AgentStatus.COMPLETED
    [call] = (await job.state()).function_calls
    assert call.status is CallStatus.UNKNOWN, "a function that must not run twice has not"


async def test_other_functions_than_those_of_the_run_are_refused(here: Programs) -> None:
    def whisper(text: str) -> str:
        """Whisper."""
        return text

    job = await start("Do it.", tools=[shout], metadata=CALLS)
    with pytest.raises(InvalidInput, match="other functions: shout"):
        await attach(job.id, tools=[whisper])
    await job.result()


async def test_the_same_start_with_an_idempotency_key_gives_the_same_run(here: Programs) -> None:
    calls = []

    def shout(text: str) -> str:
        """Shout."""
        calls.append(text)
        return text

    key = here.env["AGENT_TASK_QUEUE"]
    first, second = [await run("Do it.", tools=[shout], metadata=CALLS, idempotency_key=key) for _ in range(2)]
    assert first == second
    assert calls == ["hi"]


# --- events ------------------------------------------------------------------------------------------------------


async def test_the_events_of_a_run_end_with_its_result(here: Programs) -> None:
    job = await start("Do it.", tools=[shout], metadata=CALLS)
    events = [event async for event in job.events()]
    kinds = {type(event) for event in events}
    assert {IterationStarted, CallStarted, CallEnded, TextWritten, Ended} <= kinds
    assert isinstance(events[-1], Ended)
    assert events[-1].result.status is AgentStatus.COMPLETED
    assert [type(event) for event in events if isinstance(event, CallStarted | CallEnded)] == [CallStarted, CallEnded]
    assert "".join(event.text for event in events if isinstance(event, TextWritten)) == events[-1].result.output_text


async def test_whoever_takes_no_more_events_does_not_stop_the_run(here: Programs) -> None:
    job = await start("Do it.", effort="high", metadata=SLOW)
    async for event in job.events():
        assert isinstance(event, IterationStarted)
        break
    assert not (await job.state()).status.is_final
    await job.cancel()


# --- a job -------------------------------------------------------------------------------------------------------


async def test_a_run_is_continued_with_its_options_and_functions_that_are_given_again(here: Programs) -> None:
    job = await start("Do it.", tools=[shout], effort="low", metadata={"scenario": "echo"})
    await job.result()
    again = await job.continue_("And now?", tools=[shout], metadata=CALLS)
    assert (await again.result()).status is AgentStatus.COMPLETED
    request = await here.jobs.request(again.id)
    assert (request.reasoning_effort, request.task) == ("low", "And now?")
    assert request.previous_response_id is not None


async def test_a_run_that_is_open_cannot_be_continued_and_one_that_is_over_cannot_be_steered(here: Programs) -> None:
    job = await start("Do it.", effort="high", metadata=SLOW)
    await job.steer("Be brief.")
    with pytest.raises(InvalidInput, match="has not ended yet"):
        await job.continue_("And now?")
    await job.cancel()
    with pytest.raises(InvalidInput, match="has ended"):
        await job.steer("Be brief.")


async def test_what_a_run_asks_its_owner_is_an_event_and_can_be_answered(here: Programs) -> None:
    job = await start("Do it.", tools=[shout], approvals="ask", metadata=CALLS)
    async for event in job.events():
        if isinstance(event, InputRequested):
            assert "shout" in event.request.message
            with pytest.raises(InvalidInput):
                await job.respond("allow", request_id="no-such-request")
            await job.respond("allow", by="the test")
    assert (await job.result()).status is AgentStatus.COMPLETED
    assert [call.status for call in (await job.state()).function_calls] == [CallStatus.SUCCEEDED]


# --- loops and threads -------------------------------------------------------------------------------------------


async def test_several_runs_at_once_have_functions_of_their_own(here: Programs) -> None:
    def shouting(number: int) -> Any:
        def shout(text: str) -> str:
            """Shout."""
            heard.append(number)
            return text

        return shout

    heard: list[int] = []
    await asyncio.gather(*(run("Do it.", tools=[shouting(number)], metadata=CALLS) for number in range(5)))
    assert sorted(heard) == [0, 1, 2, 3, 4]


def in_a_thread(work: Coroutine[Any, Any, Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(work)))
    thread.start()
    thread.join()
    return results[0]


async def test_event_loops_may_come_one_after_the_other(here: Programs) -> None:
    jobs = [await asyncio.to_thread(in_a_thread, start("Do it.", tools=[shout], metadata=CALLS)) for _ in range(2)]
    results = [await job.result() for job in jobs]
    assert [result.status for result in results] == [AgentStatus.COMPLETED] * 2


@pytest.mark.parametrize("running_loop", ["", "async def main(): work()\nasyncio.run(main())"], ids=["none", "one"])
async def test_a_program_may_wait_without_a_loop_or_block_the_one_that_runs(
    programs: Programs, running_loop: str
) -> None:
    done = await programs.run(
        f"""
import asyncio
from durable_responses import run_sync

async def shout(text: str) -> str:
    "Shout."
    await asyncio.sleep(0)
    return text.upper()

def work():
    print(run_sync("Do it.", tools=[shout], metadata={CALLS!r}).status)

{running_loop or "work()"}
"""
    )
    assert (done.code, done.out, done.err) == (0, "completed\n", "")


async def test_a_run_whose_program_is_gone_says_that_it_waits(here: Programs) -> None:
    job_id = f"{here.env['AGENT_TASK_QUEUE']}-gone"
    done = await here.run(
        f"""
import asyncio
from durable_responses import start

def shout(text: str) -> str:
    "Shout."
    return text

asyncio.run(start("Do it.", tools=[shout], job_id={job_id!r}, effort="high", metadata={CALLS!r}))
"""
    )
    assert (done.code, done.err) == (0, "")
    job = await attach(job_id)
    gone = f"no program takes the function calls on {here.env['AGENT_TASK_QUEUE']}-"
    async for event in job.events():
        # A call that the program took before it ended is told first: its heartbeats stop.
        if isinstance(event, Waiting) and event.reason and event.reason.startswith(gone):
            break
    else:
        pytest.fail("The run ended, and did not say that no program takes its function calls.")
    await job.cancel()
    await until(lambda: _is_over(here, job_id))


async def _is_over(here: Programs, job_id: str) -> bool:
    return not await here.jobs.is_open(job_id)
