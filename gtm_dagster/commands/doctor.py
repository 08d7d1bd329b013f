"""`gtm doctor`: what `health` finds about this deployment, or what chaos does to a throw-away one."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, progress_bar, say_json, say_prose


def doctor(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Drills to run, with --drill; default: all.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Also compare the warehouse with a rebuild of its landing files, and its serving copy with it.",
        ),
    ] = False,
    drill: Annotated[
        bool,
        typer.Option(
            "--drill",
            help="Instead: kill -9, crowd and fill a throw-away deployment, and look whether every promise was kept "
            "(collector, refresh, dagster, publisher, concurrency, edge, attacker, disk-full).",
        ),
    ] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, show_default="3", help="With --drill: kills, or disks filled, in each drill.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            show_default=False,
            help="With --drill: how long `concurrency` lasts and `attacker` attacks before the loss (1 when not given); after it no drill begins a round.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Look at settings, plan, keys, log, landing files, lock, warehouse and serving copy. Exit 1: something is wrong."""
    from gtm_dagster.commands.health import examine, verify_warehouse

    here = invocation(context)
    if drill:
        from gtm_dagster.commands.doctor_chaos import run_chaos

        if verify:
            raise Problem("--verify looks at this deployment, --drill at a throw-away one: choose one of them", 2)
        return run_chaos(here.settings, names or (), rounds=rounds, minutes=minutes, json=json)
    if names or rounds is not None or minutes is not None:
        raise Problem("names, --rounds and --minutes belong to --drill", 2)
    findings = examine(here)
    if verify:
        with progress_bar("rebuilding beside the warehouse and comparing"):
            findings += verify_warehouse(here)
    ok = all(finding.ok for finding in findings)
    if json:
        say_json({"ok": ok, "findings": [{"name": f.name, "ok": f.ok, "detail": f.detail} for f in findings]})
    else:
        for finding in findings:
            say_prose(f"{'ok     ' if finding.ok else 'PROBLEM'} {finding.name}: {finding.detail}")
    return 0 if ok else 1


COMMANDS = (Command("doctor", doctor, order=110),)
