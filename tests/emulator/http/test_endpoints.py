"""The endpoints over HTTP: what no single response can show."""

import asyncio
from typing import Any

import httpx
import pytest
from openai import APITimeoutError, AsyncOpenAI, AuthenticationError, BadRequestError

from durable_responses.emulator.server import EmulatorOptions
from durable_responses.emulator.state.billing import BilledResponse
from tests.support.emulator_control import RunningEmulator, running_emulator

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
