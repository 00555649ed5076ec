"""Waiting for a response in the background: until it is finished, or for its state at the deadline."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.messages import (
    PREVIEW_CHARACTERS,
    AwaitResponse,
    Beat,
    CreatePhase,
    FailureType,
    ResponseRecord,
)
from durable_responses.activities.records import record_of
from durable_responses.activities.waiting import Cadence, GetBudget, Waiters
from durable_responses.emulator.faults import BreakStream, Delay, Fault, Operation
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import CreateRequest, Response
from tests.support.attempts import Attempt, Reports, activities_of
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Provider, answer

RUNNING: dict[str, Any] = {"id": "resp_1", "status": "in_progress", "output": []}
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
DONE = RUNNING | {"status": "completed", "output": [MESSAGE]}
RARELY = Cadence(first=60)
HEARTBEAT_TIMEOUT = 0.6


def saying(text: str) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return RUNNING | {"output": [message]}


def wanted(response_id: str = "resp_1", **fields: Any) -> AwaitResponse:
    return AwaitResponse(response_id=response_id, created_at=datetime.now(UTC), **fields)


def seconds_from_now(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def wait(
    client: ResponsesClient, wait: AwaitResponse | None = None, attempt: Attempt | None = None, **parts: Any
) -> ResponseRecord:
    """Run `await_response`."""
    activities = activities_of(client, **parts)
    return await (attempt or Attempt()).run(activities.await_response, wait or wanted())


async def create(client: ResponsesClient, scenario: str, **fields: Any) -> str:
    """Create a response at the emulator; returns its id."""
    request = CreateRequest(model=f"scenario:{scenario}", input="Go on.", background=True, store=True, **fields)
    if not fields.get("stream"):
        return (await client.create(request)).id
    async with client.stream(request) as events:
        created: Any = await anext(events)
    return str(created.response.id)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


# --- until it is finished ----------------------------------------------------------------------------------------


async def test_a_wait_brings_the_finished_response(emulated: ResponsesClient) -> None:
    response = await create(emulated, "think?seconds=0.2")
    record = await wait(emulated, wanted(response))
    assert (record.id, record.status, record.output_text) == (response, "completed", "Done thinking.")


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "cancelled", "archived"])
async def test_any_other_status_than_queued_and_in_progress_ends_the_wait(
    provider: Provider, api: ResponsesClient, status: str
) -> None:
    """A5: unknown ones included."""
    provider.will(answer(RUNNING | {"status": "queued"}), answer(RUNNING), answer(RUNNING | {"status": status}))
    assert (await wait(api)).status == status


async def test_the_first_get_is_sent_at_once(provider: Provider, api: ResponsesClient) -> None:
    """A4: a response that is ready is not waited for."""
    provider.will(answer(DONE))
    assert (await wait(api, cadence=RARELY)).status == "completed"


async def test_a_response_of_a_second_takes_four_gets(emulator: RunningEmulator, emulated: ResponsesClient) -> None:
    """A4: by the standard cadence; never 20 a second."""
    response = await create(emulated, "think?seconds=1")
    await wait(emulated, wanted(response), cadence=Cadence())
    assert (await emulator.control.billing()).counts.gets in (3, 4)


async def test_the_first_get_waits_for_its_turn(provider: Provider, api: ResponsesClient) -> None:
    """A4: when a worker dies, another one begins to wait for all of its responses at once."""
    budget = GetBudget(gets_per_second=5)
    while not budget.take_turn(time.time()):
        pass
    provider.will(answer(DONE))
    began = time.time()
    await wait(api, budget=budget)
    assert time.time() - began > 0.15


async def test_gets_that_fail_do_not_end_the_wait(provider: Provider, api: ResponsesClient) -> None:
    """A7."""
    provider.will(answer({}, 500), answer({}, 429), answer(DONE))
    assert (await wait(api)).status == "completed"


async def test_a_response_that_is_gone_is_lost(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(RUNNING), answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404))
    with pytest.raises(ApplicationError) as caught:
        await wait(api)
    assert (caught.value.type, caught.value.non_retryable) == (FailureType.RESPONSE_LOST, True)


async def test_a_further_attempt_goes_on_by_the_id(provider: Provider, api: ResponsesClient) -> None:
    """A20: whatever became of the worker before."""
    provider.will(answer(DONE))
    assert (await wait(api, attempt=Attempt(7))).status == "completed"


async def test_what_somebody_else_saw_ends_the_wait_at_once(provider: Provider, api: ResponsesClient) -> None:
    """A8: the cancel of the response on the same worker."""
    provider.will(answer(RUNNING))
    waiters = Waiters()
    waiting = asyncio.create_task(wait(api, cadence=RARELY, waiters=waiters))
    await until(lambda: provider.asked and "resp_1" in waiters)
    cancelled = record_of(Response.model_validate(RUNNING | {"status": "cancelled"}))
    waiters.tell("resp_1", cancelled)
    assert await asyncio.wait_for(waiting, 2) == cancelled
    assert "resp_1" not in waiters


async def test_a_worker_that_shuts_down_lets_go_of_its_waits(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(RUNNING))
    attempt = Attempt()
    waiting = asyncio.create_task(wait(api, attempt=attempt, cadence=RARELY))
    await until(lambda: provider.asked)
    attempt.cancel(ActivityCancellationDetails(worker_shutdown=True))
    with pytest.raises(asyncio.CancelledError):
        await waiting


# --- admission ---------------------------------------------------------------------------------------------------


async def test_a_finished_response_is_no_longer_in_flight(provider: Provider, api: ResponsesClient) -> None:
    """A21."""
    provider.will(answer(DONE))
    in_flight = ResponsesInFlight(10)
    in_flight.started("resp_1")
    await wait(api, in_flight=in_flight)
    assert in_flight.ids == []


async def test_a_response_that_goes_on_beyond_the_deadline_is_in_flight(
    provider: Provider, api: ResponsesClient
) -> None:
    """A21: until it is cancelled."""
    provider.will(answer(RUNNING))
    in_flight = ResponsesInFlight(10)
    in_flight.started("resp_1")
    await wait(api, wanted(deadline=seconds_from_now(-1)), in_flight=in_flight)
    assert in_flight.ids == ["resp_1"]


# --- the deadline ------------------------------------------------------------------------------------------------


async def test_a_last_get_at_the_deadline_finds_an_answer_that_is_ready(
    provider: Provider, api: ResponsesClient
) -> None:
    """A6: the sleep is clamped to the deadline."""
    provider.will(answer(RUNNING), answer(DONE))
    since = time.monotonic()
    record = await wait(api, wanted(deadline=seconds_from_now(0.4)), cadence=RARELY)
    assert (record.status, record.output_text) == ("completed", "Hello.")
    assert 0.35 < time.monotonic() - since < 2


async def test_a_deadline_that_is_over_leaves_time_for_one_get(provider: Provider, api: ResponsesClient) -> None:
    """A6: the wait may come to another worker late."""
    provider.will(answer(DONE))
    assert (await wait(api, wanted(deadline=seconds_from_now(-60)))).status == "completed"


async def test_a_response_that_is_not_finished_by_then_is_brought_with_its_text_so_far(
    provider: Provider, api: ResponsesClient
) -> None:
    """A6: the run cancels it."""
    provider.will(answer(saying("Half a sen")))
    record = await wait(api, wanted(deadline=seconds_from_now(-1)))
    assert (record.id, record.status, record.output_text) == ("resp_1", "in_progress", "Half a sen")


async def test_the_text_so_far_is_that_of_the_preview_where_the_response_does_not_tell_it(
    provider: Provider, api: ResponsesClient
) -> None:
    """A6: also when the last GET fails."""
    provider.will(answer({}, 500))
    attempt = Attempt(2, earlier=Beat(phase=CreatePhase.CREATED, response_id="resp_1", preview="Half a sen"))
    record = await wait(api, wanted(deadline=seconds_from_now(-1)), attempt)
    assert (record.status, record.output_text) == ("in_progress", "Half a sen")


# --- heartbeats and reports --------------------------------------------------------------------------------------


async def test_a_wait_beats_within_its_timeout_while_a_get_is_slow(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """Else every slow answer of the provider would look like a lost worker."""
    response = await create(emulated, "echo")
    await emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Delay(seconds=1)))
    assert await longest_silence(emulated, response) < HEARTBEAT_TIMEOUT


@pytest.mark.parametrize("every", [0.31, 0.44])
async def test_a_wait_beats_within_its_timeout_however_often_it_looks(emulated: ResponsesClient, every: float) -> None:
    """The pauses between GETs need not fit the heartbeats."""
    response = await create(emulated, "think?seconds=1")
    cadence = Cadence(first=every, factor=1, cap=every, jitter=0)
    assert await longest_silence(emulated, response, cadence=cadence) < HEARTBEAT_TIMEOUT


async def longest_silence(client: ResponsesClient, response: str, **parts: Any) -> float:
    """Wait for a response, and return the longest time without a heartbeat. Seconds."""
    attempt = Attempt(heartbeat_timeout=HEARTBEAT_TIMEOUT)
    began = time.time()
    await wait(client, wanted(response), attempt, **parts)
    times = [began, *(at for at, _ in attempt.told), time.time()]
    return max(later - earlier for earlier, later in pairwise(times))


async def test_an_attempt_goes_on_with_the_preview_of_the_one_before(emulated: ResponsesClient) -> None:
    """A20: what was seen is not lost with a worker."""
    response = await create(emulated, "think?seconds=0.3")
    earlier = Beat(phase=CreatePhase.CREATED, response_id=response, preview="What a lost worker had seen.")
    attempt = Attempt(2, earlier=earlier, heartbeat_timeout=HEARTBEAT_TIMEOUT)
    await wait(emulated, wanted(response), attempt)
    assert {beat.preview for beat in attempt.beats} == {"What a lost worker had seen."}


async def test_beats_carry_status_and_the_end_of_the_text(provider: Provider, api: ResponsesClient) -> None:
    text = "".join(f"{number} " for number in range(3000))
    provider.will(answer(saying(text)), answer(DONE))
    attempt = Attempt()
    await wait(api, attempt=attempt)
    last = attempt.beats[-1]
    assert (last.response_id, last.response_status) == ("resp_1", "in_progress")
    assert last.preview == text[-PREVIEW_CHARACTERS:]


async def test_a_growing_text_is_reported_to_the_run_again_and_again(
    provider: Provider, api: ResponsesClient, reports: Reports
) -> None:
    """So that `progress` stays fresh; on a clock that jumps a second whenever it is looked at."""
    provider.will(*(answer(saying("x" * length)) for length in range(1, 20)), answer(DONE))
    clock = count(time.time())
    await wait(api, attempt=Attempt(reports=reports), now=lambda: next(clock))
    lengths = [len(report.preview or "") for report in reports.told]
    assert len(lengths) > 3
    assert lengths == sorted(set(lengths))


async def test_a_response_without_text_is_not_reported(
    provider: Provider, api: ResponsesClient, reports: Reports
) -> None:
    """A report is an event in history."""
    provider.will(*[answer(RUNNING)] * 20, answer(DONE))
    clock = count(time.time())
    await wait(api, attempt=Attempt(reports=reports), now=lambda: next(clock))
    assert reports.told == []


# --- live preview ------------------------------------------------------------------------------------------------


async def test_a_live_preview_shows_the_text_while_it_is_written(emulated: ResponsesClient) -> None:
    """The JSON of an unfinished response does not tell its text."""
    response = await create(emulated, "write?words=200&seconds=60", stream=True)
    attempt = Attempt(heartbeat_timeout=HEARTBEAT_TIMEOUT)
    waiting = asyncio.create_task(wait(emulated, wanted(response, live_preview=True), attempt, cadence=RARELY))
    await until(lambda: len([beat for beat in attempt.beats if beat.preview]) >= 2)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first, second, *_ = [beat.preview or "" for beat in attempt.beats if beat.preview]
    assert second.startswith(first)
    assert len(second) > len(first)


async def test_without_it_nothing_is_streamed(provider: Provider, api: ResponsesClient) -> None:
    """A2."""
    provider.will(answer(RUNNING), answer(DONE))
    await wait(api)
    assert {asked.target for asked in provider.asked} == {"/v1/responses/resp_1"}


async def test_the_answer_comes_by_get_although_the_preview_breaks(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A27: the stream is for the eyes only."""
    response = await create(emulated, "write?words=20&seconds=0.5", stream=True)
    effect = BreakStream(after_events=4)
    await emulator.control.add_fault(Fault(operation=Operation.STREAM, effect=effect, times=None))
    record = await wait(emulated, wanted(response, live_preview=True))
    assert (record.status, record.output_text.split()[-1]) == ("completed", "word20")


async def test_a_preview_that_is_not_to_be_had_is_done_without(emulated: ResponsesClient) -> None:
    response = await create(emulated, "think?seconds=0.2")  # created without `stream`
    assert (await wait(emulated, wanted(response, live_preview=True))).status == "completed"


async def test_a_stream_that_is_followed_anew_does_not_turn_the_preview_back(
    provider: Provider, api: ResponsesClient
) -> None:
    """After a crash it starts at the beginning."""
    earlier = Beat(phase=CreatePhase.CREATED, response_id="resp_1", preview="Half a sen")
    provider.will(answer(saying("Half")), answer(DONE))
    attempt = Attempt(2, earlier=earlier)
    await wait(api, attempt=attempt)
    assert {beat.preview for beat in attempt.beats} == {"Half a sen"}
