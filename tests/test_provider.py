"""Who serves the Responses API, by the settings and by the embedded stack."""

from pathlib import Path
from typing import Any

import pytest

from durable_responses.provider import Provider, ProviderKind, ProviderMissing, find_provider
from durable_responses.settings import Settings, SettingsError
from tests.support.stack_files import EMULATOR, write_stack_file


def provider(**settings: Any) -> Provider:
    return find_provider(Settings(**settings))


def test_a_key_means_openai() -> None:
    found = provider(openai_api_key="sk-1")
    assert (found.kind, found.base_url) == (ProviderKind.OPENAI, "https://api.openai.com/v1")
    assert found.websocket_base_url == "wss://api.openai.com/v1"
    assert found.sentence == "Responses come from OpenAI, because OPENAI_API_KEY is set."


@pytest.mark.parametrize("key", [None, "sk-1"])
def test_a_base_url_means_a_compatible_server_with_or_without_a_key(key: str | None) -> None:
    found = provider(openai_base_url="http://host:1234/v1/", openai_api_key=key)
    assert (found.kind, found.base_url) == (ProviderKind.COMPATIBLE, "http://host:1234/v1")
    assert found.sentence == "Responses come from host:1234, because OPENAI_BASE_URL is set."


def test_a_websocket_address_of_its_own_is_taken_as_it_is() -> None:
    found = provider(openai_api_key="sk-1", openai_websocket_base_url="wss://other/v2")
    assert found.websocket_base_url == "wss://other/v2"


def test_a_password_in_the_base_url_is_not_told() -> None:
    assert "secret" not in provider(openai_base_url="http://me:secret@host/v1").sentence


def test_a_base_url_may_have_a_query() -> None:
    found = provider(openai_base_url="https://host/v1/?api-version=1&path=/")
    assert found.base_url == "https://host/v1?api-version=1&path=/"
    assert found.websocket_base_url == "wss://host/v1?api-version=1&path=/"


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://API.OpenAI.com/v1/",
        "https://api.openai.com:443/v1",
        "https://api.openai.com/v1//",
        "https://api.openai.com/v1/#top",
    ],
)
def test_openai_is_known_however_its_address_is_written(url: str) -> None:
    found = provider(openai_api_key="sk-1", openai_base_url=url)
    assert (found.kind, found.base_url) == (ProviderKind.OPENAI, "https://api.openai.com/v1")


def test_of_another_address_only_what_means_the_same_is_changed() -> None:
    found = provider(openai_base_url="http://Me:Secret@Host:80/V1/?Key=A/")
    assert found.base_url == "http://Me:Secret@host/V1?Key=A/"
    assert provider(openai_base_url="http://[::1]:8080/v1").base_url == "http://[::1]:8080/v1"


@pytest.mark.parametrize(
    "url", ["https://host:99999/v1", "https://host:x/v1", "https://ho st/v1", "host/v1", "ftp://host"]
)
def test_an_address_that_there_cannot_be_is_refused_by_the_name_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL"):
        Settings.load()


def test_organization_and_project_are_sent_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """For keys that belong to several."""
    assert provider(openai_api_key="sk-1").headers == {}
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_ORG_ID", " org-1 ")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
    found = find_provider(Settings.load())
    assert found.headers == {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1"}


@pytest.mark.parametrize("value", ["org\n-1", "örg"])
def test_an_organization_that_no_header_can_hold_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", value)
    with pytest.raises(SettingsError, match="OPENAI_ORG_ID"):
        Settings.load()


def test_neither_key_nor_base_url_means_the_emulator_of_the_stack(tmp_path: Path) -> None:
    write_stack_file(tmp_path)
    found = find_provider(Settings(state_folder=tmp_path))
    assert (found.kind, found.base_url) == (ProviderKind.EMULATOR, EMULATOR)
    assert "emulator" in found.sentence


@pytest.mark.parametrize("has_stack", [False, True], ids=["no stack", "a stack without emulator"])
def test_without_any_provider_the_error_says_what_to_set(tmp_path: Path, has_stack: bool) -> None:
    if has_stack:
        write_stack_file(tmp_path, emulator=None)
    with pytest.raises(ProviderMissing, match="OPENAI_API_KEY or OPENAI_BASE_URL, or start the emulator"):
        find_provider(Settings(state_folder=tmp_path))
