"""What Temporal's Web UI and CLI show of a run: the panel in "User Metadata", and summaries of its steps."""

import json
import shlex
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from durable_responses.json_text import read_json, text_bytes, well_formed
from durable_responses.responses_api.models import FunctionCall
from durable_responses.responses_api.redaction import masked, names_a_secret, redact
from durable_responses.shell_words import typed
from durable_responses.shown_text import shown
from durable_responses.workflows.contract import RESPOND, AgentInput, AgentState, AgentUsage, CallStatus
from durable_responses.workflows.costs import cost_text
from durable_responses.workflows.example_answers import example_answers
from durable_responses.workflows.rules import waiting_text

# Temporal's limits (https://docs.temporal.io/cloud/limits). What is longer would fail the workflow task.
SUMMARY_BYTES = 200
DETAILS_BYTES = 20_000

MEMO_TASK = "task"
"""Key of the workflow's memo: the beginning of the task, which is what lists of runs show of it."""

_TASK_CHARACTERS = 90
_READ_CHARACTERS = 2000  # of a task, for its summary
_LAST_LINES = 3
_LONGEST_LINE = 200
_LONGEST_ERROR = 2000
_NAMED_CALLS = 10
_NAMED_REQUESTS = 5
_LONGEST_ARGUMENT, _LONGEST_REASON = 120, 200  # bytes, in the state of a run
_CUT = "…"

# --- the panel ---------------------------------------------------------------------------------------------------


def details_of(state: AgentState, job_id: str, now: datetime, task: str = "") -> str:
    """A short panel as Markdown: the task, where the run stands, the end of its text, how to cancel it."""
    parts = [f"    {task}"] if task else []
    cost = cost_text(state.cost, state.budget.usd if state.budget else None)
    parts += [_standing(state, now), ", ".join(filter(None, (_tokens(state.usage), cost)))]
    if state.response_id:
        parts.append(f"response `{state.response_id}`: {state.response_status}")
    if waiting := waiting_text(state):
        parts.append(f"waiting: {waiting}")
    parts += _calls(state)
    parts += _asked(state, job_id)
    if state.request_changes:
        parts.append(f"requests are not as they were asked for: {', '.join(state.request_changes)}")
    if state.compactions:
        parts.append(str(state.compactions[-1]))
    if state.error:
        parts.append(f"error: {state.error.message[:_LONGEST_ERROR]}")
    parts += _last_lines(state.preview)
    if not state.status.is_final:
        parts.append("Cancel was requested." if state.cancel_requested else _how_to_cancel(job_id))
    # Last what can be missed: the Web UI makes its box a line too low.
    parts.append(f"as of {now:%Y-%m-%d %H:%M:%S} UTC")
    return fit("\n\n".join(parts), DETAILS_BYTES)


def _standing(state: AgentState, now: datetime) -> str:
    parts = [f"**{state.status}**", f"iteration {state.iteration} of {state.max_iterations}"]
    if state.started_at:
        seconds = int((now - state.started_at).total_seconds())
        parts.append(f"{seconds // 60}:{seconds % 60:02} after its start")
    return ", ".join(parts)


def _tokens(usage: AgentUsage) -> str:
    return f"{usage.total_tokens:,} tokens ({usage.reasoning_tokens:,} of them reasoning)"


def _calls(state: AgentState) -> list[str]:
    running = [f"`{call.name}`" for call in state.function_calls if call.status is CallStatus.RUNNING]
    more = [f"{len(running) - _NAMED_CALLS} more"] if len(running) > _NAMED_CALLS else []
    return ["function calls under way: " + ", ".join([*running[:_NAMED_CALLS], *more])] if running else []


def _asked(state: AgentState, job_id: str) -> list[str]:
    """The open questions, each with what is to be sent. Indented code: nothing that is asked can end it."""
    still_open = [request for request in state.input_requests if request.is_open]
    parts = []
    for request in still_open[:_NAMED_REQUESTS]:
        when = f"asked {request.opened_at:%Y-%m-%d %H:%M:%S} UTC"
        if request.resume_at is not None:
            when += f"; the run goes on by itself at {request.resume_at:%Y-%m-%d %H:%M:%S} UTC"
        examples = example_answers(request, state)
        sent = [json.dumps({"id": request.id, "answer": each, "by": "…"}, ensure_ascii=False) for each in examples]
        parts += [
            f"**{request.id}**, {when}:",
            _as_code(request.message.strip().splitlines()),
            f"To answer: *Send an Update*, on this page, with the name `{RESPOND}` and one of",
            _as_code(sent),
            f"or `durable-responses respond {typed(job_id, request.id)} ANSWER`.",
        ]
    more = len(still_open) - _NAMED_REQUESTS
    return [*parts, f"and {more} more questions: `durable-responses respond {typed(job_id)}`"] if more > 0 else parts


