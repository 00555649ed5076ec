"""A response that asks for more calls than Temporal allows activities at once, with real processes."""

import pytest

from durable_responses.emulator.model.script import Script, Step, Text
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import ANSWER_TOO_LARGE, FunctionCallOutput
from durable_responses.workflows.contract import AgentStatus, TransportChoice
from tests.support.deployment import Deployment, calls

MANY = 2_100
EXECUTED = 128


@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_of_very_many_calls_some_are_executed_and_all_are_answered(
    deployment: Deployment, transport: TransportChoice
) -> None:
    deployment.open_gates()
    asked: list[Step] = [calls("look", "many") for _ in range(MANY)]
    scripts = [Script(write=0, output=asked), Script(write=0, output=[Text(text="I see.")])]
    async with deployment.worker():
        run = await deployment.start("many", scripts, transport=transport)
        result = await run.result(seconds=60)
    assert (result.status, result.output_text, result.error) == (AgentStatus.COMPLETED, "I see.", None)
    _, second = await run.responses()
    async with ResponsesClient(deployment.emulator.base_url, None) as client:
        items = await client.input_items(second.id)
    answers = [item.text for item in items if isinstance(item, FunctionCallOutput)]
    assert [answer.startswith("The gate") for answer in answers] == [True] * EXECUTED + [False] * (MANY - EXECUTED)
    assert all("too many calls" in answer for answer in answers[EXECUTED:])
    assert deployment.gate("many").runs == EXECUTED


@pytest.mark.parametrize("asked", [4_500, 6_000])
async def test_more_calls_than_can_be_answered_end_the_run_by_name(deployment: Deployment, asked: int) -> None:
    """The answers would not fit into a payload, then not even the calls."""
    deployment.open_gates()
    steps: list[Step] = [Text(text="I ask."), *(calls("look", "many") for _ in range(asked))]
    async with deployment.worker():
        run = await deployment.start("too-many", [Script(write=0, output=steps)], transport=TransportChoice.BACKGROUND)
        result = await run.result(seconds=60)
    assert (result.status, result.incomplete_reason) == (AgentStatus.INCOMPLETE, ANSWER_TOO_LARGE)
    assert (result.output_text, result.error) == ("I ask.", None)
    assert len(await run.responses()) == 1
