"""Landing zone -> clean events and quarantine."""

from collections.abc import Iterator

import dagster as dg

from gtm_dagster.orchestration import asset_checks as checks
from gtm_dagster.orchestration.metadata import bars_of, inline, picture
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.orchestration.run_labels import news_tags
from gtm_dagster.orchestration.table_assets import table_spec
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.taxonomy.plan_in_use import record_plan
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.schema import table_of
from gtm_dagster.warehouse.staging.books import books, reasons
from gtm_dagster.warehouse.staging.last_staging import imported_rows
from gtm_dagster.warehouse.staging.stage import stage
from gtm_dagster.warehouse.state import first_of_day

EVENTS, QUARANTINE = table_of("staging.events"), table_of("staging.quarantine")


@dg.multi_asset(
    name="staging",
    specs=[table_spec(EVENTS, skippable=True), table_spec(QUARANTINE, skippable=True)],
    check_specs=[checks.contract_spec(EVENTS), *checks.check_specs(EVENTS), *checks.check_specs(QUARANTINE)],
)
def staging(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Validate, deduplicate and append every landed file that was not staged yet, in one transaction."""
    ctx = warehouse.context
    with warehouse.writing() as con:
        rebuilding = check_settings(con, ctx, warehouse.allow_rebuild)
        for line in rebuilding:
            context.log.info(line)
        try:
            staged = stage(con, ctx)
        except ContractBreak as error:
            yield checks.contract_result(EVENTS, str(error))
            for table in (EVENTS, QUARANTINE):
                yield from checks.not_run(table, reason="the contract of the batch is broken; nothing was written")
            return
        record_plan(ctx.settings.state_dir, ctx.plan, "gtm refresh")
        days = books(con)
        changed = staged.files > 0 or staged.withdrawn > 0
        daily = [(row.ingest_date.isoformat()[5:], float(row.clean)) for row in days]
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey(["staging", "events"]),
            metadata={
                **staged.metadata,
                **({"rebuilding": "\n".join(rebuilding)} if rebuilding else {}),
                "dagster/row_count": sum(row.clean for row in days),
                "bots": sum(row.bots for row in days),
                "last_days": inline(bars_of("clean events by ingest day", daily[-6:])),
                **(
                    {"daily_volume": picture(bars_of("clean events by ingest day", daily[-45:]))}
                    if changed and first_of_day(con, "picture of staging.events")
                    else {}
                ),
            },
            check_results=[
                checks.contract_result(EVENTS, None),
                *checks.check_results(con, ctx, EVENTS, context.run.run_id),
            ],
        )
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey(["staging", "quarantine"]),
            metadata={
                "dagster/row_count": sum(row.quarantined for row in days),
                "newly_quarantined": staged.quarantined,
                "reasons": inline(
                    bars_of("quarantined rows by reason", [(code, float(n)) for code, n in reasons(con, 12)])
                ),
            },
            check_results=checks.check_results(con, ctx, QUARANTINE, context.run.run_id),
        )
