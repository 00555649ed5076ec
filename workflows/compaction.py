"""When a run has its conversation compacted, and what it makes of the outcome. Plain Python, no I/O.

A server that compacts by itself (`context_management`) does not do so in turns that are only function calls, which are
most turns of a run. So the run does it before the next create, once the conversation is too long. A compaction begins a
new chain: its output is what the next create sends, with what is new, and without `previous_response_id`.
"""

from collections.abc import Sequence
from typing import TypeVar, cast

from durable_responses.activities.conversation_items import COMPACTIONS
from durable_responses.activities.messages import FailureType, ResponseRecord
from durable_responses.json_text import both_ends
from durable_responses.responses_api.models import CallAnswer, FunctionCallOutput, Response, ResponseStatus
from durable_responses.tools.outputs import id_in

COMPACTION = "compaction"
"""The type of the item, and the status under which a compaction is listed in the usage."""

_FULL_AT = 0.85  # of the window
_LEAST_ROOM = 1_000  # bytes of all answers together
_REFUSALS = (
    FailureType.BAD_REQUEST,
    FailureType.CHAIN_REJECTED,
    FailureType.UNSUPPORTED_BY_PROVIDER,
    FailureType.NOT_FOUND,
    FailureType.MALFORMED_ANSWER,
    FailureType.ANSWER_TOO_LARGE,
)


def has_compaction(response: Response) -> bool:
    """Whether the provider has compacted the conversation within this response."""
    return any(item.type in COMPACTIONS for item in response.output)


def is_compaction(response: ResponseRecord) -> bool:
    """Whether a response that was to be a compaction is one that the run can go on from."""
    compacts = has_compaction(response) or bool(response.is_compaction)
    return response.status == ResponseStatus.COMPLETED and compacts and bool(response.replayable)


def tokens_after(response: Response) -> int | None:
    """The tokens that the conversation has come to with a response; None where that is not known.

    A response that the provider has compacted in its middle counts what was there before, too.
    """
    if response.usage is None or has_compaction(response):
        return None
    return response.usage.input_tokens + response.usage.output_tokens


def bound_after(response: Response) -> int | None:
    """The most tokens that the next response is given of this conversation; None where the usage cannot be trusted."""
    usage = response.usage
    # Where a number was missing, or could not be read, history has 0.
    if usage is None or not (usage.input_tokens and usage.output_tokens) or usage.doubts:
        return None
    return tokens_after(response)


def is_nearly_full(tokens: int | None, window: int | None) -> bool:
    """Whether a conversation of so many tokens is compacted before the next create."""
    return tokens is not None and window is not None and tokens > _FULL_AT * window


def is_refused(failure: FailureType | None) -> bool:
    """Whether a failed create says that the provider does not compact in this way."""
    return failure in _REFUSALS


Answer = TypeVar("Answer", bound=CallAnswer)


def cut_answers(answers: Sequence[Answer], tokens: int | None, window: int) -> list[Answer]:
    """The answers to calls within the room that the conversation of so many `tokens` leaves: head, tail and size.

    A token has a byte at least, so what fits in bytes fits in tokens.
    """
    room = max(_LEAST_ROOM, (window - (tokens or window)) // 2) // max(1, len(answers))
    return [_cut(answer, room) for answer in answers]


def _cut(answer: Answer, room: int) -> Answer:
    if not isinstance(answer, FunctionCallOutput):
        return answer
    return cast(Answer, answer.with_text(_ends(answer.text, room)))


def _ends(text: str, room: int) -> str:
    data = text.encode(errors="replace")
    if len(data) <= room:
        return text
    head, tail = both_ends(data, room // 2, room // 2)
    kept = id_in(text)
    rest = f'read_output with id "{kept}" has all of it.' if kept else "If you need the rest, get it in smaller parts."
    return f"{head}\n[cut: the conversation has no room for the {len(data):,} bytes of this answer. {rest}]\n{tail}"
