"""Metrics recorded inside activities, by OpenTelemetry's API alone: without a meter provider they go nowhere.

What can be seen from outside, by an activity's argument and result, is measured there (`telemetry`).
"""

from opentelemetry.metrics import get_meter

from durable_responses import genai_attributes as gen_ai

_meter = get_meter("durable_responses")
_polls = _meter.create_counter("agent.polls", "{request}", "GETs of responses that are waited for.")
# By its name in version 0.1.0 of the GenAI conventions, and for one more release by the one before.
_first_text, _first_text_before = (
    _meter.create_histogram(
        name,
        "s",
        "From the sending of a create to the first text of its response.",
        explicit_bucket_boundaries_advisory=[0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600],
    )
    for name in ("gen_ai.client.inference.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk")
)


def polled() -> None:
    """A response was read by its id."""
    _polls.add(1)


def first_text_came(seconds: float, model: str) -> None:
    """The first text of a streamed response came this long after its create was sent."""
    labels = {gen_ai.OPERATION_NAME: "chat", gen_ai.PROVIDER_NAME: "openai", gen_ai.REQUEST_MODEL: model}
    _first_text.record(seconds, labels)
    _first_text_before.record(seconds, {gen_ai.REQUEST_MODEL: model})
