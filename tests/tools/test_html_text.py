"""Pages as text, by tables, hostile ones included."""

import time

import pytest

from durable_responses.tools.html_text import html_text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<html><head><title>T</title></head><body><p>One<p>Two</body></html>", "T\nOne\nTwo"),
        ("a <b>bold</b>\n   word", "a bold\nword"),
        ("x<script>if (a<b) { alert('</p>') }</script>y", "x y"),
        ("x<SCRIPT src=a>1</Script >y", "x y"),
        ("<style>p { }</style><!-- a <p> comment -->text", "text"),
        ("<!DOCTYPE html><?xml version='1.0'?>text", "text"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2 &#228; &unknown;", "1 < 2 && 3 > 2 ä &unknown;"),
        ("a<br>b<br/>c<li>d</li>", "a\nb\nc\nd"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "1\n2"),
        ("1 < 2 and <3", "1 < 2 and <3"),
        ("open <p", "open"),
        ("open <!-- comment", "open"),
        ("open <script> never closed", "open"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("", ""),
    ],
)
def test_markup_becomes_lines_of_text(markup: str, text: str) -> None:
    assert html_text(markup) == text


@pytest.mark.parametrize("piece", ["<", "<!--", "<a ", "<!", "<?", "<script>", "</", "&", "&#", "<a b='", "<p>", "-->"])
def test_time_grows_no_faster_than_a_hostile_page(piece: str) -> None:
    """A page of a megabyte takes half a second at most; the square of anything would take minutes."""
    markup = piece * (1_000_000 // len(piece))

    started = time.process_time()
    html_text(markup)

    assert time.process_time() - started < 5
