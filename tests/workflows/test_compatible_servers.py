"""Whole runs with servers that have only a part of the Responses API, or their own idea of it. Each was seen."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.activities import background
from durable_responses.capabilities import Capabilities, Capability
from durable_responses.provider import Provider, ProviderKind
from durable_responses.responses_api.models import ReasoningEffort
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentResult, TransportChoice
from durable_responses.workflows.ledger import MAY_STILL_RUN
from tests.support import provider as scripted_provider
from tests.support import websocket_server
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Answer, Asked, answer, event_stream
from tests.support.runs import Agents, reached, result_of, working

BACKGROUND, STREAM = TransportChoice.BACKGROUND, TransportChoice.STREAM
Rule = Callable[[Asked], Answer]
NOT_FOUND = answer({"error": {"message": "Not found", "type": "not_found", "code": 404}}, 404)


def asks(transport: TransportChoice = BACKGROUND, **fields: Any) -> AgentInput:
    return AgentInput(task="Say hello.", transport=transport, **fields)


def message(text: str = "Hello.", **fields: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
        **fields,
    }


def response(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": list(output),
        "usage": usage,
    } | fields


def posting(*answers: Answer, otherwise: Answer = NOT_FOUND) -> Rule:
    """Creates are answered in order, the last answer repeats; everything else is answered otherwise."""
    left = list(answers)

    def rule(asked: Asked) -> Answer:
        if (asked.method, asked.target) != ("POST", "/v1/responses"):
            return otherwise
        return left.pop(0) if len(left) > 1 else left[0]

    return rule


def creates(server: scripted_provider.Provider) -> list[dict[str, Any]]:
    return [asked.json for asked in server.asked if (asked.method, asked.target) == ("POST", "/v1/responses")]


def error_of(result: AgentResult) -> str:
    assert result.error is not None
    return result.error.message


# --- no background -----------------------------------------------------------------------------------------------


async def test_a_server_that_ignores_background_is_streamed_from_by_later_runs(
    runs: Agents, server: scripted_provider.Provider, settings: Settings
) -> None:
    """llama.cpp, Ollama, transformers: the answer comes with the create, and there is no GET."""

    def rule(asked: Asked) -> Answer:
        if asked.method != "POST" or "/responses/" in asked.target:
            return NOT_FOUND
        done = response(message())
        if not asked.json.get("stream"):
            return answer(done)
        created = {"type": "response.created", "response": done | {"status": "in_progress", "output": []}}
        return event_stream(created, {"type": "response.completed", "response": done})

    server.rule = rule
    auto = asks(TransportChoice.AUTO, reasoning_effort=ReasoningEffort.HIGH)
    first, second = await runs.run(auto), await runs.run(auto)
    assert [(run.status, run.output_text) for run in (first, second)] == [("completed", "Hello.")] * 2
    assert [bool(create.get("stream")) for create in creates(server)] == [False, True]
    assert len(server.asked) == 2
    assert first.request_changes == [background.IGNORED[:200]]
    assert second.request_changes == ["the transport is stream: the server has no background responses"]
    assert Capabilities(server.url, settings.state_folder).can(Capability.BACKGROUND) is False


async def test_an_explicit_background_is_refused_in_one_sentence_where_there_is_none(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    refusal = {"error": {"message": "Unknown parameter: 'background'.", "param": "background"}}
    server.rule = posting(answer(refusal, 400))
    results = [await runs.run(asks()) for _ in range(2)]
    for result in results:
        assert result.error is not None
        assert result.error.type == "unsupported_by_provider"
        assert server.url in result.error.message
        assert "choose the transport stream, or auto" in result.error.message
    assert len(creates(server)) == 1


async def test_a_refused_background_is_streamed_where_the_choice_is_ours(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    refusal = answer({"detail": [{"loc": ["body", "background"], "msg": "Extra inputs are not permitted"}]}, 422)
    completed = {"type": "response.completed", "response": response(message())}
    server.rule = posting(refusal, event_stream(completed))
    result = await runs.run(asks(TransportChoice.AUTO, reasoning_effort=ReasoningEffort.HIGH))
    assert (result.status, result.output_text, len(creates(server))) == ("completed", "Hello.", 2)


async def test_a_run_under_way_goes_on_without_background(runs: Agents, server: scripted_provider.Provider) -> None:
    """Its first answer has shown that there is none; and it has been paid for."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "no_such_tool", "arguments": "{}"}
    server.rule = posting(answer(response(call)), answer(response(message(), id="resp_2")))
    result = await runs.run(asks())
    assert (result.status, result.output_text, result.iterations) == ("completed", "Hello.", 2)


