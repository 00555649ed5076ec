"""The operations of the API, independent of transport: what the HTTP and WebSocket endpoints call."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from durable_responses.emulator.faults import Answer, Effect, End, FinishFirst, Operation, RejectChain, Stuck
from durable_responses.emulator.model.conversation import Conversation, check_calls, tokens_of_items, tokens_of_options
from durable_responses.emulator.model.item_events import Moment
from durable_responses.emulator.model.scenarios import MODEL_PREFIX
from durable_responses.emulator.model.script import Script, within
from durable_responses.emulator.objects.answer_bodies import CompactedResponse, ModelObject, usage
from durable_responses.emulator.objects.api_errors import ApiError, ErrorBody, invalid, item_not_found, model_not_found
from durable_responses.emulator.objects.request_bodies import (
    CompactBody,
    CreateBody,
    Item,
    ModelInput,
    input_items,
    is_reference,
    listed_item,
)
from durable_responses.emulator.objects.request_checks import check_model, check_verified
from durable_responses.emulator.state.billing import Rejection
from durable_responses.emulator.state.journal import Created, Deleted, FaultUsed, Finished, Rejected, Stopped
from durable_responses.emulator.state.lifecycle import Stop, StoredResponse, Transport
from durable_responses.emulator.state.memory import State

UNKNOWN_MODEL_PREFIX = "unknown-"
PLAIN_MODEL = "emulated"
# Seconds; more than the rounding of times, less than anyone notices.
AFTER_WHAT_WAS_SENT = 1e-5


@dataclass(frozen=True)
class Sent:
    """One event on its way: `data` is its JSON."""

    sequence_number: int
    type: str
    data: bytes


class Provider:
    """The operations of the API. `pace` multiplies every time of every script: 0.1 answers ten times as fast.

    `verified`: whether the organisation is, so that it may ask for reasoning summaries and for streams.
    """

    def __init__(self, state: State, *, pace: float = 1.0, verified: bool = True) -> None:
        self.state = state
        self._pace = pace
        self._verified = verified

    # --- operations ----------------------------------------------------------------------------------------------

    def create(
        self,
        request: CreateBody,
        effect: Effect | None = None,
        *,
        transport: Transport = Transport.HTTP,
        generate: bool = True,
        cached: StoredResponse | None = None,
    ) -> StoredResponse:
        """Accept a request. `cached` is the previous response, where its connection has kept it: then it need not be
        stored. Raises: ApiError; see `reject`."""
        if request.model.startswith(UNKNOWN_MODEL_PREFIX):
            raise model_not_found(request.model)
        check_model(request)
        if not self._verified:
            check_verified(request)
        conversation = self.conversation(request, cached) if generate else None
        script = self.state.scenarios.respond(conversation).scaled(self._pace) if conversation else Script()
        script = _affected(within(script, request.max_output_tokens), request, effect)
        created = Created(
            id=f"resp_{secrets.token_hex(24)}",
            at=self.state.clock.now(),
            request=request,
            script=script,
            transport=transport,
            generate=generate,
        )
        self.state.record(created)
        return self.state.store.all[created.id]

    def reject(self, error: ApiError, metadata: dict[str, str], transport: Transport = Transport.HTTP) -> None:
        """Note on the bill that a create was refused."""
        refused = Rejection(
            status=error.status,
            code=error.error.code,
            message=error.error.message,
            metadata=metadata,
            transport=transport,
        )
        self.state.record(Rejected(rejection=refused))

    def conversation(self, request: CreateBody, cached: StoredResponse | None = None) -> Conversation:
        """A request in its context, checked. Raises: ApiError 400."""
        before = self.state.store.context(cached) if cached else self._before(request.previous_response_id)
        conversation = Conversation(request, before, self._items(request))
        check_calls(conversation)
        return conversation

    def retrieve(self, response_id: str) -> StoredResponse:
        """Read a response; counted. Raises: ApiError 404."""
        response = self.state.store.get(response_id, self.state.clock.now())
        self.state.count_get(response)
        self._confirm(response)
        return response

    def cancel(self, response_id: str, effect: Effect | None = None) -> StoredResponse:
        """Cancel a background response. Raises: ApiError 400, 404."""
        now = self.state.clock.now()
        response = self.state.store.get(response_id, now)
        if isinstance(effect, FinishFirst) and response.finished_at > now:
            self.state.record(Stopped(id=response_id, at=now, how=Stop.FINISH_NOW))
        response.check_cancel(now)
        if response.finished_at > now:
            self.state.record(Stopped(id=response_id, at=now, how=Stop.CANCEL))
        return response

    def hang_up(self, response: StoredResponse) -> None:
        """The client of a foreground response is gone, and nobody else can ever have its answer: it stops."""
        now = self.state.clock.now()
        if not self.state.closed and not response.request.background and response.finished_at > now:
            self.state.record(Stopped(id=response.id, at=now, how=Stop.HANG_UP))

    def steer(self, response: StoredResponse) -> None:
        """End a response with what it has, so that another can continue it; not one whose calls are awaited."""
        at = self.state.clock.now() + AFTER_WHAT_WAS_SENT
        if response.finished_at > at and not response.calls:
            self.state.record(Stopped(id=response.id, at=at, how=Stop.STEER))

    def _confirm(self, response: StoredResponse) -> None:
        """A client is about to be told that a WebSocket response has ended: that must stay true."""
        now = self.state.clock.now()
        if response.transport is Transport.WEBSOCKET and not response.confirmed and response.finished_at <= now:
            self.state.record(Finished(id=response.id, at=now))

    def delete(self, response_id: str) -> None:
        """Delete a response; one that is under way stops. Raises: ApiError 404."""
        now = self.state.clock.now()
        response = self.state.store.get(response_id, now)
        if response.finished_at > now:
            self.state.record(Stopped(id=response_id, at=now, how=Stop.CANCEL))
        self.state.record(Deleted(id=response_id))

    def input_tokens(self, request: ModelInput) -> int:
        """How many tokens a request would give to the model. Raises: ApiError 400."""
        previous = request.previous_response_id
        before = self.state.store.previous(previous, self.state.clock.now()).context_tokens if previous else 0
        return before + tokens_of_items(self._items(request)) + tokens_of_options(request)

    def compact(self, request: CompactBody) -> CompactedResponse:
        """A conversation in short: the user's messages and one item for all the rest. Raises: ApiError 400."""
        before = self._before(request.previous_response_id)
        items = [*before, *self._items(request)]
        key = secrets.token_hex(24)
        kept = [listed_item(item, f"{key}{at:02x}") for at, item in enumerate(items) if item.get("role") == "user"]
        compaction = {"type": "compaction", "id": f"cmp_{key}", "encrypted_content": secrets.token_urlsafe(32)}
        cost = usage(
            input_tokens=tokens_of_items(items),
            cached_tokens=0,
            output_tokens=tokens_of_items([compaction]),
            reasoning_tokens=0,
        )
        return CompactedResponse(
            id=f"resp_{key}", created_at=int(self.state.clock.now()), output=[*kept, compaction], usage=cost
        )

    def _items(self, request: ModelInput | CompactBody) -> list[Item]:
        """The input, with the items that it only names. Raises: ApiError 404 for those that were never stored."""
        items = self.state.store.resolved(input_items(request.input), self.state.clock.now())
        stored = not isinstance(request, CreateBody) or request.is_stored
        for item in items:
            unread = item.get("type") == "reasoning" and item.get("id") and not item.get("encrypted_content")
            if is_reference(item) or (unread and self.state.store.item(item["id"], self.state.clock.now()) is None):
                raise item_not_found(item["id"], stored=stored)
        return items

    def models(self) -> list[ModelObject]:
        """Some of the models that may be asked for: the plain one, and one for each scenario."""
        return [
            ModelObject(id=name)
            for name in (PLAIN_MODEL, *(f"{MODEL_PREFIX}{name}" for name in self.state.scenarios.names()))
        ]

    def model(self, name: str) -> ModelObject:
        """Any model: the emulator takes all names but those of models that do not exist. Raises: ApiError 404."""
        if name.startswith(UNKNOWN_MODEL_PREFIX):
            raise model_not_found(name)
        return ModelObject(id=name)

    def _before(self, previous_response_id: str | None) -> list[Item]:
        if previous_response_id is None:
            return []
        return self.state.store.context(self.state.store.previous(previous_response_id, self.state.clock.now()))

    def take_fault(self, operation: Operation, metadata: dict[str, str], *, chained: bool = False) -> Effect | None:
        """The fault that a request meets, if any; it is used up by that."""
        fault = self.state.faults.match(operation, metadata, chained=chained)
        if fault is None:
            return None
        if fault.times is not None or fault.skip:
            self.state.record(FaultUsed(fault_id=fault.id))
        return None if fault.skip else fault.effect

    # --- reading -------------------------------------------------------------------------------------------------

    async def finished(self, response: StoredResponse) -> None:
        """Wait until a response has ended."""
        while self.state.clock.now() < response.finished_at:
            await response.wait(self.state.clock, response.finished_at)

    async def follow(self, response: StoredResponse, starting_after: int = -1) -> AsyncIterator[Sent]:
        """The events of a response as they happen, from the one after sequence number `starting_after`."""
        async for number, moment in self.moments(response, starting_after):
            yield Sent(number, moment.type, response.event(number, moment))

    async def moments(self, response: StoredResponse, starting_after: int = -1) -> AsyncIterator[tuple[int, Moment]]:
        """The same, not yet written as JSON."""
        number = starting_after + 1
        while True:
            moments = response.moments()
            if number >= len(moments):
                if response.finished_at <= self.state.clock.now():
                    return
                await response.wait(self.state.clock, response.finished_at)
                continue
            due = response.created_at + moments[number].at
            if due > self.state.clock.now():
                await response.wait(self.state.clock, due)
                continue
            if number == len(moments) - 1:
                self._confirm(response)
            yield number, moments[number]
            number += 1


def check_refusal(effect: Effect | None, request: CreateBody | None = None) -> None:
    """Raises: ApiError, for a fault that refuses the request."""
    if isinstance(effect, Answer):
        error = ErrorBody(message=effect.message, type=effect.error_type, code=effect.code)
        raise ApiError(effect.status, error, effect.headers)
    if isinstance(effect, RejectChain) and request is not None:
        items = request.input if isinstance(request.input, list) else []
        call_id = next((item["call_id"] for item in items if "call_id" in item), "call_unknown")
        raise invalid(f"No tool call found for function call output with call_id {call_id}.", "input")


def _affected(script: Script, request: CreateBody, effect: Effect | None) -> Script:
    """The script as a fault makes it. Only background responses wait in the queue, unless they are stuck."""
    if isinstance(effect, Stuck):
        return script.model_copy(update={"queue": None})
    if not request.background:
        script = script.model_copy(update={"queue": 0.0})
    if isinstance(effect, End):
        script = script.model_copy(update={"ending": effect.ending})
    return script
