"""Having a conversation compacted by an endpoint of its own, where no create can do it.

Its answer has no id: what is lost on its way is paid for and gone. So it is asked for once, and the workflow decides.
"""

from dataclasses import dataclass, field

from temporalio import activity

from durable_responses.activities.claims import Claims
from durable_responses.activities.cures import gone_container
from durable_responses.activities.failures import failed_create
from durable_responses.activities.heartbeats import Heartbeats
from durable_responses.activities.messages import (
    CompactConversation,
    CreatePhase,
    HeartbeatDetails,
    ResponseRecord,
)
from durable_responses.activities.records import compaction_record
from durable_responses.activities.requests import RequestBuilder
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import GiveUp, ResponsesError
from durable_responses.responses_api.models import CreateRequest, Response

COMPACTED_WITHIN = 600.0  # seconds


@dataclass
class CompactionActivities:
    """The activity that has a conversation compacted. `within`: the seconds that it may take."""

    client: ResponsesClient
    requests: RequestBuilder
    claims: Claims = field(default_factory=Claims)
    within: float = COMPACTED_WITHIN

    @activity.defn
    async def compact_conversation(self, asked: CompactConversation) -> ResponseRecord:
        """What the conversation begins anew with: that of the create, with what it adds.

        Raises `ApplicationError`, of the types of `create_response`.
        """
        claim, heartbeat = self.claims.begin(), HeartbeatDetails(phase=CreatePhase.FETCHING)
        async with Heartbeats(lambda: heartbeat):
            turn = self.requests.turn(asked.create)
            request = await self.requests.build(asked.create, turn, background=False, stream=False)
            heartbeat = HeartbeatDetails(phase=CreatePhase.POSTING)
            await claim.prove(heartbeat)  # else a worker that dies with it seems not to have sent it
            async with self.requests.telling_what_may_be_lost(asked.create, turn):
                try:
                    compacted = await self._compacted(request)
                except ResponsesError as error:
                    raise failed_create(error) from None
            # The answer of OpenAI's names no model, by which it is priced.
            named = compacted.model_copy(update={"model": compacted.model or request.model})
            record = compaction_record(named)
            turn.bound(record)
            return await self.requests.conversations.kept_apart(record, is_stored=False)

    async def _compacted(self, request: CreateRequest) -> Response:
        """The answer; once more without what ran in a container that is gone, where it is refused for that."""
        try:
            return await self.client.compact(request, within=self.within)
        except GiveUp as refusal:
            cure = gone_container(request, refusal)
            if cure is None or (changed := cure.make(request)) is None:
                raise
        return await self.client.compact(changed, within=self.within)
