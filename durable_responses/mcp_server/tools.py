"""The tools: `gpt5_agent`, and start, poll, continue, steer, respond, cancel and list: each a call or two to `jobs`."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

import anyio
from mcp_types import CallToolResult, ContentBlock, InputRequiredResult, ResourceLink, TextContent, ToolAnnotations
from mcp_types import Tool as PublishedTool

from durable_responses.jobs.continuing import MEMO_CONTINUES
from durable_responses.jobs.job_errors import InvalidInput, JobError, JobNotFound
from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.jobs import Jobs
from durable_responses.jobs.starting import fingerprint_of, job_id_for, unguessable_job_id
from durable_responses.mcp_server import next_steps, wording
from durable_responses.mcp_server.answers import (
    MEMO_DISPLAY,
    Answer,
    CancelAnswer,
    JobAnswer,
    JobNotFoundAnswer,
    ListAnswer,
    ProblemCode,
    RespondAnswer,
    StartAnswer,
    SteerAnswer,
    cancel_answer,
    job_answer,
    list_answer,
    output_schema,
    respond_answer,
    start_answer,
    steer_answer,
)
from durable_responses.mcp_server.arguments import (
    LONGEST_WAIT,
    AgentArguments,
    ArgumentsError,
    CancelArguments,
    ContinueArguments,
    ListArguments,
    PollArguments,
    RespondArguments,
    SteerArguments,
    ToolArguments,
    input_schema,
    read_arguments,
)
from durable_responses.mcp_server.asking import Ask, AskingClient, hand_on
from durable_responses.mcp_server.backend import Backend
from durable_responses.mcp_server.following import follow, next_change
from durable_responses.mcp_server.inputs import agent_input, check_paths, continuing_input
from durable_responses.mcp_server.questions import RepeatedCall, asks_again
from durable_responses.mcp_server.surroundings import look_around
from durable_responses.responses_api.redaction import redact
from durable_responses.settings import Settings, SetupError
from durable_responses.shown_text import shown
from durable_responses.tools.registry import RegistryError
from durable_responses.workflows.contract import AgentStatus

logger = logging.getLogger("durable_responses.mcp_server")

R = TypeVar("R")

ToolResult = CallToolResult | InputRequiredResult

Report = Callable[[float, str], Awaitable[None]]
"""Tells the client how far a call is: seconds so far, and a line."""


@dataclass(frozen=True)
class Caller:
    """Who called a tool: how it is told of progress, whether it asked to be, and how its user is asked.

    `ask`: while the call waits. `repeats_calls`: a call is answered with a form, and repeated with what it says;
    `repeated`: that this is such a call. Where there is neither, the user's answers come by `gpt5_agent_respond`.
    """

    report: Report
    wants_progress: bool = False
    name: str = "an MCP client"
    ask: Ask | None = None
    repeats_calls: bool = False
    repeated: RepeatedCall | None = None


ERROR_META, JOB_META = "durable-responses/error", "durable-responses/job_id"
"""Keys of a failed call's `_meta`, for programs: why it failed (a `ProblemCode` or the type of the run's error), and
the job if there is one. Structured content would be in the way: clients check it as they do an answer that succeeded.
"""

_CANCELLED_BY_CLIENT = "the MCP client cancelled its request"
RESULT_TYPE = "text/markdown"
_PATIENCE = 12.0  # seconds at least for Temporal and a worker to be there
_LONGEST_JOB_ID = 1000  # Temporal's own limit
_ASKED_AT_ONCE = 10  # jobs
_LONGEST_ASKING = 2.0  # seconds

_CLAUDE_LARGEST = {"anthropic/maxResultSizeChars": 500_000}
"""`_meta` of tools that return an output: Claude Code puts what has more than 50,000 characters in a file otherwise."""

AGENT = "gpt5_agent"
_ABOUT = (
    "An autonomous agent of an OpenAI reasoning model, with web search and tools, for work that takes minutes to "
    "hours. The job is durable: it survives restarts of everything, and keeps running while nobody waits for it. "
)


@dataclass(frozen=True)
class AgentTool:
    """A tool: what is published about it, and what a call does."""

    name: str
    title: str
    description: str
    arguments: type[ToolArguments]
    answers: tuple[type[Answer], ...]
    annotations: ToolAnnotations
    call: Callable[[Any, Caller], Awaitable[ToolResult]]
    defaults: dict[str, Any] = field(default_factory=dict)
    description_with_tasks: str | None = None
    """What is published to clients that follow tasks, if it differs."""

    def published(self, *, with_tasks: bool) -> PublishedTool:
        """The tool as `tools/list` tells of it."""
        described = (self.description_with_tasks if with_tasks else None) or self.description
        tool = PublishedTool(
            name=self.name,
            title=self.title,
            description=described,
            input_schema=input_schema(self.arguments, **self.defaults),
            output_schema=output_schema(*self.answers),
            annotations=self.annotations,
        )
        return tool.model_copy(update={"meta": _CLAUDE_LARGEST}) if JobAnswer in self.answers else tool


class AgentTools:
    """All tools by name, over one backend."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._settings = settings
        self._tools = {tool.name: tool for tool in self._all()}

    def published(self, *, with_tasks: bool = False) -> list[PublishedTool]:
        """What `tools/list` answers to a client; `with_tasks`: to one that follows tasks."""
        return [tool.published(with_tasks=with_tasks) for tool in self._tools.values()]

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    async def call(self, name: str, given: dict[str, Any] | None, caller: Caller) -> ToolResult:
        """The result of a call; of one that failed too."""
        tool = self._tools[name]

        async def call() -> ToolResult:
            return await tool.call(read_arguments(tool.arguments, given), caller)

        return await guarded(name, call())

    async def begin(self, arguments: AgentArguments, job_id: str, *, over_at: float = math.inf) -> Jobs:
        """Start the run that the arguments ask for; it has the given id.

        `over_at`: by the monotonic clock, when Temporal and a worker must be there. Raises `ArgumentsError`, `JobError`
        and `SetupError`.
        """
        surroundings = await asyncio.to_thread(look_around, self._settings)
        await asyncio.to_thread(check_paths, arguments, surroundings)
        request = agent_input(arguments, surroundings)
        jobs = await self._backend.to_start(patience=max(_PATIENCE, over_at - time.monotonic()))
        key = arguments.idempotency_key
        # A start that was sent is waited for: whoever cancels afterwards must find the job.
        with anyio.CancelScope(shield=True):
            await jobs.start(
                request,
                job_id=None if key else job_id,
                idempotency_key=key,
                memo={MEMO_DISPLAY: arguments.display_in_chat or not arguments.save_to_file},
                # Of what the caller said, not of the run's input: the server's settings may have changed meanwhile.
                fingerprint=fingerprint_of(arguments, without="idempotency_key"),
            )
        return jobs

    # --- the tools -----------------------------------------------------------------------------------------------

    async def _run(self, arguments: AgentArguments, caller: Caller) -> ToolResult:
        repeated = caller.repeated
        job_id = repeated.job_id if repeated else job_id_of(arguments)

        async def tell(view: JobView) -> None:
            answer = job_answer(view, now())
            await caller.report(answer.progress.elapsed_s, shown(f"{job_id}: {wording.progress_text(answer)}"))

        # What the start takes, with a stack to be started first, is part of the wait: clients count from the call.
        wait = self._settings.mcp_wait
        if not caller.wants_progress and caller.ask is None:
            wait = min(wait, self._settings.mcp_wait_without_progress)
        over_at = time.monotonic() + wait.total_seconds()
        try:
            if repeated is None:
                jobs = await self.begin(arguments, job_id, over_at=over_at)
            else:
                jobs = await self._backend.to_read()
                await hand_on(jobs, job_id, repeated.responses, caller.name)
            view = await self._wait(jobs, job_id, over_at, tell, caller)
        except asyncio.CancelledError:
            if self._settings.mcp_cancel_with_request:
                await self._cancel_unasked(job_id)
            raise
        if caller.repeats_calls and (form := asks_again(view, repeated)) is not None:
            return form
        return job_result(view, failed=view.state.status is AgentStatus.FAILED)

    async def _wait(
        self, jobs: Jobs, job_id: str, over_at: float, tell: Callable[[JobView], Awaitable[None]], caller: Caller
    ) -> JobView:
        """The job when it has ended, the time is up, or it waits for an owner who cannot be asked meanwhile."""
        if caller.ask is None:
            return await follow(jobs, job_id, over_at - time.monotonic(), tell, lambda view: _waits(view, over_at))

        async with AskingClient(jobs, job_id, caller.ask, caller.name) as asking:

            async def tell_and_ask(view: JobView) -> None:
                asking.look(view)
                await tell(view)

            return await follow(jobs, job_id, over_at - time.monotonic(), tell_and_ask, asking.is_put_away)

    async def _start(self, arguments: AgentArguments, _: Caller) -> CallToolResult:
        job_id = job_id_of(arguments)
        jobs = await self.begin(arguments, job_id)
        return await _started(jobs, job_id, is_new=not arguments.idempotency_key)

    async def _poll(self, arguments: PollArguments, _: Caller) -> CallToolResult:
        try:
            check_job_id(arguments.job_id)
            jobs = await self._backend.to_read()
            return job_result(await next_change(jobs, arguments.job_id, arguments.wait_seconds))
        except JobNotFound as error:
            return result_of(JobNotFoundAnswer(), str(error))

    async def _continue(self, arguments: ContinueArguments, _: Caller) -> CallToolResult:
        try:
            check_job_id(arguments.job_id)
            jobs = await self._backend.to_start()
            before = await jobs.state(arguments.job_id)
            fields = await jobs.continued(arguments.job_id, arguments.task, rebuild=arguments.rebuild)
        except JobNotFound as error:
            return result_of(JobNotFoundAnswer(), str(error))
        request, key, job_id = continuing_input(arguments, fields), arguments.idempotency_key, job_id_of(arguments)
        memo = {MEMO_CONTINUES: arguments.job_id, MEMO_DISPLAY: before.memo.get(MEMO_DISPLAY, True)}
        # As for any other start that was sent.
        with anyio.CancelScope(shield=True):
            await jobs.start(
                request,
                job_id=None if key else job_id,
                idempotency_key=key,
                memo=memo,
                fingerprint=fingerprint_of(arguments, without="idempotency_key"),
                about=arguments.task,
            )
        return await _started(jobs, job_id, is_new=not key)

    async def _steer(self, arguments: SteerArguments, _: Caller) -> CallToolResult:
        try:
            check_job_id(arguments.job_id)
            jobs = await self._backend.to_read()
            await jobs.steer(arguments.job_id, arguments.message)
            answer = steer_answer(await jobs.state(arguments.job_id))
        except JobNotFound as error:
            return result_of(JobNotFoundAnswer(), str(error))
        return result_of(answer, wording.steered_text(answer))

    async def _respond(self, arguments: RespondArguments, caller: Caller) -> CallToolResult:
        try:
            check_job_id(arguments.job_id)
            jobs = await self._backend.to_read()
            by = arguments.by or caller.name
            said: object = arguments.answer
            if arguments.words is not None:
                said = {"decision": arguments.answer, "words": arguments.words}
            responded = await jobs.respond(arguments.job_id, arguments.request_id, said, by)
            answer = respond_answer(responded, await jobs.state(arguments.job_id))
        except JobNotFound as error:
            return result_of(JobNotFoundAnswer(), str(error))
        return result_of(answer, wording.responded_text(answer, redact(responded.sentence)))

    async def _cancel(self, arguments: CancelArguments, _: Caller) -> CallToolResult:
        try:
            check_job_id(arguments.job_id)
            jobs = await self._backend.to_read()
            answer = cancel_answer(await jobs.cancel(arguments.job_id, "cancelled over MCP"))
        except JobNotFound as error:
            return result_of(JobNotFoundAnswer(), str(error))
        return result_of(answer, wording.cancelled_text(answer))

    async def _list(self, arguments: ListArguments, _: Caller) -> CallToolResult:
        jobs = await self._backend.to_read()
        views, asked = await asyncio.gather(jobs.recent(limit=arguments.limit), _an_open_job(jobs))
        if asked is not None and asked.worker_running:
            views = await _as_their_workers_tell(jobs, views)
        answer = list_answer(views, asked)
        return result_of(answer, wording.list_text(answer))

    async def _cancel_unasked(self, job_id: str) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await (await self._backend.to_read()).cancel(job_id, _CANCELLED_BY_CLIENT, patience=0)
            except JobNotFound:  # cancelled before the start was sent
                return
            except (SetupError, JobError) as error:
                logger.warning("Job %s could not be cancelled with its request: %s", job_id, error)

    def _all(self) -> list[AgentTool]:
        cap = int(self._settings.mcp_wait.total_seconds())
        starts = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False)
        reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        return [
            AgentTool(
                AGENT,
                "Run an agent and wait",
                f"{_ABOUT}Waits up to {cap} s for the answer; a job that takes longer keeps running, and its job_id "
                "is returned: call gpt5_agent_poll with it until the status is final. With the status input_required "
                "it waits for your user: ask them, and call gpt5_agent_respond. For work that certainly takes longer, "
                "call gpt5_agent_start instead.",
                AgentArguments,
                (JobAnswer,),
                starts,
                self._run,
                {"model": self._settings.model},
                f"{_ABOUT}Call this and nothing else for any task, short or long: it becomes a task in the background, "
                "and its result comes by itself.",
            ),
            AgentTool(
                "gpt5_agent_start",
                "Start an agent",
                f"{_ABOUT}Returns a job_id at once. Then call gpt5_agent_poll with it repeatedly until its status is "
                "completed, incomplete, failed or cancelled; you can do other work meanwhile. Pass an idempotency_key "
                "if the call might be repeated.",
                AgentArguments,
                (StartAnswer,),
                starts,
                self._start,
                {"model": self._settings.model},
                f"{_ABOUT}Returns a job_id at once, and no result: you would have to poll for it with gpt5_agent_poll. "
                f"Call {AGENT} instead, unless a job_id is what you want.",
            ),
            AgentTool(
                "gpt5_agent_poll",
                "Look at a job",
                "The progress of a job, and its output once it has ended. With wait_seconds (best "
                f"{LONGEST_WAIT}) it answers as soon as something changes; otherwise poll again after next_poll_ms. "
                "While the status is queued or running, keep polling: the job is safe and must not be started "
                "again. With the status input_required it waits for your user: ask them its input_requests, and call "
                'gpt5_agent_respond. An unknown job_id gives {"error": "job_not_found"}.',
                PollArguments,
                (JobAnswer, JobNotFoundAnswer),
                reads,
                self._poll,
            ),
            AgentTool(
                "gpt5_agent_continue",
                "Continue a job",
                "Go on from a job that has ended, however it ended, with a new task: as a new job, which knows what "
                "was said and has the options of the first one, as far as none are given here. Returns the new job_id "
                "at once: call gpt5_agent_poll with it. If the new job fails because the provider no longer has the "
                "earlier response, continue again with rebuild. A job that is still running is told something with "
                'gpt5_agent_steer instead. An unknown job_id gives {"error": "job_not_found"}.',
                ContinueArguments,
                (StartAnswer, JobNotFoundAnswer),
                starts,
                self._continue,
            ),
            AgentTool(
                "gpt5_agent_steer",
                "Tell a running job something",
                "Give a running job a message, such as a correction: the model gets it with its next response at the "
                "latest, and the job goes on. A job that has ended is continued with gpt5_agent_continue instead. An "
                'unknown job_id gives {"error": "job_not_found"}.',
                SteerArguments,
                (SteerAnswer, JobNotFoundAnswer),
                ToolAnnotations(
                    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
                ),
                self._steer,
            ),
            AgentTool(
                "gpt5_agent_respond",
                "Answer what a job asks",
                "Give a job whose status is input_required the answer to one of its input_requests. The answer is your "
                "user's: ask them first, and do not decide for them. The same answer may be given again. An unknown "
                'job_id gives {"error": "job_not_found"}.',
                RespondArguments,
                (RespondAnswer, JobNotFoundAnswer),
                ToolAnnotations(
                    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
                ),
                self._respond,
            ),
            AgentTool(
                "gpt5_agent_cancel",
                "Cancel a job",
                "Stop a job. `cancelled`: the provider has confirmed it. `cancelling`: it is being stopped; poll to "
                "see it end. A job that has already ended keeps its status.",
                CancelArguments,
                (CancelAnswer, JobNotFoundAnswer),
                ToolAnnotations(
                    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
                ),
                self._cancel,
            ),
            AgentTool(
                "gpt5_agent_list",
                "List recent jobs",
                "The newest jobs with their status, to find a job_id again.",
                ListArguments,
                (ListAnswer,),
                reads,
                self._list,
            ),
        ]


