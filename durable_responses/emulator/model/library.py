"""The built-in scenarios."""

import json
from typing import Any

from pydantic import Field

from durable_responses.emulator.model.conversation import Conversation
from durable_responses.emulator.model.file_agent import agent
from durable_responses.emulator.model.scenarios import BuiltIn, Parameters
from durable_responses.emulator.model.script import (
    Citation,
    CodeInterpreterStep,
    CustomToolCallStep,
    FileSearchStep,
    FoundFile,
    FunctionCallStep,
    ImageStep,
    ItemStep,
    MadeFile,
    McpApprovalStep,
    McpCallStep,
    McpListToolsStep,
    Refuse,
    Script,
    Step,
    Text,
    WebSearchStep,
)
from durable_responses.emulator.model.tool_choice import ToolChoice
from durable_responses.emulator.objects.api_errors import connector_refused
from durable_responses.emulator.objects.json_values import arguments_for
from durable_responses.emulator.objects.request_bodies import Item


class Think(Parameters):
    """`seconds` of thought that cost `tokens`; then `text`."""

    seconds: float = Field(1.0, ge=0)
    tokens: int | None = None
    text: str = "Done thinking."


def think(_: Conversation, given: Think) -> Script:
    """Thinks, and then says a word."""
    summary = ["Thinking it over."]
    output: list[Step] = [Text(text=given.text)]
    return Script(think=given.seconds, reasoning_tokens=given.tokens, summary=summary, write=0, output=output)


class Calls(Parameters):
    """`iterations` rounds of `parallel` calls of `tool` with `arguments` (JSON), each after `think` seconds.

    Arguments that are not given are made from the schema of the tool.
    `{iteration}` and `{call}` in the arguments become the numbers, from 1, `{filler}` becomes a text of so many tokens.
    The last round answers with `text`.
    """

    iterations: int = Field(1, ge=0)
    parallel: int = Field(1, ge=1)
    tool: str = ""
    arguments: str | None = None
    think: float = Field(0.0, ge=0)
    text: str = "All calls are answered."
    filler: int = Field(0, ge=0)


def calls(conversation: Conversation, given: Calls) -> Script:
    """Calls a tool so many times, and answers."""
    iteration = conversation.rounds + 1
    if iteration > given.iterations:
        return Script(think=given.think, write=0, output=[Text(text=given.text)])
    tool = given.tool or next(iter(conversation.functions), "no_such_tool")
    made = json.dumps(arguments_for(conversation.functions.get(tool), {}))
    output: list[Step] = []
    for call in range(1, given.parallel + 1):
        arguments = (
            (made if given.arguments is None else given.arguments)
            .replace("{iteration}", str(iteration))
            .replace("{call}", str(call))
            .replace("{filler}", "word" * given.filler)
        )
        output.append(FunctionCallStep(name=tool, arguments=arguments))
    return Script(think=given.think, write=0, output=output)


def echo(conversation: Conversation, _: Parameters) -> Script:
    """Answers with the text of the newest input."""
    return Script(write=0, output=[Text(text=conversation.last_text)])


def refusal(_: Conversation, __: Parameters) -> Script:
    """Refuses."""
    return Script(write=0, output=[Refuse()])


def no_output(_: Conversation, __: Parameters) -> Script:
    """Completes without a word."""
    return Script()


def unknown_item(_: Conversation, __: Parameters) -> Script:
    """Sends an output item of a kind that nobody knows yet, and then text."""
    item = {"type": "hologram", "status": "completed", "projection": {"frames": 3}}
    return Script(write=0, output=[ItemStep(item=item), Text(text="There is a hologram before this text.")])


class UnanswerableCall(Parameters):
    """`kind`: the type of the call."""

    kind: str = "computer_call"


