"""Which requests are a foreign page's."""

from collections.abc import Collection

import pytest
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from durable_responses.host_check import HostCheck, is_loopback

HOST = "127.0.0.1:8484"


async def unreachable(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("only the rule is asked")


def passes(
    *headers: tuple[str, str], allowed: Collection[str] = (), method: str = "POST", same_origin: bool = False
) -> bool:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    check = HostCheck(unreachable, allowed, same_origin=same_origin)
    return check.problem(Headers(raw=raw), method) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", HOST, "127.9.9.9:1", "localhost", "LocalHost:8484", "[::1]:8484", "[::1]"]
)
def test_this_machines_own_names_are_served(host: str) -> None:
    assert passes(("host", host))


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8484", "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost"),
        *("127.0.0.1:8484@evil.example", "evil@127.0.0.1", "localhost.", "0.0.0.0:8484", "192.168.1.5", "[::]:8484"),
        *("", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1 evil.example", "nobody.invalid", "2130706433"),
    ],
)
def test_every_other_name_is_foreign(host: str) -> None:
    """A page may have pointed it here (DNS rebinding)."""
    assert not passes(("host", host))


def test_a_request_with_two_hosts_or_none_is_foreign() -> None:
    assert not passes(("host", HOST), ("host", "evil.example"))
    assert not passes()


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1.evil.example",
        "null",
        "",
        "file://",
        "http://[",
        "chrome-extension://abc",
    ],
)
def test_a_foreign_page_is_not_served(origin: str) -> None:
    assert not passes(("host", HOST), ("origin", origin))


def test_a_page_of_this_machine_is_served() -> None:
    assert passes(("host", HOST), ("origin", f"http://{HOST}"))
    assert passes(("host", HOST), ("origin", "http://localhost:3000"))


def test_where_only_the_same_origin_counts_pages_of_other_ports_are_foreign() -> None:
    assert passes(("host", HOST), ("origin", f"http://{HOST}"), same_origin=True)
    assert not passes(("host", HOST), ("origin", "http://127.0.0.1:3000"), same_origin=True)


def test_what_another_sites_page_loads_is_not_served_but_its_links_are_followed() -> None:
    cross_site = (("host", HOST), ("sec-fetch-site", "cross-site"))
    assert not passes(*cross_site, ("sec-fetch-mode", "no-cors"), method="GET")
    assert not passes(*cross_site, ("sec-fetch-mode", "navigate"), method="POST")
    assert passes(*cross_site, ("sec-fetch-mode", "navigate"), method="GET")
    assert passes(("host", HOST), ("sec-fetch-site", "same-origin"))


def test_a_configured_name_is_served_and_no_part_of_it() -> None:
    assert passes(("host", "Emulator:8090"), allowed=["emulator"])
    assert passes(("host", "emulator"), ("origin", "http://emulator"), allowed=["emulator"])
    assert not passes(("host", "emulator.evil.example"), allowed=["emulator"])


def test_who_listens_on_all_addresses_is_reached_by_address_but_not_by_name() -> None:
    assert passes(("host", "172.18.0.5:8391"), allowed=["0.0.0.0"])
    assert not passes(("host", "evil.example"), allowed=["0.0.0.0"])
    assert not passes(("host", "172.18.0.5:8391"), ("origin", "http://172.18.0.9"), allowed=["0.0.0.0"])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "[::1]"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)
