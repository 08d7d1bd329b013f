"""Rollouts: every guard as it stands this moment, and the flags that were turned off."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from gtm_dagster.dashboard.guard_view import guard_views
from gtm_dagster.dashboard.live_store import TROUBLE
from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.view import View

MOST_ROLLBACKS = 30


def context(view: View) -> dict[str, Any]:
    """Guards, and the newest rollbacks first, from the ops store; a notice where it does not answer."""
    guards = list(view.settings.watched)
    try:
        with view.live.reading() as store:
            known = {row.guard for row in store.guards() if row.epoch}
            shown = [guard for guard in guards if guard in view.settings.guards or guard.key in known]
            views = guard_views(store, view.settings, shown)
            rollbacks = store.rollbacks(evidence=False)[::-1][:MOST_ROLLBACKS]
        notice = None
    except UnavailableError as error:
        views, rollbacks, notice = [], [], error.notice
    return {
        "guards": [
            (each, address_of(view, each.guard.key)) for each in sorted(views, key=lambda v: v.state not in TROUBLE)
        ],
        "rollbacks": [(row, address_of(view, row.guard)) for row in rollbacks],
        "store_notice": notice,
        "declared": len(view.settings.guards),
        "trouble": TROUBLE,
    }


def address_of(view: View, key: str) -> str:
    """The page of a guard."""
    return view.elsewhere(f"/rollouts/{quote(key, safe='')}")


SCREEN = Screen(
    name="rollouts", path="/rollouts", title="Rollouts", context=context, order=60, controls=(), needs_tables=False
)
