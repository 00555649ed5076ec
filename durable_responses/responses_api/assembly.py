"""What a stream has said of its response so far, and its last event completed by that.

Not every server repeats the output in the last event, gives that event the API's name, or gives its response an id.
What was streamed is there all the same. Plain Python on events, for SSE and for WebSockets.
"""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from durable_responses.responses_api.bodies import TooLarge
from durable_responses.responses_api.budget import BUDGET, AnswerBudget
from durable_responses.responses_api.events import (
    ArgumentsDelta,
    ArgumentsDone,
    ContentPartEvent,
    Event,
    EventType,
    ItemEvent,
    OtherEvent,
    OutputItemEvent,
    RefusalDone,
    ResponseEvent,
    TextDelta,
    TextDone,
    says_it_is_the_end,
)
from durable_responses.responses_api.models import (
    FunctionCall,
    Message,
    OutputItem,
    OutputText,
    Refusal,
    Response,
    ResponseStatus,
    as_response,
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
    """One output item: as it was announced or finished, and what its deltas add up to.

    `begun`: text with which parts were announced, which counts where nothing more came. `name`: of a call, if the item
    has none. `size`: the length of the longest event that held it.
    """

    item: OutputItem | None = None
    is_done: bool = False
    text_is_done: bool = False
    parts: dict[int, list[str]] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    arguments: list[str] = field(default_factory=list)
    name: str = ""
    begun: dict[int, str] = field(default_factory=dict)
    size: int = 0

    @property
    def characters(self) -> int:
        """How many of it have been counted."""
        pieces = [*self.arguments, *(piece for part in self.parts.values() for piece in part)]
        return max(self.size, sum(map(len, pieces)))

    @property
    def whole(self) -> list[OutputItem]:
        """The item with all that was streamed of it; before it, text that does not belong to an item of its kind."""
        item = self.item
        if isinstance(item, FunctionCall):
            streamed = {"arguments": item.arguments or "".join(self.arguments), "name": item.name or self.name}
            item = item.model_copy(update=streamed)
        texts = self.parts or {index: [text] for index, text in self.begun.items()}
        if not texts or (isinstance(item, Message) and item.text):
            return [] if item is None else [item]
        parts = [self._part(index, texts[index]) for index in sorted(texts)]
        if item is None or isinstance(item, Message):
            return [(item or Message()).model_copy(update={"content": parts})]
        return [Message().model_copy(update={"content": parts}), item]

    def _part(self, index: int, pieces: list[str]) -> OutputText | Refusal:
        text = "".join(pieces)
        return Refusal(refusal=text) if index in self.refused else OutputText(text=text)


@dataclass
class Assembly:
    """The response of one stream. `response` is the latest that was said of it, `text` what was streamed of its text.

    `budget`: characters of text and arguments that are kept, and items.
    """

    response: Response | None = None
    budget: AnswerBudget = BUDGET
    _items: dict[int, _Item] = field(default_factory=dict)
    _by_id: dict[str, int] = field(default_factory=dict)
    _by_index: dict[int, int] = field(default_factory=dict)
    _latest: int = 0
    _characters: int = 0

    def take(self, event: Event, size: int = 0) -> Event:
        """Take the next event, and return it as it should have been. Raises `TooLarge`.

        `size`: how long the text of the event was; items are kept, and count as long as their events.
        """
        match event:
            case ResponseEvent():
                event = self._completed(event)
                self.response = event.response
            case OtherEvent():
                return (self.end() or event) if says_it_is_the_end(event) else self._repaired(event)
            case OutputItemEvent():
                self._take_item(event, size)
            case TextDelta() if event.type in _KINDS_OF_TEXT:
                self._add_text(event, event.content_index, event.delta)
            case TextDone(type=EventType.OUTPUT_TEXT_DONE):
                self._set_text(event, event.content_index, event.text)
            case RefusalDone():
                self._set_text(event, event.content_index, event.refusal, refused=True)
            case ContentPartEvent(type=EventType.CONTENT_PART_DONE, part=OutputText() as part):
                self._set_text(event, event.content_index, part.text)
            case ContentPartEvent(part=OutputText(text=text)) if text:
                self._grow(len(text))
                self._text_of(event).begun[event.content_index] = text
            case ArgumentsDelta(type=EventType.FUNCTION_CALL_ARGUMENTS_DELTA):
                self._grow(len(event.delta))
                self._item(self._place(event)).arguments.append(event.delta)
            case ArgumentsDone(type=EventType.FUNCTION_CALL_ARGUMENTS_DONE):
                item = self._item(self._place(event))
                if event.arguments:
                    item.arguments[:] = [event.arguments]
                name = (event.model_extra or {}).get("name")
                item.name = name if isinstance(name, str) else ""
        return event

    @property
    def is_whole(self) -> bool:
        """Whether something was streamed, and all items that were announced are done."""
        items = self._items.values()
        return bool(items) and all(item.is_done for item in items)

    @property
    def answer(self) -> Response | None:
        """The response of a stream that broke behind its answer: all items are done, and the last one is the answer."""
        streamed = self._streamed
        last = streamed[-1] if streamed else None
        if not isinstance(last, Message) or not last.text.strip() or last.is_commentary:
            return None
        if any(isinstance(item, FunctionCall) for item in streamed):
            return None
        ended = self.end() if self.is_whole else None
        return None if ended is None else ended.response

    def end(self) -> ResponseEvent | None:
        """The last event of a stream that ends, with a mark of its end but without that event; None if it broke."""
        items = self._items.values()
        # Text that was streamed without an item around it has an end of its own.
        are_whole = bool(items) and all(item.is_done or (item.item is None and item.text_is_done) for item in items)
        if (self.response is not None and self.response.is_finished) or not are_whole:
            return None
        ended = self._ended_by({"type": EventType.COMPLETED})
        return ended if isinstance(ended, ResponseEvent) else None

    # --- the pieces ----------------------------------------------------------------------------------------------

    def _item(self, index: int) -> _Item:
        if index not in self._items and len(self._items) >= self.budget.items:
            raise TooLarge(f"it has more than {self.budget.items} items")
        return self._items.setdefault(index, _Item())

    def _grow(self, characters: int) -> None:
        self._characters += characters
        if self._characters > self.budget.unpacked:
            raise TooLarge(f"its items have more than {self.budget.unpacked} characters")

    def _place(self, event: ItemEvent) -> int:
        """Where the item is that an event is about. Servers without indexes mean the latest."""
        call_id = event.call_id if isinstance(event, ArgumentsDelta | ArgumentsDone) else None
        for known in (event.item_id, call_id or ""):
            if known in self._by_id:
                return self._by_id[known]
        if "output_index" in event.model_fields_set:
            return self._by_index.get(event.output_index, event.output_index)
        return self._latest

    def _next_place(self) -> int:
        return max(self._items, default=-1) + 1

    def _take_item(self, event: OutputItemEvent, size: int) -> None:
        index, is_done = event.output_index, event.type == EventType.OUTPUT_ITEM_DONE
        has_index = "output_index" in event.model_fields_set
        place = self._by_index.get(index, index) if has_index else self._latest
        known = self._items.get(place)
        if known is not None and is_done and known.is_done and event.item.id and known.item == event.item:
            return  # sent twice
        if known is not None and known.item is not None and (known.is_done or not is_done):
            # Servers without indexes call every item the first. Ids do not tell: some servers change them.
            place = self._next_place()
        item = self._item(place)
        self._grow(max(0, size - item.characters))
        item.item, item.is_done, item.size = event.item, is_done, max(size, item.size)
        self._latest = place
        self._by_index[index] = place
        call_id = event.item.call_id if isinstance(event.item, FunctionCall) else None
        self._by_id |= {known: place for known in (event.item.id, call_id) if known}

    def _text_of(self, event: ItemEvent) -> _Item:
        place = self._place(event)
        known = self._items.get(place)
        is_named = event.item_id in self._by_id or "output_index" in event.model_fields_set
        if known is not None and known.is_done and not is_named:
            self._latest = place = self._next_place()
        return self._item(place)

    def _add_text(self, event: TextDelta, part: int, text: str) -> None:
        self._grow(len(text))
        item = self._text_of(event)
        item.parts.setdefault(part, []).append(text)
        if event.type == EventType.REFUSAL_DELTA:
            item.refused.add(part)

    def _set_text(self, event: ItemEvent, part: int, text: str, *, refused: bool = False) -> None:
        item = self._text_of(event)
        item.text_is_done = True
        if text:
            self._grow(max(0, len(text) - max(item.size, sum(map(len, item.parts.get(part, ()))))))
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
        if is_end and not response.output_text:
            streamed = self._streamed or ([] if self.response is None else self.response.output)
            if response.function_calls:
                streamed = [item for item in streamed if isinstance(item, Message)]
            if any(isinstance(item, FunctionCall) or (isinstance(item, Message) and item.text) for item in streamed):
                changed["output"] = _together(streamed, response)
        return event.model_copy(update={"response": response.model_copy(update=changed)}) if changed else event

    def _repaired(self, event: OtherEvent) -> Event:
        """A last event whose response has no id, or is not there: the one that began is meant."""
        return self._ended_by(event.model_dump()) if event.type in _ENDS else event

    def _ended_by(self, fields: dict[str, Any]) -> Event:
        known = (
            {} if self.response is None else self.response.model_dump(exclude={"output", "status"}, exclude_unset=True)
        )
        said = fields.get("response")
        said = {name: value for name, value in said.items() if value} if isinstance(said, dict) else {}
        if fields.get("error"):
            said.setdefault("error", fields["error"])
        response = as_response({**known, "output": self._streamed, **said, "id": known.get("id")})
        try:
            event = ResponseEvent.model_validate(fields | {"response": response})
        except ValidationError:  # nothing was streamed, and nobody said which response it is
            return OtherEvent.model_validate(fields)
        event = self._completed(event)
        self.response = event.response
        return event

    @property
    def _streamed(self) -> list[OutputItem]:
        return [whole for _, item in sorted(self._items.items()) for whole in item.whole]


def _together(streamed: list[OutputItem], response: Response) -> list[OutputItem]:
    """What was streamed, and what only the last event has: comments on the work, calls."""
    known = {item.text for item in streamed if isinstance(item, Message)}
    own = [item for item in response.output if isinstance(item, Message) and item.text and item.text not in known]
    rest = [] if not response.function_calls else [item for item in response.output if not isinstance(item, Message)]
    return [*own, *streamed, *rest]
