"""kill -9 of the collector under load: every answered event is stored, and once."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from typing import Any

import requests

from gtm_dagster.chaos.inspect import check_rebuild, check_refresh
from gtm_dagster.chaos.outcome import ChaosError, Findings, Report, Rounds
from gtm_dagster.chaos.processes import Child, until
from gtm_dagster.chaos.throwaway import ThrowAway
from gtm_dagster.eventlog import open_log
from gtm_dagster.warehouse.serving import query

THREADS = 4
BATCH = 20
READY_SECONDS = 30.0
_ADDRESS = re.compile(r"listening on (http://\S+)")

Batch = list[dict[str, Any]]


class CollectorProcess:
    """A collector in a process of its own; `url` answers once the constructor returns."""

    def __init__(self, deployment: ThrowAway) -> None:
        self.child: Child = deployment.start("collect", "--host", "127.0.0.1", "--port", "0")
        try:
            found = until(lambda: bool(_ADDRESS.search(self.child.err)) or not self.child.running(), READY_SECONDS)
            address = _ADDRESS.search(self.child.err)
            if not found or address is None:
                raise ChaosError(f"the collector did not start: {self.child.err.strip() or 'it printed nothing'}")
            self.url = address.group(1)
            if not until(self.ready, READY_SECONDS):
                raise ChaosError(f"the collector was not ready within {READY_SECONDS:g} s")
        except BaseException:
            self.child.kill()
            raise

    def ready(self) -> bool:
        """Whether /readyz answers 200."""
        try:
            return requests.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except requests.RequestException:
            return False

    def __enter__(self) -> CollectorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()


class LoadGenerator:
    """Threads that post batches until `stop` or until the collector is gone.

    `acked`: ids of answered events; `unanswered`: batches cut off or refused, to be sent again; `answers` by HTTP
    status; `refusal`: the last 503; `wrong`: answers that are neither 200 nor 503 with Retry-After.
    """

    def __init__(self, url: str, name: str, again: list[Batch], seed: int, *, new: bool = True) -> None:
        self.acked: list[str] = []
        self.duplicates = 0
        self.unanswered: list[Batch] = list(again)
        self.answers: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.refusal: str | None = None
        self._url, self._name, self._new = url, name, new
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._number = 0
        self._rng = random.Random(seed)  # noqa: S311 - traffic, not a secret
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until the threads have ended, which they do by themselves when the collector is gone."""
        for thread in self._threads:
            thread.join(seconds)

    def stop(self) -> None:
        """End after the requests under way."""
        self._enough.set()
        self.finish()

    def _next(self) -> Batch | None:
        with self._lock:
            if self.unanswered:
                return self.unanswered.pop()
            if not self._new:
                return None
            self._number += 1
            amount = self._rng.randint(1, BATCH)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        visitor = f"chaos-{self._number % 500}"
        return [
            {
                "event_id": f"{self._name}-{self._number}-{n}", "event_name": "page_viewed", "timestamp": moment,
                "anonymous_id": visitor, "properties": {"path": f"/{'p' * 200}/{n}"},
                "context": {"device_type": "web", "page_url": "https://chaos.example/", "consent": {"analytics": True}},
            }
            for n in range(amount)
        ]  # fmt: skip

    def _send(self) -> None:
        with requests.Session() as session:
            while not self._enough.is_set():
                batch = self._next()
                if batch is None:
                    return
                if not self._posted(session, batch):
                    return

    def _posted(self, session: requests.Session, batch: Batch) -> bool:
        """False when the collector is gone; a refused batch waits a moment and is sent again."""
        try:
            answer = session.post(f"{self._url}/ingest", json=batch, headers={"X-Write-Key": "dev"}, timeout=60)
        except requests.RequestException:
            with self._lock:
                self.unanswered.append(batch)
            return False
        with self._lock:
            self.answers[answer.status_code] += 1
            if answer.status_code == 200:
                counts = answer.json()
                self.acked += [each["event_id"] for each in batch]
                self.duplicates += counts["duplicates"]
                if counts["accepted"] + counts["duplicates"] != len(batch):
                    self.wrong.append(
                        f"{len(batch)} events answered with {counts['accepted']} accepted, {counts['duplicates']} duplicates"
                    )
                return True
            self.unanswered.append(batch)
            if answer.status_code == 503 and answer.headers.get("Retry-After", "").isdigit():
                self.refusal = answer.text
            else:
                self.wrong.append(f"HTTP {answer.status_code}: {answer.text[:200]}")
        time.sleep(0.02)
        return True


