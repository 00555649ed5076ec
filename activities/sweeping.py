"""Finding out that a response created here has ended when nobody on this worker waits for it."""

import asyncio
import logging

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.waiting import Waiters
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import NoSuchEndpoint, NotFound, ResponsesError

logger = logging.getLogger(__name__)


async def sweep(client: ResponsesClient, in_flight: ResponsesInFlight, waiters: Waiters, *, every: float = 5.0) -> None:
    """Every few seconds, GET the responses in flight that no wait of this worker looks after. Runs until cancelled."""
    while True:
        for response_id in in_flight.ids:
            if response_id not in waiters and await _has_ended(client, response_id):
                in_flight.ended(response_id)
        await asyncio.sleep(every)


async def _has_ended(client: ResponsesClient, response_id: str) -> bool:
    try:
        return (await client.retrieve(response_id)).response.is_finished
    except (NotFound, NoSuchEndpoint):  # a server that cannot be asked would hold its slots for ever
        return True
    except ResponsesError as error:
        logger.info("Whether %s has ended is not known: %s", response_id, error)
        return False
