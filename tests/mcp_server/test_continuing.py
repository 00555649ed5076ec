"""`gpt5_agent_continue` and `gpt5_agent_steer`: jobs that have ended go on, running ones are told something."""

import json
from typing import Any

import httpx

from durable_responses.jobs.continuing import MEMO_CONTINUES
from durable_responses.jobs.jobs import Jobs
from durable_responses.workflows.contract import AgentInput
from tests.mcp_server.conftest import Deployment
from tests.support.mcp_clients import HttpServer, McpServer, Session

THINKS_LONG = "scenario:think?seconds=60"


async def asked_by(deployment: Deployment, job_id: str) -> AgentInput:
    request = (await Jobs(deployment.client).story(job_id)).request
    assert request is not None
    return request


async def go_on(session: Session, job_id: str, task: str = "Two.", **options: Any) -> str:
    """Continue a job; the id of the new one."""
    started = await session.call("gpt5_agent_continue", job_id=job_id, task=task, **options)
    assert not started.is_error, started.text
    return str(started["job_id"])


async def test_an_ended_job_is_continued_as_a_job_of_its_own_that_is_named_after_its_task(
    server: McpServer, deployment: Deployment
) -> None:
    async with server.session() as session:
        first = await session.ended(await session.start("One.", model="scenario:echo", reasoning_effort="low"))
        started = await session.call("gpt5_agent_continue", job_id=first["job_id"], task="And two.")
        assert started["status"] == "queued"
        assert started["next_step"] in started.text
        assert f'gpt5_agent_poll with {{"job_id": "{started["job_id"]}"}}' in started["next_step"]
        second = await session.ended(started["job_id"])
    assert (second["status"], second["output"]) == ("completed", "And two.")
    assert second["job_id"].startswith("and-two-")
    before, after = await asked_by(deployment, first["job_id"]), await asked_by(deployment, second["job_id"])
    assert after.previous_response_id == first["response_id"]
    assert after == before.model_copy(update={"task": "And two.", "previous_response_id": first["response_id"]})
    memo = (await Jobs(deployment.client).state(second["job_id"])).memo
    assert memo[MEMO_CONTINUES] == first["job_id"]


async def test_a_continuation_can_change_options(http: HttpServer, deployment: Deployment) -> None:
    async with http.session() as session:
        first = await session.ended(
            await session.start(model="scenario:calls?iterations=3&tool=fetch_url", max_iterations=1)
        )
        assert first["incomplete_reason"] == "max_iterations"
        options: dict[str, Any] = {
            "max_execution_time_seconds": 120,
            "tool_timeout_seconds": 20,
            "enable_web_search": False,
        }
        job_id = await go_on(
            session, first["job_id"], model="scenario:echo", reasoning_effort="low", max_iterations="5", **options
        )
        second = await session.ended(job_id)
    asked = await asked_by(deployment, job_id)
    assert (second["status"], second["model"]) == ("completed", "scenario:echo")
    assert (asked.reasoning_effort, asked.max_iterations, asked.enable_web_search) == ("low", 5, False)
    assert (asked.deadline, asked.tool_timeout) == (120, 20)


async def test_a_cancelled_job_is_continued(http: HttpServer) -> None:
    async with http.session() as session:
        job_id = await session.start("One.", model=THINKS_LONG)
        await session.until(job_id, "running")
        await session.cancel(job_id)
        second = await session.ended(await go_on(session, job_id, model="scenario:echo"))
    assert (second["status"], second["output"]) == ("completed", "Two.")


async def test_all_is_told_again_where_the_provider_has_forgotten_it(http: HttpServer, deployment: Deployment) -> None:
    async with http.session() as session:
        failed = await session.ended(
            await session.start("One.", model="scenario:echo", previous_response_id="resp_gone")
        )
        assert failed["status"] == "failed"
        second = await session.ended(await go_on(session, failed["job_id"], rebuild=True))
    assert (second["status"], second["output"]) == ("completed", "Two.")
    assert (await asked_by(deployment, second["job_id"])).previous_response_id is None


async def test_the_answer_to_a_continuation_is_hidden_where_the_first_one_was(http: HttpServer) -> None:
    """A23: `display_in_chat` is an option like any other."""
    async with http.session() as session:
        first = await session.ended(await session.start("One.", model="scenario:echo", display_in_chat=False))
        second = await session.ended(await go_on(session, first["job_id"]))
    assert (second["status"], second["output"]) == ("completed", None)
    assert second["result_path"] != first["result_path"]


