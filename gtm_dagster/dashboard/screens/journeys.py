"""Journeys: the ways to a conversion, how long they take, and single conversions to look into."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from gtm_dagster.dashboard.chart_query import Chart, Draw
from gtm_dagster.dashboard.charts.bar_chart import BarRow, bars
from gtm_dagster.dashboard.charts.svg_parts import HALF
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import View
from gtm_dagster.reports.number_text import amount, share


def _bars(title: str, column: str) -> Draw:
    """A bar a row by its number of conversions, with its share of all of them."""

    def draw(found: Rows, selection: Selection, across: int) -> str:
        rows = found.records()
        total = sum(row["conversions"] for row in rows) or 1
        marks = [
            BarRow(
                row[column],
                row["conversions"],
                text=f"{amount(row['conversions'])} · {share(row['conversions'] / total)}",
            )
            for row in rows
        ]
        return bars(f"{title}, {selection.conversion_type}, {selection.period}", marks, across=across)

    return draw


PATHS = Chart("top_paths", "Most frequent paths", None, {"share_of_conversions": "share", "value": "money"})
TIMES = Chart("time_to_convert", "Time to convert", _bars("Time to convert", "time_to_convert"), widths=(HALF,))
TOUCHES = Chart(
    "touches_to_convert", "Touches before converting", _bars("Touches before converting", "touches"), widths=(HALF,)
)
LATEST = Chart("latest_conversions", "Single conversions", None, {"value": "money", "refunded": "money"})


def context(view: View) -> dict[str, Any]:
    """Panels, and the page of each single conversion."""
    panels = {chart.name: view.panel(chart.name) for chart in SCREEN.charts}
    latest = panels[LATEST.name]
    return {
        "paths": panels[PATHS.name],
        "times": panels[TIMES.name],
        "touches": panels[TOUCHES.name],
        "latest": latest,
        "has_value": view.selection.currency is not None or bool(latest.values("value")),
        "conversions": [
            {**row, "href": view.elsewhere(f"/conversions/{quote(row['conversion_id'], safe='')}")}
            for row in (latest.rows.records() if latest.rows else [])
        ],
        "asked": view.selection.more["q"],
    }


SCREEN = Screen(
    name="journeys",
    path="/journeys",
    title="Journeys",
    context=context,
    order=30,
    charts=(PATHS, TIMES, TOUCHES, LATEST),
    controls=("from", "to", "type", "currency"),
    more={"q": ()},
)
