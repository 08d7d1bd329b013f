"""States, timers, profiles, ledgers and links in `triggers.db`, with the newest persons in memory.

What changes stays in memory until `flush`, which the runner calls in the transaction that moves its position; `forget`
drops all of it, for a transaction that failed.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gtm_dagster.triggers.admit import Ledger
from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.person_rows import NO_STATE, PersonEntry, StateRow, stored_persons, stored_states
from gtm_dagster.triggers.rule_state import EMPTY, RuleState, decoded, encoded
from gtm_dagster.triggers.state_store import Place

CACHED_STATES = 40_000
CACHED_PERSONS = 20_000
CACHED_LINKS = 20_000
_PERSONS_AT_ONCE = 200


class SqliteStore:
    """A StateStore on the connection of a runner, which is in a transaction whenever something is written."""

    def __init__(self, con: sqlite3.Connection, persons: int = CACHED_PERSONS, states: int = CACHED_STATES) -> None:
        self._con, self._most_persons, self._most_states = con, persons, states
        self.forget()

    def forget(self) -> None:
        """Take everything from the file again."""
        self._persons: OrderedDict[str, PersonEntry] = OrderedDict()
        self._last: tuple[str, PersonEntry] | None = None
        self._users: OrderedDict[str, str | None] = OrderedDict()
        self._dirty_states: dict[str, PersonEntry] = {}
        self._dirty_persons: set[str] = set()
        self._new_links: dict[str, str] = {}
        self._cached_states = 0
        self._earliest: int | None = None
        self._knows_earliest = False

    def expect_all(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Look up what is not in memory of these persons and of their rules, in a statement each."""
        absent = [person for person in wanted if person not in self._persons]
        self._persons.update(stored_persons(self._con, absent))
        places: list[tuple[int | None, str]] = []
        entries: dict[int | None, PersonEntry] = {}
        for person, rules in wanted.items():
            if not (entry := self._persons[person]).whole:
                entries[entry.id] = entry
                places += ((entry.id, rule) for rule in rules if rule not in entry.states)
        for (id, rule), row in stored_states(self._con, places):
            self._cache(entries[id], rule, row)

    def expect(self, person: str, rules: Sequence[str]) -> None:
        entry = self._person(person)
        if entry.whole:
            return
        missing = [(entry.id, rule) for rule in rules if rule not in entry.states]
        if len(missing) > 1:
            for (_, rule), row in stored_states(self._con, missing):
                self._cache(entry, rule, row)

    def state(self, rule: str, person: str) -> RuleState:
        entry = self._person(person)
        row = entry.states.get(rule)
        if row is None:
            if entry.whole:
                return EMPTY
            row = self._state(rule, entry)
        return row[0]

    def set_state(self, rule: str, person: str, state: RuleState, wake_us: int | None) -> None:
        entry = self._person(person)
        before = entry.states.get(rule)
        if before is None:
            before = self._state(rule, entry)
        if before[1] == wake_us and (before[0] is state or before[0] == state):
            return
        entry.states[rule] = (state, wake_us)
        entry.changed.add(rule)
        self._dirty_states[person] = entry
        if self._knows_earliest:
            if wake_us is not None and (self._earliest is None or wake_us < self._earliest):
                self._earliest = wake_us
            elif before[1] is not None and before[1] == self._earliest and wake_us != before[1]:
                self._knows_earliest = False

    def ledger(self, person: str) -> Ledger:
        return self._person(person).ledger

    def set_ledger(self, ledger: Ledger) -> None:
        self._person(ledger.person).ledger = ledger
        self._dirty_persons.add(ledger.person)

    def profile(self, person: str) -> Profile:
        return self._person(person).profile

    def set_profile(self, person: str, profile: Profile) -> None:
        entry = self._person(person)
        if entry.profile != profile:
            entry.profile = profile
            self._dirty_persons.add(person)

    def user_of(self, anonymous: str) -> str | None:
        if anonymous in self._users:
            self._users.move_to_end(anonymous)
            return self._users[anonymous]
        row = self._con.execute("SELECT user FROM links WHERE anonymous = ?", (anonymous,)).fetchone()
        self._users[anonymous] = user = row[0] if row else None
        return user

    def link(self, anonymous: str, user: str) -> None:
        self._users[anonymous] = self._new_links[anonymous] = user

    def take_person(self, person: str) -> tuple[Profile, Ledger, dict[str, RuleState]]:
        entry = self._person(person)
        if not entry.whole:
            for rule, state, wake_us in self._con.execute(
                "SELECT rule, state, wake_us FROM states WHERE person = ?", (entry.id,)
            ):
                if rule not in entry.states:
                    self._cache(entry, rule, (decoded(state), wake_us))
        profile, ledger = entry.profile, entry.ledger
        states = {rule: state for rule, (state, _) in entry.states.items() if state != EMPTY}
        if entry.id is not None:
            self._con.execute("DELETE FROM states WHERE person = ?", (entry.id,))
            self._con.execute("DELETE FROM persons WHERE id = ?", (entry.id,))
        self._drop(person)
        self._persons[person] = PersonEntry(None, NOBODY, Ledger(person))
        self._knows_earliest = False
        return profile, ledger, states

    def next_wake(self) -> int | None:
        if not self._knows_earliest:
            self._write_states()
            row = self._con.execute(
                "SELECT wake_us FROM states WHERE wake_us IS NOT NULL ORDER BY wake_us LIMIT 1"
            ).fetchone()
            self._earliest, self._knows_earliest = (row[0] if row else None), True
        return self._earliest

    def take_due(self, due_us: int) -> list[Place]:
        self._write_states()
        return self._taken(_DUE, due_us, _PERSONS_AT_ONCE)

    def take_waiting(self, wall_us: int) -> list[Place]:
        self._write_states()
        places = self._taken(_WAITING, wall_us, _PERSONS_AT_ONCE)
        for rule, person in places:
            self._con.execute(
                "UPDATE states SET at_end = 0 WHERE rule = ? AND person = ?", (rule, self._person(person).id)
            )
        return places

    def waiting_of(self, rule: str) -> list[str]:
        self._write_states()
        found = self._con.execute(
            "SELECT p.person FROM states s JOIN persons p ON p.id = s.person "
            "WHERE s.rule = ? AND (s.wake_us IS NOT NULL OR s.at_end = 1)",
            (rule,),
        )
        return [row[0] for row in found]

    def drop_rule(self, rule: str) -> list[tuple[str, RuleState]]:
        persons = self.waiting_of(rule)
        gone = [(person, self.state(rule, person)) for person in persons]
        self._con.execute("DELETE FROM states WHERE rule = ?", (rule,))
        for entry in self._persons.values():
            if entry.states.pop(rule, None) is not None:
                self._cached_states -= 1
        self._knows_earliest = False
        return gone

    def flush(self) -> None:
        """Write what changed, and keep in memory what fits."""
        self._write_states()
        if self._new_links:
            self._con.executemany("INSERT OR IGNORE INTO links VALUES (?, ?)", self._new_links.items())
            self._new_links.clear()
        while self._persons and (len(self._persons) > self._most_persons or self._cached_states > self._most_states):
            self._drop(next(iter(self._persons)))
        while len(self._users) > CACHED_LINKS:
            self._users.popitem(last=False)

    def _person(self, person: str) -> PersonEntry:
        if self._last is not None and self._last[0] == person:
            return self._last[1]
        if (entry := self._persons.get(person)) is not None:
            self._persons.move_to_end(person)
            self._last = person, entry
            return entry
        entry = next(stored_persons(self._con, [person]))[1]
        self._persons[person] = entry
        self._last = person, entry
        return entry

    def _drop(self, person: str) -> None:
        self._last = None
        if (entry := self._persons.pop(person, None)) is not None:
            self._cached_states -= len(entry.states)
            self._dirty_persons.discard(person)
            self._dirty_states.pop(person, None)

    def _cache(self, entry: PersonEntry, rule: str, row: StateRow) -> StateRow:
        self._cached_states += rule not in entry.states
        entry.states[rule] = row
        return row

    def _state(self, rule: str, entry: PersonEntry) -> StateRow:
        if (row := entry.states.get(rule)) is not None:
            return row
        if entry.whole:
            return self._cache(entry, rule, NO_STATE)
        return self._cache(entry, rule, next(stored_states(self._con, [(entry.id, rule)]))[1])

    def _taken(self, statement: str, *values: Any) -> list[Place]:
        """The places found; their timers are gone."""
        places = [(row[0], row[1]) for row in self._con.execute(statement, values)]
        for rule, person in places:
            self.set_state(rule, person, self.state(rule, person), None)
        return places

    def _write_states(self) -> None:
        if not self._dirty_states and not self._dirty_persons:
            return
        self._write_persons()
        kept: list[tuple[int | None, str, bytes, int | None, bool]] = []
        gone: list[tuple[int | None, str]] = []
        for entry in self._dirty_states.values():
            for rule in sorted(entry.changed):
                state, wake_us = entry.states[rule]
                if state == EMPTY:
                    gone.append((entry.id, rule))
                else:
                    at_end = bool(state.open) and any(each.held == "behind" for each in state.open)
                    kept.append((entry.id, rule, encoded(state), wake_us, at_end))
            entry.changed.clear()
        self._dirty_states.clear()
        if gone:
            self._con.executemany("DELETE FROM states WHERE person = ? AND rule = ?", gone)
        self._con.executemany(_PUT_STATE, kept)

    def _write_persons(self) -> None:
        changed: list[tuple[bytes | None, bytes | None, int]] = []
        added: list[tuple[int, str, bytes | None, bytes | None]] = []
        new = {person for person, entry in self._dirty_states.items() if entry.id is None}
        for person in sorted(self._dirty_persons | new):
            entry = self._persons[person]
            profile, ledger = entry.encoded()
            if entry.id is not None:
                changed.append((profile, ledger, entry.id))
                continue
            if not added:
                (newest,) = self._con.execute("SELECT coalesce(max(id), 0) FROM persons").fetchone()
            entry.id = newest + 1 + len(added)
            added.append((entry.id, person, profile, ledger))
        self._con.executemany("INSERT INTO persons (id, person, profile, ledger) VALUES (?, ?, ?, ?)", added)
        self._con.executemany("UPDATE persons SET profile = ?, ledger = ? WHERE id = ?", changed)
        self._dirty_persons.clear()


_PUT_STATE = """
INSERT INTO states (person, rule, state, wake_us, at_end) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (person, rule) DO UPDATE SET state = excluded.state, wake_us = excluded.wake_us, at_end = excluded.at_end
"""
_DUE = """
WITH few AS (SELECT DISTINCT person FROM states WHERE wake_us = :1 LIMIT :2)
SELECT s.rule, p.person FROM few JOIN states s ON s.person = few.person AND s.wake_us = :1 JOIN persons p ON p.id = few.person
"""
_WAITING = """
WITH places AS (
    SELECT person, rule FROM states WHERE wake_us <= :1 UNION SELECT person, rule FROM states WHERE at_end = 1
), few AS (SELECT DISTINCT person FROM places LIMIT :2)
SELECT places.rule, p.person FROM few JOIN places ON places.person = few.person JOIN persons p ON p.id = few.person
"""


def all_states(con: sqlite3.Connection) -> Iterable[tuple[str, str, RuleState]]:
    """(rule, person, state) of every state in the file."""
    for rule, person, state in con.execute(
        "SELECT s.rule, p.person, s.state FROM states s JOIN persons p ON p.id = s.person"
    ):
        yield rule, person, decoded(state)
