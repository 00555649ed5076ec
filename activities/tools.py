"""Executing the model's function calls. Whatever goes wrong becomes text that the model reads, never a failed run."""

import asyncio
import traceback
from collections.abc import Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from temporalio import activity
from temporalio.service import RPCError

from durable_responses.activities.claims import Claim, Claims, came_first
from durable_responses.activities.eager_start import EagerStart
from durable_responses.activities.failures import moved
from durable_responses.activities.heartbeats import Heartbeats
from durable_responses.activities.inputs import InputError, workspace_of
from durable_responses.activities.messages import (
    CallToDecide,
    CallTool,
    DecideCalls,
    Decision,
    Decisions,
    McpSession,
    PinnedTool,
    ServerQuestion,
    ServerQuestions,
    ToolHeartbeat,
    ToolOutcome,
    ToolResult,
)
from durable_responses.activities.run_sessions import has_ended
from durable_responses.activities.tool_lists import called_tool
from durable_responses.json_text import cut, text_bytes
from durable_responses.mcp_tools.calls import McpTool, OutcomeUnknown
from durable_responses.mcp_tools.effects import stricter
from durable_responses.mcp_tools.names import dotted
from durable_responses.mcp_tools.sessions import Answer, AsksFirst, Caller, Given, SessionReplaced, Sessions
from durable_responses.responses_api.models import FunctionTool
from durable_responses.responses_api.redaction import NO_SECRETS, Secrets, redact
from durable_responses.tools import outputs
from durable_responses.tools.approvals import (
    Action,
    Approvals,
    JudgedCall,
    Verdict,
    call_hash,
    given_form,
    judge,
    judge_hosted,
)
from durable_responses.tools.images import Image
from durable_responses.tools.loops import ToolLoops
from durable_responses.tools.registry import Effect, Registry, Tool, ToolContext, ToolError, UnknownToolError

OUTPUT_CHARACTERS = 100_000
_NOTE_CHARACTERS = 1000
READ_OUTPUT = outputs.read_output.name
LARGEST_OUTPUT = 512 * 1024  # bytes of JSON
HEARTBEAT_SECONDS = 0.4
STOP_SECONDS = 0.3
_IN_PARTS = "If you need the rest, get it in smaller parts."
TRACEBACK_BYTES = 8192
_LONGEST_PROGRESS = 500  # characters

AnyTool = Tool[..., Any] | McpTool
Answered = str | Answer


def output_reader() -> FunctionTool:
    """The tool that reads on in an answer which was too long, as the API wants it."""
    return _definition(outputs.read_output)


def definitions(registry: Registry, names: list[str] | None) -> list[FunctionTool]:
    """The tools of these names, all of them for None, as the API wants them. Raises `UnknownToolError`."""
    return [_definition(tool) for tool in registry.select(names)]


def _definition(tool: Tool[..., Any]) -> FunctionTool:
    return FunctionTool(name=tool.name, description=tool.description, parameters=tool.parameters)


