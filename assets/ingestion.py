"""Event log -> landing zone."""

import dagster as dg

from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.orchestration.table_assets import OWNER
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log
from gtm_dagster.warehouse.landing.upkeep import keep_up


@dg.asset(
    key=["ingestion", "landing_events"],
    group_name="ingestion",
    kinds={"parquet"},
    owners=[OWNER],
    tags={"layer": "ingestion"},
)
def landing_events(warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Immutable Parquet files by ingest date: what the event log holds past the last landed offset, and imports.

    A batch counts when its manifest is written, after all of its files; a killed run lands the same range again. Closed
    days of the log are compacted into one batch each, and sealed originals end after `quarantine.days`.
    """
    landed = land_log(warehouse.context)
    kept_up = keep_up(warehouse.settings)
    files = Landing(warehouse.settings.landing_dir).files()
    return dg.MaterializeResult(
        metadata={
            **landed.metadata,
            **kept_up.metadata,
            "landed_files": len(files),
            "landed_rows": sum(file.rows for file in files),
        }
    )
