"""The tables of docs/fields.md: run as a program it prints them. All names, types and defaults come from the code."""

import dataclasses
import json
import typing
from collections.abc import Iterator
from typing import Any

from pydantic_core import PydanticUndefined

from durable_responses.cli.options import RunOptions
from durable_responses.mcp_server.arguments import AgentArguments, input_schema
from durable_responses.mcp_server.inputs import limits_for
from durable_responses.python.options import SHORTER_NAMES
from durable_responses.python.options import RunOptions as Keywords
from durable_responses.responses_api.models import ReasoningEffort
from durable_responses.workflows.contract import AgentInput
from durable_responses.workflows.rules import ITERATIONS_BY_EFFORT

NOT_SAID = "–"
BY_INPUT = "`--input`"
"""The option for a field that has none of its own."""


@dataclasses.dataclass(frozen=True)
class Names:
    """How the doors call a field of the input. `option`: of `RunOptions`; `arguments`: of `AgentArguments`.

    `why_no_argument`, `note`: what is said where there is none, or beside the meaning.
    """

    option: str | None = None
    arguments: tuple[str, ...] = ()
    why_no_argument: str = ""
    note: str = ""


_FOR_PROGRAMS = "is for programs"
_NOT_A_MODELS = "a model that calls a tool cannot judge it"
_THE_SERVERS = "the server sets it"
_BY_SET = "Option: `--set`."

FIELDS: dict[str, Names] = {
    "task": Names("task", ("task",), note="Option: also `--task-file`, or a pipe; items by `--input` only."),
    "context": Names("context", ("context",)),
    "files": Names(
        "file", ("files", "file_path"), note="`--file PATH[:LABEL]`, relative to the current folder; may be repeated."
    ),
    "files_root": Names(None, (), _THE_SERVERS, "Command line and MCP: `AGENT_FILES_ROOT`."),
    "workspace": Names(None, (), _THE_SERVERS, "Command line and MCP: `AGENT_WORKSPACE`."),
    "previous_response_id": Names("previous_response_id", ("previous_response_id",)),
    "model": Names("model", ("model",)),
    "instructions": Names(
        "instructions", ("system_prompt", "show_preambles"), note="`show_preambles` adds a sentence to them."
    ),
    "reasoning_effort": Names("effort", ("reasoning_effort",)),
    "reasoning_summary": Names("reasoning_summary", ("show_reasoning_summary",)),
    "verbosity": Names("verbosity", ("verbosity",)),
    "enable_web_search": Names("web_search", ("enable_web_search",)),
    "enable_code_interpreter": Names("code_interpreter", ("enable_code_interpreter",)),
    "tools": Names(
        "tool",
        ("enable_file_operations",),
        note="Over MCP all of the worker's, those for files only with `enable_file_operations`.",
    ),
    "caller_tools": Names(None, (), f"{_FOR_PROGRAMS}, which serve them"),
    "text_format": Names("schema", ("text_format",), note="[Its form](#text_format)."),
    "max_output_tokens": Names("max_output_tokens", ("quality_over_cost",)),
    "max_tool_calls": Names("max_tool_calls", ("max_tool_calls",)),
    "service_tier": Names("service_tier", ("service_tier",)),
    "temperature": Names(None, (), _NOT_A_MODELS, _BY_SET),
    "top_p": Names(None, (), _NOT_A_MODELS, _BY_SET),
    "truncation": Names(None, (), _NOT_A_MODELS, _BY_SET),
    "include": Names(None, (), _NOT_A_MODELS, _BY_SET),
    "prompt_cache_key": Names(None, (), _NOT_A_MODELS, _BY_SET),
    "safety_identifier": Names(None, (), _FOR_PROGRAMS, _BY_SET),
    "parallel_tool_calls": Names(None, (), _NOT_A_MODELS, _BY_SET),
    "tool_choice": Names(None, (), _NOT_A_MODELS, _BY_SET),
    "hosted_tools": Names(None, (), _NOT_A_MODELS, f"{_BY_SET} [Hosted tools](hosted-tools.md)."),
    "extra_body": Names(None, (), _NOT_A_MODELS, f"{_BY_SET} [Hosted tools](hosted-tools.md)."),
    "mcp_servers": Names("mcp_server", (), _NOT_A_MODELS, "[MCP servers](tools.md#mcp-servers)."),
    "live_preview": Names("live_preview", (), _NOT_A_MODELS),
    "metadata": Names(None, (), _FOR_PROGRAMS),
    "max_iterations": Names("max_iterations", ("max_iterations",)),
    "deadline": Names("deadline", ("max_execution_time_seconds",), note="Option: `90s`, `30m`, `2h`."),
    "tool_timeout": Names("tool_timeout", ("tool_timeout_seconds",), note="Option: `90s`, `30m`."),
    "approvals": Names(
        "approvals",
        ("approvals",),
        note="Over MCP `ask` or `allow` only. [Rules](approvals.md); `AGENT_APPROVALS` are the worker's.",
    ),
    "allow_questions": Names("allow_questions", ("allow_questions",)),
    "answer_within": Names("answer_within", ("answer_within_seconds",)),
    "on_refusal": Names("on_refusal", ("on_refusal",)),
    "on_max_iterations": Names("on_max_iterations", ("on_max_iterations",)),
    "on_deadline": Names("on_deadline", ("on_deadline",)),
    "transport": Names("transport", (), _NOT_A_MODELS),
    "conversation": Names("conversation", ("conversation",)),
    "compaction": Names("compaction", (), _NOT_A_MODELS, "[The context window](context-window.md)."),
    "context_window": Names("context_window", (), _NOT_A_MODELS),
    "allow_websocket": Names(None, (), _THE_SERVERS, "Command line and MCP: `AGENT_ALLOW_WEBSOCKET`."),
    "warm_up": Names(None, (), _NOT_A_MODELS),
    "on_ambiguous_create": Names(None, (), _NOT_A_MODELS),
    "heartbeat_timeout": Names(None, (), _NOT_A_MODELS),
    "prices": Names(None, (), _FOR_PROGRAMS, f"{_BY_SET} [Costs](costs.md)."),
    "budget": Names(
        "budget", ("budget_usd",), note="`--budget USD`; the rest by `--set`. [Costs](costs.md#the-budget-of-a-run)."
    ),
    "save": Names("save", ("save_to_file",), note="`{}` saves it, with what stands below."),
    "save.format": Names("save_format", ("save_format",)),
    "save.folder": Names("save_folder", ("output_folder",)),
    "save.filename": Names("save_name", ("output_filename",)),
    "save.files": Names("save_files", ("save_files",), note="[Hosted tools](hosted-tools.md#files-and-images)."),
    "save.root": Names(None, (), _THE_SERVERS, "Command line and MCP: `AGENT_OUTPUT_ROOT`."),
    "tenant": Names("tenant", (), f"{_FOR_PROGRAMS}; a server of its own keeps people apart"),
}
"""Every field of a run, in the order of the contract."""

