"""Jobs as a client sees them: start, poll, cancel, list, and the synchronous call."""

import asyncio
import itertools
import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from tests.mcp_server.conftest import Deployment
from tests.support.mcp_clients import LEGACY, MODERN, HttpServer, McpServer, Session

THINKS_LONG = "scenario:think?seconds=60"
THINKS = "scenario:think?seconds=2.5"
WRITES = "scenario:write?words=2000&seconds=60"


# --- start and poll ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
async def test_a_job_is_started_and_polled_to_its_answer(server: McpServer, mode: str) -> None:
    """A14, A15: over stdio and HTTP, with and without a handshake."""
    async with server.session(mode=mode) as session:
        started = await session.call("gpt5_agent_start", task="Repeat this.", model="scenario:echo")
        assert started["status"] == "queued"
        done = await session.ended(started["job_id"])
        assert (done["status"], done["output"]) == ("completed", "Repeat this.")


async def test_a_finished_job_tells_all_that_was_promised(http: HttpServer, deployment: Deployment) -> None:
    """A15."""
    async with http.session() as session:
        done = await session.ended(await session.start("Repeat this.", model="scenario:echo"))
    [response] = await deployment.emulator.control.responses(workflow_id=done["job_id"])
    assert done["iterations"] == 1
    assert done["response_id"] == response.id
    assert done["preview"] == ""
    assert done["output_bytes"] == len("Repeat this.")
    assert done["result_uri"] == f"job://{done['job_id']}/result"
    assert done["error"] is None
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"] > 0
    assert set(done["progress"]) == {"iteration", "max_iterations", "response_status", "elapsed_s"}
    assert datetime.fromisoformat(done["updated_at"]).utcoffset() == timedelta(0)
    assert done["next_poll_ms"] is None
    assert Path(done["result_path"]).is_file()


async def test_the_response_is_known_while_it_is_being_thought_of(http: HttpServer, deployment: Deployment) -> None:
    """A18, A19: running, with the id of the response, long before the iteration ends."""
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        running = await session.until(job_id, "running")
        [response] = await deployment.emulator.control.responses(workflow_id=job_id)
        assert running["response_id"] == response.id
        assert (running["iterations"], running["output"]) == (1, None)
        await session.cancel(job_id)


async def test_a_streamed_response_is_known_while_it_is_being_written(http: HttpServer) -> None:
    """A19, A15: the preview grows while the model writes."""
    async with http.session() as session:
        job_id = await session.start(model=WRITES, enable_web_search=False)
        running = await session.until(job_id, "running")
        while not running["preview"]:
            running = await session.poll(job_id, wait_seconds=10)
            assert running["status"] == "running"
        assert running["response_id"]
        assert running["preview"].startswith("word1 ")
        await session.cancel(job_id)


async def test_a_long_poll_answers_as_soon_as_the_job_ends(http: HttpServer) -> None:
    """A15: `wait_seconds` is the most, not the least."""
    async with http.session() as session:
        job_id = await session.start(model=THINKS)
        await session.until(job_id, "running")
        asked = time.monotonic()
        done = await session.poll(job_id, wait_seconds=20)
        assert done["status"] == "completed"
        assert time.monotonic() - asked < 8


async def test_a_poll_does_not_wait_unless_it_is_told_to(http: HttpServer) -> None:
    """A15: `wait_seconds` is 0 by default."""
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        await session.until(job_id, "running")
        asked = time.monotonic()
        reply = await session.call("gpt5_agent_poll", job_id=job_id)
        assert time.monotonic() - asked < 1
        assert 2000 <= reply["next_poll_ms"] <= 30_000
        await session.cancel(job_id)


async def test_a_long_poll_ends_when_its_time_is_over(http: HttpServer) -> None:
    """A15: nothing changed."""
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        await session.until(job_id, "running")
        asked = time.monotonic()
        assert (await session.poll(job_id, wait_seconds=1))["status"] == "running"
        assert 0.9 < time.monotonic() - asked < 3
        await session.cancel(job_id)


