"""Live rules: from the event's commit to the row in the outbox, the lateness of timers, and what a core can do.

`python -m benchmarks.triggers` prints the table of docs/benchmarks.md: at a steady rate with 20 and 100 rules (the log's
writer is this process, the runner another one), then a backlog as fast as it goes, then a state file with `--states` rows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.triggers.live_runner import LiveRunner, machine_clock
from gtm_dagster.triggers.outcomes import Action
from gtm_dagster.triggers.rule_state import Decided, RuleState, encoded
from gtm_dagster.triggers.rules_watch import RulesWatch
from gtm_dagster.triggers.runner_thread import RunnerThread
from gtm_dagster.triggers.state_store import Outcome

NAMES = (
    "page_viewed", "signup_started", "signup_completed", "onboarding_started", "onboarding_completed", "first_value_reached",
    "feature_used", "pricing_viewed", "demo_requested", "checkout_started", "trial_started", "trial_expired",
    "subscription_cancelled", "churn_flagged", "lead_created",
)  # fmt: skip
PERSONS = 20_000
RARE = "where: {context.country: {in: [LI]}}"
"""One event in 50."""


def rules_text(n: int, *, few_messages: bool = False) -> str:
    """A third of the rules counts, a third waits for what does not happen, a third acts at once, on one event in 50.

    Of those that wait, every tenth does so for 3 s, and most of what they wait for does not happen: of 100 rules they bring
    four of five messages. `few_messages`: they begin with one event in 50, too.
    """
    lines = ["rules:"]
    for number in range(n):
        on, other = NAMES[number % len(NAMES)], NAMES[(number + 4) % len(NAMES)]
        kind, is_short = number % 3, number % 10 == 1
        start = f"{RARE}, " if few_messages and is_short else ""
        body = (
            f"count: {{n: 3, within: 10m}}, reentry: {{cooldown: 1h}}" if kind == 0 else  # noqa: F541
            f"{start}absent: {{event: {other}, within: {'3s' if is_short else '10m'}, grace: 1s}}, reentry: {{cooldown: 1h}}" if kind == 1 else
            f"{RARE}, reentry: {{cooldown: 10s}}"
        )  # fmt: skip
        lines.append(f"  r{number:03}: {{on: {on}, {body}, purpose: service, do: {{webhook: w}}}}")
    return "\n".join(lines) + "\n"


def records(n: int, seed: int, received_us: int) -> list[Record]:
    """Events of random persons, all at one moment."""
    rng = random.Random(seed)
    return [
        Record(
            write_key="k", event_id=f"{seed}-{number}", event_name=rng.choice(NAMES), event_us=received_us,
            received_us=received_us, user_id=f"user-{rng.randrange(PERSONS):08}", properties="{}",
            consent='{"analytics":true}', device_type="web", country="LI" if rng.random() < 0.02 else "DE",
        )
        for number in range(n)
    ]  # fmt: skip


class Committed(LiveRunner):
    """Notes when each action was committed: (kind, start or due, commit), microseconds."""

    noted: ClassVar[list[tuple[str, str, int, int]]] = []
    pending: ClassVar[list[Action]] = []

    def _transaction(self, *values: object, **options: object) -> bool:
        self.pending.clear()
        more = super()._transaction(*values, **options)  # type: ignore[arg-type]
        now = machine_clock()
        for each in self.pending:
            late = int(each.rule[1:]) % 3 == 1
            self.noted.append(("timer" if late else "event", each.trigger_event_id, each.due_us, now))
        return more


def follow(folder: Path, seconds: float) -> None:
    """Run live in this process; prints what was noted, and the CPU seconds of `seconds`."""

    def seen(outcome: Outcome) -> None:
        if isinstance(outcome.what, Action):
            Committed.pending.append(outcome.what)

    log = SqliteEventLog(folder / "events.db")
    watch = RulesWatch(folder / "triggers.yaml", load_plan())
    with RunnerThread(lambda: Committed(log, log.path, folder / "triggers.db", watch, seen=seen)) as thread:
        time.sleep(3.0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        sys.stdin.readline()
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        took = time.monotonic() - began
        result = {
            "cpu": cpu,
            "wall": took,
            "events": thread.figures.events,
            "noted": Committed.noted,
            "error": thread.figures.error,
        }
    sys.stdout.write(json.dumps(result) + "\n")
    log.close()


def steady(rate: int, n_rules: int, seconds: float) -> None:
    """A steady rate: latency of events and timers, and the share of a core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "triggers.yaml").write_text(rules_text(n_rules))
        log = SqliteEventLog(folder / "events.db")
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.triggers", "--follow", name, "--seconds", str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdin and child.stdout
        child.stdout.readline()
        child.stdin.write("go\n")
        child.stdin.flush()
        committed: dict[str, int] = {}
        began, number, size = time.monotonic(), 0, max(1, rate // 50)
        while time.monotonic() - began < seconds:
            with log.receiving():
                batch = records(size, number, machine_clock())
                log.append(batch)
            now = machine_clock()
            committed |= {record.event_id or "": now for record in batch}
            number += 1
            time.sleep(max(0.0, began + number * size / rate - time.monotonic()))
        time.sleep(2.0)
        child.stdin.write("stop\n")
        child.stdin.flush()
        result = json.loads(child.stdout.readline())
        child.wait()
        log.close()
    events = sorted(
        (now - committed[start]) / 1e3
        for kind, start, _, now in result["noted"]
        if kind == "event" and start in committed
    )
    timers = sorted((now - due - 1_000_000) / 1e3 for kind, _, due, now in result["noted"] if kind == "timer")
    say(
        f"{rate} events/s, {n_rules} rules: committed -> outbox p50 {at(events, 0.5):.0f} ms, p99 {at(events, 0.99):.0f} ms "
        f"({len(events)} actions); timers late p50 {at(timers, 0.5):.0f} ms, p99 {at(timers, 0.99):.0f} ms ({len(timers)}); "
        f"{result['cpu'] / result['wall']:.1%} of a core, {len(committed) / max(result['cpu'], 1e-9):,.0f} events a CPU second"
    )


def backlog(n_rules: int, events: int) -> None:
    """As fast as it goes: events a CPU second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "triggers.yaml").write_text(rules_text(n_rules))
        drained(folder, n_rules, events, f"backlog of {events:,} events, {n_rules} rules")


def drained(folder: Path, n_rules: int, events: int, title: str) -> None:
    base = machine_clock()
    now = [base]
    with SqliteEventLog(folder / "events.db") as log:
        watch = RulesWatch(folder / "triggers.yaml", load_plan())
        runner = LiveRunner(log, log.path, folder / "triggers.db", watch, clock=lambda: now[0])
        runner.drain()
        for number in range(events // 100):
            log.append(records(100, number, base + number * 20_000))
        now[0] = base + 9_000_000  # the oldest is not behind: every want is admitted at once
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        runner.drain()
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        taken = runner.figures.events
        runner.close()
    say(
        f"{title}: {taken / cpu:,.0f} events a CPU second, {taken / wall:,.0f} a second of wall; "
        f"{sum(runner.figures.actions.values()):,} actions; peak {after.ru_maxrss / 1e3:,.0f} MB"
    )


def large(states: int, n_rules: int = 100) -> None:
    """A file with that many states, then events of its persons, in a process that did not write it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "triggers.yaml").write_text(rules_text(n_rules))
        build(folder, states, n_rules)
        size = (folder / "triggers.db").stat().st_size
        say(f"{states:,} states: {size / 1e6:,.0f} MB, {size / states:.0f} bytes a state")
        subprocess.run([sys.executable, "-m", "benchmarks.triggers", "--drain", name], check=True)


