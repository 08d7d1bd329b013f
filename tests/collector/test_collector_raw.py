"""Requests that no client library sends, over raw sockets: whatever comes, the answer is a refusal and the collector lives.

Where the answer has no body it is the HTTP server's own: the collector never saw the request.
"""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from collector_server import Server

EVENT = b'{"event_id":"e1","event_name":"page_viewed","anonymous_id":"v"}'
HEAD = b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nX-Write-Key: dev\r\n"
SIZED = b"Content-Length: %d\r\n\r\n%s" % (len(EVENT), EVENT)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
SERVERS = None
"""The code of an answer by the HTTP server."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("raw"))
    yield running
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.errors


def exchange(url: str, request: bytes, *, ends: bool = False) -> tuple[int, bytes]:
    """(status, body) of the answer; `ends`: the client sends no more."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(request)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
            head, _, body = answer.partition(b"\r\n\r\n")
            if (length := LENGTH.search(head)) and len(body) >= int(length[1]):
                break
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


CASES = [
    ("a plain request", HEAD + SIZED, 200, ""),
    ("a length of 5,000 zeros", HEAD + b"Content-Length: " + b"0" * 5000 + b"2\r\n\r\n[]", 200, ""),
    ("a length of 5,000 digits", HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n[]", 400, SERVERS),
    ("a length of 18 digits", HEAD + b"Content-Length: " + b"9" * 18 + b"\r\n\r\n[]", 413, "body_too_large"),
    ("a negative length", HEAD + b"Content-Length: -1\r\n\r\n[]", 400, SERVERS),
    ("two lengths", HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]", 400, SERVERS),
    ("a list of lengths", HEAD + b"Content-Length: 2, 2\r\n\r\n[]", 400, SERVERS),
    ("a length for a heartbeat", HEAD.replace(b"ingest", b"heartbeat") + b"Content-Length: " + b"0" * 5000 + b"2\r\n\r\n{}", 400, "unparseable"),
    ("a chunk without a size", CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", 400, "broken_body"),
    ("a chunk of 2^72 bytes", CHUNKED + b"f" * 18 + b"\r\nabc\r\n0\r\n\r\n", 400, "broken_body"),
    ("a chunk that does not end", CHUNKED + b"2\r\n[]xx0\r\n\r\n", 400, "broken_body"),
    ("deflate", HEAD + b"Content-Encoding: deflate\r\n" + SIZED, 415, "unsupported_encoding"),
    ("br", HEAD + b"Content-Encoding: br\r\n" + SIZED, 415, "unsupported_encoding"),
    ("two encodings", HEAD + b"Content-Encoding: gzip\r\nContent-Encoding: br\r\n" + SIZED, 415, "unsupported_encoding"),
    ("gzip that is none", HEAD + b"Content-Encoding: gzip\r\n" + SIZED, 200, ""),
    ("no Host", b"GET /livez HTTP/1.1\r\n\r\n", 400, "bad_host"),
    ("no Host and events", HEAD.replace(b"Host: localhost\r\n", b"") + SIZED, 400, "bad_host"),
    ("two Hosts", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400, "bad_host"),
    ("a Host with a blank", b"GET /livez HTTP/1.1\r\nHost: local host\r\n\r\n", 400, "bad_host"),
    ("a foreign Host", b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "foreign_host"),
    ("HTTP/1.0 without Host", b"GET /livez HTTP/1.0\r\n\r\n", 200, ""),
    ("a forwarded request", HEAD + b"X-Forwarded-For: 203.0.113.9\r\n" + SIZED, 401, "forwarded"),
    ("a key that is no ASCII", HEAD.replace(b"dev", b"d\xe9v") + SIZED, 401, "bad_key"),
    ("a header without a colon", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nodd\r\n\r\n", 400, SERVERS),
    ("a header with NUL", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nodd: \0\r\n\r\n", 400, SERVERS),
    ("10,000 headers", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", 431, SERVERS),
    ("no request line", b"nonsense\r\n\r\n", 400, SERVERS),
    ("a path that is no text", b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "not_found"),
    ("another method", b"PUT /ingest HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "method_not_allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "code"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_whatever_is_sent_is_answered(server: Server, request_: bytes, status: int, code: str | None) -> None:
    found, body = exchange(server.url, request_)
    assert found == status
    if code is SERVERS:
        assert body == b""
    elif status != 200:
        assert json.loads(body)["code"] == code and json.loads(body)["message"]


@pytest.mark.parametrize("body", [b"Content-Length: 10\r\n\r\n[]", b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n"])
def test_a_body_that_breaks_off_is_counted_and_said(server: Server, body: bytes) -> None:
    def broken() -> float:
        page = exchange(server.url, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")[1].decode()
        found = re.search(r'requests_total\{path="/ingest",status="400"\} (\S+)', page)
        return float(found[1]) if found else 0.0

    before = broken()
    status, answer = exchange(server.url, HEAD + body, ends=True)
    assert (status, json.loads(answer)["code"]) == (400, "broken_body")
    assert broken() == before + 1


def test_real_requests_that_are_refused_early_get_their_answer(server: Server) -> None:
    key = {"X-Write-Key": "dev"}
    big = requests.post(f"{server.url}/ingest", data=b" " * 6_000_000, headers=key, timeout=20)
    assert big.status_code == 413 and big.json()["code"] == "body_too_large"
    chunked = requests.post(f"{server.url}/ingest", data=iter([b"[", b"]"]), headers=key, timeout=20)
    assert chunked.status_code == 200
    no_key = requests.post(f"{server.url}/ingest", data=b"[]", timeout=20)
    assert no_key.status_code == 401 and set(no_key.json()) == {"code", "message"}
