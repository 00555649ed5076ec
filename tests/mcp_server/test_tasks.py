"""The extension `io.modelcontextprotocol/tasks`: a task is a job."""

import asyncio
from typing import Any, Literal

import pytest
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim, advertise
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    Request,
    Result,
)
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from durable_responses.mcp_server.tasks import IDENTIFIER
from tests.mcp_server.conftest import Deployment
from tests.support.mcp_clients import LEGACY, MODERN, HttpServer, McpServer, Reply, Session

THINKS_LONG = "scenario:think?seconds=60"


class AnyResult(Result):
    """A result as it came."""

    model_config = ConfigDict(extra="allow")


class CreatedTask(Result):
    """What a client of the extension reads of a task."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel)

    result_type: Literal["task"]
    task_id: str


class Following(ClientExtension):
    """A client of the extension: polls the task, as the specification asks of it."""

    identifier = IDENTIFIER

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    def claims(self) -> list[ResultClaim[CreatedTask]]:
        return [ResultClaim(result_type="task", model=CreatedTask, resolve=self._resolve)]

    async def _resolve(self, created: CreatedTask, context: ClaimContext) -> CallToolResult:
        self.created.append(created.model_dump(by_alias=True, mode="json"))
        while True:
            request = Request[dict[str, Any], str](method="tasks/get", params={"taskId": created.task_id})
            task = (await context.session.send_request(request, AnyResult)).model_dump(by_alias=True)
            if task["status"] != "working":
                return CallToolResult.model_validate(task["result"])
            await asyncio.sleep(task["pollIntervalMs"] / 10_000)


async def ask(session: Session, method: str, **params: Any) -> dict[str, Any]:
    """Send one of the extension's requests; the result as JSON."""
    request = Request[dict[str, Any], str](method=method, params=params)
    answer = await session.client.session.send_request(request, AnyResult)
    return answer.model_dump(by_alias=True, mode="json")


async def create(session: Session, **arguments: Any) -> dict[str, Any]:
    """Call `gpt5_agent`, which becomes a task; the task as JSON."""
    created = await session.client.session.call_tool("gpt5_agent", arguments, allow_claimed=True)
    assert isinstance(created, CreatedTask), created
    return created.model_dump(by_alias=True, mode="json")


async def test_a_call_becomes_a_task_that_the_client_follows_to_its_result(server: McpServer) -> None:
    following = Following()
    async with server.session(extensions=[following]) as session:
        done = Reply.of(await session.client.call_tool("gpt5_agent", {"task": "Follow.", "model": "scenario:echo"}))
        polled = await session.poll(done["job_id"])
    [created] = following.created
    assert created["taskId"] == done["job_id"]
    assert (created["resultType"], created["status"], created["ttlMs"]) == ("task", "working", None)
    assert created["createdAt"] <= created["lastUpdatedAt"]
    assert (done["output"], done.content) == ("Follow.", polled.content)


async def test_a_task_is_working_while_its_job_is_open(http: HttpServer) -> None:
    async with http.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Think.", model=THINKS_LONG))["taskId"]
        await session.until(task_id, "running")
        task = await ask(session, "tasks/get", taskId=task_id)
        await ask(session, "tasks/cancel", taskId=task_id)
    assert (task["resultType"], task["status"], task["ttlMs"]) == ("complete", "working", None)
    assert task["statusMessage"].startswith("running, iteration 1 of 10")
    assert task["pollIntervalMs"] >= 2000
    assert "result" not in task


async def test_a_cancelled_task_is_acknowledged_at_once_and_ends_cancelled(
    http: HttpServer, deployment: Deployment
) -> None:
    """A16: the job's cancel."""
    async with http.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Think.", model=THINKS_LONG))["taskId"]
        await session.until(task_id, "running")
        acknowledged = await ask(session, "tasks/cancel", taskId=task_id)
        await session.ended(task_id)
        task = await ask(session, "tasks/get", taskId=task_id)
    assert {name for name in acknowledged if name != "_meta"} == {"resultType"}
    assert task["status"] == "cancelled"
    [response] = await deployment.emulator.control.responses(workflow_id=task_id)
    assert response.status == "cancelled"


