"""Clean events -> identities, sessions, conversions, touchpoints."""

from gtm_dagster.orchestration.table_assets import layer_assets

ASSETS = layer_assets("core")
