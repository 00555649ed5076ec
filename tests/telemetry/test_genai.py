"""Names and values of the GenAI semantic conventions."""

import json
from typing import Any

import pytest

from durable_responses import genai_attributes
from durable_responses.activities.messages import CreateResponse, ModelOptions, Opening, ResponseRecord, Transport
from durable_responses.responses_api.models import FunctionCallOutput
from durable_responses.telemetry import genai
from durable_responses.telemetry.export import Content
from durable_responses.workflows.contract import AgentError, AgentInput, AgentResult, AgentStatus
from tests.support.processes import CHECKOUT

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "The answer."}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


def response(**fields: Any) -> ResponseRecord:
    return ResponseRecord.model_validate({"id": "resp_1", "status": "completed", **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"output": [MESSAGE]}, "stop"),
        ({"output": [MESSAGE, CALL]}, "tool_call"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        ({"status": "failed"}, "error"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "of_tomorrow"}, "of_tomorrow"),
    ],
)
def test_a_finish_reason_is_one_of_the_conventions_where_they_have_one(fields: dict[str, Any], reason: str) -> None:
    assert genai.finish_reason(response(**fields)) == reason


@pytest.mark.parametrize("content", Content)
def test_messages_are_shown_on_request_only(content: Content) -> None:
    shown = genai.of_response(response(output=[MESSAGE, CALL]), content).get("gen_ai.output.messages")
    assert (shown is not None) == (content is Content.SPANS)


def test_output_messages_follow_the_schema_of_the_conventions() -> None:
    shown = genai.of_response(response(output=[MESSAGE, CALL]), Content.SPANS)["gen_ai.output.messages"]
    assert isinstance(shown, str)
    assert json.loads(shown) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "The answer."},
                {"type": "tool_call", "id": "call_1", "name": "look", "arguments": "{}"},
            ],
            "finish_reason": "tool_call",
        }
    ]


def test_input_messages_hold_only_what_is_new() -> None:
    create = CreateResponse(
        options=ModelOptions(),
        iteration=2,
        new_items=[FunctionCallOutput(call_id="call_1", output="It is open.")],
        texts=["Hurry."],
    )
    shown = genai.of_create(create, "run-1", Transport.BACKGROUND, Content.SPANS)["gen_ai.input.messages"]
    assert isinstance(shown, str)
    assert json.loads(shown) == [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "It is open."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hurry."}]},
    ]


def test_a_task_of_items_is_shown_as_json() -> None:
    create = CreateResponse(options=ModelOptions(), iteration=1, opening=Opening(task=[{"role": "user"}]))
    shown = genai.of_create(create, "run-1", Transport.STREAM, Content.SPANS)["gen_ai.input.messages"]
    assert isinstance(shown, str)
    assert json.loads(shown)[0]["parts"] == [{"type": "text", "content": '[{"role": "user"}]'}]


def test_a_task_is_shown_without_the_data_of_its_images_and_files() -> None:
    """Backends refuse spans of megabytes, with all others that are sent with them."""
    image, file = f"data:image/png;base64,{'A' * 100_000}", "QUJD" * 100_000
    parts = [{"type": "input_image", "image_url": image}, {"type": "input_file", "file_data": file}]
    asked = AgentInput(task=[{"role": "user", "content": [{"type": "input_text", "text": "Look."}, *parts]}])
    shown = genai.of_run("job", asked, Content.SPANS)
    assert all(len(str(value)) < 2000 for value in shown.values())
    assert "data:image/png;base64,…" in str(shown["input.value"])
    assert "Look." in str(shown["input.value"])


def test_half_a_character_costs_no_attribute() -> None:
    """No exporter can encode it: the attribute is dropped, with a traceback in the log."""
    result = AgentResult(status=AgentStatus.COMPLETED, output_text="\ud83d cut")
    shown = genai.of_result(result, Content.SPANS)
    assert all(str(value).encode() for value in shown.values())


def test_a_run_shows_its_task_and_its_instructions_on_request_only() -> None:
    """A list of runs has nothing else to show of one."""
    asked = AgentInput(task="Is it open?", context="It is Sunday.", instructions="Be brief.")
    hidden = genai.of_run("run-1", asked, Content.NONE)
    shown = genai.of_run("run-1", asked, Content.SPANS)
    assert shown.pop("input.value") == "Is it open?"
    assert {name: json.loads(str(shown[name])) for name in shown.keys() - hidden.keys()} == {
        "gen_ai.input.messages": [
            {
                "role": "user",
                "parts": [{"type": "text", "content": "Is it open?"}, {"type": "text", "content": "It is Sunday."}],
            }
        ],
        "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": AgentStatus.COMPLETED}, "stop"),
        ({"status": AgentStatus.INCOMPLETE, "incomplete_reason": "max_output_tokens"}, "length"),
        ({"status": AgentStatus.INCOMPLETE, "incomplete_reason": "deadline"}, "deadline"),
        ({"status": AgentStatus.CANCELLED}, "cancelled"),
        ({"status": AgentStatus.FAILED, "error": AgentError(type="invalid_input", message="No.")}, "error"),
    ],
)
def test_a_run_shows_its_answer_on_request_only(fields: dict[str, Any], reason: str) -> None:
    result = AgentResult(output_text="It is.", **fields)
    assert "gen_ai.output.messages" not in genai.of_result(result, Content.NONE)
    assert genai.of_result(result, Content.SPANS)["output.value"] == "It is."
    assert json.loads(str(genai.of_result(result, Content.SPANS)["gen_ai.output.messages"])) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "It is."}], "finish_reason": reason}
    ]


@pytest.mark.parametrize(
    ("transport", "streams"), [(Transport.BACKGROUND, None), (Transport.STREAM, True), (Transport.WEBSOCKET, True)]
)
def test_a_response_says_what_it_continues_and_whether_it_streams(transport: Transport, streams: bool | None) -> None:
    create = CreateResponse(options=ModelOptions(), iteration=2, previous_response_id="resp_1")
    attributes = genai.of_create(create, "run-1", transport, Content.NONE)
    assert attributes["gen_ai.conversation.id"] == "run-1"
    assert attributes["gen_ai.request.previous_response.id"] == "resp_1"
    assert attributes.get("gen_ai.request.stream") is streams


def test_names_are_those_of_the_conventions() -> None:
    """None of ours is among them, none stands there twice, and the two of OpenInference are for the run alone."""
    names = [value for name, value in vars(genai_attributes).items() if name.isupper()]
    assert all(name.startswith(("gen_ai.", "openai.", "input.value", "output.value")) for name in names)
    assert len(names) == len(set(names))


def test_no_name_is_taken_from_where_the_conventions_have_moved_away() -> None:
    """Every GenAI name of `opentelemetry.semconv` is deprecated, and may go with any minor version."""
    folders = [CHECKOUT / folder for folder in ("durable_responses", "activities", "workflows")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert [path for path in sources if "semconv._incubating" in path.read_text()] == []
