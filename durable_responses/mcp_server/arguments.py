"""The arguments of the tools, as published and as checked. Pure: no Temporal, no files."""

import json
import math
import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails

from durable_responses.activities.messages import ArtifactFormat
from durable_responses.json_text import mended_json, read_json
from durable_responses.nearest_name import nearest_name
from durable_responses.responses_api.models import ReasoningEffort, Verbosity
from durable_responses.workflows.contract import ConversationChoice, OnLimit, OnRefusal
from durable_responses.workflows.rules import place_of, what_is_expected
from durable_responses.workflows.text_formats import problem_of

LONGEST_WAIT = 20
LONGEST_ANSWER = 31_536_000
MOST_JOBS = 50
_SHOWN_PROBLEMS = 10


class ToolApprovals(StrEnum):
    """What becomes of a function call that no rule of the worker speaks of."""

    ALLOW = "allow"
    ASK = "ask"


class ArgumentsError(Exception):
    """The arguments of a tool call cannot be used: one sentence that names each of them, and no value."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


Said: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
"""What an agent is told."""


def _askable(text_format: dict[str, Any]) -> dict[str, Any]:
    if problem := problem_of(text_format):
        raise ValueError(problem)
    return text_format


TextFormat: TypeAlias = Annotated[dict[str, Any], AfterValidator(_askable)]
"""What the answer looks like."""


class ToolArguments(BaseModel):
    """The arguments of a tool. Unknown ones are refused by name. Strict, after what `meant` makes of them."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), use_attribute_docstrings=True)


