"""`marts.funnel`: how far persons come, by the source of their first session.

What each person reached is kept by person (`meta.funnel_persons`): a batch changes the persons it names, and the mart is
counted from there.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import HOUR_US, drop_tables, drop_views
from gtm_dagster.warehouse.context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.marts.by_person import take_persons
from gtm_dagster.warehouse.results import TableResult
from gtm_dagster.warehouse.statements import statement


def build_funnel(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Persons by stage and by the source of their first session; ordered, each stage at or after the one before.

    A person without any session has the source NULL and the channel `(none)`. Persons add up over sources.
    """
    steps = ctx.settings.funnel.steps
    with transaction(con):
        among = take_persons(con, "funnel", steps)
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
    drop_views(con, "person_origin")
    drop_tables(con, "affected", "events", "funnel_stages", "funnel_reached")
    return TableResult(written)
