"""Refusals that one change of the request cures: which change, made once, remembered by model, named."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from durable_responses.activities.cures import Changed, Cures, cure_for
from durable_responses.responses_api.errors import BadRequest, GiveUp, error_for_answer
from durable_responses.responses_api.models import CreateRequest

FULL: dict[str, Any] = {
    "model": "gpt-5.4",
    "input": "Hi.",
    "reasoning": {"effort": "minimal", "summary": "auto"},
    "text": {"verbosity": "high", "format": {"type": "json_schema", "name": "answer", "schema": {}, "strict": True}},
    "tools": [
        {"type": "web_search"},
        {"type": "function", "name": "f", "description": "", "parameters": {}, "strict": True},
    ],
    "max_output_tokens": 1000,
    "metadata": {"workflow_id": "w"},
    "background": True,
    "stream": True,
}


def wanted(**fields: Any) -> CreateRequest:
    return CreateRequest.model_validate({**FULL, **fields})


def refusal(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> GiveUp:
    """As it comes over HTTP."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    made = error_for_answer("POST /responses", status, {}, json.dumps({"error": error}).encode())
    assert isinstance(made, GiveUp)
    return made


VERIFIED = "Your organization must be verified to generate reasoning summaries. Please go to: https://example.com."
NOT_WITH_MINIMAL = "The following tools cannot be used with reasoning.effort 'minimal': web_search."
NO_EFFORT = "Unsupported parameter: 'reasoning.effort' is not supported with this model."
OTHER_EFFORTS = (
    "Unsupported value: 'minimal' is not supported with the 'gpt-5.4' model. "
    "Supported values are: 'none', 'low', 'medium', and 'high'."
)
SCHEMA = "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required to be false."
WEB_SEARCH = "Invalid value: 'web_search'. Supported values are: 'function', 'file_search', and 'web_search_preview'."


@pytest.mark.parametrize(
    ("refused", "changed", "name"),
    [
        (refusal(VERIFIED, "reasoning.summary", "unsupported_value"), {"effort": "minimal"}, "summary was left out"),
        (refusal(VERIFIED), {"effort": "minimal"}, "summary was left out"),
        (
            refusal("Unsupported parameter: 'reasoning.summary' is not supported.", "reasoning.summary"),
            {"effort": "minimal"},
            "summary was left out",
        ),
        (refusal(NOT_WITH_MINIMAL, "tools"), {"effort": "low", "summary": "auto"}, "low instead of minimal"),
        (refusal(NOT_WITH_MINIMAL), {"effort": "low", "summary": "auto"}, "low instead of minimal"),
        (
            refusal(OTHER_EFFORTS, "reasoning.effort", "unsupported_value"),
            {"effort": "low", "summary": "auto"},
            "low instead of minimal",
        ),
        (refusal(NO_EFFORT, "reasoning.effort", "unsupported_parameter"), None, "reasoning was left out"),
        (refusal("Unknown parameter: 'reasoning'.", "reasoning", "unknown_parameter"), None, "reasoning was left out"),
        (refusal("This model does not support reasoning."), None, "reasoning was left out"),
    ],
)
def test_reasoning_is_asked_for_as_the_provider_takes_it(refused: GiveUp, changed: Any, name: str) -> None:
    cure = cure_for(wanted(), refused)
    assert cure is not None
    made = cure.make(wanted())
    assert made is not None
    assert (made.body().get("reasoning"), made.body()["tools"]) == (changed, wanted().body()["tools"])
    assert name in cure.name


@pytest.mark.parametrize(
    ("refused", "field", "changed"),
    [
        (
            refusal("Unsupported value: 'high' is not supported with the 'x' model.", "text.verbosity"),
            "text",
            {"format": FULL["text"]["format"]},
        ),
        (refusal("Unknown parameter: 'text.verbosity'.", "text.verbosity"), "text", {"format": FULL["text"]["format"]}),
        (refusal("Unsupported parameter: 'metadata'.", "metadata", "unsupported_parameter"), "metadata", None),
        (refusal("Your organization must be verified to stream this model.", "stream"), "stream", False),
        (
            refusal(SCHEMA, "text.format.schema", "invalid_json_schema"),
            "text",
            {**FULL["text"], "format": {**FULL["text"]["format"], "strict": False}},
        ),
        (
            refusal(WEB_SEARCH, "tools[0].type", "invalid_value"),
            "tools",
            [{"type": "web_search_preview"}, FULL["tools"][1]],
        ),
    ],
)
def test_what_a_run_can_do_without_is_left_out(refused: GiveUp, field: str, changed: Any) -> None:
    cure = cure_for(wanted(), refused)
    assert cure is not None
    made = cure.make(wanted())
    assert made is not None
    expected = {**wanted().body(), field: changed}
    assert {**made.body(), field: made.body().get(field)} == expected


