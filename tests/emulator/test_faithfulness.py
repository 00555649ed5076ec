"""Everything that a built-in scenario sends, judged by the types of the official client."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.responses import Response, ResponseItemList

from durable_responses.emulator.model.library import BUILT_IN
from tests.support import strictly

REASONING = {"effort": "low", "summary": "auto"}
PNG = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}
CALL_KINDS = ["computer_call", "local_shell_call", "shell_call", "apply_patch_call", "mcp_approval_request"]
# An item of a kind that nobody knows cannot be judged by types.
KNOWN = [scenario.name for scenario in BUILT_IN if scenario.name != "unknown_item"]
QUICKER = {"think": "think?seconds=0.05", "write": "write?seconds=0.05"}
SCENARIOS = [*(QUICKER.get(name, name) for name in KNOWN), *(f"unanswerable_call?kind={kind}" for kind in CALL_KINDS)]


async def test_every_field_of_the_real_response_is_there(official: AsyncOpenAI) -> None:
    raw = await official.responses.with_raw_response.create(model="scenario:echo", input="Hi.")
    assert set(Response.model_fields) - set(json.loads(raw.content)) == set()


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_scenario_sends_valid_responses(official: AsyncOpenAI, scenario: str) -> None:
    await strictly.create(official, model=f"scenario:{scenario}", input="Hi.", reasoning=REASONING)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_scenario_sends_valid_events(official: AsyncOpenAI, scenario: str) -> None:
    events = strictly.stream(official, model=f"scenario:{scenario}", input="Hi.", reasoning=REASONING)
    assert [event.type async for event in events][-1] == "response.completed"


async def test_an_unknown_item_is_shown_unchanged(official: AsyncOpenAI) -> None:
    response = await official.responses.create(model="scenario:unknown_item", input="Hi.")
    assert [item.type for item in response.output] == ["reasoning", "hologram", "message"]


async def test_input_items_are_listed_in_full(official: AsyncOpenAI) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}
    asked: Any = [
        {"role": "user", "content": "Hi."},
        {"role": "user", "content": [{"type": "input_text", "text": "Hi."}]},
        {"role": "user", "content": [image]},
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": "Yes?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAA"},
    ]
    response = await official.responses.create(model="scenario:no_output", input=asked)
    raw = await official.responses.input_items.with_raw_response.list(response.id)
    assert len(strictly.read(ResponseItemList, raw.content).data) == len(asked)


@pytest.mark.parametrize("output", ["ok", [{"type": "input_text", "text": "Look:"}, PNG]])
async def test_answers_to_calls_are_listed_in_full(official: AsyncOpenAI, output: Any) -> None:
    called = await official.responses.create(model="scenario:calls?tool=f", input="Go.")
    call = next(item for item in called.output if item.type == "function_call")
    answered = await official.responses.create(
        model="scenario:calls?tool=f",
        previous_response_id=called.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": output}],
    )
    raw = await official.responses.input_items.with_raw_response.list(answered.id)
    assert [item.type for item in strictly.read(ResponseItemList, raw.content).data] == ["function_call_output"]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ("text", "input[0].output[0]"),
        ({"type": "output_text", "text": "x"}, "input[0].output[0].type"),
        ({"type": "input_text"}, "input[0].output[0].text"),
        ({"type": "input_image"}, "input[0].output[0].image_url"),
        ({"type": "input_image", "image_url": "kept:1.png"}, "input[0].output[0].image_url"),
        ({"type": "input_image", "image_url": "data:image/png;base64,?"}, "input[0].output[0].image_url"),
        ({"type": "input_image", "image_url": "data:image/png;base64,AAAA"}, "input[0].output[0].image_url"),
    ],
)
async def test_a_part_of_an_answer_that_is_none_is_refused(official: AsyncOpenAI, part: Any, param: str) -> None:
    item: Any = {"type": "function_call_output", "call_id": "c", "output": [part]}
    with pytest.raises(BadRequestError) as refused:
        await official.responses.create(model="m", input=[item])
    assert refused.value.param == param
