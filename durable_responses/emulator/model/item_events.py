"""The events that announce one output item, each with the second it is due."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from durable_responses.responses_api.events import (
    AnnotationAdded,
    ArgumentsDelta,
    ArgumentsDone,
    CodeDelta,
    CodeDone,
    ContentPartEvent,
    CustomToolInputDelta,
    CustomToolInputDone,
    Event,
    EventType,
    HostedCallEvent,
    HostedStage,
    OutputItemEvent,
    RefusalDone,
    SummaryPartEvent,
    SummaryTextDelta,
    SummaryTextDone,
    TextDelta,
    TextDone,
)
from durable_responses.responses_api.models import (
    FunctionCall,
    Message,
    OutputItem,
    OutputText,
    Reasoning,
    Refusal,
    SummaryText,
)

MAX_DELTAS_OF_A_TEXT = 200


@dataclass(frozen=True)
class Moment:
    """An event, due `at` seconds after creation. A plain event type stands for an event that shows the response."""

    at: float
    event: Event | EventType

    @property
    def type(self) -> str:
        """The kind of event."""
        return self.event if isinstance(self.event, EventType) else self.event.type


@dataclass(frozen=True)
class Span:
    """One output item and the seconds, after creation, between which it is made."""

    item: OutputItem
    start: float
    end: float
    text: str = ""

    def written_by(self, elapsed: float) -> str:
        """The text that has been written after `elapsed` seconds."""
        if elapsed >= self.end:
            return self.text
        if elapsed <= self.start:
            return ""
        return self.text[: int(len(self.text) * (elapsed - self.start) / (self.end - self.start))]


def moments_of(span: Span, index: int) -> Iterator[Moment]:
    """The events of the item that stands at `index` of the output."""
    yield Moment(
        span.start, OutputItemEvent(type=EventType.OUTPUT_ITEM_ADDED, item=_begun(span.item), output_index=index)
    )
    if isinstance(span.item, Message):
        yield from _message(span, span.item, index)
    elif isinstance(span.item, Reasoning):
        yield from _reasoning(span, span.item, index)
    elif isinstance(span.item, FunctionCall):
        yield from _function_call(span, span.item, index)
    elif span.item.type == "custom_tool_call":
        yield from _custom_tool_call(span, index)
    else:
        yield from _hosted(span, index)
    yield Moment(span.end, OutputItemEvent(type=EventType.OUTPUT_ITEM_DONE, item=span.item, output_index=index))


def closed_at(elapsed: float, span: Span, index: int) -> tuple[Span, list[Moment]]:
    """An item, closed with what it holds after `elapsed` seconds, and the events that announce it."""
    moments = list(moments_of(span, index))
    if span.end <= elapsed:
        return span, moments
    sent = [moment for moment in moments if moment.at <= elapsed]
    text = "".join(moment.event.delta for moment in sent if isinstance(moment.event, TextDelta))
    paragraphs = sum(isinstance(moment.event, SummaryTextDone) for moment in sent)
    closed = Span(_cut(span.item, text, paragraphs), span.start, elapsed, text)
    return closed, [*sent, *(moment for moment in moments_of(closed, index) if moment.type in _CLOSING)]


_CLOSING = frozenset(
    {EventType.OUTPUT_TEXT_DONE, EventType.REFUSAL_DONE, EventType.CONTENT_PART_DONE, EventType.OUTPUT_ITEM_DONE}
)


def _cut(item: OutputItem, text: str, paragraphs: int) -> OutputItem:
    if isinstance(item, Message):
        is_refusal = isinstance(item.content[0], Refusal)
        part = Refusal(refusal=text) if is_refusal else output_text(text)
        return item.model_copy(update={"content": [part], "status": "incomplete"})
    if isinstance(item, Reasoning):
        return item.model_copy(update={"summary": item.summary[:paragraphs]})
    return item


def output_text(text: str, annotations: list[dict[str, object]] | None = None) -> OutputText:
    """A piece of text with all the fields that the API sends."""
    return OutputText.model_validate({"text": text, "annotations": annotations or [], "logprobs": []})


_UNFILLED: dict[str, dict[str, Any]] = {
    "compaction": {"encrypted_content": ""},
    "image_generation_call": {"result": None},
    "code_interpreter_call": {"code": "", "outputs": None},
    "file_search_call": {"results": None},
    "mcp_list_tools": {"tools": []},
    "mcp_call": {"arguments": "", "output": None, "error": None},
}


def _begun(item: OutputItem) -> OutputItem:
    """The item as it looks before anything is in it."""
    if isinstance(item, Message):
        return item.model_copy(update={"content": [], "status": "in_progress"})
    if isinstance(item, Reasoning):
        return item.model_copy(update={"summary": []})
    if isinstance(item, FunctionCall):
        return item.model_copy(update={"arguments": "", "status": "in_progress"})
    if item.type == "custom_tool_call":
        return item.model_copy(update={"input": "", "status": "in_progress"})
    begun: dict[str, Any] = dict(_UNFILLED.get(item.type, {}))
    if item.status:
        begun["status"] = "in_progress"
    return item.model_copy(update=begun) if begun else item


def _pieces(text: str, start: float, end: float) -> Iterator[tuple[float, str]]:
    """The text word by word (or in larger pieces, where it is long), each with the second it is written at."""
    words = re.findall(r"\s*\S+|\s+", text)
    size = -(-len(words) // MAX_DELTAS_OF_A_TEXT) or 1
    done = 0
    for at in range(0, len(words), size):
        piece = "".join(words[at : at + size])
        yield start + (end - start) * done / len(text), piece
        done += len(piece)


def _message(span: Span, item: Message, index: int) -> Iterator[Moment]:
    parts = item.content if isinstance(item.content, list) else [OutputText(text=item.content)]
    for part in parts:
        if isinstance(part, OutputText):
            yield from _text_part(span, part, item.id or "", index)
        elif isinstance(part, Refusal):
            yield from _refusal_part(span, part, item.id or "", index)


def _text_part(span: Span, part: OutputText, item_id: str, index: int) -> Iterator[Moment]:
    # The API sends an empty `logprobs` where none were asked for, and its clients insist on the field.
    place = {"item_id": item_id, "output_index": index, "logprobs": []}
    yield Moment(
        span.start,
        ContentPartEvent(type=EventType.CONTENT_PART_ADDED, part=output_text(""), item_id=item_id, output_index=index),
    )
    for at, piece in _pieces(span.text, span.start, span.end):
        yield Moment(at, TextDelta.model_validate({**place, "type": EventType.OUTPUT_TEXT_DELTA, "delta": piece}))
    for number, note in enumerate(part.annotations):
        yield Moment(
            span.end,
            AnnotationAdded(item_id=item_id, output_index=index, annotation_index=number, annotation=note),
        )
    yield Moment(span.end, TextDone.model_validate({**place, "type": EventType.OUTPUT_TEXT_DONE, "text": span.text}))
    yield Moment(
        span.end, ContentPartEvent(type=EventType.CONTENT_PART_DONE, part=part, item_id=item_id, output_index=index)
    )


def _refusal_part(span: Span, part: Refusal, item_id: str, index: int) -> Iterator[Moment]:
    yield Moment(
        span.start,
        ContentPartEvent(type=EventType.CONTENT_PART_ADDED, part=Refusal(), item_id=item_id, output_index=index),
    )
    for at, piece in _pieces(span.text, span.start, span.end):
        yield Moment(at, TextDelta(type=EventType.REFUSAL_DELTA, item_id=item_id, output_index=index, delta=piece))
    yield Moment(span.end, RefusalDone(item_id=item_id, output_index=index, refusal=part.refusal))
    yield Moment(
        span.end, ContentPartEvent(type=EventType.CONTENT_PART_DONE, part=part, item_id=item_id, output_index=index)
    )


def _reasoning(span: Span, item: Reasoning, index: int) -> Iterator[Moment]:
    share = (span.end - span.start) / max(1, len(item.summary))
    for number, paragraph in enumerate(item.summary):
        yield from _paragraph(span.start + number * share, share, paragraph, number, item.id or "", index)


def _paragraph(
    start: float, seconds: float, paragraph: SummaryText, number: int, item_id: str, index: int
) -> Iterator[Moment]:
    end = start + seconds
    yield Moment(
        start,
        SummaryPartEvent(
            type=EventType.REASONING_SUMMARY_PART_ADDED,
            part=SummaryText(),
            item_id=item_id,
            output_index=index,
            summary_index=number,
        ),
    )
    for at, piece in _pieces(paragraph.text, start, end):
        yield Moment(at, SummaryTextDelta(delta=piece, item_id=item_id, output_index=index, summary_index=number))
    yield Moment(end, SummaryTextDone(text=paragraph.text, item_id=item_id, output_index=index, summary_index=number))
    yield Moment(
        end,
        SummaryPartEvent(
            type=EventType.REASONING_SUMMARY_PART_DONE,
            part=paragraph,
            item_id=item_id,
            output_index=index,
            summary_index=number,
        ),
    )


def _function_call(span: Span, item: FunctionCall, index: int) -> Iterator[Moment]:
    half = len(item.arguments) // 2
    for piece in filter(None, (item.arguments[:half], item.arguments[half:])):
        yield Moment(
            span.start,
            ArgumentsDelta(
                type=EventType.FUNCTION_CALL_ARGUMENTS_DELTA, delta=piece, item_id=item.id or "", output_index=index
            ),
        )
    yield Moment(
        span.end,
        ArgumentsDone(
            type=EventType.FUNCTION_CALL_ARGUMENTS_DONE,
            arguments=item.arguments,
            item_id=item.id or "",
            output_index=index,
        ),
    )


def _custom_tool_call(span: Span, index: int) -> Iterator[Moment]:
    item_id = span.item.id or ""
    given = str((span.item.model_extra or {}).get("input", ""))
    yield Moment(span.start, CustomToolInputDelta(delta=given, item_id=item_id, output_index=index))
    yield Moment(span.end, CustomToolInputDone(input=given, item_id=item_id, output_index=index))


_BEGINNING: dict[str, list[HostedStage]] = {
    "web_search_call": [EventType.WEB_SEARCH_CALL_IN_PROGRESS, EventType.WEB_SEARCH_CALL_SEARCHING],
    "file_search_call": [EventType.FILE_SEARCH_CALL_IN_PROGRESS, EventType.FILE_SEARCH_CALL_SEARCHING],
    "image_generation_call": [
        EventType.IMAGE_GENERATION_CALL_IN_PROGRESS,
        EventType.IMAGE_GENERATION_CALL_GENERATING,
    ],
    "code_interpreter_call": [EventType.CODE_INTERPRETER_CALL_IN_PROGRESS],
    "mcp_list_tools": [EventType.MCP_LIST_TOOLS_IN_PROGRESS],
    "mcp_call": [EventType.MCP_CALL_IN_PROGRESS],
    "compaction": [EventType.COMPACTION_COMPACTING],
}
_ENDING: dict[str, HostedStage] = {
    "web_search_call": EventType.WEB_SEARCH_CALL_COMPLETED,
    "file_search_call": EventType.FILE_SEARCH_CALL_COMPLETED,
    "image_generation_call": EventType.IMAGE_GENERATION_CALL_COMPLETED,
    "code_interpreter_call": EventType.CODE_INTERPRETER_CALL_COMPLETED,
    "mcp_list_tools": EventType.MCP_LIST_TOOLS_COMPLETED,
    "mcp_call": EventType.MCP_CALL_COMPLETED,
}


def _hosted(span: Span, index: int) -> Iterator[Moment]:
    """What runs at the provider: where it stands and, of code and MCP calls, what was given."""
    item, item_id = span.item, span.item.id or ""
    fields = item.model_extra or {}

    def stage(at: float, kind: HostedStage) -> Moment:
        return Moment(at, HostedCallEvent(type=kind, item_id=item_id, output_index=index))

    for kind in _BEGINNING.get(item.type, []):
        yield stage(span.start, kind)
    if item.type == "code_interpreter_call":
        code = str(fields.get("code") or "")
        yield Moment(span.start, CodeDelta(delta=code, item_id=item_id, output_index=index))
        yield Moment(span.start, CodeDone(code=code, item_id=item_id, output_index=index))
        yield stage(span.start, EventType.CODE_INTERPRETER_CALL_INTERPRETING)
    if item.type == "mcp_call":
        given = str(fields.get("arguments", ""))
        place = {"item_id": item_id, "output_index": index}
        yield Moment(
            span.start,
            ArgumentsDelta.model_validate({"type": EventType.MCP_CALL_ARGUMENTS_DELTA, "delta": given, **place}),
        )
        yield Moment(
            span.start,
            ArgumentsDone.model_validate({"type": EventType.MCP_CALL_ARGUMENTS_DONE, "arguments": given, **place}),
        )
    if item.type in _ENDING:
        failed = item.type == "mcp_call" and item.status == "failed"
        yield stage(span.end, EventType.MCP_CALL_FAILED if failed else _ENDING[item.type])