async def test_a_running_job_says_what_to_call_next(http: HttpServer) -> None:
    """A13, A15: the text is enough for a model to go on."""
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        reply = await session.until(job_id, "running")
        assert f'gpt5_agent_poll with {{"job_id": "{job_id}"}}' in reply.text
        await session.cancel(job_id)


async def test_job_ids_cannot_be_guessed(http: HttpServer) -> None:
    """A14: at least 128 random bits."""
    async with http.session() as session:
        ids = [await session.start(model="scenario:echo") for _ in range(2)]
    assert all(re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{32}", job_id) for job_id in ids)
    assert len(set(ids)) == 2


async def test_a_job_goes_on_from_an_earlier_response(http: HttpServer, deployment: Deployment) -> None:
    """A23: `previous_response_id`."""
    async with http.session() as session:
        first = await session.ended(await session.start("One.", model="scenario:echo"))
        job_id = await session.start("Two.", model="scenario:echo", previous_response_id=first["response_id"])
        second = await session.ended(job_id)
    assert second["status"] == "completed"
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]


async def test_a_run_that_is_cut_short_says_why_and_gives_what_it_has(http: HttpServer) -> None:
    """A18, A23: `incomplete`, here by `max_iterations`."""
    async with http.session() as session:
        job_id = await session.start(model="scenario:calls?iterations=3&tool=fetch_url", max_iterations=2)
        done = await session.ended(job_id)
    assert (done["status"], done["incomplete_reason"], done["iterations"]) == ("incomplete", "max_iterations", 2)
    assert "status: incomplete (max_iterations)" in done.text


# --- idempotency -------------------------------------------------------------------------------------------------


async def test_a_second_start_with_the_same_key_gives_the_running_job(http: HttpServer, deployment: Deployment) -> None:
    """A14: the provider sees one create. With other arguments it is refused."""
    async with http.session() as session:
        job_id = await session.start("One.", model=THINKS_LONG, idempotency_key="key of a running job")
        await session.until(job_id, "running")
        again = await session.call(
            "gpt5_agent_start", task="One.", model=THINKS_LONG, files=[], idempotency_key="key of a running job"
        )
        assert (again["job_id"], again["status"]) == (job_id, "running")
        other = await session.call(
            "gpt5_agent_start", task="Another one.", model=THINKS_LONG, idempotency_key="key of a running job"
        )
        assert other.failed_as == "invalid_arguments"
        assert job_id in other.text
        await session.cancel(job_id)
    assert len(await deployment.emulator.control.responses(workflow_id=job_id)) == 1


async def test_a_second_start_with_the_same_key_gives_the_real_status_of_a_finished_job(http: HttpServer) -> None:
    """A14."""
    async with http.session() as session:
        job_id = await session.start(model="scenario:echo", idempotency_key="key of a finished job")
        await session.ended(job_id)
        again = await session.call(
            "gpt5_agent_start", task="Say hello.", model="scenario:echo", idempotency_key="key of a finished job"
        )
        assert (again["job_id"], again["status"]) == (job_id, "completed")
        assert again["next_step"] in again.text


async def test_starts_at_the_same_time_with_one_key_are_one_job(http: HttpServer, deployment: Deployment) -> None:
    """A14: hostile timing."""
    async with http.session() as session:
        starts = [session.start(model="scenario:echo", idempotency_key="key of many") for _ in range(8)]
        ids = set(await asyncio.gather(*starts))
        assert len(ids) == 1
        await session.ended(ids.pop())


# --- the synchronous call ----------------------------------------------------------------------------------------


async def test_a_short_job_is_answered_by_the_call_itself(server: McpServer) -> None:
    """A13, A15: the same object as a poll, and its facts in the text."""
    async with server.session() as session:
        done = await session.call("gpt5_agent", task="Repeat this.", model="scenario:echo")
        assert (await session.poll(done["job_id"])).content == done.content
    assert (done["status"], done["output"], done.is_error) == ("completed", "Repeat this.", False)
    facts = ["status: completed", done["response_id"], "scenario:echo", "iterations: 1", " tokens", done["result_path"]]
    assert all(fact in done.text for fact in ["Repeat this.", "time: 0:0", *facts])


