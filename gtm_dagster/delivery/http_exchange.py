"""One request over HTTP/1.1 to an address that was checked: no redirect is followed, time and size of the answer end.

The connection goes to the address that was checked, TLS and Host have the name. A deadline counts from the first look-up
to the last byte of the answer; requests and urllib3 have one a read, which a slow drip outlives.
"""

from __future__ import annotations

import base64
import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from gtm_dagster.delivery.allowed_addresses import Network
from gtm_dagster.delivery.kept_connections import Connection, KeptConnections
from gtm_dagster.delivery.plain_answers import READ_AHEAD_BYTES, plain_answer
from gtm_dagster.delivery.retry_schedule import retry_after
from gtm_dagster.delivery.target_address import (
    AddressRefused,
    Resolver,
    Target,
    checked_addresses,
    parsed,
    system_resolver,
)

ANSWER_BYTES = 65_536
"""No more of an answer is taken in; its status counts all the same."""
DRAIN_SECONDS = 1.0
"""So long the body of an answer may drip in whose status is all that counts."""
THROTTLING = frozenset({429, 502, 503, 504})
Outcome = Literal["delivered", "failed", "refused", "unknown"]


@dataclass(frozen=True)
class Route:
    """How a destination is reached. `allow`: networks beyond the public internet; None checks no address.

    `proxies`: whether HTTP_PROXY, HTTPS_PROXY and NO_PROXY count; only where no address is checked. `kept`: the connections
    that stay open for the next request; a request over one that its receiver has ended meanwhile is sent again at once.
    """

    allow: tuple[Network, ...] | None = ()
    seconds: float = 15.0
    proxies: bool = False
    resolver: Resolver = system_resolver
    kept: KeptConnections | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a request: delivered (2xx), failed, refused before a packet, or unknown (sent, and no answer came).

    `status`: the HTTP code. `wait_seconds`: how long the receiver asks to be left alone. `error` never has the address's
    path, query or user info.
    """

    outcome: Outcome
    status: int | None = None
    error: str | None = None
    body: bytes = b""
    wait_seconds: float | None = None
    seconds: float = 0.0

    @property
    def throttled(self) -> bool:
        """Whether the receiver has too much to do, so that others of its messages wait, too."""
        return self.status in THROTTLING


def exchange(url: str, method: str, body: bytes, headers: Mapping[str, str], route: Route) -> Answer:
    """Send one request and take its answer in. Never raises for what a receiver, a name or the network does."""
    began = time.monotonic()
    until = began + route.seconds
    asked = _Asked(method, until, began)
    try:
        target = parsed(url, strict=route.allow is not None)
        headers = {"Connection": "close" if route.kept is None else "keep-alive", **headers, **_user_info(url)}
        if (kept := route.kept) is not None and (connection := kept.take()) is not None:
            try:
                return asked.over(connection, _request(method, target.path, target, headers, body), kept)
            except (ConnectionError, ssl.SSLError):  # ended just now: whoever answered nothing has hardly read anything
                if asked.answering:
                    raise
                asked = _Asked(method, until, began)
        sock, path, extra = _connected(url, target, route, until)
        connection = Connection(sock, time.monotonic())
        return asked.over(connection, _request(method, path, target, {**headers, **extra}, body), kept)
    except AddressRefused as error:
        return Answer("refused", error=str(error), seconds=time.monotonic() - began)
    except (OSError, http.client.HTTPException) as error:
        if asked.sent:
            words = f"no answer after the request was sent ({_kind(error)})"
            return Answer("unknown", error=words, seconds=time.monotonic() - began)
        return Answer("failed", error=f"not reached ({_kind(error)})", seconds=time.monotonic() - began)


class _Asked:
    """One request over one connection. `sent`: all of it; `answering`: something of an answer came."""

    def __init__(self, method: str, until: float, began: float) -> None:
        self.method, self.until, self.began = method, until, began
        self.sent = self.answering = False

    def over(self, connection: Connection, request: bytes, kept: KeptConnections | None) -> Answer:
        """The answer; the connection is given back where it can be used again, else closed."""
        is_good = False
        try:
            connection.sock.settimeout(_left(self.until))
            connection.sock.sendall(request)
            self.sent = True
            source = _UntilDeadline(connection.sock, self.until)
            try:
                answer, is_good = _answered(source, self.began, self.method)
                return answer
            finally:
                self.answering = source.received > 0
        finally:
            if is_good and kept is not None:
                kept.give(connection)
            else:
                connection.sock.close()


def _connected(url: str, target: Target, route: Route, until: float) -> tuple[socket.socket, str, dict[str, str]]:
    """A connected socket, the path to ask for, and headers for a proxy."""
    proxy = _proxy_of(target) if route.proxies and route.allow is None else None
    place = parsed(proxy, strict=False) if proxy else target
    sock = _reached(checked_addresses(place, route.allow, until, route.resolver), place.port, until)
    path, extra = target.path, {}
    try:
        if proxy and target.secure:
            _tunnel(sock, target, _proxy_login(proxy), until)
        elif proxy:
            path, extra = f"http://{target.authority}{target.path}", _proxy_login(proxy)
        if target.secure:
            sock.settimeout(_left(until))
            sock = tls_context().wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise
    return sock, path, extra


def _reached(addresses: Sequence[object], port: int, until: float) -> socket.socket:
    """A connection to the first address that takes one."""
    fault: OSError = ConnectionRefusedError()
    for place, address in enumerate(addresses):
        share = _left(until) / (len(addresses) - place)
        try:
            sock = socket.create_connection((str(address), port), timeout=share)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            fault = error
    raise fault


def _request(method: str, path: str, target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {"Host": target.authority, "User-Agent": "gtm-dagster", "Accept": "*/*", **headers}
    if body or method == "POST":
        fields["Content-Length"] = str(len(body))
    lines = [f"{name}: {value}" for name, value in fields.items()]
    text = "".join(lines)
    if "\r" in text or "\n" in text or "\0" in text:
        name = next(name for name, value in fields.items() if any(c in f"{name}{value}" for c in "\r\n\0"))
        raise AddressRefused(f"the header {name} holds a line break")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


class _UntilDeadline(io.RawIOBase):
    """What a socket brings, until a moment in time: every read has what is left."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self.until, self.received, self._ahead = sock, until, 0, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._ahead:
            size = min(len(buffer), len(self._ahead))
            buffer[:size], self._ahead = self._ahead[:size], self._ahead[size:]
            return size
        self._sock.settimeout(_left(self.until))
        size = self._sock.recv_into(buffer)
        self.received += size
        return size

    def look_ahead(self) -> bytes:
        """What one read brings; it is read again by whoever reads next."""
        self._sock.settimeout(_left(self.until))
        self._ahead = self._sock.recv(READ_AHEAD_BYTES)
        self.received += len(self._ahead)
        return self._ahead

    def makefile(self, mode: str) -> io.BufferedReader:
        """As http.client asks a socket for its file."""
        return io.BufferedReader(self)


