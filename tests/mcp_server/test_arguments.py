"""What the tools take: defaults, checks, and the schemas that clients are shown."""

import json
from typing import Any

import pytest

from durable_responses.mcp_server.arguments import (
    AgentArguments,
    ArgumentsError,
    CancelArguments,
    ContinueArguments,
    ListArguments,
    PollArguments,
    RespondArguments,
    SteerArguments,
    ToolArguments,
    input_schema,
    read_arguments,
)

KINDS: list[type[ToolArguments]] = [
    AgentArguments,
    PollArguments,
    ContinueArguments,
    SteerArguments,
    CancelArguments,
    ListArguments,
]

DEFAULTS: dict[str, Any] = {
    "reasoning_effort": "medium",
    "verbosity": "medium",
    "model": None,
    "enable_web_search": True,
    "enable_code_interpreter": False,
    "enable_file_operations": False,
    "max_iterations": None,
    "max_execution_time_seconds": None,
    "tool_timeout_seconds": None,
    "show_reasoning_summary": True,
    "system_prompt": None,
    "context": None,
    "text_format": None,
    "previous_response_id": None,
    "conversation": "auto",
    "quality_over_cost": False,
    "service_tier": None,
    "max_tool_calls": None,
    "allow_questions": False,
    "approvals": "allow",
    "answer_within_seconds": None,
    "budget_usd": None,
    "on_refusal": "auto",
    "on_max_iterations": "stop",
    "on_deadline": None,
    "save_to_file": True,
    "save_format": "standard",
    "save_files": False,
    "output_folder": None,
    "output_filename": None,
    "display_in_chat": True,
    "file_path": None,
    "files": [],
    "idempotency_key": None,
    "show_preambles": True,
}


def test_only_the_task_is_required() -> None:
    """A23: the declared defaults are applied."""
    arguments = read_arguments(AgentArguments, {"task": "Think."})
    assert arguments.model_dump(mode="json") == {"task": "Think.", **DEFAULTS}


def test_the_published_schema_declares_the_same_defaults() -> None:
    """A23."""
    properties = input_schema(AgentArguments)["properties"]
    assert {name: field.get("default") for name, field in properties.items()} == {"task": None, **DEFAULTS}