class ToolActivities:
    """The activity that runs every function tool of a worker: the model never chooses an activity type."""

    def __init__(
        self,
        registry: Registry,
        context: ToolContext,
        claims: Claims | None = None,
        loops: ToolLoops | None = None,
        secrets: Secrets = NO_SECRETS,
        approvals: Approvals | None = None,
        eager: EagerStart | None = None,
        long_output: int = outputs.LONG_OUTPUT,
        sessions: Sessions | None = None,
        most_kept: int = outputs.MOST_KEPT,
        queue: str | None = None,
    ) -> None:
        """`context` is what every tool gets, except the idempotency key, which each call has for itself.

        `secrets` are the worker's: a tool that prints its environment does not give them to a model and to history.
        `approvals` are the worker's rules, which no run can loosen. `long_output`: the bytes of an answer beyond which
        it is kept in the workspace, and the model is given its ends. `sessions`: those with MCP servers. `most_kept`:
        the bytes of all that is kept in one workspace. `queue`: the worker's own, where runs find again their sessions
        with MCP servers, and calls that wait here for an answer to one.
        """
        self._registry = registry
        self._context = context
        self._claims = claims or Claims()
        self._loops = loops or ToolLoops()
        self._secrets = secrets
        self._approvals = approvals
        self._eager = eager
        self._long_output = long_output
        self._most_kept = most_kept
        self._sessions = sessions or Sessions({})
        self.queue = queue

    @activity.defn
    async def call_tool(self, call: CallTool) -> ToolResult:
        """The answer to one function call, at most `call.timeout` seconds and the tool's own timeout from now.

        Raises only the activity's cancellation, and `ApplicationError` if the attempt is over, or there is no room for
        it where it was to be started eagerly. A tool with effect `once` is started by one attempt only, whatever the
        attempt's number says: first a heartbeat is left.
        Nothing runs that approval rules deny, or of which they say that the owner is asked and `call.approved` does not
        say that they were, about this very call.
        """
        claim = self._claims.begin()
        if self._eager is not None and not self._eager.is_here:
            return self._elsewhere(call)
        if (refused := await self._refused(call)) is not None:
            return refused
        beat = _Beat(is_once=self._is_once(call))
        async with Heartbeats(lambda: beat.details, HEARTBEAT_SECONDS):
            result = await self._answer(call, claim, beat)
            return await self._kept(call, result)

    def _elsewhere(self, call: CallTool) -> ToolResult:
        """A call that has come to a worker of other tools. Moved, it is a first attempt again."""
        if _was_started() or not came_first():
            return _unknown(call, "was interrupted, and it must not run twice")
        raise moved()

    async def _refused(self, call: CallTool) -> ToolResult | None:
        """The answer to a call that must not run, or not yet."""
        if call.approved is not None and call.approved != call_hash(call.name, call.arguments):
            return _failed(call, f"{call.name} did not run: it is not the call that was approved.")
        if not self._has_rules(call.approvals) and call.mcp is None:
            return None
        asked = CallToDecide(name=call.name, arguments=call.arguments, mcp=call.mcp)
        async with Heartbeats(lambda: None, HEARTBEAT_SECONDS):
            decision = await asyncio.to_thread(self._decision, asked, call.allowed, call.approvals)
        if decision.output is not None:
            return ToolResult(call_id=call.call_id, output=decision.output, outcome=ToolOutcome.FAILED)
        if decision.action is Action.ASK and call.approved is None:
            asks = _failed(call, f"{call.name} did not run: it needs its owner's approval first.")
            return asks.model_copy(update={"decision": decision})
        return None

    @activity.defn
    async def decide_calls(self, asked: DecideCalls) -> Decisions:
        """What the rules of the worker and of the run say of the calls of a response, of which none runs here."""

        def decisions() -> list[Decision]:
            return [self._decision(call, asked.allowed, asked.approvals) for call in asked.calls]

        async with Heartbeats(lambda: None, HEARTBEAT_SECONDS):
            return Decisions(decisions=await asyncio.to_thread(decisions))

    def _has_rules(self, of_the_run: Approvals | None) -> bool:
        return any(rules is not None and not rules.allow_all for rules in (self._approvals, of_the_run))

    def _decision(self, call: CallToDecide, allowed: list[str] | None, of_the_run: Approvals | None) -> Decision:
        """What becomes of a call. One that no tool takes is answered at once, with what is wrong."""
        try:
            judged = self._judged(call, allowed)
        except (ToolError, UnknownToolError) as error:
            return Decision(action=Action.DENY, output=f"Error: {redact(str(error))}")
        of_the_tool = self._approval_of(call.mcp) if call.mcp is not None else Action.ALLOW
        asks_first = call.is_hosted or of_the_tool is Action.ASK
        verdict = (judge_hosted if asks_first else judge)(judged, self._approvals, of_the_run)
        if of_the_tool is Action.DENY:
            verdict = Verdict(Action.DENY)
        output = None
        if verdict.action is Action.DENY:
            why = verdict.reason or "a rule of its owner denies this call"
            output = f"Error: {call.name} did not run: {why.rstrip('.')}."
        return Decision(action=verdict.action, effect=judged.effect, reason=verdict.reason, output=output)

    def _judged(self, call: CallToDecide, allowed: list[str] | None) -> JudgedCall:
        given = given_form(call.arguments)
        if call.mcp is not None:
            return JudgedCall(call.name, call.mcp.effect, given, dotted(call.mcp.server, call.mcp.tool))
        if call.is_callers or call.is_hosted:
            return JudgedCall(call.name, call.effect, given)
        tool = self._named(call.name, allowed)
        try:
            taken = tool.effective(call.arguments)
        except ToolError:
            raise
        except Exception:  # a function may take what cannot be written as JSON
            return JudgedCall(call.name, tool.effect, [])
        return JudgedCall(call.name, tool.effect, [*given, taken] if given else [])

    def _approval_of(self, tool: PinnedTool) -> Action:
        """What holds for a tool of an MCP server: as when its run began, or as it is configured by now."""
        if tool.server not in self._sessions.names:
            return tool.approval
        known = self._sessions.configuration_of(tool.server)
        now = known.override_of(tool.tool).approval or known.approval
        return stricter(tool.approval, now) if now is not None else tool.approval

    def _is_once(self, call: CallTool) -> bool:
        if call.mcp is not None:
            return call.mcp.effect is Effect.ONCE
        try:
            return self._find(call).effect is Effect.ONCE
        except UnknownToolError:
            return False

    async def _answer(self, call: CallTool, claim: Claim, beat: "_Beat") -> ToolResult:
        if beat.is_once and (_was_started() or not came_first()):
            return _unknown(call, "was interrupted, and it must not run twice")
        with self._eager.admitted() if self._eager else nullcontext():
            try:
                tool = await self._called(call, beat)
                arguments, context = tool.parse(call.arguments), self._context_of(call)
            except Exception as error:
                return _told(call, error)
            if beat.is_once:
                beat.details = ToolHeartbeat()
                await claim.prove(beat.details)
            return await self._executed(call, tool, arguments, context, keeps_images=True)

    async def try_out(self, call: CallTool) -> ToolResult:
        """The answer to a call of nobody's run, in this process: as `call_tool` gives it, without Temporal.

        Raises `UnknownToolError`, and `ArgumentsError` for arguments that do not fit.
        """
        tool = await self._called(call, _Beat(is_once=False))
        context = replace(self._context, idempotency_key=call.call_id)
        return self._presented(call, await self._executed(call, tool, tool.parse(call.arguments), context))

    async def _executed(
        self,
        call: CallTool,
        tool: AnyTool,
        arguments: dict[str, Any],
        context: ToolContext,
        *,
        keeps_images: bool = False,
    ) -> ToolResult:
        try:
            answer = await _run(tool, self._started(tool, arguments, context), min(tool.timeout, call.timeout))
        except AsksFirst as asks:
            return self._asking(call, asks)
        except SessionReplaced as lost:
            known = McpSession(id=lost.session, queue=self.queue)
            text = f"{call.name} was not called: {lost}. Call it again if it makes sense without."
            return _failed(call, text).model_copy(update={"session": known})
        except Exception as error:
            return _told(call, error)
        if isinstance(answer, str):
            return ToolResult(call_id=call.call_id, output=answer)
        result = ToolResult(call_id=call.call_id, output=answer.text, session=self._session_of(call, answer.session))
        return await self._with_images(call, result, answer.images) if answer.images and keeps_images else result

    def _session_of(self, call: CallTool, session: str) -> McpSession | None:
        """The session that the run has with a server, if it does not know it."""
        if call.mcp is None or session == call.session or not self._sessions.is_of_run(call.mcp.server):
            return None
        return McpSession(id=session, queue=self.queue)

    async def _with_images(self, call: CallTool, result: ToolResult, images: Sequence[Image]) -> ToolResult:
        """The result with the images of an answer, kept where the worker finds them that sends the next request."""
        try:
            workspace = workspace_of(call.workspace, self._context.workspace)
            run = activity.info().workflow_id or ""
            names = await asyncio.to_thread(outputs.keep_images, workspace, run, _output_id(call), images)
        except (OSError, InputError) as error:
            activity.logger.warning("The images of %s are not shown, as they cannot be kept: %s", call.name, error)
            note = f"(No image is shown: they cannot be kept here, {_problem(error)}.)"
            return result.model_copy(update={"output": f"{result.output}\n\n{note}"})
        await self._make_room(workspace)
        return result.model_copy(update={"images": names})

    async def _kept(self, call: CallTool, result: ToolResult) -> ToolResult:
        """The answer as the model is given it; what is too long is kept whole in the workspace, if that can be."""
        output = self._secrets.mask(result.output)
        room = min(call.fair_output or LARGEST_OUTPUT, call.largest_output or LARGEST_OUTPUT)
        longest = min(self._long_output, OUTPUT_CHARACTERS - _NOTE_CHARACTERS)
        if call.name == READ_OUTPUT or not (outputs.is_long(output, longest) or text_bytes(output) > room):
            return self._presented(call, result)
        id_ = _output_id(call)
        try:
            workspace = workspace_of(call.workspace, self._context.workspace)
            await asyncio.to_thread(outputs.keep, workspace, activity.info().workflow_id or "", id_, output)
        except (OSError, InputError) as error:
            activity.logger.warning("The output of %s is cut, as it cannot be kept: %s", call.name, error)
            return self._presented(call, result, f"The rest cannot be kept here ({_problem(error)}). {_IN_PARTS}")
        await self._make_room(workspace)
        ends = outputs.shortened_within(output, id_, longest, room)
        return self._presented(call, result.model_copy(update={"output": ends, "kept": True}))

    async def _make_room(self, workspace: Path) -> None:
        """Keep what all runs have kept within its bounds. What fails here does not concern the call."""

        async def ended(run: str) -> bool:
            try:
                return await has_ended(activity.client(), run)
            except RPCError:
                return False

        try:
            await outputs.make_room(workspace, activity.info().workflow_id or "", ended, self._most_kept)
        except OSError as error:  # another process may tidy up as well
            activity.logger.warning("Old outputs cannot be removed: %s", error)

    def _presented(self, call: CallTool, result: ToolResult, why: str = _IN_PARTS) -> ToolResult:
        output = _presentable(self._secrets.mask(result.output), call.largest_output, why)
        return result.model_copy(update={"output": output})

    def _asking(self, call: CallTool, asks: AsksFirst) -> ToolResult:
        """No answer yet; as an output, what is told where nobody can be asked."""
        problem = f"{call.name} did not go on: its MCP server asks, and nobody can be asked here: {asks}"
        questions = [
            ServerQuestion.model_validate_json(self._secrets.mask(to_json(vars(each)))) for each in asks.questions
        ]
        held_at = self.queue if asks.held else None
        asked = ServerQuestions(questions=questions, state=asks.state, held=asks.held, held_at=held_at)
        return _failed(call, problem).model_copy(update={"asks": asked})

    def _started(self, tool: AnyTool, arguments: dict[str, Any], context: ToolContext) -> Coroutine[Any, Any, Answered]:
        """The call, where it holds up nothing else: each plain function in a thread, all async ones on a loop there.

        Sessions with MCP servers have their own.
        """
        if isinstance(tool, McpTool) or not tool.is_async:
            return tool.run(arguments, context)
        return self._loops.run(partial(tool.run, arguments, context), tool.name)

    async def _called(self, call: CallTool, beat: "_Beat") -> AnyTool:
        if call.mcp is None:
            return self._find(call)
        try:
            given = Given(call.answers, call.state, call.held)
            caller = Caller(activity.info().workflow_id if activity.in_activity() else None, call.session)
            called = called_tool(
                self._sessions, call.mcp, lambda told: beat.progressed(self._secrets.mask(told)), given, caller
            )
            return await asyncio.wait_for(called, call.timeout)
        except TimeoutError:
            problem = f"{call.name} was not called: its MCP server was not ready within {call.timeout:g} seconds."
            raise ToolError(problem) from None

    def _find(self, call: CallTool) -> Tool[..., Any]:
        return self._named(call.name, call.allowed)

    def _named(self, name: str, allowed: list[str] | None) -> Tool[..., Any]:
        if allowed is not None and name not in allowed and name != READ_OUTPUT:
            raise UnknownToolError([name], sorted(allowed))
        try:
            return self._registry[name]
        except UnknownToolError:
            if name != READ_OUTPUT:
                raise
            return outputs.read_output

    def _context_of(self, call: CallTool) -> ToolContext:
        # A server may use an id again, for another call.
        place = (call.iteration, call.position, call.response_id)
        parts = [activity.info().workflow_id, *(part for part in place if part is not None), call.call_id]
        try:
            workspace = workspace_of(call.workspace, self._context.workspace)
        except InputError as error:  # the run was begun by a worker of another project
            raise ToolError(str(error)) from None
        key = ":".join(map(str, parts))
        return replace(self._context, workspace=workspace, idempotency_key=key, run=activity.info().workflow_id or "")


