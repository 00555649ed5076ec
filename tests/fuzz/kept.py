"""What a run knows of an answer, held against what was sent."""

from typing import Any

from durable_responses.activities.messages import ResponseRecord
from durable_responses.activities.records import record_of
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.events import ResponseEvent
from durable_responses.responses_api.models import CreateRequest, Response
from durable_responses.workflows import rules
from durable_responses.workflows.contract import AgentResult, AgentState
from durable_responses.workflows.ledger import Ledger
from tests.support.outside_data import calls_in, legible, travelled, written_in, written_in_item


async def ended(api: ResponsesClient, request: CreateRequest, *, stream: bool) -> Response | None:
    """The response; None if its stream ended before it."""
    if not stream:
        return await api.create(request)
    last = None
    async with api.stream(request) as events:
        async for event in events:
            last = event.response if isinstance(event, ResponseEvent) else last
    return last


def remembered(response: Response) -> ResponseRecord:
    """The response as its run knows it. Its text and its calls are those of the response."""
    record: ResponseRecord = travelled(record_of(response), ResponseRecord)
    assert record.all_text == response.all_text
    assert len(record.function_calls) == len(response.function_calls)
    ledger = Ledger(state=AgentState())
    ledger.begin_iteration()
    ledger.response_ended(record)
    result = ledger.result()
    rules.fit_result(result)
    assert travelled(result, AgentResult).output_text == record.output_text
    rules.next_step(record, iterations_left=3)
    return record


def keeps(record: ResponseRecord, sent: Any) -> None:
    """Nothing of what was sent is missing."""
    text = legible(record.all_text)
    assert [lost for lost in written_in(sent) if legible(lost) not in text] == []
    assert len(record.function_calls) >= len(calls_in(sent))
    assert all(call.call_id for call in record.function_calls)


WHOLE = ("response.output_text.done", "response.content_part.done", "response.output_item.done")
"""The events that say again what deltas have said, and count for more."""


def keeps_streamed(record: ResponseRecord, sent: list[Any], last: Any) -> None:
    """Nothing that was streamed before the last event is missing where that event does not repeat it."""
    if isinstance(last, dict) and said_by(last):
        keeps(record, last)
        return
    text = legible(record.all_text)
    whole = [event for event in sent if isinstance(event, dict) and event.get("type") in WHOLE]
    streamed = [text for event in whole for text in written_in_item(event.get("item"))]
    if all(is_call(event.get("item")) for event in whole):
        streamed += [event["delta"] for event in sent if is_delta(event)]
    assert [lost for lost in streamed if legible(lost) not in text] == []


def said_by(response: Any) -> str:
    """The answer in a response that may be of any form."""
    try:
        return Response.model_validate(response).output_text
    except ValueError:
        return ""


def is_call(item: Any) -> bool:
    """Whether it is a function call, in which there is no text."""
    return isinstance(item, dict) and item.get("type") == "function_call"


def is_delta(event: Any) -> bool:
    """Whether it is more text of the answer."""
    return (
        isinstance(event, dict)
        and event.get("type") == "response.output_text.delta"
        and isinstance(event.get("delta"), str)
    )
