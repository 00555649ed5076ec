"""Images of tools in a request: the references that history has are replaced by what the worker keeps.

The newest are sent, so many bytes of them. One that is not where this worker runs, or for which there is no room, is
named in its place, so that the model knows that there was one.
"""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from durable_responses.activities.conversation_items import kind_of
from durable_responses.tools.images import MOST_SENT, referred_to

logger = logging.getLogger(__name__)

_ANSWER, _IMAGE = "function_call_output", "input_image"
_NOT_HERE = "(The image is not kept where this worker runs: call the tool again if you need it.)"
_NO_ROOM = "(The image is not sent again, as newer ones have more bytes than a request may have.)"
_NOT_GIVEN_BACK = "(The image is not there any more: call the tool again if you need it.)"


def has_images(items: Sequence[Any]) -> bool:
    """Whether any answer to a call among the items has an image."""
    return any(kind_of(part) == _IMAGE for item in items for part in _parts(item))


def with_images(items: Sequence[Any], read: Callable[[str], bytes], most_bytes: int = MOST_SENT) -> list[Any]:
    """The items with images in place of references. `read` gives a kept one by its name, and raises `OSError`."""
    left, shown = most_bytes, []
    for item in reversed(items):
        parts = []
        for part in reversed(_parts(item)):
            given, size = _shown(part, read, left)
            left -= size
            parts.append(given)
        shown.append({**_plain(item), "output": parts[::-1]} if parts else item)
    return shown[::-1]


def without_images(items: Sequence[Any], why: str, those: Callable[[str], bool] = bool) -> list[Any]:
    """The items with a text in place of each image of a tool whose address is one of `those`; by default of all."""

    def instead(part: Any) -> Any:
        is_one = kind_of(part) == _IMAGE and those(str(part.get("image_url")))
        return _said(f"({why})") if is_one else part

    return [
        {**_plain(item), "output": list(map(instead, _parts(item)))} if any(map(those, urls_of([item]))) else item
        for item in items
    ]


def urls_of(items: Sequence[Any]) -> list[str]:
    """The addresses of all images of tools among the items."""
    return [str(part.get("image_url")) for item in items for part in _parts(item) if kind_of(part) == _IMAGE]


def _shown(part: Any, read: Callable[[str], bytes], room: int) -> tuple[Any, int]:
    """A part as it is sent, and the bytes of its image."""
    if kind_of(part) != _IMAGE:
        return part, 0
    if (kept := referred_to(part.get("image_url"))) is None:
        if part.get("image_url") or part.get("file_id"):
            return part, 0
        return _said(_NOT_GIVEN_BACK), 0  # a server need not list the bytes of what it was sent
    name, media_type = kept
    try:
        data = read(name)
    except OSError as error:
        logger.warning("An image of a tool cannot be sent: %s", error)
        return _said(_NOT_HERE), 0
    if len(data) > room:
        return _said(_NO_ROOM), 0
    return {**part, "image_url": f"data:{media_type};base64,{base64.b64encode(data).decode()}"}, len(data)


def _said(text: str) -> dict[str, str]:
    return {"type": "input_text", "text": text}


def _parts(item: Any) -> Sequence[Any]:
    """The parts of an answer to a call, as plain objects; none of any other item."""
    plain = _plain(item)
    output = plain.get("output") if kind_of(plain) == _ANSWER else None
    return output if isinstance(output, list) else ()


def _plain(item: Any) -> Any:
    if isinstance(item, BaseModel):
        return item.model_dump(mode="json", exclude_none=True)
    return item if isinstance(item, Mapping) else {}
