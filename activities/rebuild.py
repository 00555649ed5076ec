"""The full input of a run whose chain the server refused: read back from the stored responses."""

from dataclasses import dataclass, field
from typing import Any

from durable_responses.activities.messages import CreateResponse
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import FunctionCallOutput, InputItem, Response, UserMessage


async def full_input(client: ResponsesClient, create: CreateResponse, opening: str | list[InputItem]) -> list[Any]:
    """The run's opening, then each response's output with what was said to it, oldest first.

    Answers to calls and messages of the user come from the input items of the stored responses; the newest answers are
    in the request itself. Raises `ResponsesError` when a response cannot be read.
    """
    told = _Told(answers={item.call_id: item for item in create.new_items})
    responses: list[Response] = []
    for response_id in create.rebuild_from:
        responses.append((await client.retrieve(response_id)).response)
        told.take(response_id, await client.input_items(response_id))
    items: list[Any] = [{"role": "user", "content": opening}] if isinstance(opening, str) else list(opening)
    for response, next_id in zip(responses, [*create.rebuild_from[1:], None], strict=True):
        items += response.output
        items += [told.answers[call.call_id] for call in response.function_calls if call.call_id in told.answers]
        items += told.messages.get(next_id, [])
    return items


@dataclass
class _Told:
    """What the model was told: answers by call, messages of the user by the response that they were given to."""

    answers: dict[str, FunctionCallOutput]
    messages: dict[str | None, list[UserMessage]] = field(default_factory=dict)
    _seen: set[Any] = field(default_factory=set)

    def take(self, response_id: str, given: list[InputItem]) -> None:
        """Take the input items of a response. Some servers list those of the responses before it, too."""
        for item in given:
            if isinstance(item, FunctionCallOutput):
                self.answers.setdefault(item.call_id, item)
            elif isinstance(item, UserMessage) and (id_ := (item.model_extra or {}).get("id")) not in self._seen:
                self._seen.add(id_)
                self.messages.setdefault(response_id, []).append(item)
