"""`gtm attribute restated`: what refreshes changed of the credit of days that were over."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note
from gtm_dagster.commands.table_output import Form, Format, form_of, records, say_table

_COLUMNS = (
    "refreshed_at, day, conversion_type, currency, model, window_hours, channel, reason, conversions_before, conversions_after, "
    "value_before, value_after, net_before, net_after, spend_before, spend_after, detail"
)
_READ = f"""SELECT {_COLUMNS} FROM marts.restatements WHERE day >= coalesce($since, day) AND day <= coalesce($until, day)
  ORDER BY restatement_no DESC LIMIT $limit"""  # noqa: S608 - columns written above
_SHORT = ("refreshed", "day", "type", "model", "channel", "reason", "conversions", "net value", "spend")


def restated(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(help="First day of conversions, or how many days (30d) or weeks (4w) back.", show_default=False),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last day of conversions.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows, the newest first.")] = 100,
    format: Format = None,
    json: Json = False,
) -> None:
    """What changed of the credit of days that were over, by how much, and why; newest first.

    Reasons: rule_change, withdrawn_import, refund, identity_merge, late_event; spend_import of spend.
    """
    from gtm_dagster.warehouse.serving import query as ask

    form = form_of(format, json)
    settings = invocation(context).settings
    first, last = _days(settings.report_timezone, since, until)
    columns, rows = ask(settings, _READ, {"since": first, "until": last, "limit": limit})
    found = records(columns, rows)
    if form is not Form.TABLE:
        say_table(columns, rows, form)
        return
    if not found:
        note("no restatement: no refresh changed the credit of a day that was over")
        return
    say_table(
        _SHORT,
        [
            (
                f"{row['refreshed_at']:%Y-%m-%d %H:%M}",
                row["day"],
                row["conversion_type"] + (f" {row['currency']}" if row["currency"] else ""),
                f"{row['model']} {row['window_hours']:g} h",
                row["channel"],
                row["reason"],
                step(row["conversions_before"], row["conversions_after"]),
                step(row["net_before"], row["net_after"]),
                step(row["spend_before"], row["spend_after"]),
            )
            for row in found
        ],
    )
    for detail in dict.fromkeys(f"{row['reason']}: {row['detail']}" for row in found if row["detail"]):
        note(detail)


def _days(zone: str, since: str | None, until: str | None) -> tuple[date | None, date | None]:
    from gtm_dagster.warehouse.figures.period import PeriodError, period_of, today_in

    if since is None and until is None:
        return None, None
    try:
        period = period_of(since or "1970-01-01", until, today_in(zone))
    except PeriodError as error:
        raise Problem(f"--{error}", 2) from None
    return period.since, period.until


def step(before: float | None, after: float | None) -> str | None:
    """What became of a figure, such as 1 -> 0.5; alone where it stayed, `-` for what was not known, None for neither known."""
    if before == after:
        return None if after is None else _short(after)
    texts = ["-" if value is None else _short(value) for value in (before, after)]
    if texts[0] == texts[1]:  # a change too small for so few digits is a change
        texts = [f"{value:.12g}" for value in (before, after) if value is not None]
    return " -> ".join(texts)


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


COMMANDS = (Command("attribute restated", restated, order=30),)
