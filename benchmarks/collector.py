"""What a collected event costs: a real `gtm collect` on loopback, senders in a process of their own.

`python -m benchmarks.collector --events 40000 --rounds 5`: events that are durable for each CPU second of the server's
processes (user and system time of all their threads), as the median of the rounds, and the latency of requests at half of that
many events a second. Servers take their rounds in turn, so that what else the machine does falls on all of them. Beside it, behind the same HTTP server and for the same bodies: the limit (the JSON is decoded and
nothing is kept) and a plain table (one row an event, one durable commit a request). `--workers 2` measures that many processes at one
port, too, and one process on one core, and `--protocol segment` sends what a client of Segment sends. `--checkout DIR` measures the collector
of another checkout with the senders of this one; `--kafka` also the same collector with a topic of a real Kafka as its log
(the broker's own CPU is not in the figure, it is another machine's in life). Wall seconds are those of a machine that the senders use too.
"""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import msgspec

from benchmarks.http_load import Sent
from benchmarks.kafka_node import running_node
from benchmarks.measuring import machine

_ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
COLLECT = ("-m", "gtm_dagster.cli", "collect", "--host", "127.0.0.1", "--port", "0")


@dataclass(frozen=True)
class Subject:
    """A server to measure: what its row is called, and the arguments of the Python that runs it.

    `one_core`: it may use one core of the machine; otherwise the threads of one process use parts of several.
    """

    title: str
    arguments: tuple[str, ...]
    checkout: Path = _ROOT
    environ: Mapping[str, str] = field(default_factory=dict)
    one_core: bool = False


@dataclass(frozen=True)
class Result:
    """Events for each CPU second and each second of wall (medians of the rounds), milliseconds at `rate` events a second.

    `busiest`: share of the CPU time of the process that had most (1: there is only one), so how far more processes would
    go; `sending`: CPU microseconds of the senders for an event.
    """

    title: str
    by_cpu: float
    spread: tuple[float, float]
    by_wall: float
    rate: float
    p50: float
    p99: float
    busiest: float
    sending: float


def cpu_of(pid: int) -> float:
    """User and system seconds of a process and of those it has started, all their threads."""
    return sum(cpu_by_process(pid).values())


def cpu_by_process(pid: int) -> dict[int, float]:
    """As `cpu_of`, by process id."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    found = {pid: (int(fields[11]) + int(fields[12])) / _TICKS}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= cpu_by_process(int(child))
    return found


def remember(path: Path, ids: int) -> None:
    """Let the log at `path` know `ids` ids of the last 30 days, as made by senders that number them by UUIDv7."""
    con = sqlite3.connect(path)
    tables = {name for (name,) in con.execute("SELECT name FROM sqlite_master")}
    day, us = time.time_ns() // 86_400_000_000_000, 30 * 86_400_000
    numbers = "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < ?1)"
    if "known_ids" in tables:
        key = f"unhex(printf('%012x', {time.time_ns() // 1_000_000 - us} + n * {us} / ?1)) || randomblob(12)"
        con.create_function("unhex", 1, bytes.fromhex)
        con.execute(
            f"INSERT INTO known_ids (id_key, content, day) {numbers} SELECT CAST({key} AS BLOB), randomblob(8), {day} - 30 + n * 30 / ?1 FROM n",
            (ids,),
        )
    else:
        con.execute(
            f"INSERT INTO dedup {numbers} SELECT randomblob(16) AS k, randomblob(8), date('now', (n * 30 / ?1 - 30) || ' days') FROM n ORDER BY k",
            (ids,),
        )
    con.commit()
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()


@contextmanager
def serving(subject: Subject, known: int = 0) -> Iterator[tuple[int, str]]:
    """The server's process id and address, on a state directory of its own."""
    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as folder:
        environ = {**os.environ, **subject.environ, "GTM_STATE_DIR": folder, "PYTHONPATH": str(subject.checkout)}
        server = subprocess.Popen(
            [sys.executable, *subject.arguments], env=environ, cwd=subject.checkout, stderr=subprocess.PIPE, text=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if subject.one_core else None,
        )  # fmt: skip
        try:
            assert server.stderr is not None
            line = server.stderr.readline()
            found = re.search(r"http://\S+", line)
            if found is None:
                raise RuntimeError(f"{subject.title} did not start: {line}{server.stderr.read()}")
            if known and subject.arguments[: len(COLLECT)] == COLLECT:
                remember(Path(folder) / "events.db", known)
            _await_workers(server.pid, subject)
            yield server.pid, found.group()
        finally:
            server.terminate()
            server.communicate(timeout=60)


def _await_workers(pid: int, subject: Subject) -> None:
    """Wait until every process listens: connections go to those that do."""
    count = int(subject.arguments[-1]) if "--workers" in subject.arguments else 1
    until = time.monotonic() + 60
    while listening(pid) < count:
        if time.monotonic() > until:
            raise RuntimeError(f"{subject.title}: {listening(pid)} of {count} processes listen")
        time.sleep(0.1)


