"""What a kill of the emulator does to responses that were asked for over a WebSocket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tests.support.emulator_control import EmulatorProcess
from tests.support.emulator_sockets import RawSocket, open_socket


@pytest.fixture
async def killable(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess(tmp_path) as process:
        yield process


@pytest.fixture
def client(killable: EmulatorProcess, official_client: AsyncOpenAI) -> AsyncOpenAI:
    return official_client.with_options(base_url=killable.base_url)


@pytest.fixture
async def socket(killable: EmulatorProcess) -> AsyncIterator[RawSocket]:
    async with open_socket(killable.base_url) as socket:
        yield socket


async def test_what_was_under_way_dies_with_the_process(
    killable: EmulatorProcess, socket: RawSocket, client: AsyncOpenAI
) -> None:
    await socket.create("scenario:think?seconds=5")
    response_id = (await socket.event("response.in_progress"))["response"]["id"]
    killable.kill()
    await killable.start()
    # Though it would have been finished by now.
    await killable.control.advance(10)
    assert (await client.responses.retrieve(response_id)).status == "cancelled"
    assert (await killable.control.billing()).counts.generations == 1


async def test_what_had_finished_stays_finished(
    killable: EmulatorProcess, socket: RawSocket, client: AsyncOpenAI
) -> None:
    response = await socket.answer("scenario:think?seconds=0.05")
    killable.kill()
    await killable.start()
    assert (await client.responses.retrieve(response["id"])).to_dict() == response


async def test_a_finished_response_is_continued_after_the_kill(killable: EmulatorProcess, socket: RawSocket) -> None:
    first = await socket.answer("scenario:echo")
    killable.kill()
    await killable.start()
    async with open_socket(killable.base_url) as again:
        assert (await again.answer(previous_response_id=first["id"]))["previous_response_id"] == first["id"]


async def test_a_steered_response_is_the_same_after_the_kill(
    killable: EmulatorProcess, socket: RawSocket, client: AsyncOpenAI
) -> None:
    await socket.create("scenario:write?seconds=60")
    response_id = (await socket.event("response.created"))["response"]["id"]
    await socket.event("response.output_text.delta")
    await socket.steer(response_id)
    steered = (await socket.event("response.incomplete"))["response"]
    killable.kill()
    await killable.start()
    assert (await client.responses.retrieve(response_id)).to_dict() == steered


async def test_a_warm_up_is_none_of_the_generations_after_the_kill(
    killable: EmulatorProcess, socket: RawSocket
) -> None:
    await socket.answer("scenario:echo", [], generate=False)
    killable.kill()
    await killable.start()
    assert (await killable.control.billing()).counts.generations == 0
