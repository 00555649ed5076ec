"""Background responses: queued, read, cancelled."""

import asyncio

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types.responses import Response

from tests.support import strictly

ESSAY = "Write 300 words about the sea."


async def test_a_background_response_is_queued_and_completes(client: AsyncOpenAI, model: str) -> None:
    created = await strictly.create(client, model=model, input="Say hello.", background=True)
    assert created.status == "queued"
    assert created.background is True
    finished = await _finished(client, created)
    assert finished.status == "completed"
    assert finished.output_text
    assert finished.usage is not None


async def test_a_background_response_must_be_stored(client: AsyncOpenAI, model: str) -> None:
    with pytest.raises(BadRequestError):
        await client.responses.create(model=model, input="Say hello.", background=True, store=False)


async def test_cancel_stops_a_response_under_way(client: AsyncOpenAI, model: str) -> None:
    created = await strictly.create(client, model=model, input=ESSAY, background=True)
    assert (await strictly.cancel(client, created.id)).status == "cancelled"
    assert (await strictly.retrieve(client, created.id)).status == "cancelled"


async def test_cancel_twice_is_cancel_once(client: AsyncOpenAI, model: str) -> None:
    created = await strictly.create(client, model=model, input=ESSAY, background=True)
    await client.responses.cancel(created.id)
    assert (await strictly.cancel(client, created.id)).status == "cancelled"


async def test_a_finished_response_cannot_be_cancelled(client: AsyncOpenAI, model: str) -> None:
    created = await strictly.create(client, model=model, input="Say hello.", background=True)
    await _finished(client, created)
    with pytest.raises(BadRequestError):
        await client.responses.cancel(created.id)


async def test_a_foreground_response_cannot_be_cancelled(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(client, model=model, input="Say hello.")
    with pytest.raises(BadRequestError):
        await client.responses.cancel(response.id)


async def test_an_unknown_response_is_not_found(client: AsyncOpenAI) -> None:
    for ask in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(NotFoundError):
            await ask("resp_0123456789abcdef0123456789abcdef")


async def test_an_unfinished_response_cannot_be_continued(client: AsyncOpenAI, model: str) -> None:
    created = await strictly.create(client, model=model, input=ESSAY, background=True)
    with pytest.raises(BadRequestError):
        await client.responses.create(model=model, input="Go on.", previous_response_id=created.id)
    await client.responses.cancel(created.id)


async def _finished(client: AsyncOpenAI, response: Response) -> Response:
    async with asyncio.timeout(120):
        while response.status in ("queued", "in_progress"):
            await asyncio.sleep(0.05)
            response = await strictly.retrieve(client, response.id)
    return response
