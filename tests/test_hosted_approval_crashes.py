"""A call of a remote MCP server waits for its owner: over the death of the worker, and whatever the transport."""

from typing import Any

import pytest

from durable_responses.emulator.model.script import McpApprovalStep, Script, Text
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import McpApprovalResponse
from durable_responses.workflows.contract import AgentState, AgentStatus, InputRequestKind, TransportChoice
from tests.support.deployment import Deployment, Run, until

REMOTE = {"type": "mcp", "server_label": "tickets", "server_url": "https://mcp.example/mcp"}
ASKS = Script(output=[McpApprovalStep(server_label="tickets", name="close", arguments={"id": 7})])
ANSWERS = Script(output=[Text(text="It is done.")])
WAYS: dict[str, dict[str, Any]] = {
    "background": {"transport": TransportChoice.BACKGROUND},
    "stream": {"transport": TransportChoice.STREAM},
    "websocket": {"transport": TransportChoice.WEBSOCKET, "allow_websocket": True},
    "in full": {"transport": TransportChoice.STREAM, "conversation": "full"},
}


async def waiting(run: Run) -> AgentState:
    """Its state, once it waits for its owner; whoever asks while no worker is there asks again."""

    async def state() -> AgentState | None:
        found = await run.progress()
        return found if found.status is AgentStatus.INPUT_REQUIRED else None

    return await until(state)


@pytest.mark.parametrize(("way", "answer"), [*((way, "allow") for way in WAYS), ("background", "deny")])
async def test_the_question_outlives_the_worker_and_its_answer_reaches_the_provider_once(
    deployment: Deployment, way: str, answer: str
) -> None:
    name = f"hosted-{way}-{answer}".replace(" ", "-")
    run = await deployment.start(name, [ASKS, ANSWERS], hosted_tools=[REMOTE], tools=[], **WAYS[way])
    async with deployment.worker() as first:
        before = await waiting(run)
        first.kill()
    async with deployment.worker():
        after = await waiting(run)
        [request] = after.input_requests
        assert after.input_requests == before.input_requests
        assert (request.kind, request.call and request.call.server) == (InputRequestKind.APPROVAL, "tickets")
        await run.handle.execute_update("respond", {"id": request.id, "answer": answer})
        result = await run.result()
    assert (result.status, result.error, result.output_text) == (AgentStatus.COMPLETED, None, "It is done.")
    responses = await run.responses()
    assert [bill.metadata["iteration"] for bill in responses] == ["1", "2"]
    assert result.ambiguous_creates == 0
    if way != "in full":  # of which the provider keeps nothing
        async with ResponsesClient(deployment.emulator.base_url, None) as client:
            given = await client.input_items(responses[1].id)
        told = [item.approve for item in given if isinstance(item, McpApprovalResponse)]
        assert told == [answer == "allow"]
