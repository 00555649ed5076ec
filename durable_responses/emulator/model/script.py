"""The language of scenarios: a `Script` is one response, from queue to ending.

Written as JSON in scenario files and in `POST /control/scenarios`; the same objects are what built-in scenarios return.
"""

import builtins
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from durable_responses.emulator.objects.images import png
from durable_responses.responses_api.models import ResponseStatus

TOKENS_PER_SECOND_OF_THOUGHT = 40
CHARACTERS_PER_SECOND = 600


class Scripted(BaseModel):
    """Any object of a script. Unknown fields are refused: a misspelt script should not run."""

    model_config = ConfigDict(extra="forbid")


class Citation(Scripted):
    """A source for the piece of text `quote`; the end of the text when the quote does not occur in it."""

    url: str
    title: str
    quote: str = ""


class Text(Scripted):
    """The model says something. `cites`: names of files, found or made earlier in the response, each cited at the
    first place where the text has its name."""

    type: Literal["text"] = "text"
    text: str
    citations: list[Citation] = []
    cites: list[str] = []
    phase: Literal["commentary", "final_answer"] | None = None


class Refuse(Scripted):
    """The model refuses."""

    type: Literal["refusal"] = "refusal"
    refusal: str = "I can't help with that."


class FunctionCallStep(Scripted):
    """The model calls a function. `arguments` as text are sent unchanged, so they need not be valid JSON.

    `namespace` is that of the function, where it is offered in one.
    """

    type: Literal["function_call"] = "function_call"
    name: str
    arguments: dict[str, Any] | str = {}
    namespace: str | None = None


class CustomToolCallStep(Scripted):
    """The model calls a custom tool, whose input is free text."""

    type: Literal["custom_tool_call"] = "custom_tool_call"
    name: str
    input: str = ""


class WebSearchStep(Scripted):
    """The model searches the web, at the provider."""

    type: Literal["web_search"] = "web_search"
    query: str
    sources: list[str] = []


class FoundFile(Scripted):
    """A file in which a search has found something."""

    name: str
    text: str
    score: float = Field(0.9, ge=0, le=1)


class FileSearchStep(Scripted):
    """The model searches its vector stores, at the provider. `results` are only sent where `include` asks for them."""

    type: Literal["file_search"] = "file_search"
    queries: list[str]
    results: list[FoundFile] = []


class ImageStep(Scripted):
    """The model makes an image, at the provider: a PNG of at least so many `bytes`."""

    type: Literal["image_generation"] = "image_generation"
    prompt: str = "An image."
    bytes: int = Field(0, ge=0)


