"""`gtm quarantine`: rejected events, and why."""

from __future__ import annotations

import json as codec
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.imports import actor_of
from gtm_dagster.commands.output import (
    Invocation,
    Json,
    Problem,
    invocation,
    note,
    progress_bar,
    say,
    say_json,
    say_prose,
)
from gtm_dagster.commands.quarantine_text import flat_document, group_document, say_group, say_result
from gtm_dagster.commands.table_output import Form, Format, flat, form_of, records, say_table
from gtm_dagster.commands.terminal_text import on_one_line

if TYPE_CHECKING:
    import duckdb

    from gtm_dagster.privacy.sealing import Sealer
    from gtm_dagster.warehouse.quarantine_groups import Selection

_EXAMPLES = 5


def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Groups to show, the largest first.")] = 20,
    reason: Annotated[str | None, typer.Option(help="Only groups with this reason code.")] = None,
    format: Format = None,
    json: Json = False,
) -> None:
    """Rejected rows grouped by event, reasons and fields: how many, since when, and what would help."""
    from gtm_dagster.warehouse.quarantine_groups import groups
    from gtm_dagster.warehouse.quarantined import quarantine_now

    form = form_of(format, json)
    here = invocation(context)
    with quarantine_now(here.settings, accepted=True) as con:
        found = groups(con, _now_us(), reason)
        shown = [group_document(here, con, group) for group in found[:limit]]
        if reason and not found:
            _note_reasons(con, reason)
    if form is Form.JSON:
        say_json(shown)
    elif not found:
        if not reason:
            note("nothing was rejected")
    elif form is not Form.TABLE:
        say_table(*flat([flat_document(each) for each in shown]), form)
    else:
        for each in shown:
            say_group(each)
    if len(found) > limit:
        rest = sum(group.rows for group in found[limit:])
        note(f"groups not shown: {len(found) - limit:,}, rows in them: {rest:,}; all of them: --limit {len(found)}")


def show(
    context: typer.Context,
    group_or_event: Annotated[
        str, typer.Argument(metavar="GROUP|EVENT_ID", help="Group as the list names it, or id of an event.")
    ],
    json: Json = False,
) -> None:
    """A group with its newest rows, or every rejected version of one event (its id as it was sent or is stored)."""
    from gtm_dagster.privacy.event_ids import stored_event_id
    from gtm_dagster.warehouse.quarantine_groups import Selection, group_of
    from gtm_dagster.warehouse.quarantined import quarantine_now

    here = invocation(context)
    document: dict[str, Any] | None = None
    with quarantine_now(here.settings, originals=True, accepted=True) as con:
        group = group_of(con, group_or_event, _now_us())
        if group is not None:
            document = group_document(here, con, group)
            found = _rows(con, Selection(group=group.id), _EXAMPLES)
            document |= {"originals": _originals(con, Selection(group=group.id)), "newest": found}
        else:
            found = _rows(con, Selection(event_id=stored_event_id(group_or_event, here.pseudonymize)))
    if not found:
        raise Problem(f"{group_or_event}: no group and no rejected event of this id; see `gtm quarantine list`")
    if json:
        say_json(document or found)
        return
    if document is not None:
        say_group(document)
        sent = ", ".join(document["write_keys"])
        say(on_one_line(f"  sent by {sent}, from {document['first_at']:%F %T} to {document['newest_at']:%F %T} UTC"))
        say(f"  originals that can be replayed: {document['originals']:,} of {document['rows']:,}")
        say("")
    for row in found:
        heading = f"{row['event_id']} {row['event_name']} received {row['received_at']:%F %T}Z by write key {row['write_key']}"
        say_prose(heading)
        for error in row["errors"] if isinstance(row["errors"], list) else []:
            say_prose(f"  {error.get('path')}: {error.get('message')} [{error.get('code')}]")
        say(f"  {codec.dumps(row['raw'], ensure_ascii=False)}")


