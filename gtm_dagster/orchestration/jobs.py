"""The jobs that write the warehouse."""

import dagster as dg

from gtm_dagster.orchestration.run_labels import WRITES

REFRESH, REBUILD = "refresh", "rebuild"

refresh_job = dg.define_asset_job(
    REFRESH,
    selection=dg.AssetSelection.all(),
    description="Everything that is new: land the log, validate, build what changed, check, publish the serving copy. The "
    "sensor `event_log_sensor` asks for it within a minute of an event, the schedule `daily_refresh` once a day. It stops "
    "when a setting changed that decides what tables hold: then launch `rebuild`.",
    tags=WRITES,
    executor_def=dg.in_process_executor,
)

rebuild_job = dg.define_asset_job(
    REBUILD,
    selection=dg.AssetSelection.all(),
    description="As `refresh`, and allowed to build tables anew whose settings or statements changed; it says which. With "
    "`full: true` everything is made again from the landing files: the plan of today judges every event.",
    tags=WRITES,
    executor_def=dg.in_process_executor,
    config={"resources": {"warehouse": {"config": {"allow_rebuild": True, "full": False}}}},
)
