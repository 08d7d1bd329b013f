"""The report time zone's day of a moment, as SQL."""

from __future__ import annotations

from gtm_dagster.settings import Settings


def local_time(settings: Settings, moment_us: str) -> str:
    """The local time of a column of microseconds UTC."""
    moment = f"make_timestamp({moment_us})"
    zone = settings.report_timezone
    return moment if zone == "UTC" else f"timezone('{zone}', timezone('UTC', {moment}))"
