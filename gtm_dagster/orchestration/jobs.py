"""The job that refreshes everything."""

import dagster as dg

from gtm_dagster.orchestration.run_labels import WRITES

REFRESH = "refresh"

refresh_job = dg.define_asset_job(
    REFRESH,
    selection=dg.AssetSelection.all(),
    description="Land the log, validate, rebuild what changed, check the laws, publish the serving copy.",
    tags=WRITES,
    executor_def=dg.in_process_executor,
)
