"""Metrics of real runs, as a receiver of OTLP gets them."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from durable_responses.emulator.faults import Reset
from durable_responses.emulator.model.script import Script, Text
from durable_responses.telemetry.export import Protocol
from durable_responses.workflows.contract import AgentResult, AgentStatus, TransportChoice
from tests.support.deployment import Deployment, calls, until
from tests.support.processes import WorkerProcess
from tests.support.receiver import Received, receiving
from tests.telemetry.conftest import exporting_worker

BACKGROUND, STREAM = TransportChoice.BACKGROUND, TransportChoice.STREAM
ANSWER = Script(output=[Text(text="The answer, in a few words.")], write=0.2)
ONE_CALL = [Script(think=0.3, output=[calls("look", "open")]), ANSWER]


@pytest.fixture(scope="module")
def measured() -> Iterator[Received]:
    """What only the runs of these tests have sent."""
    with receiving(Protocol.HTTP) as receiver:
        yield receiver


@pytest.fixture(scope="module")
async def worker(deployment: Deployment, measured: Received) -> AsyncIterator[WorkerProcess]:
    async with exporting_worker(deployment, measured) as running:
        yield running


@pytest.fixture(scope="module")
async def runs(deployment: Deployment, worker: WorkerProcess) -> dict[str, AgentResult]:
    """One run of each kind, ended."""
    background = await deployment.start("background", ONE_CALL, transport=BACKGROUND, model="gpt-5.4")
    streamed = await deployment.start("streamed", ONE_CALL, transport=STREAM, model="gpt-5.4")
    ambiguous = await deployment.start(
        "ambiguous", [ANSWER], transport=BACKGROUND, model="gpt-5.4", fault=Reset(processed=True)
    )
    cancelled = await deployment.start("stopped", [Script(think=60)], transport=BACKGROUND, model="gpt-5.4")
    await until(lambda: cancelled.heartbeat_of("await_response"))
    await cancelled.handle.signal("cancel")
    ended = {"background": background, "streamed": streamed, "ambiguous": ambiguous, "cancelled": cancelled}
    return {name: await run.result() for name, run in ended.items()}


async def reaches(measure: Callable[[], float], expected: float) -> float:
    """Wait until a metric has come that far; the next export brings it."""

    async def is_there() -> bool:
        return measure() >= expected

    await until(is_there, seconds=10)
    return measure()


async def test_runs_are_counted_by_status(runs: dict[str, AgentResult], measured: Received) -> None:
    assert await reaches(lambda: measured.metric("agent.runs", status="completed"), 3) == 3
    assert measured.metric("agent.runs", status="cancelled") == 1


async def test_iterations_are_measured(runs: dict[str, AgentResult], measured: Received) -> None:
    iterations = sum(result.iterations for result in runs.values())
    assert await reaches(lambda: measured.sum_of("agent.run.iterations"), iterations) == iterations


async def test_costs_are_measured_where_there_are_prices(runs: dict[str, AgentResult], measured: Received) -> None:
    costs = [result.cost for result in runs.values() if result.cost is not None]
    known = sum(cost.known for cost in costs)
    assert await reaches(lambda: measured.sum_of("agent.run.cost"), known - 1e-9) == pytest.approx(known)
    statuses = ("completed", "cancelled")
    assert sum(measured.metric("agent.cost", status=status) for status in statuses) == pytest.approx(known)
    assert measured.metric("agent.wasted") == pytest.approx(sum(cost.wasted for cost in costs))
    assert measured.metric("agent.unknown_costs") == sum(cost.unknown for cost in costs)


async def test_responses_are_counted_by_status(runs: dict[str, AgentResult], measured: Received) -> None:
    assert await reaches(lambda: measured.metric("agent.responses", status="completed"), 5) == 5
    assert measured.metric("agent.responses", status="cancelled") == 1


async def test_creates_are_counted_by_outcome(runs: dict[str, AgentResult], measured: Received) -> None:
    assert await reaches(lambda: measured.metric("agent.creates", outcome="created"), 6) == 6
    assert measured.metric("agent.creates", outcome="create_ambiguous") == 1
    assert runs["ambiguous"].ambiguous_creates == 1


@pytest.mark.parametrize("kind", ["input", "output"])
async def test_tokens_are_those_of_the_results(runs: dict[str, AgentResult], measured: Received, kind: str) -> None:
    tokens = sum(getattr(result.usage, f"{kind}_tokens") for result in runs.values())
    labels = {"gen_ai.token.type": kind, "gen_ai.request.model": "gpt-5.4"}
    assert await reaches(lambda: measured.sum_of("gen_ai.client.token.usage", **labels), tokens) == tokens


@pytest.mark.parametrize("kind", ["input", "output"])
async def test_tokens_are_counted_by_the_names_of_today(
    runs: dict[str, AgentResult], measured: Received, kind: str
) -> None:
    tokens = sum(getattr(result.usage, f"{kind}_tokens") for result in runs.values())
    used = f"gen_ai.client.inference.usage.{kind}_tokens"
    labels = {"gen_ai.token.modality": "unknown", "gen_ai.request.model": "gpt-5.4"}
    assert await reaches(lambda: measured.metric(used, **labels), tokens) == tokens
    assert measured.sum_of(f"gen_ai.client.inference.operation.{kind}_tokens") == tokens


async def test_parts_of_the_tokens_are_counted_apart(runs: dict[str, AgentResult], measured: Received) -> None:
    usages = [result.usage for result in runs.values()]
    cached, reasoning = sum(each.cached_tokens for each in usages), sum(each.reasoning_tokens for each in usages)
    used = "gen_ai.client.inference.usage"
    assert await reaches(lambda: measured.metric(f"{used}.reasoning.output_tokens"), reasoning) == reasoning > 0
    assert await reaches(lambda: measured.metric(f"{used}.cache_read.input_tokens"), cached) == cached


async def test_agents_and_tools_are_measured_by_the_names_of_today(
    runs: dict[str, AgentResult], measured: Received
) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "AgentWorkflow"}
    assert await reaches(lambda: measured.metric("gen_ai.invoke_agent.duration", **agent), 4) == 4
    responses = sum(len(result.responses) for result in runs.values())
    assert measured.sum_of("gen_ai.invoke_agent.inference_calls", **agent) == responses
    assert measured.sum_of("gen_ai.invoke_agent.tool_calls", **agent) == 2
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}
    assert await reaches(lambda: measured.metric("gen_ai.execute_tool.duration", **tool), 2) == 2


@pytest.mark.parametrize("name", ["duration", "time_to_first_chunk"])
async def test_what_has_another_name_today_is_measured_by_both(
    runs: dict[str, AgentResult], measured: Received, name: str
) -> None:
    before = await reaches(lambda: measured.metric(f"gen_ai.client.operation.{name}"), 1)
    await reaches(lambda: measured.metric(f"gen_ai.client.inference.{name}"), before)


async def test_the_duration_of_responses_is_measured(runs: dict[str, AgentResult], measured: Received) -> None:
    await reaches(lambda: measured.metric("gen_ai.client.operation.duration"), 7)
    assert measured.sum_of("gen_ai.client.operation.duration") > 2 * 0.3


async def test_the_time_to_the_first_text_of_a_stream_is_measured(
    runs: dict[str, AgentResult], measured: Received
) -> None:
    assert await reaches(lambda: measured.metric("gen_ai.client.operation.time_to_first_chunk"), 1) == 1


async def test_the_delay_from_completion_to_knowing_is_measured(
    runs: dict[str, AgentResult], measured: Received
) -> None:
    count = await reaches(lambda: measured.metric("agent.response.knowing.delay", transport="background"), 3)
    assert measured.sum_of("agent.response.knowing.delay", transport="background") / count < 5


async def test_the_latency_of_a_cancel_is_measured(runs: dict[str, AgentResult], measured: Received) -> None:
    assert await reaches(lambda: measured.metric("agent.cancel.duration"), 1) == 1
    assert runs["cancelled"].status is AgentStatus.CANCELLED


async def test_polls_are_counted(runs: dict[str, AgentResult], measured: Received) -> None:
    polls = await reaches(lambda: measured.metric("agent.polls"), 4)
    requests = measured.metric("http.client.request.duration", **{"http.request.method": "GET"})
    assert requests >= polls


async def test_function_calls_are_measured_by_tool(runs: dict[str, AgentResult], measured: Received) -> None:
    labels = {"gen_ai.tool.name": "look", "outcome": "succeeded"}
    assert await reaches(lambda: measured.metric("agent.tool.duration", **labels), 2) == 2


async def test_the_wait_in_the_queues_is_measured_by_activity(runs: dict[str, AgentResult], measured: Received) -> None:
    await reaches(lambda: measured.metric("agent.activity.queue.wait", activity="create_response"), 3)


async def test_responses_in_flight_are_measured_while_they_are(
    deployment: Deployment, worker: WorkerProcess, measured: Received
) -> None:
    run = await deployment.start("in-flight", [Script(think=60)], transport=BACKGROUND)
    await until(lambda: run.heartbeat_of("await_response"))
    # An idle worker holds a permit for the next create already.
    await reaches(lambda: measured.metric("agent.responses.in_flight"), 1)
    await run.handle.signal("cancel")
    await run.result()


async def test_the_metrics_of_the_sdk_come_the_same_way(runs: dict[str, AgentResult], measured: Received) -> None:
    await reaches(lambda: "temporal_workflow_completed" in measured.metric_names(), 1)
