"""Injected faults. A fault is queued at `POST /control/faults` and taken by the requests it matches."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import Field

from durable_responses.emulator.model.context import CompactionTime
from durable_responses.emulator.model.script import Ending, Scripted


class Operation(StrEnum):
    """What a client does. A create or retrieve that is answered by a stream is also a `stream`; a create over a
    WebSocket is also a `turn`. An `upgrade`, a `count` (`POST /responses/input_tokens`), a `compact`
    (`POST /responses/compact`) and a `container` (any of its GETs) have no metadata."""

    CREATE = "create"
    RETRIEVE = "retrieve"
    COUNT = "count"
    COMPACT = "compact"
    CONTAINER = "container"
    CANCEL = "cancel"
    DELETE = "delete"
    STREAM = "stream"
    UPGRADE = "upgrade"
    TURN = "turn"
    STEER = "steer"


class Answer(Scripted):
    """The request is refused with an HTTP status and the API's error object; it is not processed.

    Over an open WebSocket the refusal is an error event.
    """

    type: Literal["answer"] = "answer"
    status: int
    code: str | None = None
    error_type: str = "invalid_request_error"
    message: str = "This is a scripted fault."
    headers: dict[str, str] = Field({})


class Reset(Scripted):
    """The connection is reset, before the request took effect or after."""

    type: Literal["reset"] = "reset"
    processed: bool = False


class Delay(Scripted):
    """The answer comes `seconds` late, None never; `processed`: the request takes effect first, else afterwards.

    A request whose client has gone before it took effect never takes effect.
    """

    type: Literal["delay"] = "delay"
    seconds: float | None = Field(None, ge=0)
    processed: bool = False


class AddHeaders(Scripted):
    """`create`, `retrieve`, `cancel`: the answer has more headers, such as `openai-poll-after-ms`."""

    type: Literal["add_headers"] = "add_headers"
    headers: dict[str, str]


class RejectChain(Scripted):
    """`create` with `previous_response_id`: the server says that it does not know the calls being answered."""

    type: Literal["reject_chain"] = "reject_chain"


class RefuseField(Scripted):
    """`create`: the server does not know a field; only a create that has it is refused."""

    type: Literal["refuse_field"] = "refuse_field"
    field: str


class RefuseItem(Scripted):
    """`create`: the server does not know a type of input item; only a create that has such an item is refused."""

    type: Literal["refuse_item"] = "refuse_item"
    item: str = "compaction_trigger"


class Excess(StrEnum):
    """How a client learns that its input is longer than the window: HTTP 400, an `error` event in a stream that began
    well, or a response that fails."""

    REFUSED = "refused"
    EVENT = "event"
    FAILED = "failed"


class ExceedContext(Scripted):
    """`create`: that the input is longer than the window is said in this way; `always`: of any input.

    Without this fault a stream in the foreground has the event, and every other create is refused.
    """

    type: Literal["exceed_context"] = "exceed_context"
    how: Excess = Excess.REFUSED
    always: bool = False
    code: str = "context_length_exceeded"


class Compaction(Scripted):
    """`create` with `context_management`: compaction happens on turns that are only calls, too, or never."""

    type: Literal["compaction"] = "compaction"
    when: CompactionTime = CompactionTime.ALWAYS


class Stuck(Scripted):
    """`create`: the response never leaves the queue."""

    type: Literal["stuck"] = "stuck"


class End(Scripted):
    """`create`: the response ends as given."""

    type: Literal["end"] = "end"
    ending: Ending


class FinishFirst(Scripted):
    """`cancel`: the response finishes just before, so that there is nothing left to cancel (400)."""

    type: Literal["finish_first"] = "finish_first"


class StreamBreak(StrEnum):
    """How a stream breaks: the connection is reset, closed properly, or falls silent."""

    RESET = "reset"
    CLOSE = "close"
    SILENCE = "silence"


class BreakStream(Scripted):
    """`stream`: after so many events it breaks. A foreground response dies with it unless `survives`."""

    type: Literal["break_stream"] = "break_stream"
    after_events: int = Field(0, ge=0)
    how: StreamBreak = StreamBreak.RESET
    survives: bool = False


class SocketBreak(StrEnum):
    """How a WebSocket breaks: TCP reset (the client sees 1006), a close frame, nothing more is sent, or the peer is
    gone for all purposes though TCP does not know: it neither sends nor reads, so that pings go unanswered."""

    RESET = "reset"
    CLOSE = "close"
    SILENCE = "silence"
    HALF_OPEN = "half_open"


class BreakSocket(Scripted):
    """The WebSocket breaks. `upgrade`: as soon as it is open; `create`: instead of the create being processed; `turn`:
    after so many events of the turn.

    Everything under way on the connection dies with it, but not this turn's response where it `survives`. `code` and
    `reason` belong to `close`; a `code` of None sends none, which the client sees as 1005.
    """

    type: Literal["break_socket"] = "break_socket"
    after_events: int = Field(0, ge=0)
    how: SocketBreak = SocketBreak.RESET
    code: int | None = Field(1011, ge=0, le=65535)
    reason: str = Field("", max_length=123)
    survives: bool = False


class ExtraFrame(Scripted):
    """`turn`: after so many events there is one more frame, of `text` and as many spaces as make it `size` bytes."""

    type: Literal["extra_frame"] = "extra_frame"
    after_events: int = Field(0, ge=0)
    text: str = "}{ this is not JSON"
    size: int = Field(0, ge=0)
    binary: bool = False


class SlowFrames(Scripted):
    """`turn`: each event comes in so many `fragments`, and before each of them `seconds` pass."""

    type: Literal["slow_frames"] = "slow_frames"
    seconds: float = Field(ge=0)
    fragments: int = Field(1, ge=1)


class Unpublished(Scripted):
    """`turn`: the events hold what servers send though the API's catalogue does not have it: `rate_limits.updated`
    after `response.created`, and the `call_id` with a function call's arguments."""

    type: Literal["unpublished"] = "unpublished"


