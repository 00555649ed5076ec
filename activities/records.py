"""Cutting a response to what the loop needs, so that history stays flat. Plain Python."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from durable_responses.activities.conversation_items import COMPACTIONS
from durable_responses.activities.messages import LARGEST_ANSWERS, Keep, KeptOutput, ResponseRecord
from durable_responses.json_text import checked
from durable_responses.pricing.rates import Billed
from durable_responses.responses_api.models import (
    ANSWER_TOO_LARGE,
    COMPACTED,
    CONTAINER_FILE_CITATION,
    IMAGE_GENERATION_CALL,
    MCP_APPROVAL_REQUEST,
    ErrorDetail,
    FunctionCall,
    IncompleteDetails,
    InputTokensDetails,
    Message,
    OtherItem,
    OutputItem,
    OutputText,
    OutputTokensDetails,
    Reasoning,
    Response,
    ResponseStatus,
    SummaryText,
    ToolUsage,
    UrlCitation,
    Usage,
)
from durable_responses.responses_api.redaction import redact

LARGEST_TEXT = 640 * 1024  # bytes of one response's text as JSON, and as much of arguments: together they fit a payload
LARGEST_SUMMARY = 64 * 1024  # bytes as JSON, of all reasoning summaries
LARGEST_CITATIONS = 256 * 1024  # bytes as JSON
LARGEST_RECORD = 1_900 * 1024  # bytes as JSON; Temporal takes no payload over 2 MiB
LARGEST_KEPT = 128 * 1024  # bytes as JSON that a record may be larger for what may be needed, but probably is not
_BESIDE_ITS_ID = 130  # bytes of an answer that says no more than that it was cut
MOST_TRACES = 500  # items of which only the kind is kept
LONGEST_NAME = 512  # characters of a name, an id, a code
LONGEST_URL = 4096
LONGEST_MESSAGE = 2048
LARGEST_USAGE = 4096  # bytes as JSON: beyond it only the numbers that we know are kept


def record_of(response: Response, keep: Keep | None = None) -> ResponseRecord:
    """The response without its echo of the request, its reasoning and what hosted tools found, unless these are kept.

    It always fits a payload; `replayable` says whether it holds all that was to be kept. Where the text of an answer
    had to be cut, which its end says, the response is incomplete for that reason, and all of the text is in `uncut`;
    where the model also asks for calls, it continues. Where even the calls do not fit, only the text is kept.
    """
    record = _record_of(response)
    if keep is None:
        return record
    if keep is Keep.ALL and has_item_of(response, COMPACTIONS):
        record.compacted = response.output
    whole = _whole(response, record)
    size = None if whole is None else len(to_json(whole))
    more = LARGEST_RECORD if keep is Keep.ALL else len(to_json(record)) + LARGEST_KEPT
    if whole is None or size is None or size > min(more, LARGEST_RECORD):
        record.replayable = False
        return record
    return whole


def compaction_record(response: Response) -> ResponseRecord:
    """The answer to a compaction, its output unchanged; without it, and not `replayable`, where it fits no payload."""
    record = ResponseRecord(
        id=shortened(response.id),
        status=ResponseStatus.COMPLETED,
        model=shortened(response.model),
        created_at=response.created_at,
        output=response.output,
        usage=_usage(response.usage),
        replayable=True,
        billed=billed_of(response),
    )
    stands_for_the_rest = any(not isinstance(item, Message) or item.role != "user" for item in response.output)
    if response.object == COMPACTED and stands_for_the_rest and not has_item_of(response, COMPACTIONS):
        record.is_compaction = True  # as text: servers without encrypted contents do so
    if len(to_json(record)) > LARGEST_RECORD:
        record.output, record.replayable, record.compacted = [], False, response.output
    return record


def has_item_of(response: Response, kinds: Collection[str]) -> bool:
    """Whether an item of the response's output is of one of these kinds."""
    return any(item.type in kinds for item in response.output)