class FileArgument(ToolArguments):
    """A file for the agent."""

    path: str = Field(min_length=1)
    """Path of a text file or an image, under the files root of the server."""
    label: str | None = None
    """What the file is."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_a_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class AgentArguments(ToolArguments):
    """The arguments of `gpt5_agent` and `gpt5_agent_start`. Only `task` is required."""

    task: Said
    """What the agent should do. Include everything it needs to know: it asks nobody, unless allow_questions is true."""
    reasoning_effort: ReasoningEffort = ReasoningEffort.MEDIUM
    """How hard the model thinks; high and above may take an hour."""
    verbosity: Verbosity = Verbosity.MEDIUM
    """How long the answer is."""
    model: str | None = Field(None, min_length=1)
    """Model name."""
    enable_web_search: bool = True
    """Whether the model may search the web."""
    enable_code_interpreter: bool = False
    """Whether the model may run Python in the provider's sandbox."""
    enable_file_operations: bool = False
    """Whether the model may list, read, search and write the files of the worker's workspace."""
    max_iterations: int | None = Field(None, ge=1, le=20)
    """Most model responses in the run. Default by effort: 5, 6, 8, 10, or 12 for high and above."""
    max_execution_time_seconds: int | None = Field(None, ge=30, le=86_400)
    """Seconds for the whole run. Default by effort: 270, 360, 540, 810, or 1800 for high and above."""
    tool_timeout_seconds: int | None = Field(None, ge=5, le=300)
    """Seconds for one function call. Default by effort: 30, 45, 70, 90, or 180 for high and above."""
    show_reasoning_summary: bool = True
    """Whether a summary of the reasoning is requested and saved."""
    system_prompt: str | None = None
    """Instructions, added to the default ones."""
    context: str | None = None
    """Background for the task."""
    text_format: TextFormat | None = None
    """A JSON schema of an object: the output is JSON that follows it. Or an object of the API's `text.format`."""
    previous_response_id: str | None = None
    """The `response_id` of an earlier, completed run to continue from."""
    conversation: ConversationChoice = ConversationChoice.AUTO
    """Who keeps the conversation: `server`; `full`, each request carries all of it and nothing is stored; or `auto`."""
    quality_over_cost: bool = False
    """Allow 64,000 output tokens instead of 32,000."""
    service_tier: str | None = Field(None, min_length=1, max_length=64)
    """How fast and at what price, as the provider offers it: `flex` is slower and cheaper, `priority` the reverse."""
    max_tool_calls: int | None = Field(None, ge=1, le=1000)
    """Most calls of the provider's own tools (web search, code) in one response."""
    allow_questions: bool = False
    """Whether the agent may ask your user what only they can know; it then waits for the answer."""
    approvals: ToolApprovals = ToolApprovals.ALLOW
    """`ask`: your user is asked before each function call that may change something. The worker may have stricter
    rules."""
    answer_within_seconds: int | None = Field(None, ge=1, le=LONGEST_ANSWER)
    """Seconds that the job waits for your user's answer. Then a call is denied, a question has no answer, and a job
    that was refused or has reached a limit ends. Default: as long as it takes."""
    on_refusal: OnRefusal = OnRefusal.AUTO
    """If the provider refuses to go on (quota, key, model): `pause` until somebody responds, `fail`, or `auto`: pause
    once there is a response to lose."""
    on_max_iterations: OnLimit = OnLimit.STOP
    """At the last iteration: `stop`, or `ask` for more."""
    budget_usd: float | None = Field(None, ge=0.01, le=1_000_000)
    """USD that the run may cost. When the next response may cost more than is left, your user is asked for more."""
    on_deadline: OnLimit | None = None
    """When the time for the whole run is up: `stop`, or `ask` for more. Default: `stop`; `ask` if the time is not given
    and your user may be asked about anything else."""
    save_to_file: bool = True
    """Whether the result is saved as a Markdown file."""
    save_format: ArtifactFormat = ArtifactFormat.STANDARD
    """`standard`: task, summary, output and footer; `clean`: the output alone."""
    output_folder: str | None = None
    """Folder for the file, under the output root of the server; `_gpt5_docs` if blank."""
    output_filename: str | None = None
    """Name of the file; derived from time, task and job id if blank."""
    save_files: bool = False
    """Whether the files that the code interpreter makes, and images, are saved beside it."""
    display_in_chat: bool = True
    """Whether the full text is returned even though it was saved."""
    file_path: str | None = Field(None, min_length=1)
    """One file for the agent; like an entry of `files`."""
    files: list[FileArgument] = Field([], max_length=100)
    """Text files (1 MiB each, 5 MiB together) and images (10 MiB) for the agent."""
    idempotency_key: str | None = Field(None, min_length=1, max_length=1000)
    """A second call with the same key and arguments returns the same job; with other arguments it is refused."""
    show_preambles: bool = True
    """Whether the model says what it is about to do before it calls a tool."""


class PollArguments(ToolArguments):
    """The arguments of `gpt5_agent_poll`."""

    job_id: str
    """The job, as `gpt5_agent_start` named it."""
    wait_seconds: float = Field(0, ge=0, le=LONGEST_WAIT)
    """Seconds to wait for something to change before answering. More counts as 20."""

    @field_validator("wait_seconds", mode="before")
    @classmethod
    def _clamped(cls, seconds: Any) -> Any:
        # Clients that do not pass on the bounds have models that try a minute; to refuse it would cost a turn.
        return min(max(seconds, 0), LONGEST_WAIT) if type(seconds) in (int, float) else seconds


