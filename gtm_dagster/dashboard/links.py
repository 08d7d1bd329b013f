"""Where the dashboard is, for those who link to it."""

from __future__ import annotations

from gtm_dagster.dashboard.screen import screens
from gtm_dagster.settings import Settings

_SCREEN_OF = {
    "marts.channel_attribution": "channels",
    "marts.campaign_performance": "channels",
    "marts.attribution_credits": "channels",
    "marts.attribution_status": "channels",
    "marts.funnel": "funnel",
    "marts.retention": "retention",
    "marts.trigger_decisions": "triggers",
    "marts.trigger_effects": "triggers",
    "ops.rollbacks": "rollouts",
    "staging.quarantine": "tracking",
    "staging.books": "tracking",
}
"""Tables whose figures have a screen; of others the page Data shows columns and rows."""


def dashboard_url(settings: Settings) -> str:
    """The address that browsers of this machine reach the dashboard by, as the settings say."""
    host = settings.dashboard.host
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{settings.dashboard.port}"


def page_of(settings: Settings, table: str) -> str:
    """The page on which a table, as schema.table, is seen."""
    paths = {screen.name: screen.path for screen in screens()}
    path = paths.get(_SCREEN_OF.get(table, ""))
    return dashboard_url(settings) + (path if path else f"/data?table={table}")
