"""Two refreshes, imports and queries at once: each succeeds or says who holds the lock; tables equal to a rebuild."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from gtm_dagster.chaos.inspect import check_idle, check_leftovers, check_rebuild, check_refresh
from gtm_dagster.chaos.outcome import Findings, Report
from gtm_dagster.chaos.supply import Supply
from gtm_dagster.chaos.throwaway import CommandResult, ThrowAway

IMPORT_ROWS = 500
LOG_ROWS = 100
PAUSE_SECONDS = 1.0
"""Between two imports, so that refreshes find some news but the tables stay small."""
IMPATIENT_SECONDS = "1"
"""lock_timeout_seconds of every other refresh: it gives up while the other one writes, and has to name it."""
LATE_SECONDS = 90.0
"""How much longer queries go on when the first refresh took all of the time."""
NAMES_HOLDER = re.compile(r"is being written by pid \d+ \(.+?\)")
_SQL = "SELECT (SELECT sum(raw) FROM staging.books) AS raw, (SELECT count(*) FROM core.sessions) AS sessions"


@dataclass
class Crowd:
    """Commands started again and again until `end`; `ok` and `waited` count by command, `waited` those that named the
    holder of the lock.
    """

    deployment: ThrowAway
    supply: Supply
    findings: Findings
    end: float
    rng: random.Random
    ok: Counter[str] = field(default_factory=Counter)
    waited: Counter[str] = field(default_factory=Counter)
    early: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _note(self, what: str, result: CommandResult) -> None:
        with self.lock:
            if result.code == 0:
                self.ok[what] += 1
                return
            if NAMES_HOLDER.search(result.message):
                self.waited[what] += 1
                return
            if what == "query" and not self.ok["refresh"] and "run `gtm refresh` first" in result.message:
                self.early += 1
                return
            self.findings.add(f"gtm {what} ended with {result.code}: {result.message or 'no reason given'}")

    def refresh(self) -> None:
        """Refresh after refresh, every other one with a short timeout."""
        with self.lock:
            impatient = self.rng.random() < 0.5
        while time.monotonic() < self.end:
            variables = {"GTM_REFRESH__LOCK_TIMEOUT_SECONDS": IMPATIENT_SECONDS} if impatient else {}
            self._note("refresh", self.deployment.run("refresh", "--json", **variables))
            impatient = not impatient

    def import_files(self) -> None:
        """Import after import, with some events in the log between them."""
        while time.monotonic() < self.end and self.supply.left > IMPORT_ROWS + LOG_ROWS:
            self.supply.log(LOG_ROWS)
            self._note("import", self.deployment.run("import", str(self.supply.file(IMPORT_ROWS)), "--json"))
            time.sleep(PAUSE_SECONDS)

    def query(self) -> None:
        """Query after query, some of the working file; on a slow machine beyond the end, until one has found tables."""
        while time.monotonic() < self.end or self._no_answer_yet():
            with self.lock:
                work = ["--work"] if self.rng.random() < 0.2 else []
            self._note("query", self.deployment.run("query", _SQL, "--json", *work))

    def _no_answer_yet(self) -> bool:
        return not self.ok["query"] and 0 < self.end < time.monotonic() < self.end + LATE_SECONDS


def crowd_deployment(
    deployment: ThrowAway, minutes: float, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """All of them at once for `minutes`, on a state directory that does not exist yet; then one refresh and a rebuild."""
    rounds = max(int(minutes * 60 / (PAUSE_SECONDS + 1.0)) + 2, 3)
    supply = Supply(deployment, rounds * (IMPORT_ROWS + LOG_ROWS), seed)
    rng = random.Random(seed)  # noqa: S311 - who is impatient, not a secret
    crowd = Crowd(deployment, supply, findings, time.monotonic() + minutes * 60, rng)
    threads = [
        threading.Thread(target=work) for work in (crowd.refresh, crowd.refresh, crowd.import_files, crowd.query)
    ]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(15 / len(threads))
            with crowd.lock:
                report(
                    ", ".join(f"{crowd.ok[what]} {what}" for what in ("refresh", "import", "query"))
                    + f" done, {sum(crowd.waited.values())} named the holder"
                )
    finally:
        crowd.end = 0.0  # Ctrl-C: what is under way ends first
        for thread in threads:
            thread.join()
    check_refresh(deployment.run("refresh", "--json"), supply.expected, findings, "at the end")
    check_rebuild(deployment, findings, "at the end")
    check_idle(deployment, findings, "at the end")
    left = check_leftovers(deployment, findings)
    for what in ("refresh", "import", "query"):
        findings.expect(crowd.ok[what] > 0, f"not one gtm {what} succeeded")
    return {
        **{f"{what}_ok": crowd.ok[what] for what in ("refresh", "import", "query")},
        **{f"{what}_named_the_holder": crowd.waited[what] for what in ("refresh", "query")},
        "query_before_the_first_refresh": crowd.early, "failed": len(findings.lines()),
        "rows": supply.expected, "left_lying": left,
    }  # fmt: skip
