"""Whole runs whose conversation the server does not keep: the model always sees the task, the calls and the answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, ConversationChoice, TransportChoice
from durable_responses.workflows.ledger import IN_FULL
from tests.support.chainless_servers import CHAINLESS, Chain, ChainlessServer, kinds, serving
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, progress, result_of, working

OVER_HTTP = [TransportChoice.STREAM, TransportChoice.BACKGROUND]
ONE_CALL = ["user", "reasoning", "function_call", "function_call_output"]


@asynccontextmanager
async def agents_at(
    server: ChainlessServer, client: Client, emulator: RunningEmulator, settings: Settings
) -> AsyncIterator[Agents]:
    """Agent runs whose provider is this server."""
    url = server.base_url
    provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=url, websocket_base_url=url.replace("http", "ws"))
    async with working(client, provider, settings):
        yield Agents(client, emulator, settings)


def asks(transport: TransportChoice = TransportChoice.STREAM, **fields: Any) -> AgentInput:
    return AgentInput(task="Add.", tools=["add"], transport=transport, **{"max_iterations": 60, **fields})


@pytest.mark.parametrize("transport", OVER_HTTP)
@pytest.mark.parametrize("chain", CHAINLESS)
async def test_a_server_that_does_not_continue_is_sent_the_whole_conversation(
    client: Client, emulator: RunningEmulator, settings: Settings, chain: Chain, transport: TransportChoice
) -> None:
    """G.2: never an answer of a model that has not seen the task, and no failure after the tool has run."""
    with serving(ChainlessServer(chain, calls=2)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(transport))
            result = await result_of(run)
            state = await progress(run)
    assert (result.status, result.error) == ("completed", None)
    assert result.output_text == "I was given: " + ", ".join([*ONE_CALL, *ONE_CALL[1:]])
    assert [call.status for call in state.function_calls] == ["succeeded", "succeeded"]
    assert IN_FULL in result.request_changes
    creates = [(asked.get("previous_response_id") is not None, len(asked["input"])) for asked in server.asked]
    assert creates[1:] == [(True, 1), (False, 4), (False, 7)]  # one try, then in full
    assert server.gets == 0


async def test_a_paid_answer_that_does_not_continue_is_counted_and_not_used(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.IGNORED)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks())
    assert [entry.status for entry in result.responses] == ["completed", "superseded", "completed"]
    assert result.usage.input_tokens == 1 + 1 + 4


async def test_what_one_run_has_learned_the_next_one_knows(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.IGNORED)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            await agents.run(asks())
            server.asked.clear()
            result = await agents.run(asks())
    assert result.output_text == "I was given: " + ", ".join(ONE_CALL)
    assert [asked.get("previous_response_id") for asked in server.asked] == [None, None]


@pytest.mark.parametrize("chain", [Chain.CONTINUED, Chain.ECHOES_ANOTHER])
async def test_a_server_that_continues_is_sent_what_is_new(
    client: Client, emulator: RunningEmulator, settings: Settings, chain: Chain
) -> None:
    """An echo of another id proves nothing: such a server continues all the same."""
    with serving(ChainlessServer(chain, calls=2)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks())
    assert result.output_text == "I was given: " + ", ".join([*ONE_CALL, *ONE_CALL[1:]])
    assert [len(asked["input"]) for asked in server.asked[1:]] == [1, 1]
    assert result.request_changes == []


@pytest.mark.parametrize("chain", [Chain.IGNORED, Chain.REFUSED_BY_NAME])
@pytest.mark.parametrize("fields", [{"conversation": "server"}, {"previous_response_id": "resp_of_another_run"}])
async def test_a_conversation_that_only_the_server_could_know_ends_the_run_by_name(
    client: Client, emulator: RunningEmulator, settings: Settings, chain: Chain, fields: dict[str, Any]
) -> None:
    with serving(ChainlessServer(chain)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(**fields))
    assert result.error is not None
    assert (result.status, result.error.type, result.output_text) == ("failed", "chain_rejected", "")


async def test_in_full_nothing_is_stored_and_reasoning_is_given_back_encrypted(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.REFUSED_BY_NAME, calls=2)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(TransportChoice.AUTO, conversation="full", reasoning_effort="high"))
    assert (result.status, result.request_changes) == ("completed", [])
    assert [(asked["store"], asked["stream"], asked["include"]) for asked in server.asked] == [
        (False, True, ["reasoning.encrypted_content"])
    ] * 3
    assert not any("previous_response_id" in asked or asked.get("background") for asked in server.asked)
    assert kinds(server.asked[-1]["input"]) == [*ONE_CALL, *ONE_CALL[1:]]
    thoughts = [item["encrypted_content"] for item in server.asked[-1]["input"] if item.get("type") == "reasoning"]
    assert thoughts == ["E1", "E2"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: the run does not know that conversation"),
        ({"transport": "background"}, "transport: a background response is stored"),
    ],
)
async def test_what_does_not_go_with_full_is_refused(agents: Agents, fields: dict[str, Any], told: str) -> None:
    result = await agents.run({"task": "Hi.", "conversation": ConversationChoice.FULL, **fields})
    assert result.error is not None
    assert (result.error.type, told in result.error.message) == ("invalid_input", True)
