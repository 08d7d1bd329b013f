"""Landing zone -> clean events and quarantine."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb

from gtm_dagster.orchestration import asset_checks as checks
from gtm_dagster.orchestration.failures import in_words
from gtm_dagster.orchestration.metadata import bars_of, books_table, inline, picture, sample_when_due
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.orchestration.run_labels import news_tags
from gtm_dagster.orchestration.table_assets import table_spec, written
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.taxonomy.plan_in_use import record_plan
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.schema import table_of
from gtm_dagster.warehouse.schema.ddl import create
from gtm_dagster.warehouse.staging.books import BookRow, books, reasons
from gtm_dagster.warehouse.staging.last_staging import imported_rows
from gtm_dagster.warehouse.staging.stage import StageResult, fresh_files, stage
from gtm_dagster.warehouse.state import first_of_day

TABLES = EVENTS, QUARANTINE = table_of("staging.events"), table_of("staging.quarantine")
IMPORTS = dg.AssetKey(["ingestion", "imports"])
Yielded = dg.MaterializeResult | dg.AssetCheckResult


@dg.multi_asset(
    name="staging",
    specs=[
        table_spec(EVENTS, "gtm_dagster.warehouse.staging.deduplication", skippable=True),
        table_spec(QUARANTINE, "gtm_dagster.warehouse.staging.stage", skippable=True),
    ],
    check_specs=[checks.contract_spec(EVENTS), *checks.check_specs(EVENTS), *checks.check_specs(QUARANTINE)],
    can_subset=True,
)
def staging(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Yielded]:
    """Validate, deduplicate and append every landed file that was not staged yet, in one transaction.

    Both tables are written whichever of them is asked for: they share books that have to balance.
    """
    with in_words(), warehouse.writing() as con:
        results = _staged(context, warehouse, con) if context.selected_asset_keys else _checked(context, warehouse, con)
    yield from results


def _staged(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, con: duckdb.DuckDBPyConnection
) -> list[Yielded]:
    ctx, began = warehouse.context, time.perf_counter()
    rebuilding = check_settings(con, ctx, warehouse.allow_rebuild)
    for line in rebuilding:
        context.log.info(line)
    try:
        staged = stage(con, ctx)
    except ContractBreak as error:
        why = "the contract of the batch is broken; nothing was written"
        failed = [checks.contract_result(EVENTS, str(error)), *checks.not_run((EVENTS, QUARANTINE), reason=why)]
        return [*checks.asked_for(context, failed)]
    seconds = time.perf_counter() - began
    record_plan(ctx.settings.state_dir, ctx.plan, "gtm refresh")
    if staged.read:
        imported = imported_rows(con)
        if imported:
            context.log_event(dg.AssetObservation(IMPORTS, metadata={"new_rows": imported}))
        news = news_tags(
            context.run.tags, staged.clean, staged.quarantined, staged.suppressed, only_imported=imported == staged.read
        )
        context.instance.add_run_tags(context.run.run_id, news)
    days = books(con)
    rebuilt = {"rebuilding": "\n".join(rebuilding)} if rebuilding else {}
    contract = checks.asked_for(context, [checks.contract_result(EVENTS, None)])
    return [
        *written(context, con, ctx, EVENTS, {**rebuilt, **_events(con, staged, days, seconds)}, contract),
        *written(context, con, ctx, QUARANTINE, _quarantine(con, staged, days, seconds)),
    ]


def _checked(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, con: duckdb.DuckDBPyConnection
) -> list[Yielded]:
    """The checks alone: the contract of what has landed and is not staged, the others over everything."""
    create(con)
    broken = None
    try:
        fresh_files(con, warehouse.context)
    except ContractBreak as error:
        broken = str(error)
    contract = checks.asked_for(context, [checks.contract_result(EVENTS, broken)])
    return [*contract, *(each for table in TABLES for each in checks.alone(context, con, warehouse.context, table))]


def _events(con: duckdb.DuckDBPyConnection, staged: StageResult, days: list[BookRow], seconds: float) -> dict[str, Any]:
    changed = staged.files > 0 or staged.withdrawn > 0
    daily = [(row.ingest_date.isoformat()[5:], float(row.clean)) for row in days]
    shown: dict[str, Any] = {
        "books": books_table(days),
        "last_days": inline(bars_of("clean events by ingest day", daily[-6:])),
    }
    if changed and first_of_day(con, "picture of staging.events"):
        shown["daily_volume"] = picture(bars_of("clean events by ingest day", daily[-45:]))
    return {
        **shown,
        **sample_when_due(con, EVENTS, changed=changed),
        **staged.metadata,
        "dagster/row_count": sum(row.clean for row in days),
        "new_rows": staged.clean,
        **({"reject_rate": round(staged.quarantined / staged.read, 4)} if staged.read else {}),
        "bots": sum(row.bots for row in days),
        "seconds": round(seconds, 3),
    }


def _quarantine(
    con: duckdb.DuckDBPyConnection, staged: StageResult, days: list[BookRow], seconds: float
) -> dict[str, Any]:
    by_reason = [(code, float(n)) for code, n in reasons(con, 12)]
    return {
        "reasons": inline(bars_of("quarantined rows by reason", by_reason)),
        **sample_when_due(con, QUARANTINE, changed=staged.quarantined > 0 or staged.withdrawn > 0),
        "dagster/row_count": sum(row.quarantined for row in days),
        "new_rows": staged.quarantined,
        "seconds": round(seconds, 3),
    }
