"""`AgentWorkflow`: one agent run, from the task to the answer. `workflows.contract` says how to use it.

The loop is an inner task. `run` waits for it and turns Temporal's cancel into the same request to stop that the
`cancel` signal makes; so no await inside the loop is ever cancelled from outside, and every step can clean up
before it ends.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    # Not `from durable_responses.workflows import …`: the sandbox would load those modules a second time.
    import durable_responses.workflows.activity_errors as activity_errors
    import durable_responses.workflows.interruptions as interruptions
    import durable_responses.workflows.rules as rules
    from durable_responses.activities.artifacts import ArtifactActivities
    from durable_responses.activities.messages import (
        REPORT_PROGRESS,
        FailureType,
        ListTools,
        SaveOptions,
    )
    from durable_responses.activities.tool_lists import ToolListActivities
    from durable_responses.json_text import json_bytes
    from durable_responses.mcp_tools.names import servers_of
    from durable_responses.workflows.answers import STOP
    from durable_responses.workflows.contract import (
        CANCEL_SIGNAL,
        PROGRESS_QUERY,
        REFUSED_ANSWER,
        RESPOND,
        STEER_SIGNAL,
        WORKFLOW_TYPE,
        AgentError,
        AgentInput,
        AgentResult,
        AgentState,
        AgentStatus,
        IncompleteReason,
        InputRequest,
        InputRequestKind,
        Limit,
        OnLimit,
        TaskQueue,
    )
    from durable_responses.workflows.file_saving import FileSaving
    from durable_responses.workflows.function_calls import FunctionCalls
    from durable_responses.workflows.input_requests import InputRequests
    from durable_responses.workflows.ledger import Ledger
    from durable_responses.workflows.payloads import DATA_ERRORS, Unreadable, UnreadablePayload, fitting, read
    from durable_responses.workflows.response_source import ResponseSource
    from durable_responses.workflows.search_attributes import ShownSearchAttributes, attributes_to_carry
    from durable_responses.workflows.steering import SteeringMessages
    from durable_responses.workflows.web_ui import MEMO_TASK, details_of, summary, summary_of

_BOUNDS_PATCH = "bounded-input"
_NAMED_PATCH = "task-in-memo"
_HOSTED_PATCH = "hosted-approvals"
_ONE_ARGUMENT = "The run takes one argument, its input; give no second one."
# A server may need a moment; one that has failed so often needs its owner.
_LIST_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=5)
_LISTED_WITHIN = timedelta(minutes=10)
_SAVE_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=5)


@dataclass(frozen=True)
class Cancel:
    """The run was told to stop."""


@dataclass(frozen=True)
class ContinueAsNew:
    """History has grown long: the run continues in a new one."""


Ending = rules.Finish | rules.Incomplete | rules.Fail | Cancel


@workflow.defn(name=WORKFLOW_TYPE)
class AgentWorkflow:
    """One agent run."""

    @workflow.init
    def __init__(self, request: Any = None, carried: Any = None, *surplus: Any) -> None:  # noqa: ARG002
        self._stop = interruptions.StopRequest()
        self._ledger, self._unusable = _restored(carried)
        self._steering = SteeringMessages(self._ledger)
        self._requests = InputRequests(self._ledger, self._stop, self._changed)
        self._input: AgentInput | None = None
        self._task = ""  # its beginning
        self._shown = ShownSearchAttributes()
        self._suggested_at = 0  # bytes of history, when a new one was suggested first

    @workflow.run
    async def run(self, request: Any = None, carried: Any = None, *surplus: Any) -> AgentResult:
        """Take the task to its end: an `AgentInput` in, an `AgentResult` out.

        A failed run raises `ApplicationError` with the result as its detail; one that Temporal's own cancel ended is
        closed as Canceled. `carried` is the ledger of the run before a continue-as-new; nobody else gives it.
        Parameters are `Any` because input that does not decode would fail the workflow task for ever.
        """
        try:
            agent_input = self._begin(request, carried, surplus)
            ending = await self._ending_of(agent_input)
            if isinstance(ending, ContinueAsNew):
                workflow.continue_as_new(
                    args=[agent_input, self._ledger.to_carry(json_bytes(agent_input))],
                    search_attributes=attributes_to_carry(),
                )
            result = await self._conclude(ending, agent_input)
        except DATA_ERRORS as error:  # the last net: failing the workflow task would have it repeated for ever
            _log_unusable(error)
            result = AgentResult(status=AgentStatus.FAILED, error=rules.unusable_data(error))
        return self._close(result)

    # --- the story -----------------------------------------------------------------------------------------------

    def _begin(self, request: Any, carried: Any, surplus: Sequence[Any]) -> AgentInput:
        try:
            agent_input = self._parsed(request)
            if self._unusable is not None:
                raise self._unusable
        except ValidationError:
            raise self._refused(_ONE_ARGUMENT) from None
        except ValueError as error:
            raise self._refused(str(error)) from None
        if surplus:
            raise self._refused(_ONE_ARGUMENT)
        if carried is None:
            self._ledger.begin(agent_input, workflow.now())
        self._input, self._task = agent_input, summary_of(agent_input)
        self._name(self._task)
        self._changed()
        return agent_input

    def _name(self, task: str) -> None:
        """Lists show nothing of a run but its memo and summary, and other clients than ours give neither.

        What a run adds to its memo is lost when it is continued as new, so each continuation adds it again.
        """
        if MEMO_TASK not in workflow.info().raw_memo and workflow.patched(_NAMED_PATCH):
            workflow.upsert_memo({MEMO_TASK: task})

    def _parsed(self, request: Any) -> AgentInput:
        if isinstance(request, Unreadable):
            raise rules.unusable_input(request.why)
        agent_input = rules.parse_input(request, bounded=False)
        problems = rules.out_of_bounds(agent_input)
        # Runs that began before there were bounds go on without them.
        if problems and workflow.patched(_BOUNDS_PATCH):
            raise rules.unusable_input(*problems)
        return agent_input

    def _refused(self, why: str) -> ApplicationError:
        result = AgentResult(status=AgentStatus.FAILED, error=AgentError(type=FailureType.INVALID_INPUT, message=why))
        self._show_end(result)
        return _failure(result)

    async def _ending_of(self, agent_input: AgentInput) -> Ending | ContinueAsNew:
        loop = asyncio.create_task(self._loop(agent_input))
        lateness = asyncio.create_task(self._ask_at_the_deadline()) if self._ledger.asks_at else None
        await self._done(loop)
        if lateness is not None:
            lateness.cancel()
        ending = loop.result()
        # Told to stop in this very moment: a new history would know nothing of it.
        return Cancel() if isinstance(ending, ContinueAsNew) and self._stop.requested else ending

    async def _loop(self, agent_input: AgentInput) -> Ending | ContinueAsNew:
        files = FileSaving(agent_input, self._ledger, self._stop, self._changed)
        ending = await self._loop_to_its_end(agent_input, files)
        await files.ended()
        return ending

    async def _loop_to_its_end(self, agent_input: AgentInput, files: FileSaving) -> Ending | ContinueAsNew:
        try:
            return await self._iterate(agent_input, files)
        except interruptions.Stopped:
            return rules.Incomplete(IncompleteReason.DEADLINE) if self._stop.is_late else Cancel()
        except interruptions.DeadlinePassed:
            return rules.Incomplete(IncompleteReason.DEADLINE)
        except interruptions.RunFailed as failure:
            return rules.Fail(failure.error)
        except interruptions.BudgetSpent as spent:
            self._ledger.state.error = spent.error
            return rules.Incomplete(IncompleteReason.BUDGET)
        except DATA_ERRORS as error:  # failing the workflow task would have it repeated for ever
            _log_unusable(error)
            return rules.Fail(rules.unusable_data(error))

    async def _iterate(self, agent_input: AgentInput, files: FileSaving) -> Ending | ContinueAsNew:
        source = ResponseSource(
            agent_input, self._ledger, self._steering, self._requests, self._stop, self._changed, files
        )
        function_calls = FunctionCalls(agent_input, self._ledger, self._requests, self._stop, self._changed)
        await self._list_tools(agent_input)
        while not self._is_to_continue_as_new(agent_input):
            await self._when_there_is_time()
            self._ledger.begin_iteration()
            self._changed()
            try:
                response = await source.next_response()
            except interruptions.HistoryFull:
                break
            left = self._ledger.iterations_left
            step = rules.next_step(response, iterations_left=left)
            if step == rules.Incomplete(IncompleteReason.MAX_ITERATIONS) and await self._more_iterations(agent_input):
                step = rules.next_step(response, iterations_left=self._ledger.iterations_left)
            if isinstance(step, rules.RunTools) and step.to_approve and not workflow.patched(_HOSTED_PATCH):
                return rules.unanswerable(response)  # as such runs have ended
            if isinstance(step, rules.RunTools):
                await function_calls.answer(step.calls, step.to_approve)
            elif not (self._steering.are_waiting and rules.continues_with_steering(step, iterations_left=left)):
                return step
        await source.keep_conversation()
        return ContinueAsNew()

    async def _list_tools(self, agent_input: AgentInput) -> None:
        """Know the tools of the run's MCP servers; they stay the same. Raises as `interruptions.ended`, `RunFailed`."""
        servers = servers_of(agent_input.mcp_servers, agent_input.tools)
        if not servers or self._ledger.mcp_tools is not None:
            return
        self._ledger.waits_quietly("the MCP servers list their tools", workflow.now())
        self._changed()
        left = interruptions.time_left(self._ledger.deadline)
        handle = workflow.start_activity_method(
            ToolListActivities.list_tools,
            fitting(ListTools(servers=servers, tools=agent_input.tools, approvals=agent_input.approvals)),
            task_queue=TaskQueue.TOOLS.under(workflow.info().task_queue),
            summary=summary(f"the tools of {', '.join(servers)}"),
            start_to_close_timeout=_LISTED_WITHIN,
            schedule_to_close_timeout=left,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_LIST_RETRIES,
        )
        try:
            listed = await interruptions.ended(handle, self._stop)
            self._ledger.mcp_tools, self._ledger.hosted_servers = listed.tools, listed.hosted
            self._ledger.mcp_sessions = listed.sessions
        except ActivityError as error:
            if activity_errors.ran_out_of_time(error):
                raise interruptions.DeadlinePassed from error
            raise interruptions.RunFailed(activity_errors.error_of(error)) from error

    async def _when_there_is_time(self) -> None:
        """Return once the run may go on: at once, or when its owner has given it more time. Raises `Stopped`."""
        asked = self._requests.still_open(Limit.DEADLINE)
        if asked is not None:
            await self._requests.over(asked)
        if self._stop.requested:
            raise interruptions.Stopped

    async def _more_iterations(self, agent_input: AgentInput) -> bool:
        """Whether the owner allows more iterations than the run may have, if they want to be asked."""
        if agent_input.on_max_iterations is OnLimit.STOP:
            return False
        state = self._ledger.state
        asked = self._requests.open(
            InputRequestKind.LIMIT,
            f"The run has had all iterations that it may have ({state.iteration}), and the model asks for more calls. "
            f"Answer the total that it may have, or {STOP}.",
            (STOP,),
            limit=Limit.MAX_ITERATIONS,
        )
        closed = await self._requests.closed(asked)
        if closed.answer is None or closed.answer == STOP:
            return False
        state.max_iterations = int(closed.answer)
        self._changed()
        return True

    async def _ask_at_the_deadline(self) -> None:
        """Ask for more time whenever the run's is up. What is under way goes on meanwhile; nothing new is begun."""
        while self._ledger.asks_at is not None:
            asked = self._requests.still_open(Limit.DEADLINE)
            if asked is None:
                await workflow.sleep(max(self._ledger.asks_at - workflow.now(), timedelta(0)), summary="the deadline")
                asked = self._requests.open(
                    InputRequestKind.LIMIT,
                    f"The run's time is up. Answer the seconds that it may go on, or {STOP}.",
                    (STOP,),
                    limit=Limit.DEADLINE,
                )
            try:
                await self._requests.closed(asked)
            except interruptions.Stopped:
                return
            if asked.answer is None or asked.answer == STOP:
                self._stop.for_lateness()
                return
            self._ledger.asks_at = self._ledger.state.deadline = workflow.now() + timedelta(seconds=float(asked.answer))
            self._changed()

    def _is_to_continue_as_new(self, agent_input: AgentInput) -> bool:
        # What would not fit now fits after the next response: then its answers have been given.
        if not workflow.info().is_continue_as_new_suggested() or not self._ledger.fits_beside(json_bytes(agent_input)):
            return False
        # A conversation that is sent in full has to be put down each time: that is done as rarely as may be.
        size = workflow.info().get_current_history_size()
        self._suggested_at = self._suggested_at or size
        return not self._ledger.sends_all or size >= rules.late_for_new_history(self._suggested_at)

    async def _done(self, loop: "asyncio.Task[Ending | ContinueAsNew]") -> None:
        while not loop.done():
            try:
                await workflow.wait_condition(loop.done)
            except asyncio.CancelledError:
                reason = workflow.cancellation_reason()
                if reason is None:  # nobody asked for it: this instance is being evicted from the cache
                    raise
                self._stop.make(reason or None)
                self._changed()

    # --- the end -------------------------------------------------------------------------------------------------

    async def _conclude(self, ending: Ending, agent_input: AgentInput) -> AgentResult:
        result = self._ledger.result()
        match ending:
            case rules.Finish():
                result.status = AgentStatus.COMPLETED
                result.structured_output = rules.structured_output(agent_input, result.output_text)
            case rules.Incomplete(reason):
                result.status = AgentStatus.INCOMPLETE
                result.incomplete_reason = reason
                if reason != IncompleteReason.BUDGET:
                    is_late = reason == IncompleteReason.DEADLINE
                    result.error = rules.late_because(self._ledger.state) if is_late else None
            case Cancel():
                result.status = AgentStatus.CANCELLED
                result.cancel_reason = self._stop.reason
            case rules.Fail(error):
                result.status = AgentStatus.FAILED
                result.error = error
        if agent_input.save is not None and rules.worth_saving(result):
            await self._save(agent_input.save, agent_input, result)
        else:
            result.artifact_path = self._ledger.whole_text
        self._show_end(result)
        return result

    async def _save(self, options: SaveOptions, agent_input: AgentInput, result: AgentResult) -> None:
        self._ledger.waits_quietly("the result is being saved", workflow.now())
        self._changed()
        try:
            saved = await workflow.execute_activity_method(
                ArtifactActivities.save_artifact,
                fitting(rules.artifact_of(options, agent_input, result, workflow.now(), self._ledger.whole_text)),
                task_queue=TaskQueue.AGENTS.under(workflow.info().task_queue),
                summary="save the result",
                start_to_close_timeout=timedelta(seconds=30),
                schedule_to_close_timeout=timedelta(minutes=5),
                heartbeat_timeout=timedelta(seconds=5),
                retry_policy=_SAVE_RETRIES,
            )
            result.artifact_path = read(saved).path
        except ActivityError as error:  # reported, but no reason to lose the answer
            result.artifact_error = activity_errors.error_of(error).message
        except DATA_ERRORS as error:
            result.artifact_error = rules.unusable_data(error).message

    def _show_end(self, result: AgentResult) -> None:
        rules.fit_result(result)
        self._steering.run_ended()
        self._requests.run_ended()
        self._ledger.state.status = result.status
        self._ledger.state.error = result.error
        self._ledger.state.waiting = None
        self._changed()

    def _close(self, result: AgentResult) -> AgentResult:
        if result.status is AgentStatus.FAILED:
            raise _failure(result)
        if result.status is AgentStatus.CANCELLED and workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError(result.cancel_reason)
        return result

    # --- messages ------------------------------------------------------------------------------------------------
    # Handlers take anything: a payload that does not decode would be dropped, a surplus argument jams the run.

    @workflow.signal(name=CANCEL_SIGNAL)
    def cancel(self, reason: Any = None, *_: Any) -> None:
        """End the run with status `cancelled`. `reason`: text, shown in the result."""
        self._stop.make(reason if isinstance(reason, str) else None)
        self._changed()

    @workflow.signal(name=STEER_SIGNAL)
    def steer(self, message: Any = None, *_: Any) -> None:
        """Tell the model something while it works. `message`: text, shown in the state with what became of it."""
        self._steering.receive(message)
        self._changed()

    @workflow.update(name=RESPOND)
    def respond(self, answer: Any = None, *more: Any) -> InputRequest:
        """Answer what the run asks its owner: a `Respond`, the answer alone, or id and answer. Returns the request."""
        try:
            return self._requests.respond(answer, *more)
        except DATA_ERRORS as error:
            raise _refused_answer(error) from None

    @respond.validator
    def _check_answer(self, answer: Any = None, *more: Any) -> None:
        """Refuse what is not an answer, before anything is written to history."""
        try:
            self._requests.check(answer, *more)
        except DATA_ERRORS as error:
            raise _refused_answer(error) from None

    @workflow.signal(name=RESPOND)
    def respond_by_signal(self, answer: Any = None, *more: Any) -> None:
        """The same, for those who cannot send an update. What is not an answer is logged, and asked for again."""
        try:
            self._requests.respond(answer, *more)
        except DATA_ERRORS as error:
            self._requests.not_taken(str(error), answer, *more)
            workflow.logger.warning("A %s signal did not hold an answer: %s", RESPOND, error)

    @workflow.signal(name=REPORT_PROGRESS)
    def report_progress(self, report: Any = None, *_: Any) -> None:
        """Internal: an activity tells of a response under way (`ProgressReport`)."""
        try:
            self._ledger.progress_reported(rules.parse_report(report))
        except ValueError:
            workflow.logger.warning("A %s signal did not hold a report.", REPORT_PROGRESS)
        self._changed()

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self, *_: Any) -> AgentState:
        """The run's state, also after its end."""
        return self._ledger.state

    def _changed(self) -> None:
        state = self._ledger.state
        state.cancel_requested = self._stop.requested
        state.updated_at = workflow.now()
        try:
            if self._input is not None:
                self._shown.show(self._input, state, registered=self._ledger.search_attributes)
        except DATA_ERRORS:  # no run ends for what is only shown
            workflow.logger.exception("What the run is doing cannot be shown.")

    def panel(self) -> str:
        """What the Web UI and Temporal's command line show of the run, as Markdown. For who asks: it changes often."""
        state = self._ledger.state
        try:
            return details_of(state, workflow.info().workflow_id, state.updated_at or workflow.now(), self._task)
        except DATA_ERRORS:
            workflow.logger.exception("What the run is doing cannot be described.")
            return ""


def _restored(carried: Any) -> tuple[Ledger, Exception | None]:
    """The ledger that a history begins with, or why it cannot be used.

    Updates are checked before the run begins, so what they are about must be there.
    """
    if carried is None:
        return Ledger(state=AgentState()), None
    try:
        ledger = Ledger.model_validate(carried)
    except DATA_ERRORS as error:
        return Ledger(state=AgentState()), error
    if ledger.conversation is not None:
        ledger.conversation.start = None  # it stands in this history's first event, where activities read it
    return ledger, None


def _refused_answer(error: Exception) -> ApplicationError:
    return ApplicationError(str(error), type=REFUSED_ANSWER, non_retryable=True)


def _log_unusable(error: Exception) -> None:
    # What an operator gave as an activity's result is no mistake of ours.
    workflow.logger.error(
        "The run ends: it met data that it cannot use: %s", error, exc_info=not isinstance(error, UnreadablePayload)
    )


def _failure(result: AgentResult) -> ApplicationError:
    """What closes a failed run: the error's sentence, with the whole result as its detail."""
    error = result.error or AgentError(type="error", message="The run failed.")
    return ApplicationError(error.message, result, type=error.type, non_retryable=True)
