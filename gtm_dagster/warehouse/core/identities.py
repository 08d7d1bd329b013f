"""`core.identities`: who an anonymous id belongs to."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import (
    CHANGES,
    EVENTS,
    OWNERS,
    add_ranges,
    drop_tables,
    needs_rebuild,
    take_affected,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.causes import note_moved_persons
from gtm_dagster.warehouse.core.aliases import follow_aliases
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.statements import fragment

IDENTITIES = "identities"


def build_identities(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Give every anonymous id to the earliest user it was seen with, and its events with it.

    Earliest by (timestamp, event_id). An event that carries a user id stays that user's; users are one person where an
    alias says so.
    """
    if not needs_rebuild(con, IDENTITIES) and not con.execute("SELECT 1 FROM meta.changed LIMIT 1").fetchall():
        return unchanged(con, "core.identities")
    with transaction(con):
        whole = take_affected(con, IDENTITIES, CHANGES)
        events = "meta.events" if whole else "due_events"
        follow_aliases(con, whole)
        if not whole:  # the history of the ids of a batch is looked for once
            con.execute(
                """CREATE OR REPLACE TEMP TABLE due AS
                SELECT anonymous_no FROM meta.changed WHERE anonymous_no IS NOT NULL
                UNION SELECT anonymous_no FROM reclaimed
                UNION SELECT i.anonymous_no FROM core.identities i JOIN meta.ids u ON u.id = i.user_id
                WHERE i.anonymous_no IS NOT NULL AND u.id_no IN (SELECT user_no FROM moved_users WHERE is_changed)"""
            )
            con.execute(
                """CREATE OR REPLACE TEMP TABLE due_events AS
                SELECT rowid AS event_row, anonymous_no, user_no, person_no, event_us
                FROM meta.events WHERE anonymous_no IN (SELECT anonymous_no FROM due)"""
            )
        con.execute(f"CREATE OR REPLACE TEMP TABLE seen AS {fragment('first_seen', events=events)}")
        con.execute(f"CREATE OR REPLACE TEMP TABLE named AS {fragment('first_users', events=events)}")
        con.execute(f"CREATE OR REPLACE TEMP TABLE owners AS {fragment('owners')}")
        if whole:
            con.execute("DELETE FROM core.identities")
        else:
            add_ranges(con, OWNERS, fragment("owner_ranges"))
            note_moved_persons(con)
            con.execute(
                """DELETE FROM core.identities
                WHERE anonymous_no IN (SELECT anonymous_no FROM due) OR (anonymous_no IS NULL AND EXISTS (SELECT 1 FROM moved_users WHERE is_changed))"""
            )
            con.execute(f"CREATE OR REPLACE TEMP TABLE moved AS {fragment('moved_events')}")
        con.execute(f"INSERT INTO core.identities {fragment('identities')}")
        con.execute(f"INSERT INTO core.identities {fragment('aliased_users', whole=str(whole).lower())}")
        if whole:
            con.execute(
                """UPDATE meta.events SET person_no = t.person_no FROM moved_users t
                WHERE meta.events.user_no = t.user_no AND meta.events.person_no <> t.person_no"""
            )
        con.execute(
            """UPDATE meta.events SET person_no = o.person_no FROM owners o
            WHERE meta.events.user_no IS NULL AND meta.events.anonymous_no = o.anonymous_no AND meta.events.person_no <> o.person_no"""
            if whole
            else "UPDATE meta.events SET person_no = m.new_person FROM moved m WHERE meta.events.rowid = m.event_row"
        )
        if not whole:
            add_ranges(con, EVENTS, fragment("event_ranges"))
        con.execute("DELETE FROM meta.changed")
        owners = count(con, "owners")
        result = StepResult(count(con, "core.identities"), owners, owners if whole else count(con, "due"), whole)
    drop_tables(con, "affected", "due", "due_events", "seen", "named", "owners", "moved", "moved_users", "reclaimed")
    return result
