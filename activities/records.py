"""Cutting a response to what the loop needs, so that history stays flat. Plain Python."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import to_json

from durable_responses.activities.messages import ResponseRecord
from durable_responses.responses_api.models import (
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
    Usage,
)

LARGEST_TEXT = 640 * 1024  # bytes of one response's text as JSON, and as much of arguments: together they fit a payload


def record_of(response: Response) -> ResponseRecord:
    """The response without its echo of the request, its reasoning and what hosted tools found."""
    return ResponseRecord(
        id=response.id,
        status=response.status,
        model=response.model,
        created_at=response.created_at,
        completed_at=response.completed_at,
        output=list(_items(response.output)),
        usage=response.usage,
        error=response.error,
        incomplete_details=response.incomplete_details,
    )


def unfinished_record(
    response_id: str, text: str, status: str = ResponseStatus.IN_PROGRESS, usage: Usage | None = None
) -> ResponseRecord:
    """A response of which only the text so far is known, and perhaps what it has cost."""
    return ResponseRecord(
        id=response_id, status=status, output=[_message(_Room().fit(text), [])] if text else [], usage=usage
    )


@dataclass
class _Room:
    """What all texts of a response, or all arguments, may still take. Bytes of JSON, as history stores them."""

    left: int = LARGEST_TEXT

    def fit(self, text: str) -> str:
        kept = text
        while (size := _json_bytes(kept)) > self.left:
            # Escapes make some parts larger than others, so the share that fits is a guess.
            kept = kept[: len(kept) * self.left // size]
        self.left -= size
        return kept if kept == text else f"{kept}\n[cut: the first {len(kept)} of {len(text)} characters]"


def _json_bytes(text: str) -> int:
    return len(to_json(text)) - 2  # without the quotation marks


def _items(output: list[OutputItem]) -> Iterable[OutputItem]:
    texts, arguments = _Room(), _Room()
    for item in output:
        match item:
            case Message():
                yield _message(texts.fit(item.text), item.citations)
            case FunctionCall():
                yield FunctionCall(call_id=item.call_id, name=item.name, arguments=arguments.fit(item.arguments))
            case Reasoning() if item.summary:
                yield Reasoning(summary=[SummaryText(text=texts.fit(part.text)) for part in item.summary])
            case OtherItem():
                yield _trace(item)


def _message(text: str, citations: list[UrlCitation]) -> Message:
    return Message(content=[OutputText(text=text, annotations=list(citations))])


def _trace(item: OtherItem) -> OtherItem:
    """Kind and ids of an item: enough to see whether it needs an answer."""
    call_id = (item.model_extra or {}).get("call_id")
    return OtherItem.model_validate({"type": item.type, "id": item.id, **({"call_id": call_id} if call_id else {})})
