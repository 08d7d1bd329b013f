"""Requests that no HTTP library would send: what a port scanner, a broken proxy or an attacker writes to the socket."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from itertools import product

from gtm_dagster.chaos.raw_http import host_of, request

SMUGGLED = "smuggled"
_HIDDEN = 100


def event(event_id: str, **more: object) -> dict[str, object]:
    """An ordinary event that is accepted."""
    return {
        "event_id": event_id, "event_name": "page_viewed", "anonymous_id": "visitor-1",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "context": {"device_type": "web", "consent": {"analytics": True}}, **more,
    }  # fmt: skip


def smuggled_ids() -> list[str]:
    """Ids of events that stand in another request's body or behind its end: none may be stored."""
    return [f"{SMUGGLED}-{number}" for number in range(_HIDDEN)]


def hidden_request(url: str, number: int) -> bytes:
    """A whole request with an event of its own, to be put where only a confused server would read a request."""
    return request(url, json.dumps(event(f"{SMUGGLED}-{number}")).encode())


def malformed_requests(url: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of about a hundred requests."""
    for part in (_request_lines, _headers, _lengths, _chunks, _encodings, _paths):
        yield from part(url)


def _request_lines(url: str) -> Iterator[tuple[str, bytes]]:
    host = f"Host: {host_of(url)}\r\n\r\n".encode()
    lines = {
        "no version": b"GET /livez\r\n\r\n", "HTTP/0.9": b"GET /livez\n", "HTTP/2.0": b"GET /livez HTTP/2.0\r\n" + host,
        "HTTP/1.9": b"GET /livez HTTP/1.9\r\n" + host, "HTTP/9": b"GET /livez HTTP/9\r\n" + host,
        "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n", "SMTP": b"EHLO mail.example\r\n", "zeros": b"\x00" * 512, "blank lines": b"\r\n" * 200,
        "tabs": b"GET\t/livez\tHTTP/1.1\r\n" + host, "no method": b" /livez HTTP/1.1\r\n" + host, "lower-case method": b"get /livez HTTP/1.1\r\n" + host,
        "method of 9,000 letters": b"G" * 9_000 + b" /livez HTTP/1.1\r\n" + host, "odd method": b"BREW /livez HTTP/1.1\r\n" + host,
        "method with NUL": b"GE\x00T /livez HTTP/1.1\r\n" + host, "path with NUL": b"GET /liv\x00ez HTTP/1.1\r\n" + host,
        "path of 70,000 letters": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + host, "path that is not UTF-8": b"GET /\xff\xfe HTTP/1.1\r\n" + host,
        "no path": b"GET  HTTP/1.1\r\n" + host, "star": b"OPTIONS * HTTP/1.1\r\n" + host, "CONNECT": b"CONNECT other.example:443 HTTP/1.1\r\n" + host,
        "absolute address": b"GET http://other.example/livez HTTP/1.1\r\n" + host, "three blanks": b"GET   /livez   HTTP/1.1\r\n" + host,
        "newlines alone": b"GET /livez HTTP/1.1\nHost: x\n\n", "carriage returns alone": b"GET /livez HTTP/1.1\rHost: x\r\r",
    }  # fmt: skip
    yield from lines.items()


def _headers(url: str) -> Iterator[tuple[str, bytes]]:
    start = b"GET /livez HTTP/1.1\r\n"
    host = f"Host: {host_of(url)}\r\n".encode()
    lines = {
        "no Host": start + b"\r\n", "empty Host": start + b"Host:\r\n\r\n", "two Hosts": start + host + host + b"\r\n",
        "foreign Host": start + b"Host: rebind.example\r\n\r\n", "Host with a path": start + b"Host: a/b@c\r\n\r\n",
        "folded": start + host + b"X-Long: a\r\n b\r\n\r\n", "no colon": start + host + b"Nonsense\r\n\r\n",
        "blank before the colon": start + host + b"X-A : b\r\n\r\n", "no name": start + host + b": b\r\n\r\n",
        "NUL in a value": start + host + b"X-A: \x00\r\n\r\n", "NUL in a name": start + host + b"X\x00A: b\r\n\r\n",
        "control characters": start + host + b"X-A: \x1b]0;title\x07\r\n\r\n", "bytes above 127": start + host + b"X-A: \xff\xfe\r\n\r\n",
        "10,000 headers": start + host + b"".join(b"X-%d: a\r\n" % n for n in range(10_000)) + b"\r\n",
        "a header of 1 MB": start + host + b"X-A: " + b"a" * 1_000_000 + b"\r\n\r\n", "a name of 70,000": start + host + b"X" * 70_000 + b": a\r\n\r\n",
        "1,000 times the same": start + host + b"Cookie: a=b\r\n" * 1_000 + b"\r\n", "Upgrade": start + host + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "Upgrade to h2c": start + host + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "Expect of something": start + host + b"Expect: 200-ok\r\n\r\n", "many ranges": start + host + b"Range: bytes=" + b"0-1," * 2_000 + b"\r\n\r\n",
    }  # fmt: skip
    yield from lines.items()


def _lengths(url: str) -> Iterator[tuple[str, bytes]]:
    body = json.dumps(event("length")).encode()
    values = (
        "-1",
        "+5",
        "0x10",
        "1e3",
        "5, 5",
        "5,6",
        "999999999999",
        "9" * 400,
        "0" * 5_000 + "2",
        "٥",
        "5 5",
        ";",
        "2.0",
    )
    for value in values:
        head = f"POST /ingest HTTP/1.1\r\nHost: {host_of(url)}\r\nX-Write-Key: dev\r\nContent-Length: "
        yield f"Content-Length {value[:20]!r}", head.encode() + value.encode() + b"\r\n\r\n" + body
    yield "no length", request(url, body, headers={"Content-Length": ""})
    yield "two equal lengths", request(url, body, headers={"X-A": f"a\r\nContent-Length: {len(body)}"})
    yield "two lengths", request(url, body, headers={"X-A": "a\r\nContent-Length: 3"})
    yield "longer than it says", request(url, body, headers={"Content-Length": "5"})
    yield "shorter than it says", request(url, body, headers={"Content-Length": str(len(body) + 100)})
    for number, (name, value) in enumerate(product(("Content-Length", "content-length"), ("0", "6"))):
        hidden = hidden_request(url, number)
        headers = {"Content-Length": value, "Transfer-Encoding": "chunked", "X-Order": name, "Connection": "keep-alive"}
        yield f"length and chunks, {name} {value}", request(url, b"0\r\n\r\n" + hidden, headers=headers)
    hidden = hidden_request(url, 10)
    headers = {"Content-Length": "0", "Transfer-Encoding": "xchunked", "Connection": "keep-alive"}
    yield "an unknown transfer coding", request(url, b"0\r\n\r\n" + hidden, headers=headers)


def _chunks(url: str) -> Iterator[tuple[str, bytes]]:
    body = json.dumps(event("chunks")).encode()
    chunks = {
        "letters": b"zz\r\nabc\r\n0\r\n\r\n", "negative": b"-1\r\nabc\r\n0\r\n\r\n", "huge": b"f" * 16 + b"\r\nabc\r\n", "17 digits": b"f" * 17 + b"\r\nabc\r\n",
        "wrong size": b"2\r\nabcdef\r\n0\r\n\r\n", "no end": b"5\r\nabcde\r\n", "no last line": b"5\r\nabcde\r\n0\r\n", "extension of 70,000": b"1;" + b"a" * 70_000 + b"\r\na\r\n0\r\n\r\n",
        "newlines alone": b"%x\n%b\n0\n\n" % (len(body), body), "trailer": b"%x\r\n%b\r\n0\r\nX-Write-Key: other\r\n\r\n" % (len(body), body),
        "one byte each": b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n", "blank size": b" \r\nabc\r\n0\r\n\r\n", "0x": b"0x5\r\nabcde\r\n0\r\n\r\n",
    }  # fmt: skip
    for name, data in chunks.items():
        yield f"chunks: {name}", request(url, data, headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    hidden = hidden_request(url, 20)
    for number, coding in enumerate(
        ("chunked, chunked", "identity, chunked", "gzip, chunked", "Chunked ", "\tchunked", "chunked\x0b")
    ):
        headers = {"Content-Length": "4", "Transfer-Encoding": coding, "Connection": "keep-alive"}
        yield f"transfer coding {number}", request(url, b"0\r\n\r\n" + hidden, headers=headers)


def _encodings(url: str) -> Iterator[tuple[str, bytes]]:
    body = json.dumps(event("encoding")).encode()
    for coding in ("deflate", "br", "zstd", "gzip", "gzip, gzip", "compress", "nonsense", "*"):
        yield f"Content-Encoding {coding}", request(url, body, headers={"Content-Encoding": coding})
    packed = gzip.compress(body)
    bodies = {
        "bomb": gzip.compress(b" " * 200_000_000, 1), "cut off": packed[:-5], "bytes behind": packed + b"x", "two streams": packed * 2,
        "damaged": packed[:12] + b"\xff\xff" + packed[14:], "magic alone": b"\x1f\x8b", "gzip in gzip": gzip.compress(packed),
    }  # fmt: skip
    for name, data in bodies.items():
        yield f"gzip: {name}", request(url, data, headers={"Content-Encoding": "gzip"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x" * 5_000):
        yield f"Content-Type {kind[:20]}", request(url, body, headers={"Content-Type": kind})


def _paths(url: str) -> Iterator[tuple[str, bytes]]:
    for path in (
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/ingest/../metrics", "//ingest", "/ingest//", "/ingest?x=1", "/%00", "/ingest%0d%0aX: y",
        "/ingest#x", "/%ff", "/plan/../../keys/keys.json", "/ingest;a=b", "/" + "a/" * 5_000,
    ):  # fmt: skip
        yield f"path {path[:30]}", request(url, b"", method="GET", path=path)
