"""An acknowledged record survives kill -9 and a full disk; what was not acknowledged can be sent again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from eventlog_cases import record

from gtm_dagster.eventlog.sqlite import SqliteEventLog

ROUNDS = 3

APPENDER = """
import sys
from pathlib import Path
from eventlog_cases import record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
log, n = SqliteEventLog(Path(sys.argv[1])), int(sys.argv[2])
while True:
    futures = [log.submit([record(str(n + m))]) for m in range(20)]
    for m, future in enumerate(futures):
        future.result()
        sys.stdout.write(f"{n + m}\\n")
    sys.stdout.flush()
    n += 20
"""

FULL = """
import resource, sys
from pathlib import Path
from eventlog_cases import record
from gtm_dagster.eventlog.sqlite import EventLogError, SqliteEventLog
log, acked, n = SqliteEventLog(Path(sys.argv[1])), 0, 0
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
while True:
    try:
        log.append([record(f"{n}-{m}", properties='{"x":"' + str(hash((n, m))) * 40 + '"}') for m in range(50)])
    except EventLogError as error:
        assert sys.argv[1] in str(error), error
        break
    acked, n = acked + 50, n + 1
assert log.last_seq() == acked, (log.last_seq(), acked)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert log.append([record(f"{n}-{m}") for m in range(50)]).accepted == 50
print(acked, log.last_seq())
log.close()
"""


def kill_under_load(path: Path, start: int, wanted: int) -> list[str]:
    """Ids an appender acknowledged before it was killed, at least `wanted`."""
    with subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(start)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        acked = [child.stdout.readline() for _ in range(wanted)]
        os.kill(child.pid, signal.SIGKILL)
        acked += child.stdout.read().splitlines(keepends=True)
    return [line.decode().strip() for line in acked if line.endswith(b"\n")]


def test_every_acknowledged_record_is_there_once_after_kills(tmp_path):
    path = tmp_path / "events.db"
    acked: list[str] = []
    for round_ in range(ROUNDS):
        acked += kill_under_load(path, round_ * 1_000_000, 100)
    log = SqliteEventLog(path)
    stored = Counter(each.event_id for each in log.read_records(0, 10_000_000)[0])
    assert len(acked) >= ROUNDS * 100
    assert not [event_id for event_id in acked if stored[event_id] != 1]
    table, last = log.read_arrow(0, 10_000_000)
    assert table["row_no"].to_pylist() == list(range(1, last + 1))
    assert sum(n for day in log.edge_counts().values() for n in day.values()) == last
    resent = log.append([record(event_id) for event_id in acked])
    assert resent.duplicates == len(acked)
    log.close()


def test_a_full_disk_refuses_the_append_keeps_the_rest_and_heals(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "events.db")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    acked, last = map(int, done.stdout.split())
    assert acked > 0
    assert last == acked + 50
