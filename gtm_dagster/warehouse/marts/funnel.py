"""`marts.funnel`: how far persons come, by the source of their first session.

What each person reached is kept by person (`meta.funnel_persons`): a batch changes the persons it names, and the mart is
counted from there.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import HOUR_US, drop_tables, drop_views
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.marts.by_person import take_persons
from gtm_dagster.warehouse.results import TableResult
from gtm_dagster.warehouse.statements import fragment, statement


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
        con.execute(f"INSERT INTO meta.funnel_persons {fragment('funnel_persons')}")
        con.execute("DELETE FROM marts.funnel")
        written = con.execute(f"INSERT INTO marts.funnel {fragment('funnel')}").fetchall()[0][0]
    drop_views(con, "person_origin")
    drop_tables(con, "affected", "events", "funnel_stages", "funnel_reached")
    return TableResult(written)
