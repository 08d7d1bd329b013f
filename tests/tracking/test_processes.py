"""The tracker across processes: import, exit, fork, crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from gtm_dagster.tracking import TrackerStats
from gtm_dagster.tracking.spool import Spool

START = """
import os, sys
from gtm_dagster.tracking import GtmTracker
url, spool = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
tracker = GtmTracker(url, "k", flush_interval=60, spool=spool)
"""


def run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *args], capture_output=True, text=True, timeout=30, check=False
    )


def test_importing_the_sdk_loads_nothing_heavy():
    heavy = "dagster pandas duckdb pandera numpy pyarrow jsonschema_rs cryptography"
    script = f"import sys, gtm_dagster.tracking\nprint([m for m in {heavy.split()} if m in sys.modules])"
    assert run(script).stdout.strip() == "[]"


def test_what_waits_is_sent_at_a_normal_exit(recorder):
    done = run(START + "for n in range(7): tracker.track('page_viewed', user_id=str(n))", recorder.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert [event["user_id"] for batch in recorder.batches() for event in batch.body] == list("0123456")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_its_own_queue_and_thread(recorder):
    script = (
        START
        + """
tracker.track("page_viewed", user_id="parent")
child = os.fork()
if child == 0:
    assert tracker.stats().waiting == 0
    tracker.track("page_viewed", user_id="child")
    ok = tracker.flush(10)
    tracker.close()
    os._exit(0 if ok else 3)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert tracker.stats().waiting == 1
assert tracker.flush(30)
"""
    )
    done = run(script, recorder.url)
    assert done.returncode == 0, done.stderr
    assert [event["user_id"] for batch in recorder.batches() for event in batch.body] == ["child", "parent"]


def test_the_spool_carries_unsent_events_over_a_kill(recorder, make, tmp_path):
    spool = tmp_path / "deep" / "spool.jsonl"
    script = (
        START
        + """
import signal
for n in range(3): tracker.track("page_viewed", user_id=str(n))
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert run(script, recorder.url, str(spool)).returncode == -signal.SIGKILL
    assert recorder.batches() == []
    with spool.open("ab") as torn:
        torn.write(b'{"event_id": "torn')
    tracker = make(spool=spool)
    assert tracker.stats().waiting == 3
    tracker.track("page_viewed", user_id="3")
    assert tracker.flush(30)
    assert [event["user_id"] for event in recorder.batches()[0].body] == list("0123")
    assert spool.read_bytes() == b""


def test_the_spool_keeps_what_close_could_not_send(recorder, make, tmp_path):
    spool = tmp_path / "spool.jsonl"
    tracker = make(spool=spool, retries=0)
    recorder.answer(503, {"Retry-After": "60"})
    event_id = tracker.track("page_viewed", user_id="u")
    tracker.close(0.3)
    assert [json.loads(line)["event_id"] for line in spool.read_text().splitlines()] == [event_id]
    again = make(spool=spool)
    assert again.flush(30)
    assert again.stats() == TrackerStats(sent=1, accepted=1)


def test_the_spool_is_compacted_while_events_still_wait(recorder, make, tmp_path, monkeypatch):
    monkeypatch.setattr("gtm_dagster.tracking.buffer.COMPACT_AFTER", 5)
    spool = tmp_path / "spool.jsonl"
    tracker = make(spool=spool, max_queue=4)
    for n in range(30):
        tracker.buffer._rest_until = float("inf")
        tracker.track("page_viewed", user_id=str(n))
    held = [json.loads(line)["user_id"] for line in spool.read_text().splitlines()]
    assert held[-4:] == ["26", "27", "28", "29"]
    assert len(held) < 10


def test_two_trackers_cannot_share_a_spool(make, tmp_path):
    make(spool=tmp_path / "s")
    with pytest.raises(ValueError, match="in use"):
        Spool(tmp_path / "s")


def test_a_full_disk_does_not_stop_the_product(recorder, make, tmp_path, monkeypatch, caplog):
    spool = tmp_path / "s"
    tracker = make(spool=spool)

    def full(file, data):
        os.write(file, data[:9])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("gtm_dagster.tracking.spool._write", full)
        tracker.track("page_viewed", user_id="lost")
    tracker.track("page_viewed", user_id="kept")
    assert json.loads(spool.read_bytes().splitlines()[-1])["user_id"] == "kept"
    assert "No space left" in caplog.text
    assert tracker.flush(30)
    assert tracker.stats().accepted == 2
