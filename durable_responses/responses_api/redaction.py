"""Redacting texts that are shown, logged or stored: API keys, tokens and passwords.

Three questions, one room. `redact`: a text that somebody else wrote, in which a secret is known by its look.
`Secrets`: an answer to a request of ours, which may repeat the very secret that was sent, spelled in whatever way.
`names_a_secret`: a field whose value is not shown because of its name.

Plain Python on text, so that everybody can use it.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from durable_responses.shown_text import shown

Text = TypeVar("Text", bound=str | bytes)

MASK = "***"

MAX_TEXT_BYTES = 2048
"""Bytes of UTF-8 that a text of an error has at most."""

SHORTEST_SECRET = 8
"""Characters. Shorter values are not looked for: they are words that stand in any text."""

_SHORTEST_PART = 4  # characters: fewer of a secret tell nothing

_LOOKS_SECRET = (
    (re.compile(r"\bsk-[\w*.-]{6,}"), f"sk-{MASK}"),
    (re.compile(r"\b(bearer|basic)\s+(?=\S{16}|\S*\d)[^\s\"',;]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(api[-_]?key[\"']?\s*[:=]\s*[\"']?)[^\s\"'&,;}]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w.-]+"), MASK),
    # To the last `@`: a password may hold one, and where it is not a port, `/`, `?` and `#` as well.
    (re.compile(r"://(?:[^\s/?#:@]*:(?!\d{1,5}(?:[/?#]|$))\S*|[^\s/?#]+)@"), f"://{MASK}@"),
)

_SECRET_NAME = re.compile("key|token|secret|password|credential|auth", re.IGNORECASE)


def redact(text: str, *, limit: int = MAX_TEXT_BYTES) -> str:
    """The text without API keys, tokens and passwords in URLs, cut to `limit` bytes of UTF-8.

    Masked first, cut afterwards: no secret is half shown at the cut. Lone surrogates become question marks,
    control characters are left out.
    """
    encoded = masked(shown(text[: 4 * limit])).encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode(errors="ignore") + "…"


def masked(text: str) -> str:
    """The whole text without API keys, tokens and passwords in URLs."""
    for secret, mask in _LOOKS_SECRET:
        text = secret.sub(mask, text)
    return text


@dataclass(frozen=True, repr=False)
class Secrets:
    """Values that we send and that no answer may repeat to anyone: keys of compatible servers have no form.

    They are found as they are read, not as they are written: in JSON's escapes (also in JSON inside of JSON),
    percent-encoded, as HTML entities and in base64. Values shorter than `SHORTEST_SECRET` are left alone.
    """

    values: tuple[str, ...] = ()

    def mask(self, text: Text) -> Text:
        """The text, or the bytes of an answer, without the values. JSON stays JSON.

        Placeholders for no key (`lm-studio`, `not-needed`) are words, which an answer may well be about: they stay.
        """
        return _substituted(text, self._secret)

    def mask_refusal(self, text: Text) -> Text:
        """The same for the text of an error, where placeholders go as well."""
        return _substituted(text, self._any)

    def mask_beginning(self, text: str) -> str:
        """The same for a text that is still being written: without an end that may become one of the values."""
        text = self.mask(text)
        for value in self._secret.values:
            for length in range(min(len(value) - 1, len(text)), _SHORTEST_PART - 1, -1):
                if text.endswith(value[:length]):
                    return text[:-length]
        return text

    @cached_property
    def _any(self) -> "_Spellings":
        return _Spellings(value for value in self.values if len(value) >= SHORTEST_SECRET)

    @cached_property
    def _secret(self) -> "_Spellings":
        return _Spellings(value for value in self._any.values if not _PLACEHOLDER.fullmatch(value))


NO_SECRETS = Secrets()


def proxy_secrets(proxy: str | None) -> tuple[str, ...]:
    """What may not be repeated of a proxy's URL: `user:password` and the password, as written and as sent."""
    userinfo, at, _ = (proxy or "").partition("://")[2].rpartition("@")
    if not at:
        return ()
    password = userinfo.partition(":")[2]
    return tuple(dict.fromkeys(filter(None, (userinfo, unquote(userinfo), password, unquote(password)))))


