"""Clean events -> identities, sessions, conversions, touchpoints."""

import dagster as dg

from assets.declaring import table
from gtm_dagster.orchestration import asset_checks as checks
from gtm_dagster.orchestration.table_assets import table_asset
from gtm_dagster.warehouse.build import build_conversions, build_identities, build_sessions, build_touchpoints

identities = table_asset(
    table(
        "core",
        "identities",
        "Who an anonymous id belongs to: the earliest user it was seen with, earlier events included.",
        [("staging", "events")],
    ),
    build_identities,
    checks.specs("core", "identities"),
)
sessions = table_asset(
    table(
        "core",
        "sessions",
        "Sessions by the definition of the settings (ga4, ua, segment, tracker); a late event may merge or split them.",
        [("staging", "events"), ("core", "identities")],
    ),
    build_sessions,
    checks.specs("core", "sessions"),
)
conversions = table_asset(
    table(
        "core",
        "conversions",
        "Events the settings call a conversion; value NULL where the event has none.",
        [("staging", "events"), ("core", "identities"), ("core", "sessions")],
    ),
    build_conversions,
    checks.specs("core", "conversions"),
)
touchpoints = table_asset(
    table(
        "core",
        "touchpoints",
        "Sessions of the same person that began at most the longest lookback before a conversion, never after it.",
        [("core", "sessions"), ("core", "conversions")],
    ),
    build_touchpoints,
    checks.specs("core", "touchpoints"),
)

ASSETS: list[dg.AssetsDefinition] = [identities, sessions, conversions, touchpoints]
