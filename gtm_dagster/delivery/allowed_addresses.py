"""Which IP addresses a message may go to: those of the public internet, and what a destination allows besides.

From the special-purpose registries of IANA (iana-ipv4-special-registry, iana-ipv6-special-registry). `ipaddress.is_global`
of Python 3.11 takes NAT64, 6to4 and multicast addresses for global ones, so the table is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_V4 = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier (CGNAT)",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "the metadata service of a cloud",
    "169.254.0.0/16": "link-local, where clouds have their metadata service",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "for protocols",
    "192.0.2.0/24": "for documentation",
    "192.31.196.0/24": "for protocols (AS112)",
    "192.52.193.0/24": "for protocols (AMT)",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "for protocols (AS112)",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_V6 = {
    "::/128": "no address",
    "::1/128": "loopback",
    "::ffff:0:0/96": "an IPv4 address in IPv6",
    "::/96": "an IPv4 address in IPv6",
    "64:ff9b::/96": "an IPv4 address behind NAT64",
    "64:ff9b:1::/48": "an IPv4 address behind NAT64",
    "100::/64": "for discarding",
    "2001::/32": "Teredo",
    "2001::/23": "for protocols",
    "2001:db8::/32": "for documentation",
    "2002::/16": "an IPv4 address in 6to4",
    "2620:4f:8000::/48": "for protocols (AS112)",
    "3fff::/20": "for documentation",
    "5f00::/16": "for segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind) for text, kind in (*_V4.items(), *_V6.items())
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All that is given out of IPv6; what lies elsewhere is refused, whatever it becomes one day."""


def kind_of(address: Address) -> str | None:
    """What kind of address this is, where nothing of the public internet has it; None for a public one."""
    if isinstance(address, IPv6Address) and address.scope_id:
        return "link-local"
    for network, kind in _REFUSED:
        if address.version == network.version and address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return "not given out"
    return None


def refusal(address: Address, allow: Sequence[Network]) -> str | None:
    """Why nothing is sent to `address`; None where it is public or lies in `allow`.

    An address is compared as it is: 127.0.0.0/8 does not allow ::ffff:127.0.0.1, which another check might let through.
    """
    kind = kind_of(address)
    if kind is None or any(address.version == each.version and address in each for each in allow):
        return None
    return f"{address} is {kind}; a destination names what it reaches beyond the public internet in its setting allow"