def test_the_model_of_the_settings_is_the_published_default() -> None:
    """A23: `AGENT_MODEL`."""
    assert input_schema(AgentArguments, model="gpt-5.4")["properties"]["model"]["default"] == "gpt-5.4"


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_refuses_unknown_arguments(kind: type[ToolArguments]) -> None:
    """A23."""
    assert input_schema(kind)["additionalProperties"] is False


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_is_described(kind: type[ToolArguments]) -> None:
    described = input_schema(kind)["properties"].values()
    assert all(field.get("description") for field in described)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "task is missing"),
    ({"task": "Think.", "reasoning_effort": "hihg"}, "(did you mean high?)"),
    ({"task": ""}, "task: "),
    ({"task": " \n"}, "task: is blank"),
    ({"task": 5}, "task: "),
    ({"task": ["a"]}, "task: "),
    ({"reasoning_effort": "extreme"}, "reasoning_effort: "),
    ({"verbosity": "loud"}, "verbosity: "),
    ({"enable_web_search": "yes"}, "enable_web_search: "),
    ({"max_iterations": 0}, "max_iterations: "),
    ({"max_iterations": 21}, "max_iterations: "),
    ({"max_iterations": "five"}, "max_iterations: "),
    ({"max_iterations": "21"}, "max_iterations: "),
    ({"max_iterations": "5x"}, "max_iterations: "),
    ({"max_iterations": "2.5"}, "max_iterations: "),
    ({"max_iterations": True}, "max_iterations: "),
    ({"max_iterations": "true"}, "max_iterations: "),
    ({"max_iterations": "[5]"}, "max_iterations: "),
    ({"max_iterations": ""}, "max_iterations: "),
    ({"enable_web_search": 1}, "enable_web_search: "),
    ({"enable_web_search": "1"}, "enable_web_search: "),
    ({"enable_web_search": ""}, "enable_web_search: "),
    ({"files": '{"path": "a"}'}, "files: "),
    ({"files": "[1]"}, "files[0]: "),
    ({"max_iterations": 2.5}, "max_iterations: "),
    ({"max_execution_time_seconds": 29}, "max_execution_time_seconds: "),
    ({"max_execution_time_seconds": 86_401}, "max_execution_time_seconds: "),
    ({"tool_timeout_seconds": 4}, "tool_timeout_seconds: "),
    ({"tool_timeout_seconds": 301}, "tool_timeout_seconds: "),
    ({"save_format": "pdf"}, "save_format: "),
    ({"text_format": "text"}, "text_format: "),
    ({"text_format": {"type": "string"}}, "text_format: type: an answer is an object"),
    (
        {"text_format": {"type": "object", "properties": {"a": {"type": "str"}}}},
        "text_format: properties.a.type: 'str'",
    ),
    (
        {"text_format": '{"type": "json_schema", "name": "a b", "schema": {"type": "object"}}'},
        "text_format: name: 1 to",
    ),
    ({"files": "notes.md"}, "files: "),
    ({"files": [{"label": "no path"}]}, "files[0].path is missing"),
    ({"files": [{"path": "a"}, {"path": "b", "mode": "r"}]}, "there is no argument 'files[1].mode'"),
    ({"idempotency_key": ""}, "idempotency_key: "),
    ({"temperature": 1}, "there is no argument 'temperature'"),
    ({"max_tool_calls": 0}, "max_tool_calls: must be at least 1"),
    ({"max_iterations": "1,5"}, "max_iterations: "),
    ({"max_iterations": "\u0665"}, "max_iterations: "),
    ({"max_iterations": "1_0"}, "max_iterations: "),
    ({"reasoning_effort": "extra high"}, "(did you mean xhigh?)"),
    ({"maxIterations": 5}, "there is no argument 'maxIterations' (did you mean max_iterations?)"),
    ({"timeout": 5}, "there is no argument 'timeout'"),
]


@pytest.mark.parametrize(("given", "named"), REFUSED, ids=[json.dumps(given) for given, _ in REFUSED])
def test_what_cannot_be_used_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    """A23."""
    said = given if not given or "task" in given else {"task": "Think.", **given}
    with pytest.raises(ArgumentsError) as refusal:
        read_arguments(AgentArguments, said)
    assert named in str(refusal.value)


def test_all_problems_are_told_at_once() -> None:
    """A23."""
    with pytest.raises(ArgumentsError) as refusal:
        read_arguments(AgentArguments, {"max_iterations": 99, "speed": "fast"})
    assert all(name in str(refusal.value) for name in ("task", "max_iterations", "speed"))


def test_no_value_is_repeated() -> None:
    """A25: an argument may hold a secret by mistake."""
    with pytest.raises(ArgumentsError) as refusal:
        read_arguments(AgentArguments, {"task": {"key": "sk-secret"}, "verbosity": "sk-secret"})
    assert "sk-secret" not in str(refusal.value)


def test_a_thousand_problems_make_a_short_sentence() -> None:
    with pytest.raises(ArgumentsError) as refusal:
        read_arguments(AgentArguments, {f"unknown_{number}": number for number in range(1000)})
    assert len(str(refusal.value)) < 1000


def test_null_stands_for_the_default() -> None:
    """Models send null for what they leave out."""
    arguments = read_arguments(AgentArguments, {"task": "Think.", "verbosity": None, "max_iterations": None})
    assert arguments.verbosity == "medium"


