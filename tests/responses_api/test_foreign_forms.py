"""Answers as gateways translate them: in other words, in envelopes, in the forms of other APIs, in other streams."""

import json
from typing import Any

import pytest

from durable_responses.activities.records import record_of
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import BadRequest, Busy, MalformedAnswer, QuotaExhausted, ResponsesError
from durable_responses.responses_api.events import ResponseEvent
from durable_responses.responses_api.models import CreateRequest, Response, read_response
from durable_responses.workflows.rules import Finish, next_step
from tests.support.provider import Provider, answer, event_stream

REQUEST = CreateRequest(model="m", input="hello", store=True)
MESSAGE: dict[str, Any] = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello."}],
}
DONE: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "completed", "output": [MESSAGE]}
JSON = json.dumps(DONE)


def in_history(said: Any) -> Response:
    """The response as a run gets it."""
    return record_of(read_response(said))


async def end_of_a_stream(api: ResponsesClient) -> Response:
    async with api.stream(REQUEST) as events:
        *_, last = [event async for event in events]
    assert isinstance(last, ResponseEvent)
    return last.response


# --- the response as a whole --------------------------------------------------------------------------------------

STATUSES = {
    "completed": ["ok", "stop", "end_turn", "Response.Completed", "ResponseStatus.COMPLETED", "JOB_STATE_SUCCEEDED"],
    "queued": ["enqueued", "SCHEDULED", "inQueue", "RESPONSE_STATUS_QUEUED"],
    "in_progress": ["streaming", "Starting", "RUN_IN_PROGRESS", "response.in_progress"],
    "failed": ["timeout", "TIMED_OUT", "STATUS_FAILED"],
    "incomplete": ["length", "max_tokens", "partial", "content_filter"],
    "cancelled": ["aborted", "TASK_STATE_CANCELED"],
}


@pytest.mark.parametrize(("status", "said"), [(status, said) for status, words in STATUSES.items() for said in words])
def test_a_status_is_known_by_the_words_of_other_queues(status: str, said: str) -> None:
    told: list[dict[str, Any]] = [{"status": said}, {"state": said}, {"status": {"state": said}}, {"status": [said]}]
    assert {in_history({**DONE, "status": None, **fields}).status for fields in told} == {status}


@pytest.mark.parametrize("said", ["null", "None", "", " ", {"state": None}])
def test_a_status_that_says_nothing_is_none(said: Any) -> None:
    assert in_history(DONE | {"status": said}).status == "completed"


CUTS: list[tuple[dict[str, Any], str | None]] = [
    ({"incomplete_details": {"reason": "length"}}, "max_output_tokens"),
    ({"incomplete_details": {"reason": "MAX_TOKENS"}}, "max_output_tokens"),
    ({"incomplete_details": [{"reason": "max_output_tokens"}]}, "max_output_tokens"),
    ({"incomplete_details": {"type": "content_filter"}}, "content_filter"),
    ({"incomplete_details": {"reason": "tide"}}, "tide"),
    ({"status": "length"}, "max_output_tokens"),
    ({"status": "max_tokens"}, "max_output_tokens"),
    ({"incomplete_details": {"reason": "stop"}}, None),
    ({"incomplete_details": {"reason": "none"}}, None),
    ({"incomplete_details": "null"}, None),
    ({"incomplete_details": {"reason": "tool_calls"}}, None),
]


@pytest.mark.parametrize(("fields", "reason"), CUTS)
def test_why_an_answer_was_cut_is_said_in_the_words_of_the_api(fields: dict[str, Any], reason: str | None) -> None:
    read = in_history(DONE | fields)
    assert (read.incomplete_details and read.incomplete_details.reason) == reason
    assert (read.status, read.output_text) == ("incomplete" if reason else "completed", "Hello.")


NO_ERRORS: list[Any] = [
    {"code": "", "message": "", "type": "", "param": ""},
    {"code": None, "message": None},
    {"code": 0, "message": "success"},
    {"code": "200", "message": "OK", "details": []},
    "null",
    " None ",
    False,
]


