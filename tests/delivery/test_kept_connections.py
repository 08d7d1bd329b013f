"""A connection is used again while its receiver keeps it open, is made anew where it does not, and never leaves one unanswered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from gtm_dagster.delivery import kept_connections
from gtm_dagster.delivery.http_exchange import Answer, Route, exchange
from gtm_dagster.delivery.kept_connections import KeptConnections
from gtm_dagster.delivery.sending_threads import SendingThreads

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers the requests of each connection with the next of `answers`; b"" ends the connection without one."""

    def __init__(self, sock: socket.socket, answers: list[list[bytes]]) -> None:
        self.requests: list[int] = []
        self.port = sock.getsockname()[1]
        self._sock, self._answers = sock, answers
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for number, answers in enumerate(self._answers):
            connection, _ = self._sock.accept()
            with connection:
                for answer in answers:
                    if not connection.recv(65_536):
                        break
                    self.requests.append(number)
                    if not answer:
                        break
                    connection.sendall(answer)


@contextmanager
def served(*answers: list[bytes]) -> Iterator[tuple[Server, Route]]:
    kept = KeptConnections()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield Server(sock, list(answers)), Route(allow=(ip_network("127.0.0.0/8"),), seconds=10.0, kept=kept)
        kept.close()


def post(server: Server, route: Route) -> Answer:
    return exchange(f"http://127.0.0.1:{server.port}/", "POST", b"{}", {}, route)


@pytest.mark.parametrize(
    ("answers", "outcomes", "connections"),
    [
        pytest.param([[OK, OK, OK]], ["delivered"] * 3, [0, 0, 0], id="it stays open"),
        pytest.param([[OK, b""], [OK]], ["delivered"] * 2, [0, 0, 1], id="ended before its answer: sent again at once"),
        pytest.param([[OK, b"HTTP/1.1 2"], [OK]], ["delivered", "unknown"], [0, 0], id="half an answer: it was taken"),
        pytest.param(
            [[OK.replace(b"Content", b"Connection: close\r\nContent")], [OK]],
            ["delivered"] * 2,
            [0, 1],
            id="it says close",
        ),
        pytest.param([[OK.replace(b": 2", b": 3")], [OK]], ["delivered"] * 2, [0, 1], id="a body that does not end"),
        pytest.param([[b""], [OK]], ["unknown", "delivered"], [0, 1], id="a new connection is asked once"),
    ],
)
def test_a_connection_is_used_again_as_long_as_it_is_good(
    answers: list[list[bytes]], outcomes: list[str], connections: list[int]
) -> None:
    with served(*answers) as (server, route):
        assert [post(server, route).outcome for _ in outcomes] == outcomes
        assert server.requests == connections


@pytest.mark.parametrize("limit", ["IDLE_SECONDS", "LONGEST_SECONDS"])
def test_an_old_connection_is_not_used(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_connections, limit, -1.0)
    with served([OK], [OK]) as (server, route):
        assert [post(server, route).outcome for _ in range(2)] == ["delivered"] * 2
        assert server.requests == [0, 1]


def test_threads_are_used_again_and_one_that_hangs_holds_up_no_task() -> None:
    threads, let_go, names = SendingThreads("t"), threading.Event(), []
    done = threading.Semaphore(0)

    def note() -> None:
        names.append(threading.get_ident())
        done.release()

    threads.run(lambda: let_go.wait(30) and None)
    for _ in range(3):
        threads.run(note)
        assert done.acquire(timeout=30)
    let_go.set()
    assert len(names) == 3