TAKEN: list[tuple[dict[str, Any], Any]] = [
    ({"max_iterations": 5.0}, 5),
    ({"max_iterations": "5"}, 5),
    ({"max_iterations": " 5.0 "}, 5),
    ({"max_iterations": "1e1"}, 10),
    ({"max_execution_time_seconds": 86400.0}, 86400),
    ({"enable_web_search": "false"}, False),
    ({"enable_web_search": "False"}, False),
    ({"enable_code_interpreter": " TRUE"}, True),
    ({"files": "[]"}, []),
    ({"files": '[{"path": "a.md", "label": "notes"}]'}, [{"path": "a.md", "label": "notes"}]),
    ({"files": '["a.md"]'}, [{"path": "a.md", "label": None}]),
    ({"files": ["a.md", {"path": "b.md"}]}, [{"path": "a.md", "label": None}, {"path": "b.md", "label": None}]),
    ({"files": ['{"path": "a.md"}']}, [{"path": "a.md", "label": None}]),
    ({"max_iterations": "+5"}, 5),
    ({"max_iterations": "05"}, 5),
    ({"max_iterations": "5."}, 5),
    ({"budget_usd": "00.50"}, 0.5),
    ({"reasoning_effort": "High"}, "high"),
    ({"reasoning_effort": " XHIGH\n"}, "xhigh"),
    ({"verbosity": '"low"'}, "low"),
    ({"save_format": "Clean."}, "clean"),
    ({"context": "5"}, "5"),
    ({"output_filename": "true"}, "true"),
    ({"system_prompt": "[]"}, "[]"),
]


@pytest.mark.parametrize(("given", "meant"), TAKEN, ids=[json.dumps(given) for given, _ in TAKEN])
def test_what_can_be_meant_in_one_way_only_is_taken(given: dict[str, Any], meant: Any) -> None:
    """5.0 is an integer to JSON Schema; models that were not told of a type write text."""
    [name] = given
    assert read_arguments(AgentArguments, {"task": "Think.", **given}).model_dump(mode="json")[name] == meant


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(-1, 0), (20.5, 20), (60, 20), (1e300, 20), (float("inf"), 20), ("5", 5), ("60.0", 20), (3, 3)],
)
def test_the_wait_of_a_poll_is_brought_between_0_and_20_seconds(wait: object, seconds: float) -> None:
    """A15."""
    assert read_arguments(PollArguments, {"job_id": "agent-1", "wait_seconds": wait}).wait_seconds == seconds


@pytest.mark.parametrize("wait", [True, "soon", "NaN", float("nan"), [5], {}])
def test_a_wait_that_is_not_a_number_is_refused(wait: object) -> None:
    """A15."""
    with pytest.raises(ArgumentsError, match="wait_seconds"):
        read_arguments(PollArguments, {"job_id": "agent-1", "wait_seconds": wait})


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_and_defaults_are_in_the_descriptions_too(kind: type[ToolArguments]) -> None:
    """Codex passes on no others."""
    for field in input_schema(kind)["properties"].values():
        for keyword in ("minimum", "maximum", "maxLength", "maxItems"):
            assert str(field.get(keyword, "")) in field["description"]
        if field.get("default") not in (None, []):
            assert str(field["default"]).lower() in field["description"].lower()


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_is_plain(kind: type[ToolArguments]) -> None:
    """Without references and alternatives, of which some clients make nothing."""
    assert not any(word in json.dumps(input_schema(kind)) for word in ('"$ref"', '"$defs"', '"anyOf"', '"null"'))


def test_a_continuation_takes_over_what_is_not_given() -> None:
    """Only the options of the earlier job are defaults."""
    arguments = read_arguments(ContinueArguments, {"job_id": "agent-1", "task": "Go on."})
    assert arguments.model_dump(exclude_none=True) == {"job_id": "agent-1", "task": "Go on.", "rebuild": False}


def test_a_poll_does_not_wait_by_default() -> None:
    """A15."""
    assert read_arguments(PollArguments, {"job_id": "agent-1"}).wait_seconds == 0


@pytest.mark.parametrize(
    ("answer", "said"), [(5, "5"), (5.0, "5"), (0.1, "0.1"), (1234567.5, "1234567.5"), (20_000_000.0, "20000000")]
)
def test_a_number_as_an_answer_is_said_as_it_is(answer: float, said: str) -> None:
    """It may be the limit that the run asks for."""
    assert read_arguments(RespondArguments, {"job_id": "agent-1", "answer": answer}).answer == said
