"""Addresses by the registries of IANA.

https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry.
"""

from ipaddress import IPv4Network, IPv6Network

import pytest

from durable_responses.tools.addresses import SPECIAL_IPV4, SPECIAL_IPV6, is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.215.14",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "192.0.1.0",
        "192.88.98.1",
        "223.255.255.255",
        "2001:200::1",
        "2003::1",
        "3ffe:ffff::1",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "2001:0:7f00:1::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "2002:808:808::1",
        "2001:0:808:808::1",
        "4000::1",
        "2606:4700::1111%eth0",
        "",
        "localhost",
    ],
)
def test_any_other_address_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("network", [*SPECIAL_IPV4, *SPECIAL_IPV6], ids=str)
def test_no_row_of_the_registries_is_public_from_its_first_address_to_its_last(
    network: IPv4Network | IPv6Network,
) -> None:
    # The last address of NAT64 stands for 255.255.255.255, the first one for 0.0.0.0.
    assert not is_public(str(network[0]))
    assert not is_public(str(network[-1]))


@pytest.mark.parametrize("network", SPECIAL_IPV4, ids=str)
def test_nor_is_an_address_that_a_gateway_turns_into_one_of_them(network: IPv4Network) -> None:
    assert not is_public(f"64:ff9b::{network[-1]}")
    assert not is_public(f"::ffff:{network[-1]}")