async def test_progress_is_reported_while_the_call_waits(server: McpServer) -> None:
    """A13: status and iteration, under the job's id."""
    told: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with server.session() as session:
        done = await session.call("gpt5_agent", note, task="Think.", model="scenario:think?seconds=1.5")
    assert all(message.startswith(done["job_id"]) for message in told)
    assert any("running, iteration 1 of 10" in message for message in told)


async def test_progress_is_reported_even_though_nothing_changes(http: HttpServer) -> None:
    """A13: at least every 10 s, and always growing."""
    values: list[float] = []
    times = [time.monotonic()]

    async def note(progress: float, total: float | None, message: str | None) -> None:
        values.append(progress)
        times.append(time.monotonic())

    async with http.session() as session:
        await session.call("gpt5_agent", note, task="Think.", model="scenario:think?seconds=8")
    times.append(time.monotonic())
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 7.5
    assert values == sorted(set(values))


async def test_a_long_job_is_handed_over_when_the_wait_is_over(deployment: Deployment, tmp_path: Path) -> None:
    """A13: the call returns the job id and what to call next; the run goes on."""

    async def note(progress: float, total: float | None, message: str | None) -> None:
        pass

    async with (
        HttpServer(deployment.settings(AGENT_MCP_WAIT="1s"), tmp_path) as server,
        server.session() as session,
    ):
        reply = await session.call("gpt5_agent", note, task="Think.", model="scenario:think?seconds=4")
        assert reply["status"] in ("queued", "running")
        assert (reply["output"], reply.is_error) == (None, False)
        assert "gpt5_agent_poll" in reply.text
        assert (await session.ended(reply["job_id"]))["status"] == "completed"


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
async def test_a_client_that_asks_for_no_progress_waits_for_a_shorter_time(
    deployment: Deployment, tmp_path: Path, mode: str
) -> None:
    """Several such clients give up after 20 s; those that ask for progress wait for longer."""
    told: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    settings = deployment.settings(AGENT_MCP_WAIT_WITHOUT_PROGRESS="1s")
    async with HttpServer(settings, tmp_path) as server, server.session(mode=mode) as session:
        handed_over = await session.call("gpt5_agent", task="Think.", model="scenario:think?seconds=4")
        done = await session.call("gpt5_agent", note, task="Think.", model="scenario:think?seconds=4")
    assert handed_over["status"] in ("queued", "running")
    assert f'"{handed_over["job_id"]}"' in handed_over["next_step"]
    assert done["status"] == "completed"
    assert told


async def test_a_hidden_answer_is_in_nothing_that_a_client_is_sent(http: HttpServer) -> None:
    """A23: not in the progress, not in a poll while it is being written, not in the result."""
    told: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with http.session() as session:
        arguments = {"model": "scenario:write?words=200&seconds=3", "enable_web_search": False}
        done = await session.call("gpt5_agent", note, task="Write.", display_in_chat=False, **arguments)
        job_id = await session.start("Write.", display_in_chat=False, **arguments)
        while (seen := await session.poll(job_id, wait_seconds=2))["next_poll_ms"]:
            told += [str(seen.content), seen.text]
    everything = [*told, str(done.content), done.text, str(seen.content), seen.text]
    assert done["output_bytes"] > 0
    assert not any("word1" in text for text in everything)
    assert done["result_path"] in done["next_step"]
    assert [link.size for link in done.links] == [done["output_bytes"]]


async def test_a_long_answer_comes_with_a_link_to_all_of_it(http: HttpServer) -> None:
    async with http.session() as session:
        task = "word " * 5000
        done = await session.call("gpt5_agent", task=task, model="scenario:echo")
        [link] = done.links
        read = await session.client.read_resource(link.uri)
    assert done["output"] == task
    assert done["result_uri"] == link.uri
    assert len(getattr(read.contents[0], "text", "")) > len(task)