async def test_a_cancel_ends_a_post_at_once_where_there_is_known_to_be_no_background(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    """A local model writes for a minute; nobody waits for it any more."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "no_such_tool", "arguments": "{}"}
    server.rule = posting(answer(response(call)), Answer(then=scripted_provider.Then.HOLD))
    run = await runs.start(asks())
    async with asyncio.timeout(20):
        while len(server.asked) < 2:
            await asyncio.sleep(0.01)
    await run.signal("cancel")
    result = await result_of(run)
    assert (result.status, result.ambiguous_creates, len(creates(server))) == ("cancelled", 1, 2)
    await asyncio.wait_for(server.client_left.wait(), 5)


@pytest.mark.parametrize("fields", [{}, {"object": "response"}, {"object": "response", "status": None, "output": []}])
async def test_a_create_that_is_answered_with_an_id_alone_is_read_by_it(
    runs: Agents, server: scripted_provider.Provider, fields: dict[str, Any]
) -> None:
    """It has not ended with nothing to say: that would be paid for a second time."""
    server.rule = posting(answer({"id": "resp_1", **fields}), otherwise=answer(response(message())))
    result = await runs.run(asks())
    assert (result.status, result.output_text, len(creates(server))) == ("completed", "Hello.", 1)
    assert result.request_changes == []


async def test_a_background_that_streams_and_is_ignored_is_followed_to_its_end(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    begun = {"type": "response.created", "response": response(status="in_progress")}
    server.rule = posting(event_stream(begun, {"type": "response.completed", "response": response(message())}))
    result = await runs.run(asks(live_preview=True))
    assert (result.status, result.output_text, len(server.asked)) == ("completed", "Hello.", 1)


# --- the whole conversation --------------------------------------------------------------------------------------


async def test_what_a_server_does_not_know_of_its_own_output_is_left_out_of_the_conversation(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    """It neither continues nor takes back its reasoning: the run ended there, after its tool had run."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "no_such_tool", "arguments": "{}"}
    first = response({"type": "reasoning", "id": "rs_1", "summary": []}, call)

    def rule(asked: Asked) -> Answer:
        if asked.json.get("previous_response_id"):
            return answer({"error": {"message": "Unknown parameter: 'previous_response_id'."}}, 400)
        kinds = [item.get("type") for item in asked.json["input"] if isinstance(item, dict)]
        if "reasoning" in kinds:
            return answer({"error": {"message": "unknown input item type: reasoning"}}, 400)
        return answer(response(message(), id="resp_2") if kinds else first)

    server.rule = rule
    result = await runs.run(asks())
    assert (result.status, result.output_text) == ("completed", "Hello.")
    kinds = [item.get("type") or item["role"] for item in creates(server)[-1]["input"]]
    assert kinds == ["user", "function_call", "function_call_output"]
    assert "items of type reasoning were left out" in result.request_changes


# --- no end ------------------------------------------------------------------------------------------------------


async def test_a_response_that_could_not_be_cancelled_is_listed_as_one_that_may_still_run(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    """A key that may not cancel, here; a cancel that fails is tried again for a minute before that."""

    def rule(asked: Asked) -> Answer:
        if asked.target.endswith("/cancel"):
            return answer({"error": {"message": "You may not."}}, 403)
        return answer(response(status="in_progress"))

    server.rule = rule
    run = await runs.start(asks())
    await reached(run, lambda state: state.response_id == "resp_1")
    await run.signal("cancel")
    result = await result_of(run)
    assert result.status == "cancelled"
    assert [(each.response_id, each.status) for each in result.responses] == [("resp_1", MAY_STILL_RUN)]


# --- streams -----------------------------------------------------------------------------------------------------

BEGUN = {"type": "response.created", "response": response(status="in_progress")}


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"type": "error", "code": "404", "message": "Model 'x' not found.", "param": None}, "Model 'x' not found."),
        ({"error": {"code": 500, "message": "the context is full", "type": "server_error"}}, "the context is full"),
        ({"type": "error", "error": {"code": "context_length_exceeded", "message": "Too long."}}, "Too long."),
        ({"type": "response.error", "error": {"code": "bad", "message": "No such thing."}}, "No such thing."),
        ({"object": "error", "message": "No such model.", "code": 400}, "No such model."),
        ({"detail": "No such template."}, "No such template."),
        ({"type": "response.failed", "error": {"message": "No such way."}}, "No such way."),
        ({"object": "error", "type": "BadRequestError", "message": "Too long.", "code": 400}, "Too long."),
        ({"type": "invalid_model_error", "message": "No such model."}, "No such model."),
        ({"type": "error", "errors": [{"message": "It broke."}]}, "It broke."),
        ({"error": ["It broke."]}, "It broke."),
        ({"code": "InvalidParameter", "message": "No such template."}, "No such template."),
        ({"statusCode": 400, "message": "Too long."}, "Too long."),
        ({"type": "response.failed", "response": {"id": "resp_1"}, "error": "It broke."}, "It broke."),
        ({"type": "response.failed", "message": "It broke."}, "It broke."),
        (
            {
                "type": "response.failed",
                "response": {"id": "resp_1", "status": "failed", "last_error": {"message": "It broke."}},
            },
            "It broke.",
        ),
    ],
)
async def test_a_final_error_in_a_stream_is_the_end_of_it_with_its_sentence(
    runs: Agents, server: scripted_provider.Provider, event: dict[str, Any], sentence: str
) -> None:
    """OGX; and llama.cpp, whose error has no type."""
    server.rule = posting(event_stream(BEGUN, f"data: {json.dumps(event)}\n\n"))
    result = await runs.run(asks(STREAM))
    assert (result.status, sentence in error_of(result)) == ("failed", True)
    assert [(each.response_id, each.status) for each in result.responses] == [("resp_1", "failed")]
    assert [asked.method for asked in server.asked][:1] == ["POST"]
    assert [asked.method for asked in server.asked][1:] in (["GET"], [])  # none where the last event said it all


