"""A response over its stream, looked up by its id when that breaks; and the preview of a background response."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError

from durable_responses.activities.messages import (
    PREVIEW_CHARACTERS,
    REPORT_PROGRESS,
    SIGNAL_PREVIEW_CHARACTERS,
    CreatePhase,
    CreateResponse,
    FailureDetail,
    FailureType,
    HeartbeatDetails,
    ModelOptions,
    Opening,
    ResponseRecord,
)
from durable_responses.activities.stream import RESUMABLE_FOR, PreviewFeed
from durable_responses.emulator.faults import Answer, BreakStream, Fault, Operation, StreamBreak
from durable_responses.responses_api.client import ResponsesClient
from tests.support.attempts import WORKFLOW_ID, Attempt, Reports, activities_of
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Answer as Bytes
from tests.support.provider import Provider, Then, answer, event_stream

RUNNING = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "gpt-5.4", "output": []}
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
DONE = RUNNING | {"status": "completed", "output": [MESSAGE]}
CREATED = {"type": "response.created", "sequence_number": 0, "response": RUNNING}
UNKNOWN = answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404)
COMPLETED = {"type": "response.completed", "sequence_number": 9, "response": DONE}


def delta(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_1", "delta": text}


def asks(scenario: str = "echo", **fields: Any) -> CreateResponse:
    """A create that the emulator answers by this scenario."""
    options = ModelOptions(metadata={"scenario": scenario})
    return CreateResponse(options=options, iteration=1, opening=Opening(task="Go on."), **fields)


async def stream(
    client: ResponsesClient, attempt: Attempt | None = None, wanted: CreateResponse | None = None, **parts: Any
) -> ResponseRecord:
    """Run `stream_response`."""
    activities = activities_of(client, **parts)
    return await (attempt or Attempt()).run(activities.stream_response, wanted or asks())


async def failure(
    client: ResponsesClient, attempt: Attempt | None = None, wanted: CreateResponse | None = None, **parts: Any
) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await stream(client, attempt, wanted, **parts)
    return caught.value


def jumping(seconds: float) -> Callable[[], float]:
    """A clock that jumps ahead whenever it is looked at."""
    ticks = itertools.count(1_000_000.0, seconds)
    return lambda: next(ticks)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


# --- to its end --------------------------------------------------------------------------------------------------


async def test_a_stream_brings_its_response(emulated: ResponsesClient) -> None:
    record = await stream(emulated)
    assert (record.status, record.output_text, record.model) == ("completed", "Go on.", "gpt-5.4")
    assert record.usage is not None
    assert record.usage.output_tokens > 0


async def test_a_stream_is_a_foreground_create_that_is_stored(provider: Provider, api: ResponsesClient) -> None:
    """A2: `store: true` is explicit for every transport."""
    provider.will(event_stream(CREATED, COMPLETED))
    await stream(api)
    body = provider.asked[0].json
    assert (body["background"], body["store"], body["stream"]) == (False, True, True)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("response.incomplete", "incomplete"),
        ("response.failed", "failed"),
        ("response.failed", "cancelled"),
    ],
)
async def test_a_response_that_ends_otherwise_is_brought_as_it_is(
    provider: Provider, api: ResponsesClient, event: str, status: str
) -> None:
    """A5, A10: the status of the response counts, not the name of the event."""
    provider.will(event_stream(CREATED, {"type": event, "response": DONE | {"status": status}}))
    assert (await stream(api)).status == status


async def test_what_the_provider_turned_away_is_sent_again(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    effect = Answer(status=429, headers={"retry-after": "0.1"})
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=effect))
    assert (await stream(emulated)).status == "completed"


# --- what it tells meanwhile -------------------------------------------------------------------------------------


async def held(
    provider: Provider, api: ResponsesClient, attempt: Attempt, *events: dict[str, Any], **fields: Any
) -> "asyncio.Task[ResponseRecord]":
    """A stream that stays open after these events, followed up to the last of them; left, its response goes on."""
    provider.will(event_stream(CREATED, *events, then=Then.HOLD), *[answer(RUNNING)] * 20)
    streaming = asyncio.create_task(stream(api, attempt, asks(**fields)))
    text = "".join(event["delta"] for event in events)[-PREVIEW_CHARACTERS:] or None
    await until(
        lambda: (
            attempt.heartbeats
            and (attempt.heartbeats[-1].response_id, attempt.heartbeats[-1].preview) == ("resp_1", text)
        )
    )
    return streaming


async def test_the_id_is_reported_when_the_response_was_created(
    provider: Provider, api: ResponsesClient, reports: Reports
) -> None:
    """A19: by signal, without waiting for text."""
    attempt = Attempt(reports=reports)
    streaming = await held(provider, api, attempt)
    await until(lambda: reports.told)
    attempt.cancel()
    await streaming
    assert [(told.response_id, told.response_status, told.preview) for told in reports.told] == [
        ("resp_1", "in_progress", None)
    ]


async def test_a_report_is_addressed_to_the_run_whatever_its_run_id_is_by_now(
    provider: Provider, api: ResponsesClient, reports: Reports
) -> None:
    """After a continue-as-new the run has another run id."""
    attempt = Attempt(reports=reports)
    streaming = await held(provider, api, attempt)
    await until(lambda: reports.told)
    attempt.cancel()
    await streaming
    [sent] = reports.addressed
    assert (sent.id, sent.run_id, sent.signal) == (WORKFLOW_ID, None, REPORT_PROGRESS)


async def test_a_report_carries_the_end_of_a_long_text(
    provider: Provider, api: ResponsesClient, reports: Reports
) -> None:
    """A signal is an event in history: 500 characters, while the heartbeat has 4000."""
    attempt = Attempt(reports=reports)
    text = "".join(f"{number} " for number in range(3000))
    streaming = await held(provider, api, attempt, delta(text))
    await until(lambda: reports.told)
    attempt.cancel()
    await streaming
    assert reports.told[0].preview == "…" + text[-SIGNAL_PREVIEW_CHARACTERS:]
    assert attempt.heartbeats[-1].preview == text[-PREVIEW_CHARACTERS:]


async def test_a_short_response_is_not_reported(emulated: ResponsesClient, reports: Reports) -> None:
    """Its id comes with its end: two events in history less."""
    await stream(emulated, Attempt(reports=reports))
    assert reports.told == []


async def test_none_of_its_heartbeats_allows_another_create(emulated: ResponsesClient) -> None:
    """One that is over at once sends none: its result says the same."""
    attempt = Attempt()
    await stream(emulated, attempt)
    assert all(heartbeat.phase is CreatePhase.CREATED for heartbeat in attempt.heartbeats)


async def test_its_heartbeat_names_it(emulated: ResponsesClient) -> None:
    attempt = Attempt()
    record = await stream(emulated, attempt, asks("write?words=20&seconds=1"))
    assert (attempt.heartbeats[0].phase, attempt.heartbeats[0].response_id) == (CreatePhase.CREATED, record.id)


# --- broken before the end ---------------------------------------------------------------------------------------

every_break = pytest.mark.parametrize("how", StreamBreak)


async def break_stream(emulator: RunningEmulator, how: StreamBreak, events: int, *, survives: bool) -> None:
    effect = BreakStream(after_events=events, how=how, survives=survives)
    await emulator.control.add_fault(Fault(operation=Operation.STREAM, effect=effect))


@every_break
async def test_a_response_that_finishes_although_its_stream_broke_is_used(
    emulator: RunningEmulator, emulated: ResponsesClient, how: StreamBreak
) -> None:
    """A27: the id is known, so it is read by id; cut, closed or silent."""
    await break_stream(emulator, how, 3, survives=True)
    record = await stream(emulated, silence=0.3)
    assert (record.status, record.output_text) == ("completed", "Go on.")
    assert [response.id for response in await emulator.control.responses()] == [record.id]


@every_break
async def test_a_response_that_died_with_its_stream_is_lost(
    emulator: RunningEmulator, emulated: ResponsesClient, how: StreamBreak
) -> None:
    """A27: and named, so that the run lists it."""
    await break_stream(emulator, how, 3, survives=False)
    error = await failure(emulated, wanted=asks("write?words=50&seconds=60"), silence=0.3)
    [response] = await emulator.control.responses()
    assert (error.type, error.non_retryable) == (FailureType.RESPONSE_LOST, True)
    assert error.details == (FailureDetail(response_id=response.id),)


@every_break
async def test_a_stream_that_breaks_before_its_id_is_known_is_an_ambiguous_create(
    emulator: RunningEmulator, emulated: ResponsesClient, how: StreamBreak
) -> None:
    """A27: it is not sent again here."""
    await break_stream(emulator, how, 0, survives=True)
    error = await failure(emulated, silence=0.3)
    assert (error.type, error.non_retryable) == (FailureType.CREATE_AMBIGUOUS, True)
    assert len(await emulator.control.responses()) == 1


async def test_partial_text_is_never_a_completed_answer(provider: Provider, api: ResponsesClient) -> None:
    """A27: the response goes on, but does not finish in the time that it is given."""
    provider.will(event_stream(CREATED, delta("Half a sen")), *[answer(RUNNING)] * 20)
    error = await failure(api, clock=lambda: jumping(5))
    assert error.type == FailureType.RESPONSE_LOST


ITEM_DONE = {"type": "response.output_item.done", "sequence_number": 2, "output_index": 0, "item": MESSAGE}


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_an_answer_that_lacks_only_the_last_event_is_used_where_it_cannot_be_read(
    provider: Provider, api: ResponsesClient, then: Then
) -> None:
    """Its item was done: another create would be paid for, and say the same."""
    provider.will(event_stream(CREATED, delta("Hello."), ITEM_DONE, then=then), UNKNOWN)
    record = await stream(api)
    assert (record.id, record.status, record.output_text) == ("resp_1", "completed", "Hello.")
    assert [asked.method for asked in provider.asked] == ["POST", "GET"]


async def test_what_the_provider_knows_of_a_broken_stream_counts_more(provider: Provider, api: ResponsesClient) -> None:
    known = DONE | {"output": [MESSAGE, MESSAGE]}
    provider.will(event_stream(CREATED, ITEM_DONE, then=Then.CLOSE), answer({}, 500), answer(known))
    assert (await stream(api)).output_text == "Hello.Hello."


async def test_an_answer_whose_stream_broke_before_it_named_its_response_is_used(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(ITEM_DONE, then=Then.CLOSE), UNKNOWN)
    assert (await stream(api)).output_text == "Hello."


@pytest.mark.parametrize(
    "item",
    [
        MESSAGE | {"phase": "commentary"},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ],
    ids=lambda item: str(item["type"]),
)
async def test_a_stream_that_broke_before_the_answer_is_lost(
    provider: Provider, api: ResponsesClient, item: dict[str, Any]
) -> None:
    provider.will(event_stream(CREATED, ITEM_DONE | {"item": item}, then=Then.CLOSE), *[UNKNOWN] * 20)
    assert (await failure(api, clock=lambda: jumping(5))).type == FailureType.RESPONSE_LOST


async def test_the_deadline_ends_the_reads_after_a_cut_with_the_text_so_far(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(CREATED, delta("Half a sen"), then=Then.CLOSE), *[answer(RUNNING)] * 50)
    deadline = datetime.now(UTC) + timedelta(seconds=1)
    async with asyncio.timeout(10):
        record = await stream(api, wanted=asks(deadline=deadline))
    assert (record.status, record.output_text) == ("in_progress", "Half a sen")
    assert provider.asked[-1].target.endswith("/cancel")


async def test_a_response_that_cannot_be_read_after_a_cut_is_told_to_stop(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(CREATED, then=Then.CLOSE), answer({"error": {"message": "No."}}, 400), answer(DONE))
    assert (await failure(api)).type == FailureType.RESPONSE_LOST
    assert provider.asked[-1].target.endswith("/cancel")


async def test_an_error_in_mid_stream_is_looked_up(provider: Provider, api: ResponsesClient) -> None:
    """A27: whatever the error says, the response has an id."""
    refused = {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."}
    provider.will(event_stream(CREATED, refused), answer(RUNNING), answer(DONE))
    assert (await stream(api)).output_text == "Hello."
    assert [asked.method for asked in provider.asked] == ["POST", "GET", "GET"]


async def test_reads_after_a_cut_outlast_errors_that_pass(provider: Provider, api: ResponsesClient) -> None:
    """A7, A27."""
    provider.will(event_stream(CREATED), answer({}, 500), UNKNOWN, answer(DONE))
    assert (await stream(api)).output_text == "Hello."


async def test_a_response_that_the_provider_does_not_know_is_lost(provider: Provider, api: ResponsesClient) -> None:
    """A27: some keep none that was not finished."""
    provider.will(event_stream(CREATED), *[UNKNOWN] * 20)
    error = await failure(api, clock=lambda: jumping(5))
    assert error.type == FailureType.RESPONSE_LOST


async def test_why_a_stream_broke_is_told_with_the_loss(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(CREATED), answer(RUNNING | {"status": "cancelled"}))
    error = await failure(api)
    assert error.message.startswith("resp_1 is lost: it did not finish after its stream broke: The stream of POST")


# --- a further attempt -------------------------------------------------------------------------------------------


async def test_an_attempt_that_finds_an_id_reads_the_response(provider: Provider, api: ResponsesClient) -> None:
    """A20, A27: after a crash nothing is created before the stored response was looked up."""
    provider.will(answer(RUNNING), answer(DONE))
    attempt = Attempt(2, earlier=HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1"))
    assert (await stream(api, attempt)).output_text == "Hello."
    assert [asked.method for asked in provider.asked] == ["GET", "GET"]


async def test_an_attempt_goes_on_telling_the_id_while_it_reads(provider: Provider, api: ResponsesClient) -> None:
    """Else a third attempt would know nothing of it."""
    provider.will(answer(DONE))
    attempt = Attempt(2, earlier=HeartbeatDetails(phase=CreatePhase.CREATED, response_id="resp_1"))
    await stream(api, attempt)
    assert {heartbeat.response_id for heartbeat in attempt.heartbeats} == {"resp_1"}


@pytest.mark.parametrize(
    "heartbeat", [None, HeartbeatDetails(phase=CreatePhase.POSTING)], ids=["no heartbeat", "posting"]
)
async def test_an_attempt_whose_forerunner_may_have_sent_does_not_send(
    provider: Provider, api: ResponsesClient, heartbeat: HeartbeatDetails | None
) -> None:
    """A27."""
    error = await failure(api, Attempt(2, earlier=heartbeat))
    assert (error.type, provider.asked) == (FailureType.CREATE_AMBIGUOUS, [])


async def test_an_attempt_that_failed_before_it_sent_anything_lets_the_next_one_send(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(answer({}, 500), answer(DONE), answer({"data": []}), event_stream(CREATED, COMPLETED))
    wanted = asks(rebuild_from=["resp_0"])
    first = Attempt()
    error = await failure(api, first, wanted)
    assert error.type == FailureType.TRY_LATER
    assert (await stream(api, Attempt(2, earlier=first.heartbeats[-1]), wanted)).status == "completed"


# --- stopped -----------------------------------------------------------------------------------------------------


async def test_a_cancel_closes_the_connection_and_keeps_the_text_so_far(
    provider: Provider, api: ResponsesClient
) -> None:
    """A16."""
    attempt = Attempt()
    streaming = await held(provider, api, attempt, delta("Half a "), delta("sen"))
    attempt.cancel()
    record = await streaming
    assert (record.id, record.status, record.output_text) == ("resp_1", "cancelled", "Half a sen")
    await asyncio.wait_for(provider.client_left.wait(), 2)


async def test_what_a_cancelled_stream_has_cost_is_recorded(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A11: read by id, since the stream tells it only at its end."""
    attempt = Attempt()
    streaming = asyncio.create_task(stream(emulated, attempt, asks("write?words=1000&seconds=60")))
    await until(lambda: attempt.heartbeats and attempt.heartbeats[-1].preview)
    attempt.cancel()
    record = await streaming
    [bill] = await emulator.control.responses()
    assert (record.status, bill.status) == ("cancelled", "cancelled")
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (bill.input_tokens, bill.output_tokens)


