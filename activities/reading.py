"""Reading one response by id until it is finished: which failures pass, and how long to wait for the next GET."""

from dataclasses import dataclass
from random import Random

from durable_responses.activities.failures import failed_read, lost_response
from durable_responses.activities.measures import polled
from durable_responses.activities.messages import ResponseRecord
from durable_responses.activities.records import record_of
from durable_responses.activities.waiting import Cadence
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import MalformedAnswer, NoSuchEndpoint, NotFound, ResponsesError
from durable_responses.responses_api.models import Response

_NOT_FOUND_YET = 30.0  # seconds after its create in which a response need not be found
_STRANGE_ANSWERS = 20  # in a row, about ten minutes
_FIRST_BACK_OFF = 0.5
_LONGEST_BACK_OFF = 30.0
_RANDOM = Random()  # one for all: the state of each takes 2.5 KB


@dataclass(slots=True)
class Reads:
    """The GETs of one response. Times in seconds since the epoch.

    Thousands may be waited for at once, so of what was read last it keeps only `output`, once there is any.
    """

    client: ResponsesClient
    response_id: str
    created_at: float
    cadence: Cadence
    random: Random = _RANDOM
    found: bool = False
    output: ResponseRecord | None = None
    _gets: int = 0
    _failures: int = 0
    _asked_to_wait: float = 0.0

    async def read(self, now: float) -> Response | None:
        """GET the response; None when that failed in a way that passes (A7). Raises `ApplicationError`."""
        self._gets += 1
        polled()
        try:
            retrieved = await self.client.retrieve(self.response_id)
        except ResponsesError as error:
            if not self._passes(error, now):
                raise self._failure(error) from None
            self._failures += 1
            self._asked_to_wait = error.retry_after or 0.0
            return None
        self._failures = 0
        self._asked_to_wait = retrieved.poll_after or 0.0
        self.found = True
        self.output = record_of(retrieved.response) if retrieved.response.output else None
        return retrieved.response

    def wait(self, now: float, fair_share: float) -> float:
        """Seconds until the next GET: the cadence or the fair share of the budget, and what the server asked for."""
        if self._failures:
            wait = min(_FIRST_BACK_OFF * 2.0 ** (self._failures - 1), _LONGEST_BACK_OFF)
        else:
            wait = self.cadence.wait(self._gets, now - self.created_at)
        return self.cadence.jittered(max(wait, fair_share, self._asked_to_wait), self.random)

    def _passes(self, error: ResponsesError, now: float) -> bool:
        if isinstance(error, NoSuchEndpoint | MalformedAnswer) and self.found:
            # It was well before: something between us and the provider is out of order, and the response is paid for.
            return self._failures < _STRANGE_ANSWERS
        just_created = not self.found and now - self.created_at < _NOT_FOUND_YET
        return error.retry_read or (isinstance(error, NotFound) and just_created)

    def _failure(self, error: ResponsesError) -> Exception:
        if isinstance(error, NotFound):
            return lost_response(self.response_id, f"the provider does not know it any more. {error}")
        return failed_read(error, self.response_id)
