"""No more than N responses in flight on one worker, and none forgotten when it is restarted."""

import asyncio
import errno
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.worker import SlotMarkUsedContext, SlotPermit, SlotReleaseContext, SlotReserveContext

from durable_responses.activities.admission import AdmissionSlots, IdFile, ResponsesInFlight, sweep
from durable_responses.activities.polling import Waiters
from durable_responses.emulator.faults import Answer as Refusal
from durable_responses.emulator.faults import Fault, Operation
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import CreateRequest
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Answer, Provider, answer


async def is_waiting(task: "asyncio.Task[None]") -> bool:
    done, _ = await asyncio.wait((task,), timeout=0.02)
    return not done


# --- the count ---------------------------------------------------------------------------------------------------


def test_permits_are_given_up_to_the_limit() -> None:
    """A21."""
    in_flight = ResponsesInFlight(2)
    assert [in_flight.try_permit() for _ in range(3)] == [True, True, False]


def test_a_response_takes_the_place_of_the_create_that_brought_it() -> None:
    """A21: it counts until it is known to be finished."""
    in_flight = ResponsesInFlight(1)
    in_flight.try_permit()
    in_flight.started("resp_1")
    in_flight.give_back()
    assert not in_flight.try_permit()
    in_flight.ended("resp_1")
    assert in_flight.try_permit()


def test_a_create_that_brought_nothing_gives_its_place_back() -> None:
    """A21."""
    in_flight = ResponsesInFlight(1)
    in_flight.try_permit()
    in_flight.give_back()
    assert in_flight.try_permit()


def test_a_response_counts_once_however_often_it_is_told_of() -> None:
    """The wait, the cancel and the sweep may each see its end."""
    in_flight = ResponsesInFlight(2)
    for _ in range(2):
        in_flight.started("resp_1")
    assert len(in_flight) == 1
    for _ in range(2):
        in_flight.ended("resp_1")
    assert len(in_flight) == 0


def test_the_end_of_a_response_of_another_worker_is_no_matter() -> None:
    in_flight = ResponsesInFlight(2)
    in_flight.ended("resp_of_another")
    assert len(in_flight) == 0


async def test_who_waits_is_let_in_when_a_response_ends() -> None:
    """A21."""
    in_flight = ResponsesInFlight(1)
    in_flight.started("resp_1")
    waiting = asyncio.create_task(in_flight.permit())
    assert await is_waiting(waiting)
    in_flight.ended("resp_1")
    await asyncio.wait_for(waiting, 2)


async def test_one_place_lets_one_in() -> None:
    """A21."""
    in_flight = ResponsesInFlight(1)
    in_flight.try_permit()
    waiting = [asyncio.create_task(in_flight.permit()) for _ in range(3)]
    in_flight.give_back()
    done, pending = await asyncio.wait(waiting, timeout=0.05)
    assert (len(done), len(pending)) == (1, 2)
    for _ in pending:
        in_flight.give_back()
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*pending), 2)


