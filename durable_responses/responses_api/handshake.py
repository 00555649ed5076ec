"""What is known and checked before a WebSocket is opened: address, headers, TLS, proxy, limits.

`prepare` turns options into a `Handshake`, or raises Misconfigured naming the option. No socket exists before that.
"""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from websockets.exceptions import InvalidProxy, InvalidURI
from websockets.proxy import parse_proxy
from websockets.uri import parse_uri

from durable_responses.responses_api.errors import Misconfigured
from durable_responses.responses_api.redaction import NO_SECRETS, Secrets, proxy_secrets, query_secrets
from durable_responses.responses_api.tracing import trace_headers
from durable_responses.responses_api.transport import environment_proxy

DEFAULT_URL = "wss://api.openai.com/v1/responses"
DEFAULT_BETA = "responses-websocket=v1"
USER_AGENT = "durable-responses"


class Options(BaseModel):
    """Options of any kind: unknown names are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsOptions(Options):
    """TLS towards the server or a proxy. Files are PEM."""

    ca: Path | None = Field(None, description="Certificate authorities to trust instead of the system's.")
    certificate: Path | None = Field(None, description="Our own certificate, if the server asks for one.")
    key: Path | None = Field(None, description="Private key of `certificate`, unless it is in the same file.")
    passphrase: SecretStr | None = Field(None, description="Of `key`.")
    server_name: str | None = Field(None, description="Name in the server's certificate, where it is not the host.")
    verify: bool = Field(True, description="False is refused: a key sent to an unverified server is a lost key.")


class ProxyMode(StrEnum):
    """Which proxy is used: the one of the environment (never for loopback), none, or the given one."""

    ENVIRONMENT = "environment"
    DIRECT = "direct"
    EXPLICIT = "explicit"


class ProxyOptions(Options):
    """The proxy, `http://` or `https://`, with user and password in the URL if it needs them."""

    mode: ProxyMode = ProxyMode.ENVIRONMENT
    url: SecretStr | None = Field(None, description="Only with mode `explicit`.")
    tls: TlsOptions | None = Field(None, description="Towards an `https://` proxy.")


class BearerAuth(Options):
    """Another bearer token than the API key."""

    token: SecretStr


class HeaderAuth(Options):
    """A custom header in place of `Authorization`."""

    name: str
    value: SecretStr


class RequestOverrides(Options):
    """What requests to a gateway or a private server need."""

    headers: dict[str, str] = Field({}, repr=False, description="Win over all other headers but those of `auth`.")
    auth: BearerAuth | HeaderAuth | None = None
    proxy: ProxyOptions = ProxyOptions()
    tls: TlsOptions | None = None
    allow_plaintext: bool = Field(False, description="Allow `ws:` to other hosts than loopback: the key is readable.")
    allow_private_network: bool = Field(False, description="Allow addresses that are not public.")


class ConnectOptions(Options):
    """How to connect, and how to keep the connection. Times are seconds."""

    headers: dict[str, str] = Field({}, repr=False)
    beta: str | None = Field(DEFAULT_BETA, description="Value of the `OpenAI-Beta` header; None sends none.")
    overrides: RequestOverrides = RequestOverrides()
    max_retries: int = Field(5, ge=0, description="Attempts after the first; 0 means one socket.")
    retry_delays: tuple[float, ...] = Field((1, 2, 4, 8, 16), description="In order; the last one repeats.")
    max_retry_after: float = Field(60, ge=0, description="A server that asks for a longer wait ends the attempts.")
    handshake_timeout: float = Field(10, gt=0)
    close_timeout: float = Field(5, gt=0, description="How long the server may take to answer a close.")
    ping_interval: float = Field(20, gt=0)
    ping_timeout: float = Field(20, gt=0)
    max_message_bytes: int = Field(64 * 2**20, gt=0)
    compression: bool = Field(False, description="Saves bytes and costs CPU and memory on every event.")
    secrets: tuple[str, ...] = Field((), repr=False, description="Values in requests that no answer may repeat.")


@dataclass(frozen=True)
class Handshake:
    """All that is needed to open one socket. Headers hold secrets and are not shown."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    options: ConnectOptions = field(repr=False)
    tls: ssl.SSLContext | None = field(repr=False)
    proxy: str | None = field(repr=False)
    proxy_tls: ssl.SSLContext | None = field(repr=False)
    secrets: Secrets = field(default=NO_SECRETS, repr=False)
    """Values that an answer of the server must not repeat to anyone."""

    @property
    def server_name(self) -> str | None:
        """The name that the server's certificate must carry, where it is not the host of the URL."""
        tls = self.options.overrides.tls
        return tls.server_name if tls else None

    @property
    def proxy_server_name(self) -> str | None:
        """The same for the proxy's certificate."""
        tls = self.options.overrides.proxy.tls
        return tls.server_name if tls else None


