"""How a run answers the function calls of one response: side by side, each an activity of its own.

Part of the workflow: deterministic, owned by `AgentWorkflow`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.messages import MOST_CALLS, CallTool, ToolOutcome, ToolResult
    from durable_responses.activities.tools import ToolActivities
    from durable_responses.responses_api.models import FunctionCall
    from durable_responses.workflows import activity_errors, rules
    from durable_responses.workflows.contract import AgentInput, CallRecord, CallStatus, TaskQueue
    from durable_responses.workflows.interruptions import Stopped, StopRequest, time_left
    from durable_responses.workflows.ledger import Ledger
    from durable_responses.workflows.payloads import UnreadablePayload, fitting, read
    from durable_responses.workflows.web_ui import call_summary, main_argument, reason_of

# The activity answers every failure of a tool itself: a retry means a lost worker. Five losses are no accident.
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=5)
_BEYOND_THE_TOOLS_OWN_TIMEOUT = timedelta(seconds=10)
_LIMIT_PATCH = "most-calls"
_LET_TOOLS_END = timedelta(seconds=3)


@dataclass
class FunctionCalls:
    """Answers the function calls of one run. `changed` is called whenever the ledger has changed."""

    request: AgentInput
    ledger: Ledger
    stop: StopRequest
    changed: Callable[[], None]

    async def answer(self, calls: list[FunctionCall]) -> None:
        """Execute all calls and leave their answers in the ledger, for the next create.

        Raises `Stopped`, `DeadlinePassed`. What still runs then is recorded as having an unknown outcome.
        """
        left = time_left(self.ledger.deadline)
        records = self.ledger.calls_started(calls)
        for call, record in zip(calls, records, strict=True):
            record.argument, record.started_at = main_argument(call), workflow.now()
        self.changed()
        most = self._most(calls)
        running = [
            asyncio.create_task(self._answer(call, record, self._start(call, position, len(calls), left)))
            for position, (call, record) in enumerate(zip(calls[:most], records, strict=False))
        ]
        refused = [self._refuse(call, record, most) for call, record in zip(calls[most:], records[most:], strict=True)]
        results = [*await asyncio.gather(*running), *refused]
        if self.stop.requested:
            raise Stopped
        time_left(self.ledger.deadline)
        self.ledger.answers = rules.fit_outputs(results)

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

    def _start(
        self, call: FunctionCall, position: int, calls: int, left: timedelta | None
    ) -> ActivityHandle[ToolResult]:
        request = self.request
        queues = {tool.name: tool.task_queue for tool in request.caller_tools or []}
        return workflow.start_activity_method(
            ToolActivities.call_tool,
            fitting(
                CallTool(
                    call_id=call.call_id,
                    name=call.name,
                    arguments=call.arguments,
                    timeout=request.tool_timeout,
                    allowed=None if request.tools is None else [*request.tools, *queues],
                    iteration=self.ledger.state.iteration,
                    position=position,
                    response_id=self.ledger.state.response_id,
                    largest_output=rules.largest_output(calls),
                    workspace=None if call.name in queues else request.workspace,
                )
            ),
            task_queue=queues.get(call.name) or TaskQueue.TOOLS.under(workflow.info().task_queue),
            summary=call_summary(call),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            start_to_close_timeout=timedelta(seconds=request.tool_timeout) + _BEYOND_THE_TOOLS_OWN_TIMEOUT,
            schedule_to_close_timeout=left,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_RETRIES,
        )

    async def _answer(self, call: FunctionCall, record: CallRecord, handle: ActivityHandle[ToolResult]) -> ToolResult:
        await workflow.wait_condition(lambda: handle.done() or self.stop.requested)
        if not handle.done():
            await _cancel(handle)
        result = await self._result(call, handle) if handle.done() else _unknown(call, "it was still running")
        self._ended(record, result)
        self.changed()
        return result.model_copy(update={"call_id": call.call_id})

    async def _result(self, call: FunctionCall, handle: ActivityHandle[ToolResult]) -> ToolResult:
        try:
            return read(await handle)
        except UnreadablePayload as error:
            return _unknown(call, str(error))
        except ActivityError as error:
            if activity_errors.was_cancelled(error):
                return _unknown(call, "it was cancelled")
            workflow.logger.warning("%s (%s) had no result: %s", call.name, call.call_id, error.cause)
            return _unknown(call, "its worker was lost or its time was up")


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