# --- parts -------------------------------------------------------------------------------------------------------


async def guarded(name: str, call: Awaitable[R]) -> R | CallToolResult:
    """The result of calling the tool `name`. Errors are results, which the model can read and correct."""
    try:
        return await call
    except JobNotFound:  # started just now, so its key is the id of something else
        return problem(ProblemCode.INVALID_ARGUMENTS, "idempotency_key cannot be used: its job id is taken.")
    except (ArgumentsError, InvalidInput) as error:
        return problem(ProblemCode.INVALID_ARGUMENTS, str(error))
    except (SetupError, RegistryError, JobError) as error:
        return problem(ProblemCode.UNAVAILABLE, str(error))
    except Exception:
        logger.exception("The tool %s failed.", name)
        return problem(ProblemCode.INTERNAL_ERROR, f"{name} failed; see the log of the MCP server.")


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def job_id_of(arguments: AgentArguments | ContinueArguments) -> str:
    """The id of the job that these arguments start, or have started: from their key, or a new one."""
    if arguments.idempotency_key:
        return job_id_for(arguments.idempotency_key)
    return unguessable_job_id(arguments.task)


def check_job_id(job_id: str) -> None:
    """Raises `JobNotFound` for what cannot be a workflow id at all."""
    if not job_id or len(job_id) > _LONGEST_JOB_ID:
        raise JobNotFound(job_id)


