"""The slow lane, `make test-traces`: how a run looks in Arize Phoenix, and the picture of it in docs/observability.md.

`make test` leaves it out: Phoenix and its two hundred packages are installed first, in an environment of their own.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.screenshots.browser import ChromiumMissing, chromium
from durable_responses.settings import child_environment
from durable_responses.telemetry.export import Protocol
from durable_responses.workflows.contract import AgentInput, AgentStatus, TransportChoice
from tests.support.deployment import Deployment, until
from tests.support.environments import CannotBeInstalled, python_environment
from tests.support.processes import CHECKOUT, Process, free_port
from tests.support.receiver import Received
from tests.telemetry.conftest import apart, deployment, started_elsewhere

__all__ = ["apart", "deployment"]

PHOENIX = "arize-phoenix==20.26.1"
PICTURE = CHECKOUT / "docs" / "images" / "trace.png"
TASK = "What is still open before Fernwick 2.0 can ship? Name the owner of each point."


@pytest.fixture(scope="session")
async def phoenix(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Received]:
    """Where Phoenix listens."""
    try:
        environment = await python_environment("phoenix", PHOENIX)
    except CannotBeInstalled as missing:
        pytest.skip(str(missing))
    folder, port = tmp_path_factory.mktemp("phoenix"), free_port()
    variables = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    command = [str(environment / "bin" / "phoenix"), "serve"]
    async with Process(command, log=folder / "phoenix.log", env=child_environment(**variables)):
        url = f"http://127.0.0.1:{port}"

        async def listens() -> bool:
            try:
                return (await asyncio.to_thread(httpx.get, f"{url}/healthz", trust_env=False)).is_success
            except httpx.TransportError:
                return False

        await until(listens, seconds=300)
        yield Received(url, Protocol.HTTP)


async def spans_in(phoenix: Received) -> list[dict[str, Any]]:
    """The spans of the one run, once Phoenix shows its last, which is the agent's, and all that it refers to."""

    async def shown() -> list[dict[str, Any]]:
        url = f"{phoenix.endpoint}/v1/projects/default/spans?limit=1000"
        answer = await asyncio.to_thread(httpx.get, url, trust_env=False)
        spans: list[dict[str, Any]] = answer.json()["data"] if answer.is_success else []
        known = {span["context"]["span_id"] for span in spans}
        is_whole = all(span["parent_id"] is None or span["parent_id"] in known for span in spans)
        return spans if is_whole and any(span["span_kind"] == "AGENT" for span in spans) else []

    return await until(shown)


async def test_phoenix_shows_a_run_as_one_trace_with_its_task_its_answer_and_its_tools(
    apart: Deployment, phoenix: Received
) -> None:
    variables = phoenix.variables | {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only"}
    worker = apart.worker((), **variables, AGENT_WORKSPACE=str(CHECKOUT / "workspace"), AGENT_TOOL_MODULES="")
    asked = AgentInput(task=TASK, model="gpt-5.4", transport=TransportChoice.BACKGROUND)
    async with worker:
        run = await started_elsewhere(apart, phoenix, asked)
        result = await run.result(seconds=60)
        assert result.status is AgentStatus.COMPLETED
        spans = await spans_in(phoenix)
        assert "OTEL_METRICS_EXPORTER=none" in worker.log.read_text()  # it takes none: 405
    by_kind = {kind: [span for span in spans if span["span_kind"] == kind] for kind in ("AGENT", "LLM", "TOOL")}
    assert len(by_kind["LLM"]) == result.iterations
    assert by_kind["TOOL"]
    [agent] = by_kind["AGENT"]
    assert agent["parent_id"] is None
    assert agent["attributes"]["input.value"] == TASK
    assert agent["attributes"]["output.value"] == result.output_text
    assert _tool_outputs(by_kind["LLM"])
    await _take_picture(phoenix, agent, PICTURE)


def _tool_outputs(spans: list[dict[str, Any]]) -> list[str]:
    """What the model was told of its function calls, as far as Phoenix shows it."""
    return [
        str(value)
        for span in spans
        for name, value in span["attributes"].items()
        if name.startswith("llm.input_messages") and name.endswith("message.content") and value
    ]


async def _take_picture(phoenix: Received, agent: dict[str, Any], picture: Path) -> None:
    trace = agent["context"]["trace_id"]
    try:
        async with chromium() as page:
            await page.show(f"{phoenix.endpoint}/redirects/traces/{trace}", "invoke_agent AgentWorkflow")
            await page.wait_for("execute_tool")
            picture.write_bytes(await page.take(900))
    except ChromiumMissing as missing:
        pytest.skip(str(missing))
