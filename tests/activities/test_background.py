"""What the answer to a create shows of a server's background responses."""

import pytest

from durable_responses.activities.background import IGNORED, learn_of_background, names_background
from durable_responses.capabilities import Capabilities, Capability
from durable_responses.responses_api.errors import GiveUp, error_for_answer
from durable_responses.responses_api.models import Response


def learned(
    status: str, *, background: bool | None = None, before: bool | None = None
) -> tuple[bool | None, list[str]]:
    """What is known after an answer, and what the run's result says of it; `before`: what was known before."""
    capabilities = Capabilities("http://127.0.0.1:1/v1")
    if before is not None:
        capabilities.learned(Capability.BACKGROUND, before)
    changes = learn_of_background(capabilities, Response(id="resp_1", status=status, background=background))
    return capabilities.can(Capability.BACKGROUND), changes


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_server_that_answers_a_create_with_the_response_has_no_background(status: str) -> None:
    assert learned(status) == (False, [IGNORED])


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_server_whose_response_is_under_way_has_background(status: str) -> None:
    assert learned(status, before=False) == (True, [])


@pytest.mark.parametrize("status", ["failed", "cancelled", "moderated"])
def test_a_response_that_failed_at_once_shows_nothing(status: str) -> None:
    """Every other run would be refused for an hour."""
    assert learned(status) == (None, [])


def test_one_quick_answer_does_not_take_background_from_a_server_that_has_it() -> None:
    assert learned("completed", before=True) == (True, [])
    assert learned("completed", background=True) == (None, [])


@pytest.mark.parametrize(
    ("status", "words", "about"),
    [
        (400, "Background mode is not enabled for this deployment.", True),
        (403, "Background responses are not allowed for this key.", True),
        (500, "background is not supported", True),
        (501, "background is not implemented", True),
        (403, "You may not use this model.", False),
        (400, "No such model.", False),
    ],
)
def test_a_refusal_is_about_background_if_it_names_it(status: int, words: str, about: bool) -> None:
    refused = error_for_answer("POST /responses", status, {}, words.encode())
    assert isinstance(refused, GiveUp)
    assert names_background(refused) is about
