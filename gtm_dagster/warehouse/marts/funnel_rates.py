"""`marts.funnel_rates`: rates between stages and the time to each, by day and channel of the first session."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import drop_tables
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.marts.by_person import is_counted, take_counted
from gtm_dagster.warehouse.marts.funnel_names import name_stages
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment

_STEP = "funnel_rates"


def build_funnel_rates(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Counted from what each person reached (`meta.funnel_persons`)."""
    steps = ctx.settings.funnel.steps
    if is_counted(con, _STEP, steps):
        return TableResult(count(con, "marts.funnel_rates"), changed=False)
    with transaction(con):
        take_counted(con, _STEP, steps)
        name_stages(con, steps)
        con.execute("DELETE FROM marts.funnel_rates")
        written = con.execute(f"INSERT INTO marts.funnel_rates {fragment('funnel_rates')}").fetchall()[0][0]
    drop_tables(con, "affected", "funnel_names")
    return TableResult(written)
