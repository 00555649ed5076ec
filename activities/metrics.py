"""Metrics recorded inside activities, by OpenTelemetry's API alone: without a meter provider they go nowhere.

What can be seen from outside, by an activity's argument and result, is measured there (`telemetry`).
"""

from opentelemetry.metrics import get_meter
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GEN_AI_REQUEST_MODEL

_meter = get_meter("durable_responses")
_polls = _meter.create_counter("agent.polls", "{request}", "GETs of responses that are waited for.")
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
_first_text = _meter.create_histogram(
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    "From the sending of a create to the first text of its response.",
    explicit_bucket_boundaries_advisory=[0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600],
)


def polled() -> None:
    """A response was read by its id."""
    _polls.add(1)


def first_text_came(seconds: float, model: str) -> None:
    """The first text of a streamed response came this long after its create was sent."""
    _first_text.record(seconds, {GEN_AI_REQUEST_MODEL: model})