OTHER_OPTIONS = frozenset({"input", "job_id", "set", "task_file"})
"""Options that are not fields of the input."""
OTHER_ARGUMENTS = frozenset({"idempotency_key", "display_in_chat"})
"""Arguments that are not fields of the input."""

_BY_EFFORT = {
    "max_iterations": list(ITERATIONS_BY_EFFORT.values()),
    "max_execution_time_seconds": [limits_for(effort).execution for effort in ReasoningEffort],
    "tool_timeout_seconds": [limits_for(effort).tool for effort in ReasoningEffort],
}
_OF_ARGUMENTS = {
    "quality_over_cost": "32000, or 64000 with `quality_over_cost`",
    "enable_file_operations": "all but those for files",
    "save_to_file": "saved",
    "system_prompt": "a sentence that asks for a word before each call, without `show_preambles`: none",
}
_OF_FIELDS = {
    "files": "none",
    "context_window": "that of the table",
    "metadata": "none",
    "model": "`AGENT_MODEL`",
    "tools": "all",
    "workspace": "the worker's",
    "max_iterations": f"by effort: {', '.join(map(str, list(dict.fromkeys(ITERATIONS_BY_EFFORT.values()))))}",
    "save": "not saved",
    "save.folder": "`_gpt5_docs`",
    "save.filename": "made of time, task and job id",
    "verbosity": "the model's",
}


def fields_table() -> str:
    """A Markdown table of all fields of a run, with the names that they have at each door."""
    head = ["| field | type | default | command line | MCP | Python | what it does |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(_row(name, names))} |" for name, names in FIELDS.items())])


