"""Getting events in and the tables built: simulate, import, refresh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.output import Json, Problem, invocation, note, progress_bar, say, say_json


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

    windows = [(w.model, w.lookback_hours) for w in invocation(context).settings.attribution.windows]
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
        say(f"next: gtm import {paths[0]}")


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


@contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Ctrl-C during a run says what it left: nothing to clean."""
    try:
        yield
    except KeyboardInterrupt:
        raise Problem("stopped; what was committed stays, the next refresh goes on from there", 130) from None


def refresh(
    context: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="Rebuild everything from the landing files.")] = False,
    json: Json = False,
) -> int:
    """Run the Dagster job `refresh` here: land, validate, rebuild what changed, check, publish. Exit 1: a check failed."""
    from gtm_dagster.definitions import build_defs
    from gtm_dagster.orchestration.refresh_run import run_refresh

    settings = invocation(context).settings
    with quiet_interrupt(), progress_bar("refreshing"):
        result = run_refresh(settings, build_defs, full=full)
    if json:
        checks = [asdict(check) for check in result.checks]
        say_json(
            {"run_id": result.run_id, "ok": result.ok, "books": [asdict(row) for row in result.books], "checks": checks,
             "rebuilt": list(result.rebuilt), "error": result.error}
        )  # fmt: skip
        return 0 if result.ok else 1
    for line in result.rebuilt:
        say(f"rebuilt: {line}")
    columns = ("raw", "clean", "duplicates", "quarantined", "suppressed")
    totals = {name: sum(getattr(row, name) for row in result.books) for name in columns}
    say(
        "books: " + ", ".join(f"{totals[name]:,} {name}" for name in columns) + f" over {len(result.books)} ingest days"
    )
    passed = sum(1 for check in result.checks if check.passed)
    say(f"checks: {passed} of {len(result.checks)} passed (run {result.run_id})")
    for check in result.checks:
        if not check.passed:
            note(f"{check.severity} {check.asset} {check.check}: {check.description}")
    if result.error:
        raise Problem(result.error)
    return 0 if result.ok else 1
