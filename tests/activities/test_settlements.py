"""What a history says of the amounts that were set aside, event by event."""

from decimal import Decimal
from typing import Any

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.contrib.pydantic import pydantic_data_converter as converter
from temporalio.exceptions import ApplicationError, TimeoutError, TimeoutType  # noqa: A004

from durable_responses.activities.messages import (
    ActivityName,
    AwaitResponse,
    CreatedResponse,
    FailureDetail,
    FailureType,
    HeartbeatDetails,
    Reserved,
    ResponseCost,
    ResponseRecord,
)
from durable_responses.activities.settlements import RecordedSettlements
from durable_responses.pricing.tenant_budgets import Amount, Settle
from durable_responses.responses_api.models import Usage

COST = Amount(usd=Decimal("0.5"), tokens=30)
ENDED = ResponseRecord(
    id="resp_1", status="completed", cost=ResponseCost(usd=0.5), usage=Usage(input_tokens=10, output_tokens=20)
)
UNFINISHED = ResponseRecord(id="resp_1", status="in_progress")
CREATED = CreatedResponse(response_id="resp_1", status="queued")


async def scheduled(number: int, kind: str, given: Any = None) -> HistoryEvent:
    event = HistoryEvent(event_id=number)
    told = event.activity_task_scheduled_event_attributes
    told.activity_id, told.activity_type.name = str(number), kind
    told.input.payloads.extend(await converter.encode([given]))
    return event


async def completed(number: int, result: Any) -> HistoryEvent:
    event = HistoryEvent()
    event.activity_task_completed_event_attributes.scheduled_event_id = number
    event.activity_task_completed_event_attributes.result.payloads.extend(await converter.encode([result]))
    return event


async def failed(number: int, error: BaseException) -> HistoryEvent:
    event, failure = HistoryEvent(), Failure()
    await converter.encode_failure(error, failure)
    told: Any = (
        event.activity_task_timed_out_event_attributes
        if isinstance(error, TimeoutError)
        else event.activity_task_failed_event_attributes
    )
    told.scheduled_event_id = number
    told.failure.CopyFrom(failure)
    return event


def failure(kind: FailureType, **detail: Any) -> ApplicationError:
    return ApplicationError("why", FailureDetail(**detail), type=kind)


def waits(key: str | None = None) -> AwaitResponse:
    reserved = Reserved(key=key, budgets=["b"]) if key else None
    return AwaitResponse.model_validate({"response_id": "resp_1", "created_at": "2026-11-01", "reserved": reserved})


LOST = TimeoutError("lost", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[HeartbeatDetails(response_id="resp_1")])
SILENT = TimeoutError("lost", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[])
UNSENT = failure(FailureType.BAD_REQUEST)
CREATE, AWAIT, STREAM = ActivityName.CREATE_RESPONSE, ActivityName.AWAIT_RESPONSE, ActivityName.STREAM_RESPONSE


@pytest.mark.parametrize(
    ("activities", "settled"),
    [
        ([(STREAM, None, ENDED)], {"r/1": COST}),
        ([(STREAM, None, UNFINISHED)], {}),
        ([(CREATE, None, CREATED)], {}),
        ([(CREATE, None, CREATED.model_copy(update={"finished": ENDED}))], {"r/1": COST}),
        ([(CREATE, None, CREATED), (AWAIT, waits(), ENDED)], {"r/1": COST}),
        ([(CREATE, None, CREATED), (AWAIT, waits("other/7"), ENDED)], {"other/7": COST}),
        ([(CREATE, None, CREATED), (AWAIT, waits(), UNFINISHED)], {}),
        ([(STREAM, None, UNFINISHED), (ActivityName.CANCEL_RESPONSE, waits(), ENDED)], {"r/1": COST}),
        ([(CREATE, None, LOST), (AWAIT, waits(), ENDED)], {"r/1": COST}),
        ([(ActivityName.WEBSOCKET_TURN, None, LOST)], {}),
        ([(ActivityName.WEBSOCKET_TURN, None, SILENT)], {"r/1": Amount()}),
        ([(CREATE, None, UNSENT), (CREATE, None, CREATED)], {"r/1": Amount(usd=Decimal(0), tokens=0)}),
        ([(CREATE, None, failure(FailureType.NOT_FOUND, may_still_run=True))], {"r/1": Amount()}),
        ([(CREATE, None, failure(FailureType.CREATE_AMBIGUOUS))], {"r/1": Amount()}),
        ([(STREAM, None, failure(FailureType.RESPONSE_LOST, response_id="resp_1"))], {}),
        ([(CREATE, None, ApplicationError("an operator"))], {"r/1": Amount()}),
        ([(CREATE, None, {"anything": 1}), (STREAM, None, 5)], {}),
        ([(ActivityName.CALL_TOOL, None, {"output": "3"})], {}),
    ],
)
async def test_the_first_word_of_a_history_on_a_response_says_what_it_has_cost(
    activities: list[tuple[str, Any, Any]], settled: dict[str, Amount]
) -> None:
    recorded = RecordedSettlements("r", converter)
    for number, (kind, given, outcome) in enumerate(activities, start=1):
        await recorded.take(await scheduled(number, kind, given))
        ends = failed if isinstance(outcome, BaseException) else completed
        await recorded.take(await ends(number, outcome))
    assert recorded.settled == {key: Settle(key=key, cost=cost) for key, cost in settled.items()}


async def test_what_is_not_known_of_a_response_is_left_to_what_was_set_aside() -> None:
    recorded = RecordedSettlements("r", converter)
    await recorded.take(await scheduled(1, STREAM))
    uncounted = {"cost": ResponseCost(known=0.1, uncounted=True, unpriced=["w"])}
    await recorded.take(await completed(1, ENDED.model_copy(update=uncounted)))
    assert recorded.settled["r/1"].cost == Amount()
