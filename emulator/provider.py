"""The API without its transports: what the HTTP, SSE and WebSocket endpoints call.

Every change is an entry of the journal, written first and applied second, so a restarted emulator is the same one.
"""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from emulator.billing import Bill, Rejection, bill
from emulator.clock import Clock
from emulator.conversation import Conversation, check_calls, tokens_of_items, tokens_of_options
from emulator.errors import ApiError, model_not_found
from emulator.faults import Effect, End, Fault, FaultQueue, FinishFirst, Operation, Stuck
from emulator.journal import (
    ClockAdvanced,
    Created,
    Deleted,
    Entry,
    FaultQueued,
    FaultsCleared,
    FaultUsed,
    Journal,
    Read,
    Rejected,
    ScenarioRegistered,
    Stopped,
)
from emulator.lifecycle import Stop, StoredResponse
from emulator.requests import CompactBody, CreateBody, Item, ModelInput, input_items, listed_item
from emulator.scenarios import Scenario, ScenarioBook
from emulator.script import Turn, within
from emulator.store import Store
from emulator.wire import CompactedResponse, usage

UNKNOWN_MODEL_PREFIX = "unknown-"
READS_ARE_WRITTEN_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Sent:
    """One event on its way: `data` is its JSON."""

    sequence_number: int
    type: str
    data: bytes


