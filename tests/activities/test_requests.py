"""The body of a create, whole, for what a run may ask for."""

from typing import Any

import pytest

from durable_responses.activities.messages import ModelOptions
from durable_responses.activities.requests import DEFAULT_INSTRUCTIONS, create_request
from durable_responses.responses_api.models import FunctionTool, ReasoningEffort, Verbosity

RUN = {"workflow_id": "agent-1", "run_id": "run-1", "iteration": "1", "attempt": "1"}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
ADD = FunctionTool(name="add", description="Add.", parameters=SCHEMA)

LEAST = {
    "model": "gpt-5.4",
    "input": "Go on.",
    "instructions": DEFAULT_INSTRUCTIONS,
    "reasoning": {"effort": "medium"},
    "background": True,
    "store": True,
    "stream": False,
    "metadata": RUN,
}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in LEAST.items() if name != key}


def body(options: ModelOptions, **given: Any) -> dict[str, Any]:
    """The body of a background create with these options; `given` replaces what comes from elsewhere."""
    arguments: dict[str, Any] = {
        "default_model": "gpt-5.4",
        "functions": [],
        "input": "Go on.",
        "previous_response_id": None,
        "metadata": RUN,
        "background": True,
        "stream": False,
    }
    return create_request(options, **{**arguments, **given}).body()


# fmt: off
COMBINATIONS: dict[str, tuple[ModelOptions, dict[str, Any]]] = {
    "nothing": (ModelOptions(), LEAST),
    "model": (ModelOptions(model="gpt-6"), LEAST | {"model": "gpt-6"}),
    "instructions": (
        ModelOptions(instructions="Be brief."),
        LEAST | {"instructions": f"{DEFAULT_INSTRUCTIONS}\n\nAdditional instructions: Be brief."},
    ),
    **{
        f"effort {effort}": (ModelOptions(reasoning_effort=effort), LEAST | {"reasoning": {"effort": effort.value}})
        for effort in ReasoningEffort if effort is not ReasoningEffort.NONE
    },
    "no effort": (ModelOptions(reasoning_effort=ReasoningEffort.NONE), without("reasoning")),
    "no effort, summary": (
        ModelOptions(reasoning_effort=ReasoningEffort.NONE, reasoning_summary=True), without("reasoning"),
    ),
    "summary": (
        ModelOptions(reasoning_effort=ReasoningEffort.HIGH, reasoning_summary=True),
        LEAST | {"reasoning": {"effort": "high", "summary": "auto"}},
    ),
    **{
        f"verbosity {verbosity}": (ModelOptions(verbosity=verbosity), LEAST | {"text": {"verbosity": verbosity.value}})
        for verbosity in Verbosity
    },
    "web search": (ModelOptions(enable_web_search=True), LEAST | {"tools": [{"type": "web_search"}]}),
    "code interpreter": (
        ModelOptions(enable_code_interpreter=True),
        LEAST | {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    ),
    "schema": (
        ModelOptions(text_format=SCHEMA),
        LEAST | {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}},
    ),
    "a whole format": (
        ModelOptions(text_format={"type": "json_object"}), LEAST | {"text": {"format": {"type": "json_object"}}},
    ),
    "max_output_tokens": (ModelOptions(max_output_tokens=32_000), LEAST | {"max_output_tokens": 32_000}),
    "metadata": (ModelOptions(metadata={"team": "blue"}), LEAST | {"metadata": {"team": "blue", **RUN}}),
    "everything": (
        ModelOptions(
            model="gpt-6", instructions="Be brief.", reasoning_effort=ReasoningEffort.MAX, reasoning_summary=True,
            verbosity=Verbosity.LOW, enable_web_search=True, enable_code_interpreter=True, text_format=SCHEMA,
            max_output_tokens=64_000, metadata={"team": "blue"},
        ),
        {
            "model": "gpt-6",
            "input": "Go on.",
            "instructions": f"{DEFAULT_INSTRUCTIONS}\n\nAdditional instructions: Be brief.",
            "tools": [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}],
            "reasoning": {"effort": "max", "summary": "auto"},
            "text": {
                "verbosity": "low",
                "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True},
            },
            "max_output_tokens": 64_000,
            "background": True,
            "store": True,
            "stream": False,
            "metadata": {"team": "blue", **RUN},
        },
    ),
}
# fmt: on


@pytest.mark.parametrize(("options", "expected"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_the_body_is_this_and_nothing_more(options: ModelOptions, expected: dict[str, Any]) -> None:
    """A26: the whole body, per combination."""
    assert body(options) == expected


def test_function_tools_follow_the_hosted_ones() -> None:
    """A26."""
    told = body(ModelOptions(enable_web_search=True), functions=[ADD])
    function = {"type": "function", "name": "add", "description": "Add.", "parameters": SCHEMA, "strict": True}
    assert told["tools"] == [{"type": "web_search"}, function]


@pytest.mark.parametrize(
    ("background", "stream"), [(True, False), (True, True), (False, True)], ids=["background", "preview", "stream"]
)
def test_every_create_is_stored_whatever_its_transport(background: bool, stream: bool) -> None:
    """A2."""
    told = body(ModelOptions(), background=background, stream=stream)
    assert told == LEAST | {"background": background, "stream": stream}


def test_a_chained_create_is_stored_and_says_everything_again() -> None:
    """A2: `store: true` also with `previous_response_id`; the API carries neither instructions nor tools over."""
    answer = {"type": "function_call_output", "call_id": "call_1", "output": "3"}
    told = body(ModelOptions(enable_web_search=True), input=[answer], previous_response_id="resp_1")
    chained = {"input": [answer], "previous_response_id": "resp_1", "tools": [{"type": "web_search"}]}
    assert told == LEAST | chained


def test_a_caller_cannot_pass_for_another_run() -> None:
    """An orphan is recognised by these keys."""
    assert body(ModelOptions(metadata={"workflow_id": "agent-2", "iteration": "7"}))["metadata"] == RUN
