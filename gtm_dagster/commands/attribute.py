"""`gtm attribute`: credit from a file of paths, without any deployment."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gtm_dagster.attribution import models
from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, note, progress_bar
from gtm_dagster.commands.table_output import Format, form_of, say_table

_MODELS_HELP = "Credit model; may be given more than once.\n\n" + "\n\n".join(
    f"{name}: {models.model(name).meaning}" for name in models.MODELS
)


def attribute(
    paths: Annotated[Path, typer.Argument(help="CSV or Parquet, a path a row, touches oldest first.")],
    model: Annotated[list[str], typer.Option(help=_MODELS_HELP)],
    separator: Annotated[str, typer.Option(help="What stands between two touches.")] = " > ",
    path_column: Annotated[str, typer.Option(help="Column of the paths.")] = "path",
    conversions_column: Annotated[str, typer.Option(help="Column of conversions.")] = "total_conversions",
    value_column: Annotated[str, typer.Option(help="Column of conversion value.")] = "total_conversion_value",
    nulls_column: Annotated[str, typer.Option(help="Column of paths that did not convert.")] = "total_null",
    ages_column: Annotated[str | None, typer.Option(help="Column of each touch's age in hours.")] = None,
    stages_column: Annotated[
        str | None, typer.Option(help="Column of the place in the path, from 1, of each stage's touch.")
    ] = None,
    person_column: Annotated[str | None, typer.Option(help="Column of persons, for --count first.")] = None,
    count: Annotated[str, typer.Option(help="all conversions, or the first of each person.")] = "all",
    direct: Annotated[list[str] | None, typer.Option(help="Channel that last_non_direct passes over.")] = None,
    paid: Annotated[
        list[str] | None, typer.Option(help="Channel that first_paid and last_paid look for.", show_default=False)
    ] = None,
    lookback_hours: Annotated[float | None, typer.Option(help="How old a touch may be.")] = None,
    channel_hours: Annotated[
        list[str] | None, typer.Option(help="CHANNEL=HOURS: another lookback for one channel.")
    ] = None,
    max_touches: Annotated[
        int | None, typer.Option(help="Newest touches that are kept of a path beside the oldest.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Channel that counts; others do not.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Channel that does not count.")] = None,
    transform: Annotated[
        list[str] | None,
        typer.Option(
            help="unique, exposure, first, last, newest:N, remove_if_not_all:CHANNEL or "
            "remove_if_last_and_not_all:CHANNEL; in the order given."
        ),
    ] = None,
    half_life_hours: Annotated[float, typer.Option(help="Half-life of time_decay, in hours.")] = models.HALF_LIFE_HOURS,
    weights: Annotated[
        str | None, typer.Option(help="FIRST,MIDDLE,LAST: shares of position_based, such as 40,20,40.")
    ] = None,
    order: Annotated[int | None, typer.Option(help="How many touches a state of markov remembers.")] = None,
    nulls: Annotated[
        bool | None, typer.Option("--nulls/--no-nulls", help="Whether markov reads paths that did not convert.")
    ] = None,
    removal: Annotated[str | None, typer.Option(help="What markov does without a channel.")] = None,
    game: Annotated[str | None, typer.Option(help="What shapley divides: volume or rate.")] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Skip and count rows that are no path.")
    ] = False,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="95 % intervals by a bootstrap, and too_few below 30 conversions.")
    ] = False,
    format: Format = None,
    json: Json = False,
) -> None:
    """Credit by channel from a file of paths; never held back by the history gate."""
    from gtm_dagster.attribution import attribute as credit
    from gtm_dagster.attribution.pathfile import PathsUsage

    form = form_of(format, json)
    more: dict[str, Any] = {
        "weights": weights if weights is None else _numbers("weights", weights.split(",")),
        "order": order,
        "nulls": nulls,
        "removal": removal,
        "game": game,
    }
    with progress_bar(f"crediting by {', '.join(model)}"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            table = credit(
                paths, model, separator=separator, path_column=path_column, conversions_column=conversions_column,
                value_column=value_column, nulls_column=nulls_column, ages_column=ages_column,
                stages_column=stages_column, person_column=person_column, count=count,  # type: ignore[arg-type]
                direct=direct or ["Direct"], paid=paid or sorted(models.PAID_CHANNELS),
                lookback_hours=lookback_hours, channel_hours=_by_channel(channel_hours or []), max_touches=max_touches,
                only=only or (), without=without or (), transforms=transform or (), skip_bad_rows=skip_bad_rows,
                half_life_hours=half_life_hours, intervals=intervals, **{name: value for name, value in more.items() if value is not None},
            )  # fmt: skip
        except PathsUsage as error:
            raise Problem(str(error), 2) from None
    for warning in caught:
        note(f"gtm: {warning.message}")
    for name, words in (("skipped_rows", "skipped: no path"), ("truncated_paths", "truncated: more touches than kept")):
        if table.attrs[name]:
            note(f"gtm: {table.attrs[name]} rows {words}")
    for name in table.attrs.get("unknown_channels", ()):
        note(f"gtm: no path has the channel {name}")
    for name in table.attrs.get("no_intervals", ()):
        note(f"gtm: {name}: no intervals, there are too many distinct paths to solve it again on every draw")
    columns = list(table.columns)[1 if len(model) == 1 else 0 :]
    rows = [tuple(row) for row in table[columns].itertuples(index=False, name=None)]
    say_table(columns, [[None if cell != cell else cell for cell in row] for row in rows], form)


def _numbers(option: str, texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise Problem(f"{option}: {','.join(texts)!r} are not numbers", 2) from None


def _by_channel(texts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        channel, between, hours = text.rpartition("=")
        number = _numbers("channel_hours", [hours])[0] if between and channel else math.nan
        if not number > 0:
            raise Problem(f"channel_hours: {text!r} is not CHANNEL=HOURS with hours above 0", 2)
        found[channel] = number
    return found


COMMANDS = (
    Group(
        "attribute",
        "Credit from a file of paths, and why a conversion's credit is what it is. `gtm attribute PATHS.csv --model M` is "
        "`gtm attribute paths`; a file called like a command is ./explain.",
        order=90,
        default="paths",
    ),
    Command("attribute paths", attribute, order=10),
)
