"""A run as a Python program has it: to wait for, to follow, to stop, to tell something, to continue."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar, Unpack, overload

from durable_responses.jobs.continuing import MEMO_CONTINUES
from durable_responses.jobs.job_errors import InvalidInput, TemporalNotAnswering
from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.jobs import Jobs
from durable_responses.jobs.responding import Responded
from durable_responses.python import connecting
from durable_responses.python.background import awaited, background, streamed
from durable_responses.python.events import Event, events_between
from durable_responses.python.functions import GivenTool, GivenTools, given_tools
from durable_responses.python.options import RunOptions, agent_input, check_names
from durable_responses.python.outcomes import OutputT, RunResult, result_of
from durable_responses.python.serving import served, task_queue_for
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentState

NewOutputT = TypeVar("NewOutputT")

_PATIENCE = 120.0  # seconds in which Temporal does not answer
_TRY_AGAIN = 0.5  # seconds


class Job(Generic[OutputT]):
    """A run. Every method may raise `JobError` and `SetupError`; a run keeps going whatever becomes of this object.

    `id` is the job id, as all doors have it, `web_ui` the page of the run in Temporal's Web UI, if one is known.
    """

    def __init__(self, job_id: str, output: type[OutputT] | None = None, web_ui: str | None = None) -> None:
        self.id = job_id
        self.web_ui = web_ui
        self._output = output

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    async def result(self) -> RunResult[OutputT]:
        """Wait for the end of the run, and return its result.

        Raises `RunFailed`, `RunIncomplete`, `RunCancelled`, `OutputInvalid`: each has the result, with what it cost.
        `TemporalNotAnswering` if the server has been silent for two minutes.
        """
        return await awaited(ended_result(self.id, self._output))

    async def state(self) -> AgentState:
        """The run now; also without a worker."""
        return await awaited(_state(self.id))

    async def events(self) -> AsyncGenerator[Event, None]:
        """What has happened in the run so far, and then what happens, until its end: `Ended` is the last event.

        Outages of worker and server are lived through; two minutes of silence raise `TemporalNotAnswering`.
        """
        async with aclosing(streamed(lambda: _events(self.id))) as events:
            async for event in events:
                yield event

    async def cancel(self, reason: str | None = None) -> AgentState:
        """Ask the run to stop, at the provider too, and wait a few seconds for its end."""
        return await awaited(_cancel(self.id, reason))

    async def steer(self, text: str) -> None:
        """Tell the running model something. Raises `InvalidInput` if the run has ended."""
        await awaited(_steer(self.id, text))

    async def respond(self, answer: object, *, request_id: str | None = None, by: str | None = None) -> Responded:
        """Answer what the run asks its owner: the only open request, or the one of that id; `by`: who answers.

        Raises `InvalidInput` with the run's own sentence if that is no answer to it.
        """
        return await awaited(_respond(self.id, answer, request_id, by))

    @overload
    async def continue_(
        self,
        text: str,
        *,
        output: type[NewOutputT],
        tools: Sequence[GivenTool] | None = None,
        job_id: str | None = None,
        rebuild: bool = False,
        **options: Unpack[RunOptions],
    ) -> "Job[NewOutputT]": ...
    @overload
    async def continue_(
        self,
        text: str,
        *,
        output: None = None,
        tools: Sequence[GivenTool] | None = None,
        job_id: str | None = None,
        rebuild: bool = False,
        **options: Unpack[RunOptions],
    ) -> "Job[None]": ...
    async def continue_(
        self,
        text: str,
        *,
        output: Any = None,
        tools: Sequence[GivenTool] | None = None,
        job_id: str | None = None,
        rebuild: bool = False,
        **options: Unpack[RunOptions],
    ) -> "Job[Any]":
        """Start a run that goes on from this one, which has ended, however it ended.

        It has the options of this one as far as none are given here; functions are to be given again. `rebuild` tells
        the model all that was said again, for a provider that has forgotten it. Raises `InvalidInput`.
        """
        check_names(options)
        loop = asyncio.get_running_loop()
        return await awaited(_continued(self.id, text, tools, loop, output, job_id, rebuild, dict(options)))


# --- in the background -------------------------------------------------------------------------------------------


async def started(
    task: Any,
    given: Sequence[GivenTool] | None,
    loop: asyncio.AbstractEventLoop | None,
    output: Any,
    job_id: str | None,
    idempotency_key: str | None,
    options: dict[str, Any],
) -> Job[Any]:
    """A new run. What is wrong with what was given is found first. Raises `InvalidInput`, `JobExists`, `SetupError`."""
    if job_id is not None and idempotency_key is not None:
        raise InvalidInput("job_id and idempotency_key both name the run: give one of them.")
    if idempotency_key is not None and not idempotency_key.strip():
        raise InvalidInput("The idempotency_key is empty: give one, or leave it out.")
    settings, tools = Settings.load(), given_tools(given, loop)
    queue = task_queue_for(settings.task_queue, job_id or idempotency_key)
    request = agent_input(
        {"task": task}, options, settings, names=tools.names, functions=tools.for_callers(queue), output=output
    )
    jobs = await connecting.with_worker(settings)
    async with served(await background().client(settings), {queue: tools.functions}, settings) as serving:
        started_id = await jobs.start(request, job_id=job_id, idempotency_key=idempotency_key)
        serving.until_end_of(started_id)
    connecting.say(f"Started {started_id}")
    return Job(started_id, output, connecting.web_ui(started_id, settings))


async def attached(
    said: str, given: Sequence[GivenTool] | None, loop: asyncio.AbstractEventLoop | None, output: Any
) -> Job[Any]:
    """A run that is there. Raises `JobNotFound`, `SeveralJobs`, `InvalidInput`."""
    settings, tools = Settings.load(), given_tools(given, loop)
    job_id = await (await connecting.readable(settings)).find(said)
    jobs = await connecting.of_job(job_id, settings)
    if tools.functions:
        request = await jobs.request(job_id)
        queues = _queues_of(job_id, tools, {each.name: each.task_queue for each in (request.caller_tools or [])})
        async with served(await background().client(settings), queues, settings) as serving:
            serving.until_end_of(job_id)
    return Job(job_id, output, connecting.web_ui(job_id, settings))


def _queues_of(job_id: str, tools: GivenTools, wanted: dict[str, str]) -> dict[str, tuple[Any, ...]]:
    given = {each.name: each for each in tools.functions}
    if given.keys() != wanted.keys():
        names = ", ".join(sorted(wanted)) or "none"
        raise InvalidInput(f"Run {job_id} was started with other functions: {names}. Give the same to attach to it.")
    queues = sorted(set(wanted.values()))
    return {queue: tuple(given[name] for name in wanted if wanted[name] == queue) for queue in queues}


async def _continued(
    before: str,
    text: str,
    given: Sequence[GivenTool] | None,
    loop: asyncio.AbstractEventLoop,
    output: Any,
    job_id: str | None,
    rebuild: bool,
    options: dict[str, Any],
) -> Job[Any]:
    settings, tools = Settings.load(), given_tools(given, loop)
    queue = task_queue_for(settings.task_queue, job_id)
    jobs = await connecting.with_worker(settings)
    fields = await jobs.continued(before, text, rebuild=rebuild)
    fields.pop("caller_tools", None)  # nobody may serve that queue any more
    request = agent_input(
        fields, options, settings, names=tools.names, functions=tools.for_callers(queue), output=output
    )
    async with served(await background().client(settings), {queue: tools.functions}, settings) as serving:
        started_id = await jobs.start(request, job_id=job_id, memo={MEMO_CONTINUES: before}, about=text)
        serving.until_end_of(started_id)
    connecting.say(f"Started {started_id}, which continues {before}")
    return Job(started_id, output, connecting.web_ui(started_id, settings))


async def ended_result(job_id: str, output: Any) -> RunResult[Any]:
    """The result of a run, once it has ended. Raises `RunError`, `JobError`."""
    jobs = await connecting.of_job(job_id, Settings.load())
    async with aclosing(_views(jobs, job_id)) as views:
        async for view in views:
            if view.result is not None:
                return result_of(job_id, view.result, output)
    raise AssertionError("watching ends with the result")


async def _events(job_id: str) -> AsyncGenerator[Event, None]:
    jobs, before = await connecting.of_job(job_id, Settings.load()), None
    async with aclosing(_views(jobs, job_id)) as views:
        async for view in views:
            for event in events_between(before, view):
                yield event
            before = view


async def _views(jobs: Jobs, job_id: str) -> AsyncGenerator[JobView, None]:
    """What `Jobs.watch` gives, patient from the first view on."""
    loop = asyncio.get_running_loop()
    give_up, seen = loop.time() + _PATIENCE, False
    while True:
        try:
            async with aclosing(jobs.watch(job_id, patience=_PATIENCE)) as views:
                async for view in views:
                    seen = True
                    yield view
            return
        except TemporalNotAnswering:
            if seen or loop.time() >= give_up:
                raise
        await asyncio.sleep(_TRY_AGAIN)


async def _state(job_id: str) -> AgentState:
    return (await (await connecting.readable(Settings.load())).state(job_id)).state


async def _cancel(job_id: str, reason: str | None) -> AgentState:
    return (await (await connecting.of_job(job_id, Settings.load())).cancel(job_id, reason)).state


async def _respond(job_id: str, answer: object, request_id: str | None, by: str | None) -> Responded:
    return await (await connecting.of_job(job_id, Settings.load())).respond(job_id, request_id, answer, by)


async def _steer(job_id: str, text: str) -> None:
    await (await connecting.of_job(job_id, Settings.load())).steer(job_id, text)
