"""The metrics of agent runs: one instrument each, no-op until there is a meter provider. See docs/observability.md.

Names are those of version 0.1.0 of the GenAI conventions where it has one. Those that dashboards know from before are
recorded beside their successors for one more release: `gen_ai.client.operation.duration`, `gen_ai.client.token.usage`,
and `gen_ai.client.operation.time_to_first_chunk` (`activities/metrics.py`).

Recorded from workflow code they count once and not again on replay, thanks to the provider (`telemetry.providers`).
"""

from collections.abc import Iterable, Sized
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

SCOPE = "durable_responses"
_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400]
_SHORT = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
# The conventions give these buckets, and shorter ones for durations: responses that take minutes would all be beyond.
_TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]

_USD = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300]
_CALLS = [1, 2, 3, 5, 8, 12, 20, 50, 100, 200, 500, 1000]

_meter = get_meter(SCOPE)

# --- runs --------------------------------------------------------------------------------------------------------

runs = _meter.create_counter("agent.runs", "{run}", "Runs that have ended, by status.")
run_duration = _meter.create_histogram(
    "agent.run.duration", "s", "From the start of a run to its end.", explicit_bucket_boundaries_advisory=_SECONDS
)
run_iterations = _meter.create_histogram(
    "agent.run.iterations",
    "{iteration}",
    "Iterations of a run.",
    explicit_bucket_boundaries_advisory=_CALLS,
)
run_cost = _meter.create_histogram(
    "agent.run.cost",
    "{USD}",
    "What runs have cost, as far as it is known.",
    explicit_bucket_boundaries_advisory=_USD,
)
wasted_cost = _meter.create_counter("agent.wasted", "{USD}", "What has been paid for responses that were not used.")
unknown_costs = _meter.create_counter("agent.unknown_costs", "{response}", "Responses whose cost is not known.")
agent_duration = _meter.create_histogram(
    "gen_ai.invoke_agent.duration",
    "s",
    "From the start of a run to its end.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
agent_inference_calls = _meter.create_histogram(
    "gen_ai.invoke_agent.inference_calls",
    "{call}",
    "Responses of a run.",
    explicit_bucket_boundaries_advisory=_CALLS,
)
agent_tool_calls = _meter.create_histogram(
    "gen_ai.invoke_agent.tool_calls",
    "{call}",
    "Function calls of a run.",
    explicit_bucket_boundaries_advisory=_CALLS,
)
cancel_duration = _meter.create_histogram(
    "agent.cancel.duration",
    "s",
    "From the request to cancel a run to its end.",
    explicit_bucket_boundaries_advisory=_SHORT,
)

# --- responses ---------------------------------------------------------------------------------------------------

response_cost = _meter.create_counter("agent.cost", "{USD}", "What responses have cost, as far as it is known.")
creates = _meter.create_counter("agent.creates", "{create}", "Creates that have ended, by outcome.")
responses = _meter.create_counter("agent.responses", "{response}", "Responses that have ended, by status.")
inference_duration = _meter.create_histogram(
    "gen_ai.client.inference.duration",
    "s",
    "From the create of a response to the workflow knowing its result.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
inference_input_tokens = _meter.create_histogram(
    "gen_ai.client.inference.operation.input_tokens",
    "{token}",
    "Input tokens of a response.",
    explicit_bucket_boundaries_advisory=_TOKENS,
)
inference_output_tokens = _meter.create_histogram(
    "gen_ai.client.inference.operation.output_tokens",
    "{token}",
    "Output tokens of a response.",
    explicit_bucket_boundaries_advisory=_TOKENS,
)
used_input_tokens = _meter.create_counter(
    "gen_ai.client.inference.usage.input_tokens", "{token}", "Input tokens used, those read from the cache included."
)
used_cached_tokens = _meter.create_counter(
    "gen_ai.client.inference.usage.cache_read.input_tokens", "{token}", "Input tokens that were read from the cache."
)
used_output_tokens = _meter.create_counter(
    "gen_ai.client.inference.usage.output_tokens", "{token}", "Output tokens used, those of reasoning included."
)
used_reasoning_tokens = _meter.create_counter(
    "gen_ai.client.inference.usage.reasoning.output_tokens", "{token}", "Output tokens that were used for reasoning."
)
response_duration = _meter.create_histogram(
    "gen_ai.client.operation.duration",
    "s",
    "From the create of a response to the workflow knowing its result.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
token_usage = _meter.create_histogram(
    "gen_ai.client.token.usage",
    "{token}",
    "Tokens of a response, by type.",
    explicit_bucket_boundaries_advisory=_TOKENS,
)
knowing_delay = _meter.create_histogram(
    "agent.response.knowing.delay",
    "s",
    "From the completion of a response, by the provider's clock, to the workflow knowing it.",
    explicit_bucket_boundaries_advisory=_SHORT,
)

# --- activities --------------------------------------------------------------------------------------------------

queue_wait = _meter.create_histogram(
    "agent.activity.queue.wait",
    "s",
    "From the scheduling of an activity's attempt to its start.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
execute_tool_duration = _meter.create_histogram(
    "gen_ai.execute_tool.duration", "s", "Execution of a function call.", explicit_bucket_boundaries_advisory=_SECONDS
)
tool_duration = _meter.create_histogram(
    "agent.tool.duration", "s", "Execution of a function call.", explicit_bucket_boundaries_advisory=_SECONDS
)

_in_flight: WeakSet[Sized] = WeakSet()


def observe_in_flight(responses: Sized) -> None:
    """Report the size of this collection of responses, as long as it lives, as in flight at this worker."""
    _in_flight.add(responses)


def _count_in_flight(_: CallbackOptions) -> Iterable[Observation]:
    if _in_flight:  # a process without a worker has nothing to report
        yield Observation(sum(len(responses) for responses in _in_flight))


_meter.create_observable_up_down_counter(
    "agent.responses.in_flight", [_count_in_flight], "{response}", "Responses in flight, and creates under way."
)
