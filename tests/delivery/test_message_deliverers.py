"""Several deliverers, killed ones, and receivers that hang: each message is sent once, and one receiver delays no other."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hostile_servers import Receiver, answering, dripping, flooding, hanging, in_turn
from message_cases import SECOND, START, bench, message, put, rows, statuses, webhook

from gtm_dagster.delivery import message_worker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "triggers.db"


def run_until(work, done, seconds: float = 20.0) -> float:
    """Run a worker on the machine's clock until `done()`; the seconds it took."""
    stop = threading.Event()
    thread = threading.Thread(target=work.worker.run, args=(stop,))
    began = time.monotonic()
    thread.start()
    while not done() and time.monotonic() < began + seconds:
        time.sleep(0.005)
    took = time.monotonic() - began
    stop.set()
    thread.join()
    assert done(), statuses(work.path)
    return took


def clock_us() -> int:
    return START + time.monotonic_ns() // 1000


def test_two_deliverers_at_once_send_each_message_once(path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        put(path, *(message(f"a{n:03}") for n in range(60)))
        with bench(path, [webhook("crm", receiver.url)], clock_us=clock_us) as one:
            with bench(path, [webhook("crm", receiver.url)], clock_us=clock_us) as other:
                stop = threading.Event()
                threads = [threading.Thread(target=each.worker.run, args=(stop,)) for each in (one, other)]
                for thread in threads:
                    thread.start()
                until = time.monotonic() + 20
                while len(receiver.requests) < 60 and time.monotonic() < until:
                    time.sleep(0.01)
                stop.set()
                for thread in threads:
                    thread.join()
                assert set(Counter(receiver.ids).values()) == {1} and len(receiver.requests) == 60
                shares = Counter(outcome for each in (one, other) for _, outcome, _ in each.counted)
                assert shares == {"delivered": 60} and one.counted and other.counted, "both had a share"
    assert set(statuses(path).values()) == {("delivered", 1, None)}


@pytest.mark.parametrize("dead", ["hanging", "dripping", "flooding", "refusing", "failing"])
def test_a_dead_destination_does_not_delay_the_others(path: Path, dead: str) -> None:
    stop = threading.Event()
    act = {
        "hanging": hanging(stop), "dripping": dripping(stop), "flooding": flooding(200_000_000), "failing": answering(500),
        "refusing": answering(200),
    }[dead]  # fmt: skip
    with Receiver(act) as bad, Receiver(answering(200)) as good:
        put(path, *(message(f"bad{n}", target="bad") for n in range(40)), *(message(f"good{n}") for n in range(40)))
        url = "http://127.0.0.1:1/x" if dead == "refusing" else bad.url
        destinations = [webhook("bad", url, timeout_seconds=10.0), webhook("crm", good.url)]
        with bench(path, destinations, clock_us=clock_us) as work:
            run_until(work, lambda: len(good.requests) == 40, 9.0)
        stop.set()
        if dead in ("hanging", "dripping"):
            assert len(bad.requests) == 4, "as many as may be in flight, and no more"
    assert [row for key, row in statuses(path).items() if key.startswith("good")] == [("delivered", 1, None)] * 40


def test_a_message_added_by_the_same_process_is_sent_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the poll."""
    monkeypatch.setattr(message_worker, "POLL_SECONDS", 30.0)
    with Receiver(answering(200)) as receiver, bench(path, [webhook("crm", receiver.url)], clock_us=clock_us) as work:
        stop = threading.Event()
        thread = threading.Thread(target=work.worker.run, args=(stop,))
        thread.start()
        time.sleep(0.1)
        put(path, message("a1"))
        work.worker.wake()
        until = time.monotonic() + 10
        while not receiver.requests and time.monotonic() < until:
            time.sleep(0.005)
        stop.set()
        work.worker.wake()
        thread.join()
        assert receiver.ids == ["a1"]


DELIVER = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from message_cases import bench, webhook
from gtm_dagster.delivery import message_worker
repeat = sys.argv[4] or None
with bench(Path(sys.argv[1]), [webhook("crm", sys.argv[2], repeat=repeat)]) as work:
    work.worker.round()
    while work.worker.settle():
        pass
"""


@pytest.mark.parametrize(("repeat", "sent"), [("", 2), ("at_most_once", 1)])
def test_a_deliverer_killed_between_the_request_and_its_mark(path: Path, repeat: str, sent: int) -> None:
    """The same webhook-id again; or, of a destination that takes no message twice, never again."""
    arrived, hold = threading.Event(), threading.Event()

    def slow(handler) -> None:
        arrived.set()
        hold.wait(20)

    with Receiver(in_turn(slow, answering(200))) as receiver:
        put(path, message("a1"))
        command = [sys.executable, "-c", DELIVER, str(path), receiver.url, str(Path(__file__).parent), repeat]
        process = subprocess.Popen(command)
        assert arrived.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        hold.set()
        assert statuses(path)["a1"] == ("due", 1, None)
        with bench(path, [webhook("crm", receiver.url, repeat=repeat or None)]) as work:
            work.round()
            assert len(receiver.requests) == 1, "the lease of the killed one has not ended"
            work.now_us = START + 41 * SECOND
            work.round()
        assert receiver.ids == ["a1"] * sent
    if repeat:
        words = "the deliverer ended before the answer came; not sent again (at_most_once)"
        assert statuses(path)["a1"] == ("dead", 1, words)
    else:
        assert statuses(path)["a1"] == ("delivered", 2, None)
        assert rows(path, "SELECT n, outcome FROM attempts ORDER BY n") == [(1, "unknown"), (2, "delivered")]


def test_who_comes_late_does_not_mark_what_another_one_has_taken_meanwhile(path: Path) -> None:
    hold, arrived = threading.Event(), threading.Event()

    def slow(handler) -> None:
        arrived.set()
        hold.wait(20)
        answering(500)(handler)

    with Receiver(in_turn(slow, answering(200))) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url, timeout_seconds=20.0)]) as one:
            one.worker.round()
            assert arrived.wait(10)
            with bench(path, [webhook("crm", receiver.url, timeout_seconds=20.0)]) as other:
                other.now_us = START + 100 * SECOND
                other.round()
            assert statuses(path)["a1"] == ("delivered", 2, None)
            hold.set()
            while one.worker.settle():
                pass
        assert statuses(path)["a1"] == ("delivered", 2, None)


def test_a_database_that_is_busy_delays_marks_and_loses_none(path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.worker._store.con.execute("PRAGMA busy_timeout = 20")
            work.worker.round()
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            until = time.monotonic() + 10
            with pytest.raises(sqlite3.OperationalError):
                while time.monotonic() < until:
                    work.worker.settle()
            blocker.execute("ROLLBACK")
            blocker.close()
            while work.worker.settle():
                pass
        assert receiver.ids == ["a1"]
    assert statuses(path)["a1"] == ("delivered", 1, None)
