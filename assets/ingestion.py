"""Event log and imported files -> landing zone."""

import time

import dagster as dg

from gtm_dagster.orchestration.failures import in_words
from gtm_dagster.orchestration.metadata import code_references
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.orchestration.table_assets import OWNER
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log
from gtm_dagster.warehouse.landing.upkeep import keep_up

event_log = dg.AssetSpec(
    ["ingestion", "event_log"],
    description="What the collector accepted, once and durably: `events.db` in the state directory, or a topic of Kafka (`event_log`). Nothing is "
    "made here; `gtm collect` writes it, and the stream worker reads it beside the refresh.\n\n`gtm doctor`",
    group_name="ingestion",
    kinds={"sqlite"},
    owners=[OWNER],
    tags={"layer": "source"},
)

imports = dg.AssetSpec(
    ["ingestion", "imports"],
    description="Files that `gtm import` admitted: events and spend from before the deployment, or from elsewhere. They "
    "lie in the landing zone, each import a batch that can be withdrawn.\n\n`gtm imports list`",
    group_name="ingestion",
    kinds={"file"},
    owners=[OWNER],
    tags={"layer": "source"},
)


@dg.asset(
    key=["ingestion", "landing_events"],
    deps=[event_log, imports],
    group_name="ingestion",
    kinds={"parquet"},
    owners=[OWNER],
    tags={"layer": "ingestion"},
    metadata=code_references(land_log.__module__),
)
def landing_events(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Immutable Parquet files by ingest date: what the event log holds past the last landed offset, and imports.

    A batch counts when its manifest is written, after all of its files; a killed run lands the same range again. Closed
    days of the log are compacted into one batch each, and sealed originals end after `quarantine.days`.
    """
    began = time.perf_counter()
    with in_words():
        landed = land_log(warehouse.context)
        kept_up = keep_up(warehouse.settings)
        files = Landing(warehouse.settings.landing_dir).files()
    if landed.rows:
        context.log_event(
            dg.AssetObservation(event_log.key, metadata={"new_rows": landed.rows, "offset": landed.last_seq})
        )
    return dg.MaterializeResult(
        metadata={
            **{name: number for name, number in landed.metadata.items() if name != "rows"},
            **kept_up.metadata,
            "dagster/row_count": sum(file.rows for file in files),
            "new_rows": landed.rows,
            "landed_files": len(files),
            "seconds": round(time.perf_counter() - began, 3),
        }
    )


ASSETS = (event_log, imports, landing_events)
