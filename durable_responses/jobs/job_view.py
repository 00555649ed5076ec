"""A job at one moment, as clients see it, and how two views of it become one. Plain Python."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from durable_responses.activities.messages import PREVIEW_CHARACTERS
from durable_responses.workflows.contract import AgentResult, AgentState, AgentStatus, InputRequest

# What is paused where an operator has paused a workflow, and no activity of it.
THE_RUN = "the run"


class Source(StrEnum):
    """Who told a state: the run's worker, the Temporal server's records, or nobody (what was known before)."""

    WORKER = "worker"
    SERVER = "server"
    EARLIER = "earlier"


class JobView(BaseModel):
    """A job at one moment.

    `result` is there once the run has closed. `worker_seen_at`: when a worker last polled, if lately. Where the
    source is not the worker, tokens and function calls of an open run are not known. `task_attempt`: a workflow task
    that is tried again and again means that the worker cannot carry on with the run. `memo`: as given to `start`.
    `paused`: the activities that an operator has paused, by name, and `THE_RUN` if all of it is. `absent_build`: the
    build that the run is pinned to, if no worker of it answers. `last_sign`: when anything was last heard of an open
    run.
    """

    job_id: str
    run_id: str
    summary: str | None = None
    tenant: str | None = None
    state: AgentState
    result: AgentResult | None = None
    source: Source
    worker_running: bool
    worker_seen_at: datetime | None = None
    closed_at: datetime | None = None
    task_attempt: int = 0
    memo: Mapping[str, Any] = {}
    paused: list[str] = []
    absent_build: str | None = None
    last_sign: datetime | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the run has ended and its result is there."""
        return self.result is not None

    @property
    def input_requests(self) -> list[InputRequest]:
        """All that the run has asked its owner, as far as it is known."""
        return self.result.requests if self.result and self.result.requests else self.state.input_requests

    @property
    def open_requests(self) -> list[InputRequest]:
        """What it asks at the moment."""
        return [] if self.is_closed else [request for request in self.state.input_requests if request.is_open]

    def elapsed(self, now: datetime) -> timedelta:
        """How long the run took, or has taken so far."""
        return max((self.closed_at or now) - (self.state.started_at or now), timedelta(0))


def is_news(view: JobView, before: JobView) -> bool:
    """Whether anything has changed, except that a worker has polled again, or that there was a sign of life."""
    same = {"worker_seen_at": before.worker_seen_at, "last_sign": before.last_sign}
    return view.model_copy(update=same) != before


def with_what_was_known(view: JobView, before: JobView) -> JobView:
    """A view of an open run that lacks nothing which was known before: a lost worker takes no text off the screen."""
    state, known = view.state, before.state
    kept: dict[str, object] = {}
    if view.source is Source.SERVER:
        kept["function_calls"] = state.function_calls or known.function_calls
        if state.status is AgentStatus.INPUT_REQUIRED:
            kept["input_requests"] = known.input_requests
        kept["usage"] = max(state.usage, known.usage, key=lambda usage: usage.total_tokens)
    if state.response_id == known.response_id:
        kept["response_status"] = state.response_status or known.response_status
        if state.preview in known.preview:
            kept["preview"] = known.preview
    return view if view.is_closed else view.model_copy(update={"state": state.model_copy(update=kept)})


_TOLD_OF_BOTH = ("response_id", "model", "usage", "cost", "ambiguous_creates", "request_changes", "in_full")


def closed_state(state: AgentState, result: AgentResult, closed_at: datetime | None) -> AgentState:
    """The state of a run that has closed: how it closed in Temporal is the truth, whatever was known before."""
    told = {name: getattr(result, name) for name in _TOLD_OF_BOTH}
    told["input_requests"] = result.requests or state.input_requests
    if result.output_text and not state.preview:
        told["preview"] = result.output_text[-PREVIEW_CHARACTERS:]
    ended = {"status": result.status, "error": result.error, "updated_at": closed_at}
    if result.iterations == 0:  # closed from outside: the result tells no more than how
        return state.model_copy(update=ended)
    return state.model_copy(update={**told, "iteration": result.iterations, **ended})


def full_result(result: AgentResult, state: AgentState) -> AgentResult:
    """A result that Temporal could tell nothing of but its status, with what is known of the run."""
    if result.iterations > 0:
        return result
    known = {name: getattr(state, name) for name in _TOLD_OF_BOTH}
    return result.model_copy(update={**known, "iterations": state.iteration})


def with_live_text(preview: str, live: str) -> str:
    """The preview of a run, brought up to date with the text so far of the response that is being written.

    `preview` ends with some part of that text, or with none of it: where it still fits, what stood before remains.
    """
    shortest, longest = 0, min(len(preview), len(live))
    while shortest < longest:  # each shorter end of a piece of `live` is a piece of it too: halving finds the longest
        middle = (shortest + longest + 1) // 2
        if preview[-middle:] in live:
            shortest = middle
        else:
            longest = middle - 1
    return (preview[: len(preview) - shortest] + live)[-PREVIEW_CHARACTERS:]
