"""`core.identities`: who an anonymous id belongs to."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import CHANGES, EVENTS, OWNERS, add_ranges, drop_tables, take_affected
from gtm_dagster.warehouse.context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.results import StepResult, count

IDENTITIES = "identities"


def build_identities(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Give every anonymous id to the earliest user it was seen with, and its events with it.

    Earliest by (timestamp, event_id). An event that carries a user id stays that user's.
    """
    with transaction(con):
        whole = take_affected(con, IDENTITIES, CHANGES)
        events = "meta.events" if whole else "due_events"
        if not whole:  # the history of the ids of a batch is looked for once
            con.execute(
                "CREATE OR REPLACE TEMP TABLE due AS SELECT DISTINCT anonymous_no FROM meta.changed WHERE anonymous_no IS NOT NULL"
            )
            con.execute(
                """CREATE OR REPLACE TEMP TABLE due_events AS
                SELECT rowid AS event_row, anonymous_no, user_no, person_no, event_us
                FROM meta.events WHERE anonymous_no IN (SELECT anonymous_no FROM due)"""
            )
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE seen AS
            SELECT anonymous_no, min(event_us) AS first_us, min(event_us) FILTER (user_no IS NOT NULL) AS named_us
            FROM {events} WHERE anonymous_no IS NOT NULL GROUP BY 1"""
        )
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE named AS
            SELECT e.anonymous_no, s.named_us, min(e.user_no) AS user_no, max(e.user_no) <> min(e.user_no) AS disputed
            FROM {events} e JOIN seen s ON s.anonymous_no = e.anonymous_no AND s.named_us = e.event_us
            WHERE e.user_no IS NOT NULL GROUP BY ALL"""
        )
        # Ids of events are read only where two users share the first named moment of an anonymous id.
        con.execute(
            """CREATE OR REPLACE TEMP TABLE owners AS
            WITH tie_broken AS (
              SELECT e.anonymous_no, e.user_no FROM meta.events e
              JOIN named n ON n.disputed AND n.anonymous_no = e.anonymous_no AND n.named_us = e.event_us WHERE e.user_no IS NOT NULL
              QUALIFY row_number() OVER (PARTITION BY e.anonymous_no ORDER BY e.event_id, e.write_key) = 1)
            SELECT s.anonymous_no, coalesce(d.user_no, n.user_no) AS user_no, coalesce(d.user_no, n.user_no, s.anonymous_no) AS person_no, s.first_us
            FROM seen s LEFT JOIN named n USING (anonymous_no) LEFT JOIN tie_broken d USING (anonymous_no)"""
        )
        if whole:
            con.execute("DELETE FROM core.identities")
        else:
            add_ranges(  # for the serving copy: their identities are other ones, no time of theirs is replaced yet
                con,
                OWNERS,
                """SELECT person_no, NULL AS lo_us, NULL AS hi_us FROM owners
                UNION SELECT person_no, NULL, NULL FROM core.identities WHERE anonymous_no IN (SELECT anonymous_no FROM due)""",
            )
            con.execute("DELETE FROM core.identities WHERE anonymous_no IN (SELECT anonymous_no FROM due)")
            con.execute(
                """CREATE OR REPLACE TEMP TABLE moved AS
                SELECT e.event_row, e.person_no AS old_person, o.person_no AS new_person, e.event_us
                FROM due_events e JOIN owners o ON o.anonymous_no = e.anonymous_no
                WHERE e.user_no IS NULL AND e.person_no <> o.person_no"""
            )
        con.execute(
            """INSERT INTO core.identities
            SELECT a.id, u.id, coalesce(u.id, a.id), make_timestamp(o.first_us), o.anonymous_no, o.person_no
            FROM owners o JOIN meta.ids a ON a.id_no = o.anonymous_no LEFT JOIN meta.ids u ON u.id_no = o.user_no"""
        )
        con.execute(
            """UPDATE meta.events SET person_no = o.person_no FROM owners o
            WHERE meta.events.user_no IS NULL AND meta.events.anonymous_no = o.anonymous_no AND meta.events.person_no <> o.person_no"""
            if whole
            else "UPDATE meta.events SET person_no = m.new_person FROM moved m WHERE meta.events.rowid = m.event_row"
        )
        if not whole:
            add_ranges(
                con,
                EVENTS,
                """WITH changes AS (
                  SELECT coalesce(c.person_no, c.user_no, o.person_no, c.anonymous_no) AS person_no, c.event_us
                  FROM meta.changed c LEFT JOIN core.identities o ON o.anonymous_no = c.anonymous_no
                  UNION ALL SELECT old_person, event_us FROM moved UNION ALL SELECT new_person, event_us FROM moved)
                SELECT person_no, min(event_us) AS lo_us, max(event_us) AS hi_us FROM changes GROUP BY person_no""",
            )
        con.execute("DELETE FROM meta.changed")
        owners = count(con, "owners")
        result = StepResult(count(con, "core.identities"), owners, owners if whole else count(con, "due"), whole)
    drop_tables(con, "affected", "due", "due_events", "seen", "named", "owners", "moved")
    return result