def differences_table() -> str:
    """A Markdown table of the fields whose defaults, or bounds, are not the same at each door."""
    rows = []
    for name, names in FIELDS.items():
        told = [_default_over_mcp(name, names), _bounds_over_mcp(name, names)]
        if any(told):
            rows.append(f"| `{name}` | {_default(name)} | {'; '.join(filter(None, told))} |")
    return "\n".join(["| field | default | over MCP |", "|---|---|---|", *rows])


def _row(name: str, names: Names) -> Iterator[str]:
    field = _field(name)
    yield f"`{name}`"
    yield _type(field)
    over_mcp = _default_over_mcp(name, names)
    yield _default(name) + (f"; MCP: {over_mcp}" if over_mcp else "")
    yield _option(names.option) if names.option else BY_INPUT
    yield ", ".join(f"`{argument}`" for argument in names.arguments) or f"{NOT_SAID} ({names.why_no_argument})"
    yield _keywords(name)
    yield " ".join(filter(None, [_sentence(field["description"]), names.note]))


def keywords(name: str) -> list[str]:
    """The keyword arguments of `run` and `start` in Python that say a field."""
    shorter = [short for short, field in SHORTER_NAMES.items() if field == name]
    return [*shorter, *([name] if name in Keywords.__annotations__ else []), *_OTHER_KEYWORDS.get(name, ())]


_OTHER_KEYWORDS = {"task": ("task",), "tools": ("tools",), "caller_tools": ("tools",), "text_format": ("output",)}


def _keywords(name: str) -> str:
    field, _, part = name.partition(".")
    return f"`{field}={{'{part}': …}}`" if part else ", ".join(f"`{keyword}`" for keyword in keywords(name))


def _sentence(text: str) -> str:
    return text.split("; default", maxsplit=1)[0].rstrip(".") + "."


def _field(name: str) -> dict[str, Any]:
    """The JSON schema of a field, its references resolved."""
    schema = AgentInput.model_json_schema()
    found: dict[str, Any] = {"properties": schema["properties"]}
    for part in name.split("."):
        found = _resolved(found["properties"][part], schema["$defs"])
    return {"description": _DESCRIBED.get(name, ""), **found}


_DESCRIBED = {
    "save.format": "`standard`: with task and footer; `clean`: the text only",
    "save.filename": "Name of the file",
}


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(options) == 1:
        return _resolved({**options[0], **beside}, definitions)
    if "$ref" in schema:
        named = definitions[schema["$ref"].rpartition("/")[2]]
        return {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    match schema.get("type"):
        case "array":
            items = schema.get("items", {})
            return "names" if items.get("type") == "string" else "objects"
        case "integer" | "number" as kind:
            least, most = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
            bounds = f" {least}–{most}" if most is not None else f" from {least}" if "minimum" in schema else ""
            return ("whole number" if kind == "integer" else "number") + bounds
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case _:
            return "object"


def _default(name: str) -> str:
    if name in _OF_FIELDS:
        return _OF_FIELDS[name]
    field = _field(name)
    if "default" not in field:
        return "required"
    return "none" if field["default"] is None else _code(field["default"])


def _default_over_mcp(name: str, names: Names) -> str | None:
    """The default of an argument, where it differs from that of the field."""
    for argument in names.arguments:
        if argument in _OF_ARGUMENTS:
            return _OF_ARGUMENTS[argument]
        if argument in _BY_EFFORT:
            numbers = ", ".join(map(str, dict.fromkeys(_BY_EFFORT[argument])))
            told = f"by effort: {numbers}"
            return told if told != _default(name) else None
        default = AgentArguments.model_fields[argument].get_default()
        if default not in (None, [], PydanticUndefined, _field(name).get("default")):
            return _code(default)
    return None


def _bounds_over_mcp(name: str, names: Names) -> str | None:
    published = input_schema(AgentArguments)["properties"]
    for argument in names.arguments:
        if "minimum" in (schema := published[argument]) and _type(schema) != _type(_field(name)):
            return f"from {schema['minimum']} to {schema['maximum']}"
    return None


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _option(name: str) -> str:
    """An option as it is typed: its longest name, or the name of an argument."""
    hint = typing.get_type_hints(RunOptions, include_extras=True)[name]
    parameter = hint.__metadata__[0]
    # Typer takes the first name for the default, where the real default stands behind the annotation.
    declared = [each for each in (parameter.default, *(parameter.param_decls or ())) if str(each).startswith("--")]
    return f"`{declared[0]}`" if declared else f"`{parameter.metavar}`"


if __name__ == "__main__":
    print(fields_table())
    print()
    print(differences_table())
