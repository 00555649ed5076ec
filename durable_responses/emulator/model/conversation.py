"""What the scripted model is shown: the request, and everything said before it in the chain."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from durable_responses.emulator.model.script import tokens_of
from durable_responses.emulator.model.tool_choice import ToolChoice
from durable_responses.emulator.objects.api_errors import invalid
from durable_responses.emulator.objects.request_bodies import CALL_OUTPUTS, CreateBody, Item, ModelInput

CLIENT_ITEMS = frozenset(
    {"message", "item_reference", "mcp_approval_response", "additional_tools", "compaction_trigger"}
)


def is_models(item: Item) -> bool:
    """Whether the model made this item."""
    kind = item.get("type", "item_reference")
    return item.get("role") == "assistant" or (kind not in CLIENT_ITEMS and not kind.endswith("_output"))


def text_of(item: Item) -> str:
    """The text of a message, or of the output of a call."""
    content = item.get("content", item.get("output", ""))
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


class Conversation:
    """A request in its context. `before` are the items of the chain, `new` those of this request."""

    def __init__(self, request: CreateBody, before: Sequence[Item], new: Sequence[Item]) -> None:
        self.request = request
        self.before = before
        self.new = new

    @property
    def items(self) -> list[Item]:
        """All items, in order."""
        return [*self.before, *self.new]

    @property
    def rounds(self) -> int:
        """How often the model has spoken already: runs of its items, whether they were chained or sent in full."""
        made = [is_models(item) for item in self.items]
        return sum(1 for at, own in enumerate(made) if own and (at == 0 or not made[at - 1]))

    @property
    def task(self) -> str:
        """The text of the user's first message."""
        texts = [text_of(item) for item in self.items if item.get("role") == "user"]
        # Coding agents tell of their surroundings first, in a message of tags.
        return next((text for text in texts if not text.lstrip().startswith("<")), texts[0] if texts else "")

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be JSON."""
        form = self.request.text.format if self.request.text else None
        return form is not None and form.type != "text"

    @property
    def last_text(self) -> str:
        """The text of the newest item that has any."""
        return next((text for item in reversed(self.new) if (text := text_of(item))), "")

    @property
    def answered_calls(self) -> Iterator[tuple[Item, str]]:
        """Every call that has been answered, with the text of its answer, oldest first."""
        calls = {item["call_id"]: item for item in self.items if item.get("type") in CALL_OUTPUTS.values()}
        for item in self.items:
            if item.get("type") in CALL_OUTPUTS and item["call_id"] in calls:
                yield calls[item["call_id"]], text_of(item)

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of the parameters of each function that may be called, by name."""
        tools = ToolChoice.of(self.request).tools
        functions = {tool["name"]: tool.get("parameters") for tool in tools if tool.get("type") == "function"}
        return {name: schema if isinstance(schema, dict) else {} for name, schema in functions.items()}


def check_calls(conversation: Conversation) -> None:
    """Every call has its answer and every answer its call. Raises: ApiError 400, worded as the real one."""
    items = conversation.items
    calls = {(item["type"], item["call_id"]) for item in items if item.get("type") in CALL_OUTPUTS.values()}
    answers = {(CALL_OUTPUTS[item["type"]], item["call_id"]) for item in items if item.get("type") in CALL_OUTPUTS}
    asked = {item.get("id") for item in items if item.get("type") == "mcp_approval_request"}
    for item in items:
        if item.get("type") == "mcp_approval_response" and item.get("approval_request_id") not in asked:
            raise invalid(f"No approval request found with id '{item.get('approval_request_id')}'.", "input")
    for _, call_id in sorted(answers - calls):
        raise invalid(f"No tool call found for function call output with call_id {call_id}.", "input")
    for _, call_id in sorted(calls - answers):
        raise invalid(f"No tool output found for function call {call_id}.", "input")


def tokens_of_items(items: Sequence[Item]) -> int:
    """Tokens of some items, by the length of their JSON. The bytes of an image are not text."""
    return sum(tokens_of(json.dumps(item, default=str)) if not _has_image(item) else 800 for item in items)


def tokens_of_options(request: ModelInput) -> int:
    """Tokens of what is sent with every request: instructions and tools."""
    tools = json.dumps(request.tools) if request.tools else ""
    return tokens_of(request.instructions or "") + tokens_of(tools)


def _has_image(item: Item) -> bool:
    if item.get("type") == "image_generation_call":
        return True
    content = item.get("content", item.get("output"))
    return isinstance(content, list) and any(part.get("type") == "input_image" for part in content)
