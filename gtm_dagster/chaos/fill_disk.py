"""A full disk while events are appended, landed, refreshed and published: clear errors, nothing lost, and recovery
without a hand when there is room again.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtm_dagster.chaos.inspect import check_idle, check_leftovers, check_rebuild, check_refresh
from gtm_dagster.chaos.kill_collector import CollectorProcess, LoadGenerator, StoredIds
from gtm_dagster.chaos.outcome import ChaosError, Findings, Outcome, Report, Rounds
from gtm_dagster.chaos.processes import until
from gtm_dagster.chaos.small_disk import Disk, namespace_command, small_disk
from gtm_dagster.chaos.supply import Supply
from gtm_dagster.chaos.throwaway import LIMIT_SECONDS, CommandResult, ThrowAway, throw_away
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.serving import QueryError, query
from gtm_dagster.warehouse.writer_lock import WarehouseLock

NAME = "disk-full"
ROUND_ROWS = 4_000
REFUSALS = 20
"""503 answers to wait for before there is room again."""
UNREADY_SECONDS = 10.0
"""How soon /readyz says that a full disk takes no event."""
TRIES = 5
"""Refreshes to start until the disk was full at the wanted moment."""
CLEAR = re.compile(r"no space left|disk (is |may be )?full|not enough (disk )?space|out of (disk )?space", re.I)
"""A clear message says that the disk has no room."""
_PROGRESS = "progress: "
"""Begins the lines of stderr that the outer process reports."""
Figures = dict[str, int | float]


def fill_disks(settings: Settings, rounds: Rounds, seed: int, report: Report) -> Outcome:
    """Run the experiment in a process that may mount a small disk; skipped where the system does not allow that."""
    began = time.monotonic()
    before = namespace_command()
    if before is None:
        reason = "no small disk can be mounted here: it takes Linux, unshare, and root or unprivileged user namespaces"
        return Outcome(NAME, 0, 0.0, {}, (), reason)
    arguments = json.dumps(
        [settings.warehouse.memory_limit, settings.warehouse.threads, rounds.wanted, rounds.minutes, seed]
    )
    with tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen(  # noqa: S603 - our own module
            [*before, sys.executable, "-m", __name__, arguments], stdout=out, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stderr is not None  # noqa: S101 - asked for above
            last_line = ""
            for line in child.stderr:
                last_line = line.strip() or last_line
                if line.startswith(_PROGRESS):
                    report(line.removeprefix(_PROGRESS).rstrip())
        out.seek(0)
        text = out.read()
    try:
        document = json.loads(text)
    except ValueError:
        raise ChaosError(f"{NAME} ended with {child.returncode}: {last_line}") from None
    return Outcome(NAME, document["rounds"], time.monotonic() - began, document["figures"], tuple(document["found"]))


def _inside(
    memory_limit: str | None, threads: int | None, wanted: int, minutes: float | None, seed: int
) -> dict[str, Any]:
    rounds = Rounds(wanted, minutes)

    def report(text: str) -> None:
        sys.stderr.write(f"{_PROGRESS}{text}\n")
        sys.stderr.flush()

    findings = Findings(report)
    with tempfile.TemporaryDirectory(prefix="gtm-disk-") as folder:
        with small_disk(Path(folder) / "disk") as disk:
            with throw_away(memory_limit, threads, disk.folder / "state") as deployment:
                figures = _FullDisk(deployment, disk, findings, report).run(rounds, seed)
    return {"rounds": rounds.done, "figures": figures, "found": findings.lines()}


class _FullDisk:
    """One deployment on a small disk that is filled at given moments."""

    def __init__(self, deployment: ThrowAway, disk: Disk, findings: Findings, report: Report) -> None:
        self.deployment, self.disk, self.findings, self.report = deployment, disk, findings, report

    def run(self, rounds: Rounds, seed: int) -> Figures:
        """The disk is full at each place of the pipeline, then in each of `rounds` at a random moment of a refresh."""
        stored, figures = self._append(seed)
        self.supply = Supply(self.deployment, (4 * TRIES + 2 + rounds.wanted) * ROUND_ROWS, seed)
        self.supply.expected += stored
        first = self.deployment.run("refresh", "--json")
        check_refresh(first, self.supply.expected, self.findings, "before the disk is full")
        figures["import_refused"] = self._import()
        figures["history_refused"] = self._fill_at("history", lambda _: lambda: True, "")
        with self._history_elsewhere():
            for place, (moment, step) in _PLACES.items():
                figures[f"{place}_refused"] = self._fill_at(place, moment, step)
        rng = random.Random(seed)  # noqa: S311 - moments to fill at, not a secret
        refused = 0
        for number in rounds.numbers():
            seconds = rng.uniform(0.2, 1.0) * first.seconds
            message = self._refresh(f"round {number}", _after(seconds))
            refused += message is not None
            self.report(
                f"round {number} of {rounds.wanted}: full {seconds:.1f} s after the start: {message or 'not needed any more'}"
            )
        check_rebuild(self.deployment, self.findings, "at the end")
        check_idle(self.deployment, self.findings, "at the end")
        left = check_leftovers(self.deployment, self.findings)
        return {**figures, "random_refused": refused, "rows": self.supply.expected, "left_lying": left}

    def _append(self, seed: int) -> tuple[int, Figures]:
        """The collector on a full disk: 503 and no lost event; the same process goes on when there is room."""
        expect = self.findings.expect
        with CollectorProcess(self.deployment) as collector:
            load = LoadGenerator(collector.url, "full", [], seed)
            until(lambda: len(load.acked) > 200, 30)
            self.disk.fill()
            refused = until(lambda: load.answers[503] >= REFUSALS, 60)
            expect(refused, f"append: a full disk gave {dict(load.answers)} and not 503")
            # Until what the last commit freed is taken again, there is room, and the collector is right to say so.
            unready = until(lambda: not collector.ready(), UNREADY_SECONDS)
            expect(unready, "append: /readyz answers ready while the disk is full")
            before = len(load.acked)
            self.disk.empty()
            began = time.monotonic()
            again = until(lambda: len(load.acked) > before, 30)
            expect(
                again and collector.child.running(), "append: the collector takes no events though there is room again"
            )
            seconds = time.monotonic() - began
            load.stop()
            rest = LoadGenerator(collector.url, "rest", load.unanswered, seed, new=False)
            rest.finish()
            expect(not rest.unanswered, "append: events refused before were not taken when sent again")
            for wrong in [*load.wrong, *rest.wrong][:3]:
                self.findings.add(f"append: {wrong}")
            expect(collector.child.stop() == 0, "append: the collector did not end well")
        stored = StoredIds(self.deployment).look()
        acked = {*load.acked, *rest.acked}
        missing = sum(1 for each in acked if not stored[each])
        twice = sum(1 for times in stored.values() if times > 1)
        expect(missing == 0, f"append: {missing} answered events are not in the log")
        expect(twice == 0, f"append: {twice} events are in the log more than once")
        self.report(
            f"append: {load.answers[503]} requests refused with 503 ({load.refusal}), the next taken {seconds:.1f} s after there was room"
        )
        figures: Figures = {
            "acked": len(acked), "missing": missing, "twice": twice, "append_503": load.answers[503],
            "append_again_seconds": round(seconds, 2),
        }  # fmt: skip
        return sum(stored.values()), figures

    def _import(self) -> int:
        file = self.supply.file(ROUND_ROWS)
        self.disk.fill()
        try:
            result = self.deployment.run("import", str(file), "--json")
        finally:
            self.disk.empty()
        self._expect_clear("import", result)
        self.report(f"import: {result.message}")
        again = self.deployment.run("import", str(file), "--json")
        self.findings.expect(again.code == 0, f"import: with room again it ended with {again.code}: {again.message}")
        return int(result.code != 0)

    @contextmanager
    def _history_elsewhere(self) -> Iterator[None]:
        """Dagster's history on another disk, as with PostgreSQL: else its own failure hides the message of the step."""
        home, away = self.deployment.settings.dagster_home, self.deployment.folder / "dagster_home"
        shutil.move(home, away)
        home.symlink_to(away, target_is_directory=True)
        try:
            yield
        finally:
            home.unlink()
            shutil.move(away, home)

    def _fill_at(self, place: str, moment: Callable[[Path], Callable[[], bool]], step: str) -> int:
        """Fill the disk at this moment until the refresh fails in `step` (its message begins with it)."""
        for _ in range(TRIES):
            message = self._refresh(place, moment(self.deployment.state))
            if message is not None and message.startswith(step):
                self.report(f"{place}: {message}")
                return 1
        self.findings.add(f"{place}: in {TRIES} refreshes the disk was never full in time; this place was not tested")
        return 0

    def _refresh(self, when: str, full_now: Callable[[], bool]) -> str | None:
        """A refresh whose disk becomes full, then one with room; the message of the first, None when it succeeded."""
        self.supply.land(ROUND_ROWS // 2)
        self.supply.log(ROUND_ROWS // 2)
        filled = False
        try:
            with self.deployment.start("refresh", "--json") as child:
                while child.running() and child.seconds() < LIMIT_SECONDS:
                    if full_now():
                        self.disk.fill()
                        filled = True
                        break
                    time.sleep(0.0005)
                code = child.wait(LIMIT_SECONDS)
                if filled:
                    self._expect_readable(when)
        finally:
            self.disk.empty()
        result = CommandResult(code, child.out, child.err, child.seconds())
        if code != 0:
            self._expect_clear(when, result)
        healing = self.deployment.run("refresh", "--json")
        check_refresh(healing, self.supply.expected, self.findings, f"{when}, with room again")
        return result.message if code != 0 else None

    def _expect_clear(self, when: str, result: CommandResult) -> None:
        self.findings.expect(result.code == 1, f"{when}: on a full disk it ended with {result.code}")
        self.findings.expect(
            bool(CLEAR.search(result.message)),
            f"{when}: the message does not say that the disk is full: {result.message!r}",
        )

    def _expect_readable(self, when: str) -> None:
        try:
            query(self.deployment.settings, "SELECT count(*) FROM core.sessions")
        except QueryError as error:
            self.findings.add(f"{when}: the serving copy cannot be read on a full disk: {error}")


def _after(seconds: float) -> Callable[[], bool]:
    begin = time.monotonic()
    return lambda: time.monotonic() - begin >= seconds


def _appears(pattern: str) -> Callable[[Path], Callable[[], bool]]:
    """The moment a new file of this pattern appears."""

    def of(state: Path) -> Callable[[], bool]:
        before = set(state.glob(pattern))
        return lambda: bool(set(state.glob(pattern)) - before)

    return of


def _run_begins(state: Path) -> Callable[[], bool]:
    """The moment another process than before holds the writer's lock for a run; landing is its first step."""
    before = WarehouseLock(state).holder()

    def now() -> bool:
        holder = WarehouseLock(state).holder()
        return "(run " in holder and holder != before

    return now


_PLACES: dict[str, tuple[Callable[[Path], Callable[[], bool]], str]] = {
    "landing": (_run_begins, "ingestion__landing_events: "),
    "refresh": (_appears("landing/_batches/log-*.json"), ""),
    "publish": (_appears(".serving.duckdb.*.part"), "serving__warehouse_copy: "),
}
"""When the disk becomes full, and the step whose message has to name it."""


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_inside(*json.loads(sys.argv[1]))))