@pytest.mark.parametrize(
    "refused",
    [
        refusal("Unsupported parameter: 'max_output_tokens'.", "max_output_tokens", "unsupported_parameter"),
        refusal("Invalid value for 'input[0]'.", "input[0]", "invalid_value"),
        refusal("Metadata has too many keys.", "metadata"),
        refusal("The model 'x' does not exist.", "model", "model_not_found", status=404),
        refusal("Incorrect API key provided.", None, "invalid_api_key", status=401),
        refusal("Your input exceeds the context window of this model.", "input", "context_length_exceeded"),
        refusal("Hosted tool 'web_search' is not supported with this model.", "tools"),
        refusal("Item 'rs_1' of type 'reasoning' was provided without its required following item.", "input"),
        refusal("Invalid parameter: 'text.format' must be an object."),
        refusal("Unknown parameter: 'input[1].text'."),
    ],
)
def test_limits_tools_and_input_are_never_changed(refused: GiveUp) -> None:
    assert cure_for(wanted(), refused) is None


ALL: dict[str, Any] = {
    **FULL,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "background": False,
    "store": True,
}


def fastapi(*loc: str, msg: str = "Extra inputs are not permitted") -> dict[str, Any]:
    return {"detail": [{"type": "x", "loc": ["body", *loc], "msg": msg}]}


@pytest.mark.parametrize(
    ("status", "body", "name"),
    [
        (400, "thinking is not enabled for this model", "reasoning was"),
        (400, "Thinking mode is disabled for this model.", "reasoning was"),
        (400, "Invalid parameter: reasoning", "reasoning was"),
        (400, "The model has no reasoning capability.", "reasoning was"),
        (400, "Only reasoning models accept 'reasoning'.", "reasoning was"),
        (400, "reasoning_effort should be one of: none, default", "reasoning was"),
        (500, "reasoning is not supported by this model", "reasoning was"),
        (500, "TypeError: generate() got an unexpected keyword argument 'reasoning'", "reasoning was"),
        (400, "reasoning.effort: Invalid enum value. Expected 'low' | 'high', received 'medium'", "effort is low"),
        (400, '`reasoning_effort` must be one of ["low", "high"]', "effort is low"),
        (422, fastapi("reasoning", "effort", msg="Input should be 'low' or 'high'"), "effort is low"),
        (400, "reasoning.effort: unknown variant `medium`, expected one of `high`, `max` at line 1", "effort is high"),
        (400, "Reasoning summaries require verification of your organization.", "summary was"),
        (400, "summary 'auto' is invalid: only 'detailed' is allowed", "summary was"),
        (400, "metadata is not permitted", "metadata was"),
        (400, "Unrecognized request argument supplied: metadata", "metadata was"),
        (400, "The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata was"),
        (400, "Additional properties are not allowed ('store' was unexpected)", "store was"),
        (400, "store=true is not supported", "store was"),
        (400, "Storing responses is not supported.", "store was"),
        (400, "`store` must be false", "store was"),
        (400, "include[0]: reasoning.encrypted_content is not a valid option", "include was"),
        (400, "Unsupported value for include", "include was"),
        (400, "Encrypted content is not supported with this model.", "include was"),
        (400, 'json: unknown field "text"', "text.verbosity was"),
        (400, "verbosity must be medium for this model", "text.verbosity was"),
        (406, "", "stream was"),
        (501, "SSE is not implemented.", "stream was"),
        (400, "stream must be false", "stream was"),
        (500, "Streaming is not supported.", "stream was"),
        (400, "Server-sent events are disabled on this gateway.", "stream was"),
    ],
)
def test_a_refusal_in_words_of_a_server_s_own_is_cured(status: int, body: Any, name: str) -> None:
    said = body if isinstance(body, dict) else {"error": {"message": body}}
    refused = error_for_answer("POST /responses", status, {}, json.dumps(said).encode())
    assert isinstance(refused, GiveUp)
    cure = cure_for(wanted(**ALL), refused)
    assert cure is not None
    assert name in cure.name


ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": "Add."},
    {"type": "reasoning", "id": "rs_12", "summary": []},
    {"type": "web_search_call", "id": "ws_12", "status": "completed"},
    {"type": "reasoning", "id": "rs_34", "summary": []},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "3"},
]
SEARCHES, THOUGHTS = [1, 2], [1, 3]  # places