async def _started(jobs: Jobs, job_id: str, *, is_new: bool) -> CallToolResult:
    """A start as the result of a call. Only an idempotency key can lead to a job that is not new."""
    answer = start_answer(job_id, AgentStatus.QUEUED if is_new else (await jobs.state(job_id)).state.status)
    return result_of(answer, wording.started_text(answer))


async def _an_open_job(jobs: Jobs) -> JobView | None:
    """Any open job, as its worker tells it: records show a worker for minutes after its death, asking does not."""
    newest = await jobs.recent(limit=1, is_open=True)
    try:
        return await jobs.state(newest[0].job_id) if newest else None
    except JobNotFound:  # deleted in this very moment
        return None


async def _as_their_workers_tell(jobs: Jobs, views: Sequence[JobView]) -> list[JobView]:
    """Jobs with what only their worker knows: what they ask. A worker that does not answer in time changes nothing."""
    room = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def told(view: JobView) -> JobView:
        if view.is_closed:
            return view
        try:
            async with room:
                return await jobs.state(view.job_id)
        except JobError:
            return view

    asked = [asyncio.ensure_future(told(view)) for view in views]
    if asked:
        _, late = await asyncio.wait(asked, timeout=_LONGEST_ASKING)
        for each in late:
            each.cancel()
    return [
        each.result() if each.done() and not each.cancelled() else view for each, view in zip(asked, views, strict=True)
    ]


