"""Everything that the emulator remembers, rebuilt from its journal.

Every change is an entry of the journal, written first and applied second, so a restarted emulator is the same one.
"""

from dataclasses import dataclass

from durable_responses.emulator.faults import FaultQueue
from durable_responses.emulator.model.context import compaction_of, sealed, since_compaction
from durable_responses.emulator.model.conversation import tokens_of_items
from durable_responses.emulator.model.scenarios import ScenarioBook
from durable_responses.emulator.model.script import CodeInterpreterStep
from durable_responses.emulator.objects.answer_bodies import CompactedResponse, usage
from durable_responses.emulator.objects.request_bodies import input_items, listed_item
from durable_responses.emulator.state.billing import Bill, BilledCompaction, Rejection, bill
from durable_responses.emulator.state.clock import Clock
from durable_responses.emulator.state.containers import Containers, StoredFile
from durable_responses.emulator.state.journal import (
    ClockAdvanced,
    Compacted,
    ContainerUsed,
    ContextWindowSet,
    Created,
    Deleted,
    Entry,
    FaultQueued,
    FaultsCleared,
    FaultUsed,
    Finished,
    Journal,
    Read,
    Rejected,
    ScenarioRegistered,
    Stopped,
)
from durable_responses.emulator.state.lifecycle import Stop, StoredResponse, Transport
from durable_responses.emulator.state.response_store import Store

READS_ARE_WRITTEN_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Compaction:
    """A compaction by `POST /responses/compact`: the answer, and its line on the bill."""

    answer: CompactedResponse
    billed: BilledCompaction


class State:
    """Responses, scenarios, faults and bill. Without a journal nothing outlives the process."""

    def __init__(self, scenarios: ScenarioBook, *, clock: Clock | None = None, journal: Journal | None = None) -> None:
        self.clock = clock or Clock()
        self.scenarios = scenarios
        self.faults = FaultQueue()
        self.store = Store()
        self.containers = Containers()
        self.rejections: list[Rejection] = []
        self.compactions: dict[str, Compaction] = {}
        self.context_windows: dict[str, int | None] = {}
        self.closed = False
        self._journal = journal
        self._unwritten_gets: dict[str, int] = {}
        self._gets_written_at = 0.0
        self._ran_at = 0.0
        for entry in journal.replay() if journal else ():
            self._apply(entry)
        self._cut_websocket_responses()

    def record(self, entry: Entry) -> None:
        """Write an entry to the journal, and apply it."""
        if self._journal is not None:
            self._journal.append(entry)
        self._apply(entry)

    def count_get(self, response: StoredResponse) -> None:
        """Count a read. The one thing that a kill may lose: reads of the last second."""
        response.gets += 1
        if self._journal is None:
            return
        self._unwritten_gets[response.id] = self._unwritten_gets.get(response.id, 0) + 1
        if self.clock.now() >= self._gets_written_at + READS_ARE_WRITTEN_EVERY_SECONDS:
            self._write_gets(self._journal)

    def bill(self, metadata: dict[str, str]) -> Bill:
        """The bill of all responses that have this metadata."""
        wanted = metadata.items()
        return bill(
            [it for it in self.store.all.values() if wanted <= (it.request.metadata or {}).items()],
            [it for it in self.rejections if wanted <= it.metadata.items()],
            self.clock.now(),
            [it.billed for it in self.compactions.values() if wanted <= it.billed.metadata.items()],
        )

    def reset(self) -> None:
        """Forget responses, scenarios, faults, windows and counts."""
        self.store.clear()
        self.containers.all.clear()
        self.faults.clear()
        self.scenarios.registered.clear()
        self.rejections.clear()
        self.compactions.clear()
        self.context_windows.clear()
        self._unwritten_gets.clear()
        if self._journal is not None:
            self._journal.clear()

    def close(self) -> None:
        """Write what is unwritten, and close the state file. Connections that break from now on change nothing."""
        if self._journal is not None and not self.closed:
            self._write_gets(self._journal)
            self._journal.close()
        self.closed = True

    def _write_gets(self, journal: Journal) -> None:
        if self._unwritten_gets:
            journal.append(Read(gets=self._unwritten_gets))
        self._unwritten_gets = {}
        self._gets_written_at = self.clock.now()

    def _cut_websocket_responses(self) -> None:
        """No WebSocket outlives its process: what was under way when that last showed a sign of life has ended."""
        for response in list(self.store.all.values()):
            if response.transport is Transport.WEBSOCKET and response.finished_at > self._ran_at:
                self.record(Stopped(id=response.id, at=self._ran_at, how=Stop.HANG_UP))

    def _apply(self, entry: Entry) -> None:
        if isinstance(entry, Created | Stopped | Finished):
            self._ran_at = max(self._ran_at, entry.at)
        match entry:
            case Created():
                self._add(self._response(entry))
            case Compacted():
                self.compactions[entry.id] = self._compaction(entry)
            case ContainerUsed():
                self.containers.use(entry.id, entry.at, entry.at)
            case ContextWindowSet():
                self.context_windows.pop(entry.model, None)
                self.context_windows[entry.model] = entry.tokens
            case Rejected():
                self.rejections.append(entry.rejection)
            case Stopped():
                self.store.all[entry.id].stop(entry.how, entry.at)
            case Finished():
                self.store.all[entry.id].confirmed = True
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

    def _add(self, response: StoredResponse) -> None:
        self.store.add(response)
        begun = response.created_at
        ended = response.finished_at if response.finished_at != float("inf") else begun
        for step in response.script.output:
            if isinstance(step, CodeInterpreterStep) and step.container_id:
                self.containers.use(step.container_id, begun, ended)
        for file in response.timeline.files:
            container = self.containers.use(file.container_id, begun, ended)
            container.files[file.id] = StoredFile(file, ended)

    def _response(self, created: Created) -> StoredResponse:
        request = created.request
        previous = self.store.all[request.previous_response_id] if request.previous_response_id else None
        items = self.store.resolved(input_items(request.input), created.at)
        input_tokens, cached_tokens = self.store.tokens(request, previous, items, created.context_window)
        return StoredResponse(
            created.id,
            created.at,
            request,
            items,
            created.script,
            previous=previous,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            transport=created.transport,
            generate=created.generate,
        )

    def _compaction(self, compacted: Compacted) -> Compaction:
        """The user's messages and one item for all the rest."""
        request, key = compacted.request, compacted.id.removeprefix("resp_")
        previous = self.store.all[request.previous_response_id] if request.previous_response_id else None
        before = self.store.context(previous) if previous else []
        items = [*before, *self.store.resolved(input_items(request.input), compacted.at)]
        shown = since_compaction(items)
        cost = tokens_of_items(shown)
        item_id = f"cmp_{key}"
        content = sealed(item_id, compaction_of(cost).tokens)
        made = {"type": "compaction", "id": item_id, "encrypted_content": content}
        self.store.add_compaction(made, lambda: items)
        kept = [listed_item(item, f"{key}{at:02x}") for at, item in enumerate(shown) if item.get("role") == "user"]
        spent = usage(input_tokens=cost, cached_tokens=0, output_tokens=tokens_of_items([made]), reasoning_tokens=0)
        answer = CompactedResponse(id=compacted.id, created_at=int(compacted.at), output=[*kept, made], usage=spent)
        billed = BilledCompaction(
            id=compacted.id,
            model=request.model,
            created_at=compacted.at,
            previous_response_id=request.previous_response_id,
            metadata=(previous.request.metadata or {}) if previous else {},
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
        )
        return Compaction(answer, billed)
