"""Kafka behind the collector, broken again and again: a real broker, `gtm collect`, `gtm refresh`, and senders that never rest.

`python -m benchmarks.kafka_drill --rounds 20 --stop-seconds 60`: each round stops the broker (SIGSTOP), or kills the broker,
the collector or the loader (kill -9), in turn, while senders post batches one after the other and send again what was not
answered. In the end everything is drained and loaded, and every answered event has to be in `staging.events`, once, and each
person's events in the order in which they were sent. Exit 1 when one is not.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from benchmarks.kafka_node import ROOT, KafkaNode, running_node
from gtm_dagster.eventlog import open_log
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.serving import query

FAULTS = ("stop broker", "kill collector", "kill broker", "kill loader")
_READY_SECONDS = 60.0
_GTM = (sys.executable, "-m", "gtm_dagster.cli")


@dataclass
class Outcome:
    """What the drill found. `answered`: events; `waited`: the longest that a batch waited for its answer, seconds."""

    rounds: list[str] = field(default_factory=list)
    answered: int = 0
    missing: int = 0
    twice: int = 0
    out_of_order: int = 0
    repeated_in_topic: int = 0
    waited: float = 0.0
    spooled_most: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, twice, or out of order."""
        return self.answered > 0 and not (self.missing or self.twice or self.out_of_order)


class Sender(threading.Thread):
    """Posts one person's events in order, `batch` at a time; a batch is sent until it is answered."""

    def __init__(self, drill: Drill, batch: int) -> None:
        super().__init__(daemon=True)
        self.sent: list[str] = []
        self.waited = 0.0
        self._drill, self._batch, self._person = drill, batch, str(uuid.uuid4())

    def run(self) -> None:
        while not self._drill.over.is_set():
            events = [self._event() for _ in range(self._batch)]
            start = time.monotonic()
            while not self._answered(events):
                time.sleep(0.1)
            self.waited = max(self.waited, time.monotonic() - start)
            self.sent += [event["event_id"] for event in events]
            time.sleep(self._drill.pause)

    def _answered(self, events: list[dict[str, Any]]) -> bool:
        try:
            reply = requests.post(f"{self._drill.url}/ingest", json=events, headers={"X-Write-Key": "dev"}, timeout=40)
        except requests.RequestException:
            return False
        if reply.status_code != 200:
            return False
        assert reply.json()["quarantined"] == 0, reply.text[:500]
        return True

    def _event(self) -> dict[str, Any]:
        return {
            "event_id": str(uuid.uuid4()), "event_name": "page_viewed", "anonymous_id": self._person,
            "timestamp": datetime.now(UTC).isoformat(), "properties": {"path": "/pricing"}, "context": {"device_type": "web"},
        }  # fmt: skip


