"""The endpoints over HTTP: what no single response can show."""

import asyncio
import json
from typing import Any, cast

import httpx
import pytest
from openai import APITimeoutError, AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from durable_responses.emulator.server import EmulatorOptions
from durable_responses.emulator.state.billing import BilledResponse
from tests.support.emulator_control import RunningEmulator, running_emulator
from tests.support.emulator_sockets import open_socket

SLOW = "scenario:think?seconds=60"


async def the_one_response(emulator: RunningEmulator, status: str) -> BilledResponse:
    """The only response there is, once it has this status."""
    async with asyncio.timeout(5):
        while True:
            lines = await emulator.control.responses()
            if lines and lines[0].status == status:
                return lines[0]
            await asyncio.sleep(0.01)


async def test_a_wrong_key_is_refused_without_being_repeated(official: AsyncOpenAI) -> None:
    async with running_emulator(EmulatorOptions(api_key="sk-right")) as guarded:
        wrong = official.with_options(base_url=guarded.base_url, api_key="sk-wrong")
        with pytest.raises(AuthenticationError) as refused:
            await wrong.responses.create(model="m", input="Hi.")
    assert refused.value.code == "invalid_api_key"
    assert "sk-" not in str(refused.value)


async def test_the_right_key_is_let_in(official: AsyncOpenAI) -> None:
    async with running_emulator(EmulatorOptions(api_key="sk-right")) as guarded:
        right = official.with_options(base_url=guarded.base_url, api_key="sk-right")
        assert (await right.responses.create(model="scenario:echo", input="Hi.")).output_text == "Hi."


