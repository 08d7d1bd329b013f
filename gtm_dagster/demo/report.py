"""The report of `gtm demo`: books, credit, funnel, retention, planted against found, and the time of each step."""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from gtm_dagster.attribution import largest_remainder
from gtm_dagster.demo.comparison import (
    Comparison,
    credits_found,
    credits_planted,
    funnel_found,
    gated,
    other_definitions,
    retention_found,
    served,
)
from gtm_dagster.settings import Settings
from gtm_dagster.simulator.plain_windows import plain_windows
from gtm_dagster.warehouse.literals import composed

UNATTRIBUTED = "(unattributed)"
OK, BAD = "[green]equal[/green]", "[red]DIFFERENT[/red]"


class Check(Protocol):
    """What the report reads of an asset check."""

    @property
    def asset(self) -> str: ...
    @property
    def check(self) -> str: ...
    @property
    def passed(self) -> bool: ...
    @property
    def severity(self) -> str: ...
    @property
    def description(self) -> str: ...


class Refreshed(Protocol):
    """What the demo reads of a refresh (`orchestration.refresh_run.RefreshResult`)."""

    @property
    def ok(self) -> bool: ...
    @property
    def error(self) -> str | None: ...
    @property
    def checks(self) -> Sequence[Check]: ...


def print_report(
    console: Console,
    settings: Settings,
    truth: Mapping[str, Any],
    comparisons: Sequence[Comparison],
    result: Refreshed,
    seconds: Mapping[str, float],
) -> None:
    """The whole report: books, credit, funnel, retention, planted against found, time, what to do next."""
    channels = sorted(
        {channel for channel, _ in funnel_found(settings)},
        key=lambda name: -truth["channels"].get(name, {}).get("persons", 0),
    )
    console.print(_books(settings))
    for table in _credit_tables(settings, truth, channels):
        console.print(table)
    for model, hours, reason in gated(settings):
        console.print(f"[yellow]not computed[/yellow] {model} {hours:g} h: {reason}", soft_wrap=True)
    console.print(_funnel(settings, truth, channels))
    console.print(_retention(settings))
    console.print(_verdicts(comparisons))
    if changed := other_definitions(settings):
        console.print(f"Only the books are compared: the truth was planted for other values of {', '.join(changed)}.")
    failed = print_checks(console, result)
    console.print(_times(seconds, truth["events"]))
    good = result.ok and all(comparison.ok for comparison in comparisons)
    console.print(
        Panel(
            f"{len(result.checks) - failed} of {len(result.checks)} checks passed, "  # noqa: S608 - lines to paste
            f"{sum(comparison.ok for comparison in comparisons)} of {len(comparisons)} planted figures found again.\n\n"
            "[bold]gtm dash --demo[/bold]   the dashboard: channels, journeys, funnel, retention, rollouts, tracking\n"
            "[bold]gtm dev --demo[/bold]   the same, the Dagster UI with every asset, check and picture of this demo, and a collector\n"
            '[bold]gtm query --demo "SELECT * FROM marts.channel_attribution LIMIT 20"[/bold]   any table of the serving copy\n'
            '[bold]gtm query --demo "SELECT reason_codes, count(*) FROM staging.quarantine GROUP BY 1"[/bold]   what was refused, and why\n'
            "[bold]gtm doctor --demo --verify[/bold]   compare this warehouse with a rebuild from the landing files\n\n"
            f"{way_to_gtm(Path(sys.argv[0]))}All of it lies in {settings.state_dir}; remove that folder when you have seen enough. Without --demo every command "
            "works on your own data: [bold]gtm dev[/bold], then docs/tracking.md for the first event and docs/import.md for history.",
            title="The pipeline found what was planted" if good else "The pipeline did NOT find what was planted",
            border_style="green" if good else "red",
        )
    )


def way_to_gtm(program: Path) -> str:
    """A line for a shell that does not find the `gtm` that is running, as after `make demo` in a fresh checkout; else ""."""
    activate = program.with_name("activate")
    if shutil.which("gtm") or program.name != "gtm" or not activate.exists():
        return ""
    return f"This shell does not know [bold]gtm[/bold] yet: [bold]. {escape(str(activate))}[/bold], or write {escape(str(program))}.\n"


def print_rules(console: Console, starts: Mapping[str, int]) -> None:
    """What the demo's rules decided, and where to see it."""
    console.print()
    console.print("Rules: who got a message inside the product, who did not, and why", style="bold")
    console.print(
        f"  {starts.get('sent', 0):,} messages in the feed, {starts.get('not_sent', 0):,} starts without one, "
        f"{starts.get('open', 0) + starts.get('held', 0):,} that still wait; nothing left this machine",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        "  what they did: the page Triggers, and `gtm trigger status --demo`", highlight=False, soft_wrap=True
    )


def print_checks(console: Console, result: Refreshed) -> int:
    """A line for each check that did not pass; returns how many."""
    failed = [check for check in result.checks if not check.passed]
    for check in failed:
        colour = "red" if check.severity == "ERROR" else "yellow"
        console.print(
            f"[{colour}]check failed[/{colour}] {check.asset} {check.check}: {check.description}", soft_wrap=True
        )
    return len(failed)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", title_style="bold cyan")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    return table


