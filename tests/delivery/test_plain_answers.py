"""What is taken for a plain answer means to the library's parser what it is taken for; all else goes to that parser."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from ipaddress import ip_network

import pytest

from gtm_dagster.delivery import http_exchange
from gtm_dagster.delivery.http_exchange import Answer, Route, exchange
from gtm_dagster.delivery.kept_connections import KeptConnections
from gtm_dagster.delivery.plain_answers import plain_answer

PLAIN = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok": (200, b"ok"),
    b"HTTP/1.1 200 OK\r\ncontent-length:0\r\nConnection: keep-alive\r\n\r\n": (200, b""),
    b"HTTP/1.1 204 No Content\r\nDate: Mon, 30 Nov 2026 04:00:00 GMT\r\n\r\n": (204, b""),
    b"HTTP/1.1 202 \r\nContent-Length: 3\r\n\r\n\r\n\0": (202, b"\r\n\0"),
}
OTHERS = [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",  # more is to come
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200",  # more than was asked for
    b"HTTP/1.1 200 OK\r\n\r\nok",  # until the connection ends
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length : 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 2\r\n\r\nok",  # a folded line
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99_999,
]


@pytest.mark.parametrize("data", PLAIN)
def test_a_short_success_that_came_whole_needs_no_parser(data: bytes) -> None:
    assert plain_answer(data) == PLAIN[data]


@pytest.mark.parametrize("data", OTHERS)
def test_whatever_else_came_goes_to_the_parser(data: bytes) -> None:
    assert plain_answer(data) is None


@pytest.mark.parametrize("data", [*PLAIN, *OTHERS])
def test_the_answer_is_the_parsers_either_way(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcome, status, body, and whether the connection is used again."""
    quick = _answered_with(data)
    monkeypatch.setattr(http_exchange, "plain_answer", lambda data: None)
    assert _answered_with(data) == quick


def _answered_with(data: bytes) -> tuple[str, int | None, bytes, str | None, int]:
    kept = KeptConnections()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # the sender need not take all of it in
                connection.recv(65_536)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        route = Route((ip_network("127.0.0.0/8"),), 5.0, kept=kept)
        answer: Answer = exchange(f"http://127.0.0.1:{server.getsockname()[1]}/", "POST", b"{}", {}, route)
        free = len(kept._free)
        kept.close()
        thread.join()
    return answer.outcome, answer.status, answer.body, answer.error, free
