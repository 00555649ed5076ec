"""Runs whose tools answer with images: the model is shown them, and history has only their names."""

import base64
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.mcp_tools.configuration import McpServers
from durable_responses.responses_api.models import InputImage, InputText
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentStatus, TransportChoice
from tests.support.chainless_servers import Chain, ChainlessServer, serving
from tests.support.emulator_control import RunningEmulator
from tests.support.mcp_tool_server import PICTURE
from tests.support.runs import Agents, agents_at, result_of

PROJECT = Path(__file__).parents[2]
BASE64 = base64.b64encode(PICTURE).decode()
TEXT = "As you see:\n\n[image 1: image/png, 69 bytes]"
SHOWN = {"type": "input_image", "image_url": f"data:image/png;base64,{BASE64}", "detail": "auto"}
FULL = {"transport": TransportChoice.STREAM, "conversation": "full"}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a worker with one server of tools."""
    arguments = ["-m", "tests.support.mcp_tool_server", str(tmp_path)]
    desk = {"command": sys.executable, "args": arguments, "cwd": str(PROJECT), "trust": "annotations"}
    return settings.model_copy(update={"mcp_servers": McpServers.model_validate({"desk": desk})})


def asks(**fields: Any) -> AgentInput:
    """A run that may have its server draw a picture."""
    return AgentInput(task="Do it.", **{"tools": ["desk.picture"], **fields})


@pytest.mark.parametrize("transport", ["background", "stream", "websocket"])
async def test_an_image_of_a_tool_reaches_the_model(agents: Agents, transport: Any) -> None:
    name = f"of-{agents.settings.task_queue}"
    call = Script(output=[FunctionCallStep(name="desk__picture", arguments={})])
    done = Script(output=[Text(text="Done.")])
    await agents.emulator.control.add_scenario(Scenario(name=name, responses=[call, done]))
    run = await agents.start(asks(transport=transport, metadata={"scenario": name}))
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    [answer] = await agents.function_outputs(run, 2)
    assert answer.output == [InputText(text=TEXT), InputImage.model_validate(SHOWN)]
    events = (await run.fetch_history()).events
    assert not any(BASE64.encode() in event.SerializeToString() for event in events)


@dataclass
class DrawingServer(ChainlessServer):
    """Its model has pictures drawn, which it may refuse: at once, or by a response that `fails`.

    `forget`: called before each answer.
    """

    tool: str = "desk__picture"
    arguments: str = "{}"
    forget: Callable[[], None] = lambda: None
    refusal: dict[str, Any] | None = None
    fails: bool = False

    def answer(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.forget()
        if self.refusal is not None and any(SHOWN in parts for parts in outputs_in(asked)):
            self.asked.append(asked)
            if self.fails:
                return 200, {"id": f"resp_{len(self.asked)}", "status": "failed", "output": [], "error": self.refusal}
            return 400, {"error": self.refusal}
        return super().answer(asked)


def outputs_in(asked: dict[str, Any]) -> list[Any]:
    """The answers to calls in a request."""
    items = asked["input"] if isinstance(asked["input"], list) else []
    return [item["output"] for item in items if item.get("type") == "function_call_output"]


async def test_a_conversation_that_is_sent_in_full_has_the_images_again(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(DrawingServer(Chain.IGNORED, calls=2)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            assert (await agents.run(asks(**FULL))).status is AgentStatus.COMPLETED
    parts = [{"type": "input_text", "text": TEXT}, SHOWN]
    assert outputs_in(server.asked[-1]) == [parts, parts]


async def test_an_image_that_is_gone_is_named(
    client: Client, emulator: RunningEmulator, settings: Settings, tmp_path: Path
) -> None:
    """Its file is not where the worker runs."""

    def forget() -> None:
        for file in (tmp_path / "workspace").glob(".outputs/*/*.png"):
            file.unlink()

    with serving(DrawingServer(Chain.IGNORED, calls=2, forget=forget)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            assert (await agents.run(asks(**FULL))).status is AgentStatus.COMPLETED
    gone = {
        "type": "input_text",
        "text": "(The image is not kept where this worker runs: call the tool again if you need it.)",
    }
    first, second = outputs_in(server.asked[-1])
    assert (first[1:], second[1:]) == ([gone], [SHOWN])


async def test_a_response_that_fails_for_an_image_is_created_again_without(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    refusal = {"code": "invalid_image_format", "message": "The image is not valid."}
    with serving(DrawingServer(Chain.CONTINUED, refusal=refusal, fails=True)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(transport=TransportChoice.BACKGROUND))
    assert (result.status, result.error) == (AgentStatus.COMPLETED, None)
    assert "images of tools were left out, as the provider cannot read one" in result.request_changes
    told = {"type": "input_text", "text": "(There was an image, which cannot be read.)"}
    assert outputs_in(server.asked[-1]) == [[{"type": "input_text", "text": TEXT}, told]]


@dataclass
class NearlyFullServer(DrawingServer):
    """Its model's window of 4,000 tokens is nearly full after each response."""

    def answer(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, body = super().answer(asked)
        return status, {**body, "usage": {"input_tokens": 3_900, "output_tokens": 1, "total_tokens": 3_901}}


async def test_a_compaction_that_fails_for_an_image_is_tried_again_without(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    refusal = {"code": "invalid_image_format", "message": "The image is not valid."}
    with serving(NearlyFullServer(Chain.CONTINUED, refusal=refusal, fails=True)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(transport=TransportChoice.BACKGROUND, context_window=4_000))
    assert (result.status, result.error) == (AgentStatus.COMPLETED, None)
    shown = [any(SHOWN in parts for parts in outputs_in(asked)) for asked in server.asked]
    assert (shown.count(True), shown[1:3]) == (1, [True, False])


@pytest.mark.parametrize(
    ("refusal", "told", "change"),
    [
        (
            {"message": "This model does not support image inputs.", "param": "input"},
            "(There was an image, which this model cannot be given.)",
            "images of tools were left out",
        ),
        (
            {"message": "The image data you provided does not represent a valid image.", "param": "input[2].output[1]"},
            "(There was an image, which cannot be read.)",
            "an image of a tool that cannot be read was left out",
        ),
    ],
)
async def test_an_image_that_a_provider_refuses_is_left_out(
    client: Client, emulator: RunningEmulator, settings: Settings, refusal: dict[str, Any], told: str, change: str
) -> None:
    """A tool's image cannot end a run; what was left out is told in its result, and to the model."""
    with serving(DrawingServer(Chain.IGNORED, refusal=refusal)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(**FULL))
    assert (result.status, result.error) == (AgentStatus.COMPLETED, None)
    assert [each for each in result.request_changes if each.startswith(change)]
    assert outputs_in(server.asked[-1]) == [
        [{"type": "input_text", "text": TEXT}, {"type": "input_text", "text": told}]
    ]
