"""Steering: more input for a response in progress. https://platform.openai.com/docs/guides/steering

response.steer --> accepted --> the response ends as `incomplete`, reason `steered`, or completes by itself
               |            |      --> a successor is created with the input: its `response.created` applies it
               |            '--> the response completes with calls that the client must answer
               |                   --> pending: the input goes before that of the client's next create
               '--> failed: the input is handed back, at once or when there can be no successor
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from durable_responses.emulator.faults import Operation, RefuseSteer
from durable_responses.emulator.objects.api_errors import ApiError, invalid
from durable_responses.emulator.objects.request_bodies import CALL_OUTPUTS, Item, input_items
from durable_responses.emulator.provider import Provider
from durable_responses.emulator.socket.client_events import ClientEvent, ResponseCreate, ResponseSteer, parse_steer
from durable_responses.emulator.socket.lanes import Lane
from durable_responses.emulator.socket.turn import Turn
from durable_responses.emulator.socket.wire import SocketWire
from durable_responses.emulator.state.response_store import CONTINUABLE
from durable_responses.responses_api.events import RequiredInput, Steer, SteerAccepted, SteerFailed, SteerPending
from durable_responses.responses_api.models import ErrorDetail

OUTPUT_OF = {call: output for output, call in CALL_OUTPUTS.items()}


@dataclass(frozen=True)
class Submission:
    """Accepted input: the server owns it. `refusal`: the fault that hands it back when its time has come."""

    id: str
    given: ResponseSteer
    refusal: RefuseSteer | None

    @property
    def shown(self) -> Steer:
        """The submission as events show it."""
        return Steer(id=self.id, previous_response_id=self.given.previous_response_id)


@dataclass(frozen=True)
class Successor:
    """The create that follows a steered response without being asked for."""

    parent: Turn
    submissions: Sequence[Submission]

    @property
    def create(self) -> ResponseCreate:
        """The parent's settings and the new input."""
        response = self.parent.response
        new = {"previous_response_id": response.id, "input": _items(self.submissions)}
        return ResponseCreate(response.request.model_copy(update=new), generate=True)

    async def hand_back(self, error: ApiError) -> None:
        """It could not be created."""
        for submission in self.submissions:
            await _hand_back(self.parent, submission, "successor_creation_failed", error.error.message)


class Steering:
    """The steering of one connection."""

    def __init__(self, provider: Provider, wire: SocketWire) -> None:
        self._provider = provider
        self._wire = wire
        self._turns: dict[str, Turn] = {}
        self._ended: set[str] = set()
        self._accepted: dict[str, list[Submission]] = {}
        self._pending: dict[tuple[Lane, str], list[Submission]] = {}

    def begin(self, turn: Turn) -> None:
        """From now on the turn's response can be steered; what waited for it is applied."""
        self._turns[turn.response.id] = turn
        self._pending.pop((turn.lane, turn.response.request.previous_response_id or ""), None)

    def with_pending(self, lane: Lane, create: ResponseCreate) -> ResponseCreate:
        """A create with the input that waited for it."""
        request = create.request
        waiting = self._pending.get((lane, request.previous_response_id or ""))
        if not waiting:
            return create
        items = [*_items(waiting), *input_items(request.input)]
        return ResponseCreate(request.model_copy(update={"input": items}), create.generate)

    async def hear(self, event: ClientEvent) -> None:
        """Accept or refuse a `response.steer`."""
        try:
            given = parse_steer(event)
            turn = self._turn(given.previous_response_id)
        except ApiError as error:
            await self._refuse(event, error)
            return
        fault = self._provider.take_fault(Operation.STEER, turn.response.request.metadata or {})
        refusal = fault if isinstance(fault, RefuseSteer) else None
        if refusal is not None and not refusal.after_acceptance:
            await turn.announce(_failed(Steer(**given.model_dump()), refusal.code, refusal.message))
            return
        submission = Submission(f"steer_{secrets.token_hex(16)}", given, refusal)
        self._accepted.setdefault(turn.response.id, []).append(submission)
        await turn.announce(SteerAccepted(steer=submission.shown))
        self._provider.steer(turn.response)

    async def end(self, turn: Turn) -> Successor | None:
        """The turn's response has ended; the answer is what must follow it."""
        del self._turns[turn.response.id]
        self._ended.add(turn.response.id)
        kept: list[Submission] = []
        for submission in self._accepted.pop(turn.response.id, []):
            if submission.refusal is None:
                kept.append(submission)
            else:
                await _hand_back(turn, submission, submission.refusal.code, submission.refusal.message)
        successor = Successor(turn, kept)
        status = turn.response.status(self._provider.state.clock.now())
        if not kept:
            return None
        if status not in CONTINUABLE:
            await successor.hand_back(invalid(f"The response has ended as {status}."))
            return None
        if turn.response.calls:
            await self._wait_for_input(successor)
            return None
        return successor

    async def _wait_for_input(self, successor: Successor) -> None:
        turn = successor.parent
        self._pending[turn.lane, turn.response.id] = list(successor.submissions)
        stubs = [_stub(call) for call in turn.response.calls]
        for submission in successor.submissions:
            pending = SteerPending(steer=submission.shown, reason="waiting_for_required_input", required_input=stubs)
            await turn.announce(pending)

    def _turn(self, response_id: str) -> Turn:
        if response_id in self._turns:
            return self._turns[response_id]
        if response_id in self._ended:
            raise invalid(f"Response '{response_id}' has completed.", code="response_already_completed")
        raise invalid(f"Response '{response_id}' is not available on this connection.", code="response_not_found")

    async def _refuse(self, event: ClientEvent, error: ApiError) -> None:
        response_id, given = event.fields.get("previous_response_id"), event.fields.get("input")
        steer = Steer(previous_response_id=response_id if isinstance(response_id, str) else "", input=given)
        # An error that names a parameter comes from a check of the event; its code is not one of steering's.
        code = (error.error.code if error.error.param is None else None) or "invalid_input"
        failed = _failed(steer, code, error.error.message).model_copy(update={"sequence_number": 0})
        await self._wire.send(failed.model_dump_json(exclude_none=True).encode())


async def _hand_back(turn: Turn, submission: Submission, code: str, message: str) -> None:
    steer = submission.shown.model_copy(update={"input": submission.given.model_dump()["input"]})
    await turn.announce(_failed(steer, code, message))


def _failed(steer: Steer, code: str, message: str) -> SteerFailed:
    return SteerFailed(steer=steer, error=ErrorDetail(type="invalid_request_error", code=code, message=message))


def _items(submissions: Sequence[Submission]) -> list[Item]:
    return [item for submission in submissions for item in submission.given.items]


def _stub(call: Item) -> RequiredInput:
    stub = {"type": OUTPUT_OF[call["type"]], "call_id": call["call_id"]}
    return RequiredInput.model_validate(stub | ({"name": call["name"]} if call["type"] == "function_call" else {}))
