from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from durable_responses.responses_api.errors import Misconfigured
from durable_responses.responses_api.handshake import (
    DEFAULT_URL,
    BearerAuth,
    ConnectOptions,
    Handshake,
    HeaderAuth,
    ProxyMode,
    ProxyOptions,
    RequestOverrides,
    TlsOptions,
    check_host,
    merge_headers,
    prepare,
    responses_url,
)
from tests.support.certificates import PASSPHRASE, Authority

KEY = SecretStr("sk-test-0123456789abcdef")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "WSS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def prepared(
    url: str = DEFAULT_URL,
    *,
    api_key: SecretStr | None = KEY,
    headers: Mapping[str, str] | None = None,
    beta: str | None = "responses-websocket=v1",
    **overrides: Any,
) -> Handshake:
    options = ConnectOptions(headers=dict(headers or {}), beta=beta, overrides=RequestOverrides(**overrides))
    return prepare(url, api_key, options)


def misconfigured(url: str, **overrides: Any) -> str:
    """What is said of it before there is a socket; nothing if it can be used."""
    try:
        prepared(url, **overrides)
    except Misconfigured as error:
        return str(error)
    return ""


# --- address ------------------------------------------------------------------------------------------------------


def test_the_default_url_is_openais() -> None:
    """W1: default URL `wss://api.openai.com/v1/responses`."""
    assert prepared().url == "wss://api.openai.com/v1/responses"


def test_a_given_url_is_used_verbatim() -> None:
    """W1: overridable and used verbatim."""
    urls = ["wss://host:444/a//b/?x=1&y", "ws://127.0.0.1:8/"]
    assert [prepared(url).url for url in urls] == urls


def test_responses_is_appended_to_a_base_url() -> None:
    """W1: `OPENAI_WEBSOCKET_BASE_URL` gets `/responses` appended."""
    urls = {
        "wss://host/v1": "wss://host/v1/responses",
        "wss://host/v1/": "wss://host/v1/responses",
        "https://host:444/v1": "wss://host:444/v1/responses",
        "http://127.0.0.1:8080/v1?api-version=2": "ws://127.0.0.1:8080/v1/responses?api-version=2",
        "wss://host": "wss://host/responses",
    }
    assert {base: responses_url(base) for base in urls} == urls


def test_what_is_no_websocket_url_is_refused() -> None:
    """W3: a configuration error."""
    urls = ["https://host/v1", "host", "", "wss://", "wss://host/#x", "wss://host:port/", "wss://["]
    assert [url for url in urls if "`url` is not a WebSocket URL" not in misconfigured(url)] == []


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(Misconfigured, match="`url` must not hold") as caught:
        prepared("wss://user:secret@host/")
    assert "secret" not in str(caught.value)


LOOPBACK = {"127.0.0.1", "127.8.9.1", "localhost", "api.localhost", "[::1]", "[::ffff:127.0.0.1]"}
ELSEWHERE = {"example.com", "93.184.216.34", "10.0.0.1", "localhost.example.com", "0.0.0.0"}


def test_plain_ws_is_allowed_to_loopback_only() -> None:
    """W16: plain `ws:` to loopback is allowed, elsewhere only when allowed."""
    refused = {host for host in LOOPBACK | ELSEWHERE if "allow_plaintext" in misconfigured(f"ws://{host}:8080/")}
    assert refused == ELSEWHERE


def test_plain_ws_has_no_tls() -> None:
    assert prepared("ws://127.0.0.1:8080/").tls is None


def test_plain_ws_elsewhere_can_be_allowed() -> None:
    """W16: elsewhere when allowed."""
    assert prepared("ws://example.com/", allow_plaintext=True)


PRIVATE = ["10.0.0.1", "192.168.1.5", "172.16.0.1", "169.254.169.254", "[fd00::1]", "[fe80::1]", "100.64.0.1"]


def test_private_addresses_are_refused() -> None:
    """W16: to private addresses only when allowed."""
    said = {
        (scheme, host): misconfigured(f"{scheme}://{host}/", allow_plaintext=True)
        for scheme in ("ws", "wss")
        for host in PRIVATE
    }
    assert {where for where, what in said.items() if "allow_private_network" not in what} == set()


def test_private_addresses_can_be_allowed() -> None:
    """W16: to private addresses when allowed; that does not allow plain `ws:`."""
    assert [host for host in PRIVATE if misconfigured(f"wss://{host}/", allow_private_network=True)] == []
    plain = {host: misconfigured(f"ws://{host}/", allow_private_network=True) for host in PRIVATE}
    assert [host for host, said in plain.items() if "allow_plaintext" not in said] == []


