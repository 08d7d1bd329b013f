"""The journal of the live runner: rows of `occurrences`, messages of the outbox, faults, in the runner's transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from gtm_dagster.delivery.feed_items import retract_items
from gtm_dagster.delivery.message_outbox import Message, add_messages
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.message_payload import Started, payload_of, started_by
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend
from gtm_dagster.triggers.rule_state import Occurrence, RuleState
from gtm_dagster.triggers.state_store import Outcome
from gtm_dagster.triggers.step import NEVER_US
from gtm_dagster.triggers.trigger_event import TriggerEvent

PENDING = ("open", "held")
_started = msgspec.json.Decoder(Started).decode
Place = tuple[str, str]
"""A rule and the id of a start."""


class Row(Struct, gc=False):
    """A row of `occurrences` as a batch leaves it; `start` is JSON of Started."""

    person: str
    key: str
    outcome: str
    reason: str | None
    detail: str | None
    action_id: str | None
    started_us: int
    due_us: int | None
    received_us: int | None
    decided_us: int
    wall_us: int
    next_us: int | None
    start: str | None


class Decisions(Struct):
    """What a batch decided, counted: actions by (rule, channel), non-sends by (rule, reason), holds by reason, faults by rule.

    `waits_us`: from the receipt of the record that led to an action to the decision. `late_us`: of timers.
    """

    actions: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    non_sends: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    holds: Counter[str] = msgspec.field(default_factory=Counter)
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    waits_us: list[int] = msgspec.field(default_factory=list)


class OccurrenceJournal:
    """A Journal. `clock`: microseconds UTC of the machine. `seen` is given every outcome when it is decided."""

    def __init__(
        self,
        plain: Mapping[str, frozenset[str]],
        clock: Callable[[], int],
        seen: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.plain, self._clock, self._seen = plain, clock, seen
        self.purposes: Mapping[str, str] = {}
        self.forget()

    def forget(self) -> None:
        """Begin a batch."""
        self._event: TriggerEvent | None = None
        self._start: str | None = None
        self._ended: list[tuple[str, str, str | None, int]] = []
        self._rows: dict[Place, Row] = {}
        self._actions: list[Action] = []
        self._faults: list[tuple[str, str, str, int, str]] = []
        self._links: list[tuple[str, str]] = []
        self.decisions = Decisions()

    def reading(self, event: TriggerEvent | None) -> None:
        self._event, self._start = event, None

    def ended(self, rule: Rule, person: str, event: TriggerEvent) -> None:
        if rule.channel == "in_app":
            self._ended.append((person, rule.name, event.key(rule.key), event.at_us))

    def decided(self, at_us: int, person: str, what: Action | Hold | NonSend, started_us: int) -> None:
        if self._seen is not None:
            self._seen(Outcome(at_us, person, what))
        match what:
            case Action():
                row = self._row(person, what.key, "sent", at_us, started_us, what.trigger_event_id)
                row.action_id, row.due_us = what.action_id, what.due_us
                self._actions.append(what)
                self.decisions.actions[what.rule, what.channel] += 1
                if row.received_us is not None:
                    self.decisions.waits_us.append(row.wall_us - row.received_us)
                self._put((what.rule, what.trigger_event_id), row)
            case Hold():
                want = what.want
                row = self._row(person, want.key, "held", at_us, started_us, want.trigger_event_id)
                row.reason, row.due_us, row.next_us = what.reason, want.due_us, known_time(what.until_us)
                self.decisions.holds[what.reason] += 1
                self._put((want.rule.name, want.trigger_event_id), row)
            case NonSend():
                row = self._row(person, what.key, "not_sent", at_us, started_us, what.trigger_event_id)
                row.reason, row.detail, row.next_us = what.reason, what.detail or None, what.next_us
                self.decisions.non_sends[what.rule, what.reason] += 1
                self._put((what.rule, what.trigger_event_id), row)

    def moved(self, at_us: int, rule: Rule, person: str, before: RuleState, after: RuleState) -> None:
        known = before.open
        for each in after.open:
            if each not in known and each.held not in ("quiet", "behind"):
                self._put((rule.name, each.trigger_event_id), self._opened(at_us, rule, person, each))
                if each.held:
                    self.decisions.holds[each.held] += 1

    def linked(self, anonymous: str, user: str) -> None:
        self._links.append((user, anonymous))
        for row in self._rows.values():
            if row.person == anonymous:
                row.person = user
        self._ended = [(user if each[0] == anonymous else each[0], *each[1:]) for each in self._ended]

    def fault(self, rule: str, person: str, error: Exception) -> bool:
        event_id = "" if self._event is None else self._event.event_id
        self._faults.append((rule, person, event_id, self._clock(), repr(error)[:2000]))
        self.decisions.faults[rule] += 1
        return True

    def flush(self, con: sqlite3.Connection, spread_us: int = 0) -> None:
        """Write the batch. `spread_us`: between two messages of a channel, for a batch that decides what had piled up."""
        if self._links:
            for statement in (MOVE_OCCURRENCES, MOVE_MESSAGES, MOVE_ITEMS):
                con.executemany(statement, self._links)
        starts = {place: self._start_of(con, place) for action in self._actions if (place := _place(action))}
        con.executemany(PUT, [(*place, *_values(row)) for place, row in self._rows.items()])
        messages = [self._message(action, starts[_place(action)]) for action in self._actions]
        add_messages(con, messages)
        if spread_us:
            numbers: Counter[str] = Counter()
            for each in messages:
                con.execute(_LATER, (numbers[each.channel] * spread_us, each.action_id))
                numbers[each.channel] += 1
        if self._ended:
            retract_items(con, [row[0] for each in self._ended for row in con.execute(SHOWN, each)])
        if self._faults:
            con.executemany("INSERT INTO faults VALUES (?, ?, ?, ?, ?)", self._faults)
            con.executemany("UPDATE rules SET faults = faults + ? WHERE name = ?", [(n, name) for name, n in self.decisions.faults.items()])  # fmt: skip

    def _row(self, person: str, key: str, outcome: str, at_us: int, started_us: int, event_id: str) -> Row:
        event, start = self._event, None
        if event is not None and event.event_id == event_id and outcome != "not_sent":
            if self._start is None:
                self._start = msgspec.json.encode(started_by(event, self.plain)).decode()
            start = self._start
        received_us = None if event is None else event.received_us
        return Row(
            person, key, outcome, None, None, None, started_us, None, received_us, at_us, self._clock(), None, start
        )

    def _opened(self, at_us: int, rule: Rule, person: str, each: Occurrence) -> Row:
        row = self._row(person, each.key, "held" if each.held else "open", at_us, each.at_us, each.trigger_event_id)
        row.due_us, row.reason = each.due_us, each.held or None
        row.next_us = each.until_us if each.held else each.due_us + rule.grace_us
        return row

    def _put(self, place: Place, row: Row) -> None:
        earlier = self._rows.get(place)
        if earlier is not None:
            if earlier.outcome not in PENDING:
                return
            row.started_us = earlier.started_us
            row.due_us = earlier.due_us if row.due_us is None else row.due_us
            row.start = earlier.start if row.start is None else row.start
        if row.outcome == "not_sent":
            row.start = None
        self._rows[place] = row

    def _start_of(self, con: sqlite3.Connection, place: Place) -> Started | None:
        row = self._rows.get(place)
        text = None if row is None else row.start
        if text is None:
            stored = con.execute(
                "SELECT start FROM occurrences WHERE rule = ? AND trigger_event_id = ?", place
            ).fetchone()
            text = stored[0] if stored else None
        return None if text is None else _started(text)

    def _message(self, action: Action, started: Started | None) -> Message:
        row = self._rows[_place(action)]
        action = msgspec.structs.replace(action, person=row.person)
        received_us = started.received_us if started else row.received_us
        return Message(
            action_id=action.action_id,
            rule=action.rule,
            person=action.person,
            purpose=self.purposes[action.rule],
            channel=action.channel,
            target=action.target,
            payload=payload_of(action, started),
            expires_us=action.expires_us,
            received_us=action.at_us if received_us is None else received_us,
            decided_us=action.at_us,
            collapse_key=action.rule if action.channel == "slack" else None,
        )


def _place(action: Action) -> Place:
    return action.rule, action.trigger_event_id


def known_time(us: int) -> int | None:
    """When a start is asked again; None for those that wait for the log's end."""
    return None if us >= NEVER_US else us


