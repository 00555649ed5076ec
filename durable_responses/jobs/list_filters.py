"""What is wrong with a list filter, as it was typed: Temporal speaks of the whole query, and of its own SQL."""

import re

from durable_responses.nearest_name import did_you_mean
from durable_responses.workflows.search_attributes import KEYS

CALIBRATION = ")"
"""A query whose first character is wrong: where Temporal says that this is, is where every query begins."""

_SYNTAX = re.compile(r"syntax error at position (\d+)(?: near '(.*)')?", re.DOTALL)
_NAME = re.compile(r"column name '([^']+)' is not a valid search attribute")
_STATUS = re.compile(r"invalid ExecutionStatus value '?([^' ]+)'?")
_OURS = [key.name for key in KEYS]
_TEMPORALS = ["CloseTime", "ExecutionStatus", "RunId", "StartTime", "TaskQueue", "WorkflowId", "WorkflowType"]
_STATUSES = ["Running", "Completed", "Failed", "Canceled", "Terminated", "TimedOut", "ContinuedAsNew"]


def position_in(refusal: str) -> int | None:
    """The position of a syntax error in a refusal of Temporal's; None for a refusal of another kind."""
    found = _SYNTAX.search(refusal)
    return int(found[1]) if found else None


def reason(refusal: str, where: str, before: int, start: int | None) -> str:
    """Why a filter was refused, as the end of a sentence.

    `before` characters of ours stood before the filter; `start` is the position of `CALIBRATION`, if that is known.
    """
    if found := _SYNTAX.search(refusal):
        return _place(int(found[1]), found[2], where, before, start)
    told = re.sub(r"^Temporal refused: ", "", refusal).rstrip(".")
    told = re.sub(r"^invalid query: (invalid expression: )?", "", told)
    if found := _NAME.search(refusal):
        name = found[1]
        missing = f" The namespace does not have {name} yet: `durable-responses doctor` says what to do."
        return f"{told}.{missing if name in _OURS else did_you_mean(name, [*_OURS, *_TEMPORALS], by=str.lower)}"
    near = did_you_mean(found[1], _STATUSES, by=str.lower) if (found := _STATUS.search(refusal)) else ""
    return f"{told}.{near}"


def _place(position: int, near: str | None, where: str, before: int, start: int | None) -> str:
    if start is None:
        return "it has a syntax error."
    last = position - start - before + 1
    if last > len(where):
        return "it has a syntax error at its end."
    # Temporal has read the word that it stumbles over, and says it in small letters.
    first = last - len(near) + 1 if near and where[:last].lower().endswith(near.lower()) else last
    return f"it has a syntax error at character {first}, {where[first - 1 : last]!r}."
