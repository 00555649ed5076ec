"""Text and JSON of others become plain values, or a `ValueError`."""

from typing import Any

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter

from durable_responses.json_text import (
    UnusableValue,
    check,
    cut,
    json_bytes,
    mended_json,
    nested_too_deep,
    read_json,
    text_bytes,
    well_formed,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("cut \ud83d", "cut \ufffd"),
        ("\ude00 cut", "\ufffd cut"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\x00\x01", "\x00\x01"),
    ],
)
def test_half_characters_are_replaced_and_halves_that_meet_are_joined(text: str, expected: str) -> None:
    assert well_formed(text) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\uD83D\uDE00"', "😀"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd😀"),
        (rb'"\ude00"', "\ufffd"),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (b'"\xed\xa0\xbd"', "\ufffd\ufffd\ufffd"),
        (b'"\xff"', "\ufffd"),
        ('"\ud83d"', "\ufffd"),
        (b'\xef\xbb\xbf"text"', "text"),
    ],
)
def test_json_with_half_characters_is_read(data: str | bytes, expected: str) -> None:
    assert read_json(data) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 1000,
        "[" * 2000,
        "[" * 101 + "]" * 101,
        "[" * 300 + "]" * 300,
        '{"a":' * 100_000,
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 5000,
        '"\\ud83d' + "[" * 2000,
        b"\x00",
        b"\xff\xfe[\x00]\x00",
    ],
)
def test_what_cannot_be_passed_on_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the promise is the class
        read_json(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [1, float("inf")]}, "a.1: must be a finite number"),
        (float("nan"), "must be a finite number"),
        ([10**2000], "0: is too large a number"),
    ],
)
def test_a_value_that_cannot_travel_is_named(value: Any, said: str) -> None:
    with pytest.raises(UnusableValue) as caught:
        check(value)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"a": 1, "b": ' + "[" * 500 + "]" * 500 + "}", "b"),
        ('{"a": "[[[[", "b": [1]}', None),
        ("[" * 500, ""),
        ('{"a\\"": ' + '{"x": ' * 500, 'a\\"'),
    ],
)
def test_the_part_that_is_nested_too_deep_is_found_in_text_that_cannot_be_read(text: str, part: str | None) -> None:
    assert nested_too_deep(text) == part


@pytest.mark.parametrize("text", ["plain", "\x01" * 9, "äöü", '"quoted"\\', "😀", "\u2028"])
def test_text_is_measured_as_temporal_stores_it(text: str) -> None:
    [payload] = pydantic_data_converter.payload_converter.to_payloads([text])
    assert len(payload.data) == json_bytes(text) == text_bytes(text) + 2


@pytest.mark.parametrize("text", ["x" * 1000, "\x01" * 1000, "😀" * 1000, "\ud83d" * 1000, '"' * 1000])
@pytest.mark.parametrize("limit", [60, 100, 999])
def test_a_text_is_cut_to_its_bytes_with_a_note(text: str, limit: int) -> None:
    short = cut(text, limit)
    assert text_bytes(short) <= limit
    assert short.endswith("of 1,000 characters]")


def test_a_text_that_fits_is_left_alone() -> None:
    assert cut("x" * 100, 100) == "x" * 100


def test_escapes_that_are_none_of_ours_stay() -> None:
    assert mended_json(r'"\n\u00e9\/\u12"') == r'"\n\u00e9\/\u12"'


def test_of_a_text_without_an_end_each_quotation_mark_is_looked_at_once() -> None:
    """From each to the end it would take minutes, in a workflow task."""
    assert nested_too_deep('{"a": [' + '"\\"' * 500_001) is None
    assert nested_too_deep('{"a": ' + "[" * 200 + '"' + '\\"' * 500_000) == "a"
