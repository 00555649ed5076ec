"""What the model reads of a server's answer."""

import base64
from typing import Any

import mcp_types as types
import pytest

from durable_responses.mcp_tools.results import NOTHING, read
from durable_responses.tools.images import LARGEST_IMAGE, MOST_IMAGES, Image

PNG = b"\x89PNG\r\n\x1a\n"
JPEG, GIF, WEBP = b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF1234WEBP"


def image(data: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "data": base64.b64encode(data).decode(), "mimeType": kind}


def blob(data: bytes, kind: str) -> dict[str, Any]:
    resource = {"uri": "a://b", "blob": base64.b64encode(data).decode(), "mimeType": kind}
    return {"type": "resource", "resource": resource}


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
        ([image(PNG)], "[image 1: image/png, 8 bytes]"),
        ([image(GIF), text("a"), image(JPEG)], "[image 1: image/gif, 6 bytes]\n\na\n\n[image 2: image/jpeg, 4 bytes]"),
        ([blob(PNG, "image/png")], "[resource a://b]\n[image 1: image/png, 8 bytes]"),
        ([blob(b"%PDF", "application/pdf")], "[resource a://b: application/pdf, 4 bytes]"),
        ([image(b"<svg/>", "image/svg+xml")], "[image/svg+xml, 6 bytes: not an image of a kind that can be shown]"),
        (
            [{"type": "image", "data": "no base64!", "mimeType": "image/png"}],
            "[image/png, 7 bytes: not an image of a kind that can be shown]",
        ),
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
    """What is neither text nor an image that can be shown is named: history has no room for it."""
    assert read(answer(*content))[0] == told


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
    assert read(answer(*content, structured=structured))[0] == told


@pytest.mark.parametrize(("data", "suffix"), [(PNG, "png"), (JPEG, "jpg"), (GIF, "gif"), (WEBP, "webp")])
def test_an_image_is_what_its_bytes_are(data: bytes, suffix: str) -> None:
    """A provider looks at them, whatever the server says."""
    assert read(answer(image(data, "image/bmp")))[1] == (Image(suffix, data),)


def test_an_image_that_is_too_large_is_named() -> None:
    told, images = read(answer(image(PNG + bytes(LARGEST_IMAGE))))
    assert (told, images) == ("[image/png, 10,485,768 bytes: too large to be shown]", ())


def test_of_many_images_the_first_are_shown() -> None:
    told, images = read(answer(*[image(PNG)] * (MOST_IMAGES + 1)))
    assert len(images) == MOST_IMAGES
    assert told.endswith("[image/png, 8 bytes: not shown, as only 20 images of an answer are]")