def replay(
    context: typer.Context,
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Only the rows of this group.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only rows with this reason code.")] = None,
    event: Annotated[str | None, typer.Option(help="Only rejected events of this name.")] = None,
    event_id: Annotated[str | None, typer.Option(help="Only rejected events of this id.")] = None,
    alias: Annotated[
        list[str] | None, typer.Option(metavar="OLD=EVENT", help="Judge events of the name OLD as EVENT; repeatable.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="A property's name; context.X and event.X are other fields; repeatable."),
    ] = None,
    cast: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=TYPE", help="To number, integer, string or boolean where it reads as one; repeatable."),
    ] = None,
    consented: Annotated[
        bool,
        typer.Option("--consented", help="Whoever sent the events asked for consent: only a refusal is suppressed."),
    ] = False,
    actor: Annotated[str | None, typer.Option(help="Who asks; default: the login name.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would land; nothing is written.")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Judge rejected events again by the present plan; what is accepted now lands, what is refused stays."""
    from dataclasses import asdict

    from gtm_dagster.admission.single_event import Judge
    from gtm_dagster.privacy.consent import consent_policy
    from gtm_dagster.privacy.event_ids import stored_event_id
    from gtm_dagster.warehouse.corrections import CorrectionError, corrections
    from gtm_dagster.warehouse.quarantine_groups import Selection
    from gtm_dagster.warehouse.quarantine_replay import replay_quarantine

    here = invocation(context)
    by = actor_of(actor)
    try:
        corrected = corrections(here.plan, alias or (), rename or (), cast or ())
    except CorrectionError as error:
        raise Problem(str(error), 2) from None
    sealer = _sealer(here)
    stored_id = None if event_id is None else stored_event_id(event_id, here.pseudonymize)
    selection = Selection(group, reason, event, stored_id)
    judge = Judge(
        here.plan, here.pseudonymize, sealer, here.settings.collector.max_event_bytes,
        consent_policy(here.settings.privacy.consent), undeclared_text=here.settings.privacy.undeclared_text,
    )  # fmt: skip
    with progress_bar("replaying the quarantine") as tell:
        result = replay_quarantine(
            here.settings,
            judge,
            sealer,
            selection=selection,
            corrections=corrected,
            by=by,
            gates_consent=consented,
            dry_run=dry_run,
            progress=tell,
        )
    if not result.rows:
        _explain_nothing(here, selection)
    if json:
        recorded = {"selection": str(selection), "corrections": corrected.texts(), "by": by, "dry_run": dry_run}
        say_json({**asdict(result), "reasons": dict(result.reasons), **recorded})
        return
    say_result(here, result, dry_run)


def _sealer(here: Invocation) -> Sealer:
    """What opens originals. A deployment without its key does not get another one here: that would open none."""
    from gtm_dagster.privacy.pseudonyms import KEY_FILE
    from gtm_dagster.privacy.sealing import Sealer

    path = here.settings.keys_dir / KEY_FILE
    if not here.settings.privacy.pseudonym_key and not path.exists():
        raise Problem(
            f"{path}: the key of this deployment is not there, and originals are sealed under it; restore the file from a "
            "backup, or set privacy.pseudonym_key where the key is a setting"
        )
    return Sealer(here.key)


def _now_us() -> int:
    return time.time_ns() // 1000


def _rows(con: duckdb.DuckDBPyConnection, selection: Selection, limit: int | None = None) -> list[dict[str, Any]]:
    """The selected rows, the newest first, with errors and masked event decoded."""
    from gtm_dagster.warehouse.literals import composed
    from gtm_dagster.warehouse.quarantine_groups import condition

    where, values = condition(con, selection)
    cursor = con.execute(
        composed(
            "SELECT * FROM quarantine WHERE $where ORDER BY received_us DESC, event_id, row_no $most",
            where=where,
            most="" if limit is None else f"LIMIT {limit}",
        ),
        values,
    )
    columns = [column[0] for column in cursor.description]
    return [_decoded(row) for row in records(columns, cursor.fetchall())]


def _originals(con: duckdb.DuckDBPyConnection, selection: Selection) -> int:
    """How many of the selected rows have their original still."""
    from gtm_dagster.warehouse.literals import composed
    from gtm_dagster.warehouse.quarantine_groups import condition

    where, values = condition(con, selection)
    query = composed("SELECT count(*) FROM (SELECT * FROM quarantine WHERE $where) SEMI JOIN originals USING (file_key, row_no)", where=where)  # fmt: skip
    [(n,)] = con.execute(query, values).fetchall()
    return int(n)


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("errors", "raw"):
        if isinstance(row.get(name), str):
            try:
                row[name] = codec.loads(row[name])
            except ValueError:
                continue
    return row


def _note_reasons(con: duckdb.DuckDBPyConnection, reason: str) -> None:
    """That no row has the reason, and which there are."""
    from gtm_dagster.settings.nearest import did_you_mean

    counted = con.execute(
        "SELECT unnest(string_split(reason_codes, ',')) AS reason, count(*) AS n FROM quarantine GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    note(f"no rejected row has the reason {reason}{did_you_mean(reason, (code for code, _ in counted))}")
    note("there are: " + (", ".join(f"{code} ({n:,})" for code, n in counted) or "none, nothing was rejected"))


def _explain_nothing(here: Invocation, selection: Selection) -> None:
    """Why a selection has no row, on stderr; a group that is not there is a Problem."""
    from gtm_dagster.warehouse.quarantine_groups import Selection, group_of
    from gtm_dagster.warehouse.quarantined import quarantine_now

    with quarantine_now(here.settings) as con:
        if selection.group is not None and group_of(con, selection.group, 0) is None:
            raise Problem(f"{selection.group}: no group of this id; see `gtm quarantine list`")
        if selection.reason is not None:
            _note_reasons(con, selection.reason)
        else:
            note(f"no rejected row: {selection}" if selection != Selection() else "nothing was rejected")


COMMANDS = (
    Group("quarantine", "Events that were rejected, and why.", order=120),
    Command("quarantine list", list_, order=10),
    Command("quarantine show", show, order=20),
    Command("quarantine replay", replay, order=30),
)
