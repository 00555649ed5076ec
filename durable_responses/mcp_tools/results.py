"""What the model is given of a server's answer to a call. No I/O.

Text stays as it is. Images that a model can look at are given beside it, and numbered in the text. What is neither is
named with its type and size: history has no room for its bytes.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any

import mcp_types as types
from pydantic_core import from_json, to_json

from durable_responses.tools.images import LARGEST_IMAGE, MOST_IMAGES, TYPES, Image, decoded, image_of

_IS_TEXT = re.compile(r"text/|application/(?:[\w.-]+\+)?(?:json|xml|yaml|x-yaml|toml|javascript)\b", re.IGNORECASE)
NOTHING = "(The tool has answered nothing.)"


def read(result: types.CallToolResult) -> tuple[str, tuple[Image, ...]]:
    """The answer as text, and its images: its content, and its structured content where that says something else."""
    images: list[Image] = []
    parts = list(_parts(result.content, images))
    structured = result.structured_content
    if structured is not None and not _says_the_same(parts, structured):
        parts.append(to_json(structured).decode())
    return "\n\n".join(parts) or NOTHING, tuple(images)


def _parts(content: Sequence[types.ContentBlock], images: list[Image]) -> Iterator[str]:
    for block in content:
        match block:
            case types.TextContent(text=text):
                yield text
            case types.ImageContent(mime_type=kind, data=data):
                yield _image(kind, data, images)
            case types.AudioContent(mime_type=kind, data=data):
                yield f"[{kind}, {_size(data):,} bytes]"
            case types.ResourceLink(uri=uri, name=name, mime_type=kind):
                yield f"[resource {name}: {uri}{f' ({kind})' if kind else ''}]"
            case types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, text=text)):
                yield f"[resource {uri}]\n{text}"
            case types.EmbeddedResource(resource=types.BlobResourceContents(uri=uri, mime_type=kind, blob=data)):
                if kind is not None and kind in TYPES.values():
                    yield f"[resource {uri}]\n{_image(kind, data, images)}"
                elif (said := _text(kind, data)) is not None:
                    yield f"[resource {uri}]\n{said}"
                else:
                    yield f"[resource {uri}: {kind or 'bytes'}, {_size(data):,} bytes]"


def _image(kind: str, data: str, images: list[Image]) -> str:
    """What the text says of an image, which is one of the `images` from then on if the model is shown it."""
    size = f"{kind}, {_size(data):,} bytes"
    if _size(data) > LARGEST_IMAGE:
        return f"[{size}: too large to be shown]"
    if len(images) >= MOST_IMAGES:
        return f"[{size}: not shown, as only {MOST_IMAGES} images of an answer are]"
    try:
        image = image_of(decoded(data)[0])
    except ValueError:
        image = None
    if image is None:
        return f"[{size}: not an image of a kind that can be shown]"
    images.append(image)
    return f"[image {len(images)}: {TYPES[image.suffix]}, {len(image.data):,} bytes]"


def _text(kind: str | None, data: str) -> str | None:
    """What bytes say that are text, by what their server says of them; None for others."""
    if kind is None or not _IS_TEXT.match(kind):
        return None
    try:
        return base64.b64decode("".join(data.split()), validate=True).decode()
    except ValueError:  # of base64, or of UTF-8
        return None


def _size(base64: str) -> int:
    return len(base64) * 3 // 4 - base64[-2:].count("=")


def _says_the_same(parts: Sequence[str], structured: Any) -> bool:
    """Whether it is in the text already: as JSON, or as Python servers wrap what a function returns."""
    if structured in map(_read, parts):
        return True
    if not isinstance(structured, dict) or structured.keys() != {"result"}:
        return False
    wrapped = structured["result"]
    return wrapped in [*parts, *map(_read, parts)] or (isinstance(wrapped, list) and wrapped == [*map(_read, parts)])


def _read(text: str) -> Any:
    """What a text says as JSON; the text itself where it is none."""
    try:
        return from_json(text)
    except ValueError:
        return text
