"""The options of `run` and `start`, and how they become the input of a run.

Options win over the JSON object of `--input`. Files are checked here already: a run that cannot read its files should
not be started.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import from_json

from durable_responses.activities.messages import ArtifactFormat, InputFile
from durable_responses.cli.output import UsageError
from durable_responses.cli.sources import STANDARD_INPUT, is_piped, text_of
from durable_responses.jobs.starting import check_job_id
from durable_responses.json_text import mended_json, nested_too_deep
from durable_responses.nearest_name import did_you_mean
from durable_responses.responses_api.models import ReasoningEffort, Verbosity
from durable_responses.run_input import path_in, with_settings
from durable_responses.tools.approvals import Action
from durable_responses.workflows import text_formats
from durable_responses.workflows.contract import (
    AgentInput,
    CompactionChoice,
    ConversationChoice,
    OnLimit,
    OnRefusal,
    TransportChoice,
)
from durable_responses.workflows.rules import parse_input

if TYPE_CHECKING:
    from durable_responses.settings import Settings

_MODEL, _LIMITS, _FILES = "The model", "Limits and transport", "Files"
_OWNER = "When the run waits for you"


def _option(*names: str, text: str, panel: str | None = None, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)


def _one_of(choices: type[StrEnum]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}"


JobId = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB", help="The job id of the run, or the beginning of it (default: the newest).", show_default=False
    ),
]


JobOrText = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB", help="The run, or the beginning of its id (default: the newest).", show_default=False
    ),
]


@dataclass(frozen=True)
class RunOptions:
    """What a person can say of a run on the command line; None: not said. Everything else goes by `--input`."""

    task: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK",
            help="What the agent should do; - reads it from standard input, and so does a pipe without it.",
            show_default=False,
        ),
    ] = None
    task_file: Annotated[
        str | None,
        _option("--task-file", text="Read the task from a file, or from standard input (-).", metavar="FILE|-"),
    ] = None
    input: Annotated[
        str | None,
        _option(
            "--input",
            "-i",
            text="Read an AgentInput as JSON, from a file or from standard input (-).",
            metavar="FILE|-",
        ),
    ] = None
    job_id: Annotated[
        str | None, _option("--job-id", text="A job id of your own; each can be used once.", metavar="JOB")
    ] = None
    model: Annotated[
        str | None, _option("--model", "-m", text="Model name (default: AGENT_MODEL).", panel=_MODEL, metavar="NAME")
    ] = None
    effort: Annotated[
        ReasoningEffort | None,
        _option(
            "--effort",
            "-e",
            text=f"How hard the model thinks: {_one_of(ReasoningEffort)} (default: medium).",
            panel=_MODEL,
            metavar="LEVEL",
        ),
    ] = None
    verbosity: Annotated[
        Verbosity | None,
        _option("--verbosity", text=f"How long the answer is: {_one_of(Verbosity)}.", panel=_MODEL, metavar="LEVEL"),
    ] = None
    instructions: Annotated[
        str | None, _option("--instructions", text="Added to the default instructions.", panel=_MODEL, metavar="TEXT")
    ] = None
    context: Annotated[
        str | None,
        _option(
            "--context",
            text="Background information, given to the model after the task; - reads it from standard input.",
            panel=_MODEL,
            metavar="TEXT|-",
        ),
    ] = None
    web_search: Annotated[bool | None, _option("--web-search", text="Let the model search the web.", panel=_MODEL)] = (
        None
    )
    code_interpreter: Annotated[
        bool | None,
        _option("--code-interpreter", text="Let the model run code at the provider.", panel=_MODEL),
    ] = None
    schema: Annotated[
        str | None,
        _option(
            "--schema",
            text="A file with the JSON schema that the answer must follow, or with a text.format of the API.",
            panel=_MODEL,
            metavar="FILE|-",
        ),
    ] = None
    tool: Annotated[
        list[str] | None,
        _option(
            "--tool",
            "-t",
            text="A function tool that the model may call; repeat for more (default: all).",
            panel=_MODEL,
            metavar="NAME",
        ),
    ] = None
    mcp_server: Annotated[
        list[str] | None,
        _option(
            "--mcp-server",
            text="An MCP server of the worker's whose tools the model may call; repeat for more.",
            panel=_MODEL,
            metavar="NAME",
        ),
    ] = None
    reasoning_summary: Annotated[
        bool | None,
        _option("--reasoning-summary", text="Ask for a summary of the reasoning.", panel=_MODEL),
    ] = None
    previous_response_id: Annotated[
        str | None,
        _option("--previous-response-id", text="Continue from this response.", panel=_MODEL, metavar="RESPONSE"),
    ] = None
    tenant: Annotated[
        str | None,
        _option("--tenant", text="Who the run is for; `list --where` finds it by AgentTenant.", metavar="NAME"),
    ] = None
    max_iterations: Annotated[
        int | None,
        _option("--max-iterations", text="The most model responses (default: by effort).", panel=_LIMITS, metavar="N"),
    ] = None
    max_output_tokens: Annotated[
        int | None,
        _option("--max-output-tokens", text="The most output tokens of one response.", panel=_LIMITS, metavar="N"),
    ] = None
    max_tool_calls: Annotated[
        int | None,
        _option(
            "--max-tool-calls",
            text="Most calls of the provider's own tools in one response.",
            panel=_LIMITS,
            metavar="N",
        ),
    ] = None
    service_tier: Annotated[
        str | None,
        _option(
            "--service-tier",
            text="How fast and at what price: auto, default, flex or priority.",
            panel=_MODEL,
            metavar="TIER",
        ),
    ] = None
    set: Annotated[
        list[str] | None,
        _option(
            "--set",
            text="Any other field of a run, with its value in JSON; repeat for more. docs/fields.md lists them.",
            panel=_MODEL,
            metavar="NAME=JSON",
        ),
    ] = None
    deadline: Annotated[
        str | None,
        _option(
            "--deadline",
            text="Time limit of the whole run, such as 90s, 30m or 2h (default: none).",
            panel=_LIMITS,
            metavar="TIME",
        ),
    ] = None
    tool_timeout: Annotated[
        str | None,
        _option(
            "--tool-timeout", text="Time limit of one function call (default: 300s).", panel=_LIMITS, metavar="TIME"
        ),
    ] = None
    allow_questions: Annotated[
        bool | None,
        _option(
            "--questions/--no-questions",
            text="Let the model ask you questions (default: where a terminal follows the run).",
            panel=_OWNER,
        ),
    ] = None
    approvals: Annotated[
        str | None,
        _option(
            "--approvals",
            text="Which function calls wait for your answer: ask, for all but pure ones, or rules as JSON.",
            panel=_OWNER,
            metavar="ask|FILE",
        ),
    ] = None
    answer_within: Annotated[
        str | None,
        _option(
            "--answer-within",
            text="How long the run waits for your answer, such as 30m or 2d (default: as long as it takes).",
            panel=_OWNER,
            metavar="TIME",
        ),
    ] = None
    on_refusal: Annotated[
        OnRefusal | None,
        _option(
            "--on-refusal",
            text=f"If the provider refuses to go on: {_one_of(OnRefusal)} (default: auto: pause, and ask you, once "
            "there is a response to lose).",
            panel=_OWNER,
            metavar="WHAT",
        ),
    ] = None
    on_max_iterations: Annotated[
        OnLimit | None,
        _option(
            "--on-max-iterations",
            text=f"At the last iteration: {_one_of(OnLimit)} for more (default: stop).",
            panel=_OWNER,
            metavar="WHAT",
        ),
    ] = None
    on_deadline: Annotated[
        OnLimit | None,
        _option(
            "--on-deadline",
            text=f"At the time limit: {_one_of(OnLimit)} for more (default: stop).",
            panel=_OWNER,
            metavar="WHAT",
        ),
    ] = None
    transport: Annotated[
        TransportChoice | None,
        _option(
            "--transport",
            text=f"How responses are obtained: {_one_of(TransportChoice)} (default: auto).",
            panel=_LIMITS,
            metavar="HOW",
        ),
    ] = None
    conversation: Annotated[
        ConversationChoice | None,
        _option(
            "--conversation",
            text=f"Who keeps the conversation: {_one_of(ConversationChoice)} (default: auto). full sends all of it "
            "each time, and stores nothing at the provider.",
            panel=_LIMITS,
            metavar="WHO",
        ),
    ] = None
    compaction: Annotated[
        CompactionChoice | None,
        _option(
            "--compaction",
            text="Whether the conversation is compacted before it is too long for the model: "
            f"{_one_of(CompactionChoice)} (default: auto).",
            panel=_LIMITS,
            metavar="WHAT",
        ),
    ] = None
    context_window: Annotated[
        int | None,
        _option(
            "--context-window",
            text="Tokens of the model's context window, where it is not one of those that are known.",
            panel=_LIMITS,
            metavar="TOKENS",
        ),
    ] = None
    budget: Annotated[
        float | None,
        _option(
            "--budget",
            text="USD that the run may cost; then it asks you for more. Tokens and seconds: --set budget={...}.",
            panel=_LIMITS,
            metavar="USD",
        ),
    ] = None
    live_preview: Annotated[
        bool | None,
        _option(
            "--live-preview",
            text="Show the text of background responses while it is written.",
            panel=_LIMITS,
        ),
    ] = None
    file: Annotated[
        list[str] | None,
        _option(
            "--file",
            "-f",
            text="A text file or an image for the model; repeat for more.",
            panel=_FILES,
            metavar="PATH[:LABEL]",
        ),
    ] = None
    save: Annotated[bool | None, _option("--save", text="Save the result as Markdown.", panel=_FILES)] = None
    save_folder: Annotated[
        str | None,
        _option(
            "--save-folder",
            text="Folder to save it in, under AGENT_OUTPUT_ROOT (default: _gpt5_docs).",
            panel=_FILES,
            metavar="FOLDER",
        ),
    ] = None
    save_name: Annotated[
        str | None, _option("--save-name", text="File name to save it under.", panel=_FILES, metavar="NAME")
    ] = None
    save_format: Annotated[
        ArtifactFormat | None,
        _option(
            "--save-format",
            text="standard, with task and footer, or clean, the text alone.",
            panel=_FILES,
            metavar="FORMAT",
        ),
    ] = None
    save_files: Annotated[
        bool | None,
        _option(
            "--save-files", text="Save the files that the code interpreter makes, and images, as well.", panel=_FILES
        ),
    ] = None


_NO_TASK = (
    "TASK is missing: say what the agent should do, in quotes, with --task-file, by a pipe, or in the JSON of --input."
)

# How an option is called in AgentInput.
_FIELDS = {
    "model": "model",
    "effort": "reasoning_effort",
    "verbosity": "verbosity",
    "instructions": "instructions",
    "context": "context",
    "tenant": "tenant",
    "web_search": "enable_web_search",
    "code_interpreter": "enable_code_interpreter",
    "tool": "tools",
    "mcp_server": "mcp_servers",
    "reasoning_summary": "reasoning_summary",
    "previous_response_id": "previous_response_id",
    "max_iterations": "max_iterations",
    "max_output_tokens": "max_output_tokens",
    "max_tool_calls": "max_tool_calls",
    "service_tier": "service_tier",
    "deadline": "deadline",
    "tool_timeout": "tool_timeout",
    "allow_questions": "allow_questions",
    "approvals": "approvals",
    "answer_within": "answer_within",
    "on_refusal": "on_refusal",
    "on_max_iterations": "on_max_iterations",
    "on_deadline": "on_deadline",
    "transport": "transport",
    "conversation": "conversation",
    "compaction": "compaction",
    "context_window": "context_window",
    "budget": "budget",
    "live_preview": "live_preview",
}


def task_of(options: RunOptions) -> str | None:
    """The task alone, where no other field of the input is to be read; None if none was given. Raises `UsageError`."""
    _check_said(options)
    return _task(options, {})


def agent_input(
    options: RunOptions, settings: "Settings", started_in: Path, *, fields: Mapping[str, Any] = MappingProxyType({})
) -> AgentInput:
    """The input of the run that was asked for. Paths are relative to the folder in which the command was started.

    `fields` of an `AgentInput` hold where neither the options nor the JSON of --input say otherwise. Raises
    `UsageError` for whatever cannot be used.
    """
    _check_said(options)
    given = _json_object(options.input, "--input", _LIKE_AN_INPUT) if options.input is not None else {}
    given = {**fields, **{name: value for name, value in given.items() if value is not None}}
    given |= {name: value for option, name in _FIELDS.items() if (value := _said(options, option)) not in (None, [])}
    if (task := _task(options, given)) is not None:
        given["task"] = task
    if "task" not in given and "task" not in _set_fields(options):
        raise UsageError(_unknown_fields(given) or _NO_TASK)
    if options.schema is not None:
        given["text_format"] = _text_format(options.schema)
    given |= _set_fields(options)
    if options.file:
        given["files"] = [_input_file(said, settings.files_root, started_in) for said in options.file]
    given["save"] = _save(options, given.get("save"))
    given = with_settings(given, settings)
    try:
        return parse_input(given)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _name_of(option: str) -> str:
    return "TASK" if option == "task" else f"--{option.replace('_', '-')}"


def _unknown_fields(given: Mapping[str, Any]) -> str | None:
    """What is wrong with the names in the JSON of --input, one of which may be meant for the task."""
    unknown = next((name for name in given if name not in AgentInput.model_fields), None)
    if unknown is None:
        return None
    return f"--input: a run has no field {unknown!r}.{did_you_mean(unknown, AgentInput.model_fields)}"


def _set_fields(options: RunOptions) -> dict[str, Any]:
    """The fields that --set gives. Raises `UsageError`, also for one that is given twice: nobody knows which counts."""
    found: dict[str, Any] = {}
    for name, value in map(_set, options.set or []):
        said = [_name_of(option) for option, field in _FIELDS.items() if field == name and getattr(options, option)]
        said += ["TASK"] if name == "task" and options.task is not None else []
        said += ["--set"] if name in found else []
        if said:
            raise UsageError(f"{said[0]} and --set {name} both say it: use one of them.")
        found[name] = value
    return found


def _set(said: str) -> tuple[str, Any]:
    """`NAME=JSON`: a field of a run. Raises `UsageError`."""
    name, equals, text = said.partition("=")
    name = name.strip()
    if not equals:
        raise UsageError(f"--set {said!r} has no value: give it as --set {name or 'name'}=VALUE, the value in JSON.")
    if name not in AgentInput.model_fields:
        raise UsageError(f"--set: a run has no field {name!r}.{did_you_mean(name, AgentInput.model_fields)}")
    try:
        return name, from_json(mended_json(text))
    except ValueError as error:
        is_text = not text.startswith(("{", "[", '"'))
        quoted = f" Text stands in quotes: --set '{name}={json.dumps(text)}'." if is_text else ""
        raise UsageError(f"--set {name}: {text!r:.80} is not valid JSON ({error}).{quoted}") from None


_MAY_BE_EMPTY = {"context", "instructions", "save_folder", "save_name"}  # as if they had not been given


def _check_said(options: RunOptions) -> None:
    """Nothing is empty, an id can be one, standard input is read once, a task given once. Raises `UsageError`."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        texts = value if isinstance(value, list) else [value]
        if field.name not in _MAY_BE_EMPTY and any(isinstance(text, str) and not text.strip() for text in texts):
            raise UsageError(f"{_name_of(field.name)} is empty.")
    if options.job_id is not None:
        try:
            check_job_id(options.job_id)
        except ValueError as error:
            raise UsageError(f"--job-id: {error}") from None
    if options.task is not None and options.task_file is not None:
        raise UsageError("TASK and --task-file both say what the agent should do: use one of them.")
    said = {"TASK": options.task, "--task-file": options.task_file, "--input": options.input}
    said |= {"--context": options.context, "--schema": options.schema}
    said["--approvals"] = options.approvals
    readers = [name for name, value in said.items() if value == STANDARD_INPUT]
    if len(readers) > 1:
        raise UsageError(f"{' and '.join(readers)} cannot both read standard input.")