async def test_a_response_that_was_completed_when_its_stream_was_left_is_used(
    provider: Provider, api: ResponsesClient
) -> None:
    """A6, A8: it is paid for."""
    attempt = Attempt()
    provider.will(event_stream(CREATED, then=Then.HOLD), answer(RUNNING), answer(DONE))
    streaming = asyncio.create_task(stream(api, attempt))
    await until(lambda: attempt.heartbeats and attempt.heartbeats[-1].response_id)
    attempt.cancel()
    record = await streaming
    assert (record.status, record.output_text) == ("completed", "Hello.")


async def test_a_cancel_before_the_id_is_known_closes_the_connection(provider: Provider, api: ResponsesClient) -> None:
    """A9: the provider drops what nobody follows."""
    provider.will(Bytes(then=Then.HOLD))
    attempt = Attempt()
    streaming = asyncio.create_task(stream(api, attempt))
    await until(lambda: provider.asked)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming
    await asyncio.wait_for(provider.client_left.wait(), 2)


async def test_a_worker_that_shuts_down_leaves_the_response_to_the_next_attempt(
    provider: Provider, api: ResponsesClient
) -> None:
    """A20: nobody asked for a cancel."""
    attempt = Attempt()
    streaming = await held(provider, api, attempt)
    attempt.cancel(ActivityCancellationDetails(worker_shutdown=True))
    with pytest.raises(asyncio.CancelledError):
        await streaming
    assert attempt.heartbeats[-1].response_id == "resp_1"