async def test_a_failed_run_is_a_completed_task_with_an_error_in_its_result(http: HttpServer) -> None:
    """The specification keeps `failed` for errors of the protocol."""
    async with http.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Fail.", model="scenario:no_such_scenario"))["taskId"]
        await session.ended(task_id)
        task = await ask(session, "tasks/get", taskId=task_id)
    assert (task["status"], task["result"]["isError"]) == ("completed", True)
    assert "structuredContent" not in task["result"]
    assert task["result"]["content"][0]["text"].startswith("Error: ")


async def test_an_update_of_a_task_that_asked_for_nothing_is_acknowledged(http: HttpServer) -> None:
    async with http.session(extensions=[Following()]) as session:
        task_id = (await create(session, task="Think.", model="scenario:echo"))["taskId"]
        acknowledged = await ask(session, "tasks/update", taskId=task_id, inputResponses={"unasked": {}})
    assert acknowledged["resultType"] == "complete"


async def test_a_job_started_by_the_classic_tool_is_a_task_too(http: HttpServer) -> None:
    """One workflow, whatever started it."""
    async with http.session(extensions=[Following()]) as session:
        job_id = await session.start(model="scenario:echo")
        await session.ended(job_id)
        assert (await ask(session, "tasks/get", taskId=job_id))["status"] == "completed"


async def test_arguments_that_cannot_be_used_make_no_task(http: HttpServer) -> None:
    """A23."""
    async with http.session(extensions=[Following()]) as session:
        refused = await session.call("gpt5_agent", task="Think.", max_iterations=99)
    assert refused.failed_as == "invalid_arguments"


async def test_a_client_that_does_not_declare_the_extension_gets_the_classic_answer(server: McpServer) -> None:
    async with server.session() as session:
        done = await session.call("gpt5_agent", task="Classic.", model="scenario:echo")
    assert done["output"] == "Classic."


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_client_that_does_not_declare_the_extension_has_no_tasks(http: HttpServer, method: str) -> None:
    async with http.session() as session:
        with pytest.raises(MCPError) as refusal:
            await ask(session, method, taskId="agent-1", inputResponses={})
    assert refusal.value.code == MISSING_REQUIRED_CLIENT_CAPABILITY
    assert refusal.value.data == {"requiredCapabilities": {"extensions": {IDENTIFIER: {}}}}


async def test_a_client_of_an_older_revision_gets_the_classic_answer_whatever_it_declares(http: HttpServer) -> None:
    async with http.session(mode=LEGACY, extensions=[advertise(IDENTIFIER)]) as session:
        done = await session.call("gpt5_agent", task="Classic.", model="scenario:echo")
        with pytest.raises(MCPError) as refusal:
            await ask(session, "tasks/get", taskId=done["job_id"])
    assert done["output"] == "Classic."
    assert refusal.value.code == METHOD_NOT_FOUND


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_an_unknown_task_is_an_error_of_the_protocol(http: HttpServer, method: str) -> None:
    async with http.session(extensions=[Following()]) as session:
        with pytest.raises(MCPError) as refusal:
            await ask(session, method, taskId="agent-unknown", inputResponses={})
    assert refusal.value.code == INVALID_PARAMS


async def test_a_client_of_the_extension_is_told_of_one_tool_alone(server: McpServer) -> None:
    """A task delivers its result by itself; a model that starts and polls would wait in vain between its turns."""
    async with server.session(mode="auto", extensions=[Following()]) as session:
        told = session.client.instructions
        tools = {tool.name: tool.description or "" for tool in (await session.client.list_tools()).tools}
    async with server.session(mode="auto") as session:
        others = session.client.instructions
    assert told is not None
    assert others is not None
    assert "gpt5_agent:" in told
    assert not any(name in told for name in tools if name != "gpt5_agent")
    assert "gpt5_agent_poll" not in tools["gpt5_agent"]
    assert "Call gpt5_agent instead" in tools["gpt5_agent_start"]
    assert "gpt5_agent_poll" in others


async def test_the_extension_is_advertised(server: McpServer) -> None:
    async with server.session(mode="auto") as session:
        assert session.client.protocol_version == MODERN
        assert session.client.server_capabilities.extensions == {IDENTIFIER: {}}