@pytest.mark.parametrize("unreadable", [400, 405, 422, 501])
async def test_a_cut_stream_whose_id_cannot_be_read_back_is_created_again(
    runs: Agents, server: scripted_provider.Provider, unreadable: int
) -> None:
    """LiteLLM's ids from streams are of no use to its GET."""
    refusal = answer({"error": {"message": "Invalid response id.", "code": str(unreadable)}}, unreadable)
    whole = event_stream(BEGUN, {"type": "response.completed", "response": response(message())})
    server.rule = posting(event_stream(BEGUN), whole, otherwise=refusal)
    result = await runs.run(asks(STREAM))
    assert (result.status, result.output_text, len(creates(server))) == ("completed", "Hello.", 2)
    assert [each.status for each in result.responses] == ["lost", "completed"]


async def test_who_may_not_stream_gets_the_answer_at_once(runs: Agents, server: scripted_provider.Provider) -> None:
    """An organisation that is not verified."""
    message_ = "Your organization must be verified to stream this model."
    refusal = answer({"error": {"message": message_, "param": "stream", "code": "unsupported_value"}}, 400)
    server.rule = posting(refusal, answer(response(message())))
    result = await runs.run(asks(STREAM))
    assert (result.status, result.output_text) == ("completed", "Hello.")
    assert [create.get("stream") for create in creates(server)] == [True, False]
    assert len(result.request_changes) == 1