def prepare(url: str, api_key: SecretStr | None, options: ConnectOptions) -> Handshake:
    """Check everything that can be checked without a socket.

    Raises Misconfigured: bad URL, no key, a header that HTTP does not allow, TLS verification off, an address that
    is not allowed, a TLS file or proxy that cannot be used.
    """
    overrides = options.overrides
    address = _checked(url)
    check_host(address.hostname or "", secure=address.scheme == "wss", overrides=overrides)
    if overrides.tls and address.scheme == "ws":
        raise Misconfigured("`tls` cannot be used with a `ws:` URL: use `wss:`.")
    proxy = _proxy_url(address, overrides.proxy)
    secure_proxy = proxy is not None and parse_proxy(proxy).scheme == "https"
    return Handshake(
        url=url,
        headers=_headers(api_key, options),
        options=options,
        tls=_context(overrides.tls, "tls") if address.scheme == "wss" else None,
        proxy=proxy,
        proxy_tls=_context(overrides.proxy.tls, "proxy.tls") if secure_proxy else None,
        secrets=Secrets(
            (
                _key(api_key),
                _auth_secret(overrides.auth),
                *proxy_secrets(proxy),
                *query_secrets(url),
                *options.secrets,
            )
        ),
    )


# --- address -----------------------------------------------------------------------------------------------------


def responses_url(base_url: str) -> str:
    """The WebSocket URL under a base URL: `/responses` is appended to its path, `http` becomes `ws`."""
    base = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(base.scheme, base.scheme)
    return urlunsplit((scheme, base.netloc, base.path.rstrip("/") + "/responses", base.query, ""))


def check_host(host: str, *, secure: bool, overrides: RequestOverrides) -> None:
    """Refuse a host name or IP address that the options do not allow.

    Used for the host of the URL, and again for the address that was reached. Raises Misconfigured.
    """
    if _is_loopback(host):
        return
    if not secure and not overrides.allow_plaintext:
        raise Misconfigured(f"`url` is plain `ws:` and {host} is not loopback: use `wss:`, or set `allow_plaintext`.")
    if not overrides.allow_private_network and (address := _ip_address(host)) and not address.is_global:
        raise Misconfigured(f"{host} is not a public address: set `allow_private_network` if that is intended.")


def _checked(url: str) -> SplitResult:
    try:
        parse_uri(url)
        address = urlsplit(url)
    except InvalidURI as error:
        raise Misconfigured(f"`url` is not a WebSocket URL: {error.msg}.") from None
    except ValueError as error:
        raise Misconfigured(f"`url` is not a WebSocket URL: {error}.") from None
    if address.username is not None or address.password is not None:
        raise Misconfigured("`url` must not hold a user or password: use `api_key` or `auth`.")
    return address


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str) -> bool:
    address = _ip_address(host)
    if address is not None:
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")


# --- headers -----------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OF_THE_HANDSHAKE = re.compile(r"host|upgrade|connection|sec-websocket-.*|content-length|transfer-encoding", re.I)


