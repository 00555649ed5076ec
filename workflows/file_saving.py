"""Saving the files of a run's responses: begun when a response has ended, beside all else, and awaited at the end.

Part of the workflow: deterministic, owned by `AgentWorkflow`. Files in containers live for twenty minutes only, so
nothing waits for the end of the run; and no failure here fails it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityHandle

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.made_files import MadeFilesActivities, mark_of
    from durable_responses.activities.messages import (
        FilesAt,
        ResponseRecord,
        SavedFile,
        SavedFiles,
        SaveFiles,
        SaveOptions,
    )
    from durable_responses.workflows import activity_errors
    from durable_responses.workflows.contract import AgentInput, TaskQueue
    from durable_responses.workflows.interruptions import StopRequest
    from durable_responses.workflows.ledger import Ledger
    from durable_responses.workflows.payloads import DATA_ERRORS, read
    from durable_responses.workflows.web_ui import summary

_FILES_PATCH = "saved-files"
_GRACE = timedelta(seconds=20)  # for what is being saved when the run is to stop
_PATIENCE = timedelta(minutes=15)  # after which a run that waits for nothing else begins to save no more
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
_LONGEST_REASON = 300  # characters
_NO_TIME = "The run ended before it was saved."


@dataclass
class FileSaving:
    """Saves the files of one run, of one response after the other. `changed`: as in `ResponseSource`."""

    request: AgentInput
    ledger: Ledger
    stop: StopRequest
    changed: Callable[[], None]

    def __post_init__(self) -> None:
        self._last: asyncio.Task[None] | None = None
        self._handle: ActivityHandle[SavedFiles] | None = None
        self._is_given_up = False
        self._waits_since: datetime | None = None

    def response_ended(self, response: ResponseRecord) -> None:
        """Begin to save what the response has left; its images are saved already."""
        options = self.request.save
        if options is None or not options.files:
            return
        self.ledger.files_saved(response.files or {})
        if response.files_at is not None and workflow.patched(_FILES_PATCH):
            saving = self._save(options, response.id, response.files_at, self._last)
            self._last = asyncio.create_task(saving)

    async def ended(self) -> None:
        """Return once everything is saved that can be; soon, where the run is to stop, or its time is up."""
        last, waiting = self._last, self.ledger.state.waiting
        if last is None or last.done():
            return
        self._waits_since = workflow.now()
        self.ledger.waits_quietly("the files of a response are being saved", workflow.now())
        self.changed()
        deadline = self.ledger.deadline
        left = max(deadline - workflow.now(), timedelta(0)) if deadline else None
        await _becomes(lambda: last.done() or self.stop.requested, left)
        if not last.done() and not await _becomes(last.done, _GRACE):
            self._is_given_up = True
            if self._handle is not None:
                self._handle.cancel()
        await workflow.wait_condition(last.done)
        self.ledger.state.waiting = waiting

    async def _save(
        self, options: SaveOptions, response_id: str, at: FilesAt, before: "asyncio.Task[None] | None"
    ) -> None:
        if before is not None:  # what it saves must be known, and one file is never written twice at a time
            await workflow.wait_condition(before.done)
        try:
            saved = await self._saved(options, response_id, at) if self._has_time else _none_of(at, _NO_TIME)
        except ActivityError as error:
            stopped = activity_errors.was_cancelled(error)
            saved = _none_of(at, _NO_TIME if stopped else activity_errors.error_of(error).message)
        except DATA_ERRORS as error:
            saved = _none_of(at, str(error))
        for container_id in at.containers:  # what was said of it before, no longer holds
            self.ledger.saved_files.pop(mark_of(container_id), None)
        self.ledger.files_saved(saved)
        self.changed()

    @property
    def _has_time(self) -> bool:
        waits_too_long = self._waits_since is not None and workflow.now() - self._waits_since > _PATIENCE
        return not (self._is_given_up or waits_too_long)

    async def _saved(self, options: SaveOptions, response_id: str, at: FilesAt) -> dict[str, SavedFile]:
        known = self.ledger.saved_files
        self._handle = workflow.start_activity_method(
            MadeFilesActivities.save_files,
            SaveFiles(
                options=options,
                response_id=response_id,
                at=at,
                known=[mark for mark, file in known.items() if file.path is not None],
                most_files=self.ledger.files_left,
                most_bytes=self.ledger.bytes_left,
            ),
            task_queue=TaskQueue.AGENTS.under(workflow.info().task_queue),
            summary=summary(f"save the files of {response_id}"),
            start_to_close_timeout=timedelta(minutes=15),  # it gives up by itself before that
            schedule_to_close_timeout=timedelta(hours=1),  # while there is no worker
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_RETRIES,
        )
        return read(await self._handle).files


async def _becomes(condition: Callable[[], bool], within: timedelta | None) -> bool:
    try:
        await workflow.wait_condition(condition, timeout=within, timeout_summary="files are being saved")
    except TimeoutError:
        return False
    return True


def _none_of(at: FilesAt, why: str) -> dict[str, SavedFile]:
    return {mark_of(name): SavedFile(name=name, error=why[:_LONGEST_REASON]) for name in at.containers}
