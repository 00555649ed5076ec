"""What goes wrong with a job, in one sentence for the user; Temporal's errors become these at one boundary."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from temporalio.service import RPCError, RPCStatusCode

from durable_responses.errors import DurableResponsesError

_PATIENCE = 2.5  # seconds for one question to the Temporal server

# JobError
# ├── JobNotFound
# ├── NoJobs
# ├── SeveralJobs
# ├── JobExists
# ├── InvalidInput
# │   ├── StillRunning
# │   ├── ProjectNotServed
# │   ├── KeyReused
# │   └── AnswerRefused
# ├── TemporalNotAnswering
# └── TemporalRefused


class JobError(DurableResponsesError):
    """A job cannot be started or read. The message is one sentence for the user."""


class JobNotFound(JobError):
    """No agent run has this id: it never existed, or its retention is over. `nearest`: an id that is like it."""

    def __init__(self, job_id: str, nearest: str | None = None) -> None:
        near = f" Did you mean {nearest!r}?" if nearest else ""
        why = "it was never started here, or its retention has ended" if job_id else "the id is empty"
        super().__init__(f"There is no agent run {job_id[:80]!r}: {why}.{near}")


class NoJobs(JobError):
    """The newest agent run was asked for, and there is none."""

    def __init__(self) -> None:
        super().__init__("There are no agent runs yet: start one with `durable-responses run`.")


class SeveralJobs(JobError):
    """The beginning of an id is that of several agent runs."""

    def __init__(self, beginning: str, job_ids: Sequence[str]) -> None:
        super().__init__(f"Several agent runs begin with {beginning!r}: {', '.join(job_ids)}. Type more of the id.")


class JobExists(JobError):
    """The id that was asked for is taken."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The job id {job_id!r} is taken: watch that run, or choose another id.")


class InvalidInput(JobError):
    """The input cannot be used, for instance because it does not fit into Temporal's records."""


class StillRunning(InvalidInput):
    """A job that has not ended cannot be continued."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} has not ended yet: steer it, or cancel it first.")


class ProjectNotServed(InvalidInput):
    """A job of another project cannot be continued from here: that project has no worker now."""

    def __init__(self, job_id: str, project: str) -> None:
        super().__init__(
            f"Job {job_id} belongs to another project, {project}, which has no worker now: continue it in its folder."
        )


class KeyReused(InvalidInput):
    """A second start with an idempotency key asks for something else than the first."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The idempotency_key was used for job {job_id} with other arguments: use a new key, or the same arguments."
        )


class AnswerRefused(InvalidInput):
    """What was said does not answer an input request of the run. The message is the run's own sentence."""


class TemporalNotAnswering(JobError):
    """The Temporal server does not answer. It keeps the runs: none is lost."""


class TemporalRefused(JobError):
    """The Temporal server answered, and refused."""


@asynccontextmanager
async def asking_temporal(job_id: str | None = None, seconds: float = _PATIENCE) -> AsyncIterator[None]:
    """Bound calls to the server in time, and turn its errors into ours.

    Raises `TemporalNotAnswering`, `TemporalRefused`, and `JobNotFound` where the calls are about one job.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RPCError, TimeoutError) as error:
        raise _meaning(error, job_id) from error


_UNREACHABLE = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}
_NO_SUCH_ID = {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT}


def _meaning(error: RPCError | TimeoutError, job_id: str | None) -> JobError:
    if isinstance(error, RPCError) and error.status not in _UNREACHABLE:
        # The sentence may be about the namespace, in which case no id is known; it quotes the id.
        told = error.message.replace(job_id or "", "").lower()
        unknown = error.status in _NO_SUCH_ID and "namespace" not in told
        return JobNotFound(job_id) if job_id is not None and unknown else _refusal(error)
    return TemporalNotAnswering("Temporal is not responding. Runs are safe and resume when it is back.")


def is_misunderstanding(error: TemporalRefused) -> bool:
    """Whether the server refused a request for its form."""
    return isinstance(error.__cause__, RPCError) and error.__cause__.status is RPCStatusCode.INVALID_ARGUMENT


def _refusal(error: RPCError) -> TemporalRefused:
    return TemporalRefused(f"Temporal refused: {error.message.rstrip('.')}.")
