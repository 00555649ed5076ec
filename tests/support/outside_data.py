"""What others may send, as strategies of hypothesis: any values, and mutations of real ones."""

import copy
import json
import re
from typing import Any

from hypothesis import strategies as st
from temporalio.contrib.pydantic import pydantic_data_converter

from durable_responses.workflows.payloads import LARGEST_PAYLOAD, TotalPayloadConverter, Unreadable

texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(["\ud83d", "\x00", "[" * 3000, "\x01" * 9000])
numbers = st.integers() | st.floats() | st.sampled_from([10**300, 10**4000, 1e300, -1, 300_000_000_000])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(texts, parts, max_size=4),
    max_leaves=12,
)
nested = st.integers(1, 600).map(lambda depth: json.loads("[" * depth + "]" * depth))
anything = values | nested
json_texts = anything.map(json.dumps) | texts | st.integers(0, 5000).map(lambda n: '{"a":' * n) | st.just("9" * 5000)


def travelled(value: Any, kind: type | None = None) -> Any:
    """The value as the other side gets it. It fits into a payload, and is read back as what it was."""
    [payload] = pydantic_data_converter.payload_converter.to_payloads([value])
    assert len(payload.data) <= LARGEST_PAYLOAD
    back = TotalPayloadConverter().from_payloads([payload], [kind] if kind else None)[0]
    assert not isinstance(back, Unreadable)
    return back


# --- mutations ---------------------------------------------------------------------------------------------------

Place = tuple[Any, Any]  # a container, and a key or an index of it

_SMALL: list[Any] = [None, True, 0, -1, 2.5, float("nan"), 1e999, 10**400, "", "x", "\ud83d", [], {}, [None], {"a": 1}]
# Copies: a further mutation may change a part of what came in place of another.
_replacements = st.sampled_from(_SMALL).map(copy.deepcopy) | anything


def _places(value: Any) -> list[Place]:
    """Every field and every element inside of a JSON value."""
    here: list[Place] = []
    if isinstance(value, dict | list):
        here = [(value, key) for key in (list(value) if isinstance(value, dict) else range(len(value)))]
    return here + [place for container, key in here for place in _places(container[key])]


@st.composite
def mutated(draw: st.DrawFn, value: Any, most: int = 4) -> Any:
    """A JSON value in which up to so many parts are missing, null, of another type, repeated or elsewhere."""
    whole = [copy.deepcopy(value)]
    for _ in range(draw(st.integers(0, most))):
        container, key = draw(st.sampled_from(_places(whole)))
        was = container[key]
        how = draw(st.sampled_from(["drop", "null", "replace", "wrap", "name", "text", "repeat", "swap", "add"]))
        if how == "drop" and container is not whole:
            del container[key]
        elif how == "null":
            container[key] = None
        elif how == "replace":
            container[key] = draw(_replacements)
        elif how == "wrap":
            container[key] = [was]
        elif how == "name":
            container[key] = {"value": was}
        elif how == "text" and not isinstance(was, str):
            container[key] = json.dumps(was)
        elif how == "repeat" and isinstance(was, list) and was:
            was.insert(draw(st.integers(0, len(was))), copy.deepcopy(draw(st.sampled_from(was))))
        elif how == "swap" and isinstance(was, list):
            container[key] = draw(st.permutations(was))
        elif how == "add" and isinstance(was, dict):
            was[draw(texts)] = draw(_replacements)
    return whole[0]


@st.composite
def disturbed(draw: st.DrawFn, events: list[Any]) -> list[Any]:
    """A stream of which some events are lost, sent twice, or overtaken by others, and some are mutated."""
    stream = list(events)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(stream) - 1))
        match draw(st.sampled_from(["lose", "lose kind", "twice", "overtake", "mutate", "without", "without"])):
            case "lose" if len(stream) > 1:
                del stream[at]
            case "lose kind":
                kind = _type_of(stream[at])
                stream = [event for event in stream if _type_of(event) != kind] or stream
            case "twice":
                stream.insert(draw(st.integers(0, len(stream))), stream[at])
            case "overtake":
                stream.insert(draw(st.integers(0, len(stream) - 1)), stream.pop(at))
            case "mutate":
                stream[at] = draw(mutated(stream[at], 2))
            case "without":
                lost = draw(st.sampled_from(["output_index", "output_index", "content_index", "item_id", "type"]))
                stream = [_without(event, lost) for event in stream]
    return stream


def _type_of(event: Any) -> Any:
    return event.get("type") if isinstance(event, dict) else event


def _without(event: Any, name: str) -> Any:
    return {key: value for key, value in event.items() if key != name} if isinstance(event, dict) else event


# --- what must not be lost ---------------------------------------------------------------------------------------


def written_in(response: Any) -> list[str]:
    """The texts in the `output_text` parts of the messages of a response, as it was sent."""
    items = response.get("output") if isinstance(response, dict) else None
    return [text for item in (items if isinstance(items, list) else []) for text in written_in_item(item)]


def written_in_item(item: Any) -> list[str]:
    """The same for one item."""
    parts = item.get("content") if isinstance(item, dict) and item.get("type") == "message" else None
    return [
        part["text"]
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(part, dict) and part.get("type") == "output_text" and isinstance(part.get("text"), str)
    ]


def calls_in(response: Any) -> list[Any]:
    """The function calls of a response, as they were sent."""
    items = response.get("output") if isinstance(response, dict) else None
    return (
        [it for it in items if isinstance(it, dict) and it.get("type") == "function_call"]
        if isinstance(items, list)
        else []
    )


def legible(text: str) -> str:
    """The text, to be compared: what stands for halves of characters is all the same."""
    return re.sub(r"[?\ufffd]+", "?", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
