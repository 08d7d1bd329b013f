"""Core -> marts: how far persons come in the funnel, and whether they come back.

What each person did is kept by person (`meta.funnel_persons`, `meta.retention_persons`): a batch changes the persons it
names, and the marts are counted from there.
"""

from __future__ import annotations

import json

import duckdb
import msgspec

from gtm_dagster.warehouse.core.steps import HOUR_US, TableResult, drop_scope, take_scope
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.statements import statement
from gtm_dagster.warehouse.tables import BuildContext, get_state, mark_rebuild, set_state


def _take_persons(con: duckdb.DuckDBPyConnection, step: str, settings: object) -> str:
    """Settle the step's debt: the condition on person_no of those to count again, all of them when `settings` changed.

    Their rows in `meta.<step>_persons` are gone when this returns.
    """
    told = json.dumps(msgspec.to_builtins(settings), sort_keys=True)
    if get_state(con, step) != told:
        mark_rebuild(con, (step,))
    whole = take_scope(con, step)
    set_state(con, step, told)
    among = "true" if whole else "person_no IN (SELECT person_no FROM scope)"
    con.execute(f"DELETE FROM meta.{step}_persons WHERE {among}")
    con.execute(
        "CREATE OR REPLACE TEMP VIEW person_origin AS SELECT * RENAME (person_no AS person_id) FROM meta.person_origin"
    )
    return among


def _drop(con: duckdb.DuckDBPyConnection, views: tuple[str, ...], tables: tuple[str, ...]) -> None:
    for name in ("person_origin", *views):
        con.execute(f"DROP VIEW IF EXISTS temp.{name}")
    for name in tables:
        con.execute(f"DROP TABLE IF EXISTS temp.{name}")
    drop_scope(con)


def build_funnel(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Persons by stage and by the source of their first session; ordered, each stage at or after the one before.

    A person without any session has the source NULL and the channel `(none)`. Persons add up over sources.
    """
    steps = ctx.settings.funnel.steps
    with transaction(con):
        among = _take_persons(con, "funnel", steps)
        con.execute("CREATE OR REPLACE TEMP TABLE funnel_stages (stage_no INTEGER, stage VARCHAR, event_name VARCHAR)")
        for number, step in enumerate(steps, start=1):
            for event in step.events:
                con.execute("INSERT INTO funnel_stages VALUES (?, ?, ?)", [number, step.stage, event])
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE events AS SELECT person_no AS person_id, event_us, event_name FROM meta.events
            WHERE event_name IN (SELECT event_name FROM funnel_stages) AND {among}"""
        )
        con.execute(
            """CREATE OR REPLACE TEMP TABLE funnel_reached AS
            SELECT e.person_id, 1 AS stage_no, min(e.event_us) AS reached_us FROM events e
            JOIN funnel_stages s ON s.stage_no = 1 AND s.event_name = e.event_name GROUP BY 1"""
        )
        for number, step in enumerate(steps[1:], start=2):
            con.execute(
                f"INSERT INTO funnel_reached {statement('funnel_step', stage_no=number, after_us=round(step.after_hours * HOUR_US))}"
            )
        # Stages are in order: who reached one was in all before it, so the last one says it all.
        con.execute(
            """INSERT INTO meta.funnel_persons
            WITH furthest AS (SELECT person_id, max(stage_no) AS last_stage FROM funnel_reached GROUP BY 1)
            SELECT f.person_id, f.last_stage, o.source, o.medium, o.campaign, coalesce(o.channel, '(none)')
            FROM furthest f LEFT JOIN person_origin o ON o.person_id = f.person_id"""
        )
        con.execute("DELETE FROM marts.funnel")
        written = con.execute(
            """INSERT INTO marts.funnel
            WITH counted AS (
              SELECT source, medium, campaign, channel, last_stage, count(*) AS n FROM meta.funnel_persons GROUP BY ALL)
            SELECT c.source, c.medium, c.campaign, c.channel, s.stage, s.stage_no, sum(c.n)
            FROM counted c JOIN (SELECT DISTINCT stage_no, stage FROM funnel_stages) s ON s.stage_no <= c.last_stage GROUP BY ALL"""
        ).fetchall()[0][0]
    _drop(con, (), ("events", "funnel_stages", "funnel_reached"))
    return TableResult(written)


_PERIODS = {
    "day": ("n", "DATE '1970-01-01' + period_no"),
    "week": ("CAST(floor((n + 3) / 7.0) AS INTEGER)", "DATE '1970-01-01' + (7 * period_no - 3)"),
    "month": ("CAST(year(d) * 12 + month(d) - 1 AS INTEGER)", "make_date(period_no // 12, period_no % 12 + 1, 1)"),
}
"""The number of the period that holds the day d (n days after 1970-01-01), and the first day of a period; weeks begin on Monday."""


def build_retention(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Cohorts by first period of activity (report time zone) and channel of the first session; period 0 is the first."""
    number, start = _PERIODS[ctx.settings.retention.unit]
    chosen = list(ctx.settings.retention.activity)
    with transaction(con):
        among = _take_persons(con, "retention", ctx.settings.retention)
        condition = "event_name IN (SELECT unnest($1::VARCHAR[]))" if chosen else "browsing"
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE activity AS
            SELECT DISTINCT person_no AS person_id, local_day FROM meta.events WHERE {condition} AND {among}""",
            [chosen] if chosen else [],
        )
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE calendar AS SELECT d AS local_day, {number} AS period_no
            FROM (SELECT d, CAST(d - DATE '1970-01-01' AS INTEGER) AS n FROM (SELECT DISTINCT local_day AS d FROM activity))"""
        )
        con.execute(f"INSERT INTO meta.retention_persons {statement('retention_person')}")
        con.execute(
            "CREATE OR REPLACE TEMP VIEW retained_persons AS SELECT * RENAME (person_no AS person_id) FROM meta.retention_persons"
        )
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE periods AS
            SELECT period_no, {start} AS period_start FROM (SELECT DISTINCT first_no AS period_no FROM meta.retention_persons)"""
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
            told = con.execute(f"INSERT INTO marts.retention {statement('retention', last_no=last)}").fetchall()
            written = told[0][0]
    _drop(con, ("retained_persons",), ("activity", "calendar", "periods", "period_offsets"))
    return TableResult(written)