async def test_the_deadline_cuts_a_stream_off_with_its_text_so_far(provider: Provider, api: ResponsesClient) -> None:
    """A6."""
    deadline = datetime.now(UTC) + timedelta(seconds=1)
    streaming = await held(provider, api, Attempt(), delta("Half a sen"), deadline=deadline)
    record = await streaming
    assert (record.id, record.status, record.output_text) == ("resp_1", "in_progress", "Half a sen")
    await asyncio.wait_for(provider.client_left.wait(), 2)


async def test_a_deadline_before_the_id_is_known_ends_the_create(provider: Provider, api: ResponsesClient) -> None:
    """A6."""
    provider.will(Bytes(then=Then.HOLD))
    error = await failure(api, wanted=asks(deadline=datetime.now(UTC) + timedelta(seconds=0.3)))
    assert (error.type, error.non_retryable) == (FailureType.DEADLINE_PASSED, True)


# --- the preview of a background response ------------------------------------------------------------------------


NOW = 1_000_000.0
END = {"type": "response.completed", "sequence_number": 9, "response": {"id": "resp_1", "status": "completed"}}


def numbered(number: int, text: str, kind: str = "output_text") -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "sequence_number": number, "item_id": "msg_1", "delta": text}


async def followed(api: ResponsesClient, *, age: float = 0.0) -> list[tuple[str, int]]:
    """What the feed shows of a response that was created so many seconds ago."""
    shown: list[tuple[str, int]] = []
    feed = PreviewFeed(api, "resp_1", lambda end, characters: shown.append((end, characters)))
    await feed.run(NOW - age, lambda: NOW)
    return shown


