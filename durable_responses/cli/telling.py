"""What happened in a run, for `show`: on a terminal and in a pipe, as Markdown, and as one JSON object. Pure."""

import json
import re
from datetime import datetime

from pydantic import BaseModel
from rich.text import Text

from durable_responses.activities.messages import ListedTools
from durable_responses.cli.questions import outcome_line
from durable_responses.cli.reports import JobReport
from durable_responses.cli.screen import (
    call_line,
    continued_by,
    head_of,
    ids_of,
    notices,
    particulars,
    seconds_in_words,
    tokens,
)
from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.story import CallStep, ResponseStep, Story
from durable_responses.responses_api.redaction import without_secrets
from durable_responses.shown_text import shown
from durable_responses.workflows.contract import AgentInput, AgentResult, CallRecord, CallStatus, InputRequest
from durable_responses.workflows.costs import usd
from durable_responses.workflows.web_ui import task_text

_MOST_LINES = 6  # of a text on a terminal; Markdown and JSON have all of it
_LONGEST_LINE = 300
_LONG_WAIT = 1.0  # seconds: shorter ones are not worth a word


class JobStory(BaseModel):
    """`show --json`: the state of a job, its result once it has ended, all of its steps in order; what it continues."""

    job: JobReport
    request: AgentInput | None
    result: AgentResult | None
    steps: list[ResponseStep | CallStep]
    is_whole: bool
    mcp: ListedTools | None = None
    continues: str | None = None


def printable(request: AgentInput | None) -> AgentInput | None:
    """What a run was asked for, without the keys that stand in what is passed on to the provider as it is."""
    if request is None:
        return None
    passed_on = {"hosted_tools": request.hosted_tools, "extra_body": request.extra_body}
    return request.model_copy(update=without_secrets(passed_on))


def lines_of(view: JobView, story: Story, web_ui: str | None, now: datetime) -> list[Text]:
    """All steps for a reader; long texts are cut, and say so."""
    lines = [head_of(view, now)[0], *(Text(line) for line in _cut_lines(_task_of(view, story)))]
    if not story.is_whole:
        lines.append(Text(_BEGINNING_IS_GONE, style="yellow"))
    if changes := notices(view, now).get("changes"):
        lines.append(Text(changes, style="yellow"))
    lines += [Text(shown(line), style="dim") for line in _about_servers(story)]
    for step in story.steps:
        if isinstance(step, ResponseStep):
            lines += [Text(), Text(_about_response(step), style="bold")]
            lines += [Text(f"   {line}", style="dim") for line in _cut_lines(step.text)]
        else:
            lines.append(Text(f"   {_about_call(step)}"))
            lines.append(Text(f"     {_cut(step.arguments)}", style="dim"))
            lines += [Text(f"     → {line}", style="dim") for line in _cut_lines(step.output or "")]
        lines += [Text(f"   {fact}", style="yellow") for fact in _facts(step)]
    lines.append(Text())
    for request in view.input_requests:
        lines.append(Text(_about_request(request), style="bold"))
        lines += [Text(f"   {line}", style="dim") for line in _cut_lines(request.message)]
    if view.result is not None:
        lines += [Text(line) for line in particulars(view.result)]
    return [*lines, *ids_of(view, web_ui)]