def merge_headers(*sets: Mapping[str, str]) -> dict[str, str]:
    """One set of headers. Names are compared without case, and the later set wins.

    Raises Misconfigured for names and values that HTTP does not allow, line breaks above all, and for the headers
    that the handshake itself writes.
    """
    merged: dict[str, tuple[str, str]] = {}
    for headers in sets:
        for name, value in headers.items():
            _check_header(name, value)
            merged[name.lower()] = (name, value)
    return dict(merged.values())


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise Misconfigured(f"Header name {name[:80]!r} holds a character that HTTP does not allow.")
    if _OF_THE_HANDSHAKE.fullmatch(name):
        raise Misconfigured(f"Header {name} belongs to the handshake and cannot be set.")
    # The value may be a secret and is not shown.
    if not _VALUE.fullmatch(value):
        raise Misconfigured(f"The value of header {name} holds a character that HTTP does not allow.")


def _headers(api_key: SecretStr | None, options: ConnectOptions) -> dict[str, str]:
    overrides = options.overrides
    ours = {"User-Agent": USER_AGENT, **trace_headers()}
    if key := _key(api_key):
        ours["Authorization"] = f"Bearer {key}"
    if options.beta is not None:
        ours["OpenAI-Beta"] = options.beta
    merged = merge_headers(ours, options.headers, overrides.headers, _auth_header(overrides.auth))
    names = {name.lower(): name for name in merged}
    if isinstance(overrides.auth, HeaderAuth):
        if overrides.auth.name.lower() != "authorization":
            merged.pop(names.get("authorization", ""), None)
    elif "authorization" not in names:
        raise Misconfigured("No API key: set `api_key` (OPENAI_API_KEY), or `auth` in the overrides.")
    return merged


def _key(api_key: SecretStr | None) -> str:
    return api_key.get_secret_value().strip() if api_key else ""


def _auth_secret(auth: BearerAuth | HeaderAuth | None) -> str:
    match auth:
        case BearerAuth(token=secret) | HeaderAuth(value=secret):
            return secret.get_secret_value()
        case _:
            return ""


def _auth_header(auth: BearerAuth | HeaderAuth | None) -> dict[str, str]:
    match auth:
        case BearerAuth(token=token):
            return {"Authorization": f"Bearer {token.get_secret_value()}"}
        case HeaderAuth(name=name, value=value):
            return {name: value.get_secret_value()}
        case _:
            return {}


# --- TLS and proxy -----------------------------------------------------------------------------------------------


def _context(tls: TlsOptions | None, option: str) -> ssl.SSLContext:
    tls = tls or TlsOptions()
    if not tls.verify:
        raise Misconfigured(f"`{option}.verify` is off: trust the server's authority with `{option}.ca` instead.")
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"`{option}.ca` cannot be read: {tls.ca}: {error}.") from error
    if tls.certificate is None:
        return context
    passphrase = tls.passphrase.get_secret_value() if tls.passphrase else ""
    try:
        # A callback, or an encrypted key would ask for its passphrase on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: passphrase)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"`{option}.certificate`, its `key` or `passphrase` cannot be used: {tls.certificate}: {error}."
        ) from error
    return context


def _proxy_url(address: SplitResult, options: ProxyOptions) -> str | None:
    if (options.url is not None) != (options.mode is ProxyMode.EXPLICIT):
        raise Misconfigured("`proxy.url` and `proxy.mode: explicit` go together.")
    match options.mode:
        case ProxyMode.EXPLICIT:
            proxy = options.url.get_secret_value() if options.url else None
        case ProxyMode.ENVIRONMENT:
            # One rule for both transports: it is asked with the scheme that HTTP would have.
            scheme = "https" if address.scheme == "wss" else "http"
            proxy = environment_proxy(httpx.URL(address._replace(scheme=scheme).geturl()))
        case ProxyMode.DIRECT:
            proxy = None
    if proxy is not None:
        _check_proxy(proxy, options)
    return proxy


def _check_proxy(proxy: str, options: ProxyOptions) -> None:
    try:
        scheme = parse_proxy(proxy).scheme
    except (InvalidProxy, ValueError):
        # Not chained: the library's message repeats the URL, and with it the password.
        raise Misconfigured(f"The proxy ({options.mode}) does not have a valid URL: use `http://host:port`.") from None
    if scheme not in ("http", "https"):
        raise Misconfigured(f"The proxy ({options.mode}) is a {scheme} proxy: only http and https are supported.")
    if options.tls and scheme != "https":
        raise Misconfigured("`proxy.tls` needs an `https://` proxy.")
