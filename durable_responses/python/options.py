"""What `run` and `start` take beside the task: the fields of `AgentInput`, some of them by shorter names, too."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import BaseModel, TypeAdapter, ValidationError

from durable_responses.activities.messages import CallerTool, InputFile, SaveOptions
from durable_responses.jobs.job_errors import InvalidInput
from durable_responses.nearest_name import did_you_mean
from durable_responses.run_input import path_in, with_settings
from durable_responses.workflows.contract import AgentInput
from durable_responses.workflows.rules import parse_input
from durable_responses.workflows.text_formats import text_format_of

if TYPE_CHECKING:
    from durable_responses.settings import Settings

Task = str | Sequence[Mapping[str, Any]]
Seconds = float | str | timedelta
"""A time: seconds, `"90s"`, `"30m"`, or a `timedelta`."""
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
GivenFile = str | PathLike[str] | InputFile | Mapping[str, str]


class RunOptions(TypedDict, total=False):
    """The keyword arguments: each is a field of `AgentInput`; the first three are shorter names of some.

    `files` are paths, relative to the current folder; `save=True` saves the result under its usual name.
    """

    effort: Effort
    web_search: bool
    code_interpreter: bool

    reasoning_effort: Effort
    enable_web_search: bool
    enable_code_interpreter: bool
    context: str
    files: Sequence[GivenFile]
    files_root: str
    workspace: str
    previous_response_id: str
    model: str
    instructions: str
    reasoning_summary: bool
    verbosity: Literal["low", "medium", "high"]
    text_format: Mapping[str, Any]
    max_output_tokens: int
    max_tool_calls: int
    service_tier: str
    temperature: float
    top_p: float
    truncation: Literal["auto", "disabled"]
    include: Sequence[str]
    prompt_cache_key: str
    safety_identifier: str
    parallel_tool_calls: bool
    tool_choice: str | Mapping[str, Any]
    hosted_tools: Sequence[Mapping[str, Any]]
    extra_body: Mapping[str, Any]
    mcp_servers: Sequence[str]
    prices: Mapping[str, Mapping[str, float]]
    live_preview: bool
    metadata: Mapping[str, str]
    max_iterations: int
    deadline: Seconds
    tool_timeout: Seconds
    transport: Literal["auto", "background", "stream", "websocket"]
    conversation: Literal["auto", "server", "full"]
    compaction: Literal["auto", "off"]
    context_window: int
    allow_websocket: bool
    warm_up: bool
    on_ambiguous_create: Literal["retry_once", "fail"]
    heartbeat_timeout: Seconds
    budget: float | Mapping[str, Any]
    save: bool | SaveOptions | Mapping[str, str | bool]
    tenant: str
    approvals: Literal["allow", "ask", "deny"] | Sequence[Mapping[str, Any]] | Mapping[str, Any]
    allow_questions: bool
    answer_within: Seconds
    on_refusal: Literal["auto", "pause", "fail"]
    on_max_iterations: Literal["stop", "ask"]
    on_deadline: Literal["stop", "ask"]


SHORTER_NAMES = {
    "effort": "reasoning_effort",
    "web_search": "enable_web_search",
    "code_interpreter": "enable_code_interpreter",
}
_TIMES = ("deadline", "tool_timeout", "heartbeat_timeout", "answer_within")


def agent_input(
    fields: Mapping[str, Any],
    options: Mapping[str, Any],
    settings: "Settings",
    *,
    names: list[str] | None = None,
    functions: Sequence[CallerTool] = (),
    output: Any = None,
) -> AgentInput:
    """The input of a run: `fields` of an `AgentInput` that hold where the options do not say otherwise.

    `names` and `functions` are its tools, `output` the type of its answer. Raises `InvalidInput`, one sentence.
    """
    given = {**fields, **_by_their_names(options)}
    for name in _TIMES:
        if given.get(name) is not None:
            given[name] = _seconds(name, given[name])
    if output is not None:
        given["text_format"] = _text_format(output, options)
    if "files" in options and given["files"] is not None:
        given["files"] = _files(given["files"], settings, rooted="files_root" in options)
    if given.get("save") is True:
        given["save"] = {}
    elif given.get("save") is False:
        del given["save"]
    if names is not None:
        given["tools"] = names
    if functions:
        given["caller_tools"] = list(functions)
    given = {name: _plain(value) for name, value in given.items() if value is not None}
    try:
        return parse_input(with_settings(given, settings))
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def check_names(options: Mapping[str, Any]) -> None:
    """Raise TypeError, as Python does, for a keyword argument that there is not."""
    for name in options:
        if name not in RunOptions.__annotations__:
            raise TypeError(f"A run has no keyword argument {name!r}.{did_you_mean(name, RunOptions.__annotations__)}")


def _by_their_names(options: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in options.items():
        field = SHORTER_NAMES.get(name, name)
        if field != name and options.get(field) is not None:
            raise InvalidInput(f"{name} and {field} are the same: give one of them.")
        given[field] = value
    return given


def _plain(value: Any) -> Any:
    """As it would come by JSON."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each) for each in value]
    return value


def _seconds(name: str, given: Any) -> float:
    from durable_responses.settings import Duration

    try:
        return TypeAdapter(Duration).validate_python(given).total_seconds()
    except (ValidationError, ValueError, OverflowError):
        raise InvalidInput(f"{name} {given!r} must be a time: seconds, or such as '90s', '30m' or '2h'.") from None


def _text_format(output: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    if options.get("text_format") is not None:
        raise InvalidInput("output and text_format both say what the answer looks like: give one of them.")
    if not isinstance(output, type):
        raise InvalidInput(f"output must be a class, such as one of pydantic's, and {output!r:.80} is not one.")
    try:
        return text_format_of(output)
    except ValueError as error:
        raise InvalidInput(f"output: {error}") from None


def _files(given: Any, settings: "Settings", *, rooted: bool) -> list[dict[str, Any]]:
    if isinstance(given, str | PathLike | Mapping | InputFile):
        raise InvalidInput("files must be a list of paths.")
    return [_file(each, settings, rooted=rooted) for each in given]


def _file(given: GivenFile, settings: "Settings", *, rooted: bool) -> dict[str, Any]:
    try:
        if isinstance(given, str | PathLike):
            file = InputFile(path=str(Path(given)))
        else:
            file = InputFile.model_validate(given)
    except (ValidationError, TypeError):
        raise InvalidInput(f"files: {given!r:.80} is neither a path nor an InputFile.") from None
    if not rooted:
        try:
            file.path = path_in(settings.files_root, file.path, Path.cwd())
        except ValueError as error:
            raise InvalidInput(f"files: {file.path!r} {error}.") from None
    return file.model_dump()
