"""What Dagster loads of a deployment: `build_defs(**overrides) -> Definitions`, and `defs`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import dagster as dg

from gtm_dagster.orchestration.dashboard_pages import with_pages
from gtm_dagster.orchestration.guard_jobs import guard_jobs
from gtm_dagster.orchestration.history_jobs import history_pruning_job
from gtm_dagster.orchestration.jobs import rebuild_job, refresh_job
from gtm_dagster.orchestration.late_tables import freshness_of, with_freshness
from gtm_dagster.orchestration.loaded_settings import loaded_settings
from gtm_dagster.orchestration.own_definitions import no_deployment, not_ours, with_own_modules
from gtm_dagster.orchestration.ramp_jobs import ramp_job
from gtm_dagster.orchestration.resources import warehouse_of
from gtm_dagster.orchestration.run_outcomes import notify_job
from gtm_dagster.settings import Origin, Settings
from gtm_dagster.settings.deployment_folder import find_own_code, template_modules
from gtm_dagster.taxonomy import PlanError, load_plan
from gtm_dagster.taxonomy.settings_for_plan import settings_for_plan

find_own_code()
try:
    import assets
    import sensors
    from assets import core, ingestion, marts, rollout, serving, staging
    from sensors.conversion_guard import conversion_guard
    from sensors.event_log import event_log_sensor
    from sensors.guard_ramp import guard_ramp
    from sensors.run_outcomes import failed_runs, finished_runs
    from sensors.schedules import daily_refresh, nightly_pruning
except ImportError as error:
    package, _, module = (error.name or "").partition(".")
    if package not in {"assets", "sensors"}:
        raise
    raise ImportError(not_ours(error) if module else no_deployment(package), name=error.name) from error


OURS = {package: template_modules(package.__name__) for package in (assets, sensors)}
"""The template's modules of each package; any other is the deployment's own, and what it defines stands beside."""


def build_defs(*, settings: Settings | None = None, resources: dict[str, Any] | None = None) -> dg.Definitions:
    """The definitions of one deployment: assets, sensors, schedules and guard jobs have the same settings.

    `settings` and `resources` replace those of the deployment (commands and tests do). Raises SettingsError, also for a name that the plan does not have. A plan that cannot be used is the error of the run
    that needs it: the guards are watched all the same.
    """
    origin: Origin | None = None
    if settings is None:
        settings, origin = loaded_settings()
    with suppress(PlanError):
        settings = settings_for_plan(settings, load_plan(settings.plan_file), origin)
    try:
        house = _house(settings, origin, resources or {})
    except AttributeError as error:
        if getattr(error.obj, "__name__", "").partition(".")[0] not in {"assets", "sensors"}:
            raise
        raise ImportError(not_ours(error)) from error
    return with_own_modules(house, OURS)


def _house(settings: Settings, origin: Origin | None, resources: dict[str, Any]) -> dg.Definitions:
    guards, ramp = guard_jobs(settings), ramp_job(settings)
    pruning, notify = history_pruning_job(settings), notify_job(settings)
    pipeline = [refresh_job, rebuild_job]
    return dg.Definitions(
        assets=with_pages(
            [
                *ingestion.ASSETS,
                staging.staging,
                *core.ASSETS,
                *with_freshness([*marts.ASSETS, serving.warehouse_copy], freshness_of(settings)),
                *rollout.ASSETS,
            ],
            settings,
        ),
        jobs=[*pipeline, pruning, notify, *guards.all, ramp],
        sensors=[
            event_log_sensor(settings),
            conversion_guard(settings, guards),
            guard_ramp(settings, ramp, guards.page),
            failed_runs(settings, [*pipeline, pruning], notify),
            finished_runs(settings, pipeline, notify),
        ],
        schedules=[daily_refresh(settings), nightly_pruning(settings, pruning)],
        resources={"warehouse": warehouse_of(settings, origin), **resources},
        executor=dg.in_process_executor,
    )


defs = build_defs()
