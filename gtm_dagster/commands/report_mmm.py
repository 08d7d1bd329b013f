"""`gtm report mmm`: the table a marketing mix model reads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note, progress_bar
from gtm_dagster.commands.table_output import Form, Format, form_of, say_table


def mmm(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="First day, or how many days (365d) or weeks (104w) back.")] = "365d",
    until: Annotated[str | None, typer.Option(help="Last day; yesterday without it.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write .csv or .parquet; without it the rows are printed.", show_default=False)
    ] = None,
    format: Format = None,
    json: Json = False,
) -> None:
    """Spend, impressions, clicks and sessions by day and channel, conversions and value by day; a row a figure.

    The columns: day, channel ((all) for outcomes), variable, conversion_type, currency, amount. An amount is empty where
    nothing is known, 0 where nothing happened. A day that is not over is left out.
    """
    from gtm_dagster.reports.mmm import COLUMNS, as_csv, as_parquet, mmm_table
    from gtm_dagster.storage.atomic_write import write_whole
    from gtm_dagster.warehouse.figures.period import PeriodError, period_of, today_in
    from gtm_dagster.warehouse.serving import reader

    form = form_of(format, json)
    settings = invocation(context).settings
    zone = settings.report_timezone
    try:
        period = period_of(since, until, today_in(zone) - timedelta(days=1))
    except PeriodError as error:
        raise Problem(f"--{error}", 2) from None
    if out is not None and out.suffix.lower() not in {".csv", ".parquet"}:
        raise Problem(f"--out: {out} is neither .csv nor .parquet", 2)
    with progress_bar("counting"), reader(settings) as con:
        rows = mmm_table(con, period, zone)
    if out is not None:
        content = as_csv(rows) if out.suffix.lower() == ".csv" else as_parquet(rows)
        try:
            write_whole(out, content)
        except OSError as error:
            raise Problem(f"{out}: cannot be written ({error.strerror})") from None
        note(f"{len(rows):,} figures of {period} are in {out}")
    if out is None or form is Form.JSON:
        say_table(list(COLUMNS), rows, form)


COMMANDS = (Command("report mmm", mmm, order=20),)
