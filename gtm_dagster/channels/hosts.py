"""host_of: the host of what a sender gives as a URL. Light on import: the collector and the SDK call it."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote

_URL = re.compile(r"(?:([a-z][a-z0-9+.-]*):)?(//)?([^/\\?#]*)([/\\?#].*)?\Z", re.IGNORECASE | re.DOTALL)
_SCHEMES = frozenset({"http", "https", "android-app", "ios-app"})
"""Pages and apps. What `file:`, `about:`, `data:`, `chrome-extension:` and the like name is no site."""
_PORT = re.compile(r":[0-9]*\Z")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]|\.(?!\.))*\Z")
_NUMBERS = re.compile(r"[0-9.]+\Z")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z")
_EDGES = "".join(map(chr, range(33))) + "\x7f\xa0\u2028\u2029\ufeff"
_LONGEST = 253


def host_of(url: str | None) -> str | None:
    """The host of a URL in lower case and ASCII (`xn--...`), without user, port, a leading `www.` and trailing dots.

    The scheme may be missing when the host has a dot and no user stands before it. None for what names no site:
    an empty text, a word, a file, a path, an e-mail address, `about:blank`, `data:...`.
    """
    parts = split_url(url)
    return parts[0] if parts else None


def split_url(url: str | None) -> tuple[str, str] | None:
    """(host, path) of a URL as `host_of` reads it; the path begins with a slash or is empty. None without a host."""
    if not url:
        return None
    match = _URL.match(url.strip(_EDGES))
    if match is None:
        return None
    scheme, slashes, authority, rest = match.groups()
    if slashes and scheme and scheme.lower() not in _SCHEMES:
        return None
    if not slashes:
        if scheme:  # partner.example:8080, but not mailto:somebody@partner.example
            if not _PORT.match(f":{authority}"):
                return None
            authority = scheme
        if "." not in authority or "@" in authority:
            return None
    host = _host(_PORT.sub("", authority.rpartition("@")[2]), named=bool(scheme and slashes))
    if host is None:
        return None
    path = re.split(r"[?#]", rest, maxsplit=1)[0].replace("\\", "/") if rest else ""
    return host, path


@lru_cache(maxsize=16_384)
def _host(text: str, named: bool) -> str | None:
    """The host in its one spelling. `named`: the text says by its scheme that this is a host, so that it may be any."""
    if text.startswith("[") and text.endswith("]"):
        try:
            return f"[{IPv6Address(text[1:-1]).compressed}]"
        except AddressValueError:
            return None
    ascii_text = _ascii(unquote(text) if "%" in text else text)
    if ascii_text is None:
        return None
    host = ascii_text.rstrip(".")
    if len(host) > _LONGEST or not _HOST.match(host):
        return None
    if _NUMBERS.match(host) and "." in host and not _IPV4.match(host):
        return None
    if not named and _NUMBERS.match(host.rpartition(".")[2]) and not _IPV4.match(host):  # a version: v1.2
        return None
    bare = host.removeprefix("www.")
    return bare if "." in bare else host


def _ascii(host: str) -> str | None:
    """Lower case; letters beyond ASCII as browsers send them (UTS 46). None when no host can hold them."""
    if host.isascii():
        return host.lower()
    import idna  # its tables take milliseconds to load, and hosts like these are rare

    try:
        return idna.encode(host, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        pass
    try:  # symbols that registries sell although IDNA 2008 leaves them out
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