async def test_the_text_grows_with_every_numbered(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(numbered(1, "Hel"), numbered(2, "lo."), END))
    assert await followed(api) == [("Hel", 3), ("Hello.", 6)]


async def test_a_stream_that_breaks_is_resumed_after_the_last_event_seen(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(numbered(4, "Hel"), then=Then.RESET), event_stream(numbered(5, "lo."), END))
    assert (await followed(api))[-1] == ("Hello.", 6)
    assert [asked.target for asked in provider.asked] == [
        "/v1/responses/resp_1?stream=true",
        "/v1/responses/resp_1?stream=true&starting_after=4",
    ]


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("output_text", [("Hi", 2)]), ("refusal", [("Hi", 2)]), ("reasoning_text", []), ("reasoning_summary_text", [])],
)
async def test_the_answer_is_shown_and_reasoning_is_not(
    provider: Provider, api: ResponsesClient, kind: str, shown: list[tuple[str, int]]
) -> None:
    provider.will(event_stream(numbered(1, "Hi", kind), END))
    assert await followed(api) == shown


async def test_of_a_long_text_the_end_is_shown(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(numbered(1, "a" * PREVIEW_CHARACTERS), numbered(2, "bc"), END))
    assert (await followed(api))[-1] == ("a" * (PREVIEW_CHARACTERS - 2) + "bc", PREVIEW_CHARACTERS + 2)