class ContinueArguments(ToolArguments):
    """The arguments of `gpt5_agent_continue`. Only `job_id` and `task` are required."""

    job_id: str
    """The job that has ended, as `gpt5_agent_start` named it."""
    task: Said
    """What the agent should do now. It knows what was said in the earlier job."""
    rebuild: bool = False
    """Whether all that was said is told again; for when the provider no longer has the earlier response."""
    reasoning_effort: ReasoningEffort | None = None
    """How hard the model thinks; high and above may take an hour. The limits do not follow it."""
    verbosity: Verbosity | None = None
    """How long the answer is."""
    model: str | None = Field(None, min_length=1)
    """Model name."""
    enable_web_search: bool | None = None
    """Whether the model may search the web."""
    enable_code_interpreter: bool | None = None
    """Whether the model may run Python in the provider's sandbox."""
    text_format: TextFormat | None = None
    """A JSON schema of an object: the output is JSON that follows it. `{"type": "text"}`: no JSON any more."""
    max_iterations: int | None = Field(None, ge=1, le=20)
    """Most model responses in the new run."""
    max_execution_time_seconds: int | None = Field(None, ge=30, le=86_400)
    """Seconds for the whole new run."""
    tool_timeout_seconds: int | None = Field(None, ge=5, le=300)
    """Seconds for one function call."""
    allow_questions: bool | None = None
    """Whether the agent may ask your user what only they can know."""
    approvals: ToolApprovals | None = None
    """`ask`: your user is asked before each function call that may change something."""
    answer_within_seconds: int | None = Field(None, ge=1, le=LONGEST_ANSWER)
    """Seconds that the job waits for your user's answer."""
    on_refusal: OnRefusal | None = None
    """If the provider refuses to go on (quota, key, model): `pause` until somebody responds, `fail`, or `auto`."""
    on_max_iterations: OnLimit | None = None
    """At the last iteration: `stop`, or `ask` for more."""
    on_deadline: OnLimit | None = None
    """When the time for the whole run is up: `stop`, or `ask` for more."""
    budget_usd: float | None = Field(None, ge=0.01, le=1_000_000)
    """USD that the new run may cost. When the next response may cost more than is left, your user is asked for more."""
    idempotency_key: str | None = Field(None, min_length=1, max_length=1000)
    """A second call with the same key and arguments returns the same job; with other arguments it is refused."""


class SteerArguments(ToolArguments):
    """The arguments of `gpt5_agent_steer`."""

    job_id: str
    """The job, as `gpt5_agent_start` named it."""
    message: Said
    """What the agent should know, or do differently."""


class RespondArguments(ToolArguments):
    """The arguments of `gpt5_agent_respond`."""

    job_id: str
    """The job that waits, as `gpt5_agent_start` named it."""
    request_id: str | None = Field(None, min_length=1)
    """The `id` of the input request. It may be left out while one is open."""
    answer: Said
    """What your user answers: one of the request's `choices`; for a limit a number, for a question any text."""
    words: str | None = None
    """For an approval: what the agent is told with it, such as why not."""
    by: str | None = Field(None, min_length=1, max_length=200)
    """Who answers, in their own words; it is kept with the answer."""

    @field_validator("answer", mode="before")
    @classmethod
    def _may_be_a_number(cls, answer: Any) -> Any:
        if type(answer) is float and math.isfinite(answer):
            return str(int(answer)) if answer.is_integer() else repr(answer)
        return str(answer) if type(answer) is int else answer


class CancelArguments(ToolArguments):
    """The arguments of `gpt5_agent_cancel`."""

    job_id: str
    """The job, as `gpt5_agent_start` named it."""


class ListArguments(ToolArguments):
    """The arguments of `gpt5_agent_list`."""

    limit: int = Field(10, ge=1, le=MOST_JOBS)
    """How many jobs, newest first."""


Arguments = TypeVar("Arguments", bound=ToolArguments)


def read_arguments(kind: type[Arguments], given: dict[str, Any] | None) -> Arguments:
    """The checked arguments, with defaults applied; null counts as not given. Raises `ArgumentsError`."""
    said = {name: value for name, value in (given or {}).items() if value is not None}
    said = meant(said, input_schema(kind))
    try:
        # By way of JSON: strict checks of Python values would not take "high" for an effort.
        return kind.model_validate_json(mended_json(json.dumps(said)))
    except ValidationError as error:
        raise ArgumentsError(_sentence(error, kind.model_fields)) from None


class Untitled(GenerateJsonSchema):
    """Schemas without a title for each field: it repeats the name, and a model pays for every word."""

    def field_title_should_be_set(self, _: object) -> bool:
        """Never."""
        return False


