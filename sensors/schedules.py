"""The daily refresh: it keeps gates, cohorts and the serving copy current on days without new events."""

import dagster as dg

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
        description="The whole refresh once a day.",
    )
