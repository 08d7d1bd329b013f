"""`marts.retention` and `marts.retention_accounts`: whether persons and accounts come back, by cohort and channel.

What each person did is kept by person (`meta.retention_persons`): a batch changes the persons it names, and the marts are
counted from there.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import drop_tables, drop_views
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.by_person import is_counted, take_counted, take_persons
from gtm_dagster.warehouse.marts.periods import NUMBER, START, newest_day, span_of
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment, statement


def build_retention(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Cohorts by first period of activity (report time zone) and channel of the first session; period 0 is the first."""
    declared = ctx.settings.retention
    if is_counted(con, "retention", declared):
        return TableResult(count(con, "marts.retention"), changed=False)
    activity = list(declared.activity)
    with transaction(con):
        among = take_persons(con, "retention", declared)
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
                number=NUMBER[declared.unit],
            )
        )
        con.execute(f"INSERT INTO meta.retention_persons {statement('retention_person')}")
        con.execute(
            "CREATE OR REPLACE TEMP VIEW retained_persons AS SELECT * RENAME (person_no AS person_id) FROM meta.retention_persons"
        )
        written = _count(con, declared.unit, "marts.retention")
    drop_views(con, "person_origin", "retained_persons")
    drop_tables(con, "affected", "activity", "calendar")
    return TableResult(written)


def build_retention_accounts(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """The same by account: a period counts for the account that its person belongs to at the period's end."""
    declared = ctx.settings.retention
    if is_counted(con, "retention_accounts", declared):
        return TableResult(count(con, "marts.retention_accounts"), changed=False)
    with transaction(con):
        take_counted(con, "retention_accounts", declared)
        con.execute("DELETE FROM marts.retention_accounts")
        written = 0
        if count(con, "core.accounts"):
            con.execute(
                "CREATE OR REPLACE TEMP VIEW retained_persons AS SELECT * RENAME (person_no AS person_id) FROM meta.retention_persons"
            )
            con.execute(_ACCOUNT_PERIODS[declared.unit])
            con.execute(f"CREATE OR REPLACE TEMP TABLE account_origin AS {fragment('account_origins')}")
            con.execute(f"CREATE OR REPLACE TEMP TABLE retained_accounts AS {statement('retention_account')}")
            con.execute("CREATE OR REPLACE TEMP VIEW retained_persons AS SELECT * FROM retained_accounts")
            written = _count(con, declared.unit, "marts.retention_accounts")
    drop_views(con, "retained_persons", "account_periods")
    drop_tables(con, "affected", "account_origin", "retained_accounts")
    return TableResult(written)


def _numbered(unit: str, day: str) -> str:
    return composed(
        "(SELECT $number FROM (SELECT a.$day AS d, CAST(a.$day - DATE '1970-01-01' AS INTEGER) AS n))",
        number=NUMBER[unit],
        day=day,
    )


_ACCOUNT_PERIODS = {
    unit: composed(
        """CREATE OR REPLACE TEMP VIEW account_periods AS
        SELECT a.person_no AS person_id, a.account_id, $from_no AS from_no, $until_no AS until_no FROM core.accounts a""",
        from_no=_numbered(unit, "from_day"),
        until_no=_numbered(unit, "until_day"),
    )
    for unit in NUMBER
}


def _count(con: duckdb.DuckDBPyConnection, unit: str, table: str) -> int:
    """Fill the mart from `retained_persons`; returns its rows."""
    con.execute(composed("DELETE FROM $table", table=table))
    con.execute(
        composed(
            """CREATE OR REPLACE TEMP TABLE periods AS SELECT period_no, $start AS period_start, n_active
        FROM (SELECT first_no + later_no AS period_no, count(*) AS n_active FROM retained_persons GROUP BY 1)""",
            start=START[unit],
        )
    )
    active = con.execute("SELECT period_start, n_active FROM periods").fetchall()
    written = 0
    if active:
        daily = con.execute("SELECT local_day, count(*) FROM meta.events GROUP BY 1").fetchall()
        span = span_of(active, unit, newest_day(daily))
        con.execute(
            "CREATE OR REPLACE TEMP TABLE period_offsets AS SELECT CAST(range AS INTEGER) AS period_no FROM range($1)",
            [span.last - span.first + 1],
        )
        counted = statement("retention", first_no=span.first, last_no=span.last, open_no=span.open_from)
        written = con.execute(composed("INSERT INTO $table ", table=table) + counted).fetchall()[0][0]
    drop_tables(con, "periods", "period_offsets")
    return int(written)
