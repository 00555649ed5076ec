"""Creating a response in the background: sent once, and again only where the provider provably did not take it."""

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import AsyncActivityCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.claims import Claims
from durable_responses.activities.create import Sending
from durable_responses.activities.heartbeats import Heartbeats
from durable_responses.activities.messages import (
    CreatedResponse,
    CreatePhase,
    CreateResponse,
    FailureDetail,
    FailureType,
    HeartbeatDetails,
    ModelOptions,
    Opening,
)
from durable_responses.emulator.faults import Answer, Delay, Fault, Operation, Reset
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import Busy
from tests.responses_api.conftest import KEY
from tests.support.attempts import Attempt, Reports, activities_of
from tests.support.emulator_control import EmulatorControl, RunningEmulator
from tests.support.processes import free_port
from tests.support.provider import Answer as Bytes
from tests.support.provider import Provider, Then, answer, event_stream

QUEUED = {"id": "resp_1", "object": "response", "status": "queued", "model": "gpt-5.4", "output": []}
CREATED = {"type": "response.created", "sequence_number": 0, "response": QUEUED}
DROPPED = Bytes(then=Then.CLOSE)  # taken by the provider, who does not answer
SILENT = Bytes(then=Then.HOLD)


def request(**fields: object) -> CreateResponse:
    given = {"options": ModelOptions(), "iteration": 1, "opening": Opening(task="Go on."), **fields}
    return CreateResponse.model_validate(given)


async def create(
    client: ResponsesClient, attempt: Attempt | None = None, wanted: CreateResponse | None = None, **parts: Any
) -> CreatedResponse:
    """Run `create_response`."""
    activities = activities_of(client, **parts)
    return await (attempt or Attempt()).run(activities.create_response, wanted or request())


async def failure(
    client: ResponsesClient, attempt: Attempt | None = None, wanted: CreateResponse | None = None, **parts: Any
) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await create(client, attempt, wanted, **parts)
    return caught.value


def phases(attempt: Attempt) -> list[CreatePhase | None]:
    return [heartbeat.phase for heartbeat in attempt.heartbeats]


