"""Who may see a page. The figures are a company's own: on loopback its own machine, elsewhere a token or a trusted proxy.

A request that a proxy passed on is not from this machine although its connection is. A name that leads here without being
ours (DNS rebinding) and a page of another site are refused before anything else.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

from gtm_dagster.collector.access import LOCAL_HOSTS, forwarding_header
from gtm_dagster.collector.headers import Scope, header, headers
from gtm_dagster.settings import Dashboard

COOKIE = "__Host-gtm-dashboard"
TOKEN_LENGTH = 24
_DAYS = 30
COOKIE_SECONDS = _DAYS * 86_400


class AccessError(Exception):
    """The dashboard cannot be opened to where it is asked to listen; the message says what is missing."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused: 401 asks for the token, 403 cannot be mended by one."""

    status: int
    reason: str


class PageAccess:
    """The rules of one dashboard that listens on `address`. Raises AccessError when other machines reach it and neither a
    token nor a proxy stands before it."""

    def __init__(self, settings: Dashboard, address: str, environment: Mapping[str, str] = os.environ) -> None:
        ip = ipaddress.ip_address(address)
        self.is_open = ip.is_loopback
        self._token = _token(settings, environment)
        self._header = settings.proxy_header.lower().encode() if settings.proxy_header else None
        self._proxies = frozenset(_address(each) for each in settings.proxy_addresses)
        if self._header and not self._proxies:
            raise AccessError(
                "dashboard.proxy_header is set and dashboard.proxy_addresses is empty: name the proxy's address"
            )
        if not self.is_open and self._token is None and not self._header:
            raise AccessError(
                f"{address} can be reached from other machines, and the dashboard shows what a company earns: set "
                "dashboard.token_env to a variable that holds a token, or dashboard.proxy_header and proxy_addresses, "
                "or listen on 127.0.0.1"
            )
        own = () if ip.is_unspecified else (f"[{address}]" if ip.version == 6 else address,)
        self._hosts = LOCAL_HOSTS | {each.lower() for each in (*settings.hosts, *own)}

    @property
    def has_token(self) -> bool:
        """Whether there is a token to sign in with."""
        return self._token is not None

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why the request is refused; None for one that may see the page."""
        found = self.foreign(scope)
        if found is not None:
            return found
        if self._by_proxy(scope) or self._by_token(scope):
            return None
        forwarded = forwarding_header(scope)
        if self.is_open and forwarded is None:
            return None
        if forwarded is not None:
            return Refusal(
                401,
                f"a request passed on by a proxy ({forwarded.decode('latin-1')}) needs a token (dashboard.token_env) or a trusted proxy",
            )
        return Refusal(401, "sign in with the dashboard's token")

    def foreign(self, scope: Scope) -> Refusal | None:
        """A refusal for another name than ours and for requests that a page of another site makes; None for others."""
        hosts = headers(scope, b"host")
        name = _host_of(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if name not in self._hosts:
            return Refusal(403, "this name does not lead to the dashboard: use 127.0.0.1, or add it to dashboard.hosts")
        site = (header(scope, b"sec-fetch-site") or b"none").strip().lower()
        to_read = (header(scope, b"sec-fetch-mode") or b"").strip().lower() == b"navigate" and scope["method"] == "GET"
        top = (header(scope, b"sec-fetch-dest") or b"document").strip().lower() == b"document"
        if site == b"cross-site" and not (to_read and top):
            return Refusal(403, "a page of another site sent this request")
        for origin in headers(scope, b"origin"):
            scheme, _, authority = origin.decode("latin-1").strip().lower().partition("://")
            if scheme not in ("http", "https") or _host_of(authority) not in self._hosts:
                return Refusal(403, "a page of another site sent this request")
        return None

    def session_for(self, token: str) -> str | None:
        """The value of the cookie for a token that is right; None for another."""
        if self._token is None or not hmac.compare_digest(_digest(token), _digest(self._token)):
            return None
        return _session(self._token)

    def _by_proxy(self, scope: Scope) -> bool:
        client = scope.get("client")
        if self._header is None or not client:
            return False
        try:
            peer = ipaddress.ip_address(client[0])
        except ValueError:
            return False
        return peer in self._proxies and bool((header(scope, self._header) or b"").strip())

    def _by_token(self, scope: Scope) -> bool:
        if self._token is None:
            return False
        scheme, _, secret = (header(scope, b"authorization") or b"").strip().partition(b" ")
        if scheme.lower() == b"bearer" and self.session_for(secret.strip().decode("latin-1")):
            return True
        for line in headers(scope, b"cookie"):
            for part in line.decode("latin-1").split(";"):
                name, _, value = part.strip().partition("=")
                if name == COOKIE and hmac.compare_digest(_digest(value), _digest(_session(self._token))):
                    return True
        return False


def _token(settings: Dashboard, environment: Mapping[str, str]) -> str | None:
    if settings.token_env is None:
        return None
    token = environment.get(settings.token_env, "").strip()
    if len(token) < TOKEN_LENGTH:
        raise AccessError(
            f"the variable {settings.token_env} (dashboard.token_env) "
            + (f"holds {len(token)} characters; {TOKEN_LENGTH} or more are needed" if token else "is not set")
            + ": python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def _session(token: str) -> str:
    """What a browser keeps in place of the token; another token ends it."""
    return hmac.new(token.encode(), b"dashboard session", hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise AccessError(f"dashboard.proxy_addresses: {text!r} is not an IP address") from None


def _host_of(authority: str) -> str | None:
    """The host of `host` or `host:port`, lower case; None for anything else."""
    text = authority.strip().lower()
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host = text
    if colon and not (port.isdigit() or port == ""):
        return None
    bad = set(host) & set("/\\@?# ,")
    return None if bad or not host or (":" in host and not host.startswith("[")) else host
