"""What `gtm demo` prints: the results as the serving copy has them, beside the truth that was planted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from gtm_dagster.attribution import largest_remainder
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.serving import query

TOLERANCE = 1e-6
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


@dataclass(frozen=True)
class Comparison:
    """One figure of the results beside the planted one; `difference` is the largest over its rows."""

    name: str
    planted: str
    found: str
    difference: float

    @property
    def ok(self) -> bool:
        """Equal to 1e-6."""
        return self.difference <= TOLERANCE


def _rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    return query(settings, sql)[1]


def _furthest(planted: Mapping[Any, float], found: Mapping[Any, float]) -> float:
    return max((abs(planted.get(key, 0.0) - found.get(key, 0.0)) for key in planted.keys() | found.keys()), default=0.0)


def credits_found(settings: Settings) -> dict[tuple[Any, ...], tuple[float, float]]:
    """(conversion type, currency, model, window hours, channel) -> (conversions, value)."""
    rows = _rows(
        settings,
        "SELECT conversion_type, currency, model, window_hours, channel, sum(conversions), coalesce(sum(value), 0) "
        "FROM marts.channel_attribution GROUP BY ALL",
    )
    return {tuple(row[:5]): (row[5], row[6]) for row in rows}


def credits_planted(truth: Mapping[str, Any]) -> dict[tuple[Any, ...], tuple[float, float]]:
    """The same shape as `credits_found`, from the truth."""
    keys = ("conversion_type", "currency", "model", "window_hours", "channel")
    return {tuple(row[key] for key in keys): (row["conversions"], row["value"] or 0.0) for row in truth["credit"]}


def funnel_found(settings: Settings) -> dict[tuple[str, str], float]:
    """(channel, stage) -> persons."""
    rows = _rows(settings, "SELECT channel, stage, sum(persons) FROM marts.funnel GROUP BY ALL")
    return {(channel, stage): float(persons) for channel, stage, persons in rows}


def retention_found(settings: Settings) -> dict[tuple[str, int], tuple[float, float]]:
    """(cohort, period) -> (persons, retained), over all channels."""
    rows = _rows(
        settings, "SELECT cohort, period, sum(persons), sum(retained) FROM marts.retention GROUP BY ALL ORDER BY ALL"
    )
    return {
        (cohort.isoformat(), period): (float(persons), float(retained)) for cohort, period, persons, retained in rows
    }


def other_definitions(settings: Settings) -> list[str]:
    """Settings that define sessions, conversions, funnel or retention otherwise than the planted truth does."""
    usual = Settings()
    names = ("report_timezone", "plan_file", "sessions", "conversions", "funnel", "retention")
    changed = [name for name in names if getattr(settings, name) != getattr(usual, name)]
    if settings.attribution.half_life_hours != usual.attribution.half_life_hours:
        changed.append("attribution.half_life_hours")
    return changed


def compare(settings: Settings, truth: Mapping[str, Any], edge_duplicates: int) -> list[Comparison]:
    """Every planted figure beside the one that came out. `edge_duplicates`: events the collector did not store twice.

    Windows that the history gate holds back are left out; with `other_definitions` only the books are compared.
    """
    clean, duplicates = _rows(settings, "SELECT sum(clean), sum(duplicates) FROM staging.books")[0]
    refused = _rows(settings, "SELECT count(DISTINCT event_id) FROM staging.quarantine")[0][0]
    result = [
        _number("unique valid events", truth["unique_valid"], clean or 0),
        _at_least("duplicates (at the edge and in staging)", truth["duplicates"], (duplicates or 0) + edge_duplicates),
        _number("malformed events in quarantine", sum(truth["malformed"].values()), refused),
    ]
    if other_definitions(settings):
        return result
    persons, sessions = _rows(settings, "SELECT count(DISTINCT person_id), count(*) FROM core.sessions")[0]
    result += [_number("persons", truth["persons"], persons), _number("sessions", truth["sessions"], sessions)]
    planted, found = credits_planted(truth), credits_found(settings)
    gated = {(model, hours) for model, hours, _ in _gated(settings)}
    for model, hours in sorted({(key[2], key[3]) for key in planted | found} - gated):
        for column, what, unit in ((0, "conversions", 0), (1, "value", 1)):
            a, b = (
                {key: row[column] for key, row in rows.items() if (key[2], key[3]) == (model, hours)}
                for rows in (planted, found)
            )
            told = (_told_apart(a, unit), _told_apart(b, unit))
            result.append(Comparison(f"{model} {hours:g} h, {what} by channel", *told, _furthest(a, b)))
    people = {(row["channel"], row["stage"]): float(row["persons"]) for row in truth["funnel"]}
    reached = funnel_found(settings)
    result.append(
        Comparison(
            "funnel, persons by channel and stage",
            _told(people.values()),
            _told(reached.values()),
            _furthest(people, reached),
        )
    )
    weeks = {(row["cohort"], row["period"]): float(row["retained"]) for row in truth["retention"]}
    back = {key: retained for key, (_, retained) in retention_found(settings).items()}
    result.append(
        Comparison(
            "retention, persons by cohort and week", _told(weeks.values()), _told(back.values()), _furthest(weeks, back)
        )
    )
    return result


def _number(name: str, planted: float, found: float) -> Comparison:
    return Comparison(name, f"{planted:,}", f"{found:,}", abs(float(planted) - float(found)))


def _at_least(name: str, planted: int, found: int) -> Comparison:
    # A demo that was interrupted while it sent live events sends them again, and the edge counts those copies too.
    return Comparison(name, f"{planted:,}", f"{found:,}", float(max(0, planted - found)))


def _told(numbers: Iterable[float]) -> str:
    return f"{sum(numbers):,.2f}".removesuffix(".00")


def _told_apart(rows: Mapping[tuple[Any, ...], float], unit: int) -> str:
    """Totals by conversion type (`unit` 0) or currency (1): unlike ones are never added."""
    total: dict[str, float] = defaultdict(float)
    for key, number in rows.items():
        if key[unit] is not None:
            total[key[unit]] += number
    return ", ".join(f"{_told([number])} {name.removesuffix('_completed')}" for name, number in sorted(total.items()))


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
    for model, hours, reason in _gated(settings):
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
            f"{len(result.checks) - failed} of {len(result.checks)} checks passed, "
            f"{sum(comparison.ok for comparison in comparisons)} of {len(comparisons)} planted figures found again.\n\n"
            "[bold]make dev[/bold]   the Dagster UI with every asset, check and picture, and the collector\n"
            '[bold]gtm query "SELECT * FROM marts.channel_attribution LIMIT 20"[/bold]   any table of the serving copy\n'
            '[bold]gtm query "SELECT reason_codes, count(*) FROM staging.quarantine GROUP BY 1"[/bold]   what was refused, and why\n'
            "[bold]gtm doctor --verify[/bold]   compare this warehouse with a rebuild from the landing files",
            title="The pipeline found what was planted" if good else "The pipeline did NOT find what was planted",
            border_style="green" if good else "red",
        )
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
    days = _rows(settings, f"SELECT ingest_date, {', '.join(names)} FROM staging.books ORDER BY 1")
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
    held_back = {(model, hours) for model, hours, _ in _gated(settings)}
    windows = [(window.model, window.lookback_hours) for window in settings.attribution.windows]
    windows = [window for window in windows if window not in held_back]
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


def _gated(settings: Settings) -> list[tuple[Any, ...]]:
    return _rows(
        settings, "SELECT model, window_hours, reason FROM marts.attribution_status WHERE NOT computed ORDER BY ALL"
    )


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
    table = _table(
        f"Retention by {unit} of the first visit", "cohort", "persons", *(f"{unit} {period}" for period in periods)
    )
    for cohort, row in sorted(cells.items()):
        persons = row[0][0]
        shown = [f"{row[period][1] / persons:.0%}" if period in row and persons else "" for period in periods]
        table.add_row(cohort, f"{persons:,.0f}", *shown)
    return table


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
