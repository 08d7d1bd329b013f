"""Several deliverers of one outbox: each message is sent once, a killed one's comes back under its id, a slow sink is alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from acting_cases import GUARD, settings_for
from postgres_server import start_postgres

from gtm_dagster.delivery import Deliverer, deliver_due, given_up, given_up_lines, outbox
from gtm_dagster.delivery.outbox import LEASE_US, MOST_ATTEMPTS, wait_us
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control.messages import Message, enqueue
from gtm_dagster.settings import Notify

NOWHERE = "http://127.0.0.1:9/x"


class Receiver:
    """An HTTP sink on loopback: keeps headers and bodies, and calls `meanwhile` before it answers."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, object]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                meanwhile()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def ids(self) -> Counter[str]:
        return Counter(headers["webhook-id"] for headers, _ in self.requests)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def put(store: OpsStore, settings, messages: int = 1, episode: str = "e") -> None:
    for n in range(messages):
        enqueue(store, settings, f"{episode}{n}", "blind", Message("blind", GUARD.key, "the guard is BLIND", {}), 0)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'ops.db'}"
    else:
        with start_postgres() as address:
            yield address.replace("postgresql://", "postgresql+psycopg://")


DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.real)]


@pytest.mark.parametrize("kind", DATABASES)
def test_two_deliverers_at_once_send_each_message_once(tmp_path, kind):
    started = threading.Barrier(2)
    with database(kind, tmp_path) as url, Receiver() as receiver:
        settings = settings_for(tmp_path, notify=(Notify(url=receiver.url),), ops_url=url)
        with OpsStore(url) as one, OpsStore(url) as other:
            put(one, settings, 20)

            def work(store: OpsStore) -> None:
                started.wait()
                deliver_due(store, settings, 1, {})

            threads = [threading.Thread(target=work, args=(store,)) for store in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert {(note.status, note.attempts) for note in one.notifications()} == {("delivered", 1)}
    assert set(receiver.ids().values()) == {1} and len(receiver.requests) == 20


DELIVER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from acting_cases import settings_for
from gtm_dagster.delivery import deliver_due
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Notify
settings = settings_for(Path(sys.argv[1]), notify=(Notify(url=sys.argv[3]),))
with OpsStore(sys.argv[2]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    deliver_due(store, settings, time.time_ns() // 1000, {})
"""


def deliverer(folder: Path, url: str, sink: str) -> subprocess.Popen[str]:
    here = Path(__file__).parents[1]
    command = [sys.executable, "-c", DELIVER, str(folder), url, sink, str(here / "rollout")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process: subprocess.Popen[str]) -> None:
    process.stdout.readline()
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("kind", DATABASES)
def test_two_processes_send_each_message_once(tmp_path, kind):
    with database(kind, tmp_path) as url, Receiver() as receiver:
        settings = settings_for(tmp_path, notify=(Notify(url=receiver.url),), ops_url=url)
        with OpsStore(url) as store:
            put(store, settings, 20)
            processes = [deliverer(tmp_path, url, receiver.url) for _ in range(2)]
            for process in processes:
                go(process)
            assert [process.wait(30) for process in processes] == [0, 0]
            assert {note.status for note in store.notifications()} == {"delivered"}
        for process in processes:
            process.communicate()
    assert set(receiver.ids().values()) == {1} and len(receiver.requests) == 20


def test_a_deliverer_killed_between_post_and_mark_leaves_a_message_that_is_sent_again_under_its_id(tmp_path):
    arrived, hold = threading.Event(), threading.Event()

    def answer() -> None:
        arrived.set()
        hold.wait(20)

    url = f"sqlite:///{tmp_path / 'ops.db'}"
    with OpsStore(url) as store, Receiver(answer) as receiver:
        settings = settings_for(tmp_path, notify=(Notify(url=receiver.url),))
        put(store, settings)
        process = deliverer(tmp_path, url, receiver.url)
        go(process)
        assert arrived.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.communicate()
        hold.set()
        (note,) = store.notifications()
        assert (note.status, note.attempts) == ("pending", 1), (
            "the attempt is marked although nobody could say how it ended"
        )
        now = time.time_ns() // 1000
        assert deliver_due(store, settings, now, {}) == [], "the lease of the killed one has not ended"
        assert [each.error for each in deliver_due(store, settings, now + LEASE_US + 1, {})] == [None]
        (note,) = store.notifications()
        assert (note.status, note.attempts) == ("delivered", 2)
    (first, one), (second, other) = receiver.requests
    assert first["webhook-id"] == second["webhook-id"] == one["id"] == other["id"]
    assert first["webhook-timestamp"].isdigit()


def test_who_comes_late_does_not_mark_what_another_one_has_taken_meanwhile(tmp_path):
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store:
        put(store, settings_for(tmp_path, notify=(Notify(url=NOWHERE),)))
        (due,) = store.due(1)
        slow = store.lease(due.id, 1, 10)
        assert store.lease(due.id, 9, 20) is None, "leased"
        fast = store.lease(due.id, 10, 20)
        assert (slow.attempts, fast.attempts) == (1, 2)
        assert not store.failed(due.id, "too late", None, slow.attempts)
        assert store.delivered(due.id, 12, fast.attempts)
        assert store.due(10**15) == []


@contextmanager
def answering(head: bytes, piece: bytes, pause: float) -> Iterator[str]:
    """A sink that takes the message and answers a piece at a time, without an end."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(head)
            while not stop.wait(pause):
                try:
                    connection.sendall(piece)
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    finally:
        stop.set()
        thread.join()
        listener.close()


def dripping() -> AbstractContextManager[str]:
    return answering(b"HTTP/1.1 200 OK\r\nX-", b"x", 0.05)


def test_an_endless_answer_is_cut_off_and_its_status_counts(tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store, answering(head, b"x" * 65_536, 0.0) as url:
        put(store, settings := settings_for(tmp_path, notify=(Notify(url=url),)))
        began = time.monotonic()
        assert [each.error for each in deliver_due(store, settings, 1, {})] == [None]
        assert time.monotonic() - began < 4


def test_a_sink_that_never_ends_its_answer_holds_up_nobody_else(tmp_path):
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store, dripping() as slow, Receiver() as receiver:
        settings = settings_for(tmp_path, notify=(Notify(url=slow), Notify(url=receiver.url)))
        put(store, settings, 3)
        work = Deliverer(store, settings, {})
        began = time.monotonic()
        ended = work.round(1, seconds=0.5)
        put(store, settings, 2, "later")
        ended += work.round(2, seconds=0.5)
        assert time.monotonic() - began < 5
        assert Counter((each.sink, each.error) for each in ended) == {("webhook[1]", None): 5}
        waiting = [note for note in store.notifications() if note.status == "pending"]
        assert sorted(note.attempts for note in waiting) == [0, 0, 0, 0, 1], "one attempt is under way, not one a round"


def test_a_message_nobody_takes_is_given_up_loudly(tmp_path, caplog, monkeypatch):
    assert 22 <= sum(wait_us(n) for n in range(MOST_ATTEMPTS)) / 3.6e9 <= 26, "hours: an outage of a day loses nothing"
    monkeypatch.setattr(outbox, "MOST_ATTEMPTS", 4)
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store:
        settings = settings_for(tmp_path, notify=(Notify(url="http://user:geheim@127.0.0.1:9/token"),))
        put(store, settings)
        now = 1
        for _ in range(4):
            deliver_due(store, settings, now, {})
            now += 600_000_000
        (note,) = given_up(store)
        assert (note.status, note.attempts) == ("failed", 4) and store.due(10**15) == []
        (line,) = given_up_lines([note])
    assert "webhook[0]: 1 message(s) given up, the last after 4 attempts (not reached (ConnectionError))" in line
    assert "is given up after 4 attempts" in caplog.text
    for secret in ("geheim", "token", "user:"):
        assert secret not in line + caplog.text


def test_messages_that_ended_are_deleted_after_90_days(tmp_path):
    day = 86_400_000_000
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store:
        put(store, settings_for(tmp_path, notify=(Notify(url=NOWHERE),)), 3)
        first, second, _ = store.due(1)
        store.delivered(first.id, 5)
        store.failed(second.id, "gone", None)
        assert store.prune_notifications(90 * day) == 0
        assert store.prune_notifications(90 * day + 1, rows=1) == 1
        assert store.prune_notifications(90 * day + 1) == 1
        assert [note.status for note in store.notifications()] == ["pending"], "what waits is kept"
