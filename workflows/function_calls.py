"""How a run answers the function calls of one response: side by side, each an activity of its own.

Where there are approval rules, a worker first says what they mean for each call. One that needs its owner's answer
waits for it, as a question of the model does; the others run meanwhile. Whatever was decided, the worker that runs a
call goes by its own rules once more, and runs what was asked about only if it is that very call.

Part of the workflow: deterministic, owned by `AgentWorkflow`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.messages import (
        MOST_CALLS,
        CallToDecide,
        CallTool,
        DecideCalls,
        Decision,
        McpSession,
        ServerQuestion,
        ServerQuestions,
        ToolOutcome,
        ToolResult,
    )
    from durable_responses.activities.tools import ToolActivities
    from durable_responses.json_text import cut, text_bytes
    from durable_responses.mcp_tools.elicitation import (
        ACCEPT,
        DECLINE,
        NotAnAnswer,
        Question,
        misfit,
        questions_of,
        response_of,
        value_of,
    )
    from durable_responses.responses_api.models import FunctionCall, McpApprovalResponse
    from durable_responses.tools.approvals import Action, call_hash
    from durable_responses.tools.owner import ASK_OWNER, message_of, read_question
    from durable_responses.tools.registry import Effect
    from durable_responses.workflows import activity_errors, rules
    from durable_responses.workflows.answers import ALLOW, DENY
    from durable_responses.workflows.budgets import working
    from durable_responses.workflows.contract import (
        AgentInput,
        CallRecord,
        CallStatus,
        CallToApprove,
        InputRequest,
        InputRequestKind,
        InputRequestStatus,
        TaskQueue,
    )
    from durable_responses.workflows.eager_start import queue_of
    from durable_responses.workflows.input_requests import InputRequests, shorten
    from durable_responses.workflows.interruptions import DeadlinePassed, Stopped, StopRequest, ended, time_left
    from durable_responses.workflows.ledger import Ledger
    from durable_responses.workflows.payloads import UnreadablePayload, fitting, read
    from durable_responses.workflows.web_ui import call_summary, main_argument, reason_of

# The activity answers every failure of a tool itself: a retry means a lost worker. Five losses are no accident.
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=5)
_EAGER_RETRIES = replace(_RETRIES, non_retryable_error_types=[activity_errors.NOT_REGISTERED])
_ONCE = RetryPolicy(maximum_attempts=1)
_BEYOND_THE_TOOLS_OWN_TIMEOUT = timedelta(seconds=10)
# Old workers do not know this activity: then it waits for a new one.
_DECIDE_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
_APPROVALS_PATCH = "approvals"
_MOST_ROUNDS = 10  # in which an MCP server asks before it answers
_MOST_TIMES_ASKED = 3  # about one call: workers may have different rules
_LONGEST_ARGUMENTS, _LARGEST_QUESTIONS = 16 * 1024, 512 * 1024  # bytes, of one call and of all that are asked about
_LONGEST_IN_MESSAGE = 4000  # bytes
_LONGEST_ID = 256  # characters
_NO_ANSWER = (
    "Error: nobody answered in time. Go on without an answer where that is safe, and say in the end what you assumed."
)
_TAKEN_WITHIN = timedelta(seconds=3)  # by the worker that holds a call, or a session
_A_MOMENT = timedelta(milliseconds=1)  # a time-out of 0 would be none
_FORM_PATCH = "limits-of-forms"
_LIMIT_PATCH = "most-calls"
_LET_TOOLS_END = timedelta(seconds=3)


@dataclass(frozen=True)
class _Place:
    """A call with its record: the one at `position` of the `calls` of a response.

    `is_hosted`: the provider makes it, if it is told to.
    """

    call: FunctionCall
    record: CallRecord
    position: int
    calls: int
    is_hosted: bool = False


@dataclass(frozen=True)
class _Given:
    """What a call is repeated with whose MCP server has asked: the answers by key, and its state.

    `held`: the call that waits for them, at the worker that serves the task queue `held_at`.
    """

    answers: dict[str, Any]
    state: str | None = None
    held: str | None = None
    held_at: str | None = None


@dataclass
class FunctionCalls:
    """Answers the function calls of one run. `changed` is called whenever the ledger has changed."""

    request: AgentInput
    ledger: Ledger
    requests: InputRequests
    stop: StopRequest
    changed: Callable[[], None]
    _in_session: dict[ActivityHandle[ToolResult], McpSession] = field(default_factory=dict)

    async def answer(self, calls: list[FunctionCall], to_approve: Sequence[FunctionCall] = ()) -> None:
        """Execute all calls, decide about those `to_approve`, and leave the answers for the next create in the ledger.

        Raises `Stopped`, `DeadlinePassed`. What still runs then is recorded as having an unknown outcome.
        """
        left = time_left(self.ledger.deadline)
        records = self.ledger.calls_started([*calls, *to_approve])
        for call, record in zip([*calls, *to_approve], records, strict=True):
            record.argument, record.started_at = main_argument(call), workflow.now()
        self.changed()
        most = self._most(calls)
        places = [
            _Place(call, record, position, len(calls))
            for position, (call, record) in enumerate(zip(calls[:most], records, strict=False))
        ]
        hosted = [
            _Place(call, record, len(calls) + position, len(calls) + len(to_approve), is_hosted=True)
            for position, (call, record) in enumerate(zip(to_approve, records[len(calls) :], strict=True))
        ]
        places += hosted
        decisions = await self._decisions(places, left)
        running = [
            asyncio.create_task(self._ending(place, self._begun(place, decision, left)))
            for place, decision in zip(places, decisions, strict=True)
        ]
        refused = [
            self._refuse(call, record, most)
            for call, record in zip(calls[most:], records[most : len(calls)], strict=True)
        ]
        ended = await asyncio.gather(*running)
        executed, approved = ended[: len(ended) - len(hosted)], ended[len(ended) - len(hosted) :]
        if self.stop.requested:
            raise Stopped
        time_left(self.ledger.deadline)
        self.ledger.answers = [*rules.fit_outputs([*executed, *refused]), *approvals_of(approved)]

    def _most(self, calls: list[FunctionCall]) -> int:
        """How many of them are executed. Runs under way before there was a limit have executed all."""
        most = self.ledger.most_calls or MOST_CALLS
        return most if len(calls) > most and workflow.patched(_LIMIT_PATCH) else len(calls)

    def _refuse(self, call: FunctionCall, record: CallRecord, most: int) -> ToolResult:
        output = f"Error: too many calls: only the first {most} of a response are executed. Call {call.name} again."
        result = ToolResult(call_id=call.call_id, output=output, outcome=ToolOutcome.FAILED)
        self._ended(record, result)
        return result

    def _ended(self, record: CallRecord, result: ToolResult) -> None:
        record.status = CallStatus(result.outcome.value)
        if record.started_at is not None:
            record.seconds = (workflow.now() - record.started_at).total_seconds()
        if record.status is not CallStatus.SUCCEEDED:
            record.reason = reason_of(result.output)

    async def _ending(self, place: _Place, answering: Awaitable[ToolResult]) -> ToolResult:
        try:
            result = await answering
        except (Stopped, DeadlinePassed):
            result = _did_not_run(place.call, "the run ended first")
        self._ended(place.record, result)
        self.ledger.keeps_outputs |= result.kept or False
        self.ledger.keeps_images |= bool(result.images)
        self.changed()
        return result.model_copy(
            update={"call_id": place.call.call_id, "decision": None, "asks": None, "session": None}
        )

    def _begun(self, place: _Place, decision: Decision | None, left: timedelta | None) -> Awaitable[ToolResult]:
        """What answers a call. One that nobody has to be asked about is started at once."""
        if place.is_hosted:
            return self._approved(place, decision or _undecided(place.call, "no worker has decided about it"))
        if self._is_question(place):
            return self._answered(place)
        if decision is None or (decision.action is Action.ALLOW and decision.output is None):
            return self._executed(place, self._start(place, left))
        return self._decided(place, decision)

    # --- calls that are executed -----------------------------------------------------------------------------------

    def _start(
        self,
        place: _Place,
        left: timedelta | None,
        approved: str | None = None,
        given: _Given | None = None,
        *,
        eagerly: bool = True,
        where_held: bool = False,
    ) -> ActivityHandle[ToolResult]:
        """The call, begun: where the run's session with its server is, or wherever that is quickest.

        Not `eagerly`: by any worker that serves the queue of tools.
        """
        request, call = self.request, place.call
        session = self.ledger.mcp_session(call.name)
        queues = {tool.name: tool.task_queue for tool in request.caller_tools or []}
        apart = TaskQueue.TOOLS.under(workflow.info().task_queue)
        anywhere = queues.get(call.name) or (queue_of(TaskQueue.TOOLS, place.position) if eagerly else apart)
        in_session = session.queue if session is not None and eagerly and not where_held else None
        there = given.held_at if where_held and given is not None else in_session
        queue = there or anywhere
        elsewhere = _EAGER_RETRIES if queue == workflow.info().task_queue else _RETRIES
        handle = workflow.start_activity_method(
            ToolActivities.call_tool,
            fitting(
                CallTool(
                    call_id=call.call_id,
                    name=call.name,
                    arguments=call.arguments,
                    timeout=request.tool_timeout,
                    allowed=self._allowed,
                    iteration=self.ledger.state.iteration,
                    position=place.position,
                    response_id=self.ledger.state.response_id,
                    largest_output=rules.largest_output(place.calls),
                    fair_output=rules.fair_output(place.calls),
                    workspace=None if call.name in queues else request.workspace,
                    approvals=request.approvals,
                    approved=approved,
                    mcp=self.ledger.mcp_tool(call.name),
                    answers=given.answers if given else None,
                    state=given.state if given else None,
                    held=given.held if given else None,
                    session=session.id if session else None,
                )
            ),
            task_queue=queue,
            summary=call_summary(call),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            start_to_close_timeout=timedelta(seconds=request.tool_timeout) + _BEYOND_THE_TOOLS_OWN_TIMEOUT,
            schedule_to_start_timeout=_TAKEN_WITHIN if where_held or there else None,
            schedule_to_close_timeout=left,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_ONCE if in_session else elsewhere,
        )
        if in_session and session is not None:
            self._in_session[handle] = session
        return handle

    @property
    def _allowed(self) -> list[str] | None:
        request = self.request
        return None if request.tools is None else [*request.tools, *(tool.name for tool in request.caller_tools or [])]

    async def _executed(self, place: _Place, handle: ActivityHandle[ToolResult]) -> ToolResult:
        result = await self._outcome(place, handle)
        if result.asks is not None:
            return await self._after_questions(place, result, None)
        if result.decision is None or not workflow.patched(_APPROVALS_PATCH):
            return result
        return await self._decided(place, result.decision)

    async def _outcome(
        self,
        place: _Place,
        handle: ActivityHandle[ToolResult],
        approved: str | None = None,
        given: _Given | None = None,
    ) -> ToolResult:
        call = place.call
        with working(self.ledger):
            await self._done_or_stopped(handle)
            if not self.stop.requested and (_was_moved(handle) or self._is_to_be_made_elsewhere(call, handle)):
                deadline = self.ledger.deadline
                left = max(deadline - workflow.now(), _A_MOMENT) if deadline else None
                handle = self._start(place, left, approved, given, eagerly=False)
                await self._done_or_stopped(handle)
            if not handle.done():
                await _cancel(handle)
        return await self._result(call, handle) if handle.done() else _unknown(call, "it was still running")

    def _is_to_be_made_elsewhere(self, call: FunctionCall, handle: ActivityHandle[ToolResult]) -> bool:
        """Whether a call has lost the worker of its session, and may have another one, which says that it is lost."""
        session = self._in_session.pop(handle, None)
        error = handle.exception() if session is not None and handle.done() else None
        if session is None or not isinstance(error, ActivityError) or activity_errors.was_cancelled(error):
            return False
        if self.ledger.mcp_session(call.name) == session:
            self.ledger.mcp_session_is(call.name, McpSession(id=session.id))
        tool = self.ledger.mcp_tool(call.name)
        harmless = tool is not None and tool.effect is not Effect.ONCE
        return activity_errors.nobody_took(error) or harmless

    async def _done_or_stopped(self, handle: ActivityHandle[ToolResult]) -> None:
        await workflow.wait_condition(lambda: handle.done() or self.stop.requested)

    async def _result(self, call: FunctionCall, handle: ActivityHandle[ToolResult]) -> ToolResult:
        try:
            result = read(await handle)
            if result.session is not None:
                self.ledger.mcp_session_is(call.name, result.session)
            return result
        except UnreadablePayload as error:
            return _unknown(call, str(error))
        except ActivityError as error:
            if activity_errors.was_cancelled(error):
                return _unknown(call, "it was cancelled")
            workflow.logger.warning("%s (%s) had no result: %s", call.name, call.call_id, error.cause)
            return _unknown(call, "its worker was lost or its time was up")

    # --- calls that the owner is asked about -----------------------------------------------------------------------

    async def _decisions(self, places: list[_Place], left: timedelta | None) -> list[Decision | None]:
        """What the rules say of each call; None where there are no rules."""
        asked_about = [place for place in places if not self._is_question(place)]
        of_the_run = self.request.approvals
        has_rules = self.ledger.approvals or (of_the_run is not None and not of_the_run.allow_all)
        if not has_rules:  # of what the provider does by others, all is asked about
            asked_about = [place for place in asked_about if place.is_hosted]
        if not asked_about or not workflow.patched(_APPROVALS_PATCH):
            return [None for _ in places]
        try:
            decisions = await self._decisions_about(asked_about, left)
        except (Stopped, DeadlinePassed):
            for place in places:
                self._ended(place.record, _did_not_run(place.call, "the run ended first"))
            raise
        by_position = {place.position: decision for place, decision in zip(asked_about, decisions, strict=True)}
        return [by_position.get(place.position) for place in places]

    async def _decisions_about(self, places: list[_Place], left: timedelta | None) -> list[Decision]:
        given = {tool.name: tool for tool in self.request.caller_tools or []}
        calls = [
            CallToDecide(
                name=place.call.name,
                arguments=place.call.arguments,
                is_callers=True if place.call.name in given else None,
                effect=given[place.call.name].effect if place.call.name in given else None,
                is_hosted=place.is_hosted or None,
                mcp=None if place.is_hosted else self.ledger.mcp_tool(place.call.name),
            )
            for place in places
        ]
        handle = workflow.start_activity_method(
            ToolActivities.decide_calls,
            fitting(DecideCalls(calls=calls, allowed=self._allowed, approvals=self.request.approvals)),
            task_queue=TaskQueue.TOOLS.under(workflow.info().task_queue),
            summary="what the approval rules say",
            start_to_close_timeout=timedelta(minutes=5),
            schedule_to_close_timeout=left,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_DECIDE_RETRIES,
        )
        try:
            decisions = (await ended(handle, self.stop)).decisions
        except UnreadablePayload as error:
            decisions = [_undecided(place.call, str(error)) for place in places]
        except ActivityError as error:
            if activity_errors.ran_out_of_time(error):
                raise DeadlinePassed from error
            why = activity_errors.error_of(error).message
            decisions = [_undecided(place.call, why) for place in places]
        if len(decisions) != len(places):
            decisions = [_undecided(place.call, "the worker's answer is incomplete") for place in places]
        return decisions

    async def _decided(self, place: _Place, decision: Decision) -> ToolResult:
        """The answer to a call that runs only if its owner allows it, if at all. Raises `Stopped`, `DeadlinePassed`."""
        for _ in range(_MOST_TIMES_ASKED):
            if decision.output is not None:
                return ToolResult(call_id=place.call.call_id, output=decision.output, outcome=ToolOutcome.FAILED)
            asked, words = await self._approval_of(place, decision)
            if asked.answer != ALLOW:
                return _did_not_run(place.call, _why_denied(asked.status, words))
            if self.stop.requested:
                raise Stopped
            place.record.started_at = workflow.now()
            approved = asked.call.hash if asked.call else None
            handle = self._start(place, time_left(self.ledger.deadline), approved)
            result = await self._outcome(place, handle, approved)
            if result.asks is not None:
                result = await self._after_questions(place, result, approved)
            if result.decision is None:
                return _with_words(result, words)
            decision = result.decision
        return _did_not_run(place.call, "workers do not agree about its approval")

    async def _approved(self, place: _Place, decision: Decision) -> ToolResult:
        """Whether the provider may make a call. Raises `Stopped`, `DeadlinePassed`."""
        yes = ToolResult(call_id=place.call.call_id, output="", outcome=ToolOutcome.SUCCEEDED)
        if decision.output is not None:
            return ToolResult(call_id=place.call.call_id, output=decision.output, outcome=ToolOutcome.FAILED)
        if decision.action is Action.ALLOW:
            return yes
        asked, words = await self._approval_of(place, decision)
        if self.stop.requested:
            raise Stopped
        if asked.answer == ALLOW:
            return yes.model_copy(update={"output": words or ""})
        return _did_not_run(place.call, _why_denied(asked.status, words))

    async def _approval_of(self, place: _Place, decision: Decision) -> tuple[InputRequest, str | None]:
        """The closed request whether a call may be made, and what its owner has said beside the answer."""
        asked = self._ask_for_approval(place, decision)
        await self._closed(place, asked)
        words = asked.words
        shorten(asked)
        return asked, words

    async def _closed(self, place: _Place, request: InputRequest) -> None:
        """Wait as `InputRequests.closed` does; meanwhile the call is shown to wait."""
        place.record.waits_for = request.id
        try:
            await self.requests.closed(request)
        finally:
            place.record.waits_for = None

    def _ask_for_approval(self, place: _Place, decision: Decision) -> InputRequest:
        call = place.call
        longest = min(_LONGEST_ARGUMENTS, _LARGEST_QUESTIONS // place.calls)
        because = f" {decision.reason.rstrip('.')}." if decision.reason else ""
        said = cut(exact(cut(call.arguments, _LONGEST_IN_MESSAGE)), _LONGEST_IN_MESSAGE)
        tool = None if place.is_hosted else self.ledger.mcp_tool(call.name)
        server = rules.server_of(call) if place.is_hosted else tool.server if tool else None
        where = f", at the provider by the MCP server {_on_one_line(server)}," if place.is_hosted and server else ""
        return self.requests.open(
            InputRequestKind.APPROVAL,
            f"The model wants to call {_on_one_line(call.name)}{where} with {said}\nAnswer {ALLOW} or {DENY}.{because}",
            (ALLOW, DENY),
            call=CallToApprove(
                call_id=call.call_id[:_LONGEST_ID],
                name=call.name,
                arguments=cut(call.arguments, longest),
                size=text_bytes(call.arguments),
                hash=call_hash(call.name, call.arguments),
                effect=decision.effect,
                reason=decision.reason,
                server=server,
            ),
        )

    # --- questions of MCP servers ----------------------------------------------------------------------------------

    async def _after_questions(self, place: _Place, result: ToolResult, approved: str | None) -> ToolResult:
        """The result of a call whose MCP server asks before it answers. Raises `Stopped`, `DeadlinePassed`.

        The owner is asked, and the call is made again with the answers, as often as the server asks.
        """
        tool = self.ledger.mcp_tool(place.call.name)
        server = tool.server if tool is not None else place.call.name
        before: dict[str, Any] = {}
        for _ in range(_MOST_ROUNDS):
            if (asks := result.asks) is None:
                return result
            try:
                answers = {each.key: await self._answer_for(place, server, each) for each in asks.questions}
                if self.stop.requested:
                    raise Stopped
                left = time_left(self.ledger.deadline)
            except (Stopped, DeadlinePassed):
                await self._let_go(place, approved, asks)
                raise
            if asks.held is None:
                result = await self._repeated(place, left, approved, _Given(answers, asks.state))
                continue
            # All answers so far: if the call has to be made again, its server may ask all of it again.
            before |= answers
            result = await self._gone_on(place, left, approved, _Given(before, None, asks.held, asks.held_at))
        if result.asks is None:
            return result
        await self._let_go(place, approved, result.asks)
        return _did_not_run(place.call, "its MCP server asks again and again")

    async def _repeated(self, place: _Place, left: timedelta | None, approved: str | None, given: _Given) -> ToolResult:
        return await self._outcome(place, self._start(place, left, approved, given), approved, given)

    async def _gone_on(self, place: _Place, left: timedelta | None, approved: str | None, given: _Given) -> ToolResult:
        """The result of a call that its worker has kept waiting. If that worker is lost, another one knows what to do.

        Which is by the tool's effect: to make the call again, or to say that its outcome is unknown.
        """
        handle = self._start(place, left, approved, given, where_held=True)
        with working(self.ledger):
            await self._done_or_stopped(handle)
            if not handle.done():
                await _cancel(handle)
        error = handle.exception() if handle.done() else None
        if isinstance(error, ActivityError) and activity_errors.nobody_took(error):
            return await self._repeated(place, time_left(self.ledger.deadline), approved, given)
        return await self._result(place.call, handle) if handle.done() else _unknown(place.call, "it was still running")

    async def _let_go(self, place: _Place, approved: str | None, asks: ServerQuestions) -> None:
        """Cancel what the server of a call that waits has asked, for nobody will answer it."""
        if asks.held is None:
            return
        answers = {each.key: response_of(None) for each in asks.questions}
        given = _Given(answers, None, asks.held, asks.held_at)
        handle = self._start(place, _LET_TOOLS_END, approved, given, where_held=True)
        try:
            await workflow.wait_condition(handle.done, timeout=_LET_TOOLS_END, timeout_summary="the tools are ending")
        except TimeoutError:
            handle.cancel()

    async def _answer_for(self, place: _Place, server: str, asked: ServerQuestion) -> Any:
        values: dict[str, Any] = {}
        questions = questions_of(server, asked.message, asked.fields, asked.url)
        for question in questions:
            said = await self._said_to(place, question, asked)
            if said is None:
                return response_of(None)
            if said.strip().casefold() == DECLINE:
                return response_of(None, declined=True)
            if question.field is not None:
                values[question.field] = value_of(said, asked.fields, question.field)
        return response_of(values, asks_for_values=asked.url is None)

    async def _said_to(self, place: _Place, question: Question, asked: ServerQuestion) -> str | None:
        """What the owner says to a question, once it answers it; None where nobody does."""
        text = question.text
        for _ in range(_MOST_TIMES_ASKED):
            request = self.requests.open(InputRequestKind.QUESTION, exact(text), question.choices)
            await self._closed(place, request)
            said = request.answer
            shorten(request)
            if said is None:
                return None
            try:
                if question.field is not None and said.strip().casefold() != DECLINE:
                    value = value_of(said, asked.fields, question.field)
                    problem = misfit(value, asked.fields, question.field)
                    if problem is not None and workflow.patched(_FORM_PATCH):
                        raise NotAnAnswer(problem)
                elif question.field is None and said.strip().casefold() not in (ACCEPT, DECLINE):
                    raise NotAnAnswer(f"{ACCEPT} or {DECLINE} is wanted")
            except NotAnAnswer as error:
                text = f"{question.text}\n({cut(said, _LONGEST_ID)!r} cannot be taken: {error}.)"
                continue
            return said
        return None

    # --- questions of the model ------------------------------------------------------------------------------------

    def _is_question(self, place: _Place) -> bool:
        return self.request.allow_questions and not place.is_hosted and place.call.name == ASK_OWNER

    async def _answered(self, place: _Place) -> ToolResult:
        """The owner's answer to a question. Raises `Stopped`, `DeadlinePassed`."""
        call = place.call
        try:
            question = read_question(call.arguments)
        except ValueError as error:
            return ToolResult(call_id=call.call_id, output=f"Error: {error}", outcome=ToolOutcome.FAILED)
        asked = self.requests.open(InputRequestKind.QUESTION, message_of(question), question.choices)
        await self._closed(place, asked)
        answer = asked.answer
        shorten(asked)
        if answer is None:
            return ToolResult(call_id=call.call_id, output=_NO_ANSWER, outcome=ToolOutcome.FAILED)
        return ToolResult(call_id=call.call_id, output=answer)