class Provider:
    """One provider with its responses, scenarios, faults and bill.

    `pace` multiplies every time of every script: 0.1 answers ten times as fast. Without a journal nothing outlives it.
    """

    def __init__(
        self, scenarios: ScenarioBook, *, clock: Clock | None = None, journal: Journal | None = None, pace: float = 1.0
    ) -> None:
        self.clock = clock or Clock()
        self.scenarios = scenarios
        self.faults = FaultQueue()
        self.store = Store()
        self.rejections: list[Rejection] = []
        self._pace = pace
        self._closed = False
        self._unwritten_gets: dict[str, int] = {}
        self._gets_written_at = 0.0
        self._journal = journal
        if journal is not None:
            for entry in journal.replay():
                self._apply(entry)

    # --- the API -------------------------------------------------------------------------------------------------

    def create(self, request: CreateBody, effect: Effect | None = None) -> StoredResponse:
        """Accept a request. Raises: ApiError; see `reject`."""
        now = self.clock.now()
        if request.model.startswith(UNKNOWN_MODEL_PREFIX):
            raise model_not_found(request.model)
        turn = within(self._scripted(self.conversation(request)), request.max_output_tokens)
        if isinstance(effect, Stuck):
            turn = turn.model_copy(update={"queue": None})
        elif isinstance(effect, End):
            turn = turn.model_copy(update={"ending": effect.ending})
        elif not request.background:
            turn = turn.model_copy(update={"queue": 0.0})
        created = Created(id=f"resp_{secrets.token_hex(24)}", at=now, request=request, turn=turn)
        self._record(created)
        return self.store.all[created.id]

    def reject(self, error: ApiError, metadata: dict[str, str]) -> None:
        """Note on the bill that a create was refused."""
        refused = Rejection(status=error.status, code=error.error.code, message=error.error.message, metadata=metadata)
        self._record(Rejected(rejection=refused))

    def conversation(self, request: CreateBody) -> Conversation:
        """A request in its context, checked. Raises: ApiError 400."""
        previous = request.previous_response_id
        before = self.store.context(self.store.previous(previous, self.clock.now()) if previous else None)
        conversation = Conversation(request, before, input_items(request.input))
        check_calls(conversation)
        return conversation

    def retrieve(self, response_id: str) -> StoredResponse:
        """Read a response; counted. Raises: ApiError 404."""
        response = self.store.get(response_id, self.clock.now())
        response.gets += 1
        if self._journal is not None:
            self._unwritten_gets[response_id] = self._unwritten_gets.get(response_id, 0) + 1
            if self.clock.now() >= self._gets_written_at + READS_ARE_WRITTEN_EVERY_SECONDS:
                self._write_gets()
        return response

    def cancel(self, response_id: str, effect: Effect | None = None) -> StoredResponse:
        """Cancel a background response. Raises: ApiError 400, 404."""
        now = self.clock.now()
        response = self.store.get(response_id, now)
        if isinstance(effect, FinishFirst) and response.finished_at > now:
            self._record(Stopped(id=response_id, at=now, how=Stop.FINISH_NOW))
        response.check_cancel(now)
        if response.finished_at > now:
            self._record(Stopped(id=response_id, at=now, how=Stop.CANCEL))
        return response

    def hang_up(self, response: StoredResponse) -> None:
        """The client of a foreground response is gone, and nobody else can ever have its answer: it stops."""
        now = self.clock.now()
        if not self._closed and not response.request.background and response.finished_at > now:
            self._record(Stopped(id=response.id, at=now, how=Stop.HANG_UP))

    def delete(self, response_id: str) -> None:
        """Delete a response; one that is under way stops. Raises: ApiError 404."""
        now = self.clock.now()
        response = self.store.get(response_id, now)
        if response.finished_at > now:
            self._record(Stopped(id=response_id, at=now, how=Stop.CANCEL))
        self._record(Deleted(id=response_id))

    def input_tokens(self, request: ModelInput) -> int:
        """How many tokens a request would give to the model. Raises: ApiError 400."""
        previous = request.previous_response_id
        before = self.store.previous(previous, self.clock.now()).context_tokens if previous else 0
        return before + tokens_of_items(input_items(request.input)) + tokens_of_options(request)

    def compact(self, request: CompactBody) -> CompactedResponse:
        """A conversation in short: the user's messages and one item for all the rest. Raises: ApiError 400."""
        previous = request.previous_response_id
        before = self.store.context(self.store.previous(previous, self.clock.now()) if previous else None)
        items = [*before, *input_items(request.input)]
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
            id=f"resp_{key}", created_at=int(self.clock.now()), output=[*kept, compaction], usage=cost
        )

    async def finished(self, response: StoredResponse) -> None:
        """Wait until a response has ended."""
        while self.clock.now() < response.finished_at:
            await response.wait(self.clock, response.finished_at)

    async def follow(self, response: StoredResponse, starting_after: int = -1) -> AsyncIterator[Sent]:
        """The events of a response as they happen, from the one after sequence number `starting_after`."""
        number = starting_after + 1
        while True:
            moments = response.moments()
            if number >= len(moments):
                if response.finished_at <= self.clock.now():
                    return
                await response.wait(self.clock, response.finished_at)
                continue
            due = response.created_at + moments[number].at
            if due > self.clock.now():
                await response.wait(self.clock, due)
                continue
            moment = moments[number]
            yield Sent(number, moment.type, response.event(number, moment))
            number += 1

    # --- control -------------------------------------------------------------------------------------------------

    def take_fault(self, operation: Operation, metadata: dict[str, str], *, chained: bool = False) -> Effect | None:
        """The fault that a request meets, if any; it is used up by that."""
        fault = self.faults.match(operation, metadata, chained=chained)
        if fault is None:
            return None
        if fault.times is not None or fault.skip:
            self._record(FaultUsed(fault_id=fault.id))
        return None if fault.skip else fault.effect

    def add_fault(self, fault: Fault) -> None:
        """Order a fault."""
        self._record(FaultQueued(fault=fault))

    def clear_faults(self) -> None:
        """Call off all faults."""
        self._record(FaultsCleared())

    def register(self, scenario: Scenario) -> None:
        """Add a scenario, or replace one."""
        self._record(ScenarioRegistered(scenario=scenario))

    def advance(self, seconds: float) -> None:
        """Push the clock forward."""
        self._record(ClockAdvanced(seconds=seconds))

    def bill(self, metadata: dict[str, str]) -> Bill:
        """The bill of all responses that have this metadata."""
        wanted = metadata.items()
        return bill(
            [it for it in self.store.all.values() if wanted <= (it.request.metadata or {}).items()],
            [it for it in self.rejections if wanted <= it.metadata.items()],
            self.clock.now(),
        )

    def reset(self) -> None:
        """Forget responses, scenarios, faults and counts."""
        self.store.clear()
        self.faults.clear()
        self.scenarios.registered.clear()
        self.rejections.clear()
        self._unwritten_gets.clear()
        if self._journal is not None:
            self._journal.clear()

    def close(self) -> None:
        """Write what is not written yet, and close the state file. Connections that break now mean nothing."""
        self._closed = True
        if self._journal is not None:
            self._write_gets()
            self._journal.close()

    # --- state ---------------------------------------------------------------------------------------------------

    def _scripted(self, conversation: Conversation) -> Turn:
        turn = self.scenarios.turn(conversation)
        return turn.scaled(self._pace) if self._pace != 1.0 else turn

    def _write_gets(self) -> None:
        assert self._journal is not None
        if self._unwritten_gets:
            self._journal.append(Read(gets=self._unwritten_gets))
        self._unwritten_gets = {}
        self._gets_written_at = self.clock.now()

    def _record(self, entry: Entry) -> None:
        if self._journal is not None:
            self._journal.append(entry)
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        match entry:
            case Created():
                self.store.add(self._response(entry))
            case Rejected():
                self.rejections.append(entry.rejection)
            case Stopped():
                self.store.all[entry.id].stop(entry.how, entry.at)
            case Deleted():
                self.store.all[entry.id].deleted = True
            case Read():
                for response_id, gets in entry.gets.items():
                    self.store.all[response_id].gets += gets
            case ScenarioRegistered():
                self.scenarios.register(entry.scenario)
            case FaultQueued():
                self.faults.add(entry.fault)
            case FaultUsed():
                self.faults.use(entry.fault_id)
            case FaultsCleared():
                self.faults.clear()
            case ClockAdvanced():
                self.clock.advance(entry.seconds)

    def _response(self, created: Created) -> StoredResponse:
        request = created.request
        previous = self.store.all[request.previous_response_id] if request.previous_response_id else None
        items: list[Item] = input_items(request.input)
        cached = previous.context_tokens if previous else 0
        return StoredResponse(
            created.id,
            created.at,
            request,
            items,
            created.turn,
            previous=previous,
            input_tokens=cached + tokens_of_items(items) + tokens_of_options(request),
            cached_tokens=cached,
        )
