"""What a run asks its owner: how that is shown, what can be typed, and what is meant by what was typed. No I/O."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError
from rich.text import Text

from durable_responses.cli.times import age, duration
from durable_responses.jobs.job_view import JobView
from durable_responses.settings import Duration
from durable_responses.shell_words import typed
from durable_responses.shown_text import shown, shown_on_one_line
from durable_responses.workflows import answers
from durable_responses.workflows.contract import AgentState, AgentStatus, InputRequest, Limit
from durable_responses.workflows.example_answers import SOME_TEXT, example_answers, takes_text

_PANEL_LINES, _LONGEST_LINE = 6, 500
_SHORT_PROMPT = 50
_ID = re.compile(r"[a-z]+-[1-9][0-9]*")

# --- what is open ------------------------------------------------------------------------------------------------


def is_request_id(word: str) -> bool:
    """Whether a word has the form of the id of an input request: `refusal-1`."""
    return _ID.fullmatch(word) is not None


# --- how it is shown ---------------------------------------------------------------------------------------------


def standing_of(request: InputRequest, now: datetime) -> str:
    """`refusal-1, asked 3 minutes ago; the run goes on by itself in 9:12 (at 02:10:00 UTC)`."""
    parts = [f"{request.id}, asked {age(request.opened_at, now)}"]
    if request.resume_at is not None:
        parts.append(f"the run goes on by itself {_when(request.resume_at, now)}")
    if request.expires_at is not None:
        taken = f"{request.default} is taken" if request.default is not None else "it is closed"
        parts.append(f"{taken} {_when(request.expires_at, now)}")
    return shown_on_one_line("; ".join(parts))


def question_lines(request: InputRequest, now: datetime, *, in_full: bool = True) -> list[Text]:
    """The question, for a terminal; not in full, it leaves room for the rest of a panel."""
    lines = shown(request.message).strip().splitlines()
    if not in_full:
        more = ["…"] if len(lines) > _PANEL_LINES else []
        lines = [*(line[:_LONGEST_LINE] for line in lines[:_PANEL_LINES]), *more]
    told = [Text(standing_of(request, now), style="bold yellow"), *map(Text, lines)]
    if request.not_taken:
        told.append(Text(f"Not taken: {shown_on_one_line(request.not_taken)}", style="yellow"))
    return told


def ways_to_answer(job_id: str, request: InputRequest, state: AgentState) -> list[str]:
    """A line for each answer, with the command that gives it, ready to paste."""
    examples = [shown_on_one_line(example) for example in example_answers(request, state)]
    names = ["in your words" if example == SOME_TEXT else example for example in examples]
    width = max(map(len, names), default=0)
    commands = [_command(shown(job_id), request.id, example) for example in examples]
    return [f"  {name:{width}}  {command}" for name, command in zip(names, commands, strict=True)]


def asked_lines(view: JobView, now: datetime) -> list[Text]:
    """All open questions of a run with the ways to answer them, for a panel; where they are unknown, how to ask."""
    lines: list[Text] = []
    for request in view.open_requests:
        lines += question_lines(request, now, in_full=False)
        lines += [Text(way, overflow="fold") for way in ways_to_answer(view.job_id, request, view.state)]
    if not lines and view.state.status is AgentStatus.INPUT_REQUIRED:
        job = typed(shown(view.job_id))
        lines.append(Text(f"What it asks is known to its worker only: durable-responses respond {job}", style="yellow"))
    return lines


def asked_in_short(view: JobView, now: datetime) -> list[str]:
    """A line for each open question, for lists."""
    return [f"{standing_of(request, now)}: {shown_on_one_line(request.message)}" for request in view.open_requests]


def request_changes(before: JobView | None, view: JobView) -> list[str]:
    """What was asked and answered since, for a log: what to type stands on lines of its own."""
    known = {(request.id, request.asked_as): request.status for request in before.input_requests} if before else {}
    lines = []
    for request in view.input_requests:
        status = known.get((request.id, request.asked_as))
        if request.is_open and status is None and not view.is_closed:
            lines.append(f"{request.id}: {shown_on_one_line(request.message)}")
            lines += ways_to_answer(view.job_id, request, view.state)
        elif not request.is_open and status != request.status and before is not None:
            lines.append(outcome_line(request))
    return lines


def outcome_line(request: InputRequest) -> str:
    """`refusal-1: answered retry by Ada`."""
    return shown_on_one_line(f"{request.id}: {answers.outcome(request)}")


def _when(moment: datetime, now: datetime) -> str:
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    left = max(moment - now, timedelta(0))
    return f"in {duration(left)} (at {day}{moment:%H:%M:%S} UTC)"


def _command(*words: str) -> str:
    return f"durable-responses respond {typed(*words)}".replace(f"'{SOME_TEXT}'", f'"{SOME_TEXT}"')


# --- what is typed -----------------------------------------------------------------------------------------------


_EDITOR = "e"


class Typed(StrEnum):
    """What a line says at the prompt, beside an answer: later, in an editor, or nothing that one can make sense of."""

    LATER = "later"
    EDITOR = "editor"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Answer:
    """An answer, as it is sent."""

    text: str


def prompt_of(request: InputRequest) -> str:
    """What to type, behind which it is typed."""
    if not takes_text(request):
        numbers = {Limit.DEADLINE: "a time such as 30m", Limit.USD: "a total in USD", Limit.TOKENS: "a total of tokens"}
        numbers[Limit.WORKING_SECONDS] = "a total of seconds"
        offered = [*([numbers.get(request.limit, "a number")] if request.limit else []), *request.choices]
        told = f"Type {' or '.join(offered)}"
    elif _allows(request):
        told = "y allows, n denies, other words deny and tell the model why; e: your editor"
    elif request.choices:
        editor = "" if _EDITOR in request.choices else f"; {_EDITOR} opens your editor"
        told = f"Type 1 to {len(request.choices)}, or an answer in your own words{editor}"
    else:
        told = "Type your answer; e opens your editor"
    # What is too long for a narrow terminal would be broken inside a word.
    return f"{told}.{' ' if len(told) < _SHORT_PROMPT else chr(10)}Enter alone leaves it open: "


def choice_lines(request: InputRequest) -> list[Text]:
    """The choices of a question, numbered as they can be typed."""
    if not takes_text(request) or _allows(request):
        return []
    return [Text(f"  {n}  {shown_on_one_line(choice)}") for n, choice in enumerate(request.choices, 1)]


def meaning_of(line: str, request: InputRequest) -> Answer | Typed:
    """What was typed at the prompt."""
    word = line.strip()
    if not word:
        return Typed.LATER
    if not takes_text(request):
        chosen = [choice for choice in request.choices if choice.casefold().startswith(word.casefold())]
        if len(chosen) == 1:
            return Answer(chosen[0])
        return Typed.UNCLEAR if request.limit is None else Answer(answer_text(word, request))
    if word == _EDITOR and _EDITOR not in request.choices:
        return Typed.EDITOR
    if _allows(request):
        return Typed.UNCLEAR if "\n" in word else Answer(word)
    if word.isdecimal() and 1 <= int(word) <= len(request.choices) and word not in request.choices:
        return Answer(request.choices[int(word) - 1])
    return Answer(word)


def answer_text(text: str, request: InputRequest | None) -> str:
    """An answer as the run takes it: more time may be told as `30m`."""
    if request is None or request.limit is not Limit.DEADLINE:
        return text
    try:
        time: timedelta = TypeAdapter(Duration).validate_python(text.strip())
    except ValidationError:
        return text  # the run says what is wrong with it
    return f"{time.total_seconds():.12g}" if time <= answers.LONGEST_EXTENSION else text


def is_answered_like(text: str, request: InputRequest) -> bool:
    """Whether a request that is over was answered with these words."""
    if request.answer is None:
        return False
    from durable_responses.jobs.responding import as_meant  # loads Temporal's client, which whoever asks has anyway

    try:
        return answers.accepted(as_meant(text, request.id), request, AgentState()) == request.answer
    except ValueError:
        return text == request.answer


def _allows(request: InputRequest) -> bool:
    return request.kind.value == "approval"


# --- in an editor ------------------------------------------------------------------------------------------------

_BELOW = "# --- Your answer stands above this line; nothing below it is sent. An empty answer leaves the question open."


def editor_text(request: InputRequest) -> str:
    """What an editor is opened with."""
    lines = [request.id, "", *shown(request.message).strip().splitlines()]
    lines += [line.plain for line in choice_lines(request)]
    return "\n".join(["", "", _BELOW, *(f"# {line}".rstrip() for line in lines)]) + "\n"


def edited(text: str) -> str:
    """The answer that was written in an editor."""
    return text.partition(_BELOW)[0].strip()
