"""The build steps by the names the assets call, in the order they run."""

from __future__ import annotations

from gtm_dagster.warehouse.core.steps import (
    StepResult,
    build_conversions,
    build_identities,
    build_sessions,
    build_touchpoints,
)
from gtm_dagster.warehouse.landing.from_log import LandResult, land_log
from gtm_dagster.warehouse.marts.credits import (
    ModelStatus,
    build_attribution_status,
    build_channel_attribution,
    build_credits,
)
from gtm_dagster.warehouse.marts.journeys import build_funnel, build_retention
from gtm_dagster.warehouse.staging.books import BookRow, books
from gtm_dagster.warehouse.staging.stage import StageResult, fresh_files, stage
from gtm_dagster.warehouse.tables import BuildContext, SettingsChangedError, check_settings

STEPS_IN_ORDER = (
    build_identities,
    build_sessions,
    build_conversions,
    build_touchpoints,
    build_credits,
    build_attribution_status,
    build_channel_attribution,
    build_funnel,
    build_retention,
)

__all__ = [
    "STEPS_IN_ORDER",
    "BookRow",
    "BuildContext",
    "LandResult",
    "ModelStatus",
    "SettingsChangedError",
    "StageResult",
    "StepResult",
    "books",
    "build_attribution_status",
    "build_channel_attribution",
    "build_conversions",
    "build_credits",
    "build_funnel",
    "build_identities",
    "build_retention",
    "build_sessions",
    "build_touchpoints",
    "check_settings",
    "fresh_files",
    "land_log",
    "stage",
]