def test_a_name_is_checked_again_by_the_address_it_leads_to() -> None:
    """W16: `check_host` is given the address that was reached."""
    with pytest.raises(Misconfigured, match=r"10\.1\.2\.3"):
        check_host("10.1.2.3", secure=True, overrides=RequestOverrides())


# --- headers ------------------------------------------------------------------------------------------------------


def test_headers_merge_without_regard_to_case_and_the_later_wins() -> None:
    """W15: merge case-insensitively, later wins."""
    assert merge_headers({"X-A": "1", "X-B": "1"}, {"x-a": "2"}, {"X-a": "3"}) == {"X-a": "3", "X-B": "1"}


def test_ours_give_way_to_the_callers_and_these_to_the_overrides() -> None:
    """W15: ours, caller's, request overrides."""
    handshake = prepare(
        DEFAULT_URL,
        KEY,
        ConnectOptions(
            headers={"openai-beta": "caller", "x-a": "caller", "x-b": "caller"},
            overrides=RequestOverrides(headers={"X-B": "override"}),
        ),
    )
    assert handshake.headers == {
        "User-Agent": "durable-responses",
        "Authorization": f"Bearer {KEY.get_secret_value()}",
        "openai-beta": "caller",
        "x-a": "caller",
        "X-B": "override",
    }


def test_a_bearer_override_wins_over_every_other_authorization() -> None:
    """W15: auth override (bearer)."""
    handshake = prepared(headers={"authorization": "Basic abc"}, auth=BearerAuth(token=SecretStr("other")))
    assert [value for name, value in handshake.headers.items() if name.lower() == "authorization"] == ["Bearer other"]


def test_a_header_override_removes_authorization() -> None:
    """W15: a custom header that removes Authorization."""
    handshake = prepared(
        headers={"AUTHORIZATION": "Basic abc"}, auth=HeaderAuth(name="api-key", value=SecretStr("azure"))
    )
    assert handshake.headers["api-key"] == "azure"
    assert "authorization" not in {name.lower() for name in handshake.headers}


def test_a_header_override_may_be_authorization_itself() -> None:
    """W15: in a form of its own."""
    handshake = prepared(auth=HeaderAuth(name="authorization", value=SecretStr("Token abc")))
    assert handshake.headers["authorization"] == "Token abc"
    assert "Authorization" not in handshake.headers


@pytest.mark.parametrize("name", ["__proto__", "constructor", "__class__", "toString"])
def test_names_that_are_special_elsewhere_are_ordinary(name: str) -> None:
    """W15: `__proto__`-like names have no special meaning."""
    assert prepared(headers={name: "x"}).headers[name] == "x"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b", "snow ☃"])
def test_a_value_that_would_inject_a_header_is_refused_and_not_repeated(value: str) -> None:
    """W15: header injection (CR, LF) is refused."""
    with pytest.raises(Misconfigured, match="header X-A") as caught:
        prepared(headers={"X-A": value})
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["X A", "X\r\nY", "", "X:Y", "é"])
def test_a_name_that_http_does_not_allow_is_refused(name: str) -> None:
    """W15: the same for names."""
    with pytest.raises(Misconfigured, match="Header name"):
        merge_headers({name: "x"})


def test_a_key_that_would_inject_a_header_is_refused_and_not_repeated() -> None:
    """W15: also in the key."""
    with pytest.raises(Misconfigured, match="header Authorization") as caught:
        prepared(api_key=SecretStr("sk-abc\r\nX-Evil: 1"))
    assert "sk-abc" not in str(caught.value)


@pytest.mark.parametrize("name", ["Host", "upgrade", "Connection", "Sec-WebSocket-Key", "content-length"])
def test_the_headers_of_the_handshake_cannot_be_set(name: str) -> None:
    with pytest.raises(Misconfigured, match="belongs to the handshake"):
        merge_headers({name: "x"})


def test_a_key_is_needed() -> None:
    """W3: no key is a configuration error."""
    for missing in (None, SecretStr(""), SecretStr(" \n")):
        with pytest.raises(Misconfigured, match="API key"):
            prepared(api_key=missing)


@pytest.mark.parametrize(
    "instead",
    [
        {"auth": BearerAuth(token=SecretStr("x"))},
        {"auth": HeaderAuth(name="api-key", value=SecretStr("x"))},
        {"headers": {"authorization": "Basic x"}},
    ],
)
def test_other_credentials_stand_in_for_the_key(instead: dict[str, Any]) -> None:
    """W15: no key is needed beside them."""
    assert prepared(api_key=None, **instead)