def kept_elsewhere(record: ResponseRecord, kept: KeptOutput) -> ResponseRecord:
    """The record of a compaction whose output is kept somewhere else: of each item it has kind and id."""
    told = [OtherItem(type=item.type, id=item.id) for item in record.compacted or [] if item.type in COMPACTIONS]
    return record.model_copy(update={"output": told, "replayable": True, "kept": kept})


def _whole(response: Response, record: ResponseRecord) -> ResponseRecord | None:
    """The record with its output as it is given back to the model; None where that would not be JSON."""
    if record.is_too_large:
        return None
    texts, arguments, citations = _Room(), _Room(), _Room(LARGEST_CITATIONS)
    output: list[OutputItem] = []
    for item in response.output:
        match item:
            case Message():
                message = _message(texts.fit(item.text), list(_citations(item.citations, citations)), _phase(item))
                output.append(message.model_copy(update={"id": item.id, "role": item.role, "status": item.status}))
            case FunctionCall():
                # Without an id of its own, which no server asks for, and a status, which is the same for all.
                cut = {"arguments": arguments.fit(item.arguments), "id": None, "status": None}
                output.append(item.model_copy(update=cut))
            case OtherItem() if item.type == IMAGE_GENERATION_CALL:
                output.append(_trace(item, arguments))
            case _:
                try:
                    told = checked(item.model_dump(mode="json", exclude_none=True))
                    output.append(type(item).model_validate(without_images(told)))
                except ValueError:
                    return None
    return record.model_copy(update={"output": output, "replayable": True})


def _record_of(response: Response) -> ResponseRecord:
    texts = _Room()
    record = ResponseRecord(
        id=response.id,
        status=shortened(response.status),
        model=shortened(response.model),
        created_at=response.created_at,
        completed_at=response.completed_at,
        output=list(_items(response.output, texts)),
        usage=_usage(response.usage),
        error=error_record(response.error),
        incomplete_details=_details(response.incomplete_details),
        billed=billed_of(response),
    )
    is_cut = texts.has_cut and not record.function_calls
    if len(to_json(record)) > LARGEST_RECORD or not _can_be_answered(record.function_calls):
        is_cut, record.output = True, [_message(_Room().fit(record.output_text), [])]
    if is_cut and record.status == ResponseStatus.COMPLETED:
        record.status = ResponseStatus.INCOMPLETE
        record.incomplete_details = IncompleteDetails(reason=ANSWER_TOO_LARGE)
    if is_cut and texts.has_cut:
        record.uncut = response.output_text
    record.made = [item for item in response.output if _holds_or_names_files(item)] or None
    return record


def _can_be_answered(calls: list[FunctionCall]) -> bool:
    """Whether the answers to all calls fit into one payload, by their ids: too many, or too long ones, do not."""
    return sum(_json_bytes(call.call_id) + _BESIDE_ITS_ID for call in calls) <= LARGEST_ANSWERS


def without_images(told: Any) -> Any:
    """An item as JSON without the images in it, as code leaves them in its outputs: megabytes as text."""
    if isinstance(told, dict):
        return {name: without_images(part) for name, part in told.items() if not _holds_image(part)}
    if isinstance(told, list):
        images = (isinstance(part, dict) and any(map(_holds_image, part.values())) for part in told)
        return [without_images(part) for part, is_image in zip(told, images, strict=True) if not is_image]
    return told


def _holds_image(value: object) -> bool:
    return isinstance(value, str) and value.startswith("data:image/") and len(value) > LONGEST_URL


def _holds_or_names_files(item: OutputItem) -> bool:
    if isinstance(item, Message):
        return any(note.type == CONTAINER_FILE_CITATION for note in item.annotations)
    return isinstance(item, OtherItem) and (item.type == IMAGE_GENERATION_CALL or container_of(item) is not None)


_YEAR_10_000 = 253_402_300_800  # seconds since the epoch; milliseconds are beyond it
_LONGEST_KIND = 60  # characters
_IMAGES = "image_gen"
_NOT_BILLED = ("open_page", "find_in_page", "find")  # of what a model does on the web, searches alone cost


