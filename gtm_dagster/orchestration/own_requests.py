"""Which requests reach the web UI: those of its own pages and of programs. It has no login, so a browser must not carry in
what another site wants.

A page of another site can send requests to this machine, and can let its own name point here (DNS rebinding). Browsers name
the site a request comes from, and the name that was asked for; both are compared with the names the UI is reached by.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_OWN_SITES = frozenset({"same-origin", "none"})


class OwnRequests:
    """An ASGI app in front of `app` that answers 403 to what `refusal` names; its pages cannot stand in a frame."""

    def __init__(self, app: App, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(name.strip("[]").lower() for name in names)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        reason = refusal(scope.get("method", "GET"), scope["path"], scope["headers"], self._names)
        if reason is None:
            await self._app(scope, receive, _without_frames(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "another site"})  # before accept: HTTP 403
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})


def refusal(
    method: str, path: str, headers: Iterable[tuple[bytes, bytes]], names: frozenset[str] = frozenset()
) -> str | None:
    """Why a request is refused; None for one of the UI's own pages or of a program.

    `names`: hosts beside those of loopback; 0.0.0.0 or :: among them lets in any IP address, which no site can take over.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip().lower())
    asked = values.get("host", [])
    if len(asked) != 1 or not _is_ours(_hostname(asked[0]), names):
        return "this name does not lead to the web UI: use localhost, 127.0.0.1, or start it with --host NAME"
    if any(not _same_origin(origin, asked[0], names) for origin in values.get("origin", [])):
        return "a page of another site sent this request"
    if any(site not in _OWN_SITES for site in values.get("sec-fetch-site", [])):
        return "this request comes from another site; to open the page, enter its address in the browser's address bar"
    is_query = method in {"GET", "HEAD"} and path.rstrip("/").endswith("/graphql") and "upgrade" not in values
    if is_query and not any("text/html" in accepted for accepted in values.get("accept", [])):
        return "send GraphQL queries by POST: a picture of any page can send a GET"
    return None


def _is_ours(host: str | None, names: frozenset[str]) -> bool:
    return host is not None and (
        host in LOOPBACK or host in names or (bool(names & _ANY_ADDRESS) and _is_address(host))
    )


def _same_origin(origin: str, asked: str, names: frozenset[str]) -> bool:
    """Whether an Origin is the UI's own: the host and port asked for, or behind a proxy a name it is given."""
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in {"http", "https"}:
        return False
    host = _hostname(authority)
    return host is not None and (authority == asked or (host not in LOOPBACK and host in names - _ANY_ADDRESS))


def _hostname(authority: str) -> str | None:
    """The host of `host`, `host:port` or `[::1]:port`; None for anything else."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port
    except ValueError:
        return None
    whole = parts.netloc == authority and not (parts.path or parts.query or parts.fragment or "@" in authority)
    return parts.hostname.removesuffix(".") if whole and parts.hostname else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _without_frames(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"x-frame-options", b"DENY")]
        await send(message)

    return sent
