"""`marts.retention`: whether persons come back, by cohort and channel of the first session.

What each person did is kept by person (`meta.retention_persons`): a batch changes the persons it names, and the mart is
counted from there.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import drop_tables, drop_views
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.by_person import no_persons, take_persons
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import statement

_PERIODS = {
    "day": ("n", "DATE '1970-01-01' + period_no"),
    "week": ("CAST(floor((n + 3) / 7.0) AS INTEGER)", "DATE '1970-01-01' + (7 * period_no - 3)"),
    "month": ("CAST(year(d) * 12 + month(d) - 1 AS INTEGER)", "make_date(period_no // 12, period_no % 12 + 1, 1)"),
}
"""The number of the period that holds the day d (n days after 1970-01-01), and the first day of a period; weeks begin on Monday."""


def build_retention(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Cohorts by first period of activity (report time zone) and channel of the first session; period 0 is the first."""
    if no_persons(con, "retention", ctx.settings.retention):
        return TableResult(count(con, "marts.retention"), changed=False)
    number, start = _PERIODS[ctx.settings.retention.unit]
    activity = list(ctx.settings.retention.activity)
    with transaction(con):
        among = take_persons(con, "retention", ctx.settings.retention)
        condition = "counted AND event_name IN (SELECT unnest($1::VARCHAR[]))" if activity else "browsing"
        con.execute(
            composed(
                """CREATE OR REPLACE TEMP TABLE activity AS
            SELECT DISTINCT person_no AS person_id, local_day FROM meta.events WHERE $condition AND $among""",
                condition=condition,
                among=among,
            ),
            [activity] if activity else [],
        )
        con.execute(
            composed(
                """CREATE OR REPLACE TEMP TABLE calendar AS SELECT d AS local_day, $number AS period_no
            FROM (SELECT d, CAST(d - DATE '1970-01-01' AS INTEGER) AS n FROM (SELECT DISTINCT local_day AS d FROM activity))""",
                number=number,
            )
        )
        con.execute(f"INSERT INTO meta.retention_persons {statement('retention_person')}")
        con.execute(
            "CREATE OR REPLACE TEMP VIEW retained_persons AS SELECT * RENAME (person_no AS person_id) FROM meta.retention_persons"
        )
        con.execute(
            composed(
                """CREATE OR REPLACE TEMP TABLE periods AS
            SELECT period_no, $start AS period_start FROM (SELECT DISTINCT first_no AS period_no FROM meta.retention_persons)""",
                start=start,
            )
        )
        first, last = con.execute(
            "SELECT min(first_no), max(first_no + later_no) FROM meta.retention_persons"
        ).fetchall()[0]
        con.execute("DELETE FROM marts.retention")
        written = 0
        if last is not None:
            con.execute(
                "CREATE OR REPLACE TEMP TABLE period_offsets AS SELECT CAST(range AS INTEGER) AS period_no FROM range($1)",
                [last - first + 1],
            )
            inserted = con.execute(f"INSERT INTO marts.retention {statement('retention', last_no=last)}").fetchall()
            written = inserted[0][0]
    drop_views(con, "person_origin", "retained_persons")
    drop_tables(con, "affected", "activity", "calendar", "periods", "period_offsets")
    return TableResult(written)
