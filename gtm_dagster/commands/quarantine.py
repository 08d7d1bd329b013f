"""`gtm quarantine`: rejected events, and why."""

from __future__ import annotations

import json as codec
from typing import Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, records, say, say_json, say_table


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("errors", "raw"):
        if isinstance(row.get(name), str):
            try:
                row[name] = codec.loads(row[name])
            except ValueError:
                continue
    return row


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


COMMANDS = (
    Group("quarantine", "Events that were rejected, and why.", order=120),
    Command("quarantine list", list_, order=10),
    Command("quarantine show", show, order=20),
)
