"""The whole path of a rule: from the commit of an event in the log to the signed webhook at its receiver.

`python -m benchmarks.trigger_path [--rate N] [--seconds S]`: the log's writer is this process, `gtm stream` (rules and
deliverer) a second one, the receiver a third, all on loopback. Prints latencies in ms, the worker's CPU, and the load.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from benchmarks.delivery import SECRET, receive
from benchmarks.triggers import at, machine_clock, records, rules_text, say
from gtm_dagster.eventlog.sqlite import SqliteEventLog

SETTINGS = """
state_dir = "state"
triggers_file = "triggers.yaml"
[stream]
metrics_port = 0
[[destinations]]
name = "w"
url = "http://127.0.0.1:{port}/hook"
secret_env = "BENCH_SECRET"
allow = ["127.0.0.0/8"]
per_second = 10000.0
in_flight = 16
"""
MESSAGES = """
SELECT action_id, m.rule, trigger_event_id, m.decided_us, wall_us, ended_us
FROM outbox m JOIN occurrences o USING (action_id)
"""
GRACE_US = 1_000_000
SETTLE_SECONDS = 8.0
"""Traffic before anything is measured: until then the worker imports what its first batch needs (a second of CPU), and no
timer is due."""
_TICKS = os.sysconf("SC_CLK_TCK")


def path(rate: int, n_rules: int, seconds: float, *, few_messages: bool) -> None:
    """One line: commit -> received of rules that act at once, the lateness of timers at the receiver, CPU."""
    pipe, other = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=(other,), daemon=True)
    receiver.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "triggers.yaml").write_text(rules_text(n_rules, few_messages=few_messages))
        (folder / "gtm.toml").write_text(SETTINGS.format(port=pipe.recv()))
        (folder / "state").mkdir()
        log = SqliteEventLog(folder / "state" / "events.db")
        environment = {**os.environ, "GTM_CONFIG": str(folder / "gtm.toml"), "BENCH_SECRET": SECRET}
        worker = subprocess.Popen([sys.executable, "-m", "gtm_dagster.cli", "stream"], cwd=folder, env=environment)
        try:
            wait_until_it_follows(folder / "state" / "triggers.db")
            began, number, size = time.monotonic(), 0, max(1, rate // 50)
            committed: dict[str, int] = {}
            used = measured = since_us = None
            while (now := time.monotonic()) - began < SETTLE_SECONDS + seconds:
                if used is None and now - began >= SETTLE_SECONDS:
                    used, measured, since_us = cpu_of(worker.pid), now, machine_clock()
                    committed.clear()
                with log.receiving():
                    batch = records(size, number, machine_clock())
                    log.append(batch)
                committed |= dict.fromkeys((record.event_id or "" for record in batch), time.monotonic_ns())
                number += 1
                time.sleep(max(0.0, began + number * size / rate - time.monotonic()))
            assert used is not None and measured is not None and since_us is not None
            cpu, wall = cpu_of(worker.pid) - used, time.monotonic() - measured
            time.sleep(3.0)
            pipe.send("came")
            came: dict[str, int] = pipe.recv()
            offset_us = machine_clock() - time.monotonic_ns() // 1000
            with closing(sqlite3.connect(folder / "state" / "triggers.db")) as con:
                rows = [row for row in con.execute(MESSAGES) if row[2] in committed or row[3] >= since_us]
        finally:
            worker.terminate()
            worker.wait()
            log.close()
            pipe.send("end")
            receiver.join()
    at_once = [row for row in rows if acts_at_once(row) and row[2] in committed]
    events = sorted((came[row[0]] - committed[row[2]]) / 1e6 for row in at_once if row[0] in came)
    decided = sorted(row[4] / 1e3 - (committed[row[2]] / 1e6 + offset_us / 1e3) for row in at_once)
    timers = sorted(
        (came[row[0]] // 1000 + offset_us - row[3]) / 1e3 for row in rows if not acts_at_once(row) and row[0] in came
    )
    say(
        f"{rate} events/s, {n_rules} rules: committed -> received p50 {at(events, 0.5):.0f} ms, p99 {at(events, 0.99):.0f} ms, "
        f"of it to the decision p50 {at(decided, 0.5):.0f} ms, p99 {at(decided, 0.99):.0f} ms "
        f"({len(events)} messages); timer due -> received p50 {at(timers, 0.5):.0f} ms, p99 {at(timers, 0.99):.0f} ms "
        f"({len(timers)}); {sum(row[0] not in came for row in rows)} not received; {cpu / wall:.1%} of a core, "
        f"{(len(events) + len(timers)) / wall:.0f} messages a second"
    )


def acts_at_once(row: tuple[object, ...]) -> bool:
    """Whether a message's rule waits for nothing: a third of `rules_text` waits for what does not happen."""
    return int(str(row[1])[1:]) % 3 != 1


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def wait_until_it_follows(database: Path) -> None:
    """Until the rules have taken up their position in the log. Raises TimeoutError."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as con:
            if con.execute("SELECT 1 FROM position").fetchone():
                return
        time.sleep(0.1)
    raise TimeoutError(f"{database}: the worker did not follow the log within a minute")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--rules", type=int, nargs="*", default=[20, 100])
    parser.add_argument("--few-messages", action="store_true", help="one for some 14 events, not one for three")
    given = parser.parse_args()
    for n_rules in given.rules:
        path(given.rate, n_rules, given.seconds, few_messages=given.few_messages)


if __name__ == "__main__":
    main()
