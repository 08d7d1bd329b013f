"""The worker around the counting: offset and watermark together, faults kept apart, one at a time, killed at any moment."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from stream_cases import GUARD, HOUR, KEY, MINUTE, NOON, C, Deployment, T, cell, changed, conversion, exposure, traffic

from gtm_dagster.eventlog import Position
from gtm_dagster.opsstore import ProducerRow
from gtm_dagster.settings import Guard
from gtm_dagster.stream import SideTasks, StreamLock, Watcher, WorkerRunningError, guard_reducer

BEAT = NOON + HOUR
START = Position("", 0)


def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_the_watermark_is_stored_with_the_counts_it_is_true_of(here):
    for n in range(6):
        here.append([exposure(f"u{n}", T, NOON + n)])
    here.log.beat("shop", BEAT, BEAT)
    tail = here.worker(batch=2)
    seen = []
    while tail.step():
        seen.append((here.store.positions()["stream"].seq, here.store.watermark_us("checkout")))
    assert seen == [(2, None), (4, None), (6, BEAT)]
    assert here.counts() == [cell(NOON, T, n=6)]


def test_a_beat_alone_moves_the_watermark_and_a_closed_producer_leaves_it(here):
    here.log.beat("shop", BEAT, BEAT)
    here.log.beat("worker", BEAT - MINUTE, BEAT)
    here.worker().once()
    assert here.store.watermark_us("checkout") == BEAT - MINUTE
    here.log.beat("worker", 0, BEAT, closing=True)
    here.worker().once()
    assert here.store.producers() == [ProducerRow("shop", BEAT, BEAT)]


def test_scenario_8_without_beats_the_watermark_stands_still(here):
    here.log.beat("shop", NOON, NOON)
    here.count([exposure("u", T, NOON)])
    here.count([exposure("v", T, BEAT)])
    assert here.store.watermark_us("checkout") == NOON
    assert here.store.missing_producers("checkout", NOON + 3 * MINUTE) == ("shop",)


def test_records_nobody_counts_are_passed_over(tmp_path):
    here = Deployment(tmp_path, armed_us=None)
    here.append(traffic(1))
    tail = here.worker()
    tail.once()
    assert (tail.offset, tail.changed, here.tables()) == (
        here.log.last_seq(),
        0,
        {"guard_units": [], "guard_counts": []},
    )
    here.close()


def test_a_guard_armed_later_counts_from_where_its_epoch_begins(tmp_path):
    here = Deployment(tmp_path, armed_us=None)
    for n in range(20):
        here.append([exposure(f"u{n}", T, NOON + n * HOUR)])
    tail = here.worker(batch=4)
    tail.once()
    here.arm(NOON + 15 * HOUR)
    tail.step()
    assert tail.behind() == [KEY]
    assert here.store.watermark_us("checkout") == NOON + 15 * HOUR, "not later than what is counted again"
    while tail.behind():
        tail.step()
    assert here.counts() == [cell(NOON + n * HOUR, T) for n in range(15, 20)]
    assert here.store.watermark_us("checkout") is None
    here.close()


def test_a_restart_goes_on_where_it_stopped(here):
    here.count([exposure(f"u{n}", T, NOON) for n in range(5)])
    stored = here.store.positions()
    assert (stored["stream"].seq, stored[f"guard:{KEY}"].seq) == (5, 5)
    here.append([exposure("v", C, NOON)])
    again = here.worker()
    again.once()
    assert (again.offset, again.changed) == (6, 1)


def test_another_window_counts_again_what_the_log_holds(here, caplog):
    here.count([exposure("u", T, NOON), conversion("u", NOON + 5 * MINUTE)])
    here.guards = (Guard("checkout", "payment_completed", conversion_window_minutes=2),)
    assert here.count() == [cell(NOON, T)]
    assert "another conversion window" in caplog.text
    here.guards = (GUARD,)
    assert here.count() == [cell(NOON, T), cell(NOON, T, 5 * MINUTE)]


OTHER = Guard("pricing", "signup_completed")


def test_scenario_28_a_guard_that_cannot_be_counted_stops_no_other(tmp_path, monkeypatch, caplog):
    here = Deployment(tmp_path, GUARD, OTHER)
    real = guard_reducer.count

    def fails_for_checkout(store, con, guard, epochs, events):
        counted = real(store, con, guard, epochs, events)
        if guard.key == KEY:
            raise KeyError("planted")
        return counted

    here.log.beat("shop", NOON + MINUTE, NOON + MINUTE)
    here.worker().once()
    records = [exposure("u", T, NOON), exposure("u", C, NOON, flag="pricing")]
    with monkeypatch.context() as patched:
        patched.setattr(guard_reducer, "count", fails_for_checkout)
        here.log.beat("shop", BEAT, BEAT)
        tail = here.worker()
        here.append(records)
        tail.once()
    assert f"{KEY}: cannot go on" in caplog.text
    assert tail.behind() == [KEY]
    assert (here.counts(), here.counts(guard=OTHER)) == ([], [cell(NOON, C)]), "half a batch is nothing"
    assert here.store.watermark_us("pricing") == BEAT
    assert here.store.watermark_us("checkout") == NOON + MINUTE, "no later than what is counted"
    assert here.store.missing_producers("checkout", time.time_ns() // 1000 + 3 * MINUTE)[-1] == f"stream/{KEY}"
    here.append([exposure("v", T, NOON)])
    assert here.count() == [cell(NOON, T, n=2)]
    assert here.store.watermark_us("checkout") == BEAT
    here.close()


def test_a_store_that_fails_is_tried_again(here, monkeypatch, caplog):
    from gtm_dagster.opsstore import OpsStoreError

    stop, failures = threading.Event(), [OpsStoreError("disk full"), OpsStoreError("disk full")]
    real = here.store.add_cells

    def add(*told):
        if failures:
            raise failures.pop()
        return real(*told)

    monkeypatch.setattr(here.store, "add_cells", add)
    monkeypatch.setattr(stop, "wait", lambda seconds: stop.is_set() or time.sleep(0.001))
    here.append([exposure("u", T, NOON)])
    thread = threading.Thread(target=here.worker().run, args=(stop,))
    thread.start()
    until(lambda: here.counts() == [cell(NOON, T)])
    stop.set()
    thread.join()
    assert caplog.text.count("disk full; trying again") == 2


def test_scenario_17_two_workers_at_once(here, tmp_path):
    """The lock keeps them apart on one machine; the offset does where two machines share a PostgreSQL."""
    with StreamLock(tmp_path).hold("gtm stream", timeout_s=2):
        with pytest.raises(WorkerRunningError, match=rf"pid {os.getpid()} \(gtm stream\)"):
            with StreamLock(tmp_path).hold("gtm stream", timeout_s=0):
                pass
    here.append([exposure("u", T, NOON)])
    first, second = here.worker(), here.worker()
    first.once()
    with pytest.raises(Exception, match="another stream worker moved the offset"):
        second.once()
    assert here.counts() == [cell(NOON, T)]


def test_the_log_is_told_what_was_counted(here):
    here.count([exposure("u", T, NOON)])
    assert here.log.committed("stream") == 1


def test_the_flags_of_armed_guards_are_looked_at(tmp_path, caplog):
    here = Deployment(tmp_path, GUARD, OTHER)
    disarmed = Guard("idle", "signup_completed")
    here.store.ensure(disarmed.key, "idle", "signup_completed", "production")
    asked = []

    def watch(guard: Guard) -> SimpleNamespace:
        asked.append(guard.flag)
        if guard.flag == "checkout":
            raise ConnectionError("provider is away")
        return SimpleNamespace(enabled=True, share=0.5, fingerprint="f", detail="")

    watcher = Watcher(here.store, (GUARD, OTHER, disarmed), watch)
    watcher.look()
    watcher.look()
    assert asked == ["checkout", "pricing"] * 2
    assert here.store.flag_state(KEY) is None
    assert (here.store.flag_state(OTHER.key).enabled, here.store.shares(OTHER.key)[0][1]) == (True, 0.5)
    assert caplog.text.count("provider is away") == 1
    here.close()


def test_work_beside_goes_on_after_a_fault_and_apart_from_what_hangs(caplog):
    caplog.set_level(logging.ERROR)
    hang, done = threading.Event(), []

    def fails() -> None:
        done.append(1)
        raise ValueError("planted")

    with SideTasks({"hangs": (0.01, hang.wait), "fails": (0.01, fails)}):
        until(lambda: len(done) >= 3)
        hang.set()
    assert caplog.text.count("fails: ValueError: planted") == 1


# The command, as a process


@contextmanager
def gtm_stream(folder: Path, *arguments: str, guards: str | None = None) -> Iterator[subprocess.Popen[str]]:
    told = guards or json.dumps(
        [{"flag": "checkout", "conversion": "payment_completed", "conversion_window_minutes": 10}]
    )
    environment = {**os.environ, "GTM_STATE_DIR": str(folder), "GTM_GUARDS": told}
    process = subprocess.Popen(
        [sys.executable, "-m", "gtm_dagster.cli", "stream", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.slow
def test_scenario_26_a_worker_killed_again_and_again_counts_as_a_clean_replay(tmp_path):
    here, clean = Deployment(tmp_path / "killed"), Deployment(tmp_path / "clean")
    records = traffic(5, units=1_500)
    shuffled = [changed(each, received_us=NOON + 2 * HOUR + n) for n, each in enumerate(records[::-1])]
    parts = [shuffled[at : at + 100] for at in range(0, len(shuffled), 100)]
    rounds = 4
    for number in range(rounds):
        mine = parts[number::rounds]
        before = here.store.positions().get("stream", START).seq
        with gtm_stream(tmp_path / "killed") as process:
            for n, part in enumerate(mine):
                here.append(part)
                if n == len(mine) // 2:  # it counts, and there is more to come
                    until(
                        lambda at=before: (
                            here.store.positions().get("stream", START).seq > at or process.poll() is not None
                        )
                    )
                    here.append(mine[n + 1] if n + 1 < len(mine) else [])
                    process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.returncode == -signal.SIGKILL
    with gtm_stream(tmp_path / "killed", "--once", "--json") as process:
        code, out, err = finish(process)
    assert (code, json.loads(out)["behind"]) == (0, []), err
    clean.count(shuffled)
    assert here.tables() == clean.tables()
    assert sum(row[3] for row in here.counts() if row[2] == -1) == 1_500
    for each in (here, clean):
        each.close()


def test_the_command_counts_until_it_is_asked_to_stop(tmp_path):
    here = Deployment(tmp_path)
    with gtm_stream(tmp_path) as process:
        here.append([exposure("u", T, NOON)])
        until(lambda: here.counts() == [cell(NOON, T)])
        with gtm_stream(tmp_path) as second:
            code, _, err = finish(second)
        assert (code, f"pid {process.pid} (gtm stream)" in err) == (1, True), err
        process.send_signal(signal.SIGTERM)
        code, out, err = finish(process)
    assert (code, out) == (0, "offset 1, 1 units counted or corrected, 1 guard declared\n"), err
    assert here.log.committed("stream") == 1
    here.close()


def test_scenario_28_a_malformed_guard_is_told_and_the_others_count(tmp_path):
    here = Deployment(tmp_path)
    here.append([exposure("u", T, NOON)])
    told = [
        {"flag": "broken", "conversion": "x", "threshold": "much"},
        {"flag": "checkout", "conversion": "payment_completed"},
    ]
    with gtm_stream(tmp_path, "--once", "--json", guards=json.dumps(told)) as process:
        code, out, err = finish(process)
    assert (code, json.loads(out)["offset"]) == (0, 1), err
    assert "guards[0].threshold" in err
    assert here.counts() == [cell(NOON, T)]
    here.close()