@pytest.mark.parametrize(
    "words", ["Streaming is not supported with background mode.", "Cannot use background with stream", "No stream here"]
)
async def test_a_background_response_that_may_not_be_streamed_has_no_preview(
    runs: Agents, server: scripted_provider.Provider, words: str
) -> None:
    refusal = answer({"error": {"message": words}}, 400)
    server.rule = posting(refusal, answer(response(message(), background=True)))
    result = await runs.run(asks(live_preview=True))
    assert (result.status, result.output_text) == ("completed", "Hello.")
    assert [create.get("stream") for create in creates(server)] == [True, False]


@pytest.mark.parametrize(
    "refusal",
    [
        answer(b"", 403),
        answer({"detail": "No"}, 403),
        answer({"error": {"message": "Forbidden"}}, 403),
        answer({"error": {"message": "WebSocket connections need a session.", "code": "no_session"}}, 401),
    ],
)
async def test_a_server_that_forbids_the_upgrade_is_used_over_http(
    runs: Agents, server: scripted_provider.Provider, refusal: Answer
) -> None:
    """So ASGI servers answer where they have no such route. It is asked once in an hour."""
    whole = event_stream(BEGUN, {"type": "response.completed", "response": response(message())})
    server.rule = posting(whole, otherwise=refusal)
    results = [await runs.run(asks(TransportChoice.WEBSOCKET)) for _ in range(2)]
    assert [(result.status, result.output_text) for result in results] == [("completed", "Hello.")] * 2
    assert [asked.method for asked in server.asked] == ["GET", "POST", "POST"]


# --- reasoning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"model": "llama3.2"}, False),
        ({"model": "gpt-4o"}, False),
        ({"model": "llama3.2", "reasoning_effort": "medium"}, True),
        ({"model": "openai/gpt-5.4"}, True),
        ({"model": "o4-mini"}, True),
    ],
)
async def test_reasoning_is_asked_for_by_the_caller_or_by_the_model_s_name(
    runs: Agents, server: scripted_provider.Provider, fields: dict[str, Any], sent: bool
) -> None:
    server.rule = posting(answer(response(message())))
    assert (await runs.run(asks(**fields))).status == "completed"
    assert ["reasoning" in create for create in creates(server)] == [sent]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "litellm.UnsupportedParamsError: openai does not support parameters: ['reasoning_effort'], for model=x."),
        (500, "litellm.UnsupportedParamsError: openai does not support parameters: ['reasoning_effort'], for model=x."),
        (400, '"llama3.2" does not support thinking'),
        (400, "create() got an unexpected keyword argument 'reasoning'"),
        (400, "Unsupported parameter: 'reasoning' is not supported with this model."),
    ],
)
async def test_a_refused_effort_is_left_out_once(
    runs: Agents, server: scripted_provider.Provider, status: int, words: str
) -> None:
    server.rule = posting(answer({"error": {"message": words}}, status), answer(response(message())))
    result = await runs.run(asks(model="x", reasoning_effort=ReasoningEffort.LOW))
    assert (result.status, ["reasoning" in create for create in creates(server)]) == ("completed", [True, False])


