"""Redacting texts that are shown, logged or stored: API keys, tokens and passwords.

Three questions, one room. `redact`: a text that somebody else wrote, in which a secret is known by its look.
`without_values`: an answer to a request of ours, which may repeat the very secret that was sent. `names_a_secret`: a
field whose value is not shown because of its name.

Plain Python on text; nothing of ours is imported, so that everybody can use it.
"""

import re
from collections.abc import Iterable

MASK = "***"

MAX_TEXT_BYTES = 2048
"""Bytes of UTF-8 that a text of an error has at most."""

SHORTEST_SECRET = 8
"""Characters. Shorter values are not looked for: they are words that stand in any text."""

_LOOKS_SECRET = (
    (re.compile(r"\bsk-[\w*.-]{6,}"), f"sk-{MASK}"),
    (re.compile(r"\b(bearer|basic)\s+(?=\S{16}|\S*\d)[^\s\"',;]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(api[-_]?key[\"']?\s*[:=]\s*[\"']?)[^\s\"'&,;}]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w.-]+"), MASK),
    # To the last `@` before path and query: a password may hold one.
    (re.compile(r"://[^\s/?#]+@"), f"://{MASK}@"),
)

_SECRET_NAME = re.compile("key|token|secret|password|credential|auth", re.IGNORECASE)


def redact(text: str, *, limit: int = MAX_TEXT_BYTES) -> str:
    """The text without API keys, tokens and passwords in URLs, cut to `limit` bytes of UTF-8.

    Masked first, cut afterwards: no secret is half shown at the cut. Lone surrogates become question marks.
    """
    text = text[: 4 * limit]
    for secret, mask in _LOOKS_SECRET:
        text = secret.sub(mask, text)
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode(errors="ignore") + "…"


def without_values(data: bytes, values: Iterable[str]) -> bytes:
    """The same bytes with these values masked, wherever they stand.

    For what a server says about a key that it refuses: keys of compatible servers have no form that `redact` knows.
    Values shorter than `SHORTEST_SECRET` are left alone.
    """
    for value in values:
        if len(value) >= SHORTEST_SECRET:
            data = data.replace(value.encode(errors="replace"), MASK.encode())
    return data


def names_a_secret(name: str) -> bool:
    """Whether a field of this name (`api_key`, `Authorization`, `password`) may hold what is not to be shown."""
    return _SECRET_NAME.search(name) is not None
