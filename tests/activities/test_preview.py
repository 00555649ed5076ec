"""The text of a background response while it is written, over a stream that breaks."""

from typing import Any

import pytest

from durable_responses.activities.messages import PREVIEW_CHARACTERS
from durable_responses.activities.preview import RESUMABLE_FOR, PreviewFeed
from durable_responses.responses_api.client import ResponsesClient
from tests.support.provider import Provider, Then, answer, event_stream

NOW = 1_000_000.0
COMPLETED = {"type": "response.completed", "sequence_number": 9, "response": {"id": "resp_1", "status": "completed"}}


def delta(number: int, text: str, kind: str = "output_text") -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "sequence_number": number, "item_id": "msg_1", "delta": text}


async def followed(api: ResponsesClient, *, age: float = 0.0) -> list[tuple[str, int]]:
    """What the feed shows of a response that was created so many seconds ago."""
    shown: list[tuple[str, int]] = []
    feed = PreviewFeed(api, "resp_1", lambda end, characters: shown.append((end, characters)))
    await feed.run(NOW - age, lambda: NOW)
    return shown


async def test_the_text_grows_with_every_delta(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(delta(1, "Hel"), delta(2, "lo."), COMPLETED))
    assert await followed(api) == [("Hel", 3), ("Hello.", 6)]


async def test_a_stream_that_breaks_is_resumed_after_the_last_event_seen(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(delta(4, "Hel"), then=Then.RESET), event_stream(delta(5, "lo."), COMPLETED))
    assert (await followed(api))[-1] == ("Hello.", 6)
    assert [asked.target for asked in provider.asked] == [
        "/v1/responses/resp_1?stream=true",
        "/v1/responses/resp_1?stream=true&starting_after=4",
    ]


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("output_text", [("Hi", 2)]), ("refusal", [("Hi", 2)]), ("reasoning_text", []), ("reasoning_summary_text", [])],
)
async def test_the_answer_is_shown_and_reasoning_is_not(
    provider: Provider, api: ResponsesClient, kind: str, shown: list[tuple[str, int]]
) -> None:
    provider.will(event_stream(delta(1, "Hi", kind), COMPLETED))
    assert await followed(api) == shown


async def test_of_a_long_text_the_end_is_shown(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(delta(1, "a" * PREVIEW_CHARACTERS), delta(2, "bc"), COMPLETED))
    assert (await followed(api))[-1] == ("a" * (PREVIEW_CHARACTERS - 2) + "bc", PREVIEW_CHARACTERS + 2)


async def test_a_response_that_cannot_be_streamed_has_no_live_preview(provider: Provider, api: ResponsesClient) -> None:
    """And nothing is asked for a second time."""
    provider.will(answer({"error": {"message": "This response cannot be streamed."}}, 400))
    assert await followed(api) == []
    assert len(provider.asked) == 1


async def test_a_response_is_not_streamed_beyond_five_minutes(provider: Provider, api: ResponsesClient) -> None:
    """The provider would refuse it."""
    assert await followed(api, age=RESUMABLE_FOR) == []
    assert provider.asked == []
