"""Images of tools in a request: what stands in it for the references that history has."""

from typing import Any

from durable_responses.activities.shown_images import has_images, with_images, without_images
from durable_responses.responses_api.models import FunctionCallOutput, InputImage, InputText, OtherPart

OLD, NEW = "kept:1-1-1.png", "kept:2-1-1.gif"
DATA = {"1-1-1.png": b"123456", "2-1-1.gif": b"abc"}
SAID = {"type": "input_text", "text": "Look:"}
ADDRESS = {"type": "input_image", "image_url": "https://h/a.png", "detail": "auto"}


def answer(*urls: str) -> FunctionCallOutput:
    parts: list[InputText | InputImage | OtherPart] = [
        InputText(text="Look:"),
        *(InputImage(image_url=url) for url in urls),
    ]
    return FunctionCallOutput(call_id="c", output=parts)


def outputs(items: list[Any]) -> list[Any]:
    return [item["output"] for item in items]


def image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def text(said: str) -> dict[str, Any]:
    return {"type": "input_text", "text": said}


def test_references_become_images() -> None:
    """Whether the items are objects or come from history."""
    plain = answer(NEW).model_dump(mode="json")
    shown = outputs(with_images([answer(OLD), plain], DATA.__getitem__))
    assert shown == [
        [SAID, image("data:image/png;base64,MTIzNDU2")],
        [SAID, image("data:image/gif;base64,YWJj")],
    ]


def test_what_is_no_reference_stays_as_it_is() -> None:
    others = [{"role": "user", "content": "Hi."}, FunctionCallOutput(call_id="c", output="text")]
    assert with_images(others, DATA.__getitem__) == others
    assert not has_images(others)
    assert outputs(with_images([answer("https://h/a.png")], DATA.__getitem__)) == [[SAID, ADDRESS]]


def test_the_newest_images_have_the_room() -> None:
    [[_, old], [_, new]] = outputs(with_images([answer(OLD), answer(NEW)], DATA.__getitem__, most_bytes=8))
    assert old["text"].startswith("(The image is not sent again")
    assert new["type"] == "input_image"


def test_an_image_that_is_not_here_is_named() -> None:
    def read(name: str) -> bytes:
        raise FileNotFoundError(name)

    [[_, gone]] = outputs(with_images([answer(OLD)], read))
    assert gone["text"].startswith("(The image is not kept where this worker runs")


def test_an_image_that_a_server_does_not_give_back_is_named() -> None:
    """It need not list the bytes of what it was sent."""
    item = {"type": "function_call_output", "call_id": "c", "output": [SAID, {"type": "input_image"}]}
    [[_, gone]] = outputs(with_images([item], DATA.__getitem__))
    assert gone["text"].startswith("(The image is not there any more")


def test_images_are_left_out() -> None:
    items = [answer(OLD, NEW), FunctionCallOutput(call_id="c", output="text")]
    [first, second] = without_images(items, "It is blind.")
    assert (first["output"], second) == ([SAID, text("(It is blind.)"), text("(It is blind.)")], items[1])
    [first, _] = without_images(items, "It cannot be read.", lambda url: url == NEW)
    assert first["output"] == [SAID, image(OLD), text("(It cannot be read.)")]
