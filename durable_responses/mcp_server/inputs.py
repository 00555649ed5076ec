"""From the arguments of a tool to the input of a run. `check_paths` looks at files, the rest is pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable_responses.activities.artifacts import ArtifactError, OutputFolders
from durable_responses.activities.inputs import InputError, opening_input
from durable_responses.activities.messages import InputFile, Opening, SaveOptions
from durable_responses.mcp_server.arguments import AgentArguments, ArgumentsError, ContinueArguments, ToolApprovals
from durable_responses.responses_api.models import ReasoningEffort
from durable_responses.tools.approvals import Action, Approvals
from durable_responses.workflows.contract import AgentInput, Budget, OnLimit, OnRefusal
from durable_responses.workflows.rules import ITERATIONS_BY_EFFORT, parse_input

PREAMBLES = "Before each call of a tool, say in one sentence what you are about to do and why."
_OUTPUT_TOKENS, _GENEROUS_OUTPUT_TOKENS = 32_000, 64_000


@dataclass(frozen=True)
class Limits:
    """Time limits if the arguments give none: seconds for the run and for one call."""

    execution: int
    tool: int


_FROM_HIGH_EFFORT = Limits(1800, 180)
_LIMITS = {
    ReasoningEffort.NONE: Limits(270, 30),
    ReasoningEffort.MINIMAL: Limits(360, 45),
    ReasoningEffort.LOW: Limits(540, 70),
    ReasoningEffort.MEDIUM: Limits(810, 90),
}


@dataclass(frozen=True)
class Surroundings:
    """What the server adds to every run: the model, the roots (absolute), the function tools by name, whether it may
    use the WebSocket and save results in hidden folders, and the fields of runs that do not say otherwise.
    """

    model: str
    files_root: Path
    output_root: Path
    tools: frozenset[str]
    file_tools: frozenset[str]
    allow_websocket: bool = False
    allow_hidden_files: bool = False
    run_fields: Mapping[str, Any] = field(default_factory=dict)


def limits_for(effort: ReasoningEffort) -> Limits:
    """The limits by effort; that of iterations is in `workflows.rules`."""
    return _LIMITS.get(effort, _FROM_HIGH_EFFORT)


def agent_input(arguments: AgentArguments, surroundings: Surroundings) -> AgentInput:
    """The input of the run that is described. Raises `ArgumentsError` for fields of all runs that are wrong."""
    limits = limits_for(arguments.reasoning_effort)
    given = _given_files(arguments)
    request = AgentInput(
        task=arguments.task,
        context=arguments.context,
        model=arguments.model or surroundings.model,
        instructions=_instructions(arguments),
        reasoning_summary=arguments.show_reasoning_summary,
        verbosity=arguments.verbosity,
        enable_web_search=arguments.enable_web_search,
        enable_code_interpreter=arguments.enable_code_interpreter,
        tools=_tools(arguments, surroundings),
        max_iterations=arguments.max_iterations or ITERATIONS_BY_EFFORT[arguments.reasoning_effort],
        deadline=arguments.max_execution_time_seconds or limits.execution,
        tool_timeout=arguments.tool_timeout_seconds or limits.tool,
        approvals=Approvals(default=Action.ASK) if arguments.approvals is ToolApprovals.ASK else None,
        allow_questions=arguments.allow_questions,
        answer_within=arguments.answer_within_seconds,
        on_refusal=arguments.on_refusal,
        on_max_iterations=arguments.on_max_iterations,
        on_deadline=_on_deadline(arguments),
        budget=Budget(usd=arguments.budget_usd) if arguments.budget_usd is not None else None,
        max_output_tokens=_GENEROUS_OUTPUT_TOKENS if arguments.quality_over_cost else _OUTPUT_TOKENS,
        max_tool_calls=arguments.max_tool_calls,
        service_tier=arguments.service_tier,
        allow_websocket=surroundings.allow_websocket,
        text_format=arguments.text_format,
        previous_response_id=arguments.previous_response_id,
        conversation=arguments.conversation,
        files=list(given.values()),
        files_root=str(surroundings.files_root) if given else None,
        save=_save(arguments, surroundings),
    )
    # One that nobody gave stays so: a model that does not reason is then not asked to.
    if "reasoning_effort" in arguments.model_fields_set:
        request.reasoning_effort = arguments.reasoning_effort
    return _with_fields_of_all_runs(request, arguments, surroundings.run_fields)


def _with_fields_of_all_runs(request: AgentInput, arguments: AgentArguments, fields: Mapping[str, Any]) -> AgentInput:
    """The input with the fields that no argument says. Raises `ArgumentsError`."""
    said = {_FIELDS_OF_ARGUMENTS.get(argument, argument) for argument in arguments.model_fields_set}
    unsaid = {name: value for name, value in fields.items() if name not in said}
    if not unsaid:
        return request
    try:
        return parse_input({**request.model_dump(mode="json", exclude_unset=True), **unsaid})
    except ValueError as error:
        raise ArgumentsError(f"AGENT_RUN_FIELDS of this server cannot be used: {error}") from None


def _on_deadline(arguments: AgentArguments) -> OnLimit:
    """A time that nobody has given does not end a run whose owner may be asked: they may be asleep for longer."""
    if arguments.on_deadline is not None:
        return arguments.on_deadline
    may_ask = (
        arguments.allow_questions
        or arguments.approvals is ToolApprovals.ASK
        or arguments.on_refusal is OnRefusal.PAUSE
        or arguments.on_max_iterations is OnLimit.ASK
    )
    return OnLimit.ASK if may_ask and arguments.max_execution_time_seconds is None else OnLimit.STOP


_FIELDS_OF_ARGUMENTS = {
    "system_prompt": "instructions",
    "show_preambles": "instructions",
    "show_reasoning_summary": "reasoning_summary",
    "enable_file_operations": "tools",
    "max_execution_time_seconds": "deadline",
    "tool_timeout_seconds": "tool_timeout",
    "answer_within_seconds": "answer_within",
    "quality_over_cost": "max_output_tokens",
    "file_path": "files",
    "save_to_file": "save",
    "save_format": "save",
    "output_folder": "save",
    "output_filename": "save",
}
_NOT_IN_THE_INPUT = {"job_id", "task", "rebuild", "idempotency_key"}
_OTHER_NAMES = {
    "max_execution_time_seconds": "deadline",
    "tool_timeout_seconds": "tool_timeout",
    "answer_within_seconds": "answer_within",
    "budget_usd": "budget",
}


def continuing_input(arguments: ContinueArguments, fields: Mapping[str, Any]) -> AgentInput:
    """The input of a run that continues another: its `fields`, as `Jobs.continued` gives them, and what is changed.

    Raises `ArgumentsError`.
    """
    said = arguments.model_dump(mode="json", exclude_none=True, exclude=_NOT_IN_THE_INPUT)
    try:
        return parse_input({**fields, **{_OTHER_NAMES.get(name, name): value for name, value in said.items()}})
    except ValueError as error:
        raise ArgumentsError(str(error)) from None


def check_paths(arguments: AgentArguments, surroundings: Surroundings) -> None:
    """Check files and folder as the worker will: a run that cannot use them should not start. Blocking.

    Raises `ArgumentsError`, which names the argument.
    """
    if arguments.save_files and not arguments.save_to_file:
        raise ArgumentsError("The arguments cannot be used: save_files saves beside the result; set save_to_file.")
    given = _given_files(arguments)
    opening = Opening(task=arguments.task, files=list(given.values()), files_root=str(surroundings.files_root))
    try:
        opening_input(opening, [surroundings.files_root])
    except InputError as error:
        field = re.sub(r"files\[(\d+)\]", lambda match: list(given)[int(match[1])], error.field)
        field = field.replace("file_path.path", "file_path")
        raise ArgumentsError(f"The arguments cannot be used: {field} {error.message}") from None
    if save := _save(arguments, surroundings):
        try:
            outputs = OutputFolders([surroundings.output_root], surroundings.allow_hidden_files)
            outputs.check(save)
        except ArtifactError as error:
            told = str(error).replace("save.folder", "output_folder").replace("save.filename", "output_filename")
            raise ArgumentsError(f"The arguments cannot be used: {told}") from None


def _given_files(arguments: AgentArguments) -> dict[str, InputFile]:
    """The files by the name of their argument."""
    given = {"file_path": InputFile(path=arguments.file_path)} if arguments.file_path else {}
    for index, file in enumerate(arguments.files):
        given[f"files[{index}]"] = InputFile(path=file.path, label=file.label)
    return given


def _tools(arguments: AgentArguments, surroundings: Surroundings) -> list[str]:
    withheld = frozenset() if arguments.enable_file_operations else surroundings.file_tools
    return sorted(surroundings.tools - withheld)


def _instructions(arguments: AgentArguments) -> str | None:
    parts = [arguments.system_prompt, PREAMBLES if arguments.show_preambles else None]
    return "\n\n".join(filter(None, parts)) or None


def _save(arguments: AgentArguments, surroundings: Surroundings) -> SaveOptions | None:
    if not arguments.save_to_file:
        return None
    return SaveOptions(
        format=arguments.save_format,
        folder=arguments.output_folder,
        filename=arguments.output_filename,
        root=str(surroundings.output_root),
        files=arguments.save_files,
    )
