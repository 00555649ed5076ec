"""The runs of the configured server, or of the embedded stack, which is started where nothing is configured."""

import logging
import sys

from durable_responses.embedded import ensure_readable, ensure_running, ensure_worker_of, jobs_here
from durable_responses.jobs.jobs import Jobs
from durable_responses.provider import find_provider
from durable_responses.python.background import background
from durable_responses.settings import Settings, configured_address
from durable_responses.stack_file import StackFile

logger = logging.getLogger("durable_responses")


def say(line: str) -> None:
    """What a person may want to know: to the log, or else to a terminal."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", line)
    elif sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"{line}\n")


async def with_worker(settings: Settings) -> Jobs:
    """The runs, where there is a worker for new ones. Raises `SetupError`."""
    async with background().starting:
        started = await ensure_running(settings, say)
    if started is not None:
        say(find_provider(settings).sentence)
    return await _jobs(settings)


async def of_job(job_id: str, settings: Settings) -> Jobs:
    """The runs, where there is a worker if that job is open. Raises `SetupError`, `JobError`."""
    jobs = await readable(settings)
    async with background().starting:
        started = await ensure_worker_of(job_id, jobs, settings, say)
    return await _jobs(settings) if started else jobs


async def readable(settings: Settings) -> Jobs:
    """The runs, to look at. Raises `SetupError`."""
    async with background().starting:
        await ensure_readable(settings, say)
    return await _jobs(settings)


def web_ui(job_id: str, settings: Settings) -> str | None:
    """The page of a job; None if no Web UI is known."""
    stack = _stack(settings)
    return stack.run_url(job_id) if stack else None


async def _jobs(settings: Settings) -> Jobs:
    return await jobs_here(await background().client(settings), settings)


def _stack(settings: Settings) -> StackFile | None:
    return None if configured_address() else StackFile.read(settings)