def _as_code(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _last_lines(preview: str) -> list[str]:
    # Indented code: nothing that the model writes can end it.
    lines = [line[-_LONGEST_LINE:] for line in preview.strip().splitlines()[-_LAST_LINES:]]
    return ["\n".join(f"    {line}" for line in lines)] if lines else []


def _how_to_cancel(job_id: str) -> str:
    ways = (
        "*Request Cancellation*, on this page",
        f"`temporal workflow cancel -w {shlex.quote(job_id)}`",
        f"`durable-responses cancel {typed(job_id)}`",
        "over MCP: `gpt5_agent_cancel`",
    )
    return "\n".join(["To cancel it:", "", *(f"- {way}" for way in ways)])


# --- summaries ---------------------------------------------------------------------------------------------------

_MAIN_ARGUMENTS = ("path", "file_path", "url", "query", "command", "name")


def call_summary(call: FunctionCall) -> str:
    """One line for a function call: the tool, and the argument that tells most (`read_file docs/x.md`)."""
    argument = _main_argument(call.arguments)
    return summary(f"{call.name} {argument}" if argument else call.name)


def main_argument(call: FunctionCall) -> str | None:
    """The argument that tells most of a function call, on one line (`docs/x.md`); None if it has none."""
    return redact(" ".join(_main_argument(call.arguments).split()), limit=_LONGEST_ARGUMENT) or None


def reason_of(output: str) -> str:
    """Why a call failed, on one line, from the answer that the model reads."""
    line = " ".join(output[: 4 * _LONGEST_REASON].split()).removeprefix("Error: ")
    return redact(line, limit=_LONGEST_REASON)


def _main_argument(arguments: str) -> str:
    try:
        given = read_json(arguments)
    except ValueError:  # the model is told so by the activity
        return ""
    if not isinstance(given, dict):
        return ""
    # A summary is shown in lists: what may be secret stays in the input.
    shown = {name: value for name, value in given.items() if isinstance(value, str | int) and not names_a_secret(name)}
    main = next((name for name in _MAIN_ARGUMENTS if name in shown), next(iter(shown), None))
    return str(shown[main]) if main else ""


def summary_of(request: AgentInput) -> str:
    """One line for lists of runs: the beginning of the task."""
    line = masked(" ".join(shown(well_formed(_said_by_the_user(request))).split())[:_READ_CHARACTERS])
    if not any(character.isprintable() for character in line):
        line = "(no text)"
    short = line if len(line) <= _TASK_CHARACTERS else line[: _TASK_CHARACTERS - 1].rstrip() + "…"
    return fit(short, SUMMARY_BYTES)


def task_text(request: AgentInput) -> str:
    """The text of a task, which may be input items."""
    if isinstance(request.task, str):
        return request.task
    return _text_in(request.task) or _counted(request.task)


def _said_by_the_user(request: AgentInput) -> str:
    """What names a run: of input items what the user says in them, not the instructions or what was answered before."""
    if isinstance(request.task, str):
        return request.task
    return _text_in([item for item in request.task if item.get("role") == "user"]) or task_text(request)


def _text_in(items: Sequence[dict[str, Any]]) -> str:
    contents = [item.get("content", "") for item in items]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str) and text.strip())


def _counted(items: Sequence[dict[str, Any]]) -> str:
    return "one input item" if len(items) == 1 else f"{len(items)} input items"


def summary(text: str) -> str:
    """One line, short enough for Temporal."""
    return fit(" ".join(text[:SUMMARY_BYTES].split()), SUMMARY_BYTES)


def fit(text: str, limit: int) -> str:
    """Text cut so that its JSON form, in which it travels, has at most `limit` bytes, without control characters."""
    text = shown(well_formed(text))
    if _bytes(text) <= limit:
        return text
    longest = bisect_right(range(min(len(text), limit)), limit, key=lambda end: _bytes(text[:end] + _CUT)) - 1
    return text[: max(longest, 0)].rstrip() + _CUT


def _bytes(text: str) -> int:
    return text_bytes(text) + 2