def markdown_of(view: JobView, story: Story, now: datetime) -> str:
    """All steps as a Markdown document, with every text in full."""
    parts = [f"# {view.job_id}", head_of(view, now)[0].plain, shown(_task_of(view, story))]
    if before := continued_by(view):
        parts.append(shown(f"Continues {before}."))
    if not story.is_whole:
        parts.append(_BEGINNING_IS_GONE)
    parts.append(notices(view, now).get("changes", ""))
    parts.append("\n".join(f"- {shown(line)}" for line in _about_servers(story)))
    for step in story.steps:
        if isinstance(step, ResponseStep):
            parts.append(f"## {_about_response(step)}")
            parts += [shown(text).strip() for text in (step.reasoning_summary, step.text) if text]
        else:
            parts += [f"### {_about_call(step)}", _fenced(_pretty(step.arguments), "json")]
            parts += [_fenced(shown(step.output).strip())] if step.output else []
        parts += [f"- {fact}" for fact in _facts(step)]
    for request in view.input_requests:
        parts += [f"### {_about_request(request)}", shown(request.message).strip()]
    if view.result is not None:
        parts += ["\n".join(f"- {line}" for line in particulars(view.result))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _task_of(view: JobView, story: Story) -> str:
    return task_text(story.request) if story.request else view.summary or ""


_BEGINNING_IS_GONE = "The beginning of the run is no longer kept by Temporal."


def _about_response(step: ResponseStep) -> str:
    parts = [f"{step.iteration or '?'}. {step.status}"]
    parts += [step.model] if step.model else []
    parts += [step.transport] if step.transport else []
    parts += [seconds_in_words(step.seconds)] if step.seconds is not None else []
    parts += [tokens(step.usage)] if step.usage is not None else []
    parts += [usd(step.cost.usd)] if step.cost is not None and step.cost.usd is not None else []
    parts += [step.response_id] if step.response_id else []
    return shown(" · ".join(parts))


def _about_servers(story: Story) -> list[str]:
    """A line for each MCP server of the run: how many of its tools were offered, and what is to be said of them."""
    if story.mcp is None:
        return []
    left_out = story.mcp.left_out or []
    lines = [f"MCP server {name}, which the provider speaks to" for name in story.mcp.hosted or {}]
    for server in dict.fromkeys([*(tool.server for tool in story.mcp.tools), *(tool.server for tool in left_out)]):
        offered = [tool for tool in story.mcp.tools if tool.server == server]
        loose = [tool.tool for tool in offered if tool.strict is False]
        line = f"MCP server {server}: {len(offered)} tool{'' if len(offered) == 1 else 's'}"
        line += f"; schema not strict: {', '.join(loose)}" if loose else ""
        others = [f"{tool.tool} ({tool.reason})" for tool in left_out if tool.server == server]
        lines.append(line + (f"; not offered: {', '.join(others)}" if others else ""))
    return lines


def _about_request(request: InputRequest) -> str:
    return f"{outcome_line(request)} (asked {request.opened_at:%Y-%m-%d %H:%M:%S} UTC)"


def _about_call(step: CallStep) -> str:
    status = CallStatus(step.status) if step.status in set(CallStatus) else CallStatus.UNKNOWN
    record = CallRecord(call_id=step.call_id, name=step.name, iteration=0, status=status, seconds=step.seconds)
    return call_line(record)


def _facts(step: ResponseStep | CallStep) -> list[str]:
    """What was unusual: waiting, attempts, errors."""
    facts = []
    if isinstance(step, CallStep) and step.server_tool is not None:
        server, _, tool = step.server_tool.partition(".")
        facts += [shown(f"called {tool} of the MCP server {server}")] if step.name != f"{server}__{tool}" else []
        facts += [shown(f"its server asked: {question}") for question in step.asked or []]
    if step.waited_seconds is not None and step.waited_seconds >= _LONG_WAIT:
        facts.append(f"waited {seconds_in_words(step.waited_seconds)} before it was begun")
    if step.retried_because:
        facts.append(shown(f"begun again: {step.retried_because}"))
    if step.error:
        facts.append(shown(f"{step.status}: {step.error}"))
    return facts


def _cut_lines(text: str) -> list[str]:
    lines = shown(text).strip().splitlines()
    if len(lines) <= _MOST_LINES + 1:
        return list(map(_cut, lines))
    return [*map(_cut, lines[:_MOST_LINES]), f"… {len(lines) - _MOST_LINES} more lines (--markdown has all)"]


def _cut(line: str) -> str:
    line = " ".join(shown(line).split())
    return line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "…"


def _pretty(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return shown(arguments)


def _fenced(text: str, language: str = "") -> str:
    """A code block that nothing in the text can end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