class MadeFile(Scripted):
    """A file that code has written: `text` or, where the name ends in `.png`, an image; of at least so many `bytes`."""

    name: str
    text: str = "This file was made by the emulator.\n"
    bytes: int = Field(0, ge=0)

    @property
    def content(self) -> builtins.bytes:
        """What is in it."""
        if self.name.endswith(".png"):
            return png(self.bytes)
        text = self.text.encode()
        return text * max(1, -(-self.bytes // len(text))) if text else text


class CodeInterpreterStep(Scripted):
    """The model runs code in a container, at the provider. `container_id` is that of the request, or a new one."""

    type: Literal["code_interpreter"] = "code_interpreter"
    code: str = "print('hello')"
    logs: str = "hello\n"
    files: list[MadeFile] = []
    container_id: str | None = None


class McpListToolsStep(Scripted):
    """The provider has asked a remote MCP server for its tools."""

    type: Literal["mcp_list_tools"] = "mcp_list_tools"
    server_label: str
    tools: list[str]


class McpCallStep(Scripted):
    """The provider calls a tool of a remote MCP server. With an `error` the call has failed."""

    type: Literal["mcp_call"] = "mcp_call"
    server_label: str
    name: str
    arguments: dict[str, Any] = {}
    output: str = "ok"
    error: str | None = None
    approval_request_id: str | None = None


class McpApprovalStep(Scripted):
    """The provider asks whether it may call a tool of a remote MCP server."""

    type: Literal["mcp_approval_request"] = "mcp_approval_request"
    server_label: str
    name: str
    arguments: dict[str, Any] = {}


class CompactionStep(Scripted):
    """The conversation so far is cut down to an opaque item of about so many `tokens`."""

    type: Literal["compaction"] = "compaction"
    tokens: int = Field(100, ge=1)


class ItemStep(Scripted):
    """Any output item, sent unchanged; it is given an `id` where it has none."""

    type: Literal["item"] = "item"
    item: dict[str, Any]


Step = Annotated[
    Text
    | Refuse
    | FunctionCallStep
    | CustomToolCallStep
    | WebSearchStep
    | FileSearchStep
    | ImageStep
    | CodeInterpreterStep
    | McpListToolsStep
    | McpCallStep
    | McpApprovalStep
    | CompactionStep
    | ItemStep,
    Field(discriminator="type"),
]


HostedStep = (
    WebSearchStep | FileSearchStep | ImageStep | CodeInterpreterStep | McpListToolsStep | McpCallStep | McpApprovalStep
)


class Ending(Scripted):
    """How the response ends. `code` and `message` belong to `failed`, `reason` to `incomplete`.

    `as_error`: a stream of one that fails ends with an `error` event, whose error is nested, not with the response.
    """

    status: Literal[ResponseStatus.COMPLETED, ResponseStatus.FAILED, ResponseStatus.INCOMPLETE] = (
        ResponseStatus.COMPLETED
    )
    code: str = "server_error"
    message: str = "The model failed to generate a response."
    reason: str = "max_output_tokens"
    as_error: bool = False


class Script(Scripted):
    """One response. Times are seconds.

    `queue`: before the model starts (background only), None forever. `think`: before the first word, or call.
    `write`: while the text is written, by its length when not given. `reasoning_tokens`: by `think` when not given.
    """

    queue: float | None = Field(0, ge=0)
    think: float = Field(0, ge=0)
    write: float | None = Field(None, ge=0)
    summary: list[str] = []
    reasoning_tokens: int | None = Field(None, ge=0)
    output: list[Step] = []
    ending: Ending = Ending()

    @property
    def thought_tokens(self) -> int:
        """What the thinking costs."""
        if self.reasoning_tokens is not None:
            return self.reasoning_tokens
        return round(self.think * TOKENS_PER_SECOND_OF_THOUGHT)

    @property
    def writing(self) -> float:
        """Seconds spent on writing text."""
        if self.write is not None:
            return self.write
        return sum(len(written(step)) for step in self.output) / CHARACTERS_PER_SECOND

    def scaled(self, factor: float) -> "Script":
        """The same script, `factor` times as slow."""
        queue = None if self.queue is None else self.queue * factor
        times = {"queue": queue, "think": self.think * factor, "write": self.writing * factor}
        return self.model_copy(update={**times, "reasoning_tokens": self.thought_tokens})


def written(step: Step) -> str:
    """The text that the model writes out in this step."""
    if isinstance(step, Text):
        return step.text
    return step.refusal if isinstance(step, Refuse) else ""


def tokens_of(text: str) -> int:
    """Tokens of a text, at four characters each."""
    return (len(text) + 3) // 4


def within(script: Script, max_output_tokens: int | None) -> Script:
    """The script as far as it fits into a number of output tokens; what is cut off makes the response incomplete."""
    if max_output_tokens is None:
        return script
    left = max_output_tokens - script.thought_tokens
    kept: list[Step] = []
    for step in script.output:
        cost = tokens_of(written(step) or step.model_dump_json())
        if cost > left:
            if isinstance(step, Text) and left > 0:
                kept.append(step.model_copy(update={"text": step.text[: left * 4], "citations": []}))
            return _cut(script, kept, max_output_tokens)
        kept.append(step)
        left -= cost
    return script if left >= 0 else _cut(script, kept, max_output_tokens)


def _cut(script: Script, kept: list[Step], max_output_tokens: int) -> Script:
    ending = Ending(status=ResponseStatus.INCOMPLETE, reason="max_output_tokens")
    reasoning = min(script.thought_tokens, max_output_tokens)
    return script.model_copy(update={"output": kept, "ending": ending, "reasoning_tokens": reasoning})