def _values(row: Row) -> tuple[object, ...]:
    return msgspec.structs.astuple(row)


PUT = """
INSERT INTO occurrences (rule, trigger_event_id, person, key, outcome, reason, detail, action_id, started_us, due_us,
  received_us, decided_us, wall_us, next_us, start) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (rule, trigger_event_id) DO UPDATE SET person = excluded.person, outcome = excluded.outcome,
  reason = excluded.reason, detail = excluded.detail, action_id = excluded.action_id,
  due_us = coalesce(excluded.due_us, due_us), received_us = excluded.received_us, decided_us = excluded.decided_us,
  wall_us = excluded.wall_us, next_us = excluded.next_us,
  start = CASE excluded.outcome WHEN 'not_sent' THEN NULL ELSE coalesce(excluded.start, start) END
WHERE outcome IN ('open', 'held')
"""
MOVE_OCCURRENCES = "UPDATE occurrences SET person = ? WHERE person = ?"
MOVE_MESSAGES = "UPDATE outbox SET person = ? WHERE person = ? AND status = 'due'"
MOVE_ITEMS = "UPDATE feed SET person = ? WHERE person = ?"
SHOWN = """
SELECT action_id FROM occurrences
WHERE person = ?1 AND rule = ?2 AND outcome = 'sent' AND (?3 IS NULL OR key = ?3) AND started_us <= ?4
"""
_LATER = "UPDATE outbox SET next_us = next_us + ? WHERE action_id = ?"
