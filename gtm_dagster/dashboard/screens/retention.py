"""Retention: which share of each cohort came back, period by period; cells that still grow are marked."""

from __future__ import annotations

from typing import Any

from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.charts.heat_chart import HeatCell, HeatRow, cells
from gtm_dagster.dashboard.charts.svg_parts import PHONE, WIDE
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import Panel, View
from gtm_dagster.reports.number_text import amount, share

MOST_COLUMNS, MOST_SMALL = 13, 6
MOST_CHANNELS = 14
"""Columns and rows of a picture, and columns of one on a phone; the table has all."""


def _triangle(found: Rows, selection: Selection, across: int) -> str:
    rows = [
        HeatRow(f"{cohort}", amount(each[0]["size"]), _cells(each))
        for cohort, each in _grouped(found, "cohort").items()
    ]
    count, unit = selection.more["count"], selection.cohort_unit
    title = f"Retention of {count} by first {unit}"
    return cells(title, _columns(found, unit, across), rows, _deepest(found), across, (f"first {unit}", count))


def _by_channel(found: Rows, selection: Selection, across: int) -> str:
    channels = list(_grouped(found, "channel").items())[:MOST_CHANNELS]
    rows = [HeatRow(channel, amount(each[0]["size"]), _cells(each)) for channel, each in channels]
    count, unit = selection.more["count"], selection.cohort_unit
    title = f"Retention of {count} by channel, {unit}s that are over"
    return cells(title, _columns(found, unit, across), rows, _deepest(found), across, ("channel", count))


def _grouped(found: Rows, name: str) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in found.records():
        groups.setdefault(row[name], []).append(row)
    return groups


def _columns(found: Rows, unit: str, across: int) -> list[str]:
    """Such as `week 1`; of the first one everybody is part."""
    most = MOST_COLUMNS if across > PHONE else MOST_SMALL
    return [f"{unit} {period}" for period in range(min(max(found.column("period")) + 1, most))]


def _deepest(found: Rows) -> float | None:
    """The largest share of a later period: the first one is 100 % and would leave all others pale."""
    return max((row["rate"] for row in found.records() if row["period"] > 0 and row["rate"]), default=None)


def _cells(rows: list[dict[str, Any]]) -> tuple[HeatCell, ...]:
    """A cell a period from 0 on; a period without a row is not known."""
    by_period = {row["period"]: row for row in rows}
    last = min(max(by_period), MOST_COLUMNS - 1)
    return tuple(
        HeatCell(by_period[p]["rate"], by_period[p].get("is_open", False)) if p in by_period else HeatCell(None)
        for p in range(last + 1)
    )


_WIDTHS = (WIDE, PHONE)
TRIANGLE = Chart("retention_cells", "Who came back", _triangle, {"rate": "share"}, _WIDTHS)
CHANNELS = Chart("retention_channels", "Who came back, by channel", _by_channel, {"rate": "share"}, _WIDTHS)


def context(view: View) -> dict[str, Any]:
    """Both panels, and what of the cohorts came back one period later."""
    triangle = view.panel(TRIANGLE.name)
    return {
        "triangle": triangle,
        "channels": view.panel(CHANNELS.name),
        "later": _one_period_later(triangle, view.settings.retention.unit),
        "unit": view.settings.retention.unit,
    }


def _one_period_later(panel: Panel, unit: str) -> str | None:
    """The share that was back a period later, of the cohorts shown that have had all of it; None where none has."""
    rows = [row for row in (panel.rows.records() if panel.rows else []) if row["period"] == 1 and not row["is_open"]]
    size = sum(row["size"] for row in rows)
    if not size:
        return None
    back = sum(row["retained"] for row in rows)
    return f"A {unit} later {share(back / size)} were back: {amount(back)} of {amount(size)}, over the cohorts that have had all of that {unit}."


SCREEN = Screen(
    name="retention",
    path="/retention",
    title="Retention",
    context=context,
    order=50,
    charts=(TRIANGLE, CHANNELS),
    controls=("channel",),
    more={"cohorts": ("12", "26", "52"), "count": ("persons", "accounts")},
)
