"""Staging -> core: who is who, sessions, conversions, touchpoints.

Each step works on a *scope*: for each affected person the hull of the changed moments and of the visits within one
timeout of them. Outside it nothing can change, so rebuilding the scope gives what a full rebuild gives, and costs what
the batch costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.statements import statement
from gtm_dagster.warehouse.tables import PUBLISH, STEPS, BuildContext, mark_rebuild, take_rebuild

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

HOUR_US = 3_600_000_000
_FAR = 8_000_000_000_000_000_000


@dataclass(frozen=True)
class StepResult:
    """What a step wrote: rows of the table now, rows written this time, persons in scope, whether it built everything."""

    rows: int
    written: int
    persons: int
    rebuilt: bool

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {
            "dagster/row_count": self.rows,
            "rows_written": self.written,
            "persons_in_scope": self.persons,
            "rebuilt": "everything" if self.rebuilt else "affected persons only",
        }


@dataclass(frozen=True)
class TableResult:
    """A table that is small and made whole each time: its rows."""

    rows: int

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {"dagster/row_count": self.rows}


def count(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Rows of a relation."""
    return int(con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])


def build_identities(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Give every anonymous id to the earliest user it was seen with, and its events with it.

    Earliest by (timestamp, event_id). An event that carries a user id stays that user's.
    """
    with transaction(con):
        whole = take_rebuild(con, "identities")
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
            WITH settled AS (
              SELECT e.anonymous_no, e.user_no FROM meta.events e
              JOIN named n ON n.disputed AND n.anonymous_no = e.anonymous_no AND n.named_us = e.event_us WHERE e.user_no IS NOT NULL
              QUALIFY row_number() OVER (PARTITION BY e.anonymous_no ORDER BY e.event_id, e.write_key) = 1)
            SELECT s.anonymous_no, coalesce(d.user_no, n.user_no) AS user_no, coalesce(d.user_no, n.user_no, s.anonymous_no) AS person_no, s.first_us
            FROM seen s LEFT JOIN named n USING (anonymous_no) LEFT JOIN settled d USING (anonymous_no)"""
        )
        if whole:
            con.execute("DELETE FROM core.identities")
        else:
            con.execute(  # the readers' copy of these persons: other identities, no other time to replace yet
                """INSERT INTO meta.scope SELECT $1, person_no, NULL, NULL FROM owners
                UNION SELECT $1, person_no, NULL, NULL FROM core.identities WHERE anonymous_no IN (SELECT anonymous_no FROM due)""",
                [PUBLISH],
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
            con.execute(
                """INSERT INTO meta.scope
                WITH k AS (
                  SELECT coalesce(c.person_no, c.user_no, o.person_no, c.anonymous_no) AS person_no, c.event_us
                  FROM meta.changed c LEFT JOIN core.identities o ON o.anonymous_no = c.anonymous_no
                  UNION ALL SELECT old_person, event_us FROM moved UNION ALL SELECT new_person, event_us FROM moved)
                SELECT 'sessions', person_no, min(event_us), max(event_us) FROM k GROUP BY person_no"""
            )
        con.execute("DELETE FROM meta.changed")
        owners = count(con, "owners")
        result = StepResult(count(con, "core.identities"), owners, owners if whole else count(con, "due"), whole)
    for name in ("due", "due_events", "seen", "named", "owners", "moved"):
        con.execute(f"DROP TABLE IF EXISTS temp.{name}")
    return result


def take_scope(con: duckdb.DuckDBPyConnection, step: str) -> bool:
    """Fill the temporary table `scope(person_no, lo_us, hi_us)` with the step's debt; True means everything."""
    whole = take_rebuild(con, step)
    find_scope(con, step)
    con.execute("DELETE FROM meta.scope WHERE step = ?", [step])
    return whole


def find_scope(con: duckdb.DuckDBPyConnection, step: str) -> None:
    """Fill `scope` and leave the debt."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE scope AS SELECT person_no, min(lo_us) AS lo_us, max(hi_us) AS hi_us FROM meta.scope WHERE step = ? GROUP BY 1",
        [step],
    )


def in_scope(row: str, moment: str, reach_us: int = 0) -> str:
    """The condition on `row` and `scope k`: its person's, and changed there or by what is up to `reach_us` before it."""
    return f"{row}.person_no = k.person_no AND {row}.{moment} >= k.lo_us AND {row}.{moment} - {reach_us} <= k.hi_us"


def build_sessions(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Sessions of the affected visits, by the definition of the settings."""
    definition = ctx.settings.sessions.definition
    timeout_us = round(ctx.settings.sessions.timeout_minutes * 60_000_000)
    with transaction(con):
        whole = take_scope(con, "sessions")
        if not whole:
            con.execute("CREATE OR REPLACE TEMP TABLE changed_scope AS SELECT * FROM scope")
            if (
                definition == "tracker"
            ):  # a session id may name moments far apart: the person's whole history is in scope
                con.execute(
                    "CREATE OR REPLACE TEMP TABLE scope AS SELECT person_no, $1::BIGINT AS lo_us, $2::BIGINT AS hi_us FROM changed_scope",
                    [-_FAR, _FAR],
                )
            else:
                con.execute(
                    """CREATE OR REPLACE TEMP TABLE scope AS
                    SELECT c.person_no, least(c.lo_us, coalesce(min(s.visit_start_us), c.lo_us)) AS lo_us,
                      greatest(c.hi_us, coalesce(max(s.visit_end_us), c.hi_us)) AS hi_us
                    FROM changed_scope c LEFT JOIN core.sessions s
                      ON s.person_no = c.person_no AND s.visit_start_us <= c.hi_us + $1 AND s.visit_end_us >= c.lo_us - $1
                    GROUP BY c.person_no, c.lo_us, c.hi_us""",
                    [timeout_us],
                )
        _scope_events(con, whole)
        if whole:
            con.execute("DELETE FROM core.sessions")
        else:
            con.execute(f"DELETE FROM core.sessions USING scope k WHERE {in_scope('core.sessions', 'start_us')}")
        con.execute(f"CREATE OR REPLACE TEMP TABLE made AS {_sessions_of(definition, timeout_us)}")
        written = con.execute(
            """INSERT INTO core.sessions
            SELECT p.id || ':' || coalesce(n.session_id, CAST(n.start_us AS VARCHAR)), p.id, make_timestamp(n.start_us),
              make_timestamp(n.end_us), n.n_events, s.source, s.medium, s.campaign, s.channel, n.start_us, n.end_us,
              n.visit_start_us, n.visit_end_us, n.source_key, n.session_id, n.person_id
            FROM made n JOIN meta.ids p ON p.id_no = n.person_id
            JOIN core.sources s ON s.source_key = n.source_key"""
        ).fetchall()[0][0]
        _remember_origins(con, whole)
        following = STEPS[STEPS.index("sessions") + 1 :]
        if whole:
            mark_rebuild(con, following)
        else:
            for step in (*following, PUBLISH):
                con.execute("INSERT INTO meta.scope SELECT $1, person_no, lo_us, hi_us FROM scope", [step])
        result = StepResult(count(con, "core.sessions"), written, count(con, "scope"), whole)
    drop_scope(con)
    return result


def _scope_events(con: duckdb.DuckDBPyConnection, whole: bool) -> None:
    """`scope_events` for the statements of sessions: browsing events of the scope, narrow, their persons as numbers.

    Ids of events are there only where order can matter: on touches, and when a part is built on those alone that name
    another source than a touch of the same moment.
    """
    columns = """e.person_no AS person_id, e.event_us, e.session_id, e.source_key, e.touch_rank,
          CAST(e.local_day - DATE '1970-01-01' AS INTEGER) AS day_no"""
    if whole:
        con.execute(
            f"""CREATE OR REPLACE TEMP VIEW scope_events AS
            SELECT {columns}, CASE WHEN e.touch_rank IS NOT NULL THEN e.event_id END AS event_id,
              CASE WHEN e.touch_rank IS NOT NULL THEN e.write_key END AS write_key
            FROM meta.events e WHERE e.browsing"""
        )
        return
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE scope_rows AS SELECT {columns}, e.rowid AS event_row
        FROM meta.events e JOIN scope k ON {in_scope("e", "event_us")}
        WHERE e.browsing"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE scope_ids AS
        WITH disputed AS (
          SELECT person_id, event_us, touch_rank FROM scope_rows WHERE touch_rank IS NOT NULL
          GROUP BY ALL HAVING min(source_key) <> max(source_key))
        SELECT rowid AS event_row, event_id, write_key FROM meta.events
        WHERE rowid IN (SELECT event_row FROM scope_rows JOIN disputed USING (person_id, event_us, touch_rank))"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP VIEW scope_events AS
        SELECT r.* EXCLUDE (event_row), i.event_id, i.write_key FROM scope_rows r LEFT JOIN scope_ids i ON i.event_row = r.event_row"""
    )


def _remember_origins(con: duckdb.DuckDBPyConnection, whole: bool) -> None:
    """`meta.person_origin`: the source of each person's first session, made anew for the persons of the scope.

    Funnel and retention read it for everybody. A scope holds a part of a person's sessions, so the table is asked there;
    when everything was made just now, what was made is asked.
    """
    among = "" if whole else "WHERE person_no IN (SELECT person_no FROM scope)"
    con.execute(f"DELETE FROM meta.person_origin {among}")
    sessions = (
        "SELECT person_id, source_key, start_us, coalesce(session_id, '') AS session_key FROM made"
        if whole
        else f"SELECT person_no AS person_id, source_key, start_us, session_key FROM core.sessions {among}"
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW sessions AS {sessions}")
    con.execute("CREATE OR REPLACE TEMP VIEW sources AS SELECT * FROM core.sources")
    con.execute(f"INSERT INTO meta.person_origin {statement('person_origin')}")
    con.execute("DROP VIEW temp.sessions")
    con.execute("DROP VIEW temp.sources")


def _sessions_of(definition: str, timeout_us: int) -> str:
    """The statement that makes sessions of `scope_events` under a definition; only `ua` splits inside a visit."""
    if definition == "tracker":
        return statement("sessions_tracker")
    if definition == "ua":
        return statement("sessions", timeout_us=timeout_us, split_midnight=1, split_campaign=1)
    return statement("sessions_unsplit", timeout_us=timeout_us)


def build_conversions(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """One row for each event that the settings call a conversion; a conversion without a value property has NULL, not 0."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE conversion_types (event_name VARCHAR, value_path VARCHAR, currency_path VARCHAR)"
    )
    for kind in ctx.settings.conversions:
        con.execute(
            "INSERT INTO conversion_types VALUES (?, ?, ?)",
            [
                kind.event,
                f'$."{kind.value}"' if kind.value else None,
                f'$."{kind.currency}"' if kind.currency else None,
            ],
        )
    with transaction(con):
        whole = take_scope(con, "conversions")
        within = "" if whole else f"JOIN scope k ON {in_scope('e', 'event_us')}"
        if whole:
            con.execute("DELETE FROM core.conversions")
        else:
            con.execute(
                f"DELETE FROM core.conversions USING scope k WHERE {in_scope('core.conversions', 'conversion_us')}"
            )
        written = con.execute(
            f"""INSERT INTO core.conversions
            SELECT e.write_key || ':' || e.event_id, p.id, make_timestamp(e.event_us), e.event_name,
              TRY_CAST(CASE WHEN t.value_path IS NOT NULL THEN json_extract_string(e.properties, t.value_path) END AS DOUBLE),
              CASE WHEN t.currency_path IS NOT NULL THEN json_extract_string(e.properties, t.currency_path) END, e.local_day, e.event_us, e.person_no
            FROM meta.events e JOIN meta.ids p ON p.id_no = e.person_no JOIN conversion_types t ON t.event_name = e.event_name {within}"""
        ).fetchall()[0][0]
        result = StepResult(count(con, "core.conversions"), written, count(con, "scope"), whole)
    drop_scope(con)
    return result


def longest_window_us(settings: Settings) -> int:
    """The longest lookback of all windows, in microseconds."""
    return max((round(w.lookback_hours * HOUR_US) for w in settings.attribution.windows), default=0)


def scope_conversions(con: duckdb.DuckDBPyConnection, ctx: BuildContext, whole: bool, columns: str) -> None:
    """The temporary view `scope_conversions`: those a change inside the scope can reach through the longest lookback."""
    reach = longest_window_us(ctx.settings)
    within = "" if whole else f"JOIN scope k ON {in_scope('c', 'conversion_us', reach)}"
    con.execute(f"CREATE OR REPLACE TEMP VIEW scope_conversions AS SELECT {columns} FROM core.conversions c {within}")


def forget(con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: str, whole: bool) -> None:
    """Delete the rows of `table` that belong to conversions in reach of the scope, gone ones included."""
    if whole:
        con.execute(f"DELETE FROM {table}")
    else:
        within = in_scope(table, "conversion_us", longest_window_us(ctx.settings))
        con.execute(f"DELETE FROM {table} USING scope k WHERE {within}")


def build_touchpoints(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """The sessions within the longest lookback before each conversion: `0 <= age <= window`."""
    with transaction(con):
        whole = take_scope(con, "touchpoints")
        forget(con, ctx, "core.touchpoints", whole)
        scope_conversions(con, ctx, whole, "c.conversion_id, c.person_no AS person_id, c.conversion_us")
        within = "" if whole else "WHERE person_no IN (SELECT person_no FROM scope)"
        con.execute(
            f"CREATE OR REPLACE TEMP VIEW scope_sessions AS SELECT session_key, person_no AS person_id, start_us, source_key FROM core.sessions {within}"
        )
        written = con.execute(
            f"""INSERT INTO core.touchpoints
            SELECT t.conversion_id, t.session_key, make_timestamp(t.touch_us), t.age_us / 3.6e9, s.source, s.medium, s.campaign, s.channel,
              p.id, t.conversion_us, t.touch_us, t.age_us, t.source_key, t.person_id
            FROM ({statement("touchpoints", longest_us=longest_window_us(ctx.settings))}) t
            JOIN meta.ids p ON p.id_no = t.person_id JOIN core.sources s ON s.source_key = t.source_key"""
        ).fetchall()[0][0]
        result = StepResult(count(con, "core.touchpoints"), written, count(con, "scope"), whole)
    drop_scope(con)
    return result


def drop_scope(con: duckdb.DuckDBPyConnection) -> None:
    """Drop what a step's scope was read through."""
    for name in ("scope_events", "scope_conversions", "scope_sessions"):
        con.execute(f"DROP VIEW IF EXISTS temp.{name}")
    for name in ("scope", "scope_rows", "scope_ids", "made", "changed_scope", "conversion_types"):
        con.execute(f"DROP TABLE IF EXISTS temp.{name}")
