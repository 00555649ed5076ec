"""`run`, `start`, `attach` and `run_sync`: what a Python program calls. `docs/python.md` shows them at work."""

import asyncio
from collections.abc import Sequence
from typing import Any, Unpack, overload

from durable_responses.python.background import awaited, background
from durable_responses.python.functions import GivenTool
from durable_responses.python.job import Job, attached, ended_result, started
from durable_responses.python.options import RunOptions, Task, check_names
from durable_responses.python.outcomes import OutputT, RunResult


@overload
async def start(
    task: Task,
    *,
    output: type[OutputT],
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> Job[OutputT]: ...
@overload
async def start(
    task: Task,
    *,
    output: None = None,
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> Job[None]: ...
async def start(
    task: Task,
    *,
    output: Any = None,
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> Job[Any]:
    """Start a run, and whatever it needs that is neither configured nor running.

    `output`: a pydantic class, or a dataclass, whose object the answer is to be. `tools`: functions of this program,
    and names of the worker's tools; all of those if None. `job_id`: an id of your own. `idempotency_key`: a second
    start with it gives the same run, running or ended. The others are the fields of `AgentInput` (`RunOptions`).

    Raises `InvalidInput` before anything is paid, `JobExists`, `SetupError`.
    """
    check_names(options)
    loop = asyncio.get_running_loop()
    return await awaited(started(task, tools, loop, output, job_id, idempotency_key, dict(options)))


@overload
async def run(
    task: Task,
    *,
    output: type[OutputT],
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> RunResult[OutputT]: ...
@overload
async def run(
    task: Task,
    *,
    output: None = None,
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> RunResult[None]: ...
async def run(
    task: Task,
    *,
    output: Any = None,
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> RunResult[Any]:
    """Start a run as `start` does, wait for its end, and return its result.

    A program that stops waiting, or ends, does not stop the run. Raises what `start` raises, and `RunFailed`,
    `RunIncomplete`, `RunCancelled` or `OutputInvalid`, each with the result and what it cost.
    """
    job: Job[Any] = await start(
        task, output=output, tools=tools, job_id=job_id, idempotency_key=idempotency_key, **options
    )
    return await job.result()


@overload
def run_sync(
    task: Task,
    *,
    output: type[OutputT],
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> RunResult[OutputT]: ...
@overload
def run_sync(
    task: Task,
    *,
    output: None = None,
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> RunResult[None]: ...
def run_sync(
    task: Task,
    *,
    output: Any = None,
    tools: Sequence[GivenTool] | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> RunResult[Any]:
    """`run` for programs without an event loop. It blocks; async functions get a loop of their own."""
    check_names(options)

    async def ended() -> RunResult[Any]:
        job = await started(task, tools, None, output, job_id, idempotency_key, dict(options))
        return await ended_result(job.id, output)

    future = background().submit(ended())
    try:
        return future.result()
    finally:
        future.cancel()


@overload
async def attach(job_id: str, *, output: type[OutputT], tools: Sequence[GivenTool] | None = None) -> Job[OutputT]: ...
@overload
async def attach(job_id: str, *, output: None = None, tools: Sequence[GivenTool] | None = None) -> Job[None]: ...
async def attach(job_id: str, *, output: Any = None, tools: Sequence[GivenTool] | None = None) -> Job[Any]:
    """A run that was started before, by whatever door: by its id, or the beginning of it.

    A run that was started with functions of a program waits when it calls one and that program is gone: `tools` gives
    it the same functions again. Raises `JobNotFound`, `SeveralJobs`, `InvalidInput` for other functions, `SetupError`.
    """
    return await awaited(attached(job_id, tools, asyncio.get_running_loop(), output))