def test_the_beta_header_can_be_changed_and_left_out() -> None:
    """W1: the `OpenAI-Beta` value is configurable."""
    assert prepared(beta="other=v2").headers["OpenAI-Beta"] == "other=v2"
    assert "OpenAI-Beta" not in prepared(beta=None).headers


def test_options_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="max_retrys"):
        ConnectOptions.model_validate({"max_retrys": 3})


def test_secrets_are_not_shown() -> None:
    handshake = prepared(headers={"x-token": "caller-secret"}, auth=BearerAuth(token=SecretStr("override-secret")))
    shown = f"{handshake!r} {handshake.options!r} {handshake.options.overrides!r}"
    assert "secret" not in shown.replace("SecretStr", "").replace("secrets", "")
    assert KEY.get_secret_value() not in shown


# --- TLS ----------------------------------------------------------------------------------------------------------


def test_verification_cannot_be_switched_off() -> None:
    """W3: TLS verification switched off is a configuration error."""
    with pytest.raises(Misconfigured, match=r"`tls\.verify`"):
        prepared(tls=TlsOptions(verify=False))


def test_tls_options_need_wss() -> None:
    """W16: TLS settings are applied, not only recorded."""
    with pytest.raises(Misconfigured, match="`tls` cannot be used"):
        prepared("ws://localhost/", tls=TlsOptions(ca=Path("x")))


def test_a_missing_authority_is_named() -> None:
    """W16: ca."""
    with pytest.raises(Misconfigured, match=r"`tls\.ca` cannot be read: /nowhere/ca\.pem"):
        prepared(tls=TlsOptions(ca=Path("/nowhere/ca.pem")))


def test_an_encrypted_key_opens_with_its_passphrase(authority: Authority) -> None:
    """W16: client cert, key and its passphrase."""
    identity = authority.issue("client", passphrase=PASSPHRASE)
    tls = TlsOptions(certificate=identity.certificate, key=identity.key, passphrase=SecretStr(PASSPHRASE))
    assert prepared(tls=tls).tls


@pytest.mark.parametrize("passphrase", [None, SecretStr("wrong secret")])
def test_a_wrong_passphrase_is_an_error_and_not_a_question(authority: Authority, passphrase: SecretStr | None) -> None:
    """W16: nobody is asked on the terminal."""
    identity = authority.issue("client", passphrase=PASSPHRASE)
    with pytest.raises(Misconfigured, match="passphrase") as caught:
        prepared(tls=TlsOptions(certificate=identity.certificate, key=identity.key, passphrase=passphrase))
    assert "secret" not in str(caught.value)


# --- proxy --------------------------------------------------------------------------------------------------------


def explicit(url: str, **options: Any) -> ProxyOptions:
    return ProxyOptions(mode=ProxyMode.EXPLICIT, url=SecretStr(url), **options)


def test_a_given_proxy_is_used() -> None:
    """W16: proxy settings are applied."""
    assert prepared(proxy=explicit("http://user:pw@proxy:3128")).proxy == "http://user:pw@proxy:3128"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """W16: the environment's proxy, by default."""
    monkeypatch.setenv(variable, "http://proxy:3128")
    assert prepared().proxy == "http://proxy:3128"


def test_the_environment_can_exempt_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """W16: `NO_PROXY` is honoured."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "api.openai.com")
    assert prepared().proxy is None


def test_loopback_never_goes_through_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """W16: a local server is reached directly."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("ALL_PROXY", "http://proxy:3128")
    assert prepared("ws://127.0.0.1:8/").proxy is None


def test_the_environment_can_be_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """W16: mode `direct`."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert prepared(proxy=ProxyOptions(mode=ProxyMode.DIRECT)).proxy is None


@pytest.mark.parametrize("proxy", ["proxy:3128", "http://", "http://user:secret@proxy/path", "ftp://user:secret@proxy"])
def test_what_is_no_proxy_is_refused_and_not_repeated(proxy: str) -> None:
    """W16: a configuration error."""
    with pytest.raises(Misconfigured, match=r"proxy \(explicit\)") as caught:
        prepared(proxy=explicit(proxy))
    assert "secret" not in str(caught.value)


def test_a_socks_proxy_is_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match="socks5 proxy"):
        prepared(proxy=explicit("socks5://proxy:1080"))


def test_a_url_and_the_mode_explicit_go_together() -> None:
    for options in (ProxyOptions(mode=ProxyMode.EXPLICIT), ProxyOptions(url=SecretStr("http://proxy"))):
        with pytest.raises(Misconfigured, match="go together"):
            prepared(proxy=options)


def test_tls_towards_a_plain_proxy_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"`proxy\.tls`"):
        prepared(proxy=explicit("http://proxy", tls=TlsOptions()))