async def refuse(control: EmulatorControl, *, times: int = 1, status: int = 503, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fault = Fault(operation=Operation.CREATE, effect=Answer(status=status, headers=named), times=times)
    await control.add_fault(fault)


# --- one create --------------------------------------------------------------------------------------------------


async def test_the_id_is_known_as_soon_as_the_create_returned(emulated: ResponsesClient) -> None:
    """A19: long before the response is finished."""
    created = await create(emulated, wanted=request(options=ModelOptions(metadata={"scenario": "think?seconds=60"})))
    assert (created.status, created.model) == ("queued", "gpt-5.4")
    assert (await emulated.retrieve(created.response_id)).response.status == "in_progress"


async def test_a_create_runs_in_the_background_and_is_stored(provider: Provider, api: ResponsesClient) -> None:
    """A2: `background: true`, `store: true`, `stream: false`."""
    provider.will(answer(QUEUED))
    await create(api)
    body = provider.asked[0].json
    assert (body["background"], body["store"], body["stream"]) == (True, True, False)


async def test_a_create_streams_only_to_be_previewed(provider: Provider, api: ResponsesClient) -> None:
    """A2: `stream: true` only with `live_preview`; the id is known without waiting for the stream's end."""
    provider.will(event_stream(CREATED, then=Then.HOLD))
    created = await create(api, wanted=request(options=ModelOptions(live_preview=True)))
    body = provider.asked[0].json
    assert (body["background"], body["store"], body["stream"]) == (True, True, True)
    assert created == CreatedResponse(response_id="resp_1", status="queued", model="gpt-5.4")


async def test_a_response_that_was_created_counts_as_in_flight(emulated: ResponsesClient) -> None:
    """A21."""
    in_flight = ResponsesInFlight(10)
    created = await create(emulated, in_flight=in_flight)
    assert in_flight.ids == [created.response_id]


# --- what its heartbeats say -------------------------------------------------------------------------------------


async def test_a_create_that_is_answered_at_once_sends_no_heartbeat(emulated: ResponsesClient) -> None:
    """Its result says the same; and without a heartbeat it counts as sent."""
    attempt = Attempt()
    await create(emulated, attempt)
    assert phases(attempt) == []
    assert (await failure(emulated, Attempt(2))).type == FailureType.CREATE_AMBIGUOUS


async def test_the_first_heartbeat_of_a_create_says_that_it_is_being_sent(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    """Anything else could still be the last word at the server when the worker dies with the POST under way."""
    fault = Fault(operation=Operation.CREATE, effect=Delay(seconds=60))
    await emulator.control.add_fault(fault)
    attempt = Attempt(reports=reports)
    creating = asyncio.create_task(create(emulated, attempt))
    await reached(attempt, [CreatePhase.POSTING])
    creating.cancel()


async def test_the_heartbeat_of_a_further_post_is_at_the_server_before_the_post(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    await refuse(emulator.control)
    attempt = Attempt(reports=reports)
    await create(emulated, attempt)
    assert phases(attempt) == [CreatePhase.REJECTED, CreatePhase.POSTING]
    await assert_was_announced(emulator, reports)


async def test_the_heartbeat_of_an_attempt_after_a_rejected_one_is_at_the_server_before_the_post(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    await create(emulated, Attempt(2, earlier=HeartbeatDetails(phase=CreatePhase.REJECTED), reports=reports))
    await assert_was_announced(emulator, reports)


async def test_after_an_ambiguous_create_the_server_knows_of_the_post_before_it_is_sent(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    await create(emulated, Attempt(reports=reports), request(attempt=2))
    await assert_was_announced(emulator, reports)


async def test_so_an_attempt_of_it_that_left_no_heartbeat_has_not_sent(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """Nobody had begun it: it lay in a worker that was frozen with several polls."""
    await create(emulated, Attempt(2), request(attempt=2))
    error = await failure(emulated, Attempt(2, earlier=HeartbeatDetails(phase=CreatePhase.POSTING)), request(attempt=2))
    assert error.type == FailureType.CREATE_AMBIGUOUS
    assert len(await emulator.control.responses()) == 1


async def assert_was_announced(emulator: RunningEmulator, reports: Reports) -> None:
    """One heartbeat was answered, and before the response was created."""
    [(at, heartbeat)] = reports.proofs
    [response] = await emulator.control.responses()
    assert heartbeat.phase is CreatePhase.POSTING
    assert at < response.created_at


# --- whose attempt it is -----------------------------------------------------------------------------------------


async def test_an_attempt_that_begins_in_time_asks_nobody(emulated: ResponsesClient, reports: Reports) -> None:
    await create(emulated, Attempt(reports=reports, heartbeat_timeout=5))
    assert reports.proofs == []


async def test_a_late_attempt_sends_nothing_before_the_server_has_heard_of_it(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    await create(emulated, Attempt(reports=reports, heartbeat_timeout=5, age=28))
    await assert_was_announced(emulator, reports)


async def test_an_attempt_that_was_given_to_others_sends_nothing(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    reports.answers = [RPCError("not found", RPCStatusCode.NOT_FOUND, b"")]
    error = await failure(emulated, Attempt(reports=reports, heartbeat_timeout=5, age=28))
    assert error.type == FailureType.ATTEMPT_OVER
    assert await emulator.control.responses() == []


async def test_an_attempt_that_was_lost_while_the_provider_was_busy_sends_nothing_again(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    await refuse(emulator.control, times=1)
    reports.answers = [RPCError("not found", RPCStatusCode.NOT_FOUND, b"")]
    attempt = Attempt(reports=reports, heartbeat_timeout=5)
    assert (await failure(emulated, attempt)).type == FailureType.ATTEMPT_OVER
    assert phases(attempt)[-1] is CreatePhase.REJECTED
    assert await emulator.control.responses() == []


@pytest.mark.parametrize("live_preview", [False, True])
async def test_an_attempt_that_was_lost_while_it_connected_sends_no_last_byte(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports, live_preview: bool
) -> None:
    """It stood still between its announcement and the sending."""
    reports.answers = [RPCError("not found", RPCStatusCode.NOT_FOUND, b"")] * 2
    frozen_at_the_third_look = itertools.chain([0.0, 0.0], itertools.repeat(28.0))
    claims = Claims(lambda: next(frozen_at_the_third_look), lambda: 0.0)
    attempt = Attempt(reports=reports, heartbeat_timeout=5)
    wanted = request(options=ModelOptions(live_preview=live_preview))
    assert (await failure(emulated, attempt, wanted, claims=claims)).type == FailureType.ATTEMPT_OVER
    assert len(reports.proofs) == 2
    assert await emulator.control.responses() == []


async def test_a_late_attempt_of_a_run_that_was_cancelled_sends_nothing(
    emulator: RunningEmulator, emulated: ResponsesClient, reports: Reports
) -> None:
    """The SDK hears of the cancel by its next heartbeat."""
    cancel = ActivityCancellationDetails(cancel_requested=True)
    reports.answers = [AsyncActivityCancelledError(cancel)]
    attempt = Attempt(reports=reports, heartbeat_timeout=5, age=28)
    creating = asyncio.create_task(create(emulated, attempt))
    await reached(attempt, [CreatePhase.POSTING, CreatePhase.POSTING])
    attempt.cancel(cancel)
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert await emulator.control.responses() == []


# --- what another attempt may do ---------------------------------------------------------------------------------


async def test_an_attempt_that_finds_an_id_creates_nothing(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A9: the response is looked after all the same."""
    in_flight = ResponsesInFlight(10)
    attempt = Attempt(2, earlier=HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1"))
    assert (await create(emulated, attempt, in_flight=in_flight)).response_id == "resp_1"
    assert in_flight.ids == ["resp_1"]
    assert await emulator.control.responses() == []


@pytest.mark.parametrize(
    "heartbeat", [None, HeartbeatDetails(phase=CreatePhase.POSTING)], ids=["no heartbeat", "posting"]
)
async def test_an_attempt_whose_forerunner_may_have_sent_does_not_send(
    emulator: RunningEmulator, emulated: ResponsesClient, heartbeat: HeartbeatDetails | None
) -> None:
    error = await failure(emulated, Attempt(2, earlier=heartbeat))
    assert (error.type, error.non_retryable) == (FailureType.CREATE_AMBIGUOUS, True)
    assert await emulator.control.responses() == []


@pytest.mark.parametrize("number", [1, 2])
async def test_a_heartbeat_counts_whatever_the_number_of_the_attempt_is(
    emulator: RunningEmulator, emulated: ResponsesClient, number: int
) -> None:
    """An operator may set the number back, and keeps the heartbeat."""
    found = await create(
        emulated, Attempt(number, earlier=HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1"))
    )
    error = await failure(emulated, Attempt(number, earlier=HeartbeatDetails(phase=CreatePhase.POSTING)))
    assert found.response_id == "resp_1"
    assert error.type == FailureType.CREATE_AMBIGUOUS
    assert await emulator.control.responses() == []


async def test_an_attempt_that_failed_before_it_sent_anything_lets_the_next_one_send(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A stored response could not be read for now: that is no ambiguous create."""
    stored = await create(emulated)
    await emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Answer(status=500)))
    first = Attempt()
    wanted = request(rebuild_from=[stored.response_id])
    error = await failure(emulated, first, wanted)
    second = Attempt(2, earlier=first.heartbeats[-1])
    assert error.type == FailureType.TRY_LATER
    assert (await create(emulated, second, wanted)).response_id != stored.response_id


# --- turned away -------------------------------------------------------------------------------------------------


async def test_what_the_provider_turned_away_is_sent_again(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    await refuse(emulator.control, status=429, retry_after="0.3")
    await create(emulated)
    counts = (await emulator.control.billing()).counts
    assert (counts.creates_rejected, counts.creates_accepted) == (1, 1)


async def test_it_is_sent_again_when_the_provider_says(emulator: RunningEmulator, emulated: ResponsesClient) -> None:
    await refuse(emulator.control, retry_after="0.8")
    since = time.monotonic()
    await create(emulated)
    assert time.monotonic() - since > 0.8


async def test_a_provider_that_asks_for_no_delay_is_not_flooded(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    await refuse(emulator.control, retry_after="0")
    since = time.monotonic()
    await create(emulated)
    assert time.monotonic() - since > 0.5


async def test_a_provider_that_is_not_there_is_tried_again() -> None:
    """The attempts go on, until the worker is shut down."""
    attempt = Attempt()
    async with ResponsesClient(f"http://127.0.0.1:{free_port()}/v1", KEY) as client:
        creating = asyncio.create_task(failure(client, attempt))
        await reached(attempt, [CreatePhase.REJECTED, CreatePhase.POSTING, CreatePhase.REJECTED])
        attempt.worker_shutdown()
        assert (await creating).type == FailureType.TRY_LATER


async def reached(attempt: Attempt, said: list[CreatePhase]) -> None:
    async with asyncio.timeout(5):
        while phases(attempt) != said:
            await asyncio.sleep(0.01)


async def test_a_create_does_not_hold_its_slot_for_minutes(provider: Provider, api: ResponsesClient) -> None:
    """A21: Temporal sends it again after the delay that the provider asks for."""
    provider.will(answer({}, 429, retry_after="300"))
    attempt = Attempt()
    error = await failure(api, attempt)
    assert (error.type, error.next_retry_delay) == (FailureType.TRY_LATER, timedelta(seconds=300))
    assert attempt.heartbeats[-1].phase is CreatePhase.REJECTED


async def test_a_create_is_handed_over_when_its_worker_shuts_down(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer({}, 503, retry_after="60"))
    attempt = Attempt()
    creating = asyncio.create_task(failure(api, attempt))
    await reached(attempt, [CreatePhase.REJECTED])
    attempt.worker_shutdown()
    assert (await creating).type == FailureType.TRY_LATER


async def test_a_create_that_is_cancelled_while_turned_away_is_not_sent_again(
    provider: Provider, api: ResponsesClient
) -> None:
    """A9."""
    provider.will(answer({}, 503, retry_after="60"))
    attempt = Attempt()
    creating = asyncio.create_task(create(api, attempt))
    await reached(attempt, [CreatePhase.REJECTED])
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert len(provider.asked) == 1


# --- the deadline ------------------------------------------------------------------------------------------------


def seconds_from_now(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_nothing_is_sent_past_the_deadline(provider: Provider, api: ResponsesClient) -> None:
    """A6."""
    error = await failure(api, wanted=request(deadline=seconds_from_now(-1)))
    assert (error.type, error.non_retryable) == (FailureType.DEADLINE_PASSED, True)
    assert provider.asked == []


async def test_the_deadline_of_a_create_is_one_of_the_servers_clock(emulated: ResponsesClient) -> None:
    """This machine's clock is an hour ahead."""
    await create(emulated, Attempt(age=3600), request(deadline=seconds_from_now(-3000)))


async def test_a_create_is_not_held_back_beyond_the_deadline(provider: Provider, api: ResponsesClient) -> None:
    """A6."""
    provider.will(answer({}, 503, retry_after="60"))
    error = await failure(api, wanted=request(deadline=seconds_from_now(2)))
    assert error.type == FailureType.DEADLINE_PASSED


# --- ambiguous, and final ----------------------------------------------------------------------------------------

AMBIGUOUS: dict[str, Bytes] = {
    "500": answer({}, 500),
    "502": answer(b"<html>Bad gateway</html>", 502),
    "504": answer({}, 504),
    "408": answer({}, 408),
    "closed": DROPPED,
    "reset": Bytes(then=Then.RESET),
    "cut": Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", Then.CLOSE),
    "no response": answer({"object": "list"}),
    "no JSON": answer(b"<html>"),
    "silent": SILENT,
}
PERMANENT: dict[str, tuple[Bytes, FailureType]] = {
    "400": (answer({"error": {"message": "No."}}, 400), FailureType.BAD_REQUEST),
    "401": (answer({}, 401), FailureType.AUTHENTICATION_FAILED),
    "403": (answer({}, 403), FailureType.AUTHENTICATION_FAILED),
    "model": (answer({"error": {"message": "No such model."}}, 404), FailureType.NOT_FOUND),
    "endpoint": (answer(b"", 404), FailureType.UNSUPPORTED_BY_PROVIDER),
    "quota": (
        answer({"error": {"message": "Pay.", "code": "insufficient_quota"}}, 429),
        FailureType.QUOTA_EXHAUSTED,
    ),
    "chain": (
        answer({"error": {"message": "Gone.", "code": "previous_response_not_found"}}, 400),
        FailureType.CHAIN_REJECTED,
    ),
}


@pytest.mark.parametrize("said", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_create_that_may_have_been_taken_is_not_sent_again(provider: Provider, said: Bytes) -> None:
    """A2: after the create's timeout too. The run decides what becomes of it."""
    provider.will(said)
    async with ResponsesClient(provider.url, KEY, create_timeout=0.2) as client:
        error = await failure(client, answer_within=0.2)
    assert (error.type, error.non_retryable) == (FailureType.CREATE_AMBIGUOUS, True)
    assert len(provider.asked) == 1


@pytest.mark.parametrize("said", [DROPPED, SILENT, event_stream(then=Then.CLOSE), event_stream(then=Then.HOLD)])
async def test_a_create_for_a_preview_that_may_have_been_taken_is_not_sent_again(
    provider: Provider, api: ResponsesClient, said: Bytes
) -> None:
    """A2: the timeout holds for each byte up to its first event."""
    provider.will(said)
    wanted = request(options=ModelOptions(live_preview=True))
    error = await failure(api, wanted=wanted, first_event=0.2, answer_within=0.2)
    assert (error.type, error.non_retryable) == (FailureType.CREATE_AMBIGUOUS, True)
    assert len(provider.asked) == 1


@pytest.mark.parametrize(("said", "kind"), PERMANENT.values(), ids=PERMANENT)
async def test_a_refusal_for_good_is_not_sent_again(
    provider: Provider, api: ResponsesClient, said: Bytes, kind: FailureType
) -> None:
    provider.will(said)
    error = await failure(api)
    assert (error.type, error.non_retryable) == (kind, True)
    assert len(provider.asked) == 1


async def test_an_answer_that_nobody_can_read_is_not_taken_for_a_lost_worker() -> None:
    """Whatever reading an answer raises: the run learns it at once, and nothing is sent again."""
    sent = 0

    async def post() -> str:
        nonlocal sent
        sent += 1
        raise OverflowError("A number that no date has.")

    async def creating() -> str:
        async with Heartbeats() as heartbeats:
            return await Sending(Claims().begin(), None, time.time).until_taken(post, heartbeats)

    with pytest.raises(ApplicationError, match="the answer cannot be read") as caught:
        await Attempt().run(creating)
    assert (caught.value.type, caught.value.non_retryable, sent) == (FailureType.CREATE_AMBIGUOUS, True, 1)


async def test_a_connection_that_is_reset_after_the_provider_took_the_request_is_one_create(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=Reset(processed=True)))
    assert (await failure(emulated)).type == FailureType.CREATE_AMBIGUOUS
    assert len(await emulator.control.responses()) == 1


# --- cancelled in the middle -------------------------------------------------------------------------------------


async def test_a_create_that_is_cancelled_while_it_is_sent_still_tells_its_id(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A9: so that the run can cancel the response that was created."""
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=Delay(seconds=0.3, processed=True)))
    attempt = Attempt()
    creating = asyncio.create_task(create(emulated, attempt))
    async with asyncio.timeout(5):
        while not (responses := await emulator.control.responses()):
            await asyncio.sleep(0.01)
    attempt.cancel()
    assert (await creating).response_id == responses[0].id


async def test_a_create_that_is_cancelled_and_then_turned_away_is_not_sent_again() -> None:
    """A9: the cancel came while it was sent."""
    sent = 0
    under_way, answered = asyncio.Event(), asyncio.Event()

    async def post() -> str:
        nonlocal sent
        sent += 1
        under_way.set()
        await answered.wait()
        raise Busy("Not now.", retry_after=0.01)

    async def creating() -> str:
        async with Heartbeats() as heartbeats:
            sending = Sending(Claims().begin(), None, time.time)
            return await sending.until_taken(lambda: sending.answered(post()), heartbeats)

    attempt = Attempt()
    running = asyncio.create_task(attempt.run(creating))
    await under_way.wait()
    attempt.cancel()
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sent == 1


async def test_a_request_is_taken_to_its_end_however_often_it_is_cancelled() -> None:
    """A9: once for the run's cancel, and once more for the worker's shutdown."""
    sent, answered = asyncio.Event(), asyncio.Event()

    async def post() -> str:
        sent.set()
        await answered.wait()
        return "resp_1"

    async def answer() -> str:
        return await Sending(Claims().begin(), None, time.time).answered(post())

    creating = asyncio.create_task(Attempt().run(answer))
    await sent.wait()
    for _ in range(2):
        creating.cancel()
        await asyncio.wait((creating,), timeout=0.01)
    answered.set()
    assert await creating == "resp_1"


async def endless(sending: Sending, sent: asyncio.Event) -> str:
    await sending.before_end()
    sent.set()
    await asyncio.Event().wait()
    return "resp_1"


async def test_a_post_that_is_not_answered_in_time_is_cut_off_by_a_cancel() -> None:
    """A server without background has no other way to be told; what it made of the request is not known."""
    sent = asyncio.Event()

    async def answer() -> str:
        sending = Sending(Claims().begin(), None, time.time)
        return await sending.answered(endless(sending, sent), within=0)

    attempt = Attempt()
    creating = asyncio.create_task(attempt.run(answer))
    await sent.wait()
    attempt.cancel()
    with pytest.raises(ApplicationError) as caught:
        await creating
    assert caught.value.type == FailureType.CREATE_AMBIGUOUS


async def test_a_post_that_is_not_answered_in_time_is_cut_off_at_the_deadline() -> None:
    async def answer() -> str:
        sending = Sending(Claims().begin(), datetime.now(UTC), time.time)
        return await sending.answered(endless(sending, asyncio.Event()), within=0)

    with pytest.raises(ApplicationError) as caught:
        await Attempt().run(answer)
    assert caught.value.type == FailureType.DEADLINE_PASSED
    assert caught.value.details == (FailureDetail(may_still_run=True),)
