"""While a real broker is away events are spooled and answered; when it is back they are in the topic, once and in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from eventlog_cases import record

from benchmarks.kafka_node import KafkaNode
from gtm_dagster.eventlog import EventLogError, open_log
from gtm_dagster.eventlog.kafka import KafkaEventLog
from gtm_dagster.settings import load_settings

pytestmark = pytest.mark.real

KILLED = """
import sys
from eventlog_cases import record
from gtm_dagster.eventlog import open_log
from gtm_dagster.settings import load_settings
log = open_log(load_settings(None, {"GTM_STATE_DIR": sys.argv[1], "GTM_EVENT_LOG": sys.argv[2], "GTM_KAFKA__ACK_SECONDS": "0.3"}))
for n in range(40):
    log.append([record(f"{n}")])
    print(n, flush=True)
print("spooled", log.spooled(), flush=True)
input()
"""


@contextmanager
def stopped(kafka: KafkaNode) -> Iterator[None]:
    """The broker keeps its connections and answers nothing."""
    kafka.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        kafka.signal(signal.SIGCONT)


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def opened(tmp_path, topic: str, **kafka: str) -> KafkaEventLog:
    environ = {"GTM_STATE_DIR": str(tmp_path), "GTM_EVENT_LOG": topic, "GTM_KAFKA__ACK_SECONDS": "0.3"}
    log = open_log(
        load_settings(None, environ | {f"GTM_KAFKA__{name.upper()}": value for name, value in kafka.items()})
    )
    assert isinstance(log, KafkaEventLog)
    return log


def delivers(log: KafkaEventLog) -> None:
    """The topic is made and the first event is in it: what is spooled from now on is spooled for an outage."""
    log.append([record("first")])
    until(lambda: log.spooled() == 0)


def ids(log: KafkaEventLog) -> list[str]:
    return log.read_arrow(0, 100_000)[0]["event_id"].to_pylist()


def test_events_are_answered_while_the_broker_is_stopped_and_are_in_the_topic_once_and_in_order(kafka, tmp_path, topic):
    with opened(tmp_path, topic) as log:
        delivers(log)
        with stopped(kafka):
            start = time.monotonic()
            results = [log.append([record(f"{n}-{m}", anonymous_id=str(m)) for m in range(20)]) for n in range(30)]
            again = log.append([record(f"3-{m}", anonymous_id=str(m)) for m in range(20)])
            assert sum(each.accepted for each in results) == 600
            assert again.statuses == ["duplicate"] * 20, "ids are remembered with the spool"
            assert (log.spooled(), log.writer_fault()) == (600, None)
            assert "has not acknowledged" in (log.broker_fault() or "")
            assert time.monotonic() - start < 10, "one wait for the broker, not one for each append"
        until(lambda: log.spooled() == 0)
        log.append([record(f"after-{m}", anonymous_id=str(m)) for m in range(20)])
        found = ids(log)
        assert len(found) == len(set(found)) == 621, "nothing was sent a second time"
        for m in range(20):
            expected = [f"{n}-{m}" for n in range(30)] + [f"after-{m}"]
            assert [each for each in found if each.endswith(f"-{m}")] == expected
        assert log.broker_fault() is None


def test_a_heartbeat_does_not_overtake_what_is_spooled(kafka, tmp_path, topic):
    with opened(tmp_path, topic) as log:
        delivers(log)
        log.beat("shop", 10, 10)
        with stopped(kafka):
            log.append([record("a")])
            assert log.beat("shop", 20, 20) and log.beat("new", 20, 20)
            assert [(each.producer, each.ts_us, each.received_us) for each in log.heartbeats()] == [("shop", 10, 20)]
        until(lambda: log.spooled() == 0)
        log.beat("shop", 30, 30)
        assert [(each.producer, each.ts_us) for each in log.heartbeats()] == [("shop", 30)]


def test_a_full_spool_refuses_events_and_the_look_whether_it_is_ready_until_the_broker_is_back(kafka, tmp_path, topic):
    with opened(tmp_path, topic, spool_events="10") as log:
        delivers(log)
        with stopped(kafka):
            log.append([record(f"a{n}") for n in range(9)])
            with pytest.raises(
                EventLogError, match=r"the spool holds 9 events and takes no more \(kafka.spool_events = 10\)"
            ):
                log.append([record("b"), record("c")])
            log.append([record("d")])
            for refused in ([record("e")], []):
                with pytest.raises(EventLogError, match="the spool holds 10 events"):
                    log.append(refused)
            assert "spool" in (log.writer_fault() or "")
        until(lambda: log.spooled() == 0)
        assert log.append([record("e")]).statuses == ["accepted"]
        assert ids(log) == ["first", *(f"a{n}" for n in range(9)), "d", "e"]
        assert log.writer_fault() is None


def test_a_broker_that_was_killed_and_a_collector_that_was_killed_lose_nothing(kafka, tmp_path, topic):
    """What was handed to the killed collector's client may be in the topic twice; staging drops the second."""
    with opened(tmp_path, topic) as log:
        delivers(log)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(10)]
        kafka.kill()
        while (line := child.stdout.readline()).strip().isdigit():
            lines.append(line)
        os.kill(child.pid, signal.SIGKILL)
    assert len(lines) == 40
    assert line.startswith("spooled ") and line != "spooled 0\n"
    kafka.start()
    with opened(tmp_path, topic) as log:
        log.append([])
        until(lambda: log.spooled() == 0)
        found = [each for each in ids(log) if each != "first"]
    assert list(dict.fromkeys(found)) == [str(n) for n in range(40)]


def test_a_collector_starts_while_there_is_no_broker_and_its_first_events_are_kept(kafka, tmp_path, topic):
    kafka.kill()
    try:
        with opened(tmp_path, topic) as log:
            assert log.append([record("a"), record("b")]).accepted == 2
            with pytest.raises(EventLogError, match="does not say what the topic is"):
                log.last_seq()
            assert log.spooled() == 2
            starting = threading.Thread(target=kafka.start)
            starting.start()
            until(lambda: log.spooled() == 0)
            starting.join()
            until(lambda: kafka.answers())
            assert ids(log) == ["a", "b"]
    finally:
        if not kafka.answers():
            kafka.start()