class StoredIds:
    """The ids in the event log, counted on from where the last look ended."""

    def __init__(self, deployment: ThrowAway) -> None:
        self._log = open_log(deployment.settings)
        self._after = 0
        self.ids: Counter[str] = Counter()

    def look(self) -> Counter[str]:
        """Every stored id and how often it is there."""
        while True:
            table, last = self._log.read_arrow(self._after)
            if last <= self._after:
                return self.ids
            self.ids.update(table.column("event_id").to_pylist())
            self._after = last


def kill_collectors(
    deployment: ThrowAway, rounds: Rounds, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """Start, load, kill; what was not answered is sent again to the next collector, as an SDK does."""
    rng = random.Random(seed)  # noqa: S311 - moments to kill at, not a secret
    acked: set[str] = set()
    again: list[Batch] = []
    cut = duplicates = 0
    for number in rounds.numbers():
        with CollectorProcess(deployment) as collector:
            load = LoadGenerator(collector.url, f"r{number}", again, seed + number)
            if not until(lambda load=load: bool(load.acked), READY_SECONDS):  # type: ignore[misc]
                raise ChaosError(f"round {number}: the collector answered nothing for {READY_SECONDS:g} s")
            time.sleep(rng.uniform(0.0, 0.8))
            collector.child.kill()
            load.finish()
        acked |= set(load.acked)
        again = load.unanswered
        cut += len(again)
        duplicates += load.duplicates
        for wrong in load.wrong[:3]:
            findings.add(f"round {number}: {wrong}")
        report(f"round {number} of {rounds.wanted}: {len(load.acked)} events answered, {len(again)} requests cut off")
    with CollectorProcess(deployment) as collector:
        load = LoadGenerator(collector.url, "last", again, seed, new=False)
        load.finish()
        acked |= set(load.acked)
        duplicates += load.duplicates
        findings.expect(not load.unanswered, "requests cut off were not taken when sent again")
        code = collector.child.stop()
        findings.expect(code == 0, f"the last collector ended with {code} on SIGTERM")
    stored = StoredIds(deployment).look()
    missing = [each for each in acked if not stored[each]]
    twice = [each for each, times in stored.items() if times > 1]
    findings.expect(not missing, f"{len(missing)} answered events are not in the log, the first {missing[:1]}")
    findings.expect(not twice, f"{len(twice)} events are in the log more than once, the first {twice[:1]}")
    return {
        "acked": len(acked), "requests_cut_off": cut, "resent_and_known": duplicates, "stored": sum(stored.values()),
        "missing": len(missing), "twice": len(twice), **_tables(deployment, acked, stored, findings),
    }  # fmt: skip


def _tables(deployment: ThrowAway, acked: set[str], stored: Counter[str], findings: Findings) -> dict[str, int | float]:
    """The same counts from `staging.events`, after a refresh."""
    result = deployment.run("refresh", "--json")
    check_refresh(result, sum(stored.values()), findings, "after the last round")
    check_rebuild(deployment, findings, "after the last round")
    _, rows = query(deployment.settings, "SELECT event_id, count(*) FROM staging.events GROUP BY 1", work=True)
    in_tables = Counter(dict(rows))
    missing = sum(1 for each in acked if not in_tables[each])
    twice = sum(1 for times in in_tables.values() if times > 1)
    findings.expect(missing == 0, f"{missing} answered events are not in staging.events")
    findings.expect(twice == 0, f"{twice} events are in staging.events more than once")
    return {"missing_in_tables": missing, "twice_in_tables": twice}