def build(folder: Path, states: int, n_rules: int) -> None:
    from gtm_dagster.triggers.trigger_db import open_trigger_db

    con = open_trigger_db(folder / "triggers.db")
    con.execute("PRAGMA synchronous = OFF")
    con.execute("BEGIN")
    persons = states // n_rules
    con.executemany("INSERT INTO persons VALUES (?, ?, NULL, NULL)", ((n + 1, f"user-{n:08}") for n in range(persons)))
    base = machine_clock()

    def rows() -> Iterator[tuple[int, str, bytes]]:
        for person in range(1, persons + 1):
            blob = encoded(RuleState(decided=(Decided(base - person, f"0190b2c4-7a1e-7cc3-98c4-{person:012}"),)))
            for rule in range(n_rules):
                yield person, f"r{rule:03}", blob

    con.executemany("INSERT INTO states (person, rule, state) VALUES (?, ?, ?)", rows())
    con.execute("COMMIT")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()


def at(values: list[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)] if values else float("nan")


def say(text: str) -> None:
    sys.stdout.write(f"{text}; load {os.getloadavg()[0]:.1f}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--states", type=int, default=10_000_000)
    parser.add_argument("--only", choices=("steady", "backlog", "states"))
    parser.add_argument("--follow", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--drain", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.follow:
        follow(given.follow, given.seconds)
    elif given.drain:
        drained(given.drain, 100, 40_000, "events over them")
    else:
        if given.only in (None, "steady"):
            for n_rules in (20, 100):
                steady(given.rate, n_rules, given.seconds)
        if given.only in (None, "backlog"):
            for n_rules in (20, 100):
                backlog(n_rules, 40_000)
        if given.only in (None, "states"):
            large(given.states)


if __name__ == "__main__":
    main()
