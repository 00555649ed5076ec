"""What the model reads of a server's answer."""

from typing import Any

import mcp_types as types
import pytest

from durable_responses.mcp_tools.results import NOTHING, text_of

PIXEL = "iVBORw0KGgo="  # eight bytes


def answer(*content: dict[str, Any], structured: Any = None) -> types.CallToolResult:
    """An answer as it comes."""
    said = {"content": list(content), "structuredContent": structured}
    return types.CallToolResult.model_validate(said, by_name=False)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], NOTHING),
        ([text("a"), text("b")], "a\n\nb"),
        ([{"type": "image", "data": PIXEL, "mimeType": "image/png"}], "[image/png, 8 bytes]"),
        ([{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}], "[audio/wav, 3 bytes]"),
        ([{"type": "resource_link", "uri": "file:///a.txt", "name": "a"}], "[resource a: file:///a.txt]"),
        (
            [{"type": "resource_link", "uri": "file:///a.txt", "name": "a", "mimeType": "text/plain"}],
            "[resource a: file:///a.txt (text/plain)]",
        ),
        ([{"type": "resource", "resource": {"uri": "a://b", "text": "hello"}}], "[resource a://b]\nhello"),
        ([{"type": "resource", "resource": {"uri": "a://b", "blob": "AAA="}}], "[resource a://b: bytes, 2 bytes]"),
    ],
)
def test_content_of_all_kinds_becomes_text(content: list[dict[str, Any]], told: str) -> None:
    """What is no text is named: history has no room for it."""
    assert text_of(answer(*content)) == told


@pytest.mark.parametrize(
    ("content", "structured", "told"),
    [
        ([], {"a": 1}, '{"a":1}'),
        ([text("Sunny.")], {"degrees": 20}, 'Sunny.\n\n{"degrees":20}'),
        ([text('{"a": 1}')], {"a": 1}, '{"a": 1}'),
        ([text("3")], {"result": 3}, "3"),
        ([text("three")], {"result": "three"}, "three"),
        ([text("1"), text("2")], {"result": [1, 2]}, "1\n\n2"),
        ([text("1")], {"result": [1, 2]}, '1\n\n{"result":[1,2]}'),
    ],
)
def test_structured_content_is_told_where_the_text_does_not_say_it(
    content: list[dict[str, Any]], structured: Any, told: str
) -> None:
    """Servers say it twice, for clients that read one of the two."""
    assert text_of(answer(*content, structured=structured)) == told
