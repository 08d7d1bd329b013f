"""The daily refresh, which keeps gates, cohorts and the serving copy current on days without new events, and the pruning."""

import dagster as dg

from gtm_dagster.orchestration.history_jobs import CRON
from gtm_dagster.orchestration.jobs import refresh_job
from gtm_dagster.settings import Settings


def daily_refresh(settings: Settings) -> dg.ScheduleDefinition:
    """A refresh by `refresh.cron` in the report time zone."""
    return dg.ScheduleDefinition(
        name="daily_refresh",
        job=refresh_job,
        cron_schedule=settings.refresh.cron,
        execution_timezone=settings.report_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The whole refresh once a day, also on days without events: gates, cohorts and the serving copy stay current.",
    )


def nightly_pruning(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Old runs end at night in the report time zone."""
    return dg.ScheduleDefinition(
        name="nightly_pruning",
        job=job,
        cron_schedule=CRON,
        execution_timezone=settings.report_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Ends runs older than {settings.history.days} days (`history.days`).",
    )