async def test_every_answer_has_a_request_id(emulator: RunningEmulator) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        answers = [await http.get(f"{emulator.base_url}/responses/resp_1") for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2


async def test_a_body_that_is_not_a_request_is_refused_in_the_form_of_the_api(emulator: RunningEmulator) -> None:
    bodies = [b"", b"{", b"[]", b'{"model": "m"}', b'{"input": "Hi."}', b'{"model": 1, "input": 2}']
    async with httpx.AsyncClient(verify=False) as http:
        answers = [await http.post(f"{emulator.base_url}/responses", content=body) for body in bodies]
    shapes = [(answer.status_code, {*answer.json()["error"]}) for answer in answers]
    assert shapes == [(400, {"message", "type", "param", "code"})] * len(bodies)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_foreground_response_dies_with_its_connection(
    emulator: RunningEmulator, official: AsyncOpenAI, stream: bool
) -> None:
    asked = official.responses.create(model=SLOW, input="Hi.", stream=stream)
    client = asyncio.create_task(_read(asked))
    await the_one_response(emulator, "in_progress")
    client.cancel()
    await the_one_response(emulator, "cancelled")


async def _read(asked: Any) -> None:
    answer = await asked
    async for _ in answer:
        pass


async def test_a_background_response_outlives_its_connection(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    events = await official.responses.create(model=SLOW, input="Hi.", stream=True, background=True)
    await anext(aiter(events))
    await events.close()
    assert (await the_one_response(emulator, "in_progress")).finished_at is None


async def test_two_readers_of_one_background_stream_read_the_same(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    created = await official.responses.create(model=SLOW, input="Hi.", stream=True, background=True)
    response_id = (await anext(aiter(created))).response.id  # type: ignore[union-attr] # the first one has it
    second = await official.responses.retrieve(response_id, stream=True, starting_after=0)
    await emulator.control.advance(60)
    assert [event async for event in created] == [event async for event in second]


async def test_resuming_after_the_last_event_ends_at_once(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    created = await official.responses.create(model=SLOW, input="Hi.", stream=True, background=True)
    await emulator.control.advance(60)
    last = [event async for event in created][-1]
    again = await official.responses.retrieve(
        last.response.id,  # type: ignore[union-attr] # the last one has it
        stream=True,
        starting_after=last.sequence_number,
    )
    assert [event async for event in again] == []


async def test_resuming_is_refused_after_five_minutes(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    created = await official.responses.create(model=SLOW, input="Hi.", stream=True, background=True)
    response_id = (await anext(aiter(created))).response.id  # type: ignore[union-attr] # the first one has it
    await created.close()
    await emulator.control.advance(301)
    with pytest.raises(Exception, match="more than 5 minutes old"):
        await official.responses.retrieve(response_id, stream=True, starting_after=0)


async def test_instructions_and_tools_are_not_carried_over(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    first = await official.responses.create(model="scenario:echo", input="Hi.", instructions="Be brief.")
    second = await official.responses.create(model="scenario:echo", input="Go on.", previous_response_id=first.id)
    assert second.instructions is None


async def test_what_came_before_is_read_from_the_cache(official: AsyncOpenAI) -> None:
    first = await official.responses.create(model="scenario:echo", input="word " * 400, instructions="Be brief.")
    second = await official.responses.create(model="scenario:echo", input="Go on.", previous_response_id=first.id)
    assert first.usage is not None
    assert second.usage is not None
    assert 1000 < second.usage.input_tokens_details.cached_tokens < second.usage.input_tokens


async def test_the_input_is_never_sent_back(official: AsyncOpenAI) -> None:
    raw = await official.responses.with_raw_response.create(
        model="scenario:think?seconds=0", input="x" * 500_000, metadata={"a": "b"}
    )
    assert len(raw.content) < 3000


async def test_a_client_that_waits_too_long_is_told_nothing(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    with pytest.raises(APITimeoutError):
        await official.with_options(timeout=0.1).responses.create(model=SLOW, input="Hi.")
    await the_one_response(emulator, "cancelled")


async def test_what_is_not_served_is_refused_in_the_form_of_the_api(emulator: RunningEmulator) -> None:
    asked = [
        ("GET", "/", 404, None),
        ("GET", "/v1", 404, None),
        ("POST", "/v1/chat/completions", 404, None),
        ("GET", "/v1/responses/resp_1/nothing", 404, None),
        ("GET", "/v1/models/unknown-model", 404, "model_not_found"),
        ("GET", "/v1/models/", 404, None),
        ("GET", "/v1/responses/", 404, None),
        ("POST", "/v1/responses/", 404, None),
        ("GET", "/v1/responses", 405, "method_not_supported"),
        ("PUT", "/v1/responses/resp_1", 405, "method_not_supported"),
        ("DELETE", "/v1/models", 405, "method_not_supported"),
    ]
    root = emulator.base_url.removesuffix("/v1")
    async with httpx.AsyncClient(verify=False) as http:
        answers = [await http.request(method, root + path) for method, path, _, _ in asked]
    shown = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert shown == [(status, code) for _, _, status, code in asked]
    assert all("x-request-id" in answer.headers for answer in answers)


async def test_a_websocket_elsewhere_is_refused_in_the_form_of_the_api(emulator: RunningEmulator) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(emulator.base_url.replace("http", "ws") + "/realtime", proxy=None)
    assert refused.value.response.status_code == 404
    assert b'"Invalid URL (GET /v1/realtime)"' in (refused.value.response.body or b"")


async def test_models_are_listed_and_shown(official: AsyncOpenAI) -> None:
    listed = [model.id async for model in official.models.list()]
    assert "scenario:echo" in listed
    assert (await official.models.retrieve("gpt-5.4/of-some-gateway")).id == "gpt-5.4/of-some-gateway"
    with pytest.raises(NotFoundError) as refused:
        await official.models.retrieve("unknown-model")
    assert refused.value.code == "model_not_found"


async def test_what_codex_sends_beside_the_published_fields_is_accepted(official: AsyncOpenAI) -> None:
    extra = {"client_metadata": {"x-codex-turn-metadata": '{"turn_id": "1"}'}}
    answer = await official.responses.create(model="scenario:echo", input="Hi.", extra_body=extra)
    assert answer.output_text == "Hi."


async def test_penalties_are_in_every_response(official: AsyncOpenAI) -> None:
    plain = await official.responses.create(model="scenario:echo", input="Hi.")
    extra = {"frequency_penalty": 0.5, "presence_penalty": -1}
    asked = await official.responses.create(model="scenario:echo", input="Hi.", extra_body=extra)
    assert [(it.model_extra or {})["frequency_penalty"] for it in (plain, asked)] == [0, 0.5]
    assert [(it.model_extra or {})["presence_penalty"] for it in (plain, asked)] == [0, -1]


async def test_reasoning_is_encrypted_where_that_is_included(official: AsyncOpenAI) -> None:
    plain = await official.responses.create(model="scenario:echo", input="Hi.")
    asked = await official.responses.create(
        model="scenario:echo", input="Hi.", include=["reasoning.encrypted_content"], store=False
    )
    encrypted = [[it.encrypted_content for it in at.output if it.type == "reasoning"] for at in (plain, asked)]
    assert encrypted[0] == [None]
    [content] = encrypted[1]
    assert content
    full = [*[it.model_dump(exclude_none=True) for it in asked.output], {"role": "user", "content": "Go on."}]
    again = await official.responses.create(model="scenario:echo", input=cast("Any", full), store=False)
    assert again.output_text == "Go on."


async def test_an_include_that_there_is_not_is_refused(official: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        await official.responses.create(model="m", input="Hi.", include=cast("Any", ["reasoning.plain_text"]))
    assert refused.value.param == "include[0]"


async def test_a_reference_stands_for_an_item_of_a_stored_response(official: AsyncOpenAI) -> None:
    called = await official.responses.create(model="scenario:calls?tool=f", input="Go.")
    [call] = [item for item in called.output if item.type == "function_call"]
    given: Any = [
        {"role": "user", "content": "Go."},
        *({"type": "item_reference", "id": item.id} for item in called.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "ok"},
    ]
    answer = await official.responses.create(model="scenario:calls?tool=f", input=given)
    assert answer.output_text == "All calls are answered."
    listed = [item.type async for item in await official.responses.input_items.list(answer.id, order="asc")]
    assert listed == ["message", "reasoning", "function_call", "function_call_output"]


@pytest.mark.parametrize(
    "item", [{"type": "item_reference", "id": "msg_1"}, {"type": "reasoning", "id": "rs_1", "summary": []}]
)
@pytest.mark.parametrize(("store", "said"), [(True, "not found."), (False, "`store` is set to false")])
async def test_a_reference_to_what_was_never_stored_is_refused(
    official: AsyncOpenAI, item: dict[str, Any], store: bool, said: str
) -> None:
    given: Any = [item, {"role": "user", "content": "Hi."}]
    with pytest.raises(NotFoundError, match=f"Item with id '{item['id']}'") as refused:
        await official.responses.create(model="m", input=given, store=store)
    assert said in refused.value.message


async def test_an_item_that_was_not_stored_cannot_be_referred_to(official: AsyncOpenAI) -> None:
    unstored = await official.responses.create(model="scenario:echo", input="Hi.", store=False)
    given: Any = [{"type": "item_reference", "id": unstored.output[-1].id}]
    with pytest.raises(NotFoundError, match="not found"):
        await official.responses.create(model="m", input=given)


OF_NO_TYPE = {"type": "object", "properties": {"a": {"type": "text"}}}


def _format(**fields: Any) -> dict[str, Any]:
    return {"text": {"format": {"type": "json_schema", "name": "answer", **fields}}}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        (_format(), "text.format.schema", "Missing required parameter"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", "Missing required parameter"),
        (
            _format(name="two words", schema={"type": "object"}),
            "text.format.name",
            "Invalid 'text.format.name': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
        ),
        (
            _format(name="a" * 65, schema={"type": "object"}),
            "text.format.name",
            "string too long. Expected a string with maximum length 64, but got a string with length 65 instead.",
        ),
        (_format(name="", schema={"type": "object"}), "text.format.name", "empty string"),
        ({"text": {"format": {"name": "a", "schema": {}}}}, "text.format.type", "Missing required parameter"),
        ({"text": {"format": {"type": "text", "name": "a"}}}, "text.format.name", "Unknown parameter"),
        ({"text": {"format": {"type": "json_object", "schema": {}}}}, "text.format.schema", "Unknown parameter"),
        (
            _format(schema="object"),
            "text.format.schema",
            "Invalid type for 'text.format.schema': expected an object, but got a string instead.",
        ),
        (_format(schema={"type": "object"}, strict="yes"), "text.format.strict", "expected a boolean"),
        (_format(schema={"type": "object", "properties": []}), "text.format.schema", "[] is not of type 'object'"),
        (_format(schema={"type": "object", "required": "a"}), "text.format.schema", "'a' is not of type 'array'"),
        (_format(schema={"type": "array", "items": {}}), "text.format.schema", "got 'type: \"array\"'"),
        (_format(schema={"type": "string"}), "text.format.schema", "got 'type: \"string\"'"),
        (_format(schema={}), "text.format.schema", "got 'type: \"None\"'"),
        (_format(schema={"anyOf": [{"type": "object"}]}), "text.format.schema", "got 'type: \"None\"'"),
        (_format(schema=OF_NO_TYPE), "text.format.schema", "'text' is not"),
        (
            {"text": {"format": {"type": "yaml"}}},
            "text.format.type",
            "Invalid value: 'yaml'. Supported values are: 'text', 'json_object', and 'json_schema'.",
        ),
        ({"text": {"format": {"type": "text", "shape": 1}}}, "text.format.shape", "Unknown parameter"),
    ],
)
async def test_a_text_format_that_is_not_valid_is_refused_as_by_the_api(
    official: AsyncOpenAI, fields: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await official.responses.create(**{"model": "m", "input": "Hi.", **fields})
    assert (refused.value.param, said in refused.value.message) == (param, True), refused.value.message
    assert refused.value.type == "invalid_request_error"
    assert refused.value.code


@pytest.mark.parametrize(
    "keyword",
    [
        "allOf",
        "oneOf",
        "not",
        "if",
        "patternProperties",
        "dependentRequired",
        "uniqueItems",
        "minProperties",
        "contains",
    ],
)
async def test_a_keyword_that_strict_mode_does_not_know_is_refused(official: AsyncOpenAI, keyword: str) -> None:
    inner = {"type": "string", keyword: [{"type": "string"}]}
    schema = {"type": "object", "properties": {"a": inner}, "required": ["a"], "additionalProperties": False}
    with pytest.raises(BadRequestError, match=f"'{keyword}' is not permitted"):
        await official.responses.create(**{"model": "m", "input": "Hi.", **_format(schema=schema, strict=True)})


def _closed(**properties: Any) -> dict[str, Any]:
    """An object as strict mode wants it."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _nested(levels: int) -> dict[str, Any]:
    return _closed(a=_nested(levels - 1)) if levels else _closed()


WORD = {"type": "string"}
REFERENCE = {"$ref": "#/$defs/word"}
NUMBERED = {f"p{number}": WORD for number in range(5001)}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (_closed(a={"type": "object", "properties": {}}), "In context=('properties', 'a'), 'additionalProperties' is"),
        ({**_closed(a=WORD), "required": ["a", "b"]}, "In context=(), 'required' is required to be supplied"),
        ({**_closed(a=WORD), "required": ["a", "b"]}, "Extra required key 'b' supplied."),
        (_closed(a={"type": ["object", "null"]}), "'additionalProperties' is required"),
        (_closed(a={"type": "array"}), "In context=('properties', 'a'), array schema missing items."),
        (_closed(a={"anyOf": [{"description": "Anything."}]}), "'a', 'anyOf', '0'), schema must have a 'type' key."),
        (_closed(a={"type": "string", "format": "uri"}), "('properties', 'a'), 'uri' is not a valid format."),
        (_closed(a={**REFERENCE, "description": "A."}), "('properties', 'a'), $ref cannot have keywords {'descr"),
        (_closed(a=REFERENCE), "reference can only point to definitions defined at the top level of the schema."),
        (_nested(11), "11 levels of nesting exceeds limit of 10."),
        (_closed(**NUMBERED), "5001 parameters exceeds limit of 5000."),
        (_closed(a={"enum": list(range(1001))}), "Expected at most 1000 enum values in total"),
        (_closed(a={"enum": [f"{number:0100}" for number in range(251)]}), "Expected at most 15000 characters"),
        (_closed(**{"a" * 60_001: WORD, "b" * 60_000: WORD}), "Received 120001."),
    ],
)  # fmt: skip
async def test_a_schema_that_strict_mode_does_not_take_is_refused_in_its_words(
    official: AsyncOpenAI, schema: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await official.responses.create(**{"model": "m", "input": "Hi.", **_format(schema=schema, strict=True)})
    assert said in refused.value.message
    assert (refused.value.param, refused.value.code) == ("text.format.schema", "invalid_json_schema")
    assert "Invalid schema for response_format 'answer': " in refused.value.message
    # Without strict mode it is only told to the model.
    await official.responses.create(
        **{"model": "scenario:echo", "input": "Hi.", **_format(schema=schema, strict=False)}
    )


@pytest.mark.parametrize(
    "schema",
    [
        _nested(10),
        {**_closed(a=REFERENCE, b={"type": "array", "items": {"$ref": "#"}}), "$defs": {"word": WORD}},
        _closed(a={"anyOf": [WORD, {"type": "null"}]}, b={"enum": ["x", 1]}, c={"const": 3}, type=WORD, contains=WORD),
        _closed(a={"type": "string", "pattern": "^a$", "format": "date", "default": "x", "title": "A", "minLength": 1}),
        _closed(a={"type": "array", "items": WORD, "minItems": 1, "maxItems": 3}, n={"type": "number", "minimum": 0}),
    ],
)
async def test_a_schema_within_the_rules_of_strict_mode_is_taken(official: AsyncOpenAI, schema: dict[str, Any]) -> None:
    response = await official.responses.create(
        **{"model": "scenario:echo", "input": "Hi.", **_format(schema=schema, strict=True)}
    )
    assert isinstance(json.loads(response.output_text), dict)


BARE = {"type": "object", "properties": {"a": {"type": "string"}}}


def _answer_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"text": {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        (
            {"tools": [{"type": "web_search"}], "reasoning": {"effort": "minimal"}},
            "tools",
            "cannot be used with reasoning.effort 'minimal': web_search",
        ),
        ({"background": True, "store": False}, "store", "store"),
        (_answer_of(BARE), "text.format.schema", "'additionalProperties' is required to be supplied and to be false"),
        (_answer_of({**BARE, "additionalProperties": False}), "text.format.schema", "Missing 'a'"),
        ({"model": "plain-model", "reasoning": {"effort": "low"}}, "reasoning.effort", "not supported with this model"),
        ({"model": "plain-model", "text": {"verbosity": "low"}}, "text.verbosity", "Supported values are: 'medium'"),
    ],
)
async def test_what_does_not_go_together_is_refused_as_by_the_api(
    official: AsyncOpenAI, fields: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await official.responses.create(**{"model": "m", "input": "Hi.", **fields})
    assert (refused.value.param, said in refused.value.message) == (param, True)


@pytest.mark.parametrize(
    ("fields", "param"), [({"reasoning": {"summary": "auto"}}, "reasoning.summary"), ({"stream": True}, "stream")]
)
async def test_an_organisation_that_is_not_verified_is_refused_some_things(
    official: AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    async with running_emulator(EmulatorOptions(unverified=True)) as strict:
        unverified = official.with_options(base_url=strict.base_url)
        assert (await unverified.responses.create(model="scenario:echo", input="Hi.")).output_text == "Hi."
        with pytest.raises(BadRequestError, match="must be verified") as refused:
            await unverified.responses.create(model="m", input="Hi.", **fields)
    assert refused.value.param == param


NO_MODEL = "No model has read this"


async def test_an_answer_ends_with_the_line_that_no_model_has_read_it_however_it_is_got(
    official: AsyncOpenAI, emulator: RunningEmulator
) -> None:
    asked: dict[str, Any] = {"model": "gpt-5.4", "input": "Say hello."}
    whole = (await official.responses.create(**asked)).output_text
    later = await official.responses.create(**asked, background=True)
    while later.status in ("queued", "in_progress"):
        later = await official.responses.retrieve(later.id)
    events = [event async for event in await official.responses.create(**asked, stream=True)]
    streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    async with open_socket(emulator) as socket:
        over_a_socket = (await socket.answer("gpt-5.4", "Say hello."))["output"][-1]["content"][0]["text"]
    assert {whole} == {later.output_text, streamed, over_a_socket}
    assert whole.splitlines()[-1].startswith(NO_MODEL)


async def test_an_answer_in_json_has_the_line_where_it_has_room_and_in_the_reasoning_summary(
    official: AsyncOpenAI,
) -> None:
    asked: dict[str, Any] = {"model": "gpt-5.4", "input": "Say hello.", "reasoning": {"summary": "auto"}}
    told = await official.responses.create(**asked, **_format(schema=_closed(answer=WORD, days=WORD), strict=True))
    bare = await official.responses.create(**asked, **_format(schema=_closed(days={"type": "integer"}), strict=True))
    assert json.loads(told.output_text)["answer"].splitlines()[-1].startswith(NO_MODEL)
    assert json.loads(bare.output_text) == {"days": 1}
    assert all(NO_MODEL in response.output[0].model_dump_json() for response in (told, bare))
