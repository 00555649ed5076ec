"""What `tool_choice` and `parallel_tool_calls` make of a script, whatever scenario wrote it."""

from dataclasses import dataclass

from durable_responses.emulator.model.script import (
    CodeInterpreterStep,
    CustomToolCallStep,
    FileSearchStep,
    FunctionCallStep,
    HostedStep,
    ImageStep,
    ItemStep,
    McpApprovalStep,
    McpCallStep,
    McpListToolsStep,
    Script,
    Step,
    Text,
    WebSearchStep,
)
from durable_responses.emulator.objects.json_values import arguments_for
from durable_responses.emulator.objects.request_bodies import Item, ModelInput
from durable_responses.emulator.objects.request_checks import CLIENTS_TOOLS, is_named, members

NOTHING_LEFT = "No tool may be called, so this is all there is to say."


@dataclass(frozen=True)
class ToolChoice:
    """The tools that may be called, of those that are offered, and whether one of them must be."""

    tools: list[Item]
    must_call: bool
    restricts: bool

    @classmethod
    def of(cls, request: ModelInput) -> "ToolChoice":
        """The choice of a request. Its names are known to be among the tools: `request_checks` has looked."""
        tools = [member for tool in request.tools or [] for member in members(tool)]
        match request.tool_choice:
            case "none":
                return cls([], must_call=False, restricts=True)
            case "required":
                return cls(tools, must_call=True, restricts=False)
            case {"type": "allowed_tools", "tools": list() as allowed, **others}:
                chosen = [tool for tool in tools if any(is_named(tool, by) for by in allowed)]
                return cls(chosen, must_call=others.get("mode") == "required", restricts=True)
            case dict() as named:
                return cls([tool for tool in tools if is_named(tool, named)], must_call=True, restricts=True)
            case _:
                return cls(tools, must_call=False, restricts=False)

    def applied(self, script: Script, request: ModelInput, task: str) -> Script:
        """The script as this choice allows it. A call that must be made takes the place of what was to be said."""
        output = [step for step in script.output if not _uses_tool(step) or self._allows(step)]
        if request.parallel_tool_calls is False:
            output = _one_call(output)
        if self.must_call and not any(map(_uses_tool, output)):
            output = [_call_of(self.tools[0], task), *(output if _is_hosted(self.tools[0]) else [])]
        output = [self._in_namespace(step) for step in output]
        if script.output and not output:
            output = [Text(text=NOTHING_LEFT)]
        return script if output == script.output else script.model_copy(update={"output": output})

    def _in_namespace(self, step: Step) -> Step:
        if not isinstance(step, FunctionCallStep) or step.namespace is not None:
            return step
        offered = next((tool for tool in self.tools if _calls(step, tool)), {})
        return step.model_copy(update={"namespace": offered["namespace"]}) if "namespace" in offered else step

    def _allows(self, step: Step) -> bool:
        """A scripted call of a tool that is not offered stays where nothing is said about it: tests want it."""
        return not self.restricts or any(_calls(step, tool) for tool in self.tools)


def _is_hosted(tool: Item) -> bool:
    return tool.get("type") not in CLIENTS_TOOLS


def _uses_tool(step: Step) -> bool:
    if isinstance(step, ItemStep):
        kind = str(step.item.get("type"))
        return kind.endswith("_call") or kind == "mcp_approval_request"
    return isinstance(step, FunctionCallStep | CustomToolCallStep | HostedStep)


def _calls(step: Step, tool: Item) -> bool:
    kind = str(tool.get("type"))
    match step:
        case FunctionCallStep():
            return kind == "function" and step.name == tool.get("name")
        case CustomToolCallStep():
            return kind == "custom" and step.name == tool.get("name")
        case WebSearchStep():
            return kind.startswith("web_search")
        case FileSearchStep() | ImageStep() | CodeInterpreterStep():
            return step.type == kind
        case McpListToolsStep() | McpCallStep() | McpApprovalStep():
            return kind == "mcp" and step.server_label == tool.get("server_label")
        case ItemStep() if (called := str(step.item.get("type"))) in ("function_call", "custom_tool_call"):
            return called.startswith(kind) and step.item.get("name") == tool.get("name")
        case ItemStep():
            return str(step.item.get("type")).startswith(kind)
        case _:
            return False


def _one_call(output: list[Step]) -> list[Step]:
    """At most one call that the client must answer: the first."""
    calls = [step for step in output if isinstance(step, FunctionCallStep | CustomToolCallStep)]
    return [step for step in output if step not in calls or step is calls[0]]


def _call_of(tool: Item, task: str) -> Step:
    kind, name = str(tool.get("type")), str(tool.get("name"))
    if kind == "function":
        return FunctionCallStep(name=name, arguments=arguments_for(tool.get("parameters"), {}))
    if kind == "custom":
        return CustomToolCallStep(name=name, input=task)
    if kind.startswith("web_search"):
        return WebSearchStep(query=task[:100], sources=["https://example.com/emulated-search"])
    if kind == "file_search":
        return FileSearchStep(queries=[task[:100]])
    if kind == "image_generation":
        return ImageStep(prompt=task[:100])
    if kind == "code_interpreter":
        return CodeInterpreterStep()
    return ItemStep(item={"type": f"{kind}_call", "status": "completed"})
