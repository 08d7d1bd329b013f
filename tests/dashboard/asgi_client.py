"""Requests to an ASGI app without a socket."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name (the last of several), and the body."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


class AsgiClient:
    """What a browser sends to 127.0.0.1:8380, unless a request says otherwise."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, url: str, headers: Mapping[str, str] | None = None, client: str = "127.0.0.1") -> Answer:
        return self.send("GET", url, headers, b"", client)

    def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        return self.send("POST", url, headers, body, "127.0.0.1")

    def send(self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes, client: str) -> Answer:
        parts = urlsplit(quote(url, safe="/?&=%:+,.-_~()*'!@;$[]#"))
        given = {"host": "127.0.0.1:8380", **{name.lower(): value for name, value in (headers or {}).items()}}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(parts.path), "raw_path": parts.path.encode(), "query_string": parts.query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": (client, 40000), "server": ("127.0.0.1", 8380),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self._app(scope, receive, send))
        start = next(each for each in sent if each["type"] == "http.response.start")
        content = b"".join(each.get("body", b"") for each in sent if each["type"] == "http.response.body")
        found = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(
            start["status"], found, gzip.decompress(content) if found.get("content-encoding") == "gzip" else content
        )