def unanswerable_call(_: Conversation, given: UnanswerableCall) -> Script:
    """Asks for a call of a kind that a client may have no way to answer."""
    fields = _FIELDS.get(given.kind, {})
    if given.kind != "mcp_approval_request":
        fields = {"call_id": "call_unanswerable", "status": "completed", **fields}
    return Script(output=[ItemStep(item={"type": given.kind, **fields})])


_FIELDS: dict[str, dict[str, Any]] = {
    "computer_call": {"action": {"type": "screenshot"}, "pending_safety_checks": []},
    "local_shell_call": {"action": {"type": "exec", "command": ["ls"], "env": {}}},
    "shell_call": {"action": {"commands": ["ls"], "max_output_length": None, "timeout_ms": None}, "environment": None},
    "mcp_approval_request": {"server_label": "files", "name": "delete", "arguments": "{}"},
    "apply_patch_call": {"operation": {"type": "delete_file", "path": "notes.md"}},
}


class CustomCall(Parameters):
    """A custom tool and its `input`."""

    tool: str = "shell"
    input: str = "echo hello"


def custom_call(conversation: Conversation, given: CustomCall) -> Script:
    """Calls a custom tool once, then repeats what it returned."""
    if conversation.rounds:
        return Script(write=0, output=[Text(text=conversation.last_text)])
    return Script(output=[CustomToolCallStep(name=given.tool, input=given.input)])


class Write(Parameters):
    """`words` words, written in `seconds` after `think` seconds."""

    words: int = Field(200, ge=1)
    seconds: float = Field(1.0, ge=0)
    think: float = Field(0.0, ge=0)


def write(_: Conversation, given: Write) -> Script:
    """Writes a long text: word1 word2 …"""
    text = " ".join(f"word{number}" for number in range(1, given.words + 1))
    return Script(think=given.think, write=given.seconds, output=[Text(text=text)])


def web_search(conversation: Conversation, _: Parameters) -> Script:
    """Searches the web, at the provider, and cites two pages."""
    first, second = "The first page says yes.", "The second page says no."
    pages = ["https://example.com/yes", "https://example.org/no"]
    citations = [
        Citation(url=pages[0], title="Yes", quote=first),
        Citation(url=pages[1], title="No", quote=second),
    ]
    output: list[Step] = [
        WebSearchStep(query=conversation.last_text[:100], sources=pages),
        Text(text=f"{first} {second}", citations=citations),
    ]
    return Script(think=0.2, write=0.1, output=output)


def file_search(conversation: Conversation, _: Parameters) -> Script:
    """Searches files, at the provider, and cites one of them."""
    found = FoundFile(name="handbook.md", text="Every room has a window.")
    output: list[Step] = [
        FileSearchStep(queries=[conversation.last_text[:100]], results=[found]),
        Text(text="By handbook.md every room has a window.", cites=["handbook.md"]),
    ]
    return Script(write=0, output=output)


class MakeImage(Parameters):
    """An image of at least so many `bytes`."""

    bytes: int = Field(0, ge=0)


def image_generation(conversation: Conversation, given: MakeImage) -> Script:
    """Makes an image, at the provider."""
    step = ImageStep(prompt=conversation.last_text[:100], bytes=given.bytes)
    return Script(write=0, output=[step, Text(text="Here is the image.")])


class RunCode(Parameters):
    """Code that makes `files` files of at least so many `bytes` each, of which the answer cites the first `cited`."""

    files: int = Field(2, ge=0)
    cited: int = Field(1, ge=0)
    bytes: int = Field(0, ge=0)


def code_interpreter(_: Conversation, given: RunCode) -> Script:
    """Runs code, at the provider: an image comes of it, and tables."""
    names = [f"table{number}.csv" if number else "plot.png" for number in range(given.files)]
    files = [MadeFile(name=name, text="a,b\n1,2\n", bytes=given.bytes) for name in names]
    cited = names[: given.cited]
    said = f"The code has made {', '.join(cited)}." if cited else "The code has run."
    return Script(write=0, output=[CodeInterpreterStep(files=files), Text(text=said, cites=cited)])


