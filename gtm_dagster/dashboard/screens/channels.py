"""Channels: what each earned by one model with its interval, all models side by side, spend, and the way down to campaigns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.charts.bar_chart import BarRow, bars
from gtm_dagster.dashboard.charts.line_chart import Line, lines
from gtm_dagster.dashboard.charts.svg_parts import HALF, WIDE
from gtm_dagster.dashboard.choices_there import NOT_SET
from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import Panel, View
from gtm_dagster.reports.number_text import amount, share, window_text

UNATTRIBUTED = "(unattributed)"
FEWEST = 30
"""Converting persons below which a channel's credit says little."""
_MOST_BARS = 15
_STEPS = ("channel", "source", "medium", "campaign")


@dataclass(frozen=True)
class Cell:
    """Credited conversions with their 95 % interval."""

    conversions: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelRow:
    """A channel in the table of all models: a cell for each, None where it has no credit."""

    channel: str
    cells: tuple[Cell | None, ...]

    @property
    def spread(self) -> float | None:
        """The largest credit less the smallest: how much the choice of a model decides."""
        values = [cell.conversions if cell else 0.0 for cell in self.cells]
        return max(values) - min(values) if len(values) > 1 else None


def _credit(found: Rows, selection: Selection, across: int) -> str:
    records = [each for each in found.records() if each["conversions"]]
    total = sum(each["conversions"] for each in records)
    rows = [
        BarRow(
            each["channel"], each["conversions"], each["low"], each["high"],
            f"{amount(each['conversions'])} · {share(each['conversions'] / total)}",
            "faint" if _is_pale(each) else "",
        )
        for each in records[:_MOST_BARS]
    ]  # fmt: skip
    return bars(f"Conversions credited by channel, {selection.model}", rows, across=across)


def _is_pale(row: dict[str, Any]) -> bool:
    return bool(row["persons"] < FEWEST or row["channel"] == UNATTRIBUTED)


def _by_day(found: Rows, selection: Selection, across: int) -> str:
    days = sorted(set(found.column("day")))
    series: dict[str, dict[Any, float]] = {}
    for day, channel, n in found.rows:
        series.setdefault(channel, {})[day] = n
    kinds = ("now", "s2", "s3", "s4", "s5")
    found_lines = [
        Line(channel, tuple(values.get(day) for day in days), kind, selection.is_open)
        for (channel, values), kind in zip(series.items(), kinds, strict=False)
    ]
    return lines("Credited conversions by day", days, found_lines, across=across)


_MONEY = {
    "conversions": "amount", "conversions_before": "amount", "value": "money", "spend": "money", "cpa": "money",
    "roas": "amount",
}  # fmt: skip
_FIGURES = dict.fromkeys(
    ("conversions", "low", "high", "last_touch", "difference", "difference_low", "difference_high"), "amount"
)
CREDIT = Chart("channel_credit", "Credited conversions, with 95 % intervals", _credit, _FIGURES, (WIDE, HALF))
MODELS = Chart("channel_models", "Every model beside the others", None, _FIGURES)
MONEY = Chart("channel_money", "What channels earned and cost", None, _MONEY)
SOURCES = Chart("source_money", "Within the channel", None, _MONEY)
BY_DAY = Chart("channel_by_day", "Credited conversions by day", _by_day, {"conversions": "amount"}, (WIDE, HALF))


def context(view: View) -> dict[str, Any]:
    """The panels of a model, or of a channel on the way down to its campaigns."""
    selection = view.selection
    chosen = [step for step in _STEPS if getattr(selection, step) is not None]
    step = next((each for each in _STEPS if each not in chosen), None)
    models = view.panel(MODELS.name)
    credit = view.panel(CREDIT.name)
    money = view.panel(MONEY.name if not chosen else SOURCES.name)
    columns = list(dict.fromkeys((row[1], row[2]) for row in models.rows.rows)) if models.rows else []
    order = [(result.model, result.window_hours) for result in view.choices.computed]
    columns.sort(key=lambda column: order.index(column) if column in order else len(order))
    return {
        "credit": credit,
        "credits": {each["channel"]: each for each in credit.rows.records()} if credit.rows else {},
        "models": models,
        "columns": columns,
        "model_rows": _model_rows(models, columns),
        "model_totals": [_total(models, column) for column in columns],
        "money": money,
        "total": money.total("conversions"),
        "spend_known": bool(money.values("spend")),
        "spend_currencies": _spend_currencies(view) if selection.currency is None else [],
        "by_day": view.panel(BY_DAY.name),
        "absent": [result for result in view.choices.results if not result.computed],
        "step": step,
        "next": "name" if chosen else "channel",
        "crumbs": _crumbs(view, chosen),
        "drill": {name: _deeper(view, step, name) for name in _names(money, bool(chosen))},
        "window": window_text(selection.window_hours) if selection.window_hours else "",
        "unattributed": UNATTRIBUTED,
        "few": FEWEST if credit.rows and any(_is_pale(each) for each in credit.rows.records()) else None,
    }


def _spend_currencies(view: View) -> list[str]:
    """The currencies of all spend; none where nothing was imported or the table is not there."""
    try:
        return [str(currency) for (currency,) in view.rows("SELECT DISTINCT currency FROM core.spend ORDER BY 1").rows]
    except UnavailableError:
        return []


def _model_rows(models: Panel, columns: list[tuple[str, float]]) -> list[ModelRow]:
    found: dict[str, dict[tuple[str, float], Cell]] = {}
    for channel, model, window, *figures in models.rows.rows if models.rows else ():
        found.setdefault(channel, {})[model, window] = Cell(*figures)
    rows = [ModelRow(channel, tuple(cells.get(column) for column in columns)) for channel, cells in found.items()]
    most = {row.channel: max((cell.conversions for cell in row.cells if cell), default=0.0) for row in rows}
    return sorted(rows, key=lambda row: (row.channel == UNATTRIBUTED, -most[row.channel], row.channel))


def _total(models: Panel, column: tuple[str, float]) -> float:
    return sum(row[3] for row in models.rows.rows if (row[1], row[2]) == column) if models.rows else 0.0


def _names(money: Panel, within: bool) -> list[str]:
    return money.rows.column("name" if within else "channel") if money.rows else []


def _deeper(view: View, step: str | None, name: str) -> str | None:
    """The page one step further down; None at the last one, and for what has no sources."""
    if step is None or name == UNATTRIBUTED or (name == NOT_SET and step == "channel"):
        return None
    return view.url(**{step: name})


def _crumbs(view: View, chosen: list[str]) -> list[tuple[str, str | None]]:
    """The way here, each step with its page; the last one is this page."""
    nothing: dict[str, str | None] = dict.fromkeys(_STEPS)
    way: list[tuple[str, str | None]] = [("All channels", view.url(**nothing))]
    for number, step in enumerate(chosen):
        kept = {each: getattr(view.selection, each) for each in chosen[: number + 1]}
        way.append((str(getattr(view.selection, step)), view.url(**{**nothing, **kept})))
    return [*way[:-1], (way[-1][0], None)]


SCREEN = Screen(
    name="channels",
    path="/attribution",
    title="Channels",
    context=context,
    order=20,
    charts=(CREDIT, MODELS, MONEY, SOURCES, BY_DAY),
    controls=("from", "to", "compare", "type", "currency", "model", "window"),
)