async def test_who_stops_waiting_takes_no_place() -> None:
    in_flight = ResponsesInFlight(1)
    in_flight.try_permit()
    waiting = asyncio.create_task(in_flight.permit())
    assert await is_waiting(waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    in_flight.give_back()
    assert in_flight.try_permit()


async def test_places_are_given_back_from_any_thread() -> None:
    """Temporal's core calls from threads of its own."""
    in_flight = ResponsesInFlight(1)
    in_flight.try_permit()
    waiting = asyncio.create_task(in_flight.permit())
    assert await is_waiting(waiting)
    thread = threading.Thread(target=in_flight.give_back)
    thread.start()
    await asyncio.wait_for(waiting, 2)
    thread.join()


def test_the_limit_holds_for_many_threads() -> None:
    """A21."""
    in_flight = ResponsesInFlight(50)
    given: list[bool] = []
    threads = [threading.Thread(target=lambda: given.append(in_flight.try_permit())) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given.count(True) == 50


# --- the slots of Temporal's worker ------------------------------------------------------------------------------


@dataclass
class SlotInfo:
    """What the SDK tells of a slot that an activity used."""

    activity_type: str = "create_response"


# What a slot is for makes no difference.
ASKED, USED = cast(SlotReserveContext, None), cast(SlotMarkUsedContext, None)
RELEASED = SlotReleaseContext(slot_info=None, permit=SlotPermit())
ENDED = SlotReleaseContext(slot_info=SlotInfo(), permit=SlotPermit())


async def test_a_slot_is_reserved_when_there_is_room() -> None:
    """A21: what waits here is `queued` at Temporal, for any worker that has room."""
    in_flight = ResponsesInFlight(1)
    slots = AdmissionSlots(in_flight)
    in_flight.started("resp_1")
    reserving = asyncio.create_task(slots.reserve_slot(ASKED))
    done, _ = await asyncio.wait((reserving,), timeout=0.02)
    assert not done
    in_flight.ended("resp_1")
    assert isinstance(await asyncio.wait_for(reserving, 2), SlotPermit)


def test_an_eager_create_gets_a_slot_only_when_there_is_room() -> None:
    """A21."""
    slots = AdmissionSlots(ResponsesInFlight(1))
    assert isinstance(slots.try_reserve_slot(ASKED), SlotPermit)
    assert slots.try_reserve_slot(ASKED) is None
    slots.release_slot(RELEASED)
    assert isinstance(slots.try_reserve_slot(ASKED), SlotPermit)


def test_a_slot_that_waits_for_a_create_is_no_response_in_flight() -> None:
    """A21: what is counted and shown; the limit counts the slot all the same."""
    in_flight = ResponsesInFlight(1)
    slots = AdmissionSlots(in_flight)
    slots.try_reserve_slot(ASKED)
    assert (len(in_flight), in_flight.try_permit()) == (0, False)
    slots.mark_slot_used(USED)
    assert len(in_flight) == 1


def test_a_create_that_is_over_leaves_nothing_behind() -> None:
    """A21: its poll ended when it came, and its permit is free again."""
    in_flight = ResponsesInFlight(1)
    slots = AdmissionSlots(in_flight)
    slots.try_reserve_slot(ASKED)
    slots.mark_slot_used(USED)
    slots.release_slot(ENDED)
    assert (len(in_flight), in_flight.polls, in_flight.try_permit()) == (0, 0, True)


async def test_no_slot_is_given_out_after_the_close() -> None:
    in_flight = ResponsesInFlight(2)
    slots = AdmissionSlots(in_flight)
    await slots.close(patience=0)
    assert slots.try_reserve_slot(ASKED) is None
    waiting = asyncio.create_task(slots.reserve_slot(ASKED))
    assert len(await still_waiting(waiting)) == 1
    assert len(in_flight) == 0
    waiting.cancel()


async def test_the_close_waits_for_a_poll_until_it_has_brought_a_create() -> None:
    slots = AdmissionSlots(ResponsesInFlight(2))
    await slots.reserve_slot(ASKED)
    closing = asyncio.create_task(slots.close(patience=60))
    assert len(await still_waiting(closing)) == 1
    slots.mark_slot_used(USED)
    await closing


async def test_the_close_waits_for_no_poll_that_was_given_up() -> None:
    slots = AdmissionSlots(ResponsesInFlight(2))
    await slots.reserve_slot(ASKED)
    slots.release_slot(RELEASED)
    closing = asyncio.create_task(slots.close(patience=60))
    await asyncio.sleep(0)  # a close that has nothing to wait for ends in its first step
    ended = closing.done()
    closing.cancel()
    assert ended


async def test_the_close_does_not_wait_for_ever() -> None:
    slots = AdmissionSlots(ResponsesInFlight(1))
    await slots.reserve_slot(ASKED)
    await slots.close(patience=0.05)


async def still_waiting(task: "asyncio.Task[Any]") -> set[Any]:
    return (await asyncio.wait((task,), timeout=0.05))[1]


# --- over a restart ----------------------------------------------------------------------------------------------


def test_a_restarted_worker_knows_what_is_in_flight(tmp_path: Path) -> None:
    """A21: else there would be up to 2 N."""
    with IdFile.claim(tmp_path) as file:
        before = ResponsesInFlight(2, file)
        for response_id in ("resp_1", "resp_2"):
            before.started(response_id)
        before.ended("resp_1")
    with IdFile.claim(tmp_path) as file:
        after = ResponsesInFlight(2, file)
    assert (after.ids, after.try_permit(), after.try_permit()) == (["resp_2"], True, False)


def test_workers_side_by_side_have_a_file_each(tmp_path: Path) -> None:
    with IdFile.claim(tmp_path) as one, IdFile.claim(tmp_path) as other:
        ResponsesInFlight(2, one).started("resp_1")
        ResponsesInFlight(2, other).started("resp_2")
    with IdFile.claim(tmp_path) as one, IdFile.claim(tmp_path) as other:
        assert (one.ids, other.ids) == (["resp_1"], ["resp_2"])


def test_a_line_that_a_kill_cut_short_harms_no_other(tmp_path: Path) -> None:
    """What is left of it counts as a response, which the provider will not know."""
    (tmp_path / "responses-in-flight-0").write_text("+resp_1\n+resp_2\n-resp_1\n+res")
    with IdFile.claim(tmp_path) as file:
        assert file.ids == ["resp_2", "res"]
        file.append("+", "resp_3")
    with IdFile.claim(tmp_path) as file:
        assert file.ids == ["resp_2", "res", "resp_3"]


def test_the_file_of_a_worker_starts_with_what_is_in_flight(tmp_path: Path) -> None:
    """It does not grow from restart to restart."""
    with IdFile.claim(tmp_path) as file:
        in_flight = ResponsesInFlight(10, file)
        for number in range(100):
            in_flight.started(f"resp_{number}")
            in_flight.ended(f"resp_{number}")
        in_flight.started("resp_last")
    with IdFile.claim(tmp_path):
        assert (tmp_path / "responses-in-flight-0").read_text() == "+resp_last\n"


def test_the_file_of_a_worker_that_runs_for_long_is_rewritten(tmp_path: Path) -> None:
    with IdFile.claim(tmp_path) as file:
        file.append("+", "resp_first")
        for number in range(6_000):
            file.append("+", f"resp_{number}")
            file.append("-", f"resp_{number}")
        assert len((tmp_path / "responses-in-flight-0").read_text().splitlines()) < 3_000
        assert file.ids == ["resp_first"]


class OnAFullDisk(IdFile):
    """A file that takes nothing more."""

    def append(self, sign: str, response_id: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", f"{sign}{response_id}")


def test_a_full_disk_does_not_stop_the_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """But it is said in the log."""
    with (
        OnAFullDisk.claim(tmp_path) as file,
        caplog.at_level(logging.WARNING, "durable_responses.activities.admission"),
    ):
        in_flight = ResponsesInFlight(1, file)
        in_flight.started("resp_1")
    assert in_flight.ids == ["resp_1"]
    assert "No space left on device" in caplog.text


# --- responses that nobody here waits for ------------------------------------------------------------------------


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