def _task(options: RunOptions, given: dict[str, Any]) -> str | None:
    """The task of the options, or of a pipe that nothing else reads; None if there is none.

    A pipe beside a task is left alone: scripts and schedulers leave theirs open, and nobody meant it.
    """
    if options.task == STANDARD_INPUT:
        return _filled("TASK", STANDARD_INPUT)
    if options.task_file is not None:
        return _filled("--task-file", options.task_file)
    readers = (options.context, options.schema, options.approvals)
    is_read = options.input is not None or STANDARD_INPUT in readers
    if options.task is not None or "task" in given or is_read:
        return options.task
    return text_of(STANDARD_INPUT, "TASK").strip() or None if is_piped() else None


def _filled(said_by: str, source: str) -> str:
    if not (text := text_of(source, said_by).strip()):
        place = "standard input" if source == STANDARD_INPUT else repr(source)
        raise UsageError(f"{said_by}: {place} is empty.")
    return text


_LIKE_AN_INPUT, _LIKE_A_SCHEMA = '{"task": "…"}', '{"type": "object", "properties": {…}}'


def _text_format(source: str) -> dict[str, Any]:
    schema = _json_object(source, "--schema", _LIKE_A_SCHEMA)
    if not schema:
        raise UsageError(f"--schema {source!r} is empty: an answer is an object, such as {_LIKE_A_SCHEMA}.")
    if problem := text_formats.problem_of(schema):
        raise UsageError(f"--schema {source!r} is not a schema that an answer can follow: {problem}.")
    return schema


