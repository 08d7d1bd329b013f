"""Tracking health: the events that come in right now, the books, why events are refused, and who sends them."""

from __future__ import annotations

from datetime import date
from typing import Any

from gtm_dagster.collector.address import running_address
from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.charts.line_chart import Line, lines
from gtm_dagster.dashboard.charts.svg_parts import HALF, WIDE
from gtm_dagster.dashboard.live_log import live_log, reasons
from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.refusal_meanings import MEANINGS
from gtm_dagster.dashboard.refused_groups import help_for, plan_today, refused_documents
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import Panel, View
from gtm_dagster.warehouse.quarantine_groups import SHAPE

SILENT_SECONDS = 120
"""A producer unheard of for longer is shown as silent."""


def _books(found: Rows, selection: Selection, across: int) -> str:
    days: list[date] = found.column("day")
    series = [
        Line("clean", tuple(found.column("clean")), "now", selection.is_open),
        Line("refused", tuple(found.column("quarantined")), "s2", selection.is_open),
    ]
    return lines(f"Rows by ingest day, {selection.period}", days, series, "rows", across)


BOOKS = Chart("books_by_day", "The books by day", _books, {"quarantined_share": "share"}, (WIDE, HALF))
REASONS = Chart("quarantine_reasons", "Why events were refused")
EXAMPLES = Chart("quarantined_examples", "Refused events, by event and reasons", parts={"shape": SHAPE})
VALUES = Chart("quarantined_values", "Values of a wrong type", parts={"shape": SHAPE})


def context(view: View) -> dict[str, Any]:
    """The log as it is now, the panels, and the examples with their reasons in words."""
    panels = {chart.name: view.panel(chart.name) for chart in SCREEN.charts}
    try:
        log, log_notice = live_log(view.settings), None
    except UnavailableError as error:
        log, log_notice = None, error.notice
    examples, values = panels[EXAMPLES.name], panels[VALUES.name]
    documents = refused_documents(values.rows) if values.rows else {}
    plan = plan_today(view.settings)
    return {
        "log": log,
        "log_notice": log_notice,
        "books": panels[BOOKS.name],
        "verdict": _balance(panels[BOOKS.name]),
        "reasons": panels[REASONS.name],
        "meanings": _meanings(panels[REASONS.name]),
        "examples": examples,
        "refused": [
            {**row, "reasons": reasons(row["errors"]), **help_for(row, documents, plan)}
            for row in (examples.rows.records() if examples.rows else [])
        ],
        "silent_seconds": SILENT_SECONDS,
        "collector_url": running_address(view.settings.state_dir) or f"http://127.0.0.1:{view.settings.collector.port}",
    }  # fmt: skip


def _meanings(panel: Panel) -> dict[str, str]:
    """What the reasons of the panel mean, in its order."""
    names = panel.rows.column("reason") if panel.rows else []
    return {name: MEANINGS[name] for name in names if name in MEANINGS}


def _balance(panel: Panel) -> tuple[str, bool] | None:
    """Whether the books of the days shown balance, in words; None without days."""
    rows = panel.rows.records() if panel.rows else []
    if not rows:
        return None
    wrong = [str(row["day"]) for row in rows if not row["balances"]]
    if wrong:
        return f"The books do not balance on {', '.join(wrong[:5])}: run `gtm doctor`.", False
    return (
        f"The books balance on {'the only day' if len(rows) == 1 else f'all {len(rows)} days'}: every row read is clean, a duplicate, quarantined or suppressed.",
        True,
    )


SCREEN = Screen(
    name="tracking",
    path="/tracking",
    title="Tracking",
    context=context,
    order=70,
    charts=(BOOKS, REASONS, EXAMPLES, VALUES),
    controls=("from", "to", "compare"),
    needs_tables=False,
    newest="SELECT max(ingest_date) FROM staging.books",  # history comes in long after it happened
)
