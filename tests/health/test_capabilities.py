"""What a few small requests show of servers that have only a part of the API."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from durable_responses.capabilities import Capabilities, Capability
from durable_responses.health.capabilities import MOST_REQUESTS, Probe, summary, table
from durable_responses.health.checks import Verdict
from durable_responses.provider import Provider as Known
from durable_responses.provider import ProviderKind
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import AuthenticationFailed, ServerFailed
from tests.support.provider import Answer, Asked, Provider, answer, event_stream, running

DONE: dict[str, Any] = {"id": "resp_1", "status": "completed", "output": []}
NOT_FOUND = answer({"error": {"message": "Not found"}}, 404)
FAILING = answer({"error": {"message": "The server had an error."}}, 500)
ALL = list(Capability)


@pytest.fixture
async def server() -> AsyncIterator[Provider]:
    async with running(Provider()) as provider:
        yield provider


async def found(server: Provider, capabilities: Capabilities | None = None) -> Capabilities:
    capabilities = capabilities or Capabilities(server.url)
    provider = Known(kind=ProviderKind.COMPATIBLE, base_url=server.url, websocket_base_url=server.url)
    async with ResponsesClient(server.url, None) as client:
        await Probe(client, provider, capabilities, "m", pause=0.01).ask()
    return capabilities


def refusing(*fields: str) -> Callable[[Asked], Answer]:
    """A server with all there is but WebSockets, that refuses a create with one of these fields."""

    def rule(asked: Asked) -> Answer:
        if asked.method == "GET" and "upgrade" in asked.headers:
            return answer(b"", 403)
        if asked.method == "GET" or asked.target.endswith("/cancel"):
            return answer(DONE)
        given = asked.json
        for field in fields:
            if given.get(field):
                return answer({"error": {"message": f"Unsupported parameter: {field}", "param": field}}, 400)
        response = DONE | {name: given.get(name) for name in ("background", "previous_response_id")}
        if given.get("stream"):
            return event_stream({"type": "response.completed", "response": response})
        return answer(response)

    return rule


@pytest.mark.parametrize(
    ("refused", "lacks"),
    [
        ((), set()),
        (("background",), {Capability.BACKGROUND}),
        (("previous_response_id",), {Capability.CHAIN}),
        (("stream",), {Capability.STREAM}),
        (("reasoning",), {Capability.REASONING}),
        (
            ("stream", "reasoning", "background"),
            {Capability.STREAM, Capability.REASONING, Capability.BACKGROUND},
        ),
    ],
)
async def test_what_is_refused_is_not_there(server: Provider, refused: tuple[str, ...], lacks: set[Capability]) -> None:
    server.rule = refusing(*refused)
    capabilities = await found(server)
    without = {capability for capability in Capability if capabilities.can(capability) is False}
    assert without == lacks | {Capability.WEBSOCKET}
    creates = [asked for asked in server.asked if (asked.method, asked.target) == ("POST", "/v1/responses")]
    assert len(creates) <= MOST_REQUESTS


async def test_what_is_ignored_is_not_there_either(server: Provider) -> None:
    """llama.cpp, Ollama: the finished answer, whatever was asked for, and nothing by id."""
    server.rule = lambda asked: answer(DONE) if asked.target == "/v1/responses" else NOT_FOUND
    capabilities = await found(server)
    for capability in (Capability.BACKGROUND, Capability.RETRIEVE, Capability.CHAIN):
        assert capabilities.can(capability) is False
    lines = {check.name: check for check in table(capabilities)}
    assert len(lines) == len(ALL)
    assert lines["can background"].verdict is Verdict.NOTE
    assert lines["can background"].found.startswith("no (seen just now): ")
    assert lines["can cancel"].found == "not known"
    assert "background no, retrieve no" in summary(capabilities).found


async def test_who_names_a_chat_completion_does_not_continue(server: Provider) -> None:
    """LiteLLM's bridge."""

    def rule(asked: Asked) -> Answer:
        named = asked.target == "/v1/responses" and "previous_response_id" in asked.json
        return answer(DONE | {"previous_response_id": "chatcmpl-d1ebf0ec"}) if named else refusing()(asked)

    server.rule = rule
    assert (await found(server)).can(Capability.CHAIN) is False


async def test_a_server_that_fails_for_a_moment_shows_nothing(server: Provider) -> None:
    """What is learned wrongly holds for an hour, for every run."""

    def rule(asked: Asked) -> Answer:
        if asked.method == "GET" and "upgrade" in asked.headers:
            return answer(b"", 503)
        named = asked.target == "/v1/responses" and "previous_response_id" in asked.json
        return FAILING if named else refusing()(asked)

    server.rule = rule
    capabilities = await found(server)
    assert (capabilities.can(Capability.CHAIN), capabilities.can(Capability.WEBSOCKET)) == (None, None)
    server.rule = lambda _: FAILING
    capabilities = Capabilities(server.url)
    with pytest.raises(ServerFailed):
        await found(server, capabilities)
    assert capabilities.table() == {}


@pytest.mark.parametrize("failing", [NOT_FOUND, FAILING, answer(b"", 503), answer(b"")])
async def test_a_response_that_is_found_after_a_moment_can_be_retrieved(server: Provider, failing: Answer) -> None:
    left = [failing] * 2

    def rule(asked: Asked) -> Answer:
        is_read = asked.method == "GET" and "upgrade" not in asked.headers
        return left.pop() if is_read and left else refusing()(asked)

    server.rule = rule
    assert (await found(server)).can(Capability.RETRIEVE) is True


async def test_a_create_that_is_answered_with_an_id_alone_runs_in_the_background(server: Provider) -> None:
    def rule(asked: Asked) -> Answer:
        is_first = asked.target == "/v1/responses" and asked.json.get("background")
        return answer({"id": "resp_1"}) if is_first else refusing()(asked)

    server.rule = rule
    assert (await found(server)).can(Capability.BACKGROUND) is True


@pytest.mark.parametrize(
    ("error", "chains"),
    [
        ({"code": "server_error", "message": "Sorry."}, None),
        ({"code": "previous_response_not_found", "message": "Unknown."}, False),
    ],
)
async def test_a_response_that_failed_shows_only_what_it_says(
    server: Provider, error: dict[str, str], chains: bool | None
) -> None:
    """What is learned wrongly holds for an hour: no run could ask for background, or each sent everything."""

    def rule(asked: Asked) -> Answer:
        is_create = asked.target == "/v1/responses" and not asked.json.get("stream")
        return answer({"id": "resp_1", "status": "failed", "error": error}) if is_create else refusing()(asked)

    server.rule = rule
    capabilities = await found(server)
    assert (capabilities.can(Capability.BACKGROUND), capabilities.can(Capability.CHAIN)) == (None, chains)


async def test_a_wrong_key_shows_nothing(server: Provider) -> None:
    server.rule = lambda _: answer({"error": {"message": "Wrong key."}}, 401)
    with pytest.raises(AuthenticationFailed):
        await found(server)
    assert len(server.asked) == 1
