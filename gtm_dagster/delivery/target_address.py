"""An HTTP address taken apart, its host resolved, and every address found checked: before each attempt, as names move."""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import idna

from gtm_dagster.delivery.allowed_addresses import Address, Network, refusal

Resolver = Callable[[str, int], Sequence[str]]
"""(host, port) -> its addresses as texts. Raises OSError."""
_VISIBLE = re.compile(r"[!-~\u0080-\U0010ffff]+\Z")
_FOREIGN_PORTS = frozenset({
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111,
    113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548,
    554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 3306, 3389, 3659, 4045,
    4190, 5060, 5061, 5432, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9200, 10080, 11211, 27017,
})  # fmt: skip
"""The ports that browsers refuse (https://fetch.spec.whatwg.org/#port-blocking), and those of databases."""


class AddressRefused(Exception):
    """Nothing is sent to this address; the message says why, without path, query and user info."""


@dataclass(frozen=True)
class Target:
    """An address taken apart: `host` as TLS and the Host header name it, `path` with its query."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.secure else 80) else f"{name}:{self.port}"


@lru_cache(64)
def parsed(url: str, *, strict: bool = True) -> Target:
    """The parts of `url`. Raises AddressRefused for other schemes than http and https, and odd hosts and ports.

    `strict`: also for user info, and ports of other protocols.
    """
    if not _VISIBLE.match(url) or "\\" in url:
        raise AddressRefused("the address holds a blank, a control character or a backslash")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("the address cannot be taken apart; give https://HOST/PATH") from None
    if parts.scheme not in ("http", "https"):
        raise AddressRefused(f"{parts.scheme or 'no scheme'}: only http and https are sent to")
    if strict and "@" in parts.netloc:
        raise AddressRefused("a user or password in the address; a secret belongs into secret_env")
    host = _host(parts.hostname or "")
    secure = parts.scheme == "https"
    port = (443 if secure else 80) if port is None else port
    if port == 0 or (strict and port in _FOREIGN_PORTS):
        raise AddressRefused(f"port {port} is not one of a web server")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure, host, port, _ascii(path))


def _host(name: str) -> str:
    if not name or "%" in name:
        raise AddressRefused("the address has no host, or an odd one; give https://HOST/PATH")
    if name.isascii():
        return name.rstrip(".") or name
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        raise AddressRefused("the host is not a name that can be resolved") from None


def _ascii(path: str) -> str:
    return "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in path)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Every address the system has for a name. `localhost` is 127.0.0.1, whatever it says (RFC 6761, 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def checked_addresses(
    target: Target, allow: Sequence[Network] | None, until: float, resolver: Resolver = system_resolver
) -> list[Address]:
    """The addresses of a target, of which every one may be sent to; `allow` None lets all through.

    Raises AddressRefused, also where the name is not resolved `until` (of time.monotonic) or an answer makes no sense.
    """
    found: list[Address] = []
    for text in _resolved(target, until, resolver):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise AddressRefused(f"{target.host} resolves to {text[:60]!r}, which is no IP address") from None
        if address not in found:
            found.append(address)
    if not found:
        raise AddressRefused(f"{target.host} resolves to nothing")
    if allow is not None:
        for address in found:
            if why := refusal(address, allow):
                raise AddressRefused(why if str(address) == target.host else f"{target.host} resolves to an address not allowed: {why}")  # fmt: skip
    return found


def _resolved(target: Target, until: float, resolver: Resolver) -> Sequence[str]:
    """A resolver that hangs is left behind: it cannot be ended."""
    try:
        return [str(ipaddress.ip_address(target.host))]
    except ValueError:
        pass
    answer: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolver(target.host, target.port))
        except Exception as error:  # noqa: BLE001 - an error of any kind is a refusal
            answer.put(error)

    threading.Thread(target=ask, name="gtm-resolve", daemon=True).start()
    try:
        found = answer.get(timeout=max(until - time.monotonic(), 0.001))
    except queue.Empty:
        raise AddressRefused(f"{target.host} was not resolved in time") from None
    if isinstance(found, Exception):
        raise AddressRefused(f"{target.host} cannot be resolved ({type(found).__name__})")
    return found
