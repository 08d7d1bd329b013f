"""Why a person got a message, or did not: every start of theirs, and what each rule would do now."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
from msgspec import Struct

from gtm_dagster.triggers import runner_rows as rows
from gtm_dagster.triggers.admit import Ledger, admit
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.local_time import zone_of
from gtm_dagster.triggers.outcomes import Want
from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.trigger_db import reading_trigger_db


class Start(Struct, frozen=True):
    """A start, times in microseconds UTC. `delivery`: the status of its message, None without one."""

    rule: str
    trigger_event_id: str
    key: str
    outcome: str
    reason: str | None
    detail: str | None
    action_id: str | None
    started_us: int
    due_us: int | None
    decided_us: int
    next_us: int | None
    delivery: str | None


class Chance(Struct, frozen=True):
    """What `rule` would do if its condition became true now. `reason`: None for sending, else why not or why later; `next_us`:
    when it could. `zone`: the time zone of its quiet hours for the person, None without quiet hours or a known zone.
    """

    rule: str
    status: str
    reason: str | None
    detail: str | None
    next_us: int | None
    zone: str | None


class Explanation(Struct, frozen=True):
    """`person`: the id that messages name; `known`: whether anything is stored of it. `consents`: by purpose."""

    person: str
    known: bool
    consents: dict[str, bool]
    timezone: str | None
    country: str | None
    starts: tuple[Start, ...]
    chances: tuple[Chance, ...]


def explained(path: Path, names: tuple[str, ...], rule: str | None, now_us: int, most: int = 200) -> Explanation:
    """Of the first of `names` that is known (an id as stored, or its pseudonym), the newest `most` starts, newest first.

    Raises TriggerDbError, NewerFormatError.
    """
    with reading_trigger_db(path) as con:
        person = next((found for name in names if (found := _known(con, name))), names[-1])
        row = con.execute("SELECT profile, ledger FROM persons WHERE person = ?", (person,)).fetchone()
        profile = NOBODY if row is None or row[0] is None else msgspec.msgpack.decode(row[0], type=Profile)
        ledger = Ledger(person) if row is None or row[1] is None else msgspec.msgpack.decode(row[1], type=Ledger)
        starts = tuple(Start(*each) for each in con.execute(_STARTS, {"person": person, "rule": rule, "most": most}))
        statuses = rows.rule_statuses(con)
        chances = tuple(
            _chance(each, statuses[each.name][0], ledger, profile, now_us)
            for each in rows.stored_rules(con)
            if rule in (None, each.name)
        )
    return Explanation(
        person=person,
        known=row is not None or bool(starts),
        consents={each.purpose: not each.refused for each in profile.consents},
        timezone=profile.zone.timezone if profile.zone else None,
        country=profile.country.country if profile.country else None,
        starts=starts,
        chances=chances,
    )


def _known(con: sqlite3.Connection, name: str) -> str | None:
    link = con.execute("SELECT user FROM links WHERE anonymous = ?", (name,)).fetchone()
    if link is not None:
        return str(link[0])
    found = con.execute(
        "SELECT 1 FROM persons WHERE person = :1 UNION ALL SELECT 1 FROM occurrences WHERE person = :1 LIMIT 1", (name,)
    )
    return name if found.fetchone() else None


def _chance(rule: Rule, status: str, ledger: Ledger, profile: Profile, now_us: int) -> Chance:
    zone = None
    if rule.quiet is not None:
        zone = zone_of(
            rule.quiet, profile.zone.timezone if profile.zone else None, profile.country.country if profile.country else None
        )  # fmt: skip
    done = admit(ledger, [Want(rule, "", now_us, now_us)], now_us, profile)
    reason: str | None = None
    detail: str | None = None
    next_us: int | None = None
    if done.holds:
        reason, next_us = done.holds[0].reason, done.holds[0].until_us
    elif done.non_sends:
        reason, detail, next_us = done.non_sends[0].reason, done.non_sends[0].detail or None, done.non_sends[0].next_us
    if status != "active":
        reason = "paused" if status == "paused" else "fault"
    return Chance(rule.name, status, reason, detail, next_us, None if zone is None else str(zone))


_STARTS = """
SELECT o.rule, o.trigger_event_id, o.key, o.outcome, o.reason, o.detail, o.action_id, o.started_us, o.due_us, o.decided_us,
  o.next_us, b.status
FROM occurrences o LEFT JOIN outbox b ON b.action_id = o.action_id
WHERE o.person = :person AND (:rule IS NULL OR o.rule = :rule)
ORDER BY o.started_us DESC, o.rule LIMIT :most
"""