def _books(settings: Settings, last: int = 5) -> Table:
    names = ("log_rows", "raw", "clean", "duplicates", "quarantined", "suppressed")
    days = served(
        settings, composed("SELECT ingest_date, $names FROM staging.books ORDER BY 1", names=", ".join(names))
    )
    balanced = [day[2] == sum(day[3:7]) == day[1] for day in days]
    table = _table(
        "Books by day of arrival: raw = clean + duplicates + quarantined + suppressed", "day", *names, "balanced"
    )
    earlier = len(days) - last
    if earlier > 0:
        sums = [f"{sum(day[column] for day in days[:earlier]):,}" for column in range(1, 7)]
        table.add_row(f"{earlier} earlier days", *sums, "yes" if all(balanced[:earlier]) else "[red]NO[/red]")
    for day, fine in list(zip(days, balanced, strict=True))[-last:]:
        table.add_row(str(day[0]), *(f"{number:,}" for number in day[1:]), "yes" if fine else "[red]NO[/red]")
    table.add_section()
    table.add_row(
        "all",
        *(f"{sum(day[column] for day in days):,}" for column in range(1, 7)),
        "yes" if all(balanced) else "[red]NO[/red]",
    )
    return table


def _credit_tables(settings: Settings, truth: Mapping[str, Any], channels: Sequence[str]) -> list[Table]:
    found, planted = credits_found(settings), credits_planted(truth)
    not_computed = {(model, hours) for model, hours, _ in gated(settings)}
    windows = [window for window in plain_windows(settings) if window not in not_computed]
    currencies = sorted({key[1] for key in found if key[1] is not None})
    kinds: list[tuple[str, str, str | None, int, int]] = [("Sign-ups", "signup_completed", None, 0, 1)]
    kinds += [(f"Payments in {currency}", "payment_completed", currency, 0, 1) for currency in currencies]
    kinds += [(f"Revenue in {currency}", "payment_completed", currency, 1, 2) for currency in currencies]
    tables = []
    for title, kind, currency, column, digits in kinds:
        table = _table(
            f"{title} by channel: credited (planted)", "channel", *(f"{model}\n{hours:g} h" for model, hours in windows)
        )
        names = [*channels, UNATTRIBUTED]
        cells = []
        for model, hours in windows:
            pair = []
            for rows in (planted, found):
                values = [rows.get((kind, currency, model, hours, channel), (0.0, 0.0))[column] for channel in names]
                pair.append([f"{value:,.{digits}f}" for value in largest_remainder(values, digits)])
                total = f"{sum(values):,.{digits}f}"
            cells.append([*(f"{credited} ({true})" for true, credited in zip(*pair, strict=True)), total])
        for row, channel in enumerate(names):
            table.add_row(channel, *(cell[row] for cell in cells))
        table.add_section()
        table.add_row("all", *(cell[-1] for cell in cells))
        tables.append(table)
    return tables


def _funnel(settings: Settings, truth: Mapping[str, Any], channels: Sequence[str]) -> Table:
    found = funnel_found(settings)
    planted: dict[tuple[str, str], float] = {(row["channel"], row["stage"]): row["persons"] for row in truth["funnel"]}
    stages = [step.stage for step in settings.funnel.steps]
    table = _table("Funnel by first channel: persons (planted), share of the stage before", "channel", *stages)

    def line(name: str, among: Sequence[str]) -> None:
        cells, before = [], 0.0
        for stage in stages:
            persons, true = (sum(rows.get((channel, stage), 0) for channel in among) for rows in (found, planted))
            share = f" {persons / before:.0%}" if before else ""
            cells.append(f"{persons:,.0f} ({true:,.0f}){share}")
            before = persons
        table.add_row(name, *cells)

    for channel in channels:
        line(channel, [channel])
    table.add_section()
    line("all", channels)
    return table


def _retention(settings: Settings) -> Table:
    cells: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for (cohort, period), pair in retention_found(settings).items():
        cells[cohort][period] = pair
    periods = sorted({period for row in cells.values() for period in row})
    unit = settings.retention.unit
    newest = max((_place(cohort, unit) + period for cohort, row in cells.items() for period in row), default=0)
    table = _table(
        f"Retention by {unit} of the first visit; *: the {unit} is not over",
        "cohort", "persons", *(f"{unit} {period}" for period in periods),
    )  # fmt: skip
    for cohort, row in sorted(cells.items()):
        persons = row[0][0]
        shown = [
            f"{row[period][1] / persons:.0%}{'*' if _place(cohort, unit) + period == newest else ''}"
            if period in row and persons
            else ""
            for period in periods
        ]
        table.add_row(cohort, f"{persons:,.0f}", *shown)
    return table


def _place(cohort: str, unit: str) -> int:
    """The number of a period that begins on this day, counted in days, weeks or months."""
    day = date.fromisoformat(cohort)
    return 12 * day.year + day.month if unit == "month" else day.toordinal() // (7 if unit == "week" else 1)


def _verdicts(comparisons: Sequence[Comparison]) -> Table:
    table = _table("Planted truth against results", "figure", "planted", "found", "")
    for comparison in comparisons:
        table.add_row(comparison.name, comparison.planted, comparison.found, OK if comparison.ok else BAD)
    return table


def _times(seconds: Mapping[str, float], events: int) -> Table:
    table = _table(f"Time ({events:,} events)", "step", "seconds")
    for title, took in seconds.items():
        table.add_row(title, f"{took:.1f}")
    table.add_section()
    table.add_row("all", f"{sum(seconds.values()):.1f}")
    return table
