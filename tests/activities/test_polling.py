"""Waiting for a response in the background: the wait, the GETs of one response, and what all waits share."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from random import Random
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.messages import (
    PREVIEW_CHARACTERS,
    AwaitResponse,
    CreatePhase,
    FailureDetail,
    FailureType,
    HeartbeatDetails,
    ResponseRecord,
)
from durable_responses.activities.polling import Cadence, GetBudget, Reads, Waiters
from durable_responses.activities.records import record_of
from durable_responses.capabilities import Capabilities, Capability
from durable_responses.emulator.faults import BreakStream, Delay, Fault, Operation
from durable_responses.responses_api.client import ResponsesClient, Retrieved
from durable_responses.responses_api.models import CreateRequest, Response
from tests.responses_api.conftest import KEY
from tests.support.attempts import Attempt, Reports, activities_of
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Answer, Provider, Then, answer, event_stream

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


async def test_a_wall_clock_that_is_set_back_stops_no_wait(
    provider: Provider, api: ResponsesClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    provider.will(answer(RUNNING), answer(RUNNING), answer(DONE))
    budget = GetBudget(gets_per_second=100)
    async with asyncio.timeout(10):
        waiting = asyncio.create_task(wait(api, budget=budget))
        while not provider.asked:
            await asyncio.sleep(0.001)
        monkeypatch.setattr(time, "time", lambda: real() - 120)
        assert (await waiting).status == "completed"


@pytest.mark.parametrize("ahead", [-3600, 3600])
async def test_a_deadline_is_one_of_the_servers_clock(provider: Provider, api: ResponsesClient, ahead: float) -> None:
    """This machine's clock is an hour off."""
    provider.will(answer(RUNNING), answer(RUNNING), answer(DONE))
    server = datetime.now(UTC) - timedelta(seconds=ahead)
    attempt = Attempt()
    attempt.info = replace(attempt.info, started_time=server)
    in_time = await wait(api, wanted(deadline=server + timedelta(seconds=60)), attempt)
    provider.will(answer(RUNNING))
    too_late = await wait(api, wanted(deadline=server - timedelta(seconds=60)), attempt)
    assert (in_time.status, too_late.status) == ("completed", "in_progress")


async def test_the_first_get_waits_for_its_turn(provider: Provider, api: ResponsesClient) -> None:
    """A4: when a worker dies, another one begins to wait for all of its responses at once."""
    budget = GetBudget(gets_per_second=5)
    while not budget.take_turn():
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
    provider.will(answer(RUNNING), *[answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404)] * 4)
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


async def test_an_answer_without_an_end_does_not_outlast_the_deadline(provider: Provider, api: ResponsesClient) -> None:
    """A server that was not asked for a stream sends one, and signs of life for ever."""
    provider.will(event_stream(": ping\n\n", then=Then.DRIP))
    async with asyncio.timeout(60):
        record = await wait(api, wanted(deadline=seconds_from_now(-1)))
    assert (record.id, record.status) == ("resp_1", "in_progress")


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
    attempt = Attempt(
        2, earlier=HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1", preview="Half a sen")
    )
    record = await wait(api, wanted(deadline=seconds_from_now(-1)), attempt)
    assert (record.status, record.output_text) == ("in_progress", "Half a sen")


# --- heartbeats and reports --------------------------------------------------------------------------------------


async def test_a_wait_heartbeats_within_its_timeout_while_a_get_is_slow(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """Else every slow answer of the provider would look like a lost worker."""
    response = await create(emulated, "echo")
    await emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Delay(seconds=1)))
    assert await longest_silence(emulated, response) < HEARTBEAT_TIMEOUT


@pytest.mark.parametrize("every", [0.31, 0.44])
async def test_a_wait_heartbeats_within_its_timeout_however_often_it_looks(
    emulated: ResponsesClient, every: float
) -> None:
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
    earlier = HeartbeatDetails(phase=CreatePhase.CREATED, response_id=response, preview="What a lost worker had seen.")
    attempt = Attempt(2, earlier=earlier, heartbeat_timeout=HEARTBEAT_TIMEOUT)
    await wait(emulated, wanted(response), attempt)
    assert {heartbeat.preview for heartbeat in attempt.heartbeats} == {"What a lost worker had seen."}


