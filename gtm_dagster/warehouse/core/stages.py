"""When persons first did the stages that w_shaped and full_path weigh (`attribution.stages`), before each conversion."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.literals import composed, literal
from gtm_dagster.warehouse.statements import statement


def stage_events(ctx: BuildContext, events: str, person: str, counted: str) -> str:
    """The query of the events of stages (person_id, stage_no, event_us) in the table `events`, by its column `person`.

    `counted`: the condition on `e` that leaves out what programs sent, where sessions leave it out.
    """
    stages = ", ".join(f"({no}, {literal(name)})" for no, name in enumerate(ctx.settings.attribution.stages, 1))
    return composed(
        """SELECT e.$person AS person_id, s.stage_no, e.event_us FROM $events e
        JOIN (SELECT * FROM (VALUES $stages) AS v(stage_no, event_name)$none) s ON s.event_name = e.event_name AND $counted""",
        counted=counted,
        person=person,
        events=events,
        stages=stages or "(0, '')",
        none="" if stages else " WHERE false",
    )


def find_stages(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> None:
    """The temporary table `conversion_stages` for the conversions of `conversion_moments`.

    A person's first event of a stage may be as old as the log, so all events of their persons are looked at.
    """
    con.execute(
        composed(
            """CREATE OR REPLACE TEMP VIEW stage_events AS
            SELECT * FROM ($events) WHERE person_id IN (SELECT person_id FROM conversion_moments)""",
            events=stage_events(ctx, "meta.events", "person_no", "e.counted"),
        )
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE conversion_stages AS {statement('conversion_stages')}")
    con.execute("DROP VIEW temp.stage_events")