@pytest.mark.parametrize(("revision", "kinds"), [("2025-03-26", ["text"]), ("2025-06-18", ["text", "resource_link"])])
async def test_a_client_of_a_revision_without_links_gets_none(
    http: HttpServer, revision: str, kinds: list[str]
) -> None:
    """It would refuse the whole result."""
    headers = {"Accept": "application/json, text/event-stream"}
    begin = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
    asked = {"name": "gpt5_agent", "arguments": {"task": "word " * 5000, "model": "scenario:echo"}}
    async with httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as client:
        said = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin}
        first = await client.post(http.url, json=said)
        client.headers["Mcp-Session-Id"] = first.headers["mcp-session-id"]
        client.headers["MCP-Protocol-Version"] = revision
        await client.post(http.url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        answer = await client.post(http.url, json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked})
    [result] = [json.loads(line[6:])["result"] for line in answer.text.splitlines() if line.startswith("data: {")]
    assert [part["type"] for part in result["content"]] == kinds


async def test_a_failed_run_is_an_error_of_the_call_that_waited_for_it(http: HttpServer) -> None:
    """A15, A25: as text alone, error first. A poll that finds it is no failed call, and has the same as a structure."""
    async with http.session() as session:
        failed = await session.call("gpt5_agent", task="Fail.", model="scenario:no_such_scenario")
        assert failed.failed_job is not None
        polled = await session.poll(failed.failed_job)
    assert (polled["status"], polled.is_error) == ("failed", False)
    assert polled["error"]["http_status"] == 400
    assert failed.failed_as == polled["error"]["type"]
    assert failed.text == polled.text
    assert failed.text.startswith(f"Error: {polled['error']['message']}")


async def cancelled_call(session: Session, deployment: Deployment, task: str) -> str:
    """Call `gpt5_agent`, cancel the request once the provider has its response; the job's id."""
    ids: list[str] = []
    running = asyncio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        ids.append((message or "").partition(":")[0])
        if "running" in (message or ""):
            running.set()

    call = asyncio.create_task(session.call("gpt5_agent", note, task=task, model="scenario:think?seconds=1.5"))
    await asyncio.wait_for(running.wait(), 20)
    call.cancel()
    await asyncio.wait({call})
    return ids[0]


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
async def test_a_run_goes_on_when_the_client_cancels_its_request(
    server: McpServer, deployment: Deployment, mode: str
) -> None:
    """A13: the default."""
    async with server.session(mode=mode) as session:
        job_id = await cancelled_call(session, deployment, "Go on.")
        assert (await session.ended(job_id))["status"] == "completed"


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
async def test_a_run_ends_with_its_request_where_the_setting_says_so(
    deployment: Deployment, tmp_path: Path, mode: str
) -> None:
    """A13: AGENT_MCP_CANCEL_WITH_REQUEST."""
    settings = deployment.settings(AGENT_MCP_CANCEL_WITH_REQUEST="true")
    async with HttpServer(settings, tmp_path) as server, server.session(mode=mode) as session:
        job_id = await cancelled_call(session, deployment, "Stop.")
        assert (await session.ended(job_id))["status"] == "cancelled"


# --- cancel ------------------------------------------------------------------------------------------------------


async def test_a_cancel_is_confirmed_by_the_provider(http: HttpServer, deployment: Deployment) -> None:
    """A16: `cancelled` means that the response is cancelled there."""
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        await session.until(job_id, "running")
        assert (await session.cancel(job_id)).content == {
            "job_id": job_id,
            "status": "cancelled",
            "next_step": None,
            "notices": [],
        }
    [response] = await deployment.emulator.control.responses(workflow_id=job_id)
    assert response.status == "cancelled"


async def test_a_cancelled_stream_is_closed(http: HttpServer, deployment: Deployment) -> None:
    """A16: for a stream."""
    async with http.session() as session:
        job_id = await session.start(model=WRITES, enable_web_search=False)
        await session.until(job_id, "running")
        assert (await session.cancel(job_id))["status"] == "cancelled"
    [response] = await deployment.emulator.control.responses(workflow_id=job_id)
    assert response.status != "in_progress"


