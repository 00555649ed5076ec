"""What a stream has said of its response so far, and its last event completed by that.

Not every server repeats the output in the last event, gives that event the API's name, or gives its response an id.
What was streamed is there all the same. Plain Python on events, for SSE and for WebSockets.
"""

from dataclasses import dataclass, field
from typing import Any

from durable_responses.responses_api.bodies import TooLarge
from durable_responses.responses_api.budget import BUDGET, AnswerBudget
from durable_responses.responses_api.events import (
    ArgumentsDelta,
    ArgumentsDone,
    ContentPartEvent,
    Event,
    EventType,
    OtherEvent,
    OutputItemEvent,
    RefusalDone,
    ResponseEvent,
    TextDelta,
    TextDone,
)
from durable_responses.responses_api.models import (
    FunctionCall,
    Message,
    OutputItem,
    OutputText,
    Refusal,
    Response,
    ResponseStatus,
)

_STATUS_OF = {
    EventType.CREATED: ResponseStatus.IN_PROGRESS,
    EventType.QUEUED: ResponseStatus.QUEUED,
    EventType.IN_PROGRESS: ResponseStatus.IN_PROGRESS,
    EventType.COMPLETED: ResponseStatus.COMPLETED,
    EventType.FAILED: ResponseStatus.FAILED,
    EventType.INCOMPLETE: ResponseStatus.INCOMPLETE,
    EventType.CANCELLED: ResponseStatus.CANCELLED,
    EventType.DONE: ResponseStatus.COMPLETED,
}
_ENDS = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.INCOMPLETE, EventType.CANCELLED, EventType.DONE})
_KINDS_OF_TEXT = (EventType.OUTPUT_TEXT_DELTA, EventType.REFUSAL_DELTA)


@dataclass
class _Item:
    """One output item: as it was announced or finished, and what its deltas add up to."""

    item: OutputItem | None = None
    is_done: bool = False
    parts: dict[int, list[str]] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    arguments: list[str] = field(default_factory=list)

    @property
    def whole(self) -> OutputItem | None:
        """The item with all that was streamed of it."""
        if isinstance(self.item, FunctionCall):
            arguments = "".join(self.arguments)
            return self.item if self.item.arguments else self.item.model_copy(update={"arguments": arguments})
        if self.parts and (self.item is None or (isinstance(self.item, Message) and not self.item.text)):
            parts = [self._part(index) for index in sorted(self.parts)]
            return (self.item or Message()).model_copy(update={"content": parts})
        return self.item

    def _part(self, index: int) -> OutputText | Refusal:
        text = "".join(self.parts[index])
        return Refusal(refusal=text) if index in self.refused else OutputText(text=text)


@dataclass
class Assembly:
    """The response of one stream. `response` is the latest that was said of it, `text` what was streamed of its text.

    `budget`: characters of text and arguments that are kept, and items.
    """

    response: Response | None = None
    budget: AnswerBudget = BUDGET
    _items: dict[int, _Item] = field(default_factory=dict)
    _characters: int = 0

    def take(self, event: Event) -> Event:
        """Take the next event, and return it as it should have been. Raises `TooLarge`."""
        match event:
            case ResponseEvent():
                event = self._completed(event)
                self.response = event.response
            case OtherEvent():
                return self._repaired(event)
            case OutputItemEvent():
                self._take_item(event)
            case TextDelta() if event.type in _KINDS_OF_TEXT:
                self._add_text(event.output_index, event.content_index, event.delta, event.type)
            case TextDone(type=EventType.OUTPUT_TEXT_DONE):
                self._set_text(event.output_index, event.content_index, event.text)
            case RefusalDone():
                self._set_text(event.output_index, event.content_index, event.refusal, refused=True)
            case ContentPartEvent(type=EventType.CONTENT_PART_DONE, part=OutputText() as part):
                self._set_text(event.output_index, event.content_index, part.text)
            case ArgumentsDelta(type=EventType.FUNCTION_CALL_ARGUMENTS_DELTA):
                self._grow(len(event.delta))
                self._item(event.output_index).arguments.append(event.delta)
            case ArgumentsDone(type=EventType.FUNCTION_CALL_ARGUMENTS_DONE):
                self._item(event.output_index).arguments[:] = [event.arguments]
        return event

    @property
    def is_whole(self) -> bool:
        """Whether something was streamed, and all items that were announced are done."""
        items = self._items.values()
        return bool(items) and all(item.is_done for item in items)

    def end(self) -> ResponseEvent | None:
        """The last event of a stream that ends, with a mark of its end but without that event; None if it broke."""
        if self.response is None or self.response.is_finished or not self.is_whole:
            return None
        return self._ended_by({"type": EventType.COMPLETED})

    # --- the pieces ----------------------------------------------------------------------------------------------

    def _item(self, index: int) -> _Item:
        if index not in self._items and len(self._items) >= self.budget.items:
            raise TooLarge(f"it has more than {self.budget.items} items")
        return self._items.setdefault(index, _Item())

    def _grow(self, characters: int) -> None:
        self._characters += characters
        if self._characters > self.budget.unpacked:
            raise TooLarge(f"its text has more than {self.budget.unpacked} characters")

    def _take_item(self, event: OutputItemEvent) -> None:
        item = self._item(event.output_index)
        if event.type == EventType.OUTPUT_ITEM_DONE and item.is_done:
            # Servers without indexes call every item the first.
            item = self._item(max(self._items) + 1)
        item.item = event.item
        item.is_done = item.is_done or event.type == EventType.OUTPUT_ITEM_DONE

    def _add_text(self, index: int, part: int, text: str, kind: str) -> None:
        self._grow(len(text))
        item = self._item(index)
        item.parts.setdefault(part, []).append(text)
        if kind == EventType.REFUSAL_DELTA:
            item.refused.add(part)

    def _set_text(self, index: int, part: int, text: str, *, refused: bool = False) -> None:
        item = self._item(index)
        if text:
            item.parts[part] = [text]
        if refused:
            item.refused.add(part)

    # --- the end -------------------------------------------------------------------------------------------------

    def _completed(self, event: ResponseEvent) -> ResponseEvent:
        response = event.response
        is_end = event.type in _ENDS
        status = _STATUS_OF[EventType(event.type)]
        changed: dict[str, Any] = {}
        if "status" not in response.model_fields_set or (
            is_end and not response.is_finished and event.type != EventType.DONE
        ):
            changed["status"] = status
        if is_end and not response.output_text and not response.function_calls:
            streamed = [whole for _, item in sorted(self._items.items()) if (whole := item.whole) is not None]
            if any(isinstance(item, FunctionCall) or (isinstance(item, Message) and item.text) for item in streamed):
                changed["output"] = streamed
        return event.model_copy(update={"response": response.model_copy(update=changed)}) if changed else event

    def _repaired(self, event: OtherEvent) -> Event:
        """A last event whose response has no id, or is not there: the one that began is meant."""
        if event.type not in _ENDS or self.response is None:
            return event
        return self._ended_by(event.model_dump())

    def _ended_by(self, fields: dict[str, Any]) -> ResponseEvent:
        assert self.response is not None
        known = self.response.model_dump(exclude={"output", "status"}, exclude_unset=True)
        said = fields.get("response")
        said = {name: value for name, value in said.items() if value} if isinstance(said, dict) else {}
        event = ResponseEvent.model_validate(fields | {"response": known | said | {"id": self.response.id}})
        event = self._completed(event)
        self.response = event.response
        return event
