"""`gtm attribute`: credit from a file of paths, without any deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.attribution import models
from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, records, say_json, say_table

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
    ages_column: Annotated[str | None, typer.Option(help="Column of each touch's age in hours.")] = None,
    half_life_hours: Annotated[float, typer.Option(help="Half-life of time_decay, in hours.")] = models.HALF_LIFE_HOURS,
    direct: Annotated[list[str] | None, typer.Option(help="Channel that last_non_direct passes over.")] = None,
    json: Json = False,
) -> None:
    """Credit by channel from a file of paths; never held back by the history gate."""
    from gtm_dagster.attribution import attribute as credit
    from gtm_dagster.attribution.pathfile import PathsUsage

    rows = []
    for name in model:
        try:
            table = credit(
                paths, name, separator=separator, path_column=path_column, conversions_column=conversions_column,
                value_column=value_column, ages_column=ages_column, half_life_hours=half_life_hours,
                direct=direct or ["Direct"],
            )  # fmt: skip
        except PathsUsage as error:
            raise Problem(str(error), 2) from None
        rows += [([name] if len(model) > 1 else []) + list(row) for row in table.itertuples(index=False, name=None)]
    columns = (["model"] if len(model) > 1 else []) + ["channel", "conversions", "value"]
    if json:
        say_json(records(columns, rows))
    else:
        say_table(columns, [[None if cell != cell else cell for cell in row] for row in rows])


COMMANDS = (Command("attribute", attribute, order=90),)