class Mcp(Parameters):
    """A call of `tool` with `arguments` (JSON) that fails with `error`, if one is given.

    `header`: the server wants it; `authorization` may also stand beside the headers.
    """

    tool: str = ""
    arguments: str = "{}"
    error: str | None = None
    header: str = ""


def mcp(conversation: Conversation, given: Mcp) -> Script:
    """Has the provider call a tool of the first MCP server that is offered, once it is allowed to."""
    tools = [tool for tool in ToolChoice.of(conversation.request).tools if tool.get("type") == "mcp"]
    if not tools:
        return Script(write=0, output=[Text(text="No MCP server is offered.")])
    server, label = tools[0], str(tools[0].get("server_label"))
    _check_header(server, label, given.header)
    answers = [item for item in conversation.new if item.get("type") == "mcp_approval_response"]
    if answers:
        asked = {it["id"]: it for it in conversation.items if it.get("type") == "mcp_approval_request"}
        steps = [step for it in answers for step in _decided(asked[it["approval_request_id"]], it, given.error)]
        return Script(write=0, output=steps)
    name = given.tool or next(iter(_tool_names(server.get("allowed_tools"))), "lookup")
    arguments = json.loads(given.arguments)
    listed = any(it.get("type") == "mcp_list_tools" and it["server_label"] == label for it in conversation.items)
    output: list[Step] = [] if listed else [McpListToolsStep(server_label=label, tools=[name])]
    if _needs_approval(server.get("require_approval"), name):
        return Script(output=[*output, McpApprovalStep(server_label=label, name=name, arguments=arguments)])
    call = McpCallStep(server_label=label, name=name, arguments=arguments, error=given.error)
    return Script(write=0, output=[*output, call, _told(name, given.error)])


def _check_header(server: Item, label: str, header: str) -> None:
    headers = {str(name).lower() for name, value in (server.get("headers") or {}).items() if value}
    if server.get("authorization"):
        headers.add("authorization")
    if header and header.lower() not in headers:
        raise connector_refused(label)


def _needs_approval(require: Any, name: str) -> bool:
    if not isinstance(require, dict):
        return bool(require != "never")
    if name in _tool_names(require.get("never")):
        return False
    return "always" not in require or name in _tool_names(require["always"])


def _tool_names(given: Any) -> list[str]:
    names = given.get("tool_names") if isinstance(given, dict) else given
    return names if isinstance(names, list) else []


def _decided(asked: Item, answer: Item, error: str | None) -> list[Step]:
    name = asked["name"]
    if not answer["approve"]:
        return [Text(text=f"{name} was not called: {answer.get('reason') or 'it was not allowed'}.")]
    call = McpCallStep(
        server_label=asked["server_label"],
        name=name,
        arguments=json.loads(asked["arguments"]),
        error=error,
        approval_request_id=asked["id"],
    )
    return [call, _told(name, error)]


def _told(name: str, error: str | None) -> Text:
    return Text(text=f"{name} has failed: {error}." if error else f"{name} has answered.")


BUILT_IN: list[BuiltIn[Any]] = [
    BuiltIn("agent", Parameters, agent),
    BuiltIn("echo", Parameters, echo),
    BuiltIn("think", Think, think),
    BuiltIn("write", Write, write),
    BuiltIn("calls", Calls, calls),
    BuiltIn("custom_call", CustomCall, custom_call),
    BuiltIn("unanswerable_call", UnanswerableCall, unanswerable_call),
    BuiltIn("unknown_item", Parameters, unknown_item),
    BuiltIn("no_output", Parameters, no_output),
    BuiltIn("web_search", Parameters, web_search),
    BuiltIn("file_search", Parameters, file_search),
    BuiltIn("image_generation", MakeImage, image_generation),
    BuiltIn("code_interpreter", RunCode, code_interpreter),
    BuiltIn("mcp", Mcp, mcp),
    BuiltIn("refusal", Parameters, refusal),
]
DEFAULT = "agent"