@pytest.mark.parametrize("error", NO_ERRORS)
def test_an_error_that_says_there_is_none_is_none(error: Any) -> None:
    """As languages write it in which an object is never missing."""
    without_status = {name: value for name, value in DONE.items() if name != "status"}
    for said in (DONE, without_status):
        read = in_history(said | {"error": error})
        assert (read.status, read.error, read.output_text) == ("completed", None, "Hello.")


ENVELOPES: dict[str, Any] = {
    "one within another": {"data": {"response": DONE}},
    "of any name": {"code": 0, "msg": "success", "model_output": DONE},
    "a function's": {"statusCode": 200, "headers": {}, "body": JSON},
    "a text": JSON,
    "a text within a text": json.dumps({"body": JSON}),
    "named output": {"output": DONE},
    "a list of all its states": [DONE | {"status": "queued", "output": []}, DONE],
    "under another name of its id": {"response_id": "resp_1", "status": "completed", "output": [MESSAGE]},
}


@pytest.mark.parametrize("said", ENVELOPES.values(), ids=ENVELOPES)
async def test_a_response_is_taken_out_of_its_envelopes(provider: Provider, api: ResponsesClient, said: Any) -> None:
    provider.will(answer(said), answer(said), answer(said))
    created, read = await api.create(REQUEST), (await api.retrieve("resp_1")).response
    last = await end_of_a_stream(api)
    assert {(r.id, r.status, r.output_text) for r in (created, read, last)} == {("resp_1", "completed", "Hello.")}


WRITTEN = json.dumps({"id": "resp_of_the_model", "status": "failed", "output": []})


@pytest.mark.parametrize(
    "said",
    [
        {"id": "c", "choices": [{"message": {"content": WRITTEN}}]},
        {"id": "c", "choices": [{"text": WRITTEN}]},
        {"id": "c", "message": {"role": "assistant", "content": WRITTEN}},
        {"id": "c", "content": [{"type": "text", "text": WRITTEN}]},
        {"id": "c", "output_text": WRITTEN},
        {"id": "c", "output": [MESSAGE | {"content": WRITTEN}]},
    ],
)
def test_what_a_model_writes_is_never_taken_for_the_response(said: Any) -> None:
    read = in_history(said)
    assert (read.id, read.status, read.output_text) == ("c", "completed", WRITTEN)


async def test_a_response_of_which_only_the_id_is_told_has_begun(provider: Provider, api: ResponsesClient) -> None:
    """Were it taken for an empty answer, it would be created again. But nothing is no answer to a GET."""
    provider.will(answer({"id": "resp_1", "model": "m"}, 202), answer({"id": "resp_1", "model": "m"}))
    assert (await api.create(REQUEST)).status == "in_progress"
    with pytest.raises(MalformedAnswer, match="neither a status nor an output"):
        await api.retrieve("resp_1")


async def test_a_compaction_is_taken_out_of_its_envelopes(provider: Provider, api: ResponsesClient) -> None:
    """It is paid for, and cannot be had a second time."""
    kept = {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}
    for said in ({"data": {"output": [kept]}}, {"output": {"0": kept}}, {"body": json.dumps({"output": [kept]})}):
        provider.will(answer(said))
        assert [item.id for item in (await api.compact(REQUEST, within=3)).output] == ["cmp_1"]


@pytest.mark.parametrize(("said", "tokens"), [("5", 5), (5.0, 5), (-1, None), (None, None), (2**70, None)])
async def test_a_number_of_tokens_below_nothing_is_none(
    provider: Provider, api: ResponsesClient, said: Any, tokens: int | None
) -> None:
    """What a response may cost is reckoned by it, and is set aside."""
    provider.will(answer({"input_tokens": said}))
    if tokens is not None:
        assert await api.input_tokens(REQUEST) == tokens
    else:
        with pytest.raises(MalformedAnswer):
            await api.input_tokens(REQUEST)


# --- its items ----------------------------------------------------------------------------------------------------

