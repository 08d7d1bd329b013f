"""Core -> what people read: credit, channel performance, funnel, retention, the day at a glance."""

from gtm_dagster.orchestration.table_assets import layer_assets

ASSETS = layer_assets("marts")
