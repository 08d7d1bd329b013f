"""`gtm quarantine`: rejected events, and why."""

from __future__ import annotations

import json as codec
from typing import Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, note, progress_bar, say, say_json
from gtm_dagster.commands.table_output import Form, Format, form_of, records, say_table
from gtm_dagster.commands.terminal_text import on_one_line

_SUMMARY = """
WITH reasons AS (
  SELECT unnest(string_split(reason_codes, ',')) AS reason, event_name,
    CASE WHEN json_valid(errors) THEN from_json(errors, '[{"path": "VARCHAR", "code": "VARCHAR"}]') END AS errors
  FROM quarantine)
SELECT reason, count(*) AS n_rows,
  list_slice(list_sort(list(DISTINCT event_name)), 1, 3) AS events,
  list_slice(list_sort(list_distinct(flatten(list([x.path FOR x IN errors IF x.code = reason])))), 1, 3) AS fields
FROM reasons
GROUP BY 1
ORDER BY 2 DESC, 1"""


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
    format: Format = None,
    json: Json = False,
) -> None:
    """Rejected rows by reason, and the newest of them; personal values are masked."""
    from gtm_dagster.warehouse.quarantined import quarantine_now

    form = form_of(format, json)
    with quarantine_now(invocation(context).settings) as con:
        summary = con.execute(_SUMMARY).fetchall()
        cursor = con.execute(
            """SELECT event_id, event_name, reason_codes, received_at, errors, raw FROM quarantine
            WHERE $1 IS NULL OR list_contains(string_split(reason_codes, ','), $1)
            ORDER BY received_us DESC, event_id, row_no LIMIT $2""",
            [reason, limit],
        )
        columns, rows = [column[0] for column in cursor.description], cursor.fetchall()
    if reason and not rows:
        _note_reasons(reason, summary)
    if form is Form.JSON:
        say_json([_decoded(row) for row in records(columns, rows)])
        return
    if form is not Form.TABLE:
        for code, n, events, fields in [] if reason else _named(summary):
            where = (f" at {fields}" if fields else "") + (f" of {events}" if events else "")
            note(f"{code}{where}: {n:,} rows")
        say_table(columns, rows, form)
        return
    if not reason:
        if not summary:
            say("nothing was rejected")
            return
        say_table(["reason", "rows", "events", "fields"], _named(summary))
        say("")
    if rows:
        say_table(columns[:4], [row[:4] for row in rows])


def _note_reasons(reason: str, summary: list[tuple[Any, ...]]) -> None:
    """That no row has the reason, and which there are."""
    from gtm_dagster.settings.nearest import did_you_mean

    note(f"no rejected row has the reason {reason}{did_you_mean(reason, (code for code, *_ in summary))}")
    note("there are: " + (", ".join(f"{code} ({n:,})" for code, n, *_ in summary) or "none, nothing was rejected"))


def _named(summary: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Reason, rows, and the names of some events and fields as a text."""
    return [
        (code, n, *(", ".join(text for text in texts or [] if text) for texts in (events, fields)))
        for code, n, events, fields in summary
    ]


def show(
    context: typer.Context, event_id: Annotated[str, typer.Argument(help="Id of the event.")], json: Json = False
) -> None:
    """Every rejected version of one event, by the id as it was sent or as it is stored."""
    from gtm_dagster.privacy.event_ids import stored_event_id
    from gtm_dagster.warehouse.quarantined import quarantine_now

    here = invocation(context)
    with quarantine_now(here.settings) as con:
        cursor = con.execute(
            "SELECT * FROM quarantine WHERE event_id = $1 ORDER BY received_us DESC",
            [stored_event_id(event_id, here.pseudonymize)],
        )
        columns, rows = [column[0] for column in cursor.description], cursor.fetchall()
    if not rows:
        raise Problem(f"{event_id}: no rejected event of this id; see gtm quarantine list")
    found = [_decoded(row) for row in records(columns, rows)]
    if json:
        say_json(found)
        return
    for row in found:
        heading = f"{row['event_id']} {row['event_name']} received {row['received_at']} by write key {row['write_key']}"
        say(on_one_line(heading))
        for error in row["errors"] if isinstance(row["errors"], list) else []:
            say(on_one_line(f"  {error.get('path')}: {error.get('message')} [{error.get('code')}]"))
        say(f"  {codec.dumps(row['raw'], ensure_ascii=False)}")


def replay(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only rows with this reason code.")] = None,
    event_id: Annotated[str | None, typer.Option(help="Only rejected events of this id.")] = None,
    consented: Annotated[
        bool,
        typer.Option("--consented", help="Whoever sent the events asked for consent: only a refusal is suppressed."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would land; nothing is written.")] = False,
    json: Json = False,
) -> None:
    """Judge rejected events again by the present plan; what is accepted now lands, what is refused stays."""
    from dataclasses import asdict

    from gtm_dagster.admission.single_event import Judge
    from gtm_dagster.privacy.consent import consent_policy
    from gtm_dagster.privacy.event_ids import stored_event_id
    from gtm_dagster.privacy.sealing import Sealer
    from gtm_dagster.warehouse.quarantine_replay import replay_quarantine
    from gtm_dagster.warehouse.quarantined import quarantine_now

    here = invocation(context)
    sealer = Sealer(here.key)
    policy = consent_policy(here.settings.privacy.consent)
    judge = Judge(
        here.plan, here.pseudonymize, sealer, here.settings.collector.max_event_bytes, policy,
        undeclared_text=here.settings.privacy.undeclared_text,
    )  # fmt: skip
    with progress_bar("replaying the quarantine") as tell:
        result = replay_quarantine(
            here.settings,
            judge,
            sealer,
            reason=reason,
            event_id=None if event_id is None else stored_event_id(event_id, here.pseudonymize),
            gates_consent=consented,
            dry_run=dry_run,
            progress=tell,
        )
    if reason and not result.rows:
        with quarantine_now(here.settings) as con:
            _note_reasons(reason, con.execute(_SUMMARY).fetchall())
    if json:
        say_json({**asdict(result), "reasons": dict(result.reasons), "dry_run": dry_run})
        return
    counts = ("accepted", "known", "suppressed", "refused", "ended", "unopened")
    say(f"{result.rows:,} rejected rows: " + ", ".join(f"{getattr(result, name):,} {name}" for name in counts))
    for code, rows in result.reasons:
        say(f"  still {code}: {rows:,}")
    if result.ended:
        days = here.settings.quarantine.days
        say(f"  ended: their originals are not kept any more (quarantine.days = {days}); send the events again")
    if result.unopened:
        say("  unopened: without an original, or sealed under another key")
    if not result.name:
        say("nothing lands")
    elif dry_run:
        say(f"nothing was written; without --dry-run {result.accepted:,} events land as {result.name}")
    else:
        say(f"{result.accepted:,} events landed as {result.name}; next: gtm refresh")


COMMANDS = (
    Group("quarantine", "Events that were rejected, and why.", order=120),
    Command("quarantine list", list_, order=10),
    Command("quarantine show", show, order=20),
    Command("quarantine replay", replay, order=30),
)
