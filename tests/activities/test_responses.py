"""Cancelling a response at the provider, and saying what has become of it."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.messages import CancelResponse, FailureType, HeartbeatDetails, ResponseRecord, Waiting
from durable_responses.activities.polling import Waiters
from durable_responses.emulator.faults import Fault, FinishFirst, Operation
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import CreateRequest
from tests.responses_api.conftest import KEY
from tests.support.attempts import Attempt, activities_of
from tests.support.emulator_control import RunningEmulator
from tests.support.provider import Answer, Provider, Then, answer

USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
RUNNING: dict[str, Any] = {"id": "resp_1", "status": "in_progress", "output": []}
CANCELLED = RUNNING | {"status": "cancelled", "usage": USAGE}
COMPLETED = RUNNING | {"status": "completed", "usage": USAGE}
NOT_FOUND = answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404)


async def cancel(
    client: ResponsesClient,
    response_id: str = "resp_1",
    *,
    age: float = 3600.0,
    earlier: HeartbeatDetails | None = None,
    **parts: Any,
) -> ResponseRecord:
    """Run `cancel_response`, asked for so many seconds ago."""
    attempt = Attempt(earlier=earlier)
    attempt.info = replace(attempt.info, scheduled_time=datetime.now(UTC) - timedelta(seconds=age))
    activities = activities_of(client, **parts)
    return await attempt.run(activities.cancel_response, CancelResponse(response_id=response_id))


async def failure(client: ResponsesClient, **parts: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await cancel(client, **parts)
    return caught.value


async def create(client: ResponsesClient, scenario: str) -> str:
    return (await client.create(CreateRequest(model=f"scenario:{scenario}", input="Go on.", background=True))).id


# --- the truth ---------------------------------------------------------------------------------------------------


async def test_a_running_response_is_cancelled(emulator: RunningEmulator, emulated: ResponsesClient) -> None:
    """A8: and what it has cost is known."""
    response = await create(emulated, "think?seconds=60")
    record = await cancel(emulated, response)
    [bill] = await emulator.control.responses()
    assert (record.status, bill.status) == ("cancelled", "cancelled")
    assert record.usage is not None
    assert record.usage.input_tokens == bill.input_tokens > 0


async def test_a_cancel_may_be_repeated(emulated: ResponsesClient) -> None:
    """A8: a further attempt does not know how far the one before came."""
    response = await create(emulated, "think?seconds=60")
    first = await cancel(emulated, response)
    assert await cancel(emulated, response) == first


async def test_a_response_that_had_completed_is_brought_with_its_usage(emulated: ResponsesClient) -> None:
    """A8: the refusal of the cancel is no failure."""
    response = await create(emulated, "echo")
    record = await cancel(emulated, response)
    assert (record.status, record.output_text) == ("completed", "Go on.")
    assert record.usage is not None
    assert record.usage.output_tokens > 0


async def test_a_cancel_that_completion_outruns_tells_the_truth(
    emulator: RunningEmulator, emulated: ResponsesClient
) -> None:
    """A8."""
    response = await create(emulated, "think?seconds=60")
    await emulator.control.add_fault(Fault(operation=Operation.CANCEL, effect=FinishFirst()))
    assert (await cancel(emulated, response)).status == "completed"


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_whatever_a_provider_says_of_a_finished_response_it_is_read(
    provider: Provider, api: ResponsesClient, status: int
) -> None:
    """A8."""
    provider.will(answer({"error": {"message": "It is finished."}}, status), answer(COMPLETED))
    assert (await cancel(api)).status == "completed"
    assert [asked.method for asked in provider.asked] == ["POST", "GET"]


DONE_WITH_IT: dict[str, Answer] = {
    "nothing": answer(b""),
    "nothing, by its status": answer(b"", 204),
    "a word": answer(b"OK"),
    "null": answer(None),
    "that it succeeded": answer({"success": True}),
    "that it succeeded, with the id": answer({"id": "resp_1", "status": "success"}),
    "that it was cancelled": answer({"id": "resp_1", "object": "response", "cancelled": True}),
}


@pytest.mark.parametrize("said", DONE_WITH_IT.values(), ids=DONE_WITH_IT)
async def test_a_provider_that_only_says_that_it_has_done_it_is_asked_what_became_of_the_response(
    provider: Provider, api: ResponsesClient, said: Answer
) -> None:
    """What it has cost is known by a GET only."""
    provider.will(said, answer(CANCELLED))
    record = await cancel(api)
    assert (record.status, record.usage and record.usage.total_tokens) == ("cancelled", 7)
    assert [asked.method for asked in provider.asked] == ["POST", "GET"]


async def test_a_response_that_goes_on_all_the_same_is_brought_as_it_is(
    provider: Provider, api: ResponsesClient
) -> None:
    """A8: the returned status is looked at."""
    provider.will(answer(RUNNING))
    assert (await cancel(api)).status == "in_progress"


# --- failures ----------------------------------------------------------------------------------------------------

PASSING: dict[str, Answer] = {
    **{str(status): answer({}, status) for status in (408, 429, 500, 502, 503)},
    "closed": Answer(then=Then.CLOSE),
    "reset": Answer(then=Then.RESET),
    "silent": Answer(then=Then.HOLD),
}


@pytest.mark.parametrize("said", PASSING.values(), ids=PASSING)
async def test_a_cancel_that_fails_for_now_is_tried_again(provider: Provider, said: Answer) -> None:
    """A8: also after its timeout, shortened here."""
    provider.will(said, answer(CANCELLED))
    async with ResponsesClient(provider.url, KEY, read_timeout=0.1) as api:
        assert (await cancel(api)).status == "cancelled"


async def test_a_cancel_is_tried_again_when_the_provider_says(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer({}, 429, retry_after_ms="700"), answer(CANCELLED))
    began = time.monotonic()
    await cancel(api)
    assert time.monotonic() - began >= 0.7


async def test_a_response_that_cannot_be_cancelled_may_still_run(provider: Provider, api: ResponsesClient) -> None:
    """LiteLLM in front of a chat model answers GET and cancel with 500 for ever."""
    provider.rule = lambda _: answer({"error": {"message": "cancel is not supported", "code": "500"}}, 500)
    error = await failure(api, cancel_within=0.5)
    assert (error.type, error.non_retryable) == (FailureType.RESPONSE_LOST, True)
    assert error.message.startswith("resp_1 may still run at the provider: ")
    assert len(provider.asked) > 1


async def test_the_time_for_a_cancel_counts_from_its_first_attempt(provider: Provider, api: ResponsesClient) -> None:
    provider.rule = lambda _: answer({}, 500)
    waiting = Waiting(what="the response is to be cancelled", since=datetime.now(UTC) - timedelta(seconds=60))
    await failure(api, earlier=HeartbeatDetails(waiting=waiting), cancel_within=30)
    assert len(provider.asked) == 1


async def test_a_wrong_key_is_final(provider: Provider, api: ResponsesClient) -> None:
    """A25: and is not in the text."""
    key = KEY.get_secret_value()
    provider.will(answer({"error": {"message": f"Bad key {key}."}}, 401))
    error = await failure(api)
    assert (error.type, error.non_retryable) == (FailureType.AUTHENTICATION_FAILED, True)
    assert key not in error.message


async def test_a_response_that_is_not_found_any_more_is_lost(provider: Provider, api: ResponsesClient) -> None:
    provider.will(NOT_FOUND, NOT_FOUND)
    error = await failure(api)
    assert (error.type, error.non_retryable) == (FailureType.RESPONSE_LOST, True)


async def test_a_response_that_is_not_found_yet_is_cancelled_later(provider: Provider, api: ResponsesClient) -> None:
    """A9: a response that is cancelled in the moment of its create must not run on."""
    provider.will(NOT_FOUND, NOT_FOUND, answer(CANCELLED))
    assert (await cancel(api, age=1)).status == "cancelled"


# --- who else learns of it ---------------------------------------------------------------------------------------


async def test_who_waits_for_the_response_on_this_worker_is_told(provider: Provider, api: ResponsesClient) -> None:
    """A8: the wait ends with the cancel, not with its next GET."""
    provider.will(answer(CANCELLED))
    waiters = Waiters()
    with waiters.waiting("resp_1") as told:
        record = await cancel(api, waiters=waiters)
        assert told.result() == record


async def test_who_waits_is_not_told_of_a_response_that_goes_on(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(RUNNING))
    waiters = Waiters()
    with waiters.waiting("resp_1") as told:
        await cancel(api, waiters=waiters)
        assert not told.done()


@pytest.mark.parametrize(("said", "left"), [(CANCELLED, []), (COMPLETED, []), (RUNNING, ["resp_1"])])
async def test_a_response_is_in_flight_until_it_is_finished(
    provider: Provider, api: ResponsesClient, said: dict[str, Any], left: list[str]
) -> None:
    """A21."""
    provider.will(answer(said))
    in_flight = ResponsesInFlight(10)
    in_flight.started("resp_1")
    await cancel(api, in_flight=in_flight)
    assert in_flight.ids == left