class RefuseSteer(Scripted):
    """`steer`: the input is handed back at once or, if it fails `after_acceptance`, when its time has come."""

    type: Literal["refuse_steer"] = "refuse_steer"
    code: str = "steering_not_supported"
    message: str = "This is a scripted fault."
    after_acceptance: bool = False


Effect = Annotated[
    Answer
    | Reset
    | Delay
    | AddHeaders
    | RejectChain
    | RefuseField
    | RefuseItem
    | ExceedContext
    | Compaction
    | Stuck
    | End
    | FinishFirst
    | BreakStream
    | BreakSocket
    | ExtraFrame
    | SlowFrames
    | Unpublished
    | RefuseSteer,
    Field(discriminator="type"),
]


class Fault(Scripted):
    """An effect for the next `times` (None: all) requests of one kind whose response has this metadata.

    The first `skip` of them pass unharmed.
    """

    id: str = Field(default_factory=lambda: f"fault_{uuid4().hex}")
    operation: Operation
    metadata: dict[str, str] = Field({})
    times: int | None = Field(1, ge=1)
    skip: int = Field(0, ge=0)
    effect: Effect


class FaultQueue:
    """The faults that are still to happen, oldest first."""

    def __init__(self) -> None:
        self.pending: dict[str, Fault] = {}

    def add(self, fault: Fault) -> None:
        """Queue a fault."""
        self.pending[fault.id] = fault

    def match(
        self, operation: Operation, metadata: dict[str, str], concerns: Callable[[Effect], bool] = lambda _: True
    ) -> Fault | None:
        """The fault for this request, if there is one. It stays queued until `use`.

        `concerns`: whether an effect can befall this request at all.
        """
        for fault in self.pending.values():
            if fault.operation != operation or not fault.metadata.items() <= metadata.items():
                continue
            if concerns(fault.effect):
                return fault
        return None

    def use(self, fault_id: str) -> None:
        """Count one request against a fault."""
        fault = self.pending.get(fault_id)
        if fault is None:
            return
        if fault.skip:
            self.pending[fault_id] = fault.model_copy(update={"skip": fault.skip - 1})
        elif fault.times == 1:
            del self.pending[fault_id]
        elif fault.times is not None:
            self.pending[fault_id] = fault.model_copy(update={"times": fault.times - 1})

    def clear(self) -> None:
        """Forget all."""
        self.pending.clear()