async def test_a_response_that_cannot_be_streamed_has_no_live_preview(provider: Provider, api: ResponsesClient) -> None:
    """And nothing is asked for a second time."""
    provider.will(answer({"error": {"message": "This response cannot be streamed."}}, 400))
    assert await followed(api) == []
    assert len(provider.asked) == 1


async def test_a_server_that_streams_nothing_is_asked_ever_more_rarely(
    provider: Provider, api: ResponsesClient
) -> None:
    """One that ignores `stream` answers each such GET with the response as it is: no news, once a second."""
    pauses: list[float] = []
    feed = PreviewFeed(api, "resp_1", lambda *_: None, sleep=lambda seconds: waited(pauses, seconds))
    silent = answer({"id": "resp_1", "status": "in_progress", "output": []})
    told = event_stream(numbered(1, "Hel"), then=Then.RESET)
    provider.will(*[silent] * 3, told, *[silent] * 6)
    await feed.run(NOW, lambda: NOW if len(pauses) < 10 else NOW + RESUMABLE_FOR)
    assert pauses == [1, 2, 4, 1, 2, 4, 8, 16, 30, 30]


async def waited(pauses: list[float], seconds: float) -> None:
    pauses.append(seconds)


async def test_a_response_is_not_streamed_beyond_five_minutes(provider: Provider, api: ResponsesClient) -> None:
    """The provider would refuse it."""
    assert await followed(api, age=RESUMABLE_FOR) == []
    assert provider.asked == []


