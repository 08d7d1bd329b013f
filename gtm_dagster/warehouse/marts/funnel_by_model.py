"""`marts.funnel_by_model`: who brought the persons of each stage, under four models.

The shares of each person are kept (`meta.funnel_by_model_persons`): a batch changes the persons it names, and the mart is
counted from there.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import drop_tables, drop_views
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.by_person import is_counted, take_persons
from gtm_dagster.warehouse.marts.funnel_names import name_stages
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment, statement

_STEP = "funnel_by_model"


def build_funnel_by_model(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """The sessions at or before a stage share its person; there is no lookback."""
    steps = ctx.settings.funnel.steps
    if is_counted(con, _STEP, steps):
        return TableResult(count(con, "marts.funnel_by_model"), changed=False)
    with transaction(con):
        among = take_persons(con, _STEP, steps)
        name_stages(con, steps)
        con.execute(
            composed(
                """CREATE OR REPLACE TEMP VIEW reached_stages AS
            SELECT person_no AS person_id, stage_no, reached_us FROM meta.funnel_persons WHERE $among""",
                among=among,
            )
        )
        con.execute(
            composed(
                """CREATE OR REPLACE TEMP VIEW session_starts AS
            SELECT person_no AS person_id, start_us, tie_no, source_key, source_us FROM core.sessions WHERE $among""",
                among=among,
            )
        )
        con.execute("CREATE OR REPLACE TEMP VIEW sources AS SELECT source_key, channel FROM core.sources")
        con.execute(f"INSERT INTO meta.funnel_by_model_persons {statement('funnel_touches')}")
        con.execute("DELETE FROM marts.funnel_by_model")
        written = con.execute(f"INSERT INTO marts.funnel_by_model {fragment('funnel_by_model')}").fetchall()[0][0]
    drop_views(con, "reached_stages", "session_starts", "sources", "person_origin")
    drop_tables(con, "affected", "funnel_names")
    return TableResult(written)
