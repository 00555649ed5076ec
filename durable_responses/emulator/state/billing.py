"""What a provider would bill: read at `GET /control/billing`."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from pydantic import BaseModel, ConfigDict

from durable_responses.emulator.state.lifecycle import Stop, StoredResponse, Transport
from durable_responses.responses_api.models import UNFINISHED, ResponseStatus, Usage


class Totals(BaseModel):
    """Tokens, summed. `output_tokens` include `reasoning_tokens`, `input_tokens` include `cached_tokens`."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


class BilledResponse(Totals):
    """One response. Times are seconds since the epoch, to the microsecond; tokens are 0 until it has ended."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    model: str
    status: ResponseStatus
    background: bool
    stream: bool
    transport: Transport
    previous_response_id: str | None
    metadata: dict[str, str]
    created_at: float
    finished_at: float | None
    gets: int


class BilledCompaction(Totals):
    """One `POST /responses/compact`, whether its answer arrived or not. Its metadata is that of the response it
    continued."""

    id: str
    model: str
    created_at: float
    previous_response_id: str | None
    metadata: dict[str, str]


class Counts(BaseModel):
    """What happened at the API. `generations`: the model has worked on it. `cancels`: ended by a cancel request.
    `compactions`: items that stand for a conversation, in responses and by `POST /responses/compact`."""

    creates_accepted: int = 0
    creates_rejected: int = 0
    generations: int = 0
    gets: int = 0
    cancels: int = 0
    compactions: int = 0
    in_flight: int = 0
    max_in_flight: int = 0


class Rejection(BaseModel):
    """A create that was refused: it cost nothing."""

    status: int
    code: str | None
    message: str
    metadata: dict[str, str]
    transport: Transport = Transport.HTTP


class Bill(BaseModel):
    """The bill of everything, or of the responses that have certain metadata."""

    counts: Counts
    totals: Totals
    responses: list[BilledResponse]
    compactions: list[BilledCompaction] = []
    rejections: list[Rejection]


def bill(
    responses: Iterable[StoredResponse],
    rejections: Iterable[Rejection],
    now: float,
    compactions: Sequence[BilledCompaction] = (),
) -> Bill:
    """Add everything up, as of `now`."""
    made = list(responses)
    refused = list(rejections)
    lines = [_line(response, now) for response in made]
    counts = Counts(
        creates_accepted=len(made),
        creates_rejected=len(refused),
        generations=sum(response.has_run(now) for response in made),
        gets=sum(response.gets for response in made),
        cancels=sum(response.stopped is Stop.CANCEL for response in made),
        compactions=len(compactions) + sum(response.compactions(now) for response in made),
        in_flight=sum(response.finished_at > now for response in made),
        max_in_flight=_max_in_flight(made),
    )
    billed: list[Totals] = [*lines, *compactions]
    totals = Totals(**{name: sum(getattr(line, name) for line in billed) for name in Totals.model_fields})
    return Bill(counts=counts, totals=totals, responses=lines, compactions=list(compactions), rejections=refused)


def _line(response: StoredResponse, now: float) -> BilledResponse:
    status = response.status(now)
    finished = status not in UNFINISHED
    usage = response.usage if finished else Usage()
    return BilledResponse(
        id=response.id,
        model=response.request.model,
        status=status,
        background=bool(response.request.background),
        stream=bool(response.request.stream),
        transport=response.transport,
        previous_response_id=response.request.previous_response_id,
        metadata=response.request.metadata or {},
        created_at=response.created_at,
        finished_at=response.finished_at if finished else None,
        gets=response.gets,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.input_tokens_details.cached_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.output_tokens_details.reasoning_tokens,
    )


def _max_in_flight(responses: list[StoredResponse]) -> int:
    steps = [(response.created_at, 1) for response in responses]
    steps += [(response.finished_at, -1) for response in responses]
    return max(accumulate((step for _, step in sorted(steps)), initial=0))
