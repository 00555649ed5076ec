"""One response over time, by arithmetic: no server, no waiting."""

import json
from typing import Any

import pytest

from durable_responses.emulator.model.script import Ending, Script, Text
from durable_responses.emulator.objects.api_errors import ApiError
from durable_responses.emulator.state.lifecycle import Stop, StoredResponse
from durable_responses.responses_api.models import ResponseStatus
from tests.support.conversations import request

START = 1000.0
SCRIPT = Script(queue=1, think=4, write=5, output=[Text(text="0123456789")], reasoning_tokens=80)
FAILED = Ending(status=ResponseStatus.FAILED, code="insufficient_quota", message="Out of money.")
INCOMPLETE = Ending(status=ResponseStatus.INCOMPLETE, reason="content_filter")


def created(script: Script = SCRIPT, **fields: Any) -> StoredResponse:
    """A response made at START, queued until + 1, thinking until + 5, writing until + 10."""
    asked = request(**{"background": True, **fields})
    return StoredResponse("resp_" + "0" * 48, START, asked, [], script, previous=None, input_tokens=7, cached_tokens=3)


def shown(response: StoredResponse, at: float) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response.body(START + at))
    return body


def test_the_status_follows_the_time() -> None:
    expected = {0: "queued", 0.99: "queued", 1: "in_progress", 9.99: "in_progress", 10: "completed", 1e9: "completed"}
    assert {at: shown(created(), at)["status"] for at in expected} == expected


def test_a_foreground_response_is_in_progress_at_once() -> None:
    assert shown(created(background=False), 0)["status"] == "in_progress"


@pytest.mark.parametrize("ending", [FAILED, INCOMPLETE])
def test_it_ends_as_the_script_says(ending: Ending) -> None:
    body = shown(created(SCRIPT.model_copy(update={"ending": ending})), 10)
    assert body["status"] == ending.status
    details = body["error"] or body["incomplete_details"]
    assert details.get("code", details.get("reason")) in ("insufficient_quota", "content_filter")


def test_output_and_usage_are_there_at_the_end_only() -> None:
    response = created()
    assert (shown(response, 9)["output"], shown(response, 9)["usage"]) == ([], None)
    assert shown(response, 10)["output"]
    assert shown(response, 10)["usage"]["output_tokens"] == 83


def test_the_body_is_rendered_once_for_each_status() -> None:
    response = created()
    assert response.body(START + 2) is response.body(START + 3)


# --- cancel ------------------------------------------------------------------------------------------------------


def cancelled(response: StoredResponse, at: float) -> StoredResponse:
    response.check_cancel(START + at)
    if response.finished_at > START + at:
        response.stop(Stop.CANCEL, START + at)
    return response


def test_an_unfinished_response_is_cancelled_at_any_time() -> None:
    assert {shown(cancelled(created(), at), at)["status"] for at in (0, 0.5, 1, 5, 9.9)} == {"cancelled"}


def test_a_cancelled_response_can_be_cancelled_again() -> None:
    response = cancelled(created(), 2)
    assert shown(cancelled(response, 20), 20)["status"] == "cancelled"


@pytest.mark.parametrize("ending", [Ending(), FAILED, INCOMPLETE])
def test_a_finished_response_cannot_be_cancelled(ending: Ending) -> None:
    response = created(SCRIPT.model_copy(update={"ending": ending}))
    with pytest.raises(ApiError, match=f"Cannot cancel a {ending.status} response") as refused:
        response.check_cancel(START + 10)
    assert refused.value.status == 400


def test_a_foreground_response_cannot_be_cancelled() -> None:
    with pytest.raises(ApiError, match="Cannot cancel a synchronous response"):
        created(background=False).check_cancel(START)


def test_what_was_written_before_the_cancel_is_kept() -> None:
    body = shown(cancelled(created(), 7.5), 7.5)
    assert body["output"][-1]["content"][0]["text"] == "01234"
    assert body["output"][-1]["status"] == "incomplete"


def test_what_was_thought_before_the_cancel_is_paid() -> None:
    usage = shown(cancelled(created(), 3), 3)["usage"]
    assert usage["output_tokens_details"]["reasoning_tokens"] == 40
    assert usage["input_tokens"] == 7


def test_a_response_cancelled_in_the_queue_costs_nothing() -> None:
    assert shown(cancelled(created(), 0.5), 0.5)["usage"]["total_tokens"] == 0


# --- events ------------------------------------------------------------------------------------------------------


def kinds(response: StoredResponse) -> list[str]:
    return [moment.type for moment in response.moments()]


def test_the_last_event_shows_the_end() -> None:
    scripts = [SCRIPT.model_copy(update={"ending": ending}) for ending in (Ending(), FAILED, INCOMPLETE)]
    last = [kinds(created(script))[-1] for script in scripts]
    assert last == ["response.completed", "response.failed", "response.incomplete"]


def test_a_cancelled_response_ends_its_events_as_a_failed_one() -> None:
    response = cancelled(created(), 6)
    last = json.loads(response.event(9, response.moments()[-1]))
    assert (last["type"], last["response"]["status"]) == ("response.failed", "cancelled")


def test_events_that_were_sent_before_a_cancel_do_not_change() -> None:
    response = created()
    sent = [moment for moment in response.moments() if moment.at <= 6]
    assert cancelled(response, 6).moments()[:-1] == sent


def test_a_response_that_is_finished_early_sends_the_rest_at_once() -> None:
    response = created()
    response.stop(Stop.FINISH_NOW, START + 2)
    assert shown(response, 2)["status"] == "completed"
    assert max(moment.at for moment in response.moments()) == 2


# --- keeping -----------------------------------------------------------------------------------------------------


def test_a_stored_response_is_kept() -> None:
    assert created(store=True).is_kept(START + 1e6)


def test_an_unstored_background_response_is_kept_for_ten_minutes() -> None:
    assert [created(store=False).is_kept(START + at) for at in (599, 600)] == [True, False]


def test_an_unstored_foreground_response_is_not_kept() -> None:
    assert not created(store=False, background=False).is_kept(START + 11)


def test_events_can_be_read_again_for_five_minutes() -> None:
    response = created(stream=True)
    response.check_resume(START + 299)
    with pytest.raises(ApiError, match="more than 5 minutes old"):
        response.check_resume(START + 300)


@pytest.mark.parametrize("fields", [{"stream": False}, {"stream": True, "background": False}])
def test_events_can_be_read_again_of_background_streams_only(fields: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="was not created with background=true and stream=true"):
        created(**fields).check_resume(START)
