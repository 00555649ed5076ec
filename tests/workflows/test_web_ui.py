"""What Temporal's tools show of a run: short, safe, and what a person wants to know."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from durable_responses.responses_api.models import FunctionCall
from durable_responses.workflows.agent import AgentWorkflow
from durable_responses.workflows.contract import (
    AgentError,
    AgentInput,
    AgentState,
    AgentStatus,
    AgentUsage,
    CallRecord,
    CallStatus,
    InputRequest,
    InputRequestKind,
    InputRequestStatus,
)
from durable_responses.workflows.web_ui import (
    DETAILS_BYTES,
    SUMMARY_BYTES,
    call_summary,
    details_of,
    fit,
    summary,
    summary_of,
)
from tests.support.runs import Agents, result_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUNNING = AgentState(
    status=AgentStatus.RUNNING,
    iteration=2,
    max_iterations=10,
    response_id="resp_1",
    response_status="in_progress",
    preview="\n".join(f"line {number}" for number in range(9)),
    usage=AgentUsage(total_tokens=12345, reasoning_tokens=678),
    function_calls=[
        CallRecord(call_id="1", name="read_file", iteration=1, status=CallStatus.SUCCEEDED),
        CallRecord(call_id="2", name="fetch_url", iteration=2, status=CallStatus.RUNNING),
    ],
    started_at=NOW - timedelta(seconds=102),
)


def encoded(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())


def call(name: str, arguments: str) -> FunctionCall:
    return FunctionCall(call_id="1", name=name, arguments=arguments)


def test_the_panel_says_where_a_run_stands_what_it_does_and_how_to_cancel_it() -> None:
    assert details_of(RUNNING, "agent-1", NOW) == (
        "**running**, iteration 2 of 10, 1:42 after its start\n\n"
        "12,345 tokens (678 of them reasoning)\n\n"
        "response `resp_1`: in_progress\n\n"
        "function calls under way: `fetch_url`\n\n"
        "    line 6\n    line 7\n    line 8\n\n"
        "To cancel it:\n\n"
        "- *Request Cancellation*, on this page\n"
        "- `temporal workflow cancel -w agent-1`\n"
        "- `durable-responses cancel agent-1`\n"
        "- over MCP: `gpt5_agent_cancel`\n\n"
        "as of 2026-01-02 03:04:05 UTC"
    )


async def test_whoever_asks_temporal_for_the_details_of_a_run_is_given_its_panel(agents: Agents) -> None:
    run = await agents.start(AgentInput(task="Say hello.", metadata={"scenario": "echo"}))
    await result_of(run)
    shown = await run.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    state = await run.query(AgentWorkflow.progress)
    assert shown.current_details == details_of(state, run.id, state.updated_at or NOW, "Say hello.")
    assert "**completed**, iteration 1 of" in shown.current_details


def test_the_panel_of_a_run_that_is_to_stop_or_has_ended_says_no_more_how_to_cancel_it() -> None:
    stopping = RUNNING.model_copy(update={"cancel_requested": True})
    ended = RUNNING.model_copy(update={"status": AgentStatus.FAILED, "error": AgentError(type="x", message="Why.")})
    assert "Cancel was requested." in details_of(stopping, "agent-1", NOW)
    assert "To cancel it" not in details_of(stopping, "agent-1", NOW)
    assert "ancel" not in details_of(ended, "agent-1", NOW)
    assert "error: Why." in details_of(ended, "agent-1", NOW)


def test_the_panel_fits_temporals_limit_whatever_the_run_says() -> None:
    calls = [CallRecord(call_id="1", name="x" * 500, iteration=1, status=CallStatus.RUNNING)] * 100
    error = AgentError(type="x", message="\x00" * 100_000)
    big = RUNNING.model_copy(update={"preview": "💥" * 4000, "function_calls": calls, "error": error})
    assert encoded(details_of(big, "agent-1", NOW)) <= DETAILS_BYTES


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"path": "docs/x.md"}', "tool docs/x.md"),
        ('{"limit": 3, "url": "https://example.org"}', "tool https://example.org"),
        ('{"question": "Why\\n  so?", "count": 2}', "tool Why so?"),
        ('{"api_key": "sk-1", "city": "Bern"}', "tool Bern"),
        ('{"password": "x"}', "tool"),
        ("{}", "tool"),
        ("[1]", "tool"),
        ("not json", "tool"),
    ],
)
def test_the_summary_of_a_call_names_the_tool_and_its_main_argument(arguments: str, shown: str) -> None:
    assert call_summary(call("tool", arguments)) == shown


@pytest.mark.parametrize("text", ["word " * 100, "💥" * 200, '"' * 300, "ä" * 199, "\x00" * 90])
def test_a_summary_fits_temporals_limit(text: str) -> None:
    assert encoded(summary(text)) <= SUMMARY_BYTES
    assert encoded(call_summary(call("tool", json.dumps({"path": text})))) <= SUMMARY_BYTES


def test_a_text_that_fits_is_not_cut_and_a_longer_one_shows_that_it_was() -> None:
    assert fit("12345678", 10) == "12345678"
    assert fit("123456789", 10) == "12345…"


def test_neither_panel_nor_summaries_have_control_characters() -> None:
    """They are printed by `temporal workflow describe`, too."""
    hostile = RUNNING.model_copy(
        update={"preview": "a\x1b[2Jb\u202e", "error": AgentError(type="x", message="\x1b]0;t\x07why\x9b2J")}
    )
    shown = details_of(hostile, "agent-1", NOW) + call_summary(call("read\x1b[A", '{"path": "a\\u001b[31m\\u202eb"}'))
    assert not any(character in shown for character in "\x1b\x9b\x07\u202e")
    assert "    ab" in shown
    assert "error: why" in shown
    assert shown.endswith("read ab")


@pytest.mark.parametrize(
    ("task", "summary"),
    [
        ("Count the\n  files", "Count the files"),
        ("word " * 100, "word " * 17 + "word…"),
        ([{"role": "user", "content": "Count"}], "Count"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "Count"}, {"type": "input_image"}]}], "Count"),
        ([{"type": "item_reference", "id": "x"}], "one input item"),
        ([{"type": "item_reference", "id": "x"}, {"type": "item_reference", "id": "y"}], "2 input items"),
        ([{"role": "user", "content": [{"type": "input_text", "text": " "}]}], "one input item"),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com"}]}],
            "one input item",
        ),
        ([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Add."}], "Add."),
        ([{"role": "assistant", "content": "3."}, {"role": "user", "content": "And 2 + 2?"}], "And 2 + 2?"),
        ([{"role": "developer", "content": "Be brief."}], "Be brief."),
        ("\u200b", "(no text)"),
        ("Use sk-abcdefghij0123456789 for it.", "Use sk-*** for it."),
        ("\x1b[31mred\x1b[0m \u202etask", "red task"),
        ([{"role": "user", "content": None}], "one input item"),
        ([{"role": "user", "content": [{"type": "input_text", "text": 5}, 6]}], "one input item"),
    ],
)
def test_the_summary_of_a_run_is_one_line_of_its_task(task: Any, summary: str) -> None:
    assert summary_of(AgentInput(task=task)) == summary


def test_the_panel_begins_with_the_task_where_it_is_known() -> None:
    assert details_of(RUNNING, "agent-1", NOW, "Count the files").startswith("    Count the files\n\n**running**")


def test_the_panel_has_the_question_and_what_to_send() -> None:
    asked = InputRequest(
        id="refusal-1",
        kind=InputRequestKind.REFUSAL,
        message="No credit.\n```\n# Well?",
        choices=["retry", "stop"],
        opened_at=NOW,
        resume_at=NOW + timedelta(minutes=5),
    )
    over = asked.model_copy(update={"id": "refusal-0", "status": InputRequestStatus.ANSWERED})
    state = RUNNING.model_copy(update={"status": AgentStatus.INPUT_REQUIRED, "input_requests": [over, asked]})
    panel = details_of(state, "agent-1", NOW)
    assert '    {"id": "refusal-1", "answer": "retry", "by": "…"}\n    {"id": "refusal-1", "answer": "stop"' in panel
    assert "    No credit.\n    ```\n    # Well?" in panel
    assert "`durable-responses respond agent-1 refusal-1 ANSWER`" in panel
    assert f"the run goes on by itself at {NOW + timedelta(minutes=5):%Y-%m-%d %H:%M:%S} UTC" in panel
    assert "refusal-0" not in panel