@dataclass
class _Beat:
    """The details of a call's heartbeats. Those of a tool that must not run twice say whether it may have run."""

    is_once: bool
    details: ToolHeartbeat | None = None

    def progressed(self, told: str) -> None:
        """An MCP server says how far the call has come."""
        self.details = ToolHeartbeat(started=self.is_once, progress=told[:_LONGEST_PROGRESS])


def _output_id(call: CallTool) -> str:
    return f"{call.iteration or 0}-{(call.position or 0) + 1}"


def _problem(error: OSError | InputError) -> str:
    return error.message if isinstance(error, InputError) else error.strerror or str(error)


def _was_started() -> bool:
    """Whether an earlier attempt says that it has started a tool that must not run twice."""
    return any(ToolHeartbeat.model_validate(details).started for details in activity.info().heartbeat_details)


class _OutOfTimeError(Exception):
    def __init__(self, effect: Effect, seconds: float) -> None:
        super().__init__(f"did not end within {seconds:g} seconds")
        self.effect = effect


async def _run(tool: AnyTool, run: Coroutine[Any, Any, Answered], seconds: float) -> Answered:
    # A task of its own, so that a tool that ignores its cancellation can be left behind.
    task = asyncio.create_task(_in_words(tool, run))
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        if activity.in_activity():
            activity.logger.info("Tool %s is being stopped: %s", tool.name, activity.cancellation_details())
        await _stop(tool, task)
        raise
    if not done:
        await _stop(tool, task)
        raise _OutOfTimeError(tool.effect, seconds)
    return task.result()


