"""Requests as clients sent them, recorded one file a client: how many events they hold, and sending them again.

A file is JSON: `requests`, each with method, path, headers (pairs) and body_b64, as a recording server writes them.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import requests

_OF_THE_CONNECTION = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
_LISTS = ("batch", "data", "events")
VERDICTS = ("accepted", "duplicate", "conflict", "quarantined", "suppressed")
_COUNT = re.compile(r'^gtm_collector_events_total\{.*?status="(\w+)".*?\} (\S+)$', re.MULTILINE)


class Request(NamedTuple):
    """One request; `body` as it was on the wire."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> int:
        """How many events it holds, by its form alone: what a collector makes of it does not count."""
        if self.method == "OPTIONS":
            return 0
        if self.method == "GET" or "ce-type" in {name.lower() for name in self.headers}:
            return 1
        body = gzip.decompress(self.body) if self.body.startswith(b"\x1f\x8b") else self.body
        if not body.lstrip().startswith((b"{", b"[")):
            packed = parse_qs(body.decode())["data"][0]
            body = packed.encode() if packed[:1] in "[{" else base64.b64decode(packed)
        document = json.loads(body)
        if isinstance(document, list):
            return len(document)
        is_event = urlsplit(self.path).path == "/ingest"  # there an object is one event, whatever it holds
        return 1 if is_event else len(next((document[name] for name in _LISTS if name in document), [document]))


def recorded(path: Path) -> Iterator[Request]:
    """The requests of a file."""
    for each in json.loads(path.read_text())["requests"]:
        yield Request(each["method"], each["path"], dict(each["headers"]), base64.b64decode(each["body_b64"]))


def send(url: str, request: Request, key: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer. A client that knows no key at all is given one in a header."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_THE_CONNECTION}
    found = _ask(url, request, headers)
    if found[0] == 401 and json.loads(found[2])["code"] == "no_key":
        found = _ask(url, request, {**headers, "X-Write-Key": key})
    return found


def _ask(url: str, request: Request, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
    try:
        connection.request(request.method, request.path, request.body or None, dict(headers))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def counted(url: str, key: str) -> dict[str, int]:
    """Events by verdict since the collector's start."""
    text = requests.get(f"{url}/metrics", headers={"X-Write-Key": key}, timeout=30).text
    found: dict[str, Any] = dict.fromkeys(VERDICTS, 0)
    for verdict, value in _COUNT.findall(text):
        found[verdict] = found.get(verdict, 0) + int(float(value))
    return found
