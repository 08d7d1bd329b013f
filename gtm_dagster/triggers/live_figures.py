"""What the live runner counted since it started, and how it stands: for metrics, read by another thread."""

from __future__ import annotations

import sqlite3
import time
from bisect import bisect_left
from collections import Counter

from gtm_dagster.triggers.occurrence_journal import Decisions
from gtm_dagster.triggers.rule_engine import RuleEngine

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 3600.0)


class LiveFigures:
    """`waits`: actions by the first of SECONDS that they took at most, from the receipt of the event to the decision.

    `open`, `held`, `statuses`, `channels`, `blind`: by rule. `error`: why the runner does not run; `part_errors`: the same of
    each part of `gtm trigger run`.
    """

    def __init__(self) -> None:
        self.events = self.sent = 0
        self.actions: Counter[tuple[str, str]] = Counter()
        self.non_sends: Counter[tuple[str, str]] = Counter()
        self.holds: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.waits = [0] * (len(SECONDS) + 1)
        self.waited_seconds = self.busy_seconds = 0.0
        self.lag_seconds, self.lag_events = 0.0, 0
        self._count_at = 0.0
        self.open: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.statuses: dict[str, str] = {}
        self.channels: dict[str, str] = {}
        self.blind: dict[str, bool] = {}
        self.rules_error: str | None = None
        self.error: str | None = None
        self.part_errors: dict[str, str] = {}

    def lag(self, us: int, events: int) -> None:
        """How far behind the log's end it is."""
        self.lag_seconds, self.lag_events = max(us, 0) / 1e6, max(events, 0)

    def take(self, decisions: Decisions, events: int, seconds: float) -> None:
        """A batch is committed."""
        self.events += events
        self.busy_seconds += seconds
        self.actions.update(decisions.actions)  # `+=` would look at every count there is, a hundred times a second
        self.sent += decisions.actions.total()
        self.non_sends.update(decisions.non_sends)
        self.holds.update(decisions.holds)
        self.faults.update(decisions.faults)
        for us in decisions.waits_us:
            wait = max(us, 0) / 1e6
            self.waits[bisect_left(SECONDS, wait)] += 1
            self.waited_seconds += wait

    def state(self, con: sqlite3.Connection, engine: RuleEngine, rules_error: str | None, wall_us: int) -> None:
        """How the rules stand now. What is open is counted seldom enough to take a fifth of a percent of the time."""
        if time.monotonic() >= self._count_at:
            began = time.monotonic()
            pending = con.execute(
                "SELECT rule, outcome, count(*) FROM occurrences WHERE outcome IN ('open', 'held') GROUP BY rule, outcome"
            ).fetchall()
            self.open = {rule: n for rule, outcome, n in pending if outcome == "open"}
            self.held = {rule: n for rule, outcome, n in pending if outcome == "held"}
            self._count_at = began + 500 * (time.monotonic() - began)
        self.statuses = {
            name: "degraded" if name in engine.stopped else "paused" if name in engine.paused else "active"
            for name in engine.rules
        }
        self.channels = {rule.name: rule.channel for rule in engine.rules.values()}
        self.blind = {
            rule.name: engine.watch_of(rule).is_blind(wall_us)
            for rule in engine.rules.values()
            if rule.kind == "absent"
        }
        self.rules_error = rules_error
