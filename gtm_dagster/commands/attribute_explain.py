"""`gtm attribute explain`: why the credit of one conversion is what it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note, say, say_json

if TYPE_CHECKING:
    from gtm_dagster.reports.explained_conversion import ExplainedConversion

_FIND = 'gtm query "FROM core.conversions ORDER BY day DESC LIMIT 9"'


def explain(
    context: typer.Context,
    conversion_id: Annotated[str, typer.Argument(help="As core.conversions has it: write key, colon, event id.")],
    html: Annotated[
        Path | None, typer.Option(help="Write one HTML file that needs nothing else.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Each touch of a conversion: its age, in or out and why, and credit by model; on the serving copy.

    Sessions outside of the lookback and after the conversion are shown, too: up to 200 rows in all.
    """
    import duckdb

    from gtm_dagster.reports.explain_page import explain_page
    from gtm_dagster.reports.explain_text import explanation
    from gtm_dagster.reports.explained_conversion import explained, nearest_ids
    from gtm_dagster.storage.atomic_write import write_whole
    from gtm_dagster.warehouse.serving import reader

    settings = invocation(context).settings
    with reader(settings) as con:
        try:
            found = explained(con, settings, conversion_id)
            near = [] if found else nearest_ids(con, conversion_id)
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise Problem(f"{settings.serving_path} was written by another version: run `gtm refresh`") from error
    if found is None:
        hint = [f"the nearest ids are: {each}" if n == 0 else each for n, each in enumerate(near)]
        raise Problem(f"{conversion_id!r} is not in core.conversions", more=[*hint, f"find one: `{_FIND}`"])
    if html is not None:
        write_whole(html, explain_page(found).encode())
    if json:
        say_json(_document(found))
    elif html is None:
        say(explanation(found).rstrip("\n"))
    else:
        note(f"written to {html}")


def _document(found: ExplainedConversion) -> dict[str, Any]:
    """Conversion, touches and results; verdicts and credits of a result in the order of the touches."""
    internal = ("person_no", "conversion_us")
    return {
        "conversion": {name: value for name, value in found.conversion.items() if name not in internal},
        "touches": [
            {
                "session_key": touch.key, "touch_time": touch.at, "age_hours": touch.age_hours, "source": touch.source,
                "medium": touch.medium, "campaign": touch.campaign, "channel": touch.channel, "rule": touch.rule, "note": touch.note,
            }
            for touch in found.touches
        ],
        "sessions_not_shown": found.hidden,
        "results": [
            {
                "model": result.label,
                "window_hours": result.window_hours,
                "touches": [
                    {"counts": why is None, "why_not": why, **_amounts(credit)}
                    for why, credit in zip(result.why_out, result.credits, strict=True)
                ],
                "touches_not_shown": result.elsewhere and asdict(result.elsewhere),
                "unattributed": result.unattributed and asdict(result.unattributed),
                "sum": asdict(result.total),
                "conserves": result.conserves,
            }
            for result in found.results
        ],
        "absent": [{"model": label, "window_hours": hours, "reason": why} for label, hours, why in found.absent],
    }  # fmt: skip


def _amounts(credit: Any) -> dict[str, float | None]:
    return {"share": 0.0, "value": None, "net_value": None} if credit is None else asdict(credit)


COMMANDS = (Command("attribute explain", explain, order=20),)
