"""`gtm sql`: the statements of the warehouse in the dialect of any engine, and a bundle another engine can run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json
from gtm_dagster.commands.table_output import Form, Format, form_of, say_table


def sql(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Statement to print; left out: list them all.")] = None,
    dialect: Annotated[
        str, typer.Option(help="duckdb, spark, snowflake, bigquery or postgres; a bundle takes duckdb or spark.")
    ] = "spark",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PARAMETER=NUMBER", help="Over the settings' own value; may be repeated."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Leave every parameter a named parameter of the dialect.")] = False,
    bundle: Annotated[
        Path | None, typer.Option(help="Write statements, inputs and a runner into this new folder instead.")
    ] = None,
    format: Format = None,
    json: Json = False,
) -> None:
    """Print a statement of the warehouse for another engine, or export sessions, touchpoints and credits to run there.

    Parameters that the settings decide are filled in; the others stay named parameters of the dialect.
    """
    if bundle is not None:
        if name or set_ or raw:
            raise Problem(
                "--bundle exports the whole plan with the settings' values; leave NAME, --set and --raw out", 2
            )
        _export(context, bundle, dialect, json)
    elif name is None:
        if set_ or raw:
            raise Problem("--set and --raw need the name of a statement; `gtm sql` lists them", 2)
        _list(form_of(format, json))
    else:
        _print(context, name, dialect, _numbers(set_ or []), raw, json)


def _numbers(assignments: list[str]) -> dict[str, int]:
    numbers = {}
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        try:
            numbers[key] = int(value)
        except ValueError:
            raise Problem(f"--set {assignment}: write PARAMETER=NUMBER with a whole number", 2) from None
    return numbers


def _list(form: Form) -> None:
    from gtm_dagster.warehouse.engines.dialects import names, parameters_of, summary

    listed = [(name, parameters_of(name), summary(name)) for name in names()]
    if form is Form.TABLE:
        say_table(("statement", "parameters", "gives"), [(n, ", ".join(params), gives) for n, params, gives in listed])
    else:
        say_table(("name", "parameters", "gives"), listed, form)


def _print(context: typer.Context, name: str, dialect: str, given: dict[str, int], raw: bool, json: bool) -> None:
    from gtm_dagster.warehouse.engines.dialects import PortabilityError, parameters, parameters_of, render

    values = {**({} if raw else parameters(invocation(context).settings)), **given}
    try:
        known = parameters_of(name)
        for key in given:
            if key not in known:
                raise Problem(f"--set {key}: {name} has {', '.join(known) or 'no parameters'}", 2)
        text = render(name, dialect, values)
    except PortabilityError as error:
        raise Problem(str(error), 2) from None
    if json:
        say_json({"name": name, "dialect": dialect, "open": [key for key in known if key not in values], "sql": text})
    else:
        say(text)


def _export(context: typer.Context, folder: Path, dialect: str, json: bool) -> None:
    from gtm_dagster.warehouse.build_context import BuildContext
    from gtm_dagster.warehouse.engine import opened
    from gtm_dagster.warehouse.engines.export import export
    from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

    here = invocation(context)
    settings = here.settings
    if dialect not in ("duckdb", "spark"):
        raise Problem(
            f"--dialect {dialect}: a bundle is written for duckdb or spark; for others print the statements", 2
        )
    if not settings.warehouse_path.exists():
        raise Problem(f"{settings.warehouse_path} is not there yet: run `gtm refresh` first")
    try:
        with WarehouseLock(settings.state_dir).hold("gtm sql --bundle", settings.refresh.lock_timeout_seconds):
            with opened(settings.warehouse_path, settings, read_only=True) as con:
                written = export(con, BuildContext(settings, here.plan), folder, dialect)
    except LockHeldError as error:
        raise Problem(str(error)) from None
    except FileExistsError as error:
        raise Problem(str(error), 2) from None
    if json:
        say_json({"folder": str(folder), "dialect": dialect, "rows": written.rows, "tables": list(written.tables)})
        return
    for table, rows in written.rows.items():
        say(f"{folder / 'inputs' / table}: {rows:,} rows")
    if dialect == "spark":
        say(f"run it with: spark-submit {folder / 'run.py'}")
    else:
        say(f"run {folder}/*.sql in order; plan.json names the results")


COMMANDS = (Command("sql", sql, order=100),)
