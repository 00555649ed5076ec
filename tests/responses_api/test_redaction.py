import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest

from durable_responses.responses_api.redaction import (
    MASK,
    MAX_TEXT_BYTES,
    Secrets,
    names_a_secret,
    proxy_secrets,
    query_secrets,
    redact,
    without_secrets,
)

SHOWN = {
    "key sk-proj-abcDEF0123_456-x.": "key sk-***",
    "Incorrect API key provided: sk-abcd*****wxyz. See": "Incorrect API key provided: sk-*** See",
    "Authorization: Bearer abcdefghijklmnop1234": "Authorization: Bearer ***",
    "'authorization': 'bearer tok3n'}": "'authorization': 'bearer ***'}",
    "Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==": "Proxy-Authorization: Basic ***",
    "https://me:secret@proxy.example:3128/x": "https://***@proxy.example:3128/x",
    "https://me:sec@ret@proxy.example/x": "https://***@proxy.example/x",
    "http://me:pa/ss?w#rd@proxy.example:3128": "http://***@proxy.example:3128",
    '{"api_key": "0123456789"}': '{"api_key": "***"}',
    "?api-key=0123456789&x=1": "?api-key=***&x=1",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc": "***",
}
WORDS = [
    "Missing bearer or basic authentication in header",
    "a task-oriented, risk-averse mask-wearer",
    "https://host.example?to=me@home.example",
    "https://host.example:8443/a?to=me@home.example",
    "https://host.example/a, then write to me@home.example",
]


def test_secrets_are_left_out_of_texts() -> None:
    """A25: keys, tokens and passwords are masked."""
    assert {text: redact(text) for text in SHOWN} == SHOWN


def test_words_that_look_a_little_like_secrets_are_left_as_they_are() -> None:
    assert [redact(text) for text in WORDS] == WORDS


@pytest.mark.parametrize("letter", ["x", "ä", "🙂", "\ud800"])
def test_a_text_is_cut_to_its_limit_between_characters(letter: str) -> None:
    """A25: 2 kB of UTF-8, whatever the letters."""
    assert len(redact(letter * 100_000).encode()) in range(MAX_TEXT_BYTES - 8, MAX_TEXT_BYTES + 1)


def test_a_key_at_the_cut_is_not_half_shown() -> None:
    """A25: masked first, cut afterwards."""
    assert "abcdef" not in redact("x" * 2040 + " sk-abcdefghijklmnop")


