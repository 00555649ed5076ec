"""Responses whose run is gone: an operator terminated, deleted or reset it, so no step of the run stops them.

Whoever holds such a response cancels it at the provider. A run that closed by itself has decided what becomes of the
responses that it knows: those that its history names. A reset goes on under the same workflow id: where its history
knows the response, it waits for it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.executions import DescribedExecution, described
from durable_responses.responses_api.client import FINISHED_OR_GONE, ResponsesClient
from durable_responses.responses_api.errors import ResponsesError

logger = logging.getLogger(__name__)

_TRIES = 6
_FIRST_PAUSE = 0.5  # seconds; it doubles


@dataclass(frozen=True)
class RunAtTemporal:
    """The execution that a response was made for, as the Temporal server knows it. Methods raise `RPCError`."""

    client: Client
    workflow_id: str
    run_id: str

    async def forgets(self, response_id: str, activity_id: str, *, waits: bool) -> bool:
        """Whether nobody waits any more for a response that this activity, unknown to the server now, has held.

        `waits`: whether its input named the response. What else created one may have given its id away before.
        """
        own = await self._described(self.run_id)
        if own is not None and own.is_open:
            pending = own.raw_description.pending_activities
            if any(other.activity_id == activity_id for other in pending):  # its next attempt
                return False
            return waits or not await self._knows(self.run_id, response_id)
        if own is not None and not own.was_closed_from_outside:
            return not waits and not await self._knows(self.run_id, response_id)
        return not await self._has_successor_with(response_id)

    async def was_ended_without(self, response_id: str) -> bool:
        """Whether the execution was closed from outside, and none that runs now knows the response; or whether it has
        closed without having heard of it, because an operator ended its create.

        An execution that is not found proves nothing: it may belong to another server or namespace.
        """
        own = await self._described(self.run_id)
        if own is None or own.is_open:
            return False
        if not own.was_closed_from_outside:
            return not await self._knows(self.run_id, response_id)
        return not await self._has_successor_with(response_id)

    async def _described(self, run_id: str | None) -> DescribedExecution | None:
        try:
            return await described(self.client, self.workflow_id, run_id)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _has_successor_with(self, response_id: str) -> bool:
        newest = await self._described(None)
        if newest is None or newest.run_id == self.run_id or not newest.is_open:
            return False
        return await self._knows(newest.run_id, response_id)

    async def _knows(self, run_id: str, response_id: str) -> bool:
        try:
            async for event in self.client.get_workflow_handle(self.workflow_id, run_id=run_id).fetch_history_events():
                if await self._names(response_id, event):
                    return True
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return False

    async def _names(self, response_id: str, event: HistoryEvent) -> bool:
        # Only what activities were given and gave: the signals of the run before, which may name it, are applied again.
        timed_out = event.activity_task_timed_out_event_attributes.failure
        payloads: Sequence[Payload] = [
            *event.activity_task_scheduled_event_attributes.input.payloads,
            *event.activity_task_completed_event_attributes.result.payloads,
            *timed_out.timeout_failure_info.last_heartbeat_details.payloads,
            *timed_out.cause.timeout_failure_info.last_heartbeat_details.payloads,
        ]
        codec = self.client.data_converter.payload_codec
        plain = await codec.decode(payloads) if codec and payloads else payloads
        return any(response_id.encode() in payload.data for payload in plain)


@asynccontextmanager
async def leaving_no_orphan(provider: ResponsesClient, response_id: str) -> AsyncIterator[None]:
    """Around an activity whose input names a response: if the server forgets the activity, see `cancel_if_orphaned`."""
    try:
        yield
    except asyncio.CancelledError:
        await cancel_if_orphaned(provider, response_id, waits=True)
        raise


async def cancel_if_orphaned(provider: ResponsesClient, response_id: str, *, waits: bool = False) -> None:
    """In an activity that the server does not know any more: stop the response, if nobody waits for it.

    `waits`: whether the activity's input names the response. Raises nothing but the cancel.
    """
    details, info = activity.cancellation_details(), activity.info()
    if details is None or not details.not_found:
        return
    run = RunAtTemporal(activity.client(), info.workflow_id or "", info.workflow_run_id or "")
    with contextlib.suppress(RPCError, ResponsesError):
        if await _patiently(lambda: run.forgets(response_id, info.activity_id, waits=waits), RPCError):
            await end(provider, response_id)


async def end(provider: ResponsesClient, response_id: str) -> None:
    """Cancel a response that nobody waits for. Raises `ResponsesError`."""
    logger.info("%s is cancelled: its run is gone, and no other one waits for it.", response_id)
    await _patiently(lambda: _cancelled(provider, response_id), ResponsesError)


async def _cancelled(provider: ResponsesClient, response_id: str) -> bool:
    try:
        await provider.cancel(response_id)
    except ResponsesError as error:
        if error.status not in FINISHED_OR_GONE:
            raise
    return True


async def _patiently(ask: Callable[[], Awaitable[bool]], passing: type[Exception]) -> bool:
    """The answer, asked for again while it fails. Raises the last failure."""
    pause = _FIRST_PAUSE
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except passing as error:
            logger.info("Whether a response is an orphan is not known yet: %s", error)
            await asyncio.sleep(pause)
            pause *= 2
    return await ask()