async def test_a_second_continuation_with_the_same_key_is_the_same_job(http: HttpServer) -> None:
    """A14."""
    async with http.session() as session:
        first = await session.ended(await session.start("One.", model="scenario:echo"))
        key: dict[str, Any] = {"idempotency_key": "key of a continuation"}
        job_id = await go_on(session, first["job_id"], **key)
        await session.ended(job_id)
        again = await session.call("gpt5_agent_continue", job_id=first["job_id"], task="Two.", **key)
        other = await session.call("gpt5_agent_continue", job_id=first["job_id"], task="Three.", **key)
    assert (again["job_id"], again["status"]) == (job_id, "completed")
    assert other.failed_as == "invalid_arguments"
    assert job_id in other.text


async def test_a_running_job_is_steered_and_not_continued(server: McpServer, deployment: Deployment) -> None:
    async with server.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        await session.until(job_id, "running")
        refused = await session.call("gpt5_agent_continue", job_id=job_id, task="More.")
        steered = await session.call("gpt5_agent_steer", job_id=job_id, message="Be brief.")
        told = (await Jobs(deployment.client).state(job_id)).state.steers
        await session.cancel(job_id)
    assert refused.failed_as == "invalid_arguments"
    assert "has not ended yet" in refused.text
    assert (steered["job_id"], steered["status"], steered["notices"]) == (job_id, "running", [])
    assert steered["next_step"] in steered.text
    assert f'gpt5_agent_poll with {{"job_id": "{job_id}"}}' in steered["next_step"]
    assert [steer.text for steer in told] == ["Be brief."]


async def test_a_job_that_has_ended_is_not_steered(http: HttpServer) -> None:
    async with http.session() as session:
        job_id = await session.start(model="scenario:echo")
        await session.ended(job_id)
        refused = await session.call("gpt5_agent_steer", job_id=job_id, message="Be brief.")
    assert refused.failed_as == "invalid_arguments"
    assert "continue it instead" in refused.text


async def test_a_message_that_is_too_long_is_refused_with_its_size(http: HttpServer) -> None:
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        refused = await session.call("gpt5_agent_steer", job_id=job_id, message="word " * 200_000)
        await session.cancel(job_id)
    assert refused.failed_as == "invalid_arguments"
    assert "1000000 bytes" in refused.text


async def test_both_are_called_as_they_go_over_the_wire(http: HttpServer) -> None:
    """Without a client of the SDK: JSON-RPC as it is."""
    revision = "2025-06-18"
    headers = {"Accept": "application/json, text/event-stream"}
    begin = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    async with http.session() as session, httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as client:
        ended = (await session.ended(await session.start("One.", model="scenario:echo")))["job_id"]
        running = await session.start(model=THINKS_LONG)
        await session.until(running, "running")

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            said = {"jsonrpc": "2.0", "id": tool, "method": "tools/call"}
            answer = await client.post(http.url, json={**said, "params": {"name": tool, "arguments": arguments}})
            [told] = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            assert told["id"] == tool
            return dict(told["result"])

        first = await client.post(http.url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin})
        client.headers["Mcp-Session-Id"] = first.headers["mcp-session-id"]
        client.headers["MCP-Protocol-Version"] = revision
        await client.post(http.url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        continued = await call("gpt5_agent_continue", job_id=ended, task="Two.")
        steered = await call("gpt5_agent_steer", job_id=running, message="Be brief.")
        unknown = await call("gpt5_agent_steer", job_id="agent-1", message="Be brief.")
        refused = await call("gpt5_agent_continue", job_id=running, task="Two.")
        await session.cancel(running)
        assert (await session.ended(continued["structuredContent"]["job_id"]))["output"] == "Two."
    assert set(continued["structuredContent"]) == {"job_id", "status", "next_step"}
    assert set(steered["structuredContent"]) == {"job_id", "status", "next_step", "notices"}
    assert unknown["structuredContent"] == {"error": "job_not_found"}
    assert refused["isError"] is True
    assert "structuredContent" not in refused
    assert refused["_meta"]["durable-responses/error"] == "invalid_arguments"
