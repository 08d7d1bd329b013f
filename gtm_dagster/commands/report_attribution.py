"""`gtm report attribution`: all models of the same events side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json

if TYPE_CHECKING:
    from gtm_dagster.reports.credit_report import CreditReport


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
    json: Json = False,
) -> None:
    """Credit by every computed model side by side, with intervals, what nobody earned, and findings in words.

    One conversion type and currency at a time: unlike things are not added.
    """
    from gtm_dagster.reports.credit_json import as_json
    from gtm_dagster.reports.credit_report import ReportError, credit_report
    from gtm_dagster.reports.credit_text import as_text
    from gtm_dagster.reports.findings import findings
    from gtm_dagster.warehouse.figures.period import PeriodError, period_of, today_in
    from gtm_dagster.warehouse.serving import reader

    settings = invocation(context).settings
    zone = settings.report_timezone
    try:
        period = period_of(since, until, today_in(zone))
    except PeriodError as error:
        raise Problem(f"--{error}", 2) from None
    try:
        with reader(settings) as con:
            report: CreditReport = credit_report(
                con, period, zone, by=by, conversion_type=conversion_type, currency=currency, before=compare
            )
    except ReportError as error:
        raise Problem(str(error)) from None
    report = replace(report, findings=findings(report))
    if json:
        say_json(as_json(report))
    elif html is None:
        say(as_text(report).rstrip("\n"))


COMMANDS = (Command("report attribution", attribution, order=10),)