async def test_beats_carry_status_and_the_end_of_the_text(provider: Provider, api: ResponsesClient) -> None:
    text = "".join(f"{number} " for number in range(3000))
    provider.will(answer(saying(text)), answer(DONE))
    attempt = Attempt()
    await wait(api, attempt=attempt)
    last = attempt.heartbeats[-1]
    assert (last.response_id, last.response_status) == ("resp_1", "in_progress")
    assert last.preview == text[-PREVIEW_CHARACTERS:]


async def test_a_growing_text_is_reported_to_the_run_again_and_again(
    provider: Provider, api: ResponsesClient, reports: Reports
) -> None:
    """So that `progress` stays fresh; on a clock that jumps a second whenever it is looked at."""
    provider.will(*(answer(saying("x" * length)) for length in range(1, 20)), answer(DONE))
    clock = count(time.time())
    await wait(api, attempt=Attempt(reports=reports), clock=lambda: lambda: next(clock))
    lengths = [len(report.preview or "") for report in reports.told]
    assert len(lengths) > 3
    assert lengths == sorted(set(lengths))


async def test_a_response_without_text_is_not_reported(
    provider: Provider, api: ResponsesClient, reports: Reports
) -> None:
    """A report is an event in history."""
    provider.will(*[answer(RUNNING)] * 20, answer(DONE))
    clock = count(time.time())
    await wait(api, attempt=Attempt(reports=reports), clock=lambda: lambda: next(clock))
    assert reports.told == []


# --- live preview ------------------------------------------------------------------------------------------------


async def test_a_live_preview_shows_the_text_while_it_is_written(emulated: ResponsesClient) -> None:
    """The JSON of an unfinished response does not tell its text."""
    response = await create(emulated, "write?words=200&seconds=60", stream=True)
    attempt = Attempt(heartbeat_timeout=HEARTBEAT_TIMEOUT)
    waiting = asyncio.create_task(wait(emulated, wanted(response, live_preview=True), attempt, cadence=RARELY))
    await until(lambda: len([heartbeat for heartbeat in attempt.heartbeats if heartbeat.preview]) >= 2)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first, second, *_ = [heartbeat.preview or "" for heartbeat in attempt.heartbeats if heartbeat.preview]
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
    earlier = HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1", preview="Half a sen")
    provider.will(answer(saying("Half")), answer(DONE))
    attempt = Attempt(2, earlier=earlier)
    await wait(api, attempt=attempt)
    assert {heartbeat.preview for heartbeat in attempt.heartbeats} == {"Half a sen"}


# --- the GETs of one response ------------------------------------------------------------------------------------


CREATED_AT = 1_000_000.0
UNDER_WAY = {"id": "resp_1", "status": "in_progress", "created_at": 1780000000}
WRITING = {**UNDER_WAY, "output": [{"type": "message", "content": [{"type": "output_text", "text": "So far"}]}]}
NOT_FOUND = answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404)
NO_ENDPOINT = answer(b"<html>404</html>", 404)
STEADY = Cadence(jitter=0)


@pytest.fixture
def reads(api: ResponsesClient) -> Reads:
    return Reads(api, "resp_1", CREATED_AT, STEADY)


async def failure_of(reads: Reads, age: float = 0.0) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await reads.read(CREATED_AT + age)
    return caught.value


async def test_a_read_brings_the_response(provider: Provider, reads: Reads) -> None:
    provider.will(answer(UNDER_WAY))
    response = await reads.read(CREATED_AT)
    assert response is not None
    assert (response.id, response.status) == ("resp_1", "in_progress")


