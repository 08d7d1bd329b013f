"""`gtm simulate`: realistic traffic as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, progress_bar, say, say_json


def simulate(
    context: typer.Context,
    events: Annotated[int, typer.Option(min=1, help="Rows to make, duplicates and malformed ones included.")] = 60_000,
    days: Annotated[int, typer.Option(min=1, help="Days of history up to now.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same traffic.")] = 7,
    out: Annotated[Path, typer.Option(help="Folder for events and truth.json.")] = Path("simulated"),
    form: Annotated[str, typer.Option("--format", help="parquet or ndjson.")] = "parquet",
    json: Json = False,
) -> None:
    """Write realistic traffic as a file for `gtm import`, and the planted truth beside it."""
    from gtm_dagster.simulator import simulate as make
    from gtm_dagster.simulator import write
    from gtm_dagster.simulator.plain_windows import plain_windows

    windows = plain_windows(invocation(context).settings)
    try:
        with progress_bar("simulating") as _:
            traffic = make(events, days, seed, windows=windows)
            paths = write(traffic, out, form=form)
    except ValueError as error:
        raise Problem(str(error), 2) from None
    except OSError as error:
        raise Problem(f"{out}: cannot be written ({error.strerror})") from None
    document = {"events": traffic.events.num_rows, "days": days, "seed": seed, "files": [str(path) for path in paths]}
    if json:
        say_json(document)
    else:
        say(f"{traffic.events.num_rows:,} events of {days} days in {paths[0]}, their truth in {paths[1]}")
        # Planted rows among real ones: apart from one's own data unless the user says otherwise.
        say(f"next, apart from your own data: `GTM_STATE_DIR={out / 'state'} gtm import {paths[0]}`")


COMMANDS = (Command("simulate", simulate, order=50),)