KEY = "gw/Key+2024.q_7=="
SPELLED = {
    "plain": KEY,
    "escaped as JSON": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "partly, and with capitals": KEY.replace("K", "\\u004B").replace("+", "\\u002B"),
    "with its slash escaped": KEY.replace("/", "\\/"),
    "as JSON inside of JSON": KEY.replace("y", "\\\\u0079").replace("/", "\\\\\\/"),
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded, letters too": "".join(f"%{ord(letter):02x}" for letter in KEY),
    "percent-encoded twice": quote(quote(KEY, safe=""), safe=""),
    "as HTML entities": "".join(f"&#{ord(letter)};" for letter in KEY),
    "as hexadecimal entities": "".join(f"&#x{ord(letter):X};" for letter in KEY),
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_what_we_sent_is_masked_however_an_answer_spells_it(spelled: str) -> None:
    """A25: keys of compatible servers look like nothing in particular, and JSON can write a letter in two ways."""
    answer = f'{{"error": {{"message": "no {spelled} here"}}}}'
    assert Secrets((KEY,)).mask(answer) == f'{{"error": {{"message": "no {MASK} here"}}}}'
    assert Secrets((KEY,)).mask(answer.encode()) == Secrets((KEY,)).mask(answer).encode()


@pytest.mark.parametrize("before", ["", "a", "ab", "Bearer ", "user:"])
@pytest.mark.parametrize("after", ["", "c", "cd", '"}'])
def test_it_is_masked_inside_of_base64(before: str, after: str) -> None:
    """Gateways show headers that way; only the characters at both ends are left, which hold less than a letter."""
    encoded = b64encode(f"{before}{KEY}{after}".encode()).decode()
    shown = Secrets((KEY,)).mask(encoded)
    assert MASK in shown
    assert len(shown) <= len(encoded) - len(KEY) * 4 // 3 + 2 + len(MASK)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_it_is_masked_in_any_encoding_that_json_has(encoding: str) -> None:
    masked = Secrets((KEY,)).mask(f'{{"key": "{KEY}"}}'.encode(encoding))
    assert json.loads(masked) == {"key": MASK}


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("around", ["", "\\", "\\\\", '"', "\n", "é", "\\u", "%", "&#"])
def test_masked_json_is_still_the_same_json_but_for_the_key(around: str, ascii_only: bool) -> None:
    value = {f"{around}{KEY}": [KEY, f"{around}x{KEY}x{around}"], "other": [around, 1.5, None]}
    read = json.loads(Secrets((KEY,)).mask(json.dumps(value, ensure_ascii=ascii_only)))
    assert KEY not in repr(read)
    assert read["other"] == value["other"]
    assert len(read) == 2


@pytest.mark.parametrize("value", ["", "none", "ollama"])
def test_a_short_value_is_not_looked_for(value: str) -> None:
    """The placeholder for no key is a word of every other answer."""
    assert Secrets((value,)).mask_refusal(f"There is {value}.") == f"There is {value}."


@pytest.mark.parametrize("value", ["lm-studio", "not-needed", "EMPTY_KEY"])
def test_a_placeholder_for_no_key_is_left_in_answers_and_masked_in_refusals(value: str) -> None:
    assert Secrets((value,)).mask(f"How to set up {value}") == f"How to set up {value}"
    assert Secrets((value,)).mask_refusal(f"Wrong key: {value}") == f"Wrong key: {MASK}"


@pytest.mark.parametrize("text", ["\\" * 1_000_000, "\\us" * 300_000, "&#x0" * 300_000, "%25" * 300_000])
def test_beginnings_of_spellings_are_looked_at_once(text: str) -> None:
    """From each backslash to the last one it would take hours."""
    secrets = Secrets(("a-key-of-no-known-form-7f3a9c",))
    assert secrets.mask(f"\\u {text}") == f"\\u {text}"
    assert secrets.mask(f"\\u {text}".encode()) == f"\\u {text}".encode()


@pytest.mark.parametrize("backslashes", [1, 2, 3, 7])
def test_all_backslashes_before_a_letter_of_a_secret_go_with_it(backslashes: int) -> None:
    spelled = "".join("\\" * backslashes + f"u{ord(letter):04x}" for letter in "a-key-7f3a9c")
    assert Secrets(("a-key-7f3a9c",)).mask(f"<{spelled}>") == f"<{MASK}>"


def test_of_a_proxy_its_user_and_password_are_secret_as_written_and_as_sent() -> None:
    secrets = Secrets(proxy_secrets("http://agent:p%40ss%2Fword9@proxy.example:3128"))
    for told in ("p%40ss%2Fword9", "p@ss/word9", "agent:p@ss/word9", b64encode(b"agent:p@ss/word9").decode()):
        assert "ss" not in secrets.mask_refusal(f"refused: {told}").replace("refused", "")


@pytest.mark.parametrize("proxy", [None, "", "http://proxy.example:3128", "proxy.example"])
def test_a_proxy_without_a_user_has_no_secrets(proxy: str | None) -> None:
    assert proxy_secrets(proxy) == ()


def test_of_a_base_url_the_keys_in_its_query_are_secret() -> None:
    url = "https://host/v1?api-version=2025-04-01&subscription-key=first%2Fsecret&code=another-secret&model=gpt-5.4"
    assert query_secrets(url) == ("first/secret", "another-secret")
    assert query_secrets("https://host/v1") == ()


def test_a_text_that_is_redacted_has_no_control_characters() -> None:
    """Nor does one hide a key from the mask."""
    assert redact("\x1b[2Jno \u202esk-\x00abcdef\x1b[31mghi\u202c") == "no sk-***"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"authorization": "abc"}, {"authorization": MASK}),
        ({"authorization": "Bearer ${GITHUB_TOKEN}"}, {"authorization": "Bearer ${GITHUB_TOKEN}"}),
        ([{"headers": {"X-Any": "abc", "Accept": "${A}"}}], [{"headers": {"X-Any": MASK, "Accept": "${A}"}}]),
        ({"server_url": "https://me:pass@host/x"}, {"server_url": f"https://{MASK}@host/x"}),
        ({"note": "use sk-abcdefghij0123456789"}, {"note": f"use sk-{MASK}"}),
        ({"max_output_tokens": 5, "token": None}, {"max_output_tokens": 5, "token": None}),
        ({"keys": ["a", "b"]}, {"keys": [MASK, MASK]}),
    ],
)
def test_a_value_is_shown_without_what_is_secret_in_it(value: Any, shown: Any) -> None:
    assert without_secrets(value) == shown


def test_names_say_whether_a_field_may_hold_a_secret() -> None:
    named = {"api_key", "Authorization", "PASSWORD", "access_token", "client_secret", "credentials", "path", "query"}
    assert {name for name in named if not names_a_secret(name)} == {"path", "query"}