class Drill:
    """The deployment under test, in `folder`, behind `node`."""

    def __init__(self, node: KafkaNode, folder: Path, pause: float = 0.05) -> None:
        self.environ = {
            "GTM_STATE_DIR": str(folder), "GTM_EVENT_LOG": f"kafka://{node.servers}/drill-{uuid.uuid4().hex[:8]}",
            "GTM_PRIVACY__CONSENT": "off",
        }  # fmt: skip
        self.settings: Settings = load_settings(None, self.environ)
        self.node = node
        self.over = threading.Event()
        self.pause = pause
        self.url = ""
        self._collector: subprocess.Popen[str] | None = None

    def start_collector(self) -> None:
        """Start it, or start it again; returns when it is ready."""
        self._collector = subprocess.Popen(
            [*_GTM, "collect", "--host", "127.0.0.1", "--port", "0"], cwd=ROOT, text=True,
            env={**os.environ, **self.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._collector.stderr is not None
        found = None
        while found is None and (line := self._collector.stderr.readline()):
            found = re.search(r"listening on (http://\S+)", line)
        assert found is not None, "the collector did not start"
        threading.Thread(target=self._collector.stderr.read, daemon=True).start()
        self.url = found.group(1)
        self.wait(lambda: requests.get(f"{self.url}/readyz", timeout=10).status_code == 200)

    def kill_collector(self) -> None:
        """kill -9."""
        if self._collector is not None:
            self._collector.kill()
            self._collector.wait(30)

    def loader(self) -> subprocess.Popen[bytes]:
        """A `gtm refresh` that runs."""
        return subprocess.Popen(
            [*_GTM, "refresh"], cwd=ROOT, env={**os.environ, **self.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait(self, condition: Any, seconds: float = _READY_SECONDS) -> None:
        """Until `condition` holds; a refused connection counts as not yet."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds:g} s")

    def spooled(self) -> int:
        """Events on the collector's disk."""
        with open_log(self.settings) as log:
            return int(log.spooled())  # type: ignore[attr-defined]

    def fault(self, kind: str, stop_seconds: float, random_: random.Random, outcome: Outcome) -> None:
        """Break one thing, and put it right again."""
        if kind == "stop broker":
            self.node.signal(signal.SIGSTOP)
            time.sleep(stop_seconds)
            outcome.spooled_most = max(outcome.spooled_most, self.spooled())
            self.node.signal(signal.SIGCONT)
        elif kind == "kill broker":
            self.node.kill()
            time.sleep(random_.uniform(0.0, 3.0))
            self.node.start()
        elif kind == "kill collector":
            self.kill_collector()
            self.start_collector()
        else:
            loader = self.loader()
            time.sleep(random_.uniform(1.0, 12.0))
            loader.kill()
            loader.communicate()
        self.wait(lambda: self.spooled() == 0)


def run(node: KafkaNode, rounds: int, stop_seconds: float, seed: int, senders: int = 4, batch: int = 20) -> Outcome:
    """The drill over a broker that runs."""
    random_, outcome = random.Random(seed), Outcome()
    folder = Path(tempfile.mkdtemp(prefix="gtm-drill-"))
    drill = Drill(node, folder)
    try:
        drill.start_collector()
        threads = [Sender(drill, batch) for _ in range(senders)]
        for each in threads:
            each.start()
        for number in range(rounds):
            time.sleep(random_.uniform(0.5, 2.0))
            kind = FAULTS[number % len(FAULTS)]
            start = time.monotonic()
            drill.fault(kind, stop_seconds, random_, outcome)
            outcome.rounds.append(f"{kind}: right again after {time.monotonic() - start:.1f} s")
            print(f"round {number + 1}: {outcome.rounds[-1]}", file=sys.stderr, flush=True)
        drill.over.set()
        for each in threads:
            each.join(60)
            assert not each.is_alive(), "a sender got no answer"
        drill.wait(lambda: drill.spooled() == 0)
        last = drill.loader()
        _, errors = last.communicate(timeout=600)
        assert last.returncode == 0, errors.decode()[-3000:]
        _examine(drill, threads, outcome)
    finally:
        drill.over.set()
        drill.kill_collector()
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _examine(drill: Drill, threads: list[Sender], outcome: Outcome) -> None:
    """Compare what was answered with what is in the warehouse, and with the order in the log."""
    sent = [event_id for each in threads for event_id in each.sent]
    _, rows = query(drill.settings, "SELECT event_id, count(*) FROM staging.events GROUP BY 1", work=True)
    stored = {str(event_id): int(n) for event_id, n in rows}
    outcome.answered = len(sent)
    outcome.waited = max(each.waited for each in threads)
    outcome.missing = sum(event_id not in stored for event_id in sent)
    outcome.twice = sum(n > 1 for n in stored.values())
    landed = _landed(drill.settings)
    outcome.repeated_in_topic = sum(n - 1 for n in Counter(landed).values())
    first: dict[str, int] = {}
    for place, event_id in enumerate(landed):
        first.setdefault(event_id, place)
    for each in threads:
        places = [first[event_id] for event_id in each.sent if event_id in first]
        outcome.out_of_order += sum(one > other for one, other in itertools.pairwise(places))


def _landed(settings: Settings) -> list[str]:
    """The ids that landed, in the order of the log."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = Landing(settings.landing_dir).files()
    table = pa.concat_tables(pq.read_table(file.path, columns=["event_id", "row_no"]) for file in files)
    ids: list[str] = table.sort_by("row_no")["event_id"].to_pylist()
    return ids


def main() -> None:
    """Run the drill and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--stop-seconds", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with running_node() as node:
        outcome = run(node, given.rounds, given.stop_seconds, given.seed)
    print(
        f"{len(outcome.rounds)} rounds, {outcome.answered} events answered: {outcome.missing} missing, {outcome.twice} twice in "
        f"staging.events, {outcome.out_of_order} out of a person's order; {outcome.repeated_in_topic} repeated in the topic and "
        f"dropped by staging; most in the spool {outcome.spooled_most}; longest wait for an answer {outcome.waited:.1f} s"
    )
    sys.exit(0 if outcome.ok else 1)


if __name__ == "__main__":
    main()
