"""`gtm refresh`: the job the web UI runs, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note, progress_bar, say, say_json, say_prose

_COUNTS = ("raw", "clean", "duplicates", "quarantined", "suppressed")


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
    from gtm_dagster.reports.number_text import counted

    here = invocation(context)
    settings = here.settings  # first: the definitions read the settings too, when they are imported
    for line in here.notices:
        note(line)
    with quiet_interrupt():
        from gtm_dagster.definitions import build_defs
        from gtm_dagster.orchestration.refresh_run import run_refresh

        with progress_bar("refreshing") as tell:
            result = run_refresh(settings, build_defs, full=full, progress=tell)
    totals = {name: sum(getattr(row, name) for row in result.books) for name in (*_COUNTS, "bots")}
    if json:
        checks = [asdict(check) for check in result.checks]
        say_json(
            {"run_id": result.run_id, "ok": result.ok, "totals": totals, "books": [asdict(row) for row in result.books], "checks": checks,
             "rebuilt": list(result.rebuilt), "error": result.error}
        )  # fmt: skip
        return 0 if result.ok else 1
    for line in result.rebuilt:
        say(f"rebuilt: {line}")
    if result.error and not result.checks:
        raise Problem(result.error)  # nothing was done: books and checks are those of a run before
    bots = totals["bots"]
    say_prose(
        "books: " + ", ".join(f"{totals[name]:,} {name}" for name in _COUNTS) + f" over {counted(len(result.books), 'ingest day')}"
        + (f"; {bots:,} of the clean ones are of bots" if bots else "")
    )  # fmt: skip
    passed = sum(1 for check in result.checks if check.passed)
    say(f"checks: {passed} of {len(result.checks)} passed (run {result.run_id})")
    for check in result.checks:
        if not check.passed:
            note(f"{check.severity} {check.asset} {check.check}: {check.description}")
    if result.error:
        raise Problem(result.error)
    return 0 if result.ok else 1


COMMANDS = (Command("refresh", refresh, order=70),)