async def test_of_what_was_read_last_the_output_is_kept(provider: Provider, reads: Reads) -> None:
    """At the deadline it is the answer. A response without any leaves nothing: thousands may be waited for."""
    provider.will(answer(UNDER_WAY), answer(WRITING))
    await reads.read(CREATED_AT)
    assert reads.record is None
    response = await reads.read(CREATED_AT)
    assert response is not None
    assert reads.record == record_of(response)


# --- GETs that fail ----------------------------------------------------------------------------------------------

PASSING: dict[str, Answer] = {
    **{str(status): answer({}, status) for status in (408, 409, 429, 499, 500, 502, 503, 504)},
    "closed": Answer(then=Then.CLOSE),
    "reset": Answer(then=Then.RESET),
    "cut": Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", Then.CLOSE),
}
FINAL: dict[str, tuple[Answer, FailureType]] = {
    "401": (answer({}, 401), FailureType.AUTHENTICATION_FAILED),
    "403": (answer({}, 403), FailureType.AUTHENTICATION_FAILED),
    "400": (answer({}, 400), FailureType.RESPONSE_LOST),
    "405": (answer({}, 405), FailureType.UNSUPPORTED_BY_PROVIDER),
}


@pytest.mark.parametrize("said", PASSING.values(), ids=PASSING)
async def test_a_failure_that_passes_is_no_response_yet(provider: Provider, reads: Reads, said: Answer) -> None:
    """A7."""
    provider.will(said, said)  # a GET that was cut off may be sent again on a new connection
    assert await reads.read(CREATED_AT) is None


async def test_a_provider_that_does_not_answer_is_given_up_for_this_time(provider: Provider) -> None:
    """A3, A7: the total timeout of a GET, shortened here."""
    provider.will(Answer(then=Then.HOLD))
    async with ResponsesClient(provider.url, KEY, read_timeout=0.1) as api:
        assert await Reads(api, "resp_1", CREATED_AT, STEADY).read(CREATED_AT) is None


@pytest.mark.parametrize(("said", "kind"), FINAL.values(), ids=FINAL)
async def test_a_failure_that_does_not_pass_ends_the_wait(
    provider: Provider, reads: Reads, said: Answer, kind: FailureType
) -> None:
    """A7: 401 and 403 end the run."""
    provider.will(said)
    error = await failure_of(reads)
    assert (error.type, error.non_retryable) == (kind, True)


PAGE = b"<!doctype html><title>Are you human?</title>"


@pytest.mark.parametrize("status", [400, 401, 403, 410])
async def test_a_page_of_somebody_between_us_and_the_provider_does_not_end_a_paid_response(
    provider: Provider, reads: Reads, status: int
) -> None:
    """A firewall's page says nothing of the response: it counts like a strange answer."""
    provider.will(*[answer(PAGE, status)] * 3, answer(DONE))
    for _ in range(3):
        assert await reads.read(CREATED_AT) is None
    assert (await reads.read(CREATED_AT)) is not None
    provider.will(*[answer(PAGE, status)] * 21)
    for _ in range(20):
        assert await reads.read(CREATED_AT) is None
    assert (await failure_of(reads)).non_retryable


@pytest.mark.parametrize("status", [500, 502, 503, 599])
async def test_a_server_that_fails_at_every_get_for_two_minutes_has_none(
    provider: Provider, api: ResponsesClient, status: int
) -> None:
    """LiteLLM in front of a chat model."""
    provider.rule = lambda _: answer({"error": {"message": "GET is not supported"}}, status)
    capabilities = Capabilities(provider.url)
    reads = Reads(api, "resp_1", CREATED_AT, STEADY, capabilities=capabilities)
    for age in (0, 60, 119):
        assert await reads.read(CREATED_AT + age) is None
    error = await failure_of(reads, age=120)
    assert (error.type, error.non_retryable) == (FailureType.UNSUPPORTED_BY_PROVIDER, True)
    assert "GET is not supported" in error.message
    assert capabilities.can(Capability.RETRIEVE) is False