def _json_object(source: str, said_by: str, example: str) -> dict[str, Any]:
    value = _json(source, said_by)
    if not isinstance(value, dict):
        raise UsageError(f"{said_by} {source!r} must contain one JSON object, such as {example}.")
    return value


def _json(source: str, said_by: str) -> Any:
    text = text_of(source, said_by)
    try:
        return from_json(mended_json(text))
    except ValueError as error:
        part = nested_too_deep(text)
        why = f"is not valid JSON: {error}" if part is None else f"cannot be read: {part} is nested too deep"
        raise UsageError(f"{said_by} {source!r} {why}.") from None


def _said(options: RunOptions, option: str) -> Any:
    value = getattr(options, option)
    if option == "context" and value == STANDARD_INPUT:
        return _filled("--context", STANDARD_INPUT)
    if option == "approvals" and value not in (None, *Action):
        return _json(value, "--approvals")
    is_time = option in ("deadline", "tool_timeout", "answer_within")
    if not (is_time and value):
        return value
    return time_given(_name_of(option), value, "90s, 30m or 2h").total_seconds()


_LONGEST_AGO = timedelta(days=36_500)


def moment_ago(option: str, said: str) -> datetime:
    """The moment that is as long ago as was given with an option. Raises `UsageError`."""
    # Longer ago there was no run, and a date may not reach back so far.
    return datetime.now(UTC) - min(time_given(option, said, "12h, 7d or 30d"), _LONGEST_AGO)


