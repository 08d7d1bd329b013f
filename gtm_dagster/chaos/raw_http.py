"""Bytes to a collector and what comes back, below any HTTP library: for requests that no library would send."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ANSWER_SECONDS = 20.0
"""How long an answer may take; the collector ends a slow request after half of this."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n")
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What one connection brought: `statuses` of the answers in order, the bytes, and how the connection ended.

    `ended`: closed, reset or silent (open, and nothing came within the time). `seconds`: until then.
    """

    statuses: tuple[int, ...]
    text: bytes
    ended: str
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether the server blames itself for what the client sent (5xx but 503)."""
        return any(status >= 500 and status != 503 for status in self.statuses)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of the last answer; empty when it is none."""
        try:
            value = json.loads(self.text.rpartition(b"\r\n\r\n")[2])
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def host_of(url: str) -> str:
    """`127.0.0.1:8377` of a collector's URL, as its Host header."""
    return urlsplit(url).netloc


def connect(url: str, timeout: float = ANSWER_SECONDS) -> socket.socket:
    """A connection to the collector at `url`."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout)


def exchange(url: str, data: bytes, *, seconds: float = ANSWER_SECONDS) -> Answer:
    """Send `data` and read until the server closes, resets or is silent for `seconds`.

    The connection stays open for writing: to a server a client that closes its half has left.
    """
    began = time.monotonic()
    parts: list[bytes] = []
    size = 0
    ended = "silent"
    try:
        with connect(url, seconds) as connection:
            try:
                connection.sendall(data)
            except OSError:
                ended = "reset"  # refused before all was sent; the answer may lie there
            while size < _LONGEST_ANSWER:
                part = connection.recv(65_536)
                if not part:
                    ended = "closed"
                    break
                parts.append(part)
                size += len(part)
    except TimeoutError:
        pass
    except OSError:
        ended = "reset"
    text = b"".join(parts)
    statuses = tuple(int(status) for status in _STATUS.findall(text))
    return Answer(statuses, text, ended, time.monotonic() - began)


def request(
    url: str, body: bytes, *, method: str = "POST", path: str = "/ingest", headers: dict[str, str] | None = None
) -> bytes:
    """The bytes of an ordinary request with the key `dev`; a header given as "" is left out."""
    lines = {
        "Host": host_of(url),
        "X-Write-Key": "dev",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
