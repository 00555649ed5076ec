"""What a run passes to the provider as it is: fields, hosted tools, secrets; and calls that the provider may make."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.activities.messages import ToolOutcome, ToolResult
from durable_responses.activities.records import record_of
from durable_responses.activities.requests import further_fields_for, tool_choice_for
from durable_responses.responses_api.models import CreateRequest, Response
from durable_responses.responses_api.protocol import ResponseCreate
from durable_responses.responses_api.request_fields import names_of_secrets, with_extra, with_secrets
from durable_responses.settings import Settings
from durable_responses.tools.approvals import Approvals, unaskable_tools
from durable_responses.workflows.contract import AgentInput, AgentStatus, InputRequestKind, TransportChoice
from durable_responses.workflows.function_calls import approvals_of
from durable_responses.workflows.rules import calls_to_approve, model_options, parse_input, unanswerable_calls
from tests.support.chainless_servers import Chain, ChainlessServer, serving
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import agents_at, progress, reached, result_of

LABEL, ARGUMENTS = "tickets", '{"id": 7}'
REMOTE = {"type": "mcp", "server_label": LABEL, "server_url": "https://mcp.example/mcp"}

# --- the rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("hosted_tools", [{"type": "computer_use_preview"}], "hosted_tools: [0] is computer_use_preview"),
        ("hosted_tools", [REMOTE, {"type": "computer"}], "hosted_tools: [1] is computer"),
        ("hosted_tools", [{"type": "local_shell"}], "whose calls nobody would answer"),
        ("hosted_tools", [{"type": "tool_search", "execution": "client"}], "execution client, whose calls nobody"),
        ("hosted_tools", [{"type": "namespace", "name": "n", "tools": []}], "is a namespace of functions"),
        ("hosted_tools", [{"type": "mcp", "headers": {"A": "Bearer ${A KEY}"}}], "that names no secret: write ${NAME}"),
        ("hosted_tools", [{"type": "mcp", "authorization": "$KEY"}], "that names no secret: write ${NAME}"),
        ("hosted_tools", [{"type": "mcp", "server_url": "https://h/?k=${K:-x}"}], "that names no secret"),
        ("tool_choice", 5, "must be auto, none or required, or an object that names a tool"),
        ("hosted_tools", [{"type": "shell"}], "is shell, whose calls nobody would answer"),
        ("hosted_tools", [{"type": "shell", "environment": {"type": "local"}}], "nobody would answer"),
        ("hosted_tools", [{"type": "function", "name": "f"}], "caller_tools"),
        ("hosted_tools", [{"server_label": "x"}], "has no type"),
        ("extra_body", {"store": False}, "extra_body: has store, which is decided by the run"),
        ("extra_body", {"stream": True, "input": "x"}, "has input and stream, which are decided by the run"),
        ("extra_body", {"background": False}, "has background"),
        ("extra_body", {"tools": []}, "extra_body: has tools: give those of the provider in hosted_tools"),
        ("extra_body", {"conversation": "conv_1"}, "has conversation"),
        ("extra_body", {"previous_response_id": "resp_1"}, "has previous_response_id"),
        ("extra_body", {"metadata": None}, "extra_body: has a metadata that is not an object"),
        ("temperature", 3, "temperature"),
        ("max_tool_calls", 0, "max_tool_calls"),
        ("safety_identifier", "x" * 129, "safety_identifier"),
        ("truncation", "always", "truncation"),
    ],
)
def test_what_a_run_cannot_pass_on_is_refused_by_its_name(field: str, value: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_input({"task": "t", field: value})


@pytest.mark.parametrize("kind", ["container_auto", "container_reference"])
def test_a_shell_that_the_provider_runs_is_a_hosted_tool(kind: str) -> None:
    tool = {"type": "shell", "environment": {"type": kind}}
    assert parse_input({"task": "t", "hosted_tools": [tool]}).hosted_tools == [tool]


def test_further_fields_come_before_ours_objects_and_lists_are_merged() -> None:
    body = {"model": "m", "reasoning": {"effort": "low"}, "include": ["a"], "metadata": {"workflow_id": "w"}}
    extra = {"model": "n", "reasoning": {"summary": "auto"}, "include": ["a", "b"], "prompt": {"id": "p"}}
    merged = with_extra(body, {**extra, "metadata": {"workflow_id": "x", "team": "t"}})
    assert merged == {
        "model": "n",
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["a", "b"],
        "prompt": {"id": "p"},
        "metadata": {"workflow_id": "w", "team": "t"},  # by it a response is found again
    }


def test_a_caller_who_manages_the_context_does_so_alone() -> None:
    ours, theirs = [{"type": "compaction", "compact_threshold": 700}], [{"type": "compaction"}]
    assert with_extra({"context_management": ours}, {"context_management": theirs}) == {"context_management": theirs}


def test_further_fields_go_over_a_websocket_too_and_make_no_other_event_of_it() -> None:
    extra = {"prompt_cache_retention": "24h", "type": "response.cancel", "generate": False, "stream_id": "other"}
    request = CreateRequest(model="m", input="Hi.", extra_body=extra)
    assert json.loads(ResponseCreate.of(request).frame()) == {
        "type": "response.create",
        "model": "m",
        "input": "Hi.",
        "prompt_cache_retention": "24h",
    }
    ahead = ResponseCreate.of(request).model_copy(update={"generate": False, "stream_id": "a"})
    assert {name: json.loads(ahead.frame())[name] for name in ("generate", "stream_id")} == {
        "generate": False,
        "stream_id": "a",
    }


def test_secrets_are_found_and_put_in_at_any_depth() -> None:
    value = [{**REMOTE, "headers": {"Authorization": "Bearer ${TOKEN}"}}, "${A}-${B}", 3, None, "$HOME ${not a name}"]
    assert list(names_of_secrets(value)) == ["TOKEN", "A", "B"]
    assert list(names_of_secrets({"${NAME}": {"x": 1}})) == ["NAME"]
    assert with_secrets({"${NAME}": {"x": 1}}, lambda name: name.lower()) == {"name": {"x": 1}}
    [tool, text, *rest] = with_secrets(value, lambda name: name.lower())
    assert (tool["headers"]["Authorization"], text, rest) == (
        "Bearer token",
        "a-b",
        [3, None, "$HOME ${not a name}"],
    )


FUNCTION = {"type": "function", "name": "add"}


@pytest.mark.parametrize(
    ("choice", "first", "later"),
    [
        (None, None, None),
        ("auto", "auto", "auto"),
        ("none", "none", "none"),
        ("required", "required", None),
        (FUNCTION, FUNCTION, None),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [FUNCTION]},
            {"type": "allowed_tools", "mode": "required", "tools": [FUNCTION]},
            {"type": "allowed_tools", "mode": "auto", "tools": [FUNCTION]},
        ),
    ],
)
def test_a_choice_that_forces_a_call_holds_for_the_first_response_alone(choice: Any, first: Any, later: Any) -> None:
    assert tool_choice_for(choice, is_first=True) == first
    assert tool_choice_for(choice, is_first=False) == later
    given = {} if choice is None else {"tool_choice": choice}
    wanted = {} if later is None else {"tool_choice": later}
    assert further_fields_for({"user": "u", **given}, is_first=True) == {"user": "u", **given}
    assert further_fields_for({"user": "u", **given}, is_first=False) == {"user": "u", **wanted}


def test_a_request_for_approval_without_an_id_or_a_name_cannot_be_answered() -> None:
    asked = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": LABEL, "name": "f", "arguments": "{}"}
    nameless = {"type": "mcp_approval_request", "id": "mcpr_2", "arguments": "{}"}
    response = Response.model_validate({"id": "resp_1", "status": "completed", "output": [asked, nameless]})
    assert [(call.call_id, call.name) for call in calls_to_approve(response)] == [("mcpr_1", "tickets.f")]
    assert [item.id for item in unanswerable_calls(response)] == ["mcpr_2"]


def test_arguments_that_are_an_object_are_shown_as_json() -> None:
    asked = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": LABEL, "name": "f", "arguments": {"id": 7}}
    response = Response.model_validate({"id": "resp_1", "status": "completed", "output": [asked]})
    assert [call.arguments for call in calls_to_approve(response)] == ['{"id": 7}']
    assert [call.arguments for call in calls_to_approve(record_of(response))] == ['{"id": 7}']


def test_a_request_whose_id_is_too_long_to_be_repeated_cannot_be_answered() -> None:
    asked = {"type": "mcp_approval_request", "id": "m" * 600, "server_label": LABEL, "name": "f", "arguments": "{}"}
    response = Response.model_validate({"id": "resp_1", "status": "completed", "output": [asked]})
    assert calls_to_approve(record_of(response)) == []
    assert len(unanswerable_calls(record_of(response))) == 1


def test_of_requests_with_the_same_id_what_is_denied_is_denied() -> None:
    yes = ToolResult(call_id="a", output="", outcome=ToolOutcome.SUCCEEDED)
    no = ToolResult(call_id="a", output="Error: no.", outcome=ToolOutcome.FAILED)
    other = yes.model_copy(update={"call_id": "b"})
    for decided in ([yes, no, other], [no, yes, yes, other]):
        told = [(each.approval_request_id, each.approve, each.reason) for each in approvals_of(decided)]
        assert told == [("a", False, "Error: no."), ("b", True, None)]
    assert [each.approve for each in approvals_of([yes, yes])] == [True]


def test_a_run_that_uses_none_of_it_says_nothing_of_it_in_history() -> None:
    plain = AgentInput(task="t")
    assert json.loads(plain.model_dump_json(exclude_unset=True)) == {"task": "t"}
    assert "hosted_tools" not in model_options(plain).model_dump()


# --- whole runs --------------------------------------------------------------------------------------------------


@dataclass
class ApprovingServer(ChainlessServer):
    """Its model wants to make a call by a remote MCP server, `requests` at once, and then says what it was told."""

    requests: int = 1
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def _output(self, seen: list[Any], asked: dict[str, Any]) -> list[Any]:
        told = [item for item in seen if item.get("type") == "mcp_approval_response"]
        if told or not any(tool["type"] == "mcp" for tool in asked.get("tools", [])):
            text = json.dumps([{name: item.get(name) for name in ("approve", "reason")} for item in told])
            part = {"type": "output_text", "text": text, "annotations": []}
            return [{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [part]}]
        return [
            {
                "type": "mcp_approval_request",
                "id": f"mcpr_{number}",
                "server_label": LABEL,
                "name": "close",
                "arguments": ARGUMENTS,
            }
            for number in range(self.requests)
        ]


def asks(**fields: Any) -> AgentInput:
    return AgentInput(task="Close it.", **{"transport": TransportChoice.STREAM, "hosted_tools": [REMOTE], **fields})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("allow", {"approve": True, "reason": None}),
        ("deny", {"approve": False, "reason": "Error: tickets.close did not run: its owner denied it."}),
    ],
)
@pytest.mark.parametrize("conversation", ["server", "full"])
async def test_a_call_of_a_remote_server_waits_for_the_owner(
    client: Client, emulator: RunningEmulator, settings: Settings, answer: str, told: dict[str, Any], conversation: str
) -> None:
    server = ApprovingServer(Chain.CONTINUED)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(conversation=conversation))
            state = await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
            [request] = state.input_requests
            assert (request.kind, request.call and request.call.name) == (InputRequestKind.APPROVAL, "tickets.close")
            assert request.call is not None
            assert (request.call.arguments, request.call.server) == (ARGUMENTS, LABEL)
            assert "to call tickets.close, at the provider by the MCP server tickets, with" in request.message
            await run.execute_update("respond", answer)
            result = await result_of(run)
    assert (result.status, json.loads(result.output_text)) == ("completed", [told])
    assert server.asked[-1]["input"][-1]["approval_request_id"] == "mcpr_0"


@pytest.mark.parametrize(
    ("approvals", "approved"),
    [
        ([{"tool": "tickets.*", "action": "allow"}], True),
        ([{"tool": "tickets.close", "arguments": {"id": 7}, "action": "deny", "reason": "never 7"}], False),
        ([{"tool": "*", "action": "allow"}], True),
    ],
)
async def test_rules_of_the_run_decide_about_calls_of_remote_servers(
    client: Client, emulator: RunningEmulator, settings: Settings, approvals: Any, approved: bool
) -> None:
    server = ApprovingServer(Chain.CONTINUED, requests=2)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(approvals=approvals))
            result, state = await result_of(run), await progress(run)
    assert [each["approve"] for each in json.loads(result.output_text)] == [approved] * 2
    assert result.requests == []
    assert [call.name for call in state.function_calls] == ["tickets.close"] * 2


@pytest.mark.parametrize(
    "approvals", ["allow", [{"tool": "write_*", "action": "ask"}], [{"effect": "pure", "action": "allow"}]]
)
async def test_what_no_rule_allows_waits_for_the_owner_whatever_other_rules_there_are(
    client: Client, emulator: RunningEmulator, settings: Settings, approvals: Any
) -> None:
    server = ApprovingServer(Chain.CONTINUED)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(approvals=approvals))
            await reached(run, lambda state: state.status is AgentStatus.INPUT_REQUIRED)
            await run.execute_update("respond", "allow")
            result = await result_of(run)
    assert [each["approve"] for each in json.loads(result.output_text)] == [True]


UNASKED = {**REMOTE, "require_approval": "never"}


@pytest.mark.parametrize(
    ("tool", "rules", "problem"),
    [
        ({"type": "web_search"}, [{"tool": "*", "action": "deny"}], "approvals say deny for web_search"),
        ({"type": "file_search"}, [{"tool": "file_*", "action": "ask"}], "approvals say ask for file_search"),
        (
            {**REMOTE, "require_approval": "never"},
            [{"tool": "tickets.close", "action": "ask"}],
            "approvals say ask for mcp",
        ),
        (UNASKED, [{"tool": "*", "action": "deny"}], "approvals say deny for mcp"),
        (UNASKED, [{"tool": "write_file", "action": "deny"}], None),
        (REMOTE, [{"tool": "*", "action": "deny"}], None),
    ],
)
def test_a_tool_that_runs_unasked_is_not_offered_against_a_rule(
    tool: dict[str, Any], rules: list[dict[str, Any]], problem: str | None
) -> None:
    found = unaskable_tools(AgentInput(task="t", hosted_tools=[tool]), Approvals.model_validate(rules))
    assert found == ([f"hosted_tools[0]: {problem}, which runs at the provider unasked"] if problem else [])


async def test_nobody_who_answers_in_time_is_a_no(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    server = ApprovingServer(Chain.CONTINUED)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(answer_within=0.5))
    [told] = json.loads(result.output_text)
    assert (told["approve"], "nobody answered in time" in told["reason"]) == (False, True)


async def test_every_field_reaches_the_provider_as_it_was_given(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    fields: dict[str, Any] = {
        "max_tool_calls": 3,
        "service_tier": "flex",
        "temperature": 0.5,
        "top_p": 0.9,
        "truncation": "auto",
        "include": ["web_search_call.action.sources"],
        "prompt_cache_key": "release",
        "safety_identifier": "user-1",
        "parallel_tool_calls": False,
        "tool_choice": "auto",
    }
    search = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    server = ChainlessServer(Chain.CONTINUED, calls=0)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(hosted_tools=[search], extra_body={"prompt": {"id": "pmpt_1"}}, **fields))
    assert (result.status, result.error) == ("completed", None)
    [body] = server.asked
    assert {name: body[name] for name in fields} == fields
    assert search in body["tools"]
    assert body["prompt"] == {"id": "pmpt_1"}
    assert body["metadata"]["iteration"] == "1"


@dataclass
class QuotingServer(ApprovingServer):
    """It quotes in its answer what it was sent."""

    def _output(self, seen: list[Any], asked: dict[str, Any]) -> list[Any]:
        output = super()._output(seen, asked)
        if output[0]["type"] == "message":
            output[0]["content"][0]["text"] = f"I was sent {json.dumps(asked['tools'])}"
        return output


SECRET = "s3cret-of-the-ticket-server"


async def test_a_secret_goes_to_the_provider_and_nowhere_else(
    client: Client,
    emulator: RunningEmulator,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TICKETS_TOKEN", SECRET)
    settings = settings.model_copy(update={"run_secrets": ["TICKETS_TOKEN"]})
    tool = {**REMOTE, "headers": {"Authorization": "Bearer ${TICKETS_TOKEN}"}}
    server = QuotingServer(Chain.CONTINUED)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(hosted_tools=[tool], approvals=[{"tool": "*", "action": "allow"}]))
            result = await result_of(run)
            history = await run.fetch_history()
    assert (result.status, "***" in result.output_text) == ("completed", True)
    assert all(SECRET in json.dumps(body["tools"]) for body in server.asked)
    assert len(server.asked) == 2
    assert SECRET.encode() not in b"".join(event.SerializeToString() for event in history.events)
    assert SECRET not in caplog.text
    assert SECRET in settings.secrets()


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "NEVER_SET"])
async def test_what_the_operator_does_not_give_to_runs_is_no_secret_of_theirs(
    client: Client, emulator: RunningEmulator, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")
    settings = settings.model_copy(update={"run_secrets": ["NEVER_SET"]})
    server = ChainlessServer(Chain.CONTINUED, calls=0)
    with serving(server):
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(extra_body={"x": ["${" + name + "}"]}))
    assert result.error is not None
    assert (result.error.type, server.asked) == ("invalid_input", [])
    assert f"list {name} in its AGENT_SECRETS" in result.error.message