def billed_of(response: Response) -> Billed:
    """What its bill is made of. Calls of hosted tools are counted from its items where the provider does not count."""
    usage = response.usage or Usage()
    details = usage.input_tokens_details
    kinds = Counter(
        item.type for item in response.output if isinstance(item, OtherItem) and _action(item) not in _NOT_BILLED
    )
    told = response.tool_usage
    searches = told.web_search.num_requests if told and told.web_search else None
    doubts = list(usage.doubts) if response.usage is not None else []
    doubts += [f"the price of {shortened(kind, _LONGEST_KIND)} is not known" for kind in _others(told, kinds)]
    return Billed(
        model=shortened(response.model),
        created_at=_created_at(response),
        input_tokens=usage.input_tokens,
        cached_tokens=details.cached_tokens,
        cache_write_tokens=details.cache_write_tokens,
        cache_write_12h_tokens=details.cache_write_12h_tokens,
        output_tokens=usage.output_tokens,
        tier=_short_or_none(response.service_tier),
        web_searches=kinds["web_search_call"] if searches is None else searches,
        file_searches=kinds["file_search_call"],
        code_interpreters=len({container_of(item) for item in response.output if _runs_in_a_container(item)}),
        images=kinds[IMAGE_GENERATION_CALL],
        doubts=tuple(doubts),
    )


def _runs_in_a_container(item: OutputItem) -> bool:
    """Whether it is code, or a command of a shell at the provider: a container is billed for either."""
    return item.type == "code_interpreter_call" or (item.type == "shell_call" and container_of(item) is not None)


def _created_at(response: Response) -> datetime:
    """When a response was created; now, where its provider does not say so in a way that can be read."""
    if not 0 < response.created_at < _YEAR_10_000:
        return datetime.now(UTC)
    return datetime.fromtimestamp(response.created_at, UTC)


def _others(told: ToolUsage | None, kinds: Counter[str]) -> list[str]:
    """The provider's tools of whose use there is no price. Images are counted by their items, where these are there."""
    found = told.others if told is not None else []
    return [kind for kind in found if not (kind == _IMAGES and kinds[IMAGE_GENERATION_CALL])]


def _action(item: OtherItem) -> object:
    action = (item.model_extra or {}).get("action")
    return action.get("type") if isinstance(action, dict) else None


def container_of(item: OutputItem) -> str | None:
    """The container that a call of the code interpreter, or of a shell at the provider, has run in."""
    told = item.model_extra or {}
    environment = told.get("environment")
    container = told.get("container_id") or (isinstance(environment, dict) and environment.get("container_id"))
    return container if isinstance(container, str) else None


def unfinished_record(
    response_id: str, text: str, status: str = ResponseStatus.IN_PROGRESS, usage: Usage | None = None
) -> ResponseRecord:
    """A response of which only the text so far is known, and perhaps what it has cost."""
    room = _Room()
    output = [_message(room.fit(text), [])] if text else []
    record = ResponseRecord(id=response_id, status=status, output=list(output), usage=_usage(usage))
    record.uncut = text if room.has_cut else None
    record.billed = billed_of(record)
    return record


def too_large_record(response_id: str, text: str) -> ResponseRecord:
    """A response that was left because it exceeds the budget, with its text so far."""
    record = unfinished_record(response_id, text, ResponseStatus.INCOMPLETE)
    record.incomplete_details = IncompleteDetails(reason=ANSWER_TOO_LARGE)
    return record


