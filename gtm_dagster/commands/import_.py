"""`gtm import`: files of past events into the landing zone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, invocation, progress_bar, say, say_json


def import_(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="CSV, NDJSON or Parquet files, also compressed.")],
    mapping: Annotated[Path | None, typer.Option(help="TOML that says which column is what.")] = None,
    write_key: Annotated[
        str, typer.Option(help="The source these events belong to; ids are unique within it.")
    ] = "import",
    json: Json = False,
) -> None:
    """Land history; the same file twice changes nothing. A file lands whole or not at all."""
    from gtm_dagster.importing import import_file, load_mapping
    from gtm_dagster.privacy.sealing import Sealer
    from gtm_dagster.warehouse.landing import Landing

    here = invocation(context)
    rules = load_mapping(mapping) if mapping else None
    names = ("read", "accepted", "duplicates", "quarantined", "suppressed")
    totals, each = dict.fromkeys(names, 0), []
    for file in files:
        with progress_bar(f"importing {file.name}") as tell:
            result = import_file(
                file, landing=Landing(here.settings.landing_dir), plan=here.plan, pseudonymize=here.pseudonymize, sealer=Sealer(here.key),
                write_key=write_key, mapping=rules, progress=tell,
            )  # fmt: skip
        counted = {name: getattr(result, name) for name in names}
        each.append({"file": str(file), **counted})
        for name in names:
            totals[name] += counted[name]
        if not json:
            say(f"{file}: " + ", ".join(f"{counted[name]:,} {name}" for name in names))
    if json:
        say_json({**totals, "files": each})
    else:
        say("next: gtm refresh")


COMMANDS = (Command("import", import_, order=60),)
