"""A run's id, and what Temporal's UI shows of it from the first moment."""

from durable_responses.jobs.starting import job_id_for, static_details_of
from durable_responses.workflows.contract import AgentInput


def test_the_id_of_a_key_is_as_long_as_any_other() -> None:
    """A14: 128 bits, derived."""
    assert job_id_for("one") == job_id_for("one") != job_id_for("two")
    assert len(job_id_for("one").removeprefix("agent-")) == 32


def test_the_details_of_a_run_name_what_was_asked_for_and_stay_short() -> None:
    details = static_details_of(AgentInput(task="Count.", max_iterations=3))
    asked = ('model: `"the worker\'s"`', 'reasoning_effort: `"medium"`', 'transport: `"stream"`', "max_iterations: `3`")
    assert details == "\n".join(["Count.", "", *(f"- {option}" for option in asked)])
    assert len(static_details_of(AgentInput(task="x" * 10_000))) < 5000
