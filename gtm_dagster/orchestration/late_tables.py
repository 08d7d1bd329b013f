"""When a table is late: derived from how often `refresh.cron` makes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator

from gtm_dagster.settings import Settings

LATE_AFTER = timedelta(hours=2)
"""A refresh may take this long before the table is called late."""
_FROM = datetime(2026, 1, 2, tzinfo=UTC)
_TICKS = 1_000
"""A Friday: the first thousand ticks of a cron of working days and minutes hold its weekend."""


def freshness_of(settings: Settings) -> dg.FreshnessPolicy:
    """Warns when the longest pause of the cron has passed and two hours more, fails after twice that pause (at least 6 hours
    after the warning)."""
    pause = longest_pause(settings.refresh.cron, settings.report_timezone)
    warn = pause + LATE_AFTER
    return dg.FreshnessPolicy.time_window(fail_window=max(2 * pause, warn + timedelta(hours=6)), warn_window=warn)


def with_freshness(assets: list[dg.AssetsDefinition], policy: dg.FreshnessPolicy) -> list[dg.AssetsDefinition]:
    """The assets, each with the policy."""
    return [each.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=policy)) for each in assets]


@cache
def longest_pause(cron: str, timezone: str) -> timedelta:
    """The longest time between two ticks of a cron in a time zone."""
    ticks = islice(schedule_execution_time_iterator(_FROM.timestamp(), cron, timezone, ascending=True), _TICKS)
    seconds = (tick.timestamp() for tick in ticks)  # two local times would leave out a change of the clock
    return timedelta(seconds=max((later - earlier for earlier, later in pairwise(seconds)), default=86_400.0))
