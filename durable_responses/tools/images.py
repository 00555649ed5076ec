"""Images in a tool's answer that a model is shown: which those are, and how a run names what a worker keeps. No I/O.

History has no room for their bytes. It has references, which stand where the API has an image's address, and which the
worker that sends a request replaces by what it has kept.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from durable_responses.sizes import MEBIBYTE

LARGEST_IMAGE = 10 * MEBIBYTE
MOST_IMAGES = 20  # of one answer
MOST_SENT = 32 * MEBIBYTE  # of all in one request: a conversation that is sent in full has old ones, too
TYPES = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
_SCHEME = "kept:"
_REFERENCE = re.compile(r"kept:([\w-]{1,64}\.(png|jpg|gif|webp))")
_SIGNATURES = (
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("jpg", re.compile(rb"\xff\xd8\xff")),
    ("gif", re.compile(rb"GIF8[79]a")),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
)
_DATA_URL = re.compile(r"data:(?:image/)?([\w.+-]*)[^,]{0,100};base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Image:
    """An image as its bytes show it to be, whatever whoever sent it says. `suffix`: one of `TYPES`."""

    suffix: str
    data: bytes


def image_of(data: bytes) -> Image | None:
    """The image that these bytes are; None where a model would not be able to look at them."""
    suffix = next((suffix for suffix, signature in _SIGNATURES if signature.match(data)), None)
    return Image(suffix, data) if suffix is not None else None


def decoded(text: str) -> tuple[bytes, str]:
    """The bytes of an image, and the form that stands before them. Raises `ValueError` for what is not base64.

    Servers wrap lines, leave out the padding, use the alphabet of URLs, or give a data URL.
    """
    url = _DATA_URL.match(text)
    plain = "".join(text[url.end() if url else 0 :].split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    if not plain:
        raise ValueError("there is nothing")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True), url[1] if url else ""


def names_of(id: str, images: Sequence[Image]) -> list[str]:  # noqa: A002 as the model calls it
    """The names of the files of images that came with the output of this id."""
    return [f"{id}-{number}.{image.suffix}" for number, image in enumerate(images, 1)]


def reference_to(name: str) -> str:
    """What stands in history for the image in the file of this name."""
    return f"{_SCHEME}{name}"


def referred_to(url: object) -> tuple[str, str] | None:
    """The name of the file that a reference is to, and its media type; None for what is not a reference."""
    found = _REFERENCE.fullmatch(url) if isinstance(url, str) else None
    return (found[1], TYPES[found[2]]) if found else None
