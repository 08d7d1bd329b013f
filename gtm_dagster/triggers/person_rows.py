"""Rows of persons and their states in `triggers.db`, as they are in memory, and looked up many at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gtm_dagster.triggers.admit import Ledger
from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.rule_state import EMPTY, RuleState, decoded

StateRow = tuple[RuleState, int | None]
"""A state and when its timer is due (microseconds UTC), None without one."""
NO_STATE: StateRow = (EMPTY, None)
_SIZES = (1, 4, 16, 64, 256)
"""How many are looked up by one statement: few texts, which SQLite keeps prepared."""
_encode = msgspec.msgpack.Encoder().encode
_profile = msgspec.msgpack.Decoder(Profile).decode
_ledger = msgspec.msgpack.Decoder(Ledger).decode


class PersonEntry:
    """A person in memory. `id`: None while the person has no row. `whole`: no state is on disk that is not in `states`.

    `changed`: the rules whose states are to be written.
    """

    __slots__ = ("changed", "id", "ledger", "profile", "states", "whole")

    def __init__(self, id: int | None, profile: Profile, ledger: Ledger) -> None:
        self.id, self.profile, self.ledger = id, profile, ledger
        self.states: dict[str, StateRow] = {}
        self.whole = id is None
        self.changed: set[str] = set()

    def encoded(self) -> tuple[bytes | None, bytes | None]:
        """Profile and ledger as they are stored."""
        profile = None if self.profile == NOBODY else _encode(self.profile)
        return profile, _encode(self.ledger) if self.ledger.entries else None


def stored_persons(con: sqlite3.Connection, persons: Sequence[str]) -> Iterator[tuple[str, PersonEntry]]:
    """Each of `persons`, without states; those who have no row are as nobody was heard of them."""
    for some, size in _portions(persons):
        found = con.execute(_PERSONS[size], (*some, *[None] * (size - len(some)))).fetchall()
        rows = {row[0]: row for row in found}
        for person in some:
            row = rows.get(person)
            if row is None:
                yield person, PersonEntry(None, NOBODY, Ledger(person))
            else:
                profile = NOBODY if row[2] is None else _profile(row[2])
                yield person, PersonEntry(row[1], profile, Ledger(person) if row[3] is None else _ledger(row[3]))


def stored_states(
    con: sqlite3.Connection, places: Sequence[tuple[int | None, str]]
) -> Iterator[tuple[tuple[int | None, str], StateRow]]:
    """The state of each of `places` (persons.id, rule), which are different; EMPTY where there is none."""
    for some, size in _portions(places):
        values = [value for place in some for value in place]
        found = con.execute(_STATES[size], (*values, *[None] * (2 * size - len(values)))).fetchall()
        rows = {(row[0], row[1]): row for row in found}
        for place in some:
            row = rows.get(place)
            yield place, NO_STATE if row is None else (decoded(row[2]), row[3])


def _portions(values: Sequence[Any]) -> Iterator[tuple[Sequence[Any], int]]:
    """Some of `values`, and for how many the statement is that looks them up."""
    for first in range(0, len(values), _SIZES[-1]):
        some = values[first : first + _SIZES[-1]]
        yield some, next(size for size in _SIZES if size >= len(some))


_PERSONS = {
    size: f"SELECT person, id, profile, ledger FROM persons WHERE person IN ({', '.join('?' * size)})"  # noqa: S608
    for size in _SIZES
}
_STATES = {
    size: f"WITH wanted (person, rule) AS (VALUES {', '.join(['(?, ?)'] * size)})"  # noqa: S608
    " SELECT s.person, s.rule, s.state, s.wake_us FROM wanted w CROSS JOIN states s ON s.person = w.person AND s.rule = w.rule"
    for size in _SIZES
}
