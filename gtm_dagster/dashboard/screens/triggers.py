"""Triggers: the rules as they run now, what they sent and why not, how fast, and what their messages bring about."""

from __future__ import annotations

import sqlite3
import time
from datetime import date
from typing import Any

from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.charts.line_chart import Line, lines
from gtm_dagster.dashboard.charts.svg_parts import HALF, WIDE
from gtm_dagster.dashboard.notices import Notice, UnavailableError
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import View
from gtm_dagster.settings import Settings
from gtm_dagster.storage.migrations import NewerFormatError
from gtm_dagster.triggers.newest_messages import NewestMessage, newest_messages
from gtm_dagster.triggers.outcomes import REASONS as MEANINGS
from gtm_dagster.triggers.trigger_db import TriggerDbError, trigger_db_path
from gtm_dagster.triggers.trigger_status import TriggerStatus, trigger_status

MOST_MESSAGES = 20


def _by_day(found: Rows, selection: Selection, across: int) -> str:
    days: list[date] = found.column("day")
    series = [
        Line("sent", tuple(found.column("messages")), "now"),
        Line("not sent", tuple(found.column("not_sent")), "s2"),
    ]
    return lines(f"Starts of rules by day, {selection.period}", days, series, "starts", across)


BY_DAY = Chart("messages_by_day", "Messages by day", _by_day, widths=(WIDE, HALF))
REASONS = Chart("unsent_reasons", "Why nothing was sent")
SECONDS = Chart("message_seconds", "How fast")
_SHARES = ("rate", "low", "high", "effect", "effect_low", "effect_high")
EFFECTS = Chart("message_effects", "What messages bring about", None, dict.fromkeys(_SHARES, "share"))
PERSON = Chart("person_decisions", "One person")


def context(view: View) -> dict[str, Any]:
    """The rules as they stand, the panels, and the decisions about a person who was asked for."""
    panels = {chart.name: view.panel(chart.name) for chart in SCREEN.charts}
    try:
        (status, newest), notice = live_status(view.settings), None
    except UnavailableError as error:
        status, newest, notice = None, [], error.notice
    return {
        "status": status,
        "newest": newest,
        "status_notice": notice,
        "by_day": panels[BY_DAY.name],
        "reasons": panels[REASONS.name],
        "seconds": panels[SECONDS.name],
        "effects": panels[EFFECTS.name],
        "person": panels[PERSON.name],
        "asked": view.selection.more["person"],
        "meanings": {name: words for name, words in MEANINGS.items() if name in _shown(panels[REASONS.name].rows)},
    }


def live_status(settings: Settings) -> tuple[TriggerStatus, list[NewestMessage]]:
    """The rules at this moment, and the newest messages. Raises UnavailableError before any ran, or when their state cannot be read."""
    path = trigger_db_path(settings.state_dir)
    if not path.exists():
        raise UnavailableError(
            Notice(
                "No rule has run yet.", "gtm trigger check",
                why="Name a file of rules as `triggers_file` in gtm.toml; `gtm dev` and `gtm stream` run them.",
            )
        )  # fmt: skip
    try:
        status = trigger_status(path, settings.log_path, time.time_ns() // 1000)
        return status, newest_messages(path, MOST_MESSAGES)
    except (TriggerDbError, NewerFormatError, sqlite3.Error) as error:
        raise UnavailableError(
            Notice("The state of the rules cannot be read.", "gtm trigger status", why=str(error))
        ) from error


def _shown(rows: Rows | None) -> set[str]:
    return set(rows.column("reason")) if rows else set()


SCREEN = Screen(
    name="triggers",
    path="/triggers",
    title="Triggers",
    context=context,
    order=65,
    charts=(BY_DAY, REASONS, SECONDS, EFFECTS, PERSON),
    controls=("from", "to"),
    more={"person": ()},
    needs_tables=False,
    newest="SELECT CAST(max(decided_wall_at) AS DATE) FROM marts.trigger_decisions",
)
