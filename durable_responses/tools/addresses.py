"""Which network addresses a tool may connect to. Pure rules, no I/O.

The tables are those of IANA, row by row, as they stood in November 2025, written out because `ipaddress` answers by the
tables of the Python version that happens to run. No row is public here, not even those that IANA calls globally
reachable: they are relays and anycast services, never the host of a web page.

https://www.iana.org/assignments/iana-ipv4-special-registry
https://www.iana.org/assignments/iana-ipv6-special-registry
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "0.0.0.0/32",  # this host on this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared address space
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, with the metadata services of clouds
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.0.0/29",  # IPv4 service continuity
            "192.0.0.8/32",  # dummy address
            "192.0.0.9/32",  # Port Control Protocol anycast
            "192.0.0.10/32",  # TURN anycast
            "192.0.0.170/32",  # NAT64/DNS64 discovery
            "192.0.0.171/32",  # NAT64/DNS64 discovery
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relay anycast, deprecated
            "192.88.99.2/32",  # 6a44 relay anycast
            "192.168.0.0/16",  # private use
            "192.175.48.0/24",  # AS112, direct delegation
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "240.0.0.0/4",  # reserved
            "255.255.255.255/32",  # limited broadcast
        ),
    )
)
"""The rows of the IPv4 registry."""

SPECIAL_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "::1/128",  # loopback
            "::/128",  # unspecified
            "::ffff:0:0/96",  # IPv4-mapped
            "64:ff9b::/96",  # IPv4/IPv6 translation; see `is_public`
            "64:ff9b:1::/48",  # IPv4/IPv6 translation, local use
            "100::/64",  # discard only
            "100:0:0:1::/64",  # dummy prefix
            "2001::/23",  # IETF protocol assignments
            "2001::/32",  # Teredo
            "2001:1::1/128",  # Port Control Protocol anycast
            "2001:1::2/128",  # TURN anycast
            "2001:1::3/128",  # DNS-SD service registration anycast
            "2001:2::/48",  # benchmarking
            "2001:3::/32",  # AMT
            "2001:4:112::/48",  # AS112
            "2001:10::/28",  # ORCHID, deprecated
            "2001:20::/28",  # ORCHIDv2
            "2001:30::/28",  # drone remote id
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112, direct delegation
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
            "fc00::/7",  # unique local
            "fe80::/10",  # link-local
        ),
    )
)
"""The rows of the IPv6 registry."""

MULTICAST_IPV4 = IPv4Network("224.0.0.0/4")
# Public by its number, yet the address of Azure's metadata and platform services inside of every Azure machine.
AZURE_PLATFORM = IPv4Address("168.63.129.16")
# All that IANA has given out for single hosts. Outside of it are multicast, site-local and IPv4-compatible addresses.
GLOBAL_UNICAST = IPv6Network("2000::/3")
# RFC 6052: a gateway turns these into the IPv4 address in their last 32 bits.
NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet.

    Addresses of the special-purpose registries, multicast and any IPv6 address outside of global unicast do not. One
    row is judged by what is meant: where DNS64 answers, every host that has only IPv4 gets an address of
    `64:ff9b::/96`, which is as public as the IPv4 address in it. What is not an address, or carries a zone, is not
    public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_ipv4(parsed)
    if parsed.scope_id is not None:
        return False
    if parsed in NAT64:
        return _is_public_ipv4(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return _is_public_ipv6(parsed)


def _is_public_ipv4(address: IPv4Address) -> bool:
    if address in MULTICAST_IPV4 or address == AZURE_PLATFORM:
        return False
    return not any(address in network for network in SPECIAL_IPV4)


def _is_public_ipv6(address: IPv6Address) -> bool:
    return address in GLOBAL_UNICAST and not any(address in network for network in SPECIAL_IPV6)
