"""Creating, reading, deleting and chaining responses."""

import json

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types.responses import FunctionToolParam, Response
from pydantic import BaseModel

from tests.support import strictly

DICE: FunctionToolParam = {
    "type": "function",
    "name": "roll_dice",
    "description": "Roll a die and answer the number.",
    "parameters": {
        "type": "object",
        "properties": {"sides": {"type": "integer", "description": "How many sides it has."}},
        "required": ["sides"],
        "additionalProperties": False,
    },
    "strict": True,
}


async def test_a_response_has_every_field_and_text(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(client, model=model, input="Say hello.")
    assert response.status == "completed"
    assert response.output_text
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


async def test_the_request_comes_back_in_the_response(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(
        client,
        model=model,
        input="Say hello.",
        instructions="Be brief.",
        metadata={"purpose": "conformance"},
        max_output_tokens=2000,
        tools=[DICE],
        tool_choice="none",
        parallel_tool_calls=False,
        text={"verbosity": "low"},
    )
    assert response.instructions == "Be brief."
    assert response.metadata == {"purpose": "conformance"}
    assert response.max_output_tokens == 2000
    assert [tool.type for tool in response.tools] == ["function"]
    assert response.tool_choice == "none"
    assert response.parallel_tool_calls is False
    assert response.text is not None
    assert response.text.verbosity == "low"


async def test_a_stored_response_is_read_back_unchanged(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(client, model=model, input="Say hello.")
    assert await strictly.retrieve(client, response.id) == response


async def test_an_unstored_response_cannot_be_read_back(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(client, model=model, input="Say hello.", store=False)
    with pytest.raises(NotFoundError):
        await client.responses.retrieve(response.id)


async def test_a_deleted_response_cannot_be_read_back(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(client, model=model, input="Say hello.")
    await client.responses.delete(response.id)
    with pytest.raises(NotFoundError):
        await client.responses.retrieve(response.id)


class Capital(BaseModel):
    country: str
    capital: str


async def test_a_structured_output_follows_its_schema(client: AsyncOpenAI, model: str) -> None:
    response = await client.responses.parse(model=model, input="The capital of France.", text_format=Capital)
    assert isinstance(response.output_parsed, Capital)


async def test_a_chained_response_pays_for_what_came_before(client: AsyncOpenAI, model: str) -> None:
    first = await strictly.create(client, model=model, input="Remember the number 7. " * 20)
    second = await strictly.create(client, model=model, input="Which number?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


async def test_an_unknown_previous_response_is_named(client: AsyncOpenAI, model: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        await client.responses.create(model=model, input="Go on.", previous_response_id="resp_0123456789abcdef")
    assert refused.value.code == "previous_response_not_found"


async def test_a_function_call_is_answered_in_the_next_response(client: AsyncOpenAI, model: str) -> None:
    called = await _call_dice(client, model)
    [call] = [item for item in called.output if item.type == "function_call"]
    assert call.name == "roll_dice"
    answered = await strictly.create(
        client,
        model=model,
        tools=[DICE],
        previous_response_id=called.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "4"}],
        tool_choice="none",
    )
    assert answered.status == "completed"


async def test_a_call_without_an_answer_is_refused(client: AsyncOpenAI, model: str) -> None:
    called = await _call_dice(client, model)
    with pytest.raises(BadRequestError, match="No tool output found for function call"):
        await client.responses.create(model=model, input="And?", previous_response_id=called.id)


async def test_an_answer_without_a_call_is_refused(client: AsyncOpenAI, model: str) -> None:
    with pytest.raises(BadRequestError, match="No tool call found for function call output with call_id call_0"):
        await client.responses.create(
            model=model, input=[{"type": "function_call_output", "call_id": "call_0", "output": "4"}]
        )


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"max_output_tokens": 1}, "max_output_tokens"),
        ({"reasoning": {"effort": "gigantic"}}, "reasoning.effort"),
        ({"unheard_of": True}, "unheard_of"),
        ({"metadata": {"long": "x" * 513}}, "metadata.long"),
        ({"input": [{"type": "unheard_of"}]}, "input"),
    ],
)
async def test_a_wrong_parameter_is_named(
    client: AsyncOpenAI, model: str, wrong: dict[str, object], param: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await client.responses.create(model=model, input="Say hello.", extra_body=wrong)
    assert (refused.value.param or "").startswith(param)


async def test_a_function_that_is_not_strict_enough_is_refused(client: AsyncOpenAI, model: str) -> None:
    loose: FunctionToolParam = {**DICE, "parameters": {"type": "object", "properties": {"sides": {"type": "integer"}}}}
    with pytest.raises(BadRequestError) as refused:
        await client.responses.create(model=model, input="Roll.", tools=[loose])
    assert refused.value.code == "invalid_function_parameters"


async def test_an_unknown_model_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError) as refused:
        await client.responses.create(model="unknown-model", input="Say hello.")
    assert refused.value.code == "model_not_found"


async def test_input_items_are_listed_newest_first(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(
        client,
        model=model,
        input=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Say hello."}],
    )
    page = await client.responses.input_items.list(response.id)
    assert [getattr(item, "role", None) for item in page.data] == ["user", "developer"]


async def test_input_items_are_paged(client: AsyncOpenAI, model: str) -> None:
    response = await strictly.create(
        client, model=model, input=[{"role": "user", "content": f"Number {number}."} for number in range(5)]
    )
    ids = [item.id async for item in client.responses.input_items.list(response.id, limit=2, order="asc")]
    assert len(set(ids)) == 5


async def test_input_tokens_are_counted_without_a_response(client: AsyncOpenAI, model: str) -> None:
    counted = await client.responses.input_tokens.count(model=model, input="Say hello. " * 100)
    assert counted.input_tokens > 100


async def test_a_compacted_conversation_can_be_continued(client: AsyncOpenAI, model: str) -> None:
    first = await strictly.create(client, model=model, input="Remember the number 7.")
    compacted = await client.responses.with_raw_response.compact(model=model, previous_response_id=first.id)
    window = json.loads(compacted.content)["output"]
    assert window[-1]["type"] == "compaction"
    question = {"role": "user", "content": "Which number?"}
    after = await strictly.create(client, model=model, input=[*window, question])
    assert after.status == "completed"


async def _call_dice(client: AsyncOpenAI, model: str) -> Response:
    return await strictly.create(
        client, model=model, input="Roll a die with six sides.", tools=[DICE], tool_choice="required"
    )
