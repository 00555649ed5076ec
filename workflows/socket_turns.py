"""How a run obtains a response over a WebSocket, and how it sends a text into it.

Part of the workflow: deterministic, owned by `ResponseSource`. The socket lives in a worker, so the next turn goes to
that worker's own queue; when nobody takes it there, or there is no room, to any worker. The truth stays here: a turn is
one attempt, and what its loss means is decided by the workflow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.messages import (
        CreateResponse,
        SteerOutcome,
        SteerResponse,
        SteerStatus,
        WebSocketTurn,
    )
    from durable_responses.activities.websocket import WebSocketActivities
    from durable_responses.workflows import activity_errors, interruptions
    from durable_responses.workflows.interruptions import StopRequest
    from durable_responses.workflows.ledger import Ledger
    from durable_responses.workflows.steering import SteeringMessages
    from durable_responses.workflows.web_ui import summary

_ONCE = RetryPolicy(maximum_attempts=1)
_TAKEN_WITHIN = timedelta(seconds=2)  # by a worker that lives; longer than that is better spent on another one
_STEERED_WITHIN = timedelta(seconds=15)


class CreateOptions(TypedDict):
    """How an activity that creates a response is started."""

    task_queue: str
    cancellation_type: ActivityCancellationType
    schedule_to_close_timeout: timedelta
    schedule_to_start_timeout: timedelta | None
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


@dataclass
class SocketTurns:
    """The turns of one run over its WebSocket. `changed` is called whenever the ledger has changed."""

    ledger: Ledger
    texts: SteeringMessages
    stop: StopRequest
    changed: Callable[[], None]

    async def run(self, create: CreateResponse, options: CreateOptions) -> WebSocketTurn:
        """One turn. SteeringMessages that come meanwhile are sent into it. Raises `Stopped`, `ActivityError`."""
        self.ledger.turn_ended()
        try:
            turn = await self._on_some_worker(create, options)
        except ActivityError:
            self.texts.turn_lost()
            raise
        finally:
            self.ledger.turn_ended()
        self.ledger.socket_queue = turn.queue
        self.texts.turn_ended(turn.connection, turn.steers)
        return turn

    async def _on_some_worker(self, create: CreateResponse, options: CreateOptions) -> WebSocketTurn:
        options["retry_policy"] = _ONCE
        queue, self.ledger.socket_queue = self.ledger.socket_queue, None
        if queue is not None:
            try:
                return await self._followed(_start(create, _on(queue, options)))
            except ActivityError as error:
                if not activity_errors.never_began(error):
                    raise
        return await self._followed(_start(create, options))

    async def _followed(self, handle: ActivityHandle[WebSocketTurn]) -> WebSocketTurn:
        while (steer := await self._text_meanwhile(handle)) is not None:
            self.texts.told(await self._steer(steer))
            self.changed()
        return await interruptions.ended(handle, self.stop)

    async def _text_meanwhile(self, handle: ActivityHandle[WebSocketTurn]) -> SteerResponse | None:
        """The next text for the turn; None when the turn is over, or is to be."""
        next_to_send = self.texts.next_to_send
        await workflow.wait_condition(lambda: handle.done() or self.stop.requested or next_to_send() is not None)
        return None if handle.done() or self.stop.requested else next_to_send()

    async def _steer(self, steer: SteerResponse) -> SteerOutcome:
        handle = workflow.start_activity_method(
            WebSocketActivities.steer_response,
            steer,
            task_queue=self.ledger.steering_queue,
            summary=summary(f"tell the model: {steer.text}"),
            start_to_close_timeout=_STEERED_WITHIN,
            schedule_to_start_timeout=_TAKEN_WITHIN,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_ONCE,
        )
        await workflow.wait_condition(lambda: handle.done() or self.stop.requested)
        if not handle.done():
            handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            if activity_errors.nobody_took(error):
                return SteerOutcome(id=steer.id, status=SteerStatus.FAILED, reason="No worker took it.")
            return SteerOutcome(id=steer.id, status=SteerStatus.UNKNOWN, reason=activity_errors.error_of(error).message)


def _start(create: CreateResponse, options: CreateOptions) -> ActivityHandle[WebSocketTurn]:
    return workflow.start_activity_method(
        WebSocketActivities.websocket_turn,
        create,
        summary=f"response {create.iteration} over a WebSocket",
        **options,
    )


def _on(queue: str, options: CreateOptions) -> CreateOptions:
    left = options["schedule_to_start_timeout"]
    chosen = options.copy()
    chosen["task_queue"] = queue
    chosen["schedule_to_start_timeout"] = min(_TAKEN_WITHIN, left or _TAKEN_WITHIN)
    return chosen
