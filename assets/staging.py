"""Landing zone -> clean events and quarantine."""

from collections.abc import Iterator

import dagster as dg

from assets.declaring import table
from gtm_dagster.orchestration import asset_checks as checks
from gtm_dagster.orchestration.metadata import bars, picture
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.taxonomy.landing_schema import ContractBreak
from gtm_dagster.warehouse.build import books, check_settings, stage

EVENTS, QUARANTINE = ("staging", "events"), ("staging", "quarantine")


@dg.multi_asset(
    name="staging",
    specs=[
        table(
            *EVENTS,
            "Clean events: each (write_key, event_id) once, judged by the tracking plan, identifiers as pseudonyms.",
            [("ingestion", "landing_events")],
            skippable=True,
        ),
        table(
            *QUARANTINE,
            "Rows the tracking plan refuses, with every reason; personal values masked, the original sealed.",
            [("ingestion", "landing_events")],
            skippable=True,
        ),
    ],
    check_specs=[checks.contract_spec(*EVENTS), *checks.specs(*EVENTS), *checks.specs(*QUARANTINE)],
)
def staging(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Validate, deduplicate and append every landed file that was not staged yet, in one transaction."""
    ctx = warehouse.context
    with warehouse.writing() as con:
        rebuilding = check_settings(con, ctx, warehouse.allow_rebuild)
        for reason in rebuilding:
            context.log.info(reason)
        try:
            staged = stage(con, ctx)
        except ContractBreak as error:
            yield checks.contract_result(dg.AssetKey(EVENTS), str(error))
            for asset in (EVENTS, QUARANTINE):
                yield from checks.not_run(*asset, reason="the contract of the batch is broken; nothing was written")
            return
        days = books(con)
        daily = [(row.ingest_date.isoformat()[5:], float(row.clean)) for row in days]
        reasons = [
            (str(code), float(n))
            for code, n in con.execute(
                "SELECT reason_codes, count(*) FROM staging.quarantine GROUP BY 1 ORDER BY 2 DESC LIMIT 12"
            ).fetchall()
        ]
        total = {"clean": sum(r.clean for r in days), "quarantined": sum(r.quarantined for r in days)}
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey(EVENTS),
            metadata={
                **staged.metadata,
                **({"rebuilding": "\n".join(rebuilding)} if rebuilding else {}),
                "dagster/row_count": total["clean"],
                "last_days": bars("clean events by ingest day", daily[-6:]),
                "daily_volume": picture("clean events by ingest day", daily[-45:]),
            },
            check_results=[checks.contract_result(dg.AssetKey(EVENTS), None), *checks.results(con, ctx, *EVENTS)],
        )
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey(QUARANTINE),
            metadata={
                "dagster/row_count": total["quarantined"],
                "newly_quarantined": staged.quarantined,
                "reasons": bars("quarantined rows by reason", reasons),
            },
            check_results=checks.results(con, ctx, *QUARANTINE),
        )