def time_given(option: str, said: str, examples: str) -> timedelta:
    """The time that was given with an option. Raises `UsageError`."""
    from pydantic import TypeAdapter, ValidationError

    from durable_responses.settings import Duration

    try:
        return TypeAdapter(Duration).validate_python(said)
    except ValidationError:
        raise UsageError(f"{option} {said!r} must be a time such as {examples}.") from None


def _input_file(said: str, root: Path, started_in: Path) -> dict[str, Any]:
    """`PATH[:LABEL]`. A file whose own name has a colon is taken as it is."""
    path, label = (said, None) if (started_in / said).exists() else _split_label(said)
    try:
        return InputFile(path=path_in(root, path, started_in), label=label).model_dump()
    except ValueError as error:
        raise UsageError(f"--file {path!r} {error}.") from None


def _split_label(said: str) -> tuple[str, str | None]:
    path, colon, label = said.rpartition(":")
    return (path, label or None) if colon else (said, None)


def _save(options: RunOptions, given: Any) -> Any:
    """What `--save…` says on top of the JSON; a malformed one is left to the check of the input."""
    said = {
        "folder": options.save_folder,
        "filename": options.save_name,
        "format": options.save_format,
        "files": options.save_files,
    }
    said = {name: value for name, value in said.items() if value is not None}
    if not said and not options.save:
        return given
    return {**(given if isinstance(given, dict) else {}), **said}