def input_schema(kind: type[ToolArguments], **defaults: Any) -> dict[str, Any]:
    """The published JSON schema; `defaults` are those that the settings decide."""
    schema = _flat(kind.model_json_schema(schema_generator=Untitled))
    for name, value in defaults.items():
        schema["properties"][name]["default"] = value
    for field in schema["properties"].values():
        field["description"] = " ".join([field["description"], *_bounds(field), *_default(field)])
    return schema


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without references and without "or null": some clients keep only the simplest of schemas."""
    definitions = schema.pop("$defs", {})

    def flat(part: Any) -> Any:
        if isinstance(part, list):
            return [flat(each) for each in part]
        if not isinstance(part, dict):
            return part
        match part:
            case {"$ref": str(reference), **beside}:
                named = definitions[reference.rpartition("/")[2]]
                return flat(
                    {**{name: said for name, said in named.items() if name not in ("description", "title")}, **beside}
                )
            case {"anyOf": [either, {"type": "null"}], "default": None, **beside}:
                return flat({**either, **beside})
        return {name: flat(each) for name, each in part.items()}

    return cast(dict[str, Any], flat(schema))


def _bounds(field: dict[str, Any]) -> list[str]:
    said = []
    if "minimum" in field:
        said.append(f"From {field['minimum']} to {field['maximum']}.")
    if "maxLength" in field:
        said.append(f"At most {field['maxLength']} characters.")
    if "maxItems" in field:
        said.append(f"At most {field['maxItems']}.")
    return said


def _default(field: dict[str, Any]) -> list[str]:
    default = field.get("default")
    if default is None or default == []:
        return []
    return [f"Default: {default if isinstance(default, str) else json.dumps(default)}."]


_WANTED: dict[str, type | tuple[type, ...]] = {
    "integer": (int, float),
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def meant(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value as its schema wants it, where there is no doubt: `5.0` and `"5"` are 5, `"true"` is true, `"[]"` is [],
    `"High"` is `high`.

    Models write so where a client has not told them the type. What is in doubt is left as it is, to be refused.
    """
    wanted = schema.get("type")
    if isinstance(value, str) and wanted in _WANTED:
        value = _spelled(value, _WANTED[wanted])
    if isinstance(value, str) and "enum" in schema:
        return next((each for each in schema["enum"] if each == value.strip(_AROUND_WORDS).lower()), value)
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if wanted == "array" and isinstance(value, list):
        return [meant(item, schema.get("items", {})) for item in value]
    if wanted == "object" and isinstance(value, dict):
        properties = schema.get("properties", {})
        return {name: meant(part, properties.get(name, {})) for name, part in value.items()}
    return value


_AROUND_WORDS = " \t\r\n\"'`."
_NUMBER = re.compile(r"\s*\+?0*([0-9]+)(?:\.([0-9]*))?\s*", re.ASCII)  # "+5", "05" and "5." are numbers to people


def _spelled(text: str, wanted: type | tuple[type, ...]) -> Any:
    try:
        value = read_json(text.strip().lower() if wanted is bool else text.strip())
    except ValueError:
        number = _NUMBER.fullmatch(text) if isinstance(wanted, tuple) else None
        return float(f"{number[1]}.{number[2] or 0}") if number else text
    # To Python a truth value is a number, too.
    return value if isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)) else text


def _sentence(error: ValidationError, names: Collection[str]) -> str:
    problems = error.errors(include_url=False)
    more = len(problems) - _SHOWN_PROBLEMS
    said = "; ".join(_problem(problem, names) for problem in problems[:_SHOWN_PROBLEMS]) + (
        f"; and {more} more" if more > 0 else ""
    )
    return f"The arguments cannot be used: {said}."


def _problem(problem: ErrorDetails, names: Collection[str]) -> str:
    name = place_of(problem)
    match problem["type"]:
        case "extra_forbidden":
            near = nearest_name(name[:80], names)
            return f"there is no argument {name[:80]!r}" + (f" (did you mean {near}?)" if near else "")
        case "missing":
            return f"{name} is missing"
        case _:
            return f"{name}: {what_is_expected(problem)}"
