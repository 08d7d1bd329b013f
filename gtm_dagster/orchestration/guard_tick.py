"""The guard without a daemon: one tick of its sensor and the runs it asks for, in this process on the same instance."""

from __future__ import annotations

import logging
from collections.abc import Callable

import dagster as dg

from gtm_dagster.orchestration.guard_jobs import ROLLBACK
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.orchestration.run_origin import recorded_as
from gtm_dagster.settings import Settings

SENSOR = "conversion_guard"


def guard_once(settings: Settings, build_defs: Callable[..., dg.Definitions]) -> list[str]:
    """Evaluate the sensor `conversion_guard` and run what it requests; returns the ids of the runs, failed ones too."""
    definitions = build_defs(settings=settings)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with instance_of(settings) as instance:
        sensor = definitions.resolve_sensor_def(SENSOR)
        logging.disable(logging.INFO)  # outside a daemon the log of a tick goes to stderr; the runs say the same
        try:
            with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
                tick = sensor.evaluate_tick(context)
        finally:
            logging.disable(logging.NOTSET)
        for page in tick.asset_events:
            instance.report_runless_asset_event(page)
        done = []
        for request in tick.run_requests or ():
            job = definitions.resolve_job_def(request.job_name or ROLLBACK)
            with recorded_as(instance, job.name):
                result = job.execute_in_process(
                    instance=instance,
                    raise_on_error=False,
                    run_config={**request.run_config, **quiet},
                    tags={**request.tags, **({"dagster/run_key": request.run_key} if request.run_key else {})},
                )
            done.append(result.run_id)
    return done
