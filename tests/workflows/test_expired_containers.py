"""Whole runs whose container has expired before they go on: its calls are left out, once."""

import json
from typing import Any

import pytest

from durable_responses.emulator.faults import Answer, ExceedContext, Fault, Operation, RefuseItem
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import CodeInterpreterStep, FunctionCallStep, Script, Text
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentStatus,
    ConversationChoice,
    TransportChoice,
)
from tests.support.runs import Agents, reached, result_of

AFTER_EXPIRY = 20 * 60 + 1
ADDS = FunctionCallStep(name="add", arguments='{"a": 1, "b": 2}')
ASKS = FunctionCallStep(name="ask_owner", arguments=json.dumps({"question": "Shall I go on?"}))
LEFT_OUT = "calls were left out, as their container is gone"


async def ran(agents: Agents, conversation: ConversationChoice, transport: TransportChoice) -> AgentResult:
    """A run that waits for its owner until its container has expired, and then calls a tool and answers."""
    steps = [Script(write=0, output=[CodeInterpreterStep(), ASKS]), Script(write=0, output=[ADDS])]
    scenario = Scenario(name="runs_code", responses=[*steps, Script(write=0, output=[Text(text="Done.")])])
    await agents.emulator.control.add_scenario(scenario)
    run = await agents.start(
        AgentInput(
            task="Plot it.",
            tools=["add"],
            enable_code_interpreter=True,
            allow_questions=True,
            conversation=conversation,
            transport=transport,
            context_window=32_000,
            metadata={"scenario": "runs_code"},
        )
    )
    await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
    await agents.emulator.control.advance(AFTER_EXPIRY)
    await run.execute_update("respond", "yes")
    return await result_of(run)


@pytest.mark.parametrize("transport", [TransportChoice.STREAM, TransportChoice.WEBSOCKET])
async def test_a_conversation_that_is_sent_whole_goes_on_without_what_ran_in_it(
    agents: Agents, transport: TransportChoice
) -> None:
    result = await ran(agents, ConversationChoice.FULL, transport)
    assert (result.status, result.error, result.output_text) == ("completed", None, "Done.")
    assert result.request_changes == [LEFT_OUT]
    assert [entry.status for entry in result.responses] == ["completed"] * 3


@pytest.mark.parametrize("conversation", [ConversationChoice.SERVER, ConversationChoice.AUTO])
async def test_a_chain_that_is_refused_for_it_is_sent_whole_without_what_ran_in_it(
    agents: Agents, conversation: ConversationChoice
) -> None:
    """The provider has continued from a response of the run before: it is not the chain that it does not know."""
    refused = Answer(status=400, message="Expected container_id: the container has expired.")
    fault = Fault(operation=Operation.CREATE, metadata={"iteration": "3"}, effect=refused)
    await agents.emulator.control.add_fault(fault)
    result = await ran(agents, conversation, TransportChoice.STREAM)
    assert (result.status, result.error, result.output_text) == ("completed", None, "Done.")
    assert LEFT_OUT in result.request_changes


async def test_a_conversation_is_compacted_without_what_ran_in_it(agents: Agents) -> None:
    """By the endpoint that compacts: it takes no other change, and its answer has no id by which it is found again."""
    second: dict[str, Any] = {"operation": Operation.CREATE, "metadata": {"iteration": "2"}}
    await agents.emulator.control.add_fault(Fault(**second, effect=RefuseItem(item="compaction_trigger")))
    # The first create of it is refused for the container.
    await agents.emulator.control.add_fault(Fault(**second, effect=ExceedContext(always=True), skip=1))
    result = await ran(agents, ConversationChoice.FULL, TransportChoice.STREAM)
    assert (result.status, result.error, result.output_text) == ("completed", None, "Done.")
    assert [entry.status for entry in result.responses] == ["completed", "compaction", "completed", "completed"]
