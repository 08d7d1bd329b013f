"""Clean events -> identities, sessions, conversions, touchpoints; imports of spend -> spend by day."""

from gtm_dagster.orchestration.table_assets import layer_assets

ASSETS = layer_assets("core")
