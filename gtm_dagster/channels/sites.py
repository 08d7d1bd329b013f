"""Which hosts are one site: those of one registrable domain, by the public suffix list that publicsuffixlist packs."""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from gtm_dagster.channels.hosts import host_of

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_ADDRESS = re.compile(r"[0-9.]+\Z|\[")


@cache
def _suffixes(only_icann: bool) -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=only_icann)


@lru_cache(maxsize=65_536)
def site_of(host: str) -> str:
    """The registrable domain of a host as `host_of` gives it: `acme.co.uk` of `shop.acme.co.uk`.

    Two customers of one hosting domain (`a.github.io`, `b.github.io`) are two sites. An address, a single word and a
    public suffix itself are their own.
    """
    if _ADDRESS.match(host):
        return host
    return _suffixes(only_icann=False).privatesuffix(host) or host


def same_site(one: str, other: str) -> bool:
    """Whether two hosts belong to one registrable domain."""
    return site_of(one) == site_of(other)


def is_own(host: str, own_hosts: tuple[str, ...]) -> bool:
    """Whether `host` is one of `own_hosts` or lies below one."""
    return any(host == own or host.endswith(f".{own}") for own in _readable(own_hosts))


@lru_cache(maxsize=64)
def _readable(own_hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(host for own in own_hosts if (host := host_of(f"https://{own}/")))


@lru_cache(maxsize=65_536)
def under_any_suffix(host: str) -> str | None:
    """`mail.google.*` for `mail.google.co.uk`: the host with a star for its country or generic ending; None without one.

    Endings that a company lends to its customers (`github.io`) are none, nor are endings that the list does not know.
    """
    if _ADDRESS.match(host):
        return None
    suffix = _suffixes(only_icann=True).publicsuffix(host, accept_unknown=False)
    return f"{host[: -len(suffix)]}*" if suffix and host != suffix else None


@cache
def suffixes_digest() -> str:
    """12 hex digits of the packed list of suffixes: another list may part or join sites."""
    data = (resources.files("publicsuffixlist") / "public_suffix_list.dat").read_bytes()
    return hashlib.sha256(data).hexdigest()[:12]
