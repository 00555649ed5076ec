"""What the history of a run says of the amounts that were set aside for its responses: what these have cost.

A worker says so itself, soon after. One that is lost before it could has left it in history all the same: the results
of its activities are there. So a budget that still holds something for a run has the history read.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, TimeoutError  # noqa: A004

from durable_responses.activities.failures import detail_of
from durable_responses.activities.histories import decoded
from durable_responses.activities.messages import (
    RESULT_OF_ACTIVITY,
    ActivityName,
    AwaitResponse,
    CancelResponse,
    CreatedResponse,
    FailureDetail,
    FailureType,
    HeartbeatDetails,
    ResponseRecord,
    detail_as,
    records_in,
)
from durable_responses.pricing.tenant_budgets import NOTHING, Amount, Settle

logger = logging.getLogger(__name__)

NOTHING_WAS_SENT = frozenset(
    {
        FailureType.TRY_LATER,
        FailureType.NO_ROOM,
        FailureType.MOVED,
        FailureType.CHAIN_REJECTED,
        FailureType.INVALID_INPUT,
        FailureType.BAD_REQUEST,
        FailureType.AUTHENTICATION_FAILED,
        FailureType.QUOTA_EXHAUSTED,
        FailureType.NOT_FOUND,
        FailureType.UNSUPPORTED_BY_PROVIDER,
        FailureType.DEADLINE_PASSED,
        FailureType.CONVERSATION_LOST,
        FailureType.MCP_SERVER_FAILED,
        FailureType.BUDGET_EXCEEDED,
    }
)
_FOLLOWS: dict[str, type[AwaitResponse] | type[CancelResponse]] = {
    ActivityName.AWAIT_RESPONSE: AwaitResponse,
    ActivityName.CANCEL_RESPONSE: CancelResponse,
}


def key_of(run_id: str, activity_id: str) -> str:
    """What is set aside by an activity is known by it: one that is run again, by another worker too, has the same."""
    return f"{run_id}/{activity_id}"


def cost_of(records: Sequence[ResponseRecord]) -> Amount:
    """What responses have cost together; None where that is not known of each."""
    cost = NOTHING
    for record in records:
        usd = record.cost.usd if record.cost is not None else None
        tokens = record.usage.total_tokens if record.usage is not None and not _is_uncounted(record) else None
        cost = Amount(
            usd=None if usd is None or cost.usd is None else cost.usd + Decimal(str(usd)),
            tokens=None if tokens is None or cost.tokens is None else cost.tokens + tokens,
        )
    return cost


def _is_uncounted(record: ResponseRecord) -> bool:
    in_doubt = record.billed is not None and bool(record.billed.doubts)
    return in_doubt or (record.cost is not None and record.cost.uncounted is True)


@dataclass
class RecordedSettlements:
    """Takes the events of one run's history, in order; `settled`: what they say, by key. The first word counts."""

    run_id: str
    converter: DataConverter
    settled: dict[str, Settle] = field(default_factory=dict)
    _keys: dict[int, str] = field(default_factory=dict)
    _kinds: dict[int, str] = field(default_factory=dict)
    _by_response: dict[str, str] = field(default_factory=dict)

    async def take(self, event: HistoryEvent) -> None:
        """Take the next event."""
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            kind = scheduled.activity_type.name
            if kind in RESULT_OF_ACTIVITY:
                self._kinds[event.event_id] = kind
                self._keys[event.event_id] = key_of(self.run_id, scheduled.activity_id)
            if kind in _FOLLOWS:
                follows = await decoded(self.converter, scheduled.input, _FOLLOWS[kind])
                self._keys[event.event_id] = self._key_followed(follows)
        elif event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes
            await self._completed(completed.scheduled_event_id, completed.result)
        elif event.HasField("activity_task_failed_event_attributes"):
            failed = event.activity_task_failed_event_attributes
            await self._failed(failed.scheduled_event_id, failed.failure)
        elif event.HasField("activity_task_timed_out_event_attributes"):
            timed_out = event.activity_task_timed_out_event_attributes
            await self._failed(timed_out.scheduled_event_id, timed_out.failure)

    def _key_followed(self, follows: AwaitResponse | CancelResponse | None) -> str:
        """The key of the response that an activity waits for, or cancels."""
        if follows is None:
            return ""
        return follows.reserved.key if follows.reserved else self._by_response.get(follows.response_id, "")

    async def _completed(self, scheduled: int, result: Payloads) -> None:
        kind = RESULT_OF_ACTIVITY.get(self._kinds.get(scheduled, ""))
        found = await decoded(self.converter, result, kind) if kind is not None else None
        records = records_in(found)
        if not records or not records[-1].is_finished:
            if isinstance(found, CreatedResponse):
                self._is_looked_for(found.response_id, scheduled)
            elif records:
                self._is_looked_for(records[-1].id, scheduled)
            return
        # A response that its own activity has lost may be found by the one that follows; servers use ids again.
        lost = self._by_response.pop(records[-1].id, None)
        is_followed = self._kinds[scheduled] in _FOLLOWS
        key = self._keys[scheduled] if is_followed or lost is None else lost
        if key:
            self._settle(key, cost_of(records))

    async def _failed(self, scheduled: int, failure: Failure) -> None:
        kind = self._kinds.get(scheduled)
        if kind is None or kind in _FOLLOWS:
            return
        try:
            error: BaseException | None = await self.converter.decode_failure(failure)
        except Exception as unreadable:  # an operator may have failed it with anything
            logger.warning("A failure of a history cannot be read: %r", unreadable)
            return
        if isinstance(error, ApplicationError):
            detail = detail_as(FailureDetail, error.details) or detail_of(error) or FailureDetail()
            is_unsent = error.type in NOTHING_WAS_SENT and not detail.may_still_run
            self._is_over(scheduled, detail.response_id, NOTHING if is_unsent else Amount())
        elif isinstance(error, TimeoutError):
            heartbeat = detail_as(HeartbeatDetails, error.last_heartbeat_details)
            self._is_over(scheduled, heartbeat.response_id if heartbeat else None, Amount())

    def _is_over(self, scheduled: int, response_id: str | None, cost: Amount) -> None:
        """A create has no answer: it has cost that, unless another activity finds its response."""
        if response_id is not None:
            self._is_looked_for(response_id, scheduled)
        else:
            self._settle(self._keys[scheduled], cost)

    def _is_looked_for(self, response_id: str, scheduled: int) -> None:
        self._by_response[response_id] = self._keys[scheduled]

    def _settle(self, key: str, cost: Amount) -> None:
        self.settled.setdefault(key, Settle(key=key, cost=cost))