def listening(pid: int) -> int:
    """How many sockets that a process or those it has started listen on (TCP)."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    own = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    count = sum(fields[3] == "0A" and fields[9] in own for fields in lines)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return count + sum(listening(int(child)) for child in children)


def sent(pid: int, url: str, arguments: list[str]) -> tuple[Sent, list[float], float]:
    """What the senders saw, the CPU seconds that each process of the server spent meanwhile, and those of the senders."""
    sender = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http_load", url, *arguments],
        cwd=_ROOT, env={**os.environ, "PYTHONPATH": str(_ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sender.stdin is not None
    assert sender.stdout is not None
    if sender.stdout.readline().strip() != "ready":
        raise RuntimeError("the senders did not start")
    before, own = cpu_by_process(pid), cpu_of(sender.pid)
    sender.stdin.write("\n")
    sender.stdin.flush()
    text = sender.stdout.readline()
    used = [seconds - before.get(process, 0.0) for process, seconds in cpu_by_process(pid).items()]
    own = cpu_of(sender.pid) - own
    sender.wait(timeout=60)
    return msgspec.json.decode(text, type=Sent), used, own


def measured(
    subjects: list[Subject],
    events: int,
    rounds: int,
    batch: int,
    known: int,
    protocol: str = "native",
    connections: int = 16,
) -> list[Result]:
    """One round to warm up, `rounds` as fast as they are answered, one at half of the events for each CPU second.

    A round is one of every subject, in another order each time.
    """
    shape = ["--events", str(events), "--batch", str(batch), "--protocol", protocol]
    figures: dict[str, list[tuple[float, float, float, float]]] = {subject.title: [] for subject in subjects}
    results = []
    with ExitStack() as stack:
        running = [(subject, *stack.enter_context(serving(subject, known))) for subject in subjects]
        for number in range(rounds + 1):
            for subject, pid, url in running[number % len(running) :] + running[: number % len(running)]:
                each, used, sending = sent(pid, url, [*shape, "--seed", str(number), "--connections", str(connections)])
                durable = each.statuses["accepted"] + each.statuses["quarantined"]
                if each.failures or durable != events:
                    raise RuntimeError(
                        f"{subject.title}: {each.failures} requests failed, {each.statuses} of {events} events"
                    )
                if number:
                    total = sum(used)
                    figures[subject.title].append(
                        (events / total, events / each.wall, max(used) / total, sending / events * 1e6)
                    )
        for subject, pid, url in running:
            by_cpu, by_wall, busiest, sending_us = zip(*figures[subject.title], strict=True)
            rate = median(by_cpu) / 2
            last, _, _ = sent(pid, url, [*shape, "--seed", str(rounds + 1), "--rate", str(rate), "--connections", "64"])
            cuts = quantiles(last.latencies, n=100)
            results.append(
                Result(
                    subject.title, median(by_cpu), (min(by_cpu), max(by_cpu)), median(by_wall), rate, cuts[49], cuts[98],
                    median(busiest), median(sending_us),
                )
            )  # fmt: skip
    return results


def report(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| server | events per CPU s | lowest to highest | busiest process | senders' CPU µs an event | events per s of wall | at a rate of | p50 ms | p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in results:
        lines.append(
            f"| {each.title} | {each.by_cpu:,.0f} | {each.spread[0]:,.0f} to {each.spread[1]:,.0f} "
            f"| {each.busiest:.0%} | {each.sending:.1f} | {each.by_wall:,.0f} "
            f"| {each.rate:,.0f} | {each.p50:.1f} | {each.p99:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=40_000, help="a round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--batch", type=int, default=50, help="events a request")
    options.add_argument(
        "--connections", type=int, default=16, help="of the rounds that send as fast as they are answered"
    )
    options.add_argument("--known", type=int, default=0, help="ids of the last 30 days that the log knows already")
    options.add_argument("--checkout", type=Path, help="also measure the collector of this checkout")
    options.add_argument("--workers", type=int, default=1, help="also measure so many processes at one port")
    options.add_argument("--protocol", choices=("native", "segment"), default="native")
    options.add_argument("--kafka", action="store_true", help="also with a topic of a real Kafka as the log")
    options.add_argument("--alone", action="store_true", help="only the collector")
    given = options.parse_args()
    subjects = [Subject("`gtm collect`", COLLECT)]
    if given.workers > 1:
        arguments = (*COLLECT, "--workers", str(given.workers))
        subjects.append(Subject("`gtm collect` on one core", COLLECT, one_core=True))
        subjects.append(Subject(f"`gtm collect --workers {given.workers}`", arguments))
    if given.checkout:
        subjects.append(Subject(f"`gtm collect` of {given.checkout}", COLLECT, given.checkout))
    if not given.alone:
        apps = ("-m", "benchmarks.bare_collectors")
        subjects.append(Subject("limit: JSON decoded, nothing kept", (*apps, "decoding")))
        subjects.append(Subject("plain table: a row an event, a commit a request", (*apps, "plain_table")))
    print(machine(("granian", "msgspec")) + "\n", flush=True)
    with ExitStack() as stack:
        if given.kafka:
            node = stack.enter_context(running_node())
            topic = {"GTM_EVENT_LOG": f"kafka://{node.servers}/bench", "GTM_KAFKA__ACK_SECONDS": "20"}
            subjects.insert(1, Subject("`gtm collect`, the log is a topic", COLLECT, environ=topic))
        results = measured(
            subjects, given.events, given.rounds, given.batch, given.known, given.protocol, given.connections
        )
        print(report(results))


if __name__ == "__main__":
    main()