async def test_a_refusal_over_a_websocket_in_words_of_its_own_is_a_refusal(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    """LiteLLM's WebSocket: no response was created, so nothing is ambiguous, and the effort is left out once."""

    async def script(peer: websocket_server.Peer) -> None:
        await peer.hear()
        error = {"code": "unsupported_params", "message": "x does not support parameters: ['reasoning_effort']"}
        await peer.tell({"type": "error", "error": error})
        await peer.hear()
        await peer.created("resp_1")
        await peer.completed("resp_1", output=[message()])
        await peer.gone()

    async with websocket_server.running() as server:
        server.will(script)
        base_url = server.url.removesuffix("/responses")
        provider = Provider(
            kind=ProviderKind.COMPATIBLE,
            base_url=base_url.replace("ws:", "http:"),
            websocket_base_url=base_url,
        )
        async with working(client, provider, settings):
            agents = Agents(client, emulator, settings)
            result = await agents.run(asks(TransportChoice.WEBSOCKET, model="x", reasoning_effort=ReasoningEffort.LOW))
        [peer] = server.peers
    assert (result.status, result.output_text, result.ambiguous_creates) == ("completed", "Hello.", 0)
    assert ["reasoning" in create for create in peer.heard] == [True, False]


# --- odd answers -------------------------------------------------------------------------------------------------


async def test_a_server_may_stream_although_nobody_asked(runs: Agents, server: scripted_provider.Provider) -> None:
    server.rule = posting(event_stream(BEGUN, {"type": "response.completed", "response": response(message())}))
    assert (await runs.run(asks())).output_text == "Hello."


async def test_an_error_in_a_stream_that_nobody_asked_for_is_shown(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    server.rule = posting(event_stream('data: {"error": {"code": 400, "message": "No such thing."}}\n\n'))
    assert "No such thing." in error_of(await runs.run(asks()))


@pytest.mark.parametrize("transport", [BACKGROUND, STREAM])
async def test_responses_may_have_the_same_id(
    runs: Agents, server: scripted_provider.Provider, transport: TransportChoice
) -> None:
    """Six random digits collide."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "no_such_tool", "arguments": "{}"}
    first, last = response(call), response(message())
    if transport is STREAM:
        server.rule = posting(
            *(event_stream(BEGUN, {"type": "response.completed", "response": each}) for each in (first, last))
        )
    else:
        server.rule = posting(answer(first), answer(last))
    result = await runs.run(asks(transport))
    assert (result.status, result.output_text, result.iterations) == ("completed", "Hello.", 2)
    assert [each.status for each in result.responses] == ["completed", "superseded", "completed"]


async def test_ids_may_be_long(runs: Agents, server: scripted_provider.Provider) -> None:
    """LiteLLM's hold what it routes by."""
    long = "resp_" + "bGl0ZWxsbTpjdXN0b21fbGxt" * 29
    echoed = {"id": long, "background": True, "previous_response_id": long}
    running, done = response(status="queued", **echoed), response(message(), **echoed)
    server.rule = posting(answer(running), otherwise=answer(done))
    result = await runs.run(asks(previous_response_id=long))
    assert (result.status, result.response_id, result.output_text) == ("completed", long, "Hello.")
    assert [create["previous_response_id"] for create in creates(server)] == [long]


@pytest.mark.parametrize("form", ["detail", "error", "message"])
async def test_an_error_in_other_words_than_the_api_s_is_shown(
    runs: Agents, server: scripted_provider.Provider, form: str
) -> None:
    server.rule = posting(answer({form: "Set a model first."}, 400))
    message_ = error_of(await runs.run(asks()))
    assert "Set a model first." in message_
    assert "{" not in message_


async def test_a_stream_needs_neither_names_nor_numbers(runs: Agents, server: scripted_provider.Provider) -> None:
    events = [
        BEGUN,
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo."},
    ]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    server.rule = posting(event_stream(text, 'data: {"type": "response.completed", "response": {}}\n\n'))
    assert (await runs.run(asks(STREAM))).output_text == "Hello."


@pytest.mark.parametrize("transport", [BACKGROUND, STREAM])
async def test_an_answer_that_was_cut_is_incomplete_whatever_it_calls_itself(
    runs: Agents, server: scripted_provider.Provider, transport: TransportChoice
) -> None:
    """llama.cpp, transformers: `completed`, with as many tokens as were allowed."""
    usage = {"input_tokens": 5, "output_tokens": 16, "total_tokens": 21}
    cut = response(message("Hello, I"), usage=usage)
    server.rule = posting(
        event_stream(BEGUN, {"type": "response.completed", "response": cut}) if transport is STREAM else answer(cut)
    )
    result = await runs.run(asks(transport, max_output_tokens=16))
    assert (result.status, result.incomplete_reason, result.output_text) == (
        "incomplete",
        "max_output_tokens",
        "Hello, I",
    )


async def test_an_answer_with_incomplete_details_is_incomplete(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    server.rule = posting(answer(response(message(), incomplete_details={"reason": "max_output_tokens"})))
    result = await runs.run(asks())
    assert (result.status, result.incomplete_reason) == ("incomplete", "max_output_tokens")
