"""The way from an asset to its page on the dashboard: a link among the asset's metadata, there before anything ran."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from gtm_dagster.dashboard.links import dashboard_url, page_of
from gtm_dagster.settings import Settings

_PAGES = {
    "ingestion/event_log": "/tracking",
    "ingestion/imports": "/tracking",
    "ingestion/landing_events": "/tracking",
    "ops/flag_provider": "/rollouts",
    "ops/guards": "/rollouts",
    "ops/ramp_steps": "/rollouts",
    "serving/warehouse_copy": "/data",
}
"""Assets that are no table, and their pages."""


def with_pages(
    assets: Sequence[dg.AssetSpec | dg.AssetsDefinition], settings: Settings
) -> list[dg.AssetSpec | dg.AssetsDefinition]:
    """The assets, each with the address of its page as `dashboard` in its metadata."""

    def linked(spec: dg.AssetSpec) -> dg.AssetSpec:
        path = spec.key.to_user_string()
        page = dashboard_url(settings) + _PAGES[path] if path in _PAGES else page_of(settings, path.replace("/", "."))
        return spec.merge_attributes(metadata={"dashboard": dg.MetadataValue.url(page)})

    return [linked(each) if isinstance(each, dg.AssetSpec) else each.map_asset_specs(linked) for each in assets]
