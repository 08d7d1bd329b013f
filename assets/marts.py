"""Core -> what people read: credit, channel performance, funnel, retention."""

import dagster as dg

from assets.declaring import table
from gtm_dagster.orchestration import asset_checks as checks
from gtm_dagster.orchestration.table_assets import Chart, table_asset
from gtm_dagster.warehouse.build import (
    build_attribution_status,
    build_channel_attribution,
    build_credits,
    build_funnel,
    build_retention,
)

attribution_status = table_asset(
    table(
        "marts",
        "attribution_status",
        "Which model and window is computed, and why another is not (multi-touch models wait for consistent history).",
        [("staging", "events")],
    ),
    build_attribution_status,
    checks.specs("marts", "attribution_status"),
)
attribution_credits = table_asset(
    table(
        "marts",
        "attribution_credits",
        "Credit of each touch for each conversion, model and window; what no touch earned is (unattributed).",
        [("core", "touchpoints"), ("core", "conversions"), ("marts", "attribution_status")],
    ),
    build_credits,
    checks.specs("marts", "attribution_credits"),
)
channel_attribution = table_asset(
    table(
        "marts",
        "channel_attribution",
        "Credited conversions and value by day, type, currency, model, window and channel; each model on its own.",
        [("marts", "attribution_credits")],
    ),
    build_channel_attribution,
    checks.specs("marts", "channel_attribution"),
    Chart(
        "conversions by channel, first model",
        """SELECT channel, sum(conversions) FROM marts.channel_attribution
        WHERE (model, window_hours) = (SELECT (model, window_hours) FROM marts.attribution_status WHERE computed ORDER BY rowid LIMIT 1)
        GROUP BY 1 ORDER BY 2 DESC LIMIT 12""",
    ),
)
funnel = table_asset(
    table(
        "marts",
        "funnel",
        "Persons by stage and source of their first session; ordered, each stage at or after the one before.",
        [("staging", "events"), ("core", "sessions")],
    ),
    build_funnel,
    checks.specs("marts", "funnel"),
    Chart(
        "persons by stage", "SELECT stage, sum(persons) FROM marts.funnel GROUP BY stage, stage_no ORDER BY stage_no"
    ),
)
retention = table_asset(
    table(
        "marts",
        "retention",
        "Cohorts by first period of activity: how many persons came back 0, 1, 2 ... periods later.",
        [("staging", "events"), ("core", "sessions")],
    ),
    build_retention,
    checks.specs("marts", "retention"),
    Chart(
        "persons retained by period, all cohorts",
        "SELECT 'period ' || period, sum(retained) FROM marts.retention GROUP BY period ORDER BY period LIMIT 12",
    ),
)

ASSETS: list[dg.AssetsDefinition] = [attribution_status, attribution_credits, channel_attribution, funnel, retention]
