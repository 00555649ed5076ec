import pytest

from durable_responses.responses_api.redaction import MASK, MAX_TEXT_BYTES, names_a_secret, redact, without_values

SHOWN = {
    "key sk-proj-abcDEF0123_456-x.": "key sk-***",
    "Incorrect API key provided: sk-abcd*****wxyz. See": "Incorrect API key provided: sk-*** See",
    "Authorization: Bearer abcdefghijklmnop1234": "Authorization: Bearer ***",
    "'authorization': 'bearer tok3n'}": "'authorization': 'bearer ***'}",
    "Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==": "Proxy-Authorization: Basic ***",
    "https://me:secret@proxy.example:3128/x": "https://***@proxy.example:3128/x",
    "https://me:sec@ret@proxy.example/x": "https://***@proxy.example/x",
    '{"api_key": "0123456789"}': '{"api_key": "***"}',
    "?api-key=0123456789&x=1": "?api-key=***&x=1",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc": "***",
}
WORDS = [
    "Missing bearer or basic authentication in header",
    "a task-oriented, risk-averse mask-wearer",
    "https://host.example?to=me@home.example",
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


def test_values_that_we_sent_are_masked_wherever_an_answer_repeats_them() -> None:
    """A25: keys of compatible servers look like nothing in particular."""
    told = without_values(
        b'{"given": "my-other-key", "also": "my-token-1"} my-other-key', ["my-other-key", "my-token-1"]
    )
    assert told == f'{{"given": "{MASK}", "also": "{MASK}"}} {MASK}'.encode()


@pytest.mark.parametrize("value", ["", "none"])
def test_a_short_value_is_not_looked_for(value: str) -> None:
    """The placeholder for no key is a word of every other answer."""
    assert without_values(b"There is none.", [value]) == b"There is none."


def test_names_say_whether_a_field_may_hold_a_secret() -> None:
    named = {"api_key", "Authorization", "PASSWORD", "access_token", "client_secret", "credentials", "path", "query"}
    assert {name for name in named if not names_a_secret(name)} == {"path", "query"}
