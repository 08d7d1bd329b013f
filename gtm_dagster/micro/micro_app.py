"""The ASGI app of a micro collector: that of the real one over a log in memory, and the pages `/micro/...`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from gtm_dagster.collector.app import create_app
from gtm_dagster.collector.keys import KeyStore, WriteKey
from gtm_dagster.micro.micro_log import MicroLog, PlainOriginals
from gtm_dagster.privacy.consent import ConsentPolicy
from gtm_dagster.privacy.masking import UndeclaredText
from gtm_dagster.settings import Collector as Limits
from gtm_dagster.taxonomy import Plan

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_encode = msgspec.json.Encoder().encode
_PAGES = ("/micro/all", "/micro/good", "/micro/bad", "/micro/reset")
_OTHERS = ("/livez", "/readyz", "/metrics", "/plan", "/heartbeat", "/favicon.ico")
_ERROR_BYTES = 10_000


class AnyKey(KeyStore):
    """Every secret is a server key of its own name."""

    def __init__(self) -> None:
        super().__init__(Path(), allow_dev=True)

    def find(self, secret: str) -> WriteKey | None:
        """The key."""
        return WriteKey(secret, "", "")


class MicroApp:
    """`log` holds what came. Identifiers stay as sent: a test compares them with what it tracked."""

    def __init__(
        self,
        plan: Plan,
        consent: ConsentPolicy,
        limits: Limits | None = None,
        undeclared_text: UndeclaredText = "token",
    ) -> None:
        self.log = MicroLog()
        self._collector = create_app(
            log=self.log,
            plan=plan,
            pseudonymize=lambda value: value,
            sealer=PlainOriginals(),
            keys=AnyKey(),
            limits=limits or Limits(cors_origins=("*",)),
            consent=consent,
            undeclared_text=undeclared_text,
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection scope of ASGI."""
        path = scope.get("path", "").rstrip("/")
        if scope["type"] == "http" and (path == "/micro" or path.startswith("/micro/")):
            await self._page(path, scope, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and path not in _OTHERS:
            await self._collector(scope, receive, self._watched(path, send))
        else:
            await self._collector(scope, receive, send)

    def _watched(self, path: str, send: Send) -> Send:
        """`send`, and a note of an answer that refuses the request."""
        status, body = 0, b""

        async def watch(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            elif status >= 400:
                body += message.get("body", b"")[:_ERROR_BYTES]
                if not message.get("more_body"):
                    self.log.refuse(path, status, _error(body))
            await send(message)

        return watch

    async def _page(self, path: str, scope: Message, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        status, document = self._document(path, scope["method"], query.get("event_name", []))
        body = _encode(document)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _document(self, path: str, method: str, names: list[str]) -> tuple[int, Any]:
        if path not in _PAGES:
            return 404, {"code": "not_found", "message": f"the pages are {', '.join(_PAGES)}"}
        if path == "/micro/reset":
            if method not in ("GET", "POST"):
                return 405, {"code": "method_not_allowed", "message": "/micro/reset takes POST, and GET"}
            self.log.reset()
        if path == "/micro/good":
            return 200, _named(self.log.good(), names)
        if path == "/micro/bad":
            return 200, _named(self.log.bad(), names)
        return 200, self.log.counts()


def _named(events: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    return [event for event in events if not names or event["event_name"] in names]


def _error(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = {}
    found = document if isinstance(document, dict) else {}
    return {"path": "", "code": found.get("code", ""), "message": found.get("message", "")}
