"""`gtm report attribution`: all models of the same events side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note, progress_bar, say, say_json
from gtm_dagster.commands.table_output import Form, ReportFormat, flat, form_of, say_table

if TYPE_CHECKING:
    from gtm_dagster.reports.credit_report import CreditReport
    from gtm_dagster.reports.definitions_compared import DefinitionResult


def attribution(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="First day, or how many days (30d) or weeks (4w) back.")] = "30d",
    until: Annotated[str | None, typer.Option(help="Last day; today without it.", show_default=False)] = None,
    by: Annotated[Literal["channel", "source", "campaign"], typer.Option(help="What a row is.")] = "channel",
    conversion_type: Annotated[
        str | None, typer.Option("--type", help="Conversion type; without it the most frequent.", show_default=False)
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the value.", show_default=False)] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Beside the period before, and under each definition of a session.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write one HTML file that needs nothing else.")] = None,
    format: ReportFormat = None,
    json: Json = False,
) -> None:
    """Credit by every computed model side by side, with intervals, what nobody earned, and findings in words.

    One conversion type and currency at a time: unlike things are not added.
    """
    from gtm_dagster.reports.credit_json import as_json, result_rows
    from gtm_dagster.reports.credit_report import ReportError, credit_report
    from gtm_dagster.reports.credit_text import as_text
    from gtm_dagster.reports.findings import findings
    from gtm_dagster.warehouse.figures.period import PeriodError, period_of, today_in
    from gtm_dagster.warehouse.serving import reader

    form = form_of(format, json, piped=Form.TABLE)
    settings = invocation(context).settings
    try:
        period = period_of(since, until, today_in(settings.report_timezone))
    except PeriodError as error:
        raise Problem(f"--{error}", 2) from None
    try:
        with progress_bar("counting credit, and how sure it is"), reader(settings) as con:
            report: CreditReport = credit_report(
                con, period, settings, by=by, conversion_type=conversion_type, currency=currency, before=compare
            )
    except ReportError as error:
        raise Problem(str(error)) from None
    if compare:
        report = replace(report, definitions=_definitions(context, report))
    report = replace(report, findings=findings(report))
    if html is not None:
        from gtm_dagster.reports.credit_html import as_html

        _write(html, as_html(report))
    if form is Form.JSON:
        say_json(as_json(report))
    elif form is not Form.TABLE:
        say_table(*flat(result_rows(report)), form)
    elif html is None:
        say(as_text(report).rstrip("\n"))


def _definitions(context: typer.Context, report: CreditReport) -> tuple[DefinitionResult, ...]:
    """The same events under each definition of a session; says what it is doing, and how long it took."""
    from gtm_dagster.reports.definitions_compared import NotComparable, definition_results
    from gtm_dagster.warehouse.writer_lock import LockHeldError

    here = invocation(context)
    try:
        with progress_bar("comparing definitions of a session") as tell:
            found = definition_results(
                here.settings,
                here.plan,
                report.period,
                report.kind,
                report.results,
                report.by,
                tell or (lambda step: None),
            )
    except (NotComparable, LockHeldError) as error:
        raise Problem(f"--compare: {error}") from None
    times = ", ".join(f"{each.definition} {each.seconds:.1f} s" for each in found[1:])
    note(f"built again on a copy of the warehouse: {times}")
    return found


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page)
    except OSError as error:
        raise Problem(f"{path}: cannot be written ({error.strerror})") from None
    note(f"the report is in {path}")


COMMANDS = (Command("report attribution", attribution, order=10),)
