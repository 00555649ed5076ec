"""Traces of real runs, as a receiver of OTLP gets them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from durable_responses.embedded import find_temporal_cli
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.settings import Settings
from durable_responses.telemetry.export import Protocol
from durable_responses.workflows.contract import (
    WORKFLOW_TYPE,
    AgentInput,
    AgentResult,
    AgentStatus,
    TransportChoice,
    agent_workflow_id,
)
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.processes import TemporalServer, WorkerProcess
from tests.support.receiver import Received, ReceivedSpan, receiving
from tests.telemetry.conftest import exporting_worker, started_elsewhere

ANSWER = Script(output=[Text(text="The answer.")], write=0)
ONE_CALL = [Script(think=0.3, output=[calls("look", "open")]), ANSWER]


@pytest.fixture(scope="module")
async def worker(deployment: Deployment, received: Received) -> AsyncIterator[WorkerProcess]:
    """A worker that exports."""
    async with exporting_worker(deployment, received) as running:
        yield running


async def span_named(received: Received, name: str) -> ReceivedSpan:
    """The one span of this name, once it has come."""

    async def found() -> list[ReceivedSpan]:
        return [span for span in list(received.spans) if span.name == name]

    [span] = await until(found)
    return span


async def spans_of(received: Received, run: Run) -> list[ReceivedSpan]:
    """The trace of a run that has ended, once its own span has come; by their starts."""

    async def trace() -> list[ReceivedSpan]:
        spans = list(received.spans)
        ends = [span.trace_id for span in spans if span.attributes.get("gen_ai.conversation.id") == run.handle.id]
        ends = [span.trace_id for span in spans if span.trace_id in ends and "agent.status" in span.attributes]
        return sorted((span for span in spans if span.trace_id in ends), key=lambda span: span.start)

    return await until(trace)


def tree_of(spans: list[ReceivedSpan]) -> list[str]:
    """`parent > child` for every span but the first, by name, without repetitions."""
    names = {span.span_id: span.name for span in spans}
    return sorted({f"{names.get(span.parent_id, '?')} > {span.name}" for span in spans if span.parent_id})


@pytest.mark.parametrize("protocol", Protocol)
async def test_a_run_is_one_trace_down_to_the_requests_with_a_link_to_its_start(
    apart: Deployment, protocol: Protocol
) -> None:
    await apart.emulator.control.add_scenario(Scenario(name="one-call", responses=ONE_CALL))
    asked = AgentInput(
        task="Go.", model="gpt-5.4", transport=TransportChoice.BACKGROUND, metadata={"scenario": "one-call"}
    )
    with receiving(protocol) as received:
        async with exporting_worker(apart, received):
            run = await started_elsewhere(apart, received, asked)
            assert (await run.result()).status is AgentStatus.COMPLETED
            spans = await spans_of(received, run)
            start = await span_named(received, "start AgentWorkflow")
    assert tree_of(spans) == [
        "await_response > GET /v1/responses/{id}",
        "chat gpt-5.4 > await_response",
        "chat gpt-5.4 > create_response",
        "create_response > POST /v1/responses",
        "invoke_agent AgentWorkflow > chat gpt-5.4",
        "invoke_agent AgentWorkflow > execute_tool look",
    ]
    [root] = [span for span in spans if not span.parent_id]
    assert root.name == "invoke_agent AgentWorkflow"
    assert root.links == ((start.trace_id, start.span_id),)
    assert {span.service for span in spans} == {"durable-responses-worker"}


async def test_a_response_is_one_span_from_its_create_to_its_result(
    deployment: Deployment, worker: WorkerProcess, received: Received
) -> None:
    run = await deployment.start("one-span", ONE_CALL, transport=TransportChoice.BACKGROUND, model="gpt-5.4")
    result = await run.result()
    first, second = [span for span in await spans_of(received, run) if span.name.startswith("chat")]
    assert first.end - first.start > 0.3
    assert (
        first.attributes.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.conversation.id": run.handle.id,
            "gen_ai.request.model": "gpt-5.4",
            "gen_ai.response.id": result.responses[0].response_id,
            "gen_ai.response.finish_reasons": ("tool_call",),
            "gen_ai.usage.input_tokens": result.responses[0].input_tokens,
            "gen_ai.usage.output_tokens": result.responses[0].output_tokens,
        }.items()
    )
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert second.attributes["gen_ai.request.previous_response.id"] == result.responses[0].response_id


async def test_a_function_call_is_a_span_with_the_names_of_the_conventions(
    deployment: Deployment, worker: WorkerProcess, received: Received
) -> None:
    run = await deployment.start("tool-span", ONE_CALL, transport=TransportChoice.STREAM)
    await run.result()
    [call] = [span for span in await spans_of(received, run) if span.name == "execute_tool look"]
    assert call.attributes["gen_ai.tool.name"] == "look"
    assert call.attributes["gen_ai.operation.name"] == "execute_tool"
    assert call.attributes["gen_ai.tool.call.id"].startswith("call_")


async def test_a_run_whose_worker_was_killed_is_one_trace_with_each_response_once(
    apart: Deployment, received: Received
) -> None:
    turns = [Script(think=2, output=[calls("look", "open")]), ANSWER]
    async with exporting_worker(apart, received) as first:
        run = await apart.start("killed", turns, transport=TransportChoice.BACKGROUND)
        await until(lambda: run.heartbeat_of("await_response"))
        first.kill()
    async with exporting_worker(apart, received):
        result = await run.result()
        spans = await spans_of(received, run)
    chats = [span for span in spans if span.name.startswith("chat")]
    assert [span.attributes["gen_ai.response.id"] for span in chats] == [each.response_id for each in result.responses]
    assert chats[0].end - chats[0].start > 2
    waits = [span for span in spans if span.name == "await_response" and span.parent_id == chats[0].span_id]
    assert [span.attributes["temporal.attempt"] for span in waits] == [2]
    assert [span.name for span in spans if not span.parent_id] == ["invoke_agent AgentWorkflow"]


async def test_no_span_shows_what_was_said(deployment: Deployment, worker: WorkerProcess, received: Received) -> None:
    run = await deployment.start("unsaid", ONE_CALL, task="The secret of Fernwick.", transport=TransportChoice.STREAM)
    await run.result()
    told = repr(await spans_of(received, run))
    assert not re.search("Fernwick|The answer", told)


async def test_content_is_shown_where_the_conventions_variable_asks_for_it(
    apart: Deployment, received: Received
) -> None:
    shown = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only"}
    async with exporting_worker(apart, received, **shown):
        run = await apart.start("said", ONE_CALL, task="Ask Fernwick.", transport=TransportChoice.STREAM)
        await run.result()
        spans = await spans_of(received, run)
    first, second = [span for span in spans if span.name.startswith("chat")]
    [call] = [span for span in spans if span.name == "execute_tool look"]
    assert "Ask Fernwick." in first.attributes["gen_ai.input.messages"]
    assert "The answer." in second.attributes["gen_ai.output.messages"]
    assert call.attributes["gen_ai.tool.call.arguments"] == '{"gate": "open"}'
    assert "is open" in call.attributes["gen_ai.tool.call.result"]
    assert "is open" in json.loads(second.attributes["gen_ai.input.messages"])[0]["parts"][0]["response"]
    [agent] = [span for span in spans if not span.parent_id]
    assert "Ask Fernwick." in agent.attributes["gen_ai.input.messages"]
    assert "The answer." in agent.attributes["gen_ai.output.messages"]


async def test_requests_name_the_port_of_the_provider(
    deployment: Deployment, worker: WorkerProcess, received: Received
) -> None:
    run = await deployment.start("ports", ONE_CALL, transport=TransportChoice.BACKGROUND)
    await run.result()
    requests = [span for span in await spans_of(received, run) if "http.request.method" in span.attributes]
    assert {span.attributes["server.port"] for span in requests} == {urlsplit(deployment.emulator.base_url).port}


async def test_a_failed_run_has_an_error_in_its_span(
    deployment: Deployment, worker: WorkerProcess, received: Received
) -> None:
    handle = await deployment.client.start_workflow(
        WORKFLOW_TYPE, {"task": ""}, id=agent_workflow_id(), task_queue=deployment.task_queue, result_type=AgentResult
    )
    run = Run(handle, deployment.emulator.control)
    assert (await run.result()).status is AgentStatus.FAILED
    [span] = await spans_of(received, run)
    assert span.is_error
    assert span.attributes["error.type"] == "invalid_input"


async def test_a_cancelled_run_has_its_status_in_its_span(
    deployment: Deployment, worker: WorkerProcess, received: Received
) -> None:
    run = await deployment.start("cancelled", [Script(think=60, output=[])], transport=TransportChoice.BACKGROUND)
    await until(lambda: run.heartbeat_of("await_response"))
    await run.handle.cancel()
    await asyncio.wait([asyncio.ensure_future(run.handle.result())], timeout=20)
    spans = await spans_of(received, run)
    assert [span.attributes["agent.status"] for span in spans if span.name.startswith("invoke")] == ["cancelled"]
    [chat] = [span for span in spans if span.name.startswith("chat")]
    assert chat.attributes["agent.response.status"] == "cancelled"


async def test_a_run_that_is_continued_as_new_is_one_trace(
    received: Received, deployment: Deployment, tmp_path: Path
) -> None:
    server = await TemporalServer.on(tmp_path / "short-histories")
    server.command += ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=30"]
    async with server as temporal:
        short = Deployment(temporal, await temporal.client(), deployment.emulator, tmp_path / "short")
        async with exporting_worker(short, received):
            turns = [Script(output=[calls("look", "open")], write=0)] * 6
            run = await short.start("continued", [*turns, ANSWER], transport=TransportChoice.STREAM, max_iterations=20)
            assert (await run.result()).status is AgentStatus.COMPLETED
            spans = await spans_of(received, run)
    parts = [span for span in spans if span.name.startswith("invoke_agent")]
    assert len(parts) > 2
    assert [span.parent_id for span in parts] == ["", *[parts[0].span_id] * (len(parts) - 1)]
    assert [span.attributes["agent.iteration"] for span in spans if span.name.startswith("chat")] == list(range(1, 8))
    ends = [span.attributes.get("agent.status") for span in parts]
    assert ends == [*[None] * (len(parts) - 1), "completed"]


async def test_a_run_started_from_the_temporal_cli_is_one_trace(
    deployment: Deployment, worker: WorkerProcess, received: Received
) -> None:
    cli, job_id = await find_temporal_cli(Settings(), print), agent_workflow_id()
    await deployment.emulator.control.add_scenario(Scenario(name="from-cli", responses=ONE_CALL))
    options = ["--type", WORKFLOW_TYPE, "--task-queue", deployment.task_queue, "--workflow-id", job_id]
    asked = AgentInput(task="Go.", metadata={"scenario": "from-cli"}).model_dump_json(exclude_unset=True)
    command = [str(cli), "workflow", "start", *options, "--input", asked, "--address", deployment.temporal.address]
    started = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await started.wait() == 0
    handle = deployment.client.get_workflow_handle(job_id, result_type=AgentResult)
    run = Run(handle, deployment.emulator.control)
    await run.result()
    spans = await spans_of(received, run)
    assert [span.name for span in spans if not span.parent_id] == ["invoke_agent AgentWorkflow"]
    assert "invoke_agent AgentWorkflow > chat gpt-5.4" in tree_of(spans)  # the worker's model: the run names none


async def test_a_turn_over_a_websocket_is_a_response_like_any_other(
    deployment: Deployment, worker: WorkerProcess, received: Received
) -> None:
    run = await deployment.start("socket", ONE_CALL, transport=TransportChoice.WEBSOCKET, model="gpt-5.4")
    result = await run.result()
    spans = await spans_of(received, run)
    assert tree_of(spans) == [
        "chat gpt-5.4 > websocket_turn",
        "invoke_agent AgentWorkflow > chat gpt-5.4",
        "invoke_agent AgentWorkflow > execute_tool look",
    ]
    chats = [span for span in spans if span.name.startswith("chat")]
    assert [span.attributes["gen_ai.response.id"] for span in chats] == [each.response_id for each in result.responses]


async def test_a_stream_whose_worker_was_killed_is_a_lost_response_and_the_next_one_another(
    apart: Deployment, received: Received
) -> None:
    turns = [Script(output=[Text(text="A long text. " * 500)], write=3)]
    async with exporting_worker(apart, received) as first:
        run = await apart.start("cut", turns, transport=TransportChoice.STREAM)

        async def is_written() -> bool:
            return (await run.progress()).response_id is not None

        await until(is_written)
        first.kill()
    async with exporting_worker(apart, received):
        result = await run.result()
        spans = await spans_of(received, run)
    lost, finished = [span for span in spans if span.name.startswith("chat")]
    assert lost.attributes["error.type"] == "response_lost"
    assert [span.attributes["gen_ai.response.id"] for span in (lost, finished)] == [
        each.response_id for each in result.responses
    ]
