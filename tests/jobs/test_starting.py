"""A run's id, and what Temporal's UI shows of it from the first moment."""

import re

import pytest

from durable_responses.jobs.starting import (
    check_job_id,
    job_id_for,
    new_job_id,
    slug_of,
    static_details_of,
    unguessable_job_id,
)
from durable_responses.workflows.contract import AgentInput


def test_the_id_of_a_key_is_as_long_as_any_other() -> None:
    """A14: 128 bits, derived."""
    assert job_id_for("one") == job_id_for("one") != job_id_for("two")
    assert len(job_id_for("one").removeprefix("agent-")) == 32


@pytest.mark.parametrize("job_id", ["two\nlines", "\x1b[31m", "\u202eten", "half \ud83d", "j" * 1001])
def test_an_id_that_temporal_or_a_terminal_cannot_hold_is_refused(job_id: str) -> None:
    with pytest.raises(ValueError, match="choose "):
        check_job_id(job_id)


def test_any_other_id_is_taken() -> None:
    for job_id in ("my-job", "Größe 1/2", "j" * 1000):
        check_job_id(job_id)


def test_a_key_may_hold_half_a_character() -> None:
    assert job_id_for("\ud83d") != job_id_for("?")


@pytest.mark.parametrize(
    ("task", "slug"),
    [
        ("What is still open before Fernwick 2.0 can ship?", "what-is-still-open"),
        ("Zähle die Wörter!", "zahle-die-worter"),
        ("Große Straßen, ÆRØ und ŁÓDŹ", "grosse-strassen-aero-und"),
        ("Don't panic", "dont-panic"),
        ("x" * 100, "x" * 24),
        ("../../etc/passwd", "etc-passwd"),
        ("数一数文件", "agent"),
        ("数 3 个文件", "3"),
        ("🙂", "agent"),
        ("-", "agent"),
        ("Use sk-abcdefghij0123456789 for it", "use-sk-for-it"),
    ],
)
def test_an_id_begins_with_the_first_words_of_the_task(task: str, slug: str) -> None:
    assert slug_of(task) == slug
    assert re.fullmatch(rf"{slug}-[0-9a-f]{{6}}", new_job_id(task))
    assert re.fullmatch(rf"{slug}-[0-9a-f]{{32}}", unguessable_job_id(task))


def test_the_details_of_a_run_name_what_was_asked_for_and_stay_short() -> None:
    details = static_details_of(AgentInput(task="Count.", max_iterations=3))
    asked = ('model: `"the worker\'s"`', 'reasoning_effort: `"medium"`', 'transport: `"stream"`', "max_iterations: `3`")
    assert details == "\n".join(["Count.", "", *(f"- {option}" for option in asked)])
    assert len(static_details_of(AgentInput(task="x" * 10_000))) < 5000


def test_the_details_of_a_run_show_no_key() -> None:
    tool = {"type": "mcp", "server_label": "a", "server_url": "https://a.example", "authorization": "hunter2"}
    details = static_details_of(AgentInput(task="Use sk-abcdefghij0123456789.", hosted_tools=[tool]))
    assert "Use sk-***" in details
    assert "hunter2" not in details
    assert "https://a.example" in details