async def test_an_outage_of_a_server_that_has_answered_a_get_is_waited_for(
    provider: Provider, api: ResponsesClient
) -> None:
    capabilities = Capabilities(provider.url)
    provider.will(answer(UNDER_WAY))
    await Reads(api, "resp_1", CREATED_AT, STEADY, capabilities=capabilities).read(CREATED_AT)
    provider.rule = lambda _: answer({}, 502)
    reads = Reads(api, "resp_2", CREATED_AT, STEADY, capabilities=capabilities)
    assert [await reads.read(CREATED_AT + age) for age in (0, 120, 3600)] == [None] * 3


@pytest.mark.parametrize("age", [0, 29])
async def test_a_response_need_not_be_found_just_after_its_create(provider: Provider, reads: Reads, age: float) -> None:
    provider.will(NOT_FOUND)
    assert await reads.read(CREATED_AT + age) is None


async def test_a_response_that_is_not_found_for_a_while_is_lost(provider: Provider, reads: Reads) -> None:
    """However long ago it was created: the first 404 that a worker sees proves nothing yet."""
    provider.will(*[NOT_FOUND] * 4)
    assert await reads.read(CREATED_AT + 3600) is None
    assert await reads.read(CREATED_AT + 3601) is None
    error = await failure_of(reads, age=3631)
    assert (error.type, error.non_retryable) == (FailureType.RESPONSE_LOST, True)
    assert error.details == (FailureDetail(response_id="resp_1"),)


async def test_a_response_that_was_there_and_is_gone_is_lost(provider: Provider, reads: Reads) -> None:
    """Once is not enough: one node of a provider may not know what the others do."""
    provider.will(answer(UNDER_WAY), *[NOT_FOUND] * 4)
    for _ in range(3):
        await reads.read(CREATED_AT)
    assert (await failure_of(reads)).type == FailureType.RESPONSE_LOST


async def test_a_completed_response_without_any_output_is_read_again_before_it_is_believed(
    provider: Provider, reads: Reads
) -> None:
    """Its status is stored before its output; believed at once, it would be created again."""
    provider.will(*[answer({"id": "resp_1", "status": "completed", "output": None})] * 4)
    for _ in range(3):
        assert await reads.read(CREATED_AT) is None
        assert (reads.finished, reads.failures) == (None, 0)
    await reads.read(CREATED_AT)
    assert reads.finished is not None


STRANGE: dict[str, Answer] = {
    "a page": NO_ENDPOINT,
    "a page with 200": answer(b"<html>Back soon</html>"),
    "no response": answer({"object": "list"}),
    "an error without an id": answer({"error": {"message": "no"}}),
    "half a body": answer(b'{"id": "resp_1", "status": "comp'),
    "nothing": answer(b""),
    "a resource that is locked": answer({}, 423),
    "the wrong server": answer({}, 421),
    "a status that nobody knows": answer(b"I'm a teapot", 418),
    "only the id": answer({"id": "resp_1"}),
}


@pytest.mark.parametrize("said", STRANGE.values(), ids=STRANGE)
async def test_strange_answers_are_read_again_a_bounded_number_of_times(
    provider: Provider, reads: Reads, said: Answer
) -> None:
    """The first one is no different: the id is the provider's own."""
    provider.will(*[said] * 21)
    for failures in range(1, 21):
        assert await reads.read(CREATED_AT) is None
        assert reads.failures == failures
        assert reads.last_error
    error = await failure_of(reads)
    assert error.non_retryable


async def test_a_server_that_never_knew_how_to_read_a_response_is_named_as_such(
    provider: Provider, reads: Reads
) -> None:
    provider.will(*[NO_ENDPOINT] * 3)
    for age in (0, 119):
        assert await reads.read(CREATED_AT + age) is None
    assert (await failure_of(reads, age=120)).type == FailureType.UNSUPPORTED_BY_PROVIDER


async def test_whatever_else_a_read_can_raise_counts_as_a_strange_answer(provider: Provider) -> None:
    class OutOfOrder(ResponsesClient):
        async def retrieve(self, response_id: str) -> Retrieved:
            raise TypeError(f"unsupported operand in {response_id}")

    async with OutOfOrder(provider.url, KEY) as api:
        reads = Reads(api, "resp_1", CREATED_AT, STEADY)
        for _ in range(20):
            assert await reads.read(CREATED_AT) is None
        assert (await failure_of(reads)).type == FailureType.MALFORMED_ANSWER