@dataclass
class _Room:
    """What all texts of a response, or all arguments, may still take. Bytes of JSON, as history stores them."""

    left: int = LARGEST_TEXT
    has_cut: bool = False

    def fit(self, text: str) -> str:
        kept = text[: self.left]
        while (size := _json_bytes(kept)) > self.left:
            # Escapes make some parts larger than others, so the share that fits is a guess.
            kept = kept[: len(kept) * self.left // size]
        self.left -= size
        if len(kept) == len(text):
            return text
        self.has_cut = True
        return f"{kept}\n[cut: the first {len(kept)} of {len(text)} characters]"


def _json_bytes(text: str) -> int:
    return len(to_json(text)) - 2  # without the quotation marks


def shortened(text: str, limit: int = LONGEST_NAME) -> str:
    """The text, no longer than names are."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _short_or_none(text: str | None) -> str | None:
    return None if text is None else shortened(text)


def _usage(usage: Usage | None) -> Usage | None:
    if usage is None or len(to_json(usage)) <= LARGEST_USAGE:
        return usage
    return Usage(
        input_tokens=usage.input_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=usage.input_tokens_details.cached_tokens),
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=usage.output_tokens_details.reasoning_tokens),
        total_tokens=usage.total_tokens,
    )


def error_record(error: ErrorDetail | None) -> ErrorDetail | None:
    """What is kept of an error."""
    if error is None:
        return None
    return ErrorDetail(
        code=_short_or_none(error.code),
        message=redact(error.message, limit=LONGEST_MESSAGE),
        type=_short_or_none(error.type),
        param=_short_or_none(error.param),
    )


def _details(details: IncompleteDetails | None) -> IncompleteDetails | None:
    return None if details is None else IncompleteDetails(reason=_short_or_none(details.reason))


def _items(output: list[OutputItem], texts: _Room) -> Iterable[OutputItem]:
    arguments, summaries, citations, traces = _Room(), _Room(LARGEST_SUMMARY), _Room(LARGEST_CITATIONS), 0
    for item in output:
        match item:
            case Message() if item.is_of_the_model:
                yield _message(texts.fit(item.text), list(_citations(item.citations, citations)), _phase(item))
            case FunctionCall():
                yield FunctionCall(
                    call_id=item.call_id, name=shortened(item.name), arguments=arguments.fit(item.arguments)
                )
            case Reasoning() if item.summary:
                yield Reasoning(summary=[SummaryText(text=summaries.fit(part.text)) for part in item.summary])
            case OtherItem() if traces < MOST_TRACES:
                traces += 1
                yield _trace(item, arguments)


def _message(text: str, citations: list[UrlCitation], phase: str | None = None) -> Message:
    return Message(content=[OutputText(text=text, annotations=list(citations))], phase=phase)


def _phase(message: Message) -> str | None:
    return message.phase or ("commentary" if message.is_commentary else None)


def _citations(citations: list[UrlCitation], room: _Room) -> Iterable[UrlCitation]:
    """The citations that have room. A URL that was cut would lead elsewhere, so one that is too long is left out."""
    for note in citations:
        kept = UrlCitation(
            url=note.url, title=_short_or_none(note.title), start_index=note.start_index, end_index=note.end_index
        )
        size = len(to_json(kept))
        if len(note.url) <= LONGEST_URL and size <= room.left:
            room.left -= size
            yield kept


def _trace(item: OtherItem, arguments: _Room) -> OtherItem:
    """Kind and ids of an item: enough to see whether it needs an answer; and what it asks to be approved."""
    told = item.model_extra or {}
    call_id = told.get("call_id")
    named = {"call_id": shortened(call_id)} if isinstance(call_id, str) and call_id else {}
    if item.type == MCP_APPROVAL_REQUEST:
        named |= {name: shortened(told[name]) for name in ("server_label", "name") if isinstance(told.get(name), str)}
        if isinstance(told.get("arguments"), str):
            # Nobody approves what they cannot see: a request that has to be cut is not answered.
            named |= {"arguments": told["arguments"]} if arguments.fit(told["arguments"]) == told["arguments"] else {}
        if item.id is not None and len(item.id) > LONGEST_NAME:  # cut, it would be that of another request
            return OtherItem.model_validate({"type": item.type, **named})
    return OtherItem.model_validate({"type": shortened(item.type), "id": _short_or_none(item.id), **named})