def _answered(source: _UntilDeadline, began: float, method: str) -> tuple[Answer, bool]:
    """The answer, and whether its connection can be used again."""
    if (plain := plain_answer(source.look_ahead())) is not None:
        return Answer("delivered", plain[0], None, plain[1], None, time.monotonic() - began), True
    response = http.client.HTTPResponse(cast(socket.socket, source), method=method)
    response.begin()
    if method != "GET":
        source.until = min(source.until, time.monotonic() + DRAIN_SECONDS)
    body = b""
    with suppress(OSError, http.client.HTTPException):  # the status has arrived
        body = response.read(ANSWER_BYTES)
    is_good = response.isclosed() and not response.will_close
    status, seconds = response.status, time.monotonic() - began
    wait = retry_after(response.headers.get("Retry-After"), time.time()) if status not in range(200, 300) else None
    if status in range(200, 300):
        return Answer("delivered", status, None, body, None, seconds), is_good
    return Answer("failed", status, f"answered {status}", body, wait, seconds), is_good


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _kind(error: Exception) -> str:
    """A word for what went wrong; texts of errors may quote what a receiver sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ConnectionError):
        return "ConnectionError"
    return type(error).__name__


@lru_cache(1)
def tls_context() -> ssl.SSLContext:
    """The system's certificates, those of certifi, and those REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names; TLS 1.2 and newer."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if bundle := os.environ.get(variable):
            context.load_verify_locations(bundle)
    return context


def _user_info(url: str) -> dict[str, str]:
    """Basic credentials of an address of the operator's own; a checked one has none."""
    before, at, _ = urlsplit(url).netloc.rpartition("@")
    return {"Authorization": f"Basic {base64.b64encode(unquote(before).encode()).decode()}"} if at else {}


def _proxy_of(target: Target) -> str | None:
    if proxy_bypass(target.host):
        return None
    found = getproxies()
    return found.get("https" if target.secure else "http") or found.get("all")


def _proxy_login(proxy: str) -> dict[str, str]:
    login = _user_info(proxy)
    return {"Proxy-Authorization": login["Authorization"]} if login else {}


def _tunnel(sock: socket.socket, target: Target, login: Mapping[str, str], until: float) -> None:
    place = f"{target.host}:{target.port}" if ":" not in target.host else f"[{target.host}]:{target.port}"
    head = "".join(f"{name}: {value}\r\n" for name, value in login.items())
    sock.settimeout(_left(until))
    sock.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{head}\r\n".encode("latin-1"))
    response = http.client.HTTPResponse(cast(socket.socket, _UntilDeadline(sock, until)), method="CONNECT")
    response.begin()
    if response.status != 200:
        raise ConnectionError
