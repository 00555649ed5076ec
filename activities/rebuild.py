"""The full input of a run whose chain the server refused: read back from the stored responses."""

from typing import Any

from activities.messages import CreateResponse
from responses_api.client import ResponsesClient
from responses_api.models import FunctionCallOutput, InputItem, Response


async def full_input(client: ResponsesClient, create: CreateResponse, opening: str | list[InputItem]) -> list[Any]:
    """The run's opening, then each response's output with the answers to its calls, oldest first.

    Answers come from the input items of the stored responses; the newest are in the request itself. Raises
    `ResponsesError` when a response cannot be read.
    """
    answers = {item.call_id: item for item in create.new_items}
    responses: list[Response] = []
    for response_id in create.rebuild_from:
        responses.append((await client.retrieve(response_id)).response)
        for item in await client.input_items(response_id):
            if isinstance(item, FunctionCallOutput):
                answers.setdefault(item.call_id, item)
    items: list[Any] = [{"role": "user", "content": opening}] if isinstance(opening, str) else list(opening)
    for response in responses:
        items += response.output
        items += [answers[call.call_id] for call in response.function_calls if call.call_id in answers]
    return items