def _waits(view: JobView, over_at: float) -> bool:
    """Whether a job waits for its owner, and does not go on by itself before the time is up."""
    left = over_at - time.monotonic()
    by_itself = [request.resume_at for request in view.open_requests if request.resume_at is not None]
    soon = any((resume_at - now()).total_seconds() < left for resume_at in by_itself)
    return view.state.status is AgentStatus.INPUT_REQUIRED and bool(view.open_requests) and not soon


def job_result(view: JobView, *, failed: bool = False) -> CallToolResult:
    """A job as the result of a call; `failed`: the call itself counts as failed."""
    answer = job_answer(view, now())
    text = wording.job_text(answer)
    if failed:
        return problem(answer.error.type if answer.error else answer.status, text, {JOB_META: answer.job_id})
    return result_of(answer, text, *_links(answer))


def problem(code: str, message: str, meta: Mapping[str, str] = MappingProxyType({})) -> CallToolResult:
    """A call that failed; `code` and `meta` are for programs."""
    return CallToolResult(
        content=[TextContent(type="text", text=shown(message))], is_error=True, _meta={ERROR_META: code, **meta}
    )


def result_of(answer: Answer, text: str, *links: ResourceLink) -> CallToolResult:
    """The structured content, the text that says the same, and links to more."""
    content: list[ContentBlock] = [TextContent(type="text", text=shown(text)), *links]
    return CallToolResult(content=content, structured_content=answer.model_dump(mode="json"))


def _links(answer: JobAnswer) -> list[ResourceLink]:
    """The way to an output that is not shown, or that clients may cut."""
    if answer.result_uri is None or answer.output_bytes is None:
        return []
    if answer.output is not None and answer.output_bytes < next_steps.LONG_OUTPUT:
        return []
    link = ResourceLink(
        uri=answer.result_uri,
        name=f"{answer.job_id} result",
        description="The whole result of the job.",
        mime_type=RESULT_TYPE,
        size=answer.output_bytes,
    )
    return [link]