async def test_cancelling_twice_is_the_same_as_once(http: HttpServer) -> None:
    """A16."""
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        replies = [await session.cancel(job_id), await session.cancel(job_id)]
        assert [reply["status"] for reply in replies] == ["cancelled", "cancelled"]


async def test_cancelling_a_finished_job_tells_its_real_status(http: HttpServer) -> None:
    """A16, A18: final statuses absorb."""
    async with http.session() as session:
        job_id = await session.start(model="scenario:echo")
        await session.ended(job_id)
        assert (await session.cancel(job_id))["status"] == "completed"
        assert (await session.poll(job_id))["status"] == "completed"


# --- list --------------------------------------------------------------------------------------------------------


async def test_recent_jobs_are_listed_with_their_status(http: HttpServer) -> None:
    async with http.session() as session:
        finished = await session.start("A short one.", model="scenario:echo")
        await session.ended(finished)
        running = await session.start("A long one.", model=THINKS_LONG)
        await session.until(running, "running")
        listed = await session.call("gpt5_agent_list", limit=50)
        await session.cancel(running)
    jobs = {job["job_id"]: (job["status"], job["task"]) for job in listed["jobs"]}
    assert jobs[finished] == ("completed", "A short one.")
    assert jobs[running] == ("running", "A long one.")


async def test_a_list_is_no_longer_than_asked_for(http: HttpServer) -> None:
    async with http.session() as session:
        for _ in range(3):
            await session.start(model="scenario:echo")
        assert len((await session.call("gpt5_agent_list", limit=2))["jobs"]) == 2


# --- concurrency -------------------------------------------------------------------------------------------------


async def test_jobs_beyond_the_workers_limit_are_queued_and_start_as_others_end(
    deployment: Deployment, tmp_path: Path
) -> None:
    """A21, A18: seen in poll and list; two MCP servers share one deployment."""
    queue = "agents-over-mcp-bounded"
    settings = deployment.settings(AGENT_TASK_QUEUE=queue)
    await deployment.emulator.control.add_scenario(
        Scenario(name="unhurried", responses=[Script(think=60, output=[Text(text="Done.")])])
    )
    worker = deployment.worker(tmp_path, AGENT_TASK_QUEUE=queue, AGENT_MAX_RESPONSES_IN_FLIGHT="2")
    async with (
        worker,
        HttpServer(settings, tmp_path / "one") as first,
        HttpServer(settings, tmp_path / "two") as second,
        first.session() as one,
        second.session() as two,
    ):
        ids = [await session.start(model="scenario:unhurried") for session in (one, two, one, two)]
        await _until_running(two, ids, 2)
        listed = {job["job_id"]: job["status"] for job in (await two.call("gpt5_agent_list", limit=50))["jobs"]}
        polled = [(await one.poll(job_id))["status"] for job_id in ids]
        iterations = [(await one.poll(job_id))["iterations"] for job_id in ids]
        await deployment.emulator.control.advance(61)
        running = [job_id for job_id in ids if listed[job_id] == "running"]
        done = [await one.ended(job_id) for job_id in running]
        queued = [job_id for job_id in ids if listed[job_id] == "queued"]
        await _until_running(two, queued, 2)
        await deployment.emulator.control.advance(61)
        done += [await one.ended(job_id) for job_id in queued]
    assert sorted(listed[job_id] for job_id in ids) == ["queued", "queued", "running", "running"]
    assert sorted(polled) == ["queued", "queued", "running", "running"]
    assert sorted(iterations) == [0, 0, 1, 1]
    assert [job["status"] for job in done] == ["completed"] * 4


async def _until_running(session: Session, ids: list[str], number: int) -> None:
    async with asyncio.timeout(20):
        while [(await session.poll(job_id))["status"] for job_id in ids].count("running") < number:
            await asyncio.sleep(0.05)
