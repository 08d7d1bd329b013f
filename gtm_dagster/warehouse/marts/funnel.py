"""`marts.funnel`: how far persons come, by source and day of their first session.

What each person reached, and when, is kept by person (`meta.funnel_persons`): a batch changes the persons it names, and
the marts of the funnel are counted from there.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import HOUR_US, drop_tables, drop_views
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.by_person import is_counted, take_persons
from gtm_dagster.warehouse.marts.funnel_names import name_stages
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment, statement


def build_funnel(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Persons by stage and by source and day of their first session; ordered, each stage another event than those
    before it, at or after the one before.

    A person without any session has the source and the day NULL and the channel `(none)`. Persons add up over sources
    and days.
    """
    steps = ctx.settings.funnel.steps
    if is_counted(con, "funnel", steps):
        return TableResult(count(con, "marts.funnel"), changed=False)
    with transaction(con):
        among = take_persons(con, "funnel", steps)
        con.execute("CREATE OR REPLACE TEMP TABLE funnel_stages (stage_no INTEGER, stage VARCHAR, event_name VARCHAR)")
        for number, step in enumerate(steps, start=1):
            for event in step.events:
                con.execute("INSERT INTO funnel_stages VALUES (?, ?, ?)", [number, step.stage, event])
        shared = _stages_share_an_event(con)
        wanted = fragment("funnel_events", event_no=_AMONG_THE_MOMENT if shared else "s.stage_no", among=among)
        if shared:
            con.execute(f"CREATE OR REPLACE TEMP TABLE events AS {wanted}")
            first = fragment("funnel_first_of_events")
        else:  # most events are of the first stage alone: counted where they are, never copied
            con.execute(composed("CREATE OR REPLACE TEMP TABLE events AS $wanted AND s.stage_no > 1", wanted=wanted))
            first = fragment("funnel_first", among=among)
        con.execute(f"CREATE OR REPLACE TEMP TABLE funnel_reached AS {first}")
        for number, step in enumerate(steps[1:], start=2):
            con.execute(
                f"INSERT INTO funnel_reached {statement('funnel_step', stage_no=number, after_us=round(step.after_hours * HOUR_US))}"
            )
        con.execute(f"INSERT INTO meta.funnel_persons {fragment('funnel_persons')}")
        name_stages(con, steps)
        con.execute("DELETE FROM marts.funnel")
        written = con.execute(f"INSERT INTO marts.funnel {fragment('funnel')}").fetchall()[0][0]
    drop_views(con, "person_origin")
    drop_tables(con, "affected", "events", "funnel_stages", "funnel_reached", "funnel_names")
    return TableResult(written)


_AMONG_THE_MOMENT = "row_number() OVER (PARTITION BY e.person_no, e.event_us ORDER BY e.event_id, e.write_key)"
"""The number of an event within its moment: ids are read only where stages share an event."""


def _stages_share_an_event(con: duckdb.DuckDBPyConnection) -> bool:
    shared = "SELECT 1 FROM funnel_stages GROUP BY event_name HAVING count(DISTINCT stage_no) > 1 LIMIT 1"
    return bool(con.execute(shared).fetchall())
