"""`marts.funnel_accounts`: how far accounts come through any of their persons."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import drop_tables
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.marts.by_person import is_counted, take_counted
from gtm_dagster.warehouse.marts.funnel_names import name_stages
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment

_STEP = "funnel_accounts"


def build_funnel_accounts(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """An account reaches a stage when a person does who belongs to it at that moment, and with it the stages before."""
    steps = ctx.settings.funnel.steps
    if is_counted(con, _STEP, steps):
        return TableResult(count(con, "marts.funnel_accounts"), changed=False)
    with transaction(con):
        take_counted(con, _STEP, steps)
        name_stages(con, steps)
        con.execute("DELETE FROM marts.funnel_accounts")
        written = 0
        if count(con, "core.accounts"):
            accounts = fragment(
                "funnel_accounts", stages=fragment("account_stages"), origins=fragment("account_origins")
            )
            written = con.execute(f"INSERT INTO marts.funnel_accounts {accounts}").fetchall()[0][0]
    drop_tables(con, "affected", "funnel_names")
    return TableResult(written)