async def _in_words(tool: AnyTool, run: Coroutine[Any, Any, Answered]) -> Answered:
    """Nobody but us cancels the task of a tool: without that, a `CancelledError` is the tool's own."""
    try:
        return await run
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ToolError(f"{tool.name} failed: something that it waited for was cancelled.") from error


async def _stop(tool: AnyTool, task: asyncio.Task[Answered]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=STOP_SECONDS)
    if not tool.is_async:
        activity.logger.warning("Tool %s is still running: its thread cannot be stopped.", tool.name)
    elif not task.done():
        activity.logger.warning("Tool %s is still running: it ignores its cancellation.", tool.name)
    task.add_done_callback(_drop_outcome)


def _drop_outcome(task: asyncio.Task[Answered]) -> None:
    """What a tool that was given up still returns is ignored; asyncio would complain about its exception."""
    if not task.cancelled():
        task.exception()


def _told(call: CallTool, error: Exception) -> ToolResult:
    """What the model is told of an exception."""
    if isinstance(error, _OutOfTimeError):
        once = error.effect is Effect.ONCE
        return _unknown(call, str(error)) if once else _failed(call, f"{call.name} {error}.")
    if isinstance(error, OutcomeUnknown):
        return _unknown(call, f"was interrupted: {error}")
    if isinstance(error, ToolError | UnknownToolError):
        return _failed(call, str(error))
    activity.logger.warning(
        "Tool %s raised an exception:\n%s",
        call.name,
        redact("".join(traceback.format_exception(error)), limit=TRACEBACK_BYTES),
    )
    return _failed(call, f"{call.name} failed: {''.join(traceback.format_exception_only(error)).strip()}")


def _failed(call: CallTool, text: str) -> ToolResult:
    return ToolResult(call_id=call.call_id, output=f"Error: {redact(text)}", outcome=ToolOutcome.FAILED)


def _unknown(call: CallTool, what: str) -> ToolResult:
    return ToolResult(
        call_id=call.call_id,
        output=f"Outcome unknown: {call.name} {what}. It may have taken effect; check before calling it again.",
        outcome=ToolOutcome.UNKNOWN,
    )


def _presentable(output: str, largest: int | None, why: str) -> str:
    """Text that fits into history and can be encoded: cut with a note, lone surrogates replaced."""
    return cut(output, largest or LARGEST_OUTPUT, characters=OUTPUT_CHARACTERS, why=why)
