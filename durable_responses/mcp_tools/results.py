"""What the model reads of a server's answer to a call. No I/O.

Text stays as it is. What is no text is named with its type and size: history has no room for its bytes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import mcp_types as types
from pydantic_core import from_json, to_json

NOTHING = "(The tool has answered nothing.)"


def text_of(result: types.CallToolResult) -> str:
    """The answer as text: its content, and its structured content where that says something else."""
    parts = list(_parts(result.content))
    structured = result.structured_content
    if structured is not None and not _says_the_same(parts, structured):
        parts.append(to_json(structured).decode())
    return "\n\n".join(parts) or NOTHING


def _parts(content: Sequence[types.ContentBlock]) -> Iterator[str]:
    for block in content:
        match block:
            case types.TextContent(text=text):
                yield text
            case types.ImageContent(mime_type=kind, data=data) | types.AudioContent(mime_type=kind, data=data):
                yield f"[{kind}, {_size(data):,} bytes]"
            case types.ResourceLink(uri=uri, name=name, mime_type=kind):
                yield f"[resource {name}: {uri}{f' ({kind})' if kind else ''}]"
            case types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, text=text)):
                yield f"[resource {uri}]\n{text}"
            case types.EmbeddedResource(resource=types.BlobResourceContents(uri=uri, mime_type=kind, blob=data)):
                yield f"[resource {uri}: {kind or 'bytes'}, {_size(data):,} bytes]"


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
