"""How a worker reaches its provider."""

import pytest

from durable_responses.provider import NO_KEY, Provider, ProviderKind
from durable_responses.responses_api.client import CREATE_TIMEOUT, SILENCE_LIMIT
from durable_responses.responses_api.errors import Misconfigured
from durable_responses.responses_api.handshake import prepare
from durable_responses.worker.dependencies import answer_within, socket_options


def provider(base_url: str, kind: ProviderKind = ProviderKind.COMPATIBLE) -> Provider:
    return Provider(kind=kind, base_url=base_url, websocket_base_url=base_url.replace("http", "ws"))


def test_http_is_not_kept_waiting_for_a_websocket_that_cannot_be_had() -> None:
    """W4: one socket."""
    assert socket_options(provider("https://api.example.com/v1")).max_retries == 0


@pytest.mark.parametrize("base_url", ["http://10.0.0.5/v1", "http://models.example.com/v1", "https://10.0.0.5/v1"])
def test_a_socket_may_go_wherever_requests_of_a_compatible_server_go(base_url: str) -> None:
    """W16: allowed by the address that was configured."""
    there = provider(base_url)
    assert prepare(there.websocket_base_url, NO_KEY, socket_options(there))


def test_organization_and_project_are_sent_over_a_websocket_too() -> None:
    there = provider("https://api.example.com/v1").model_copy(update={"organization": "org-1", "project": "proj_1"})
    headers = prepare(there.websocket_base_url, NO_KEY, socket_options(there)).headers
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-1", "proj_1")


def test_a_server_that_may_answer_with_the_whole_response_has_as_long_as_a_stream_may_be_silent() -> None:
    """A local model writes for a minute, and its POST ends with the answer; OpenAI's ends with the id."""
    assert answer_within(provider("http://127.0.0.1:8000/v1")) == SILENCE_LIMIT
    assert answer_within(provider("https://api.openai.com/v1", ProviderKind.OPENAI)) == CREATE_TIMEOUT < SILENCE_LIMIT


@pytest.mark.parametrize("url", ["ws://api.openai.com/v1", "wss://10.0.0.5/v1"])
def test_a_key_of_openai_goes_nowhere_else(url: str) -> None:
    """W16."""
    openai = provider("https://api.openai.com/v1", ProviderKind.OPENAI)
    with pytest.raises(Misconfigured):
        prepare(url, NO_KEY, socket_options(openai))
