"""The operations of the API, independent of transport: what the HTTP and WebSocket endpoints call."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from durable_responses.emulator.faults import (
    Answer,
    Compaction,
    Effect,
    End,
    ExceedContext,
    Excess,
    FinishFirst,
    Operation,
    RefuseField,
    RefuseItem,
    RejectChain,
    Stuck,
)
from durable_responses.emulator.model.context import (
    CompactionTime,
    compaction_of,
    is_compaction,
    since_compaction,
    with_compaction,
)
from durable_responses.emulator.model.conversation import Conversation, check_calls, tokens_of_items
from durable_responses.emulator.model.item_events import Moment
from durable_responses.emulator.model.scenarios import MODEL_PREFIX
from durable_responses.emulator.model.script import CodeInterpreterStep, Ending, Script, within
from durable_responses.emulator.objects.answer_bodies import CompactedResponse, ModelObject
from durable_responses.emulator.objects.api_errors import (
    ApiError,
    ErrorBody,
    context_exceeded,
    invalid,
    item_not_found,
    model_not_found,
)
from durable_responses.emulator.objects.request_bodies import (
    CompactBody,
    CreateBody,
    Item,
    ModelInput,
    input_items,
    is_reference,
    item_type,
)
from durable_responses.emulator.objects.request_checks import check_items, check_model, check_verified
from durable_responses.emulator.state.billing import Rejection
from durable_responses.emulator.state.containers import Container, StoredFile
from durable_responses.emulator.state.journal import (
    Compacted,
    ContainerUsed,
    Created,
    Deleted,
    FaultUsed,
    Finished,
    Rejected,
    Stopped,
)
from durable_responses.emulator.state.lifecycle import Stop, StoredResponse, Transport
from durable_responses.emulator.state.memory import State
from durable_responses.responses_api.models import ResponseStatus

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

    `context_window`: the tokens that a model has room for, where nothing else says so; None for any number.
    `verified`: whether the organisation is, so that it may ask for reasoning summaries and for streams.
    """

    def __init__(
        self, state: State, *, pace: float = 1.0, verified: bool = True, context_window: int | None = None
    ) -> None:
        self.state = state
        self._context_window = context_window
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
        window = self.context_window(request)
        tokens = self._tokens(request, cached, window) if conversation else 0
        if self._exceeds(tokens, window, effect):
            script, generate = _too_long(request, effect, transport), False
        elif request.asks_for_compaction and generate:
            script = Script(write=0, output=[compaction_of(tokens)])
        else:
            script = self.state.scenarios.respond(conversation).scaled(self._pace) if conversation else Script()
            script = self._in_container(within(script, request.max_output_tokens), conversation, request)
            when = effect.when if isinstance(effect, Compaction) else CompactionTime.MESSAGES
            script = with_compaction(script, request.compact_threshold, tokens, when)
        script = _affected(script, request, effect)
        created = Created(
            id=f"resp_{secrets.token_hex(24)}",
            at=self.state.clock.now(),
            request=request,
            script=script,
            transport=transport,
            generate=generate,
            context_window=window,
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
        items = self._items(request)
        self.state.store.check_compactions(items)
        check_calls(Conversation(request, [], since_compaction([*before, *items])))
        self._check_containers(items)
        new = since_compaction(items)
        if new and is_compaction(new[0]):
            before, new = [new[0]], new[1:]
        return Conversation(request, self.state.store.remembered(before), new)

    def _check_containers(self, items: list[Item]) -> None:
        """Code that is sent again must have run in a container that still is. Raises: ApiError 400."""
        for item in items:
            if item.get("type") == "code_interpreter_call":
                container_id = item.get("container_id")
                if not self.state.containers.is_alive(str(container_id), self.state.clock.now()):
                    message = f"Expected container_id: the container '{container_id}' has expired."
                    raise invalid(message, "input")

    def _in_container(self, script: Script, conversation: Conversation | None, request: CreateBody) -> Script:
        """The script with its code in the container of the tool or of the chain, or in a new one."""
        steps = [step for step in script.output if isinstance(step, CodeInterpreterStep)]
        if not steps:
            return script
        now, alive = self.state.clock.now(), self.state.containers.is_alive
        asked = next((tool.get("container") for tool in request.tools or [] if tool["type"] == steps[0].type), None)
        if isinstance(asked, str) and not alive(asked, now):
            raise invalid(f"Container '{asked}' not found or expired.", "tools")
        used = [str(it["container_id"]) for it in (conversation.items if conversation else []) if "container_id" in it]
        container_id = asked if isinstance(asked, str) else next((it for it in reversed(used) if alive(it, now)), None)
        container_id = container_id or f"cntr_{secrets.token_hex(24)}"
        output = [
            step.model_copy(update={"container_id": step.container_id or container_id}) if step in steps else step
            for step in script.output
        ]
        return script.model_copy(update={"output": output})

    def container(self, container_id: str) -> Container:
        """A container, which is used by that. Raises: ApiError 404."""
        container = self.state.containers.get(container_id, self.state.clock.now())
        self.state.record(ContainerUsed(id=container_id, at=self.state.clock.now()))
        return container

    def container_files(self, container_id: str) -> list[StoredFile]:
        """The files in a container, which is used by that. Raises: ApiError 404."""
        return self.state.containers.files(self.container(container_id).id, self.state.clock.now())

    def container_file(self, container_id: str, file_id: str) -> StoredFile:
        """A file in a container, which is used by that. Raises: ApiError 404."""
        return self.state.containers.file(self.container(container_id).id, file_id, self.state.clock.now())

    def context_window(self, request: CreateBody) -> int | None:
        """The tokens that the model of a request has room for. Raises: ApiError 400 for an unknown parameter."""
        if window := self.state.scenarios.context_window(request):
            return window
        return self._window_of_model(request.model)

    def _window_of_model(self, model: str) -> int | None:
        windows = self.state.context_windows
        return next((windows[name] for name in reversed(windows) if fnmatchcase(model, name)), self._context_window)

    def _tokens(self, request: ModelInput, cached: StoredResponse | None = None, window: int | None = None) -> int:
        named, now = request.previous_response_id, self.state.clock.now()
        previous = cached or (self.state.store.previous(named, now) if named else None)
        return self.state.store.tokens(request, previous, self._items(request), window)[0]

    @staticmethod
    def _exceeds(tokens: int, window: int | None, effect: Effect | None) -> bool:
        always = isinstance(effect, ExceedContext) and effect.always
        return always or (window is not None and tokens > window)

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
        return self._tokens(request)

    def compact(self, request: CompactBody) -> CompactedResponse:
        """A conversation in short: the user's messages and one item for all the rest. Raises: ApiError 400."""
        items = [*self._before(request.previous_response_id), *self._items(request)]
        check_items(input_items(request.input))
        self.state.store.check_compactions(input_items(request.input))
        self._check_containers(input_items(request.input))
        shown = since_compaction(items)
        check_calls(Conversation(CreateBody(model=request.model, input=[]), [], shown))
        window = self._window_of_model(request.model)
        if window is not None and tokens_of_items(shown) > window:
            raise context_exceeded()
        compacted = Compacted(id=f"resp_{secrets.token_hex(24)}", at=self.state.clock.now(), request=request)
        self.state.record(compacted)
        return self.state.compactions[compacted.id].answer

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

    def take_fault(
        self, operation: Operation, metadata: dict[str, str], request: CreateBody | None = None
    ) -> Effect | None:
        """The fault that a request meets, if any; it is used up by that. `request`: that of a create."""
        fault = self.state.faults.match(operation, metadata, lambda effect: self._concerns(effect, request))
        if fault is None:
            return None
        if fault.times is not None or fault.skip:
            self.state.record(FaultUsed(fault_id=fault.id))
        return None if fault.skip else fault.effect

    def _concerns(self, effect: Effect, request: CreateBody | None) -> bool:
        match effect:
            case RejectChain():
                return request is not None and request.previous_response_id is not None
            case RefuseField():
                return request is not None and getattr(request, effect.field, None) is not None
            case RefuseItem():
                return request is not None and effect.item in map(item_type, input_items(request.input))
            case ExceedContext(always=False):
                return request is not None and self._is_too_long(request)
            case _:
                return True

    def _is_too_long(self, request: CreateBody) -> bool:
        try:
            window = self.context_window(request)
            return self._exceeds(self._tokens(request, window=window), window, None)
        except ApiError:  # another refusal comes first
            return False

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
    if isinstance(effect, RefuseField):
        raise invalid(f"Unknown parameter: '{effect.field}'.", effect.field, "unknown_parameter")
    if isinstance(effect, RefuseItem):
        items = input_items(request.input) if request is not None else []
        index = next((at for at, item in enumerate(items) if item_type(item) == effect.item), 0)
        raise invalid(f"Invalid value: '{effect.item}'.", f"input[{index}].type", "invalid_value")
    if isinstance(effect, RejectChain) and request is not None:
        items = request.input if isinstance(request.input, list) else []
        call_id = next((item["call_id"] for item in items if "call_id" in item), "call_unknown")
        raise invalid(f"No tool call found for function call output with call_id {call_id}.", "input")


def _too_long(request: CreateBody, effect: Effect | None, transport: Transport) -> Script:
    """What becomes of a request that is longer than the window. Raises: ApiError 400, where it is refused."""
    is_watched = bool(request.stream) and not request.background and transport is Transport.HTTP
    how, code = Excess.EVENT if is_watched else Excess.REFUSED, "context_length_exceeded"
    if isinstance(effect, ExceedContext):
        how, code = effect.how, effect.code
    if how is Excess.REFUSED:
        raise context_exceeded()
    message = context_exceeded().error.message
    ending = Ending(status=ResponseStatus.FAILED, code=code, message=message, as_error=how is Excess.EVENT)
    return Script(ending=ending)


def _affected(script: Script, request: CreateBody, effect: Effect | None) -> Script:
    """The script as a fault makes it. Only background responses wait in the queue, unless they are stuck."""
    if isinstance(effect, Stuck):
        return script.model_copy(update={"queue": None})
    if not request.background:
        script = script.model_copy(update={"queue": 0.0})
    if isinstance(effect, End):
        script = script.model_copy(update={"ending": effect.ending})
    return script
