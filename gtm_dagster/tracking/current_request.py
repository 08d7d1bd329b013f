"""The web request that is being served: middleware for ASGI and WSGI, and what a tracker takes from the request.

app.add_middleware(AsgiRequests)                    # Starlette, FastAPI
app.wsgi_app = WsgiRequests(app.wsgi_app)           # Flask
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from functools import cached_property
from typing import Any

from gtm_dagster.admission.trace_context import trace_id_of
from gtm_dagster.tracking.request_context import acceptable, context_from_request, lower_case

_AGENT_LIMIT = 512
_ESCAPED = re.compile(r"\\([0-3][0-7][0-7]|.)")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
ConsentOfCookies = Callable[[Mapping[str, str]], Mapping[str, bool]]
"""From the cookies of a request to what its visitor agreed to (analytics, marketing, personalization)."""


class CurrentRequest:
    """One request; nothing is read of it before an event is tracked."""

    def __init__(self, url: Callable[[], str], headers: Any, consent: ConsentOfCookies | None) -> None:
        self._url = url
        self._given = headers
        self._consent = consent

    @cached_property
    def _headers(self) -> dict[str, str]:
        return lower_case(self._given)

    @cached_property
    def context(self) -> dict[str, Any]:
        """What `context_from_request` takes, and the user agent, by which the collector tells bots apart.

        The page of a request that a script of the page made (`Sec-Fetch-Dest: empty`) is the one the script runs on.
        """
        headers = self._headers
        url, referrer = self._url(), headers.get("referer")
        if headers.get("sec-fetch-dest", "").strip() == "empty" and referrer:
            url, referrer = referrer, None
            headers = {name: value for name, value in headers.items() if name != "referer"}
        consent = None if self._consent is None else self._consent(_cookies(headers.get("cookie", "")))
        context = context_from_request(url, referrer, headers, consent=consent)
        if agent := acceptable(headers.get("user-agent"), _AGENT_LIMIT):
            context["user_agent"] = agent
        return context

    @cached_property
    def traceparent(self) -> str | None:
        """The header of W3C Trace Context, None without a well-formed one."""
        sent = self._headers.get("traceparent", "").strip()
        return sent if trace_id_of(sent.encode("latin-1", "replace")) else None


_current: ContextVar[CurrentRequest | None] = ContextVar("gtm_current_request", default=None)
current_request = _current.get
"""The request that the current task or thread serves; None outside of one."""


class AsgiRequests:
    """Lets every event that is tracked while a request is served carry the context of that request.

    `consent` makes the visitor's consent of the request's cookies.
    """

    def __init__(self, app: AsgiApp, consent: ConsentOfCookies | None = None) -> None:
        self._app = app
        self._consent = consent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope of ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        token = _current.set(CurrentRequest(lambda: _asgi_url(scope), scope["headers"], self._consent))
        try:
            await self._app(scope, receive, send)
        finally:
            _current.reset(token)


class WsgiRequests:
    """The same for WSGI; also for what a body tracks while it is sent."""

    def __init__(self, app: WsgiApp, consent: ConsentOfCookies | None = None) -> None:
        self._app = app
        self._consent = consent

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request of WSGI."""
        request = CurrentRequest(lambda: _wsgi_url(environ), environ, self._consent)
        token = _current.set(request)
        try:
            body = self._app(environ, start_response)
        finally:
            _current.reset(token)
        wrapper = environ.get("wsgi.file_wrapper")
        is_file = isinstance(wrapper, type) and isinstance(body, wrapper)
        return body if is_file or isinstance(body, list | tuple) else _Body(body, request)


class _Body:
    """A body whose parts are made, and whose end is handled, within the request."""

    def __init__(self, body: Iterable[bytes], request: CurrentRequest) -> None:
        self._body = body
        self._parts = iter(body)
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._within(lambda: next(self._parts))

    def close(self) -> None:
        """Called by the server at the end of the answer, or when its client left."""
        self._within(getattr(self._body, "close", lambda: None))

    def _within(self, call: Callable[[], Any]) -> Any:
        token = _current.set(self._request)
        try:
            return call()
        finally:
            _current.reset(token)


def _asgi_url(scope: Scope) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"), None)
    if host is None:
        name, port = scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else name
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "http"), scope.get("scheme", "http"))
    path = (scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")).decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scheme}://{host}{path}{'?' + query if query else ''}"


def _wsgi_url(environ: dict[str, Any]) -> str:
    from wsgiref.util import request_uri

    return request_uri(environ)


def _cookies(header: str) -> dict[str, str]:
    """Each cookie by itself, as browsers send them (RFC 6265, 5.4): `http.cookies` gives up all for one it does not like,
    such as `g_state={"i_l":0}`, and with it what the visitor agreed to.
    """
    found = {}
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        value = value.strip()
        if equals and name.strip():
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            found[name.strip()] = _ESCAPED.sub(_unescaped, value[1:-1]) if quoted else value
    return found


def _unescaped(match: re.Match[str]) -> str:
    """What Python's own cookies write for a comma and the like in quotes: `\\054`; else the character itself."""
    return match[1] if len(match[1]) == 1 else chr(int(match[1], 8))