@pytest.mark.parametrize(
    ("status", "body", "left_out"),
    [
        (400, "unknown input item type: web_search_call", SEARCHES),
        (400, "input[2]: Cannot determine the type of this item", SEARCHES),
        (422, fastapi("input", "2", "type", msg="Input should be 'message'"), SEARCHES),
        (404, "Item with id 'ws_12' not found.", SEARCHES),
        (404, "Item with id 'rs_12' not found. Items are not persisted when `store` is set to false.", THOUGHTS),
        (400, "Unsupported item type 'reasoning' in input.", THOUGHTS),
        (400, "input.1.content: Field required", THOUGHTS),
        (400, "Item 'rs_34' of type 'reasoning' was provided without its required following item.", THOUGHTS),
        (400, "Unknown input item type: function_call_output", None),
        (400, "input[4].id: must be a UUID", None),
        (400, "input[99] is unknown", None),
        (400, "The input is too long: it exceeds the context window.", None),
    ],
)
def test_items_that_a_server_does_not_know_are_left_out_where_the_model_can_do_without(
    status: int, body: Any, left_out: list[int] | None
) -> None:
    """So it refuses a conversation that is sent in full, after the tools have run."""
    said = body if isinstance(body, dict) else {"error": {"message": body}}
    refused = error_for_answer("POST /responses", status, {}, json.dumps(said).encode())
    assert isinstance(refused, GiveUp)
    request = wanted(input=ITEMS)
    cure = cure_for(request, refused)
    if left_out is None:
        assert cure is None
        return
    made = cure.make(request) if cure else None
    assert made is not None
    assert made.input == [item for place, item in enumerate(ITEMS) if place not in left_out]


def test_a_schema_that_a_caller_calls_strict_stays_strict() -> None:
    own = {"type": "json_schema", "name": "mine", "schema": {}, "strict": True}
    assert cure_for(wanted(text={"format": own}), refusal(SCHEMA, "text.format.schema", "invalid_json_schema")) is None


def test_what_is_not_in_the_request_cannot_be_left_out() -> None:
    assert cure_for(wanted(reasoning=None), refusal(VERIFIED, "reasoning.summary")) is None
    assert cure_for(wanted(reasoning={"effort": "low"}), refusal(NOT_WITH_MINIMAL, "tools")) is None


async def taken(
    cures: Cures, request: CreateRequest, send: Callable[[CreateRequest], Awaitable[str]]
) -> tuple[str, list[str]]:
    """Send a request until it is taken."""
    while True:
        with suppress(Changed):
            return await cures.sent(request, send)


class Refuser:
    """A provider that takes neither a summary nor effort minimal."""

    def __init__(self) -> None:
        self.asked: list[CreateRequest] = []

    async def take(self, request: CreateRequest) -> str:
        self.asked.append(request)
        if request.reasoning and request.reasoning.summary:
            raise refusal(VERIFIED, "reasoning.summary")
        if request.reasoning and request.reasoning.effort == "minimal":
            raise refusal(NOT_WITH_MINIMAL, "tools")
        return "taken"


async def test_each_change_is_made_once_and_remembered_for_the_model() -> None:
    refuser, cures = Refuser(), Cures()
    named = ["reasoning.summary was left out", "reasoning.effort is low instead of minimal"]
    assert await taken(cures, wanted(), refuser.take) == ("taken", named)
    assert len(refuser.asked) == 3
    assert await taken(cures, wanted(), refuser.take) == ("taken", named)
    assert len(refuser.asked) == 4
    await taken(cures, wanted(model="another"), refuser.take)
    assert len(refuser.asked) == 7


