"""Which network addresses a tool may connect to. Pure rules, no I/O."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

IPAddress = IPv4Address | IPv6Address

# Public by its number, yet the address of Azure's metadata and platform services inside of every Azure machine.
AZURE_PLATFORM = IPv4Address("168.63.129.16")
# RFC 6052: a gateway turns these into the IPv4 address in their last 32 bits.
NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet.

    Private, shared, loopback, link-local (which holds the metadata services of clouds), multicast, reserved and
    unspecified addresses are not, nor are IPv6 addresses that stand for such an IPv4 address. What is not an address is
    not public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if (inner := _translated(parsed)) is not None:
            return _is_public(inner)
        if (tunnelled := _tunnelled(parsed)) and not all(map(_is_public, tunnelled)):
            return False
    return _is_public(parsed)


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and address != AZURE_PLATFORM


def _translated(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is really meant: IPv4-mapped (RFC 4291) and NAT64."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else None


def _tunnelled(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that a tunnel sends the packets to: 6to4 (RFC 3056) and Teredo (RFC 4380)."""
    if address.sixtofour is not None:
        return [address.sixtofour]
    return list(address.teredo or [])
