"""Waiting for a job: until it ends, until something changes, or until the time is up."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.jobs import Jobs

REPORT_EVERY = 5.0
"""Seconds between two reports while nothing changes; clients are promised one every ten."""


async def follow(
    jobs: Jobs,
    job_id: str,
    seconds: float,
    report: Callable[[JobView], Awaitable[None]],
    is_enough: Callable[[JobView], bool],
) -> JobView:
    """Watch a job for so many seconds, or until it ends, or it is enough; returns what was seen last.

    `report` gets a view at each change and every few seconds. Raises `JobError`.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + seconds
    view: JobView | None = None
    views = jobs.watch(job_id)
    upcoming = asyncio.ensure_future(anext(views))
    try:
        while view is None or (not view.is_closed and loop.time() < give_up):
            patience = REPORT_EVERY if view is None else min(REPORT_EVERY, give_up - loop.time())
            await asyncio.wait({upcoming}, timeout=patience)
            if upcoming.done():
                view = upcoming.result()
                if view.is_closed:
                    return view
                upcoming = asyncio.ensure_future(anext(views))
            if view is not None:
                await report(view)
                if is_enough(view):
                    break
        return view
    finally:
        upcoming.cancel()
        await asyncio.wait({upcoming})
        await views.aclose()


async def next_change(jobs: Jobs, job_id: str, seconds: float) -> JobView:
    """The job as soon as something has changed, or after so many seconds.

    A job that has ended, or that has no worker, is returned at once: nothing would change. Raises `JobError`.
    """
    view = await jobs.state(job_id)
    if seconds <= 0 or view.is_closed or not view.worker_running:
        return view
    before = _what_counts(view)
    try:
        async with asyncio.timeout(seconds), aclosing(jobs.watch(job_id)) as views:
            async for view in views:
                if view.is_closed or _what_counts(view) != before:
                    return view
    except TimeoutError:
        pass
    return view


def _what_counts(view: JobView) -> tuple[object, ...]:
    """A view without its clock times: a new poll by a worker is not a change of the job."""
    state = view.state.model_dump(exclude={"updated_at"})
    return state, view.worker_running, view.source, view.is_closed