async def test_what_needs_no_change_is_sent_as_it_is() -> None:
    refuser, cures = Refuser(), Cures()
    await taken(cures, wanted(), refuser.take)
    assert await taken(cures, wanted(reasoning={"effort": "high"}), refuser.take) == ("taken", [])


async def test_a_refusal_that_the_change_does_not_cure_is_raised() -> None:
    asked = []

    async def refuse(request: CreateRequest) -> str:
        asked.append(request)
        raise refusal(VERIFIED, "reasoning.summary")

    with pytest.raises(BadRequest):
        await taken(Cures(), wanted(), refuse)
    assert len(asked) == 2


async def test_a_change_that_did_not_cure_is_not_made_for_other_runs() -> None:
    """A framework may name a field in a refusal of something else; every run after it would go without reasoning."""
    refuser, cures = Refuser(), Cures()

    async def refuse(request: CreateRequest) -> str:
        raise refusal("Extra fields are not permitted: reasoning.")

    with pytest.raises(BadRequest):
        await taken(cures, wanted(reasoning={"effort": "high"}), refuse)
    assert await taken(cures, wanted(reasoning={"effort": "high"}), refuser.take) == ("taken", [])


async def test_a_change_that_has_cured_is_kept_whatever_is_refused_later() -> None:
    refuser, cures = Refuser(), Cures()
    named = (await taken(cures, wanted(), refuser.take))[1]

    async def refuse(request: CreateRequest) -> str:
        raise refusal("The model 'x' does not exist.", "model", "model_not_found")

    with pytest.raises(BadRequest):
        await taken(cures, wanted(), refuse)
    assert await taken(cures, wanted(), refuser.take) == ("taken", named)
    assert len(refuser.asked) == 4


# --- containers that are gone ------------------------------------------------------------------------------------

CODE = [{"type": "code_interpreter_call", "id": f"ci_{name}", "container_id": f"cntr_{name}"} for name in ("a", "b")]
USER = {"role": "user", "content": "Hi."}


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("Container 'cntr_a' not found or expired.", [USER, CODE[1]]),
        ("Expected container_id: the container has expired.", [USER]),
        ("Container 'cntr_c' not found.", [USER]),
    ],
)
def test_what_ran_in_a_container_that_is_gone_is_not_sent_again(message: str, left: list[dict[str, str]]) -> None:
    """A conversation that is sent in full would be refused for ever."""
    given = wanted(input=[USER, *CODE])
    cure = cure_for(given, refusal(message))
    assert cure is not None
    changed = cure.make(given)
    assert changed is not None
    assert changed.input == left


def test_a_container_that_the_conversation_does_not_name_is_no_matter_of_it() -> None:
    assert cure_for(wanted(), refusal("Container 'cntr_a' not found.")) is None


def test_the_reasoning_that_led_to_it_goes_with_it_and_a_living_container_of_another_run_stays() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    given = wanted(input=[USER, thought, CODE[0]])
    cure = cure_for(given, refusal("Expected container_id: None"))
    assert cure is not None
    changed = cure.make(given)
    assert changed is not None
    assert changed.input == [USER]
    assert cure.make(wanted(input=[USER, thought, CODE[1]])) is None


def test_what_a_shell_has_put_out_goes_with_its_call() -> None:
    def shell(container: str, call_id: str) -> list[dict[str, Any]]:
        environment = {"type": "container_reference", "container_id": container}
        return [
            {"type": "shell_call", "call_id": call_id, "environment": environment},
            {"type": "shell_call_output", "call_id": call_id, "output": []},
        ]

    given = wanted(input=[USER, *shell("cntr_a", "c1"), *shell("cntr_b", "c2")])
    cure = cure_for(given, refusal("Container 'cntr_a' not found or expired."))
    assert cure is not None
    changed = cure.make(given)
    assert changed is not None
    assert changed.input == [USER, *shell("cntr_b", "c2")]


def test_a_server_that_does_not_know_include_is_asked_without() -> None:
    asked = wanted(include=["reasoning.encrypted_content"])
    cure = cure_for(asked, refusal("Unknown parameter: 'include'.", "include"))
    assert cure is not None
    changed = cure.make(asked)
    assert changed is not None
    assert "include" not in changed.body()