async def test_the_cause_of_failed_reads_is_shown_in_heartbeats(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer({}, 500), answer(DONE))
    attempt = Attempt()
    await wait(api, attempt=attempt)
    assert attempt.heartbeats[0].failed_reads == 1
    assert "status 500" in (attempt.heartbeats[0].read_error or "")


def test_the_pauses_after_failed_reads_grow_up_to_a_limit() -> None:
    pauses = [Cadence().back_off(failures) for failures in (1, 2, 3, 6, 7, 20, 100_000)]
    assert pauses == [0.5, 1, 2, 16, 30, 30, 30]


async def test_an_endpoint_that_was_there_before_is_there_again_later(provider: Provider, reads: Reads) -> None:
    """A7: a gateway that is out of order is no reason to lose a response that goes on."""
    provider.will(answer(UNDER_WAY), NO_ENDPOINT)
    await reads.read(CREATED_AT)
    assert await reads.read(CREATED_AT) is None


async def test_a_strange_answer_after_good_ones_does_not_lose_a_paid_response(provider: Provider, reads: Reads) -> None:
    """A7: but not for ever."""
    provider.will(answer(UNDER_WAY), *[answer({"no": "response"})] * 21)
    await reads.read(CREATED_AT)
    for _ in range(20):
        assert await reads.read(CREATED_AT) is None
    with pytest.raises(ApplicationError, match="malformed_answer"):
        await reads.read(CREATED_AT)


async def test_the_texts_of_failures_keep_status_and_request_id_and_no_key(provider: Provider, reads: Reads) -> None:
    """A25."""
    key = KEY.get_secret_value()
    provider.will(answer({"error": {"message": f"Bad key {key}."}}, 401, x_request_id="req_1"))
    error = await failure_of(reads)
    assert error.details == (FailureDetail(http_status=401, request_id="req_1", response_id="resp_1"),)
    assert key not in error.message
    assert error.__cause__ is None


# --- how long until the next GET ---------------------------------------------------------------------------------


async def waits(
    provider: Provider, reads: Reads, *answers: Answer, age: float = 0.0, share: float = 0.0
) -> list[float]:
    """The wait after each of these answers."""
    provider.will(*answers)
    seconds = []
    for _ in answers:
        await reads.read(CREATED_AT + age)
        seconds.append(round(reads.wait(CREATED_AT + age, share), 3))
    return seconds


async def test_the_wait_follows_the_cadence(provider: Provider, reads: Reads) -> None:
    """A4."""
    assert await waits(provider, reads, *[answer(UNDER_WAY)] * 9) == [
        *(0.4, 0.54, 0.729, 0.984, 1.328, 1.792, 2.419, 2.5, 2.5)
    ]


async def test_old_responses_are_read_less_often(provider: Provider, reads: Reads) -> None:
    """A4: by the age of the response, not by the time since this worker waits."""
    seconds = await waits(provider, reads, *[answer(UNDER_WAY)] * 20, age=240)
    assert seconds[-1] == 10


async def test_failures_are_waited_out_longer_and_longer(provider: Provider, reads: Reads) -> None:
    """A7."""
    assert await waits(provider, reads, *[answer({}, 500)] * 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_a_success_ends_the_back_off(provider: Provider, reads: Reads) -> None:
    """A7."""
    assert await waits(provider, reads, answer({}, 500), answer({}, 500), answer(UNDER_WAY)) == [0.5, 1, 0.729]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (answer(UNDER_WAY, openai_poll_after_ms="7000"), 7),
        (answer({}, 429, retry_after="7"), 7),
        (answer({}, 503, retry_after_ms="7000"), 7),
        (answer(UNDER_WAY, openai_poll_after_ms="1e12"), 300),
        (answer({}, 503, retry_after="1e9"), 300),
        (answer(UNDER_WAY, openai_poll_after_ms="1"), 0.4),
        (answer({}, 429, retry_after="0"), 0.5),
    ],
)
async def test_what_the_provider_asks_for_makes_the_wait_longer_never_shorter(
    provider: Provider, reads: Reads, said: Answer, seconds: float
) -> None:
    """A4."""
    assert await waits(provider, reads, said) == [seconds]


