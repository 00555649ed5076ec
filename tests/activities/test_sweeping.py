"""Responses that were created here and that nobody here waits for: their end is found out all the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from durable_responses.activities.admission import IdFile, ResponsesInFlight
from durable_responses.activities.sweeping import sweep
from durable_responses.activities.waiting import Waiters
from durable_responses.emulator.faults import Answer as Refusal
from durable_responses.emulator.faults import Fault, Operation
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import CreateRequest
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Answer, Provider, answer


@asynccontextmanager
async def sweeping(
    client: ResponsesClient, in_flight: ResponsesInFlight, waiters: Waiters | None = None
) -> AsyncIterator[None]:
    """Sweep, fifty times a second."""
    task = asyncio.create_task(sweep(client, in_flight, waiters or Waiters(), every=0.02))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def holding(*ids: str) -> ResponsesInFlight:
    in_flight = ResponsesInFlight(10)
    for response_id in ids:
        in_flight.started(response_id)
    return in_flight


async def create(client: ResponsesClient, scenario: str) -> str:
    return (await client.create(CreateRequest(model=f"scenario:{scenario}", input="Go on.", background=True))).id


async def test_a_response_counts_until_it_is_known_to_be_finished(emulated: ResponsesClient) -> None:
    """A21."""
    long, short = await create(emulated, "think?seconds=60"), await create(emulated, "think?seconds=0.1")
    in_flight = holding(long, short)
    async with sweeping(emulated, in_flight):
        await until(lambda: in_flight.ids == [long])


async def test_a_response_that_is_waited_for_here_is_left_to_its_wait(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A4: no GET beside those of the wait."""
    watched, other = await create(emulated, "echo"), await create(emulated, "echo")
    in_flight, waiters = holding(watched, other), Waiters()
    with waiters.waiting(watched):
        async with sweeping(emulated, in_flight, waiters):
            await until(lambda: in_flight.ids == [watched])
    gets = {response.id: response.gets for response in await emulator.control.responses()}
    assert gets[watched] == 0


async def test_an_id_is_not_dropped_because_it_cannot_be_read_for_now(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A21: else there would be more than N as soon as the provider stumbles."""
    response = await create(emulated, "think?seconds=60")
    fault = Fault(operation=Operation.RETRIEVE, effect=Refusal(status=500), times=2)
    await emulator.control.add_fault(fault)
    in_flight = holding(response)
    async with sweeping(emulated, in_flight), asyncio.timeout(5):
        while (await emulator.control.billing()).counts.gets < 4:
            await asyncio.sleep(0.005)
    assert in_flight.ids == [response]


GONE: dict[str, Answer] = {
    "unknown": answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404),
    "no retrieve": answer(b"", 405),
}


@pytest.mark.parametrize("said", GONE.values(), ids=GONE)
async def test_a_response_that_cannot_be_known_any_more_does_not_hold_its_place_for_ever(
    provider: Provider, api: ResponsesClient, said: Answer
) -> None:
    """A21: else a worker would stand still in the end."""
    provider.will(said)
    in_flight = holding("resp_1")
    async with sweeping(api, in_flight):
        await until(lambda: in_flight.ids == [])


async def test_a_restarted_worker_finds_out_about_the_responses_of_the_one_before(
    emulated: ResponsesClient, tmp_path: Path
) -> None:
    """A21: they count until they are finished."""
    response = await create(emulated, "think?seconds=0.3")
    with IdFile.claim(tmp_path) as file:
        ResponsesInFlight(1, file).started(response)
    with IdFile.claim(tmp_path) as file:
        in_flight = ResponsesInFlight(1, file)
        assert not in_flight.try_permit()
        async with sweeping(emulated, in_flight):
            await asyncio.wait_for(in_flight.permit(), 5)
