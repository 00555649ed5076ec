"""The front door of a run says everything that can be asked of it."""

import re

from durable_responses.activities.messages import ModelOptions
from durable_responses.responses_api.models import ReasoningEffort, Verbosity
from durable_responses.workflows.contract import AgentInput, OnAmbiguousCreate, TransportChoice
from durable_responses.workflows.rules import ITERATIONS_BY_EFFORT, model_options

OPTIONS = set(ModelOptions.model_fields)
SAID_IN_WORDS = {
    "reasoning_effort": ReasoningEffort,
    "verbosity": Verbosity,
    "transport": TransportChoice,
    "on_ambiguous_create": OnAmbiguousCreate,
}


def test_every_field_of_the_input_stands_in_the_contract_and_has_a_description() -> None:
    assert AgentInput.__annotations__.keys() - {"model_config"} == AgentInput.model_fields.keys()
    assert [name for name, field in AgentInput.model_fields.items() if not field.description] == []


def test_what_is_asked_of_the_model_is_in_the_input_by_the_same_names_types_and_defaults() -> None:
    """A field that only one of them has would never reach the provider."""
    of_the_run, of_a_create = AgentInput.model_fields, ModelOptions.model_fields
    assert set(of_the_run) >= OPTIONS
    differing = [
        name
        for name in OPTIONS
        if (of_the_run[name].annotation, of_the_run[name].default, of_the_run[name].metadata)
        != (of_a_create[name].annotation, of_a_create[name].default, of_a_create[name].metadata)
    ]
    assert differing == []


def test_the_message_to_the_activity_is_built_from_the_input() -> None:
    given = {
        "model": "gpt-6",
        "instructions": "Be brief.",
        "reasoning_effort": "high",
        "reasoning_summary": True,
        "verbosity": "low",
        "enable_web_search": True,
        "enable_code_interpreter": True,
        "tools": ["add"],
        "caller_tools": [{"name": "a", "description": "A.", "parameters": {}, "strict": False, "task_queue": "q"}],
        "text_format": {"type": "json_object"},
        "max_output_tokens": 64,
        "live_preview": True,
        "metadata": {"team": "blue"},
        "allow_questions": True,
        "max_tool_calls": 3,
        "service_tier": "flex",
        "temperature": 0.5,
        "top_p": 0.9,
        "truncation": "auto",
        "include": ["message.output_text.logprobs"],
        "prompt_cache_key": "k",
        "safety_identifier": "u",
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "hosted_tools": [{"type": "file_search"}],
        "extra_body": {"prompt": {"id": "p"}},
    }
    assert given.keys() == OPTIONS
    assert model_options(AgentInput.model_validate({"task": "t", **given})).model_dump(mode="json") == given


def test_the_descriptions_name_the_values_that_the_code_has() -> None:
    for name, values in SAID_IN_WORDS.items():
        said = set(re.findall(r"\w+", AgentInput.model_fields[name].description or ""))
        assert {value.value for value in values} <= said, name
    said = set(re.findall(r"\d+", AgentInput.model_fields["max_iterations"].description or ""))
    assert said == {str(limit) for limit in ITERATIONS_BY_EFFORT.values()}
    assert ITERATIONS_BY_EFFORT.keys() == set(ReasoningEffort)