# --- the key, spread over several events -------------------------------------------------------------------------

KEY = "a-key-of-no-known-form-7f3a9c"


def spread(text: str) -> list[str]:
    return [text[:20], text[20:35], text[35:]]


@pytest.fixture
async def keyed(provider: Provider) -> AsyncIterator[ResponsesClient]:
    async with ResponsesClient(provider.url, SecretStr(KEY)) as client:
        yield client


SAID = f"The key is {KEY}, as you said."


async def test_a_key_that_is_spread_over_several_deltas_is_in_no_preview(
    provider: Provider, keyed: ResponsesClient
) -> None:
    provider.will(event_stream(*(numbered(number, text) for number, text in enumerate(spread(SAID))), END))
    shown = [text for text, _ in await followed(keyed)]
    assert shown == ["The key is ", "The key is ", "The key is ***, as you said."]


async def test_a_key_that_is_spread_over_several_deltas_is_in_no_answer(
    provider: Provider, keyed: ResponsesClient
) -> None:
    end = {"type": "response.completed", "sequence_number": 9, "response": RUNNING | {"status": "completed"}}
    provider.will(event_stream(CREATED, *(delta(text) for text in spread(SAID)), end))
    attempt = Attempt()
    record = await stream(keyed, attempt)
    assert record.output_text == "The key is ***, as you said."
    assert not any(part in str(attempt.told) for part in (KEY, KEY[:9]))


async def test_text_that_only_looks_like_the_beginning_of_a_key_is_shown_when_it_goes_on(
    provider: Provider, keyed: ResponsesClient
) -> None:
    provider.will(event_stream(numbered(1, "I have a-key"), numbered(2, " ring."), END))
    assert [text for text, _ in await followed(keyed)] == ["I have ", "I have a-key ring."]
