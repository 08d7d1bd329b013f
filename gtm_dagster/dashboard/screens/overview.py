"""Overview: visitors, sign-ups, conversions and value by day against the period before, and the state of the guards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from gtm_dagster.dashboard.chart_query import Chart, Draw
from gtm_dagster.dashboard.charts.line_chart import Line, lines
from gtm_dagster.dashboard.charts.svg_parts import HALF, WIDE
from gtm_dagster.dashboard.guard_view import guard_views
from gtm_dagster.dashboard.live_store import TROUBLE, GuardState
from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.page_text import UNKNOWN, change
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.screens.rollouts import address_of
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import Panel, View
from gtm_dagster.reports.number_text import amount, money, share
from gtm_dagster.settings import DRILL_FLAG


@dataclass(frozen=True)
class Tile:
    """A figure of the period; `was`: the change, and what it is against."""

    name: str
    value: str
    unit: str = ""
    note: str = ""
    was: tuple[str, str] | None = None
    href: str = ""


def by_day(column: str, title: str) -> Draw:
    """Draws a column of days and, dashed, the same column of the period before."""

    def draw(found: Rows, selection: Selection, across: int) -> str:
        days: list[date] = found.column("day")
        series = [Line("this period", tuple(found.column(column)), "now", selection.is_open)]
        if selection.is_comparable:  # else the line would begin where the data do, and look like a rise
            series.append(Line("before", tuple(found.column(f"{column}_before")), "before"))
        return lines(title, days, series, across=across)

    return draw


CONVERSIONS = Chart(
    "conversions_by_day", "Conversions by day", by_day("conversions", "Conversions by day"), widths=(WIDE, HALF)
)  # fmt: skip
VALUE = Chart(
    "value_by_day", "Value by day", by_day("value", "Value by day"), {"value": "money", "value_before": "money"}, (HALF,)
)  # fmt: skip
SIGN_UPS = Chart("sign_ups_by_day", "Sign-ups by day", by_day("sign_ups", "Sign-ups by day"), widths=(HALF,))
VISITORS = Chart("visitors_by_day", "Visitors by day", by_day("visitors", "Visitors by day"), widths=(HALF,))


def context(view: View) -> dict[str, Any]:
    """Panels, the tiles that add up their cells, and the guards as they stand."""
    selection = view.selection
    panels = {chart.name: view.panel(chart.name) for chart in SCREEN.charts}
    conversions = panels[CONVERSIONS.name]
    has_value = selection.currency is not None or any(
        panels[VALUE.name].values(f"value{end}") for end in ("", "_before")
    )
    value = panels[VALUE.name] if has_value else None
    kind = selection.conversion_type or "conversions"
    tiles = [
        _tile("Visitors a day", panels[VISITORS.name], "visitors", view, mean=True),
        _tile("Sign-ups", panels[SIGN_UPS.name], "sign_ups", view, note="persons of each day, added up"),
        _tile(kind, conversions, "conversions", view),
    ]
    if value is not None:
        tiles.append(_tile("Value", value, "value", view, unit=selection.currency or "", write=money))
    tiles.append(_unattributed(conversions))
    try:
        guards, guards_notice = [(each, address_of(view, each.guard)) for each in _guards(view)], None
    except UnavailableError as error:
        guards, guards_notice = [], error.notice
    return {
        "tiles": tiles,
        "conversions": conversions,
        "value": value,
        "sign_ups": panels[SIGN_UPS.name],
        "visitors": panels[VISITORS.name],
        "guards": guards,
        "guards_notice": guards_notice,
        "drill_flag": DRILL_FLAG,
        "trouble": TROUBLE,
    }


def _guards(view: View) -> list[GuardState]:
    """The guards with the state that they have this moment, as the page of rollouts shows it: an armed one may be blind."""
    stored = view.live.guards()
    if not any(each.epoch for each in stored):
        return stored
    with view.live.reading() as store:
        shown = [guard for guard in view.settings.watched if guard.key in {each.guard for each in stored if each.epoch}]
        now = {each.guard.key: each for each in guard_views(store, view.settings, shown)}
    seen = [
        replace(each, state=now[each.guard].state, reason=now[each.guard].reason) if each.guard in now else each
        for each in stored
    ]
    return sorted(seen, key=lambda guard: (not guard.is_trouble, guard.guard))


def _tile(
    name: str, panel: Panel, column: str, view: View, *, mean: bool = False, unit: str = "", note: str = "",
    write: Callable[[float | None], str] = amount,
) -> Tile:  # fmt: skip
    """The sum of a column, or its mean over the days with a number, against the period before."""
    now, before = (_figure(panel, each, mean) for each in (column, f"{column}_before"))
    was = against(now, before, write) if view.selection.is_comparable else None  # else the page says once why not
    return Tile(name, write(now), "" if now is None else unit, note, was)


def against(now: float | None, before: float | None, write: Callable[[float | None], str]) -> tuple[str, str]:
    """The change, and what it is against, in words: that nothing is known is not that there was nothing."""
    if before is None:
        return "", "nothing is known of the period before"
    if not before:
        return "", "none in the period before"
    by = change(now, before)
    return (by, f"from {write(before)}") if by else ("", f"{write(before)} in the period before")


def _figure(panel: Panel, column: str, mean: bool) -> float | None:
    if panel.rows is None:
        return None
    values = panel.values(column)
    if not values:
        return None
    return sum(values) / len(values) if mean else sum(values)


def _unattributed(panel: Panel) -> Tile:
    total, without = (panel.total("conversions"), panel.total("unattributed")) if panel.rows else (None, None)
    if not total or without is None:
        return Tile("Unattributed", UNKNOWN, note="no conversions")
    return Tile("Unattributed", share(without / total), note=f"{amount(without)} without a touch before them")


SCREEN = Screen(
    name="overview",
    path="/",
    title="Overview",
    context=context,
    order=10,
    charts=(CONVERSIONS, VALUE, SIGN_UPS, VISITORS),
)
