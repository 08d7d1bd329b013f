"""Rules run live: a reader of the event log whose states, timers, messages and position move in one transaction.

It has a file and a position of its own, so that a guard that catches up delays no trigger, and a kill at any moment leaves
either all of a batch or nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

from gtm_dagster.eventlog import EventLog, Position
from gtm_dagster.eventlog.receipts import Settled
from gtm_dagster.eventlog.tail_reader import Tail, TailReader
from gtm_dagster.triggers import runner_rows as rows
from gtm_dagster.triggers.erased_persons import Tombstones
from gtm_dagster.triggers.heard_keys import heard_keys
from gtm_dagster.triggers.heartbeat_watch import BLIND_AFTER_US, Watch
from gtm_dagster.triggers.live_figures import LiveFigures
from gtm_dagster.triggers.log_records import COLUMNS, trigger_events
from gtm_dagster.triggers.message_payload import plain_properties
from gtm_dagster.triggers.occurrence_journal import OccurrenceJournal
from gtm_dagster.triggers.rule_engine import RuleEngine
from gtm_dagster.triggers.rules_watch import RulesWatch
from gtm_dagster.triggers.sqlite_store import CACHED_PERSONS, CACHED_STATES, SqliteStore
from gtm_dagster.triggers.state_store import Outcome
from gtm_dagster.triggers.step import NEVER_US
from gtm_dagster.triggers.trigger_db import open_trigger_db

CONSUMER = "triggers"
BATCH_RECORDS = 500
BATCH_SECONDS = 0.25
"""A transaction takes this many records, and ends after this time wherever it is."""
BEHIND_US = 10_000_000
LOOK_SECONDS, COMMIT_SECONDS, PRUNE_SECONDS = 1.0, 60.0, 600.0
SPREAD_US = 100_000
"""Between two messages of a channel among those that had piled up: ten a second."""
FAULTS_UNTIL_DEGRADED = 5
OCCURRENCES_KEPT_US, PRUNED_AT_ONCE = 400 * 86_400 * 1_000_000, 2000
_log = logging.getLogger("gtm_dagster.triggers")


def machine_clock() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


class LiveRunner:
    """Follows `log` for the rules of `watch`; one at a time a deployment (hold the StreamLock).

    `warm_us`: at the very first start, records received in this time before are read to fill states, and nothing is sent for
    them; without it the first start begins at the log's end. `seen` is given every outcome, also of a batch that then fails.
    `turn`: is held while it writes, by a deliverer of the same process too: to wait for it is faster than for SQLite's lock.
    """

    def __init__(
        self, log: EventLog, log_path: Path, path: Path, watch: RulesWatch, *, warm_us: int = 0,
        clock: Callable[[], int] = machine_clock, seen: Callable[[Outcome], None] | None = None,
        look_seconds: float = LOOK_SECONDS, persons_cached: int = CACHED_PERSONS, states_cached: int = CACHED_STATES,
        turn: threading.Lock | None = None,
    ) -> None:  # fmt: skip
        self.figures, self._settled = LiveFigures(), Settled(log_path, clock)
        self.rounds, self.rows_written, self._look_seconds, self.turn = 0, 0, look_seconds, turn or threading.Lock()
        self.path, self._log, self._watch, self._clock, self._warm_us = path, log, watch, clock, warm_us
        self._tail = TailReader(log_path)
        self._con = open_trigger_db(path)
        self._store = SqliteStore(self._con, persons_cached, states_cached)
        self._journal = OccurrenceJournal(plain_properties(watch.plan), clock, seen)
        self._committed_at = self._pruned_at = time.monotonic()
        self.load()

    def load(self) -> None:
        """Take up what is stored."""
        if self._con.in_transaction:
            self._con.execute("ROLLBACK")
        self._con.execute("DELETE FROM shards")  # of gtm trigger run, if it had the file before
        self._store.forget()
        self._journal.forget()
        self._tombstones = Tombstones()
        self._engine = RuleEngine(rows.stored_rules(self._con), self._store, self._journal)
        self._engine.watches = rows.stored_watches(self._con)
        for event, keys in rows.stored_senders(self._con).items():
            self._engine.senders[event] |= keys
        found = rows.stored_position(self._con)
        self._at = None if found is None else found[0]
        self._engine.clock_us = -NEVER_US if found is None else found[1]
        notes = rows.notes(self._con)
        self._engine.warming = notes.get("warming") == "1"
        self._names, self._unwatched = set[str](), set[str]()
        self._releasing = self._engine.behind = notes.get("behind") == "1"
        self._applied: object = None
        self._heard: dict[str, int] = {}
        self._looked_at: float | None = None
        self._beats_us = self._noted_us = int(notes.get("beats_us", "0"))

    @property
    def position(self) -> Position | None:
        """Where it stands."""
        return self._at

    def drain(self) -> None:
        """Take what the log holds now, and what is due now."""
        self._looked_at = None
        while self.round():
            pass
        self.commit_offset()

    def round(self) -> bool:
        """One transaction, or none when there is nothing to do. True when there is more to do at once."""
        wall_us = self._clock()
        self._look(wall_us)
        settled_us = self._settled.us()  # before the log is read: it then has what was received before this moment
        at = self._at
        assert at is not None  # noqa: S101 - _look found one
        tail = self._tail.read(at.seq, BATCH_RECORDS, COLUMNS)
        if tail.log_id != at.log_id or (tail.rows and tail.rows[0][0] != at.seq + 1) or tail.end < at.seq:
            self._looked_at = None  # the log is another one, or lacks records: the next look says what becomes of that
            return True
        at_end = not tail.rows or tail.rows[-1][0] >= tail.end
        next_us = self._store.next_wake()
        due = next_us is not None and next_us <= settled_us
        oldest_us = min(tail.rows[0][1] if tail.rows else wall_us, wall_us if next_us is None else next_us)
        waits = at_end and (self._engine.behind or self._releasing or self._heard_by(settled_us))
        self.figures.lag(0 if at_end else wall_us - tail.rows[0][1], tail.end - at.seq)
        self.rounds += 1
        if not (tail.rows or due or waits or self._changed()):
            return False
        try:
            with self.turn:
                return self._transaction(tail, at, settled_us, at_end, is_behind=oldest_us < wall_us - BEHIND_US)
        except BaseException:
            self.load()
            raise

    def _transaction(self, tail: Tail, at: Position, settled_us: int, at_end: bool, *, is_behind: bool) -> bool:
        began, engine, journal = time.monotonic(), self._engine, self._journal
        has_time = lambda: time.monotonic() - began < BATCH_SECONDS  # noqa: E731
        self._con.execute("BEGIN IMMEDIATE")
        if self._tombstones.look(self._con):
            self._store.forget()
        self._change_rules()
        was_behind = engine.behind or self._releasing
        engine.behind = engine.behind or (is_behind and not self._releasing)
        senders = sum(map(len, engine.senders.values()))
        last, received_us, whole = at.seq, at.received_us, True
        # Several processes take events, so that one received earlier may stand further on: timers between them wait for it.
        earliest = list(accumulate((row[1] for row in reversed(tail.rows)), min, initial=settled_us))
        events = [*zip(trigger_events(tail.rows, self._names), tail.rows, strict=True)]
        engine.look_ahead(event for (_, event), _ in events if event and not self._tombstones.cover(event))
        for (offset, event), row in events:
            engine.settled_us = earliest.pop()
            if not has_time() or not engine.fire(row[1], has_time):
                whole = False
                break
            if event is not None and not self._tombstones.cover(event):
                engine.receive(event)
            last, received_us = offset, row[1]
        engine.settled_us, spread_us = settled_us, 0
        if at_end and whole:
            spread_us = SPREAD_US if engine.behind or self._releasing else 0
            whole = self._at_end(settled_us, has_time)
        self._degrade()
        self._store.flush()
        journal.flush(self._con, spread_us)
        if sum(map(len, engine.senders.values())) != senders:
            rows.store_senders(self._con, engine.senders)
        to = Position(at.log_id, last, received_us)
        rows.store_position(self._con, to, engine.clock_us)
        if self._beats_us != self._noted_us:
            rows.note(self._con, "beats_us", str(self._beats_us))
        if (engine.behind or self._releasing) != was_behind:
            rows.note(self._con, "behind", None if was_behind else "1")
        self._con.execute("COMMIT")
        self._at, self._noted_us, self.rows_written = to, self._beats_us, self._con.total_changes
        self.figures.take(journal.decisions, last - at.seq, time.monotonic() - began)
        journal.forget()
        return not whole or not at_end

    def _at_end(self, settled_us: int, has_time: Callable[[], bool]) -> bool:
        """What was received before `settled_us` is read. False: there is more to fire."""
        engine = self._engine
        if engine.warming:
            engine.warming = False
            rows.note(self._con, "warming", None)
        news: dict[str, Watch] = {}
        for key, heard_us in sorted(self._heard_by(settled_us).items(), key=lambda item: item[1]):
            if not engine.behind and not engine.fire(heard_us, has_time):
                break
            before = engine.watches.get(key, Watch())
            # While nobody looked, silence says nothing: what the key sent up to this beat stands before the log's end.
            is_ours = key in self._unwatched and heard_us - (before.heard_us or 0) > BLIND_AFTER_US
            engine.watches[key] = news[key] = Watch(heard_us) if is_ours else before.heard(heard_us)
            self._unwatched.discard(key)
            del self._heard[key]
        rows.store_watches(self._con, news)
        if engine.behind or self._releasing:
            self._releasing = not engine.caught_up(settled_us, has_time)
            return not self._releasing
        return engine.fire(settled_us, has_time)

    def _heard_by(self, settled_us: int) -> dict[str, int]:
        """Heartbeats that no watch has yet and that the log's end is behind of."""
        return {key: us for key, us in self._heard.items() if us <= settled_us}

    def _look(self, wall_us: int) -> None:
        """Once a second: whether the log goes on, who was heard, what the file of rules and people say."""
        looked_at = None if self._at is None else self._looked_at
        if looked_at is not None and time.monotonic() - looked_at < self._look_seconds:
            return
        self._tail.check_file()
        self._resume()
        was_away = wall_us - self._beats_us > BLIND_AFTER_US
        self._beats_us = wall_us
        for key, heard_us in heard_keys(self._log.heartbeats()).items():
            if heard_us > (self._engine.watches.get(key, Watch()).heard_us or 0):
                self._heard[key] = heard_us
                if was_away:
                    self._unwatched.add(key)
        self._watch.look()
        self._statuses()
        if (self._watch.error or "") != rows.notes(self._con).get("rules_error", ""):
            rows.note(self._con, "rules_error", self._watch.error)
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self.commit_offset()
        if time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            rows.end_old_rows(self._con, wall_us - OCCURRENCES_KEPT_US, PRUNED_AT_ONCE)
        self.figures.state(self._con, self._engine, self._watch.error, wall_us)
        self._looked_at = time.monotonic()

    def _resume(self) -> None:
        """Take up the log where it goes on from the position; the first time at its end. Raises LogChangedError."""
        log_id = self._log.log_id
        if self._at is None:
            end = self._log.last_seq()
            seq = min(self._log.offset_before(self._clock() - self._warm_us), end) if self._warm_us else end
            self._at = Position(log_id, seq)
            self._con.execute("BEGIN IMMEDIATE")
            rows.store_position(self._con, self._at, self._engine.clock_us)
            if self._warm_us:
                rows.note(self._con, "warming", "1")
                self._engine.warming = True
            self._con.execute("COMMIT")
            return
        if (log_id, seq := self._log.resume(self._at)) != (self._at.log_id, self._at.seq):
            self._at = Position(log_id, seq)

    def _changed(self) -> bool:
        return self._watch.rules is not None and self._watch.rules is not self._applied

    def _change_rules(self) -> None:
        """In the transaction that moves the position, so that a deploy is before or behind every record."""
        if self._changed() and self._watch.rules is not None:
            self._engine.change_rules(self._watch.rules)
            rows.store_rules(self._con, self._watch.rules)
            self._applied = self._watch.rules
            self._statuses()
        elif self._names:
            return
        running = self._engine.rules.values()
        self._names = {name for rule in running for name in rule.events}
        self._journal.purposes = {rule.name: rule.purpose for rule in running}

    def _statuses(self) -> None:
        found = rows.rule_statuses(self._con)
        self._engine.paused = frozenset(name for name, (status, _) in found.items() if status == "paused")
        self._engine.stopped = frozenset(name for name, (status, _) in found.items() if status == "degraded")

    def _degrade(self) -> None:
        """A rule that raised too often stops: what it did not see might have ended what is open."""
        for name, n in self._journal.decisions.faults.items():
            _, faults = rows.rule_statuses(self._con).get(name, ("", 0))
            if faults + n >= FAULTS_UNTIL_DEGRADED and name not in self._engine.stopped:
                _log.error("triggers: rule %s raised %d times, so it stops; see `gtm trigger status`", name, faults + n)
                self._engine.drop(name, "fault", "the rule is stopped")
                self._engine.stopped |= {name}
                rows.set_status(self._con, name, "degraded")

    def changes(self) -> int:
        """Another number once somebody wrote to the log."""
        return self._tail.changes()

    def is_due(self) -> bool:
        """Whether a timer is."""
        next_us = self._store.next_wake()
        return next_us is not None and next_us <= self._clock() and next_us <= self._settled.us()

    def close(self) -> None:
        self._tail.close()
        self._con.close()

    def commit_offset(self) -> None:
        """Say in the log that nobody here needs what stands before the position any more."""
        self._committed_at = time.monotonic()
        if self._at is not None:
            self._log.commit(CONSUMER, self._at.seq)
