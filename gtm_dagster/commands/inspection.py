"""Looking inside: rejected events, and whether the deployment is well."""

from __future__ import annotations

import json as codec
from typing import Annotated, Any

import typer

from gtm_dagster.commands.output import Json, Problem, invocation, progress_bar, records, say, say_json, say_table

quarantine = typer.Typer(help="Events that were rejected, and why.", no_args_is_help=True)


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("errors", "raw"):
        if isinstance(row.get(name), str):
            try:
                row[name] = codec.loads(row[name])
            except ValueError:
                continue
    return row


@quarantine.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Newest rows to show.")] = 50,
    reason: Annotated[str | None, typer.Option(help="Only rows with this reason code.")] = None,
    json: Json = False,
) -> None:
    """The newest rejected events with every reason; personal values are masked."""
    from gtm_dagster.warehouse.serving import query

    where = ""
    if reason:
        quoted = reason.replace("'", "''")
        where = f"WHERE list_contains(string_split(reason_codes, ','), '{quoted}')"
    sql = f"SELECT event_id, event_name, reason_codes, received_at, errors, raw FROM staging.quarantine {where} ORDER BY received_us DESC, event_id LIMIT {limit}"
    columns, rows = query(invocation(context).settings, sql)
    if json:
        say_json([_decoded(row) for row in records(columns, rows)])
    else:
        say_table(columns[:4], [row[:4] for row in rows])


@quarantine.command()
def show(
    context: typer.Context, event_id: Annotated[str, typer.Argument(help="Id of the event.")], json: Json = False
) -> None:
    """Every rejected version of one event."""
    from gtm_dagster.warehouse.serving import query

    quoted = event_id.replace("'", "''")
    columns, rows = query(
        invocation(context).settings,
        f"SELECT * FROM staging.quarantine WHERE event_id = '{quoted}' ORDER BY received_us DESC",
    )
    if not rows:
        raise Problem(f"{event_id}: no rejected event of this id; see gtm quarantine list")
    found = [_decoded(row) for row in records(columns, rows)]
    if json:
        say_json(found)
        return
    for row in found:
        say(f"{row['event_id']} {row['event_name']} received {row['received_at']} by write key {row['write_key']}")
        for error in row["errors"] if isinstance(row["errors"], list) else []:
            say(f"  {error.get('path')}: {error.get('message')} [{error.get('code')}]")
        say(f"  {codec.dumps(row['raw'], ensure_ascii=False)}")


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
            "(collector, refresh, dagster, publisher, concurrency, disk-full).",
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
            help="With --drill: how long `concurrency` lasts (1 when not given); after it no drill begins a round.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Look at settings, plan, keys, log, landing files, lock, warehouse and serving copy. Exit 1: something is wrong."""
    from gtm_dagster.commands.health import examine, verify_warehouse

    here = invocation(context)
    if drill:
        from gtm_dagster.commands.drills import run_drills_here

        if verify:
            raise Problem("--verify looks at this deployment, --drill at a throw-away one: choose one of them", 2)
        return run_drills_here(here.settings, names or (), rounds=rounds, minutes=minutes, json=json)
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
            say(f"{'ok     ' if finding.ok else 'PROBLEM'} {finding.name}: {finding.detail}")
    return 0 if ok else 1
