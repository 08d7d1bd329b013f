"""Funnel: how many go on from stage to stage, how long it takes them, by channel, and who brought those at the end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.charts.funnel_chart import Stage, funnel
from gtm_dagster.dashboard.charts.heat_chart import HeatCell, HeatRow, cells
from gtm_dagster.dashboard.charts.svg_parts import PHONE, WIDE
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import Panel, View
from gtm_dagster.reports.number_text import amount, share

MOST_CHANNELS = 14
"""Rows of the picture; the table has all."""


def _funnel(found: Rows, selection: Selection, across: int) -> str:
    stages = [Stage(row["stage"], row["reached"]) for row in found.records()]
    return funnel(f"Funnel of first sessions, {selection.period}", stages, selection.more["count"], across)


def _by_channel(found: Rows, selection: Selection, across: int) -> str:
    channels: dict[str, list[dict[str, Any]]] = {}
    for row in found.records():
        channels.setdefault(row["channel"], []).append(row)
    names = [row["stage"] for row in next(iter(channels.values()))]
    rows = [
        HeatRow(channel, amount(each[0]["reached"]), tuple(HeatCell(row["rate_from_first"]) for row in each[1:]))
        for channel, each in list(channels.items())[:MOST_CHANNELS]
    ]
    title = f"Share of the first stage by channel, {selection.period}"
    return cells(title, names[1:], rows, across=across, heads=("", selection.more["count"]))


_WIDTHS = (WIDE, PHONE)
STAGES = Chart(
    "funnel_stages", "Stages", _funnel,
    {"rate_from_before": "share", "rate_from_first": "share", "rate_from_first_before": "share"}, _WIDTHS,
)  # fmt: skip
CHANNELS = Chart(
    "funnel_channels", "How far visitors of each channel get", _by_channel, {"rate_from_first": "share"}, _WIDTHS
)
TIMES = Chart(
    "funnel_times", "Time from stage to stage, over all days", None, {"median_hours": "hours", "p90_hours": "hours"}
)
CREDIT = Chart("funnel_credit", "Who brought those of the last stage", None, {"persons": "amount"})


def context(view: View) -> dict[str, Any]:
    """Panels, the largest loss in words, and the shares of the last stage by channel and model."""
    panels = {chart.name: view.panel(chart.name) for chart in SCREEN.charts}
    return {
        "stages": panels[STAGES.name],
        "channels": panels[CHANNELS.name],
        "times": panels[TIMES.name],
        "credit": panels[CREDIT.name],
        "findings": [
            each for each in (_largest_loss(panels[STAGES.name]), _whole_way(panels[STAGES.name], view)) if each
        ],
        "credit_table": _by_model(panels[CREDIT.name]),
        "who": view.selection.more["count"],
    }


def _largest_loss(panel: Panel) -> str | None:
    """Between which two stages most are lost, in words; None without two stages with somebody."""
    rows = panel.rows.records() if panel.rows else []
    ways = [
        (after["rate_from_before"], before, after)
        for before, after in pairwise(rows)
        if after["rate_from_before"] is not None
    ]
    if not ways:
        return None
    rate, before, after = min(ways, key=lambda way: way[0])
    lost = before["reached"] - after["reached"]
    if not lost:
        return "Nobody is lost on the way."
    return f"Most are lost between {before['stage']} and {after['stage']}: {amount(lost)} of {amount(before['reached'])} ({share(1 - rate)})."


def _whole_way(panel: Panel, view: View) -> str | None:
    """The share of the first stage that reached the last, beside that of the period before where it is comparable."""
    last = panel.rows.records()[-1] if panel.rows and panel.rows.rows else {}
    rate, before = last.get("rate_from_first"), last.get("rate_from_first_before")
    if rate is None:
        return None
    against = (
        f", {share(before)} of those of the period before"
        if before is not None and view.selection.is_comparable
        else ""
    )
    return f"{share(rate)} of the first stage have reached {last['stage']}{against}."


def _by_model(panel: Panel) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Models, and a row of persons by model a channel, largest first; nothing known stays None."""
    rows = panel.rows.records() if panel.rows else []
    models = sorted({row["model"] for row in rows})
    table: dict[str, dict[str, float]] = {}
    for row in rows:
        table.setdefault(row["channel"], {})[row["model"]] = row["persons"]
    ordered = sorted(table.items(), key=lambda each: (-max(each[1].values()), each[0]))
    return models, [(channel, [values.get(model) for model in models]) for channel, values in ordered]


SCREEN = Screen(
    name="funnel",
    path="/funnel",
    title="Funnel",
    context=context,
    order=40,
    charts=(STAGES, CHANNELS, TIMES, CREDIT),
    controls=("from", "to", "compare", "channel", "source", "medium", "campaign"),
    more={"count": ("persons", "accounts")},
)
