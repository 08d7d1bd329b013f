"""The job that refreshes everything."""

import dagster as dg

REFRESH = "refresh"

refresh_job = dg.define_asset_job(
    REFRESH,
    selection=dg.AssetSelection.all(),
    description="Land the log, validate, rebuild what changed, check the laws, publish the serving copy.",
    tags={"gtm/writes": "warehouse"},
    executor_def=dg.in_process_executor,
)
