"""The text of a background response while it is written, over a stream that is resumed when it breaks.

For the eyes only: what the response has become is read by GET.
"""

import asyncio
import logging
from collections.abc import Callable

from durable_responses.activities.messages import PREVIEW_CHARACTERS
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import GiveUp, ResponsesError
from durable_responses.responses_api.events import Event, EventType, TextDelta

logger = logging.getLogger(__name__)

RESUMABLE_FOR = 300.0  # seconds after its creation for which the provider lets a stream be resumed
_PAUSE = 1.0


def text_in(event: Event) -> str:
    """The text that an event adds to the answer; reasoning does not count."""
    if isinstance(event, TextDelta) and event.type is not EventType.REASONING_TEXT_DELTA:
        return event.delta
    return ""


class PreviewFeed:
    """Follows one response, which must have been created with `stream: true`.

    `on_text` gets the end of the text so far, as much as a preview shows, and how many characters there are in all.
    """

    def __init__(self, client: ResponsesClient, response_id: str, on_text: Callable[[str, int], None]) -> None:
        self._client = client
        self._response_id = response_id
        self._on_text = on_text
        self._end = ""
        self._characters = 0
        self._seen: int | None = None

    async def run(self, created_at: float, now: Callable[[], float]) -> None:
        """Follow until the response ends or grows too old. Never raises: without it, previews are only coarser."""
        while now() - created_at < RESUMABLE_FOR:
            try:
                await self._follow()
            except GiveUp as error:
                logger.info("No live preview of %s: %s", self._response_id, error)
                return
            except ResponsesError as error:
                logger.info("The live preview of %s broke and is resumed: %s", self._response_id, error)
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def _follow(self) -> None:
        async with self._client.resume(self._response_id, starting_after=self._seen) as events:
            async for event in events:
                if event.sequence_number is not None:
                    self._seen = event.sequence_number
                if text := text_in(event):
                    self._end = (self._end + text)[-PREVIEW_CHARACTERS:]
                    self._characters += len(text)
                    self._on_text(self._end, self._characters)