def _was_moved(handle: ActivityHandle[ToolResult]) -> bool:
    error = handle.exception() if handle.done() else None
    return isinstance(error, ActivityError) and activity_errors.was_moved(error)


async def _cancel(handle: ActivityHandle[ToolResult]) -> None:
    """Tell a tool to stop and give it a moment: a blocking one cannot be stopped and keeps running."""
    handle.cancel()
    try:
        await workflow.wait_condition(handle.done, timeout=_LET_TOOLS_END, timeout_summary="the tools are ending")
    except TimeoutError:
        workflow.logger.warning("A tool did not stop within %s.", _LET_TOOLS_END)


def _unknown(call: FunctionCall, why: str) -> ToolResult:
    output = f"Error: the outcome of {call.name} is unknown: {why}. Check before repeating it."
    return ToolResult(call_id=call.call_id, output=output, outcome=ToolOutcome.UNKNOWN)


def _did_not_run(call: FunctionCall, why: str) -> ToolResult:
    output = f"Error: {call.name} did not run: {why}."
    return ToolResult(call_id=call.call_id, output=output, outcome=ToolOutcome.FAILED)


def approvals_of(decided: Sequence[ToolResult]) -> list[McpApprovalResponse]:
    """One answer for each id. Where a provider has given several requests the same one, what is denied is denied:
    nobody could tell which of them an approval is for.
    """
    answers: dict[str, McpApprovalResponse] = {}
    for each in decided:
        approve, known = each.outcome is ToolOutcome.SUCCEEDED, answers.get(each.call_id)
        if known is None or (known.approve and not approve):
            answers[each.call_id] = McpApprovalResponse(
                approval_request_id=each.call_id, approve=approve, reason=each.output or None
            )
    return list(answers.values())


def _undecided(call: FunctionCall, why: str) -> Decision:
    output = f"Error: {call.name} did not run: nobody could say whether it may ({why.rstrip('.')})."
    return Decision(action=Action.DENY, output=output)


def _why_denied(status: InputRequestStatus, words: str | None) -> str:
    if status is InputRequestStatus.EXPIRED:
        return "it needs its owner's approval, and nobody answered in time"
    return f'its owner denied it and says: "{words}"' if words else "its owner denied it"


def _with_words(result: ToolResult, words: str | None) -> ToolResult:
    if not words:
        return result
    return result.model_copy(update={"output": f'{result.output}\n\n(Your owner allowed this and says: "{words}")'})


def _on_one_line(name: str) -> str:
    """A name as it is shown: with line ends it could bring words of its own into the question."""
    return exact(name).replace("\n", "\\n").replace("\t", "\\t")


def exact(text: str) -> str:
    """Text as it is shown to whoever decides about it: what cannot be seen is written as JSON would escape it."""
    return "".join(char if char.isprintable() or char in "\n\t" else json.dumps(char)[1:-1] for char in text)
