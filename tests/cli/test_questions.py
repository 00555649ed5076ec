"""What a run asks, without a terminal: how it is shown, and what is meant by what was typed."""

from datetime import timedelta
from typing import Any

import pytest

from durable_responses.cli.questions import (
    Answer,
    Typed,
    answer_text,
    asked_lines,
    edited,
    editor_text,
    meaning_of,
    prompt_of,
    question_lines,
    request_changes,
    standing_of,
    ways_to_answer,
)
from durable_responses.workflows.contract import (
    AgentState,
    AgentStatus,
    InputRequest,
    InputRequestKind,
    InputRequestStatus,
    Limit,
)
from tests.cli.test_screen import BEGAN, NOW, view_of


def request(kind: InputRequestKind, **fields: Any) -> InputRequest:
    return InputRequest.model_validate(
        {"id": f"{kind.value}-1", "kind": kind, "message": "Well?", "opened_at": BEGAN, **fields}
    )


REFUSAL = request(InputRequestKind.REFUSAL, choices=["retry", "stop"])
MORE = request(InputRequestKind.LIMIT, choices=["stop"], limit=Limit.MAX_ITERATIONS)
TIME = request(InputRequestKind.LIMIT, choices=["stop"], limit=Limit.DEADLINE)
APPROVAL = request(InputRequestKind.APPROVAL, choices=["allow", "deny"])
CHOICE = request(InputRequestKind.QUESTION, choices=["the first", "the second"])
QUESTION = request(InputRequestKind.QUESTION)


@pytest.mark.parametrize(
    ("asked", "line", "meant"),
    [
        (REFUSAL, "\n", Typed.LATER),
        (REFUSAL, "", Typed.LATER),
        (REFUSAL, "Retry\n", Answer("retry")),
        (REFUSAL, "s\n", Answer("stop")),
        (REFUSAL, "y\n", Typed.UNCLEAR),
        (MORE, "12\n", Answer("12")),
        (MORE, "st\n", Answer("stop")),
        (TIME, "30m\n", Answer("1800")),
        (TIME, "90\n", Answer("90")),
        (APPROVAL, "y\n", Answer("y")),
        (APPROVAL, "not today\n", Answer("not today")),
        (APPROVAL, "y\ny\n", Typed.UNCLEAR),
        (APPROVAL, "ok, but not today\n", Answer("ok, but not today")),
        (CHOICE, "ok\n", Answer("ok")),
        (APPROVAL, "e\n", Typed.EDITOR),
        (CHOICE, "2\n", Answer("the second")),
        (CHOICE, "3\n", Answer("3")),
        (CHOICE, "both\n", Answer("both")),
        (QUESTION, "One.\nTwo.\n", Answer("One.\nTwo.")),
        (QUESTION, "e\n", Typed.EDITOR),
    ],
)
def test_what_is_typed_is_taken_as_it_is_meant(asked: InputRequest, line: str, meant: Answer | Typed) -> None:
    assert meaning_of(line, asked) == meant


@pytest.mark.parametrize(
    ("asked", "commands"),
    [
        (REFUSAL, ["refusal-1 retry", "refusal-1 stop"]),
        (MORE, ["limit-1 20", "limit-1 stop"]),
        (TIME, ["limit-1 600", "limit-1 stop"]),
        (APPROVAL, ["approval-1 allow", "approval-1 deny", 'approval-1 "…"']),
        (CHOICE, ["question-1 'the first'", "question-1 'the second'", 'question-1 "…"']),
        (QUESTION, ['question-1 "…"']),
    ],
)
def test_every_answer_has_a_command_to_paste(asked: InputRequest, commands: list[str]) -> None:
    ways = ways_to_answer("agent-1", asked, AgentState(iteration=10, max_iterations=10))
    assert [way.partition("durable-responses respond agent-1 ")[2] for way in ways] == commands


def test_a_question_says_since_when_it_is_open_and_when_the_run_goes_on_by_itself() -> None:
    asked = REFUSAL.model_copy(update={"resume_at": NOW + timedelta(minutes=5), "not_taken": "No."})
    said = "refusal-1, asked 41 seconds ago; the run goes on by itself in 5:00 (at 12:05:41 UTC)"
    assert standing_of(asked, NOW) == said
    assert [line.plain for line in question_lines(asked, NOW)] == [said, "Well?", "Not taken: No."]


def test_a_question_cannot_write_to_the_terminal() -> None:
    evil = QUESTION.model_copy(update={"message": "\x1b]0;owned\x07Well?\x1b[2J"})
    view = view_of(status=AgentStatus.INPUT_REQUIRED, input_requests=[evil])
    told = [*(line.plain for line in asked_lines(view, NOW)), *request_changes(None, view), editor_text(evil)]
    assert not any("\x1b" in line or "owned" in line for line in told)


def test_a_log_is_told_each_question_once_and_what_became_of_it() -> None:
    before = view_of()
    asked = view_of(status=AgentStatus.INPUT_REQUIRED, input_requests=[REFUSAL])
    answered = REFUSAL.model_copy(update={"status": InputRequestStatus.ANSWERED, "answer": "retry", "by": "Ada"})
    assert request_changes(before, asked)[0] == "refusal-1: Well?"
    assert request_changes(asked, asked) == []
    assert request_changes(asked, view_of(input_requests=[answered])) == ["refusal-1: answered retry by Ada"]
    again = REFUSAL.model_copy(update={"asked_as": 2})
    assert request_changes(asked, view_of(status=AgentStatus.INPUT_REQUIRED, input_requests=[again]))


def test_without_a_worker_one_is_told_how_to_see_the_question() -> None:
    [line] = asked_lines(view_of(status=AgentStatus.INPUT_REQUIRED), NOW)
    assert line.plain.endswith("durable-responses respond agent-1")


def test_what_stands_below_the_line_of_the_editor_is_not_sent() -> None:
    text = editor_text(CHOICE)
    assert "# Well?" in text
    assert "the second" in text
    assert edited(text) == ""
    assert edited("# A heading\n\nAll of it.\n" + text) == "# A heading\n\nAll of it."


def test_a_time_of_ones_own_is_left_to_the_run() -> None:
    assert answer_text("soon", TIME) == "soon"
    assert answer_text("30m", MORE) == "30m"


@pytest.mark.parametrize(
    ("said", "sent"),
    [("30m", "1800"), ("1234567", "1234567"), ("0.5h", "1800"), ("31d", "31d"), ("soon", "soon"), ("stop", "stop")],
)
def test_more_time_is_sent_in_seconds_and_what_is_no_time_as_it_was_typed(said: str, sent: str) -> None:
    assert answer_text(said, TIME) == sent


def test_the_editor_is_not_offered_where_its_letter_is_a_choice() -> None:
    asked = request(InputRequestKind.QUESTION, choices=["d", "e"])
    assert "editor" not in prompt_of(asked)
    assert meaning_of("e\n", asked) == Answer("e")
    assert "e opens your editor" in prompt_of(CHOICE)