async def test_what_the_provider_asked_for_holds_once(provider: Provider, reads: Reads) -> None:
    """A4."""
    assert await waits(provider, reads, answer(UNDER_WAY, openai_poll_after_ms="7000"), answer(UNDER_WAY)) == [7, 0.54]


async def test_a_fair_share_of_the_budget_makes_the_wait_longer(provider: Provider, reads: Reads) -> None:
    """A4: ten thousand responses share 200 GETs a second."""
    assert await waits(provider, reads, answer(UNDER_WAY), share=50) == [50]


async def test_each_wait_has_its_own_jitter(provider: Provider, api: ResponsesClient) -> None:
    """A4: at most 149 ms, on top of whatever decides."""
    provider.will(answer(UNDER_WAY))
    reads = Reads(api, "resp_1", CREATED_AT, Cadence())
    await reads.read(CREATED_AT)
    drawn = [reads.wait(CREATED_AT, 3.0) for _ in range(100)]
    assert 3.0 <= min(drawn) < max(drawn) <= 3.149


# --- what the waits of one worker share: on a clock of numbers ---------------------------------------------------


def test_the_cadence_starts_at_once_and_grows_to_its_cap() -> None:
    """A4: 400, 540, 729, 984, 1328, 1792, 2419, 2500, 2500 ms."""
    waits = [round(Cadence().wait(gets, age=0) * 1000) for gets in range(1, 10)]
    assert waits == [400, 540, 729, 984, 1328, 1792, 2419, 2500, 2500]


@pytest.mark.parametrize(("age", "cap"), [(59, 2.5), (60, 2.5), (240, 10.0), (720, 30.0), (7200, 30.0)])
def test_the_cap_grows_with_the_age_of_an_old_response(age: float, cap: float) -> None:
    """A4: age / 24 from a minute on, at most 30 s."""
    assert Cadence().wait(100, age) == pytest.approx(cap)


def test_jitter_is_at_most_149_ms_and_not_compounded() -> None:
    """A4."""
    cadence, random = Cadence(), Random(1)
    jittered = [cadence.jittered(0.4, random) for _ in range(1000)]
    assert min(jittered) >= 0.4
    assert max(jittered) <= 0.4 + 0.149
    assert cadence.wait(2, 0) == 0.54


def test_first_interval_factor_and_cap_are_settings() -> None:
    """A4."""
    assert [Cadence(first=1, factor=2, cap=5).wait(gets, 0) for gets in range(1, 5)] == [1, 2, 4, 5]


def test_waiting_responses_share_the_budget_of_gets() -> None:
    """A4: never more GETs a second than the worker may send, however many responses are waited for."""
    budget = GetBudget(gets_per_second=200)
    with ExitStack() as waiting:
        waiting.enter_context(budget.shared())
        assert budget.fair_share == pytest.approx(1 / 200)
        for _ in range(9_999):
            waiting.enter_context(budget.shared())
        assert budget.fair_share == pytest.approx(50)


def test_gets_beyond_the_budget_of_a_second_take_turns() -> None:
    """A4: also the first ones, when a worker takes over thousands of waits at once."""
    budget = GetBudget(gets_per_second=8, now=lambda: 100.0)
    turns = [budget.take_turn() for _ in range(17)]
    assert turns == [0.0] * 9 + [n / 8 for n in range(1, 9)]


def test_no_more_than_a_quiet_second_is_saved_up() -> None:
    now = 100.0
    budget = GetBudget(gets_per_second=8, now=lambda: now)
    budget.take_turn()
    now = 300.0
    assert sum(budget.take_turn() == 0.0 for _ in range(30)) == 9
