"""The items of a conversation as they travel and are sent again, and the point that it has come to. Plain Python.

A point is a chain of hashes, so it can be told what adding items leads to without having those before them: the
workflow does so, which holds no items, and each worker checks by it what it has put together.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from durable_responses.activities.messages import ConversationPoint, CreateResponse
from durable_responses.responses_api.models import IMAGE_GENERATION_CALL, Response

START = ConversationPoint()
COMPACTIONS = ("compaction", "compaction_summary", "context_compaction")
"""The types of the item that stands for all before it: OpenAI's, then those of other servers."""
_HASH_CHARACTERS = 24  # each turn has two of them in history


def encoded(item: Any) -> bytes:
    """An item as JSON, the same for every worker and whatever it has travelled through. Raises `ValueError`."""
    return json.dumps(item, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def after(point: ConversationPoint, items: Iterable[bytes]) -> ConversationPoint:
    """The point that a conversation has come to with these items more."""
    count, size, digest = point.count, point.size, point.hash
    for item in items:
        count, size = count + 1, size + len(item)
        digest = hashlib.sha256(digest.encode() + item).hexdigest()[:_HASH_CHARACTERS]
    return ConversationPoint(count=count, hash=digest, size=size)


def own_items(create: CreateResponse) -> list[Any]:
    """The items that a create without an opening adds to its conversation."""
    return input_items([*create.new_items, *map(user_message, create.texts)])


def user_message(text: str) -> dict[str, Any]:
    """A text of the user as an item."""
    return {"role": "user", "content": text}


def input_items(given: str | Sequence[Any]) -> list[Any]:
    """A request's `input` as a list of plain items."""
    if isinstance(given, str):
        return [user_message(given)]
    return [_plain(item) for item in given]


def output_items(response: Response) -> list[Any]:
    """The output of a response as it is given back to the model, without images, which are too large for history."""
    items = [_as_given(_plain(item)) for item in response.output]
    return [item for item in items if kind_of(item) != IMAGE_GENERATION_CALL or item.get("result")]


def sendable(items: Iterable[Any], *, stored: bool) -> list[Any]:
    """The items that a server can be sent. What it has not stored, it cannot look up: reasoning without contents."""
    return [item for item in items if stored or not _is_only_a_reference(item)]


def since_compaction(items: Sequence[Any], opens_with: int = 0) -> list[Any]:
    """The items from the latest compaction on: the model is given those before it within that item.

    The first `opens_with` are the output of one, which is never cut. Calls before it whose answers come after it stay:
    servers refuse answers without a call.
    """
    places = [place for place, item in enumerate(items) if kind_of(item) in COMPACTIONS]
    if not places or places[-1] < opens_with:
        return list(items)
    before, since = items[: places[-1]], items[places[-1] :]
    answered = {item.get("call_id") for item in since if kind_of(item) == "function_call_output"}
    answered -= {item.get("call_id") for item in since if kind_of(item) == "function_call"}
    calls = [item for item in before if kind_of(item) == "function_call" and item.get("call_id") in answered]
    return [since[0], *calls, *since[1:]]


_ANSWERS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def without_open_calls(items: Sequence[Any]) -> list[Any]:
    """The items without calls that nothing after them answers, as a compaction may put out: servers refuse these."""
    answered: set[Any] = set()
    kept = []
    for item in reversed(items):
        kind = kind_of(item)
        if kind in _ANSWERS.values():
            answered.add((kind, item.get("call_id")))
        if kind not in _ANSWERS or (_ANSWERS[kind], item.get("call_id")) in answered:
            kept.append(item)
    return kept[::-1]


def kind_of(item: Any) -> Any:
    """The type that an item as JSON has; None for what is not an item."""
    return item.get("type") if isinstance(item, dict) else None


def is_no_response(named: str | None) -> bool:
    """Whether what an answer names as the response that it continues from is none.

    A gateway in front of a chat model names that model's completion, and forgets it (LiteLLM without a database). Some
    spell nothing as a text. The id of another response than the one that was sent proves nothing either way.
    """
    return named is None or _NO_RESPONSE.fullmatch(named.strip()) is not None


_NO_RESPONSE = re.compile(r"(?:chatcmpl|(?:cmpl|gen|msg|completion)[-_]).*|null|none|nil|undefined|false|[0-]*", re.I)


def _as_given(item: Any) -> Any:
    """A user's message, which a compaction gives back, without what only texts of the model have."""
    if kind_of(item) != "message" or item.get("role") == "assistant" or not isinstance(item.get("content"), list):
        return item
    return {**item, "content": [_without_annotations(part) for part in item["content"]]}


def _without_annotations(part: Any) -> Any:
    return {name: value for name, value in part.items() if name != "annotations" or value}


def _is_only_a_reference(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    return not item.get("encrypted_content") and not item.get("content")


def _plain(item: Any) -> Any:
    return item.model_dump(mode="json", exclude_none=True) if isinstance(item, BaseModel) else item
