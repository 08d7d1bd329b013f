"""The serving copy that dashboards, notebooks and `gtm query` read."""

import time

import dagster as dg

from gtm_dagster.orchestration.asset_checks import key_of
from gtm_dagster.orchestration.failures import in_words
from gtm_dagster.orchestration.guard_jobs import ROLLBACKS
from gtm_dagster.orchestration.metadata import code_references
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.orchestration.table_assets import OWNER
from gtm_dagster.warehouse.last_refresh import write_last_refresh
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.schema import schema_of


@dg.asset(
    key=["serving", "warehouse_copy"],
    deps=[*(key_of(table) for table in schema_of("marts")), ROLLBACKS],
    group_name="serving",
    kinds={"duckdb"},
    owners=[OWNER],
    tags={"layer": "serving"},
    metadata=code_references(publish.__module__),
)
def warehouse_copy(warehouse: WarehouseResource) -> dg.MaterializeResult:
    """`serving.duckdb`: core, marts, ops and the quarantine, swapped in by rename; readers never wait for a writer.

    What changed replaces what it was in a copy of the file before; the first time, and when most changed, all is written.
    """
    began = time.perf_counter()
    with in_words(), warehouse.writing() as con:
        published = publish(con, warehouse.settings)
        write_last_refresh(con, warehouse.settings, warehouse.seconds)
    written = "what changed" if published.changed else "nothing: nothing changed"
    if published.whole:
        written = f"everything: {published.why_whole}"
    return dg.MaterializeResult(
        metadata={
            "tables": published.tables,
            "dagster/row_count": published.rows,
            "size_bytes": published.bytes,
            "written": written,
            "seconds": round(time.perf_counter() - began, 3),
            "readers": dg.MetadataValue.md('`gtm query "SHOW ALL TABLES"` · `gtm tables` · `gtm dash`'),
        }
    )
