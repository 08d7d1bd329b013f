"""The demo's rules over the last days of its traffic, each event as if it were received when it happened.

The engine, the journal and the feed are those of `gtm stream`; the clock is the traffic's, plus what each decision really
takes. Messages end in the feed of `triggers.db`: there is no destination, and nothing is sent. Afterwards the rules stand at
the end of the log, where `gtm dev --demo` takes them up.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing

import pyarrow.compute as pc
from msgspec.structs import replace

from gtm_dagster.delivery.message_store import MessageStore
from gtm_dagster.delivery.message_taking import Taking
from gtm_dagster.delivery.worker_wiring import Wiring
from gtm_dagster.demo.planted_rules import write_rules
from gtm_dagster.eventlog import EventLog, Position
from gtm_dagster.eventlog.tail_reader import TailReader
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy.plan import Plan
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.consent_at_delivery import refused_meanwhile
from gtm_dagster.triggers.log_records import COLUMNS, trigger_events
from gtm_dagster.triggers.message_payload import plain_properties
from gtm_dagster.triggers.occurrence_journal import OccurrenceJournal
from gtm_dagster.triggers.past_events import Past, events_of, read_past
from gtm_dagster.triggers.rule_engine import RuleEngine
from gtm_dagster.triggers.rules_file import load_rules
from gtm_dagster.triggers.runner_rows import store_position, store_rules, stored_position
from gtm_dagster.triggers.sqlite_store import SqliteStore
from gtm_dagster.triggers.target_lint import templates_beside
from gtm_dagster.triggers.trigger_db import open_trigger_db, trigger_db_path
from gtm_dagster.triggers.trigger_event import TriggerEvent

DAYS = 14
"""Of history that the rules see: enough for a goal of three days and a cooldown of seven."""
_DAY_US = 86_400_000_000


def replay_rules(settings: Settings, plan: Plan, log: EventLog) -> Counter[str]:
    """Run the rules over the traffic's last DAYS, unless they ran before; returns messages (`sent`) and starts without one
    (`not_sent`) as `triggers.db` has them. One transaction: killed on its way, nothing of it is there.
    """
    rules = load_rules(write_rules(settings.state_dir), plan)
    with closing(open_trigger_db(trigger_db_path(settings.state_dir))) as con:
        if stored_position(con) is None:
            con.execute("BEGIN IMMEDIATE")
            try:
                _replay(con, settings, plan, log, rules)
                con.execute("COMMIT")
            except BaseException:
                con.execute("ROLLBACK")
                raise
        return Counter(dict(con.execute("SELECT outcome, count(*) FROM occurrences GROUP BY outcome").fetchall()))


def pass_over(settings: Settings, log: EventLog) -> None:
    """Put the rules at the end of the log: the visitors of the guard's drill get no messages, as no table keeps them."""
    with closing(open_trigger_db(trigger_db_path(settings.state_dir))) as con:
        if (found := stored_position(con)) is not None:
            store_position(con, Position(log.log_id, log.last_seq()), found[1])


def _replay(con: sqlite3.Connection, settings: Settings, plan: Plan, log: EventLog, rules: tuple[Rule, ...]) -> None:
    names = {event for rule in rules for event in rule.events}
    end = Position(log.log_id, log.last_seq())
    events = [*_landed(settings, names), *_logged(settings, names, end.seq)]
    events.sort(key=lambda event: (event.received_us, event.event_id))
    clock = _Clock()
    store = SqliteStore(con)
    journal = OccurrenceJournal(plain_properties(plan), clock.us)
    journal.purposes = {rule.name: rule.purpose for rule in rules}
    engine = RuleEngine(rules, store, journal)
    templates = templates_beside(settings.state_dir / "demo" / "triggers.yaml")
    wiring = Wiring((), {}, templates, refused_meanwhile, feed_days=settings.feed.days, clock_us=clock.us)
    taking = Taking(MessageStore(con), wiring, {})
    store_rules(con, rules)
    for event in events:
        while (due_us := store.next_wake()) is not None and due_us <= event.received_us:
            clock.stands_at(due_us)  # each timer at its own moment
            engine.advance(due_us)
            _deliver(con, store, journal, taking, clock)
        clock.stands_at(event.received_us)
        engine.receive(event)
        _deliver(con, store, journal, taking, clock)
    store.flush()
    journal.flush(con)
    store_position(con, end, engine.clock_us)


def _deliver(
    con: sqlite3.Connection, store: SqliteStore, journal: OccurrenceJournal, taking: Taking, clock: _Clock
) -> None:
    """Where something was decided to be sent, put it into the feed."""
    if not journal.decisions.actions:
        return
    store.flush()
    journal.flush(con)
    journal.forget()
    while due := taking.due(clock.us()):
        taking.take(due, clock.us())


def _landed(settings: Settings, names: set[str]) -> Iterable[TriggerEvent]:
    past = read_past(settings, names)
    if past.table is None or past.last_us is None:
        return ()
    newer = pc.greater(past.table["received_us"], past.last_us - DAYS * _DAY_US)
    return events_of(Past(past.table.filter(newer), past.first_us, past.last_us))


def _logged(settings: Settings, names: set[str], end: int) -> Iterable[TriggerEvent]:
    """What was sent live, as if it were received when it happened: it was of the last day, and sent in a few seconds."""
    if settings.event_log is not None:  # a topic has the log, and `gtm stream` runs no rule of it
        return
    with TailReader(settings.log_path) as tail:
        rows = tail.read(0, end, COLUMNS).rows
    for _, event in trigger_events(rows, names):
        if event is not None:
            yield replace(event, received_us=event.at_us)


class _Clock:
    """The traffic's clock: it stands at a moment, and goes on as the machine's does from there."""

    def __init__(self) -> None:
        self.stands_at(0)

    def stands_at(self, us: int) -> None:
        """It is `us` now (microseconds UTC)."""
        self._us, self._since = us, time.monotonic_ns()

    def us(self) -> int:
        """What it says now."""
        return self._us + (time.monotonic_ns() - self._since) // 1000