FUNCTION = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USED = {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'}

CALLS: dict[str, dict[str, Any]] = {
    "nested as in chat completions": DONE | {"output": [FUNCTION]},
    "nested under its own type": DONE | {"output": [FUNCTION | {"type": "function_call"}]},
    "beside the content of a message": DONE | {"output": [MESSAGE | {"content": None, "tool_calls": [FUNCTION]}]},
    "as a part of a message": DONE | {"output": [MESSAGE | {"content": [USED]}]},
    "as an item of another API": DONE | {"output": [USED]},
    "of another type": DONE | {"output": [CALL | {"type": "tool_call"}]},
    "with its type in capitals": DONE | {"output": [CALL | {"type": "FUNCTION_CALL"}]},
    "with names in another case": DONE
    | {"output": [{"type": "functionCall", "callId": "call_1", "name": "f", "args": {"a": 1}}]},
    "without a type": DONE | {"output": [{"call_id": "call_1", "name": "f", "arguments": '{"a": 1}'}]},
    "with its arguments under another name": DONE
    | {"output": [{"type": "function_call", "call_id": "call_1", "name": "f", "parameters": {"a": 1}}]},
    "of a status of its own": DONE | {"status": "requires_action", "output": [CALL]},
    "of a chat completion": {
        "id": "chat_1",
        "choices": [{"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [FUNCTION]}}],
    },
    "of a message of another API": {"id": "msg_1", "role": "assistant", "content": [USED], "stop_reason": "tool_use"},
}


@pytest.mark.parametrize("said", CALLS.values(), ids=CALLS)
def test_a_call_is_known_in_the_forms_of_other_apis(said: dict[str, Any]) -> None:
    read = in_history(said)
    assert [(call.call_id, call.name, call.arguments) for call in read.function_calls] == [("call_1", "f", '{"a": 1}')]
    assert (read.status, read.output_text) == ("completed", "")


def test_text_stays_beside_a_call_in_its_message() -> None:
    said = DONE | {"output": [MESSAGE | {"tool_calls": [FUNCTION]}, MESSAGE | {"content": [*MESSAGE["content"], USED]}]}
    read = in_history(said)
    assert (read.output_text, [call.name for call in read.function_calls]) == ("Hello.Hello.", ["f", "f"])


ANSWERS: dict[str, dict[str, Any]] = {
    "parts under their numbers": {"output": [MESSAGE | {"content": {"0": {"type": "output_text", "text": "Hello."}}}]},
    "items in an object": {"output": {"items": [MESSAGE]}},
    "another name for the output": {"output": None, "outputs": [MESSAGE]},
    "text in place of the output": {"output": [], "text": "Hello."},
    "an answer": {"output": None, "answer": "Hello."},
    "one of two choices": {
        "output": None,
        "choices": [{"message": {"content": "Hello."}}, {"message": {"content": "Hi."}}],
    },
    "what a tool has said": {"output": [MESSAGE | {"role": "Tool", "content": "42"}, MESSAGE]},
    "what a user has said": {"output": [MESSAGE | {"role": "human", "content": "Hi!"}, MESSAGE]},
    "a comment by another name": {"output": [MESSAGE | {"phase": "Commentary"}, MESSAGE]},
    "a comment in a channel": {"output": [MESSAGE | {"channel": "analysis"}, MESSAGE | {"channel": "final"}]},
    "text under content": {"output": [MESSAGE | {"content": [{"type": "text", "text": {"content": "Hello."}}]}]},
}


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
def test_the_answer_of_a_run_is_what_the_model_says_to_it(said: dict[str, Any]) -> None:
    """In history, too, where roles are not kept."""
    read = in_history(DONE | said)
    assert (read.output_text, next_step(read, iterations_left=3)) == ("Hello.", Finish())


@pytest.mark.parametrize(
    "part",
    [
        {"type": "output_json", "json": {"a": 1}},
        {"type": "output_text", "text": {"a": 1}},
        {"type": "output_text", "text": None, "parsed": {"a": 1}},
    ],
)
def test_an_answer_that_was_read_as_json_on_its_way_is_json_again(part: dict[str, Any]) -> None:
    assert in_history(DONE | {"output": [MESSAGE | {"content": [part]}]}).output_text == '{"a": 1}'


def test_a_cut_chat_completion_is_incomplete() -> None:
    read = in_history({"id": "c", "choices": [{"finish_reason": "length", "message": {"content": "Hel"}}]})
    assert read.incomplete_details is not None
    assert (read.status, read.incomplete_details.reason, read.output_text) == (
        "incomplete",
        "max_output_tokens",
        "Hel",
    )


def test_usage_may_have_the_names_of_another_language() -> None:
    usage = in_history(DONE | {"usage": {"inputTokens": 3, "completionTokens": "4"}}).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 4, 7)


# --- errors that come with 200 ------------------------------------------------------------------------------------

REFUSALS: list[tuple[dict[str, Any], type[ResponsesError]]] = [
    ({"code": 500, "msg": "failed to call upstream", "data": None}, Busy),
    ({"success": False, "message": "no such model"}, BadRequest),
    ({"errors": [{"message": "no credit", "code": "insufficient_quota"}]}, QuotaExhausted),
    ({"errors": "no such parameter"}, BadRequest),
    ({"error_code": 336501, "error_msg": "no such parameter"}, BadRequest),
    ({"base_resp": {"status_code": 1004, "status_msg": "no such parameter"}}, BadRequest),
    ({"code": "InvalidParameter", "message": "no such parameter", "request_id": "r"}, BadRequest),
]


@pytest.mark.parametrize(("body", "kind"), REFUSALS)
@pytest.mark.parametrize("form", ["create", "stream"])
async def test_an_error_in_other_words_is_a_refusal(
    provider: Provider, api: ResponsesClient, form: str, body: Any, kind: type[ResponsesError]
) -> None:
    """Nothing was created, so nothing is ambiguous, and no second create is paid for."""
    provider.will(answer(body))
    with pytest.raises(kind):
        await (api.create(REQUEST) if form == "create" else end_of_a_stream(api))


# --- streams ------------------------------------------------------------------------------------------------------

BEGUN = {"type": "response.created", "response": DONE | {"status": "in_progress", "output": []}}
ENDED = {"type": "response.completed", "response": DONE}
EMPTY = {"type": "response.completed", "response": DONE | {"output": []}}
ITEM = {"type": "response.output_item.done", "item": MESSAGE, "output_index": 0}


def data(*events: Any) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta"} | fields


STREAMS: dict[str, str] = {
    "kinds in capitals": data(BEGUN, ENDED | {"type": "Response.Completed"}),
    "kinds with other signs": data(BEGUN, ENDED | {"type": "response_completed"}),
    "another word for the end": data(BEGUN, ENDED | {"type": "response.finished"}),
    "the end alone": data(BEGUN, ITEM, {"type": "done"}),
    "the end in its event line": data(BEGUN, ITEM) + "event: done\ndata: {}\n\n",
    "a mark of the end in small letters": data(BEGUN, ITEM) + "data: [done]\n\n",
    "a mark of the end in quotation marks": data(BEGUN, ITEM, "[DONE]"),
    "deltas of the Realtime API": data(BEGUN, {"type": "response.text.delta", "delta": "Hello."}, EMPTY),
    "deltas under text": data(BEGUN, delta(text="Hel"), delta(text="lo."), EMPTY),
    "deltas under content": data(BEGUN, delta(delta={"content": "Hel"}), delta(delta={"content": "lo."}), EMPTY),
    "events in an envelope": data({"event": "response.completed", "data": {"response": DONE}}),
    "a response under data": data({"type": "response.completed", "data": DONE}),
    "a response beside its type": data(BEGUN, {"type": "response.completed", **DONE}),
    "text with which a part begins": data(
        BEGUN, {"type": "response.content_part.added", "part": {"type": "output_text", "text": "Hello."}}, EMPTY
    ),
    "text in an earlier state": data(
        BEGUN, {"type": "response.in_progress", "response": DONE | {"status": "in_progress"}}, EMPTY
    ),
    "an error that says there is none": data(BEGUN, {"type": "ping", "error": {"code": "", "message": ""}}, ENDED),
    "events in a list": f"data: {json.dumps([BEGUN, ENDED])}\n\n",
    "events behind each other": f"data: {json.dumps(BEGUN)}{json.dumps(ENDED)}\n\n",
    "events without a blank line": f"data: {json.dumps(BEGUN)}\ndata: {json.dumps(ENDED)}\n",
    "events in a text": data(json.dumps(ENDED)),
    "data twice": f"data: data: {json.dumps(BEGUN)}\n\ndata: data: {json.dumps(ENDED)}\n\n",
    "an event in each line": f"{json.dumps(BEGUN)}\n{json.dumps(ENDED)}\n",
    "a list of events": json.dumps([BEGUN, ENDED]),
}


@pytest.mark.parametrize("said", STREAMS.values(), ids=STREAMS)
async def test_a_stream_of_another_form_brings_its_answer(provider: Provider, api: ResponsesClient, said: str) -> None:
    provider.will(event_stream(said), event_stream(said))
    for read in (await end_of_a_stream(api), await api.create(REQUEST)):
        assert (read.id, read.status, read.output_text) == ("resp_1", "completed", "Hello.")


def chunk(delta: dict[str, Any], ended: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": ended}
    return {"id": "chat_1", "object": "chat.completion.chunk", "choices": [choice], **fields}


async def test_the_stream_of_a_chat_completion_brings_its_answer(provider: Provider, api: ResponsesClient) -> None:
    chunks = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo."})]
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    for ended, status in (("stop", "completed"), ("length", "incomplete")):
        provider.will(event_stream(data(*chunks, chunk({}, ended, usage=usage)), "data: [DONE]\n\n"))
        read = await end_of_a_stream(api)
        assert read.usage is not None
        assert (read.id, read.status, read.output_text, read.usage.total_tokens) == ("chat_1", status, "Hello.", 7)


async def test_the_stream_of_a_chat_completion_brings_its_calls(provider: Provider, api: ResponsesClient) -> None:
    parts = [
        {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "id": "c2", "function": {"name": "g", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    chunks = [chunk({"content": None, "tool_calls": [part]}) for part in parts]
    provider.will(event_stream(data(*chunks, chunk({}, "tool_calls"))))
    read = await end_of_a_stream(api)
    calls = [(call.call_id, call.name, call.arguments) for call in read.function_calls]
    assert (calls, read.status) == ([("c1", "f", '{"a": 1}'), ("c2", "g", "{}")], "completed")


def added(call_id: str, index: int) -> dict[str, Any]:
    item = {"type": "function_call", "call_id": call_id, "name": "f", "arguments": ""}
    return {"type": "response.output_item.added", "item": item, "output_index": index}


def arguments(kind: str = "delta", **fields: Any) -> dict[str, Any]:
    return {"type": f"response.function_call_arguments.{kind}"} | fields


CALL_STREAMS: dict[str, list[dict[str, Any]]] = {
    "deltas that name the call": [arguments(delta='{"a": 1}', call_id="c1"), arguments(delta='{"a": 2}', call_id="c2")],
    "the call's id as the item's": [
        arguments(delta='{"a": 1}', item_id="c1"),
        arguments(delta='{"a": 2}', item_id="c2"),
    ],
    "arguments as objects": [arguments(delta={"a": 1}, output_index=0), arguments(delta={"a": 2}, output_index=1)],
    "an empty end of the arguments": [
        arguments(delta='{"a": 1}', output_index=0),
        arguments("done", arguments="", output_index=0),
        arguments("done", arguments='{"a": 2}', output_index=1),
    ],
}


@pytest.mark.parametrize("said", CALL_STREAMS.values(), ids=CALL_STREAMS)
async def test_streamed_arguments_find_their_calls(
    provider: Provider, api: ResponsesClient, said: list[dict[str, Any]]
) -> None:
    provider.will(event_stream(data(BEGUN, added("c1", 0), added("c2", 1), *said, EMPTY)))
    calls = (await end_of_a_stream(api)).function_calls
    assert [(call.call_id, call.arguments) for call in calls] == [("c1", '{"a": 1}'), ("c2", '{"a": 2}')]


async def test_a_call_whose_name_comes_with_the_end_of_its_arguments_has_it(
    provider: Provider, api: ResponsesClient
) -> None:
    begun = added("c1", 0)
    begun["item"]["name"] = ""
    provider.will(event_stream(data(BEGUN, begun, arguments("done", name="f", arguments="{}", output_index=0), EMPTY)))
    calls = (await end_of_a_stream(api)).function_calls
    assert [(call.name, call.arguments) for call in calls] == [("f", "{}")]
