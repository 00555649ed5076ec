"""The input requests of a run: what it asks its owner, and how it waits for the answer.

Part of the workflow: deterministic, owned by `AgentWorkflow`. All that is remembered is in the ledger, so a request
survives a continue-as-new. Waiting costs nothing: no activity, no heartbeat, at most one timer each. Nothing here
awaits but `closed`, so the handlers of `respond` may call the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from durable_responses.json_text import cut
    from durable_responses.shown_text import shown
    from durable_responses.workflows import answers
    from durable_responses.workflows.answers import DENY, STOP
    from durable_responses.workflows.contract import (
        AgentError,
        AgentStatus,
        CallToApprove,
        InputRequest,
        InputRequestKind,
        InputRequestStatus,
        Limit,
        Respond,
    )
    from durable_responses.workflows.interruptions import DeadlinePassed, Stopped, StopRequest
    from durable_responses.workflows.ledger import Ledger

_SHOWN_REQUESTS = 100  # beside those that are open
_KEPT = 500  # bytes of what was asked and said, once it has been used
_LONGEST_MESSAGE = 8000  # bytes
_MOST_REPEATS = 100
"""Answers given again that are accepted in one run: each adds two events to its history, and an update may be sent
2,000 times."""


def short(text: str | None) -> str | None:
    """A text as it is kept when it has been used."""
    return None if text is None else cut(text, _KEPT)


def shorten(request: InputRequest) -> None:
    """Keep of a request that has been dealt with what shows what it was."""
    request.answer, request.words = short(request.answer), short(request.words)
    if request.call is not None:
        request.call.arguments = cut(request.call.arguments, _KEPT)


@dataclass
class InputRequests:
    """What one run has asked its owner. `changed` is called whenever the ledger has changed."""

    ledger: Ledger
    stop: StopRequest
    changed: Callable[[], None]

    # --- asking --------------------------------------------------------------------------------------------------

    def open(
        self,
        kind: InputRequestKind,
        message: str,
        choices: Sequence[str],
        *,
        limit: Limit | None = None,
        at_least: float | None = None,
        error: AgentError | None = None,
        call: CallToApprove | None = None,
        resume_at: datetime | None = None,
    ) -> InputRequest:
        """Ask the owner."""
        ledger, now = self.ledger, workflow.now()
        ledger.requests_opened += 1
        expires_at = now + timedelta(seconds=ledger.answer_within) if ledger.answer_within else None
        defaults = {InputRequestKind.APPROVAL: DENY, InputRequestKind.QUESTION: None}
        request = InputRequest(
            id=f"{kind.value}-{ledger.requests_opened}",
            kind=kind,
            message=cut(shown(message), _LONGEST_MESSAGE),
            choices=list(choices),
            limit=limit,
            at_least=at_least,
            error=error,
            call=call,
            opened_at=now,
            resume_at=resume_at,
            expires_at=expires_at,
            default=defaults.get(kind, STOP) if expires_at else None,
        )
        self._ask(request)
        asked = [*ledger.state.input_requests, request]
        closed = [old for old in asked if not old.is_open]
        forgotten = {old.id for old in closed[:-_SHOWN_REQUESTS]}
        ledger.state.input_requests = [old for old in asked if old.id not in forgotten]
        self._settle()
        return request

    def still_open(self, limit: Limit) -> InputRequest | None:
        """The open request about a limit, asked before a new history began for instance."""
        requests = self.ledger.state.input_requests
        return next((request for request in requests if request.is_open and request.limit is limit), None)

    async def closed(self, request: InputRequest) -> InputRequest:
        """Wait until a request is answered, or over by itself. Raises `Stopped`, `DeadlinePassed`."""
        ends = [time for time in (request.resume_at, request.expires_at, self.ledger.deadline) if time is not None]
        timeout = max(min(ends) - workflow.now(), timedelta(0)) if ends else None
        try:
            await workflow.wait_condition(
                lambda: not request.is_open or self.stop.requested,
                timeout=timeout,
                timeout_summary=f"{request.id} is open",
            )
        except TimeoutError:
            if request.is_open:  # the answer and the time may have come while there was no worker
                self._time_is_over(request)
        if request.is_open or (self.stop.requested and request.answer is None):
            self._close(request, InputRequestStatus.WITHDRAWN)
            raise Stopped
        return request

    async def over(self, request: InputRequest) -> None:
        """Wait until a request is no longer open, or the run is to stop."""
        await workflow.wait_condition(lambda: not request.is_open or self.stop.requested)

    def _time_is_over(self, request: InputRequest) -> None:
        now = workflow.now()
        if self.ledger.deadline is not None and now >= self.ledger.deadline:
            self._close(request, InputRequestStatus.WITHDRAWN)
            raise DeadlinePassed
        if request.resume_at is not None and now >= request.resume_at:
            self._close(request, InputRequestStatus.RESUMED)
        else:
            request.answer = request.default
            self._close(request, InputRequestStatus.EXPIRED)

    def run_ended(self) -> None:
        """Nothing can be answered any more."""
        for request in self.ledger.state.input_requests:
            if request.is_open:
                request.status, request.closed_at = InputRequestStatus.WITHDRAWN, workflow.now()
            shorten(request)

    # --- answers -------------------------------------------------------------------------------------------------

    def check(self, *arguments: object) -> None:
        """Raise `ValueError` for what does not answer an open request, nor repeats the answer that one was given."""
        self._checked(arguments)

    def respond(self, *arguments: object) -> InputRequest:
        """Take an answer. Returns the request with it. Raises `ValueError` as `check`."""
        respond, request, kept = self._checked(arguments)
        if kept is None:
            self.ledger.repeats += 1
            return request
        request.answer = kept
        request.words = answers.words_of(respond.answer, request)
        request.by = answers.named(respond.by)
        self._close(request, InputRequestStatus.ANSWERED)
        return request

    def not_taken(self, why: str, *arguments: object) -> None:
        """What came by signal does not answer: its request is asked again, if it names one that is open."""
        try:
            _, request = self._meant(arguments)
        except ValueError:
            return
        if request.is_open:
            request.not_taken = cut(why, _LONGEST_MESSAGE)
            self._ask(request)
            self.changed()

    def _meant(self, arguments: Sequence[object]) -> tuple[Respond, InputRequest]:
        """What is said, and to which request."""
        respond = answers.respond_of(arguments)
        return respond, answers.request_for(respond, self.ledger.state.input_requests, workflow.now())

    def _checked(self, arguments: Sequence[object]) -> tuple[Respond, InputRequest, str | None]:
        """The same, and the answer as it is kept; None for one that was given before."""
        respond, request = self._meant(arguments)
        if self._is_repeated(respond.answer, request):
            if self.ledger.repeats >= _MOST_REPEATS:
                answers.check_open(request)
            return respond, request, None
        answers.check_open(request)
        return respond, request, answers.accepted(respond.answer, request, self.ledger.state)

    def _ask(self, request: InputRequest) -> None:
        self.ledger.times_asked += 1
        request.asked_as = self.ledger.times_asked

    def _is_repeated(self, answer: object, request: InputRequest) -> bool:
        if request.status is not InputRequestStatus.ANSWERED:
            return False
        try:
            given = [answers.accepted(answer, request, self.ledger.state), answers.words_of(answer, request)]
            return [request.answer, request.words] in (given, [*map(short, given)])
        except ValueError:
            return str(answer) == request.answer

    def _close(self, request: InputRequest, status: InputRequestStatus) -> None:
        request.status, request.closed_at = status, workflow.now()
        self._settle()

    def _settle(self) -> None:
        state = self.ledger.state
        if any(request.is_open for request in state.input_requests):
            state.status = AgentStatus.INPUT_REQUIRED
        else:
            state.status = AgentStatus.RUNNING if state.response_id else AgentStatus.QUEUED
        self.changed()