def query_secrets(url: str) -> tuple[str, ...]:
    """What may not be repeated of the query of a base URL: the values whose names say that they are keys."""
    named = parse_qsl(urlsplit(url).query)
    return tuple(value for name, value in named if names_a_secret(name) or name.lower() in _KEYS_IN_QUERIES)


_KEYS_IN_QUERIES = ("code", "sig", "signature", "pwd")

# Words, and fewer letters than a random key has.
_PLACEHOLDER = re.compile(r"(?!sk-)[A-Za-z_-]{1,15}")
_ENCODED = ("\\u", "\\/", "%", "&")


class _Spellings:
    """All ways of writing some values that a text may hold."""

    def __init__(self, values: Iterable[str]) -> None:
        self.values = tuple(values)
        self._plain = tuple(dict.fromkeys(text for value in self.values for text in (value, *_base64_forms(value))))
        patterns = [*map(re.escape, self._plain), *("".join(map(_any_spelling, value)) for value in self.values)]
        self._pattern = re.compile("|".join(patterns))
        self._bytes_pattern = re.compile("|".join(patterns).encode())

    def remove_from(self, text: str) -> str:
        if not self.values or not any(part in text for part in (*self._plain, *_ENCODED)):
            return text
        return self._pattern.sub(MASK, text)

    def remove_from_bytes(self, data: bytes) -> bytes:
        if not self.values:
            return data
        if (encoding := json.detect_encoding(data)) not in ("utf-8", "utf-8-sig"):
            data = data.decode(encoding, errors="replace").encode(errors="replace")
        if not any(part.encode() in data for part in (*self._plain, *_ENCODED)):
            return data
        return self._bytes_pattern.sub(MASK.encode(), data)


def _substituted(text: Text, spellings: _Spellings) -> Text:
    left = spellings.remove_from(text) if isinstance(text, str) else spellings.remove_from_bytes(text)
    return cast("Text", left)


# All that stand together, looked at once: from each of them it would take as long as their number squared.
_BACKSLASHES = r"(?<!\\)\\++"


def _any_spelling(character: str) -> str:
    """A pattern for one character of a value. Backslashes are taken with it, so that no half of an escape is left."""
    code = ord(character)
    forms = [
        re.escape(character),
        rf"{_BACKSLASHES}u(?i:{code:04x})",
        rf"&\#(?:[xX]0*(?i:{code:x})|0*{code});",
        "".join(f"%(?:25)*(?i:{byte:02x})" for byte in character.encode()),
    ]
    if not character.isalnum():
        forms += [
            rf"{_BACKSLASHES}{re.escape(character)}",
            re.escape(html.escape(character)),
        ]
    return f"(?:{'|'.join(forms)})"


def _base64_forms(value: str) -> Iterator[str]:
    """The value in the middle of any base64 text: what it stands for depends on where it begins in a group of three."""
    for before in range(3):
        data = bytes(before) + value.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The characters at both ends also hold bits of the neighbours.
            yield encode(data).decode()[(0, 2, 3)[before] : len(data) // 3 * 4 + (0, 1, 2)[len(data) % 3]]


def without_secrets(value: Any, name: str = "") -> Any:
    """A JSON value as it may be shown: what looks like a key is masked, and texts that are secret by their names.

    Those that take a variable (`Bearer ${TOKEN}`) stay.
    """
    match value:
        case dict():
            is_headers = name.lower() == "headers"
            return {key: without_secrets(each, "secret" if is_headers else str(key)) for key, each in value.items()}
        case list():
            return [without_secrets(each, name) for each in value]
        case str() if names_a_secret(name) and "${" not in value:
            return MASK
        case str():
            return masked(value)
    return value


def names_a_secret(name: str) -> bool:
    """Whether a field of this name (`api_key`, `Authorization`, `password`) may hold what is not to be shown."""
    return _SECRET_NAME.search(name) is not None
