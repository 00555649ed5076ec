"""Cutting a response to what the loop needs, so that history stays flat. Plain Python."""

from collections.abc import Iterable

from activities.messages import ResponseRecord
from responses_api.models import (
    FunctionCall,
    Message,
    OtherItem,
    OutputItem,
    OutputText,
    Reasoning,
    Response,
    ResponseStatus,
    SummaryText,
    UrlCitation,
)

_LARGEST_TEXT = 640 * 1024  # bytes of one response's text, and as much of arguments: together they fit a payload


def record_of(response: Response, *, status: str | None = None) -> ResponseRecord:
    """The response without its echo of the request, its reasoning and what hosted tools found."""
    return ResponseRecord(
        id=response.id,
        status=status or response.status,
        model=response.model,
        created_at=response.created_at,
        completed_at=response.completed_at,
        output=list(_items(response.output)),
        usage=response.usage,
        error=response.error,
        incomplete_details=response.incomplete_details,
    )


def unfinished_record(response_id: str, text: str, status: str = ResponseStatus.IN_PROGRESS) -> ResponseRecord:
    """A response of which only the text so far is known."""
    return ResponseRecord(id=response_id, status=status, output=[_message(text, [])] if text else [])


def _items(output: list[OutputItem]) -> Iterable[OutputItem]:
    for item in output:
        match item:
            case Message():
                yield _message(item.text, item.citations)
            case FunctionCall():
                yield FunctionCall(call_id=item.call_id, name=item.name, arguments=_cut(item.arguments))
            case Reasoning() if item.summary:
                yield Reasoning(summary=[SummaryText(text=part.text) for part in item.summary])
            case OtherItem():
                yield _trace(item)


def _message(text: str, citations: list[UrlCitation]) -> Message:
    return Message(content=[OutputText(text=_cut(text), annotations=list(citations))])


def _trace(item: OtherItem) -> OtherItem:
    """Kind and ids of an item: enough to see whether it waits for an answer."""
    call_id = (item.model_extra or {}).get("call_id")
    return OtherItem.model_validate({"type": item.type, "id": item.id, **({"call_id": call_id} if call_id else {})})


def _cut(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= _LARGEST_TEXT:
        return text
    return (
        encoded[:_LARGEST_TEXT].decode(errors="ignore") + f"\n[cut: the first {_LARGEST_TEXT} of {len(encoded)} bytes]"
    )
