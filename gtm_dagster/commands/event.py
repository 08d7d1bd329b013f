"""`gtm event`: what became of one event."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json
from gtm_dagster.commands.table_output import say_table
from gtm_dagster.commands.terminal_text import on_one_line

if TYPE_CHECKING:
    from gtm_dagster.reports.event_trace import EventTrace

_NAMES = 13
"""Columns of a fact's name."""


def event(
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event, as it was sent or as it is stored.")],
    write_key: Annotated[str | None, typer.Option(help="Only of this key; else of any.")] = None,
    json: Json = False,
) -> int:
    """What became of one event: verdict, place in the log, landed file, tables, session and credit. Exit 1: unknown."""
    import msgspec

    from gtm_dagster.collector.keys import DEV_KEY, KeyStore
    from gtm_dagster.privacy.event_ids import stored_event_id
    from gtm_dagster.reports.event_trace import trace_event

    here = invocation(context)
    settings = here.settings
    names = [key.name for key in KeyStore(settings.keys_dir).list()]
    keys = [write_key] if write_key else [*names, DEV_KEY]
    stored = stored_event_id(event_id, here.pseudonymize)
    found = trace_event(settings, keys, stored, search_landing=True)
    if found is None or (write_key and found.write_key != write_key):
        of_key = f" of key {write_key}" if write_key else ""
        raise Problem(
            f"{event_id}: no event{of_key} has this id: it was never taken, had no consent, or left the log and the landing zone"
        )
    if json:
        say_json({"sent_id": event_id, **msgspec.to_builtins(found)})
    else:
        _say(event_id, found)
    return 0


def _say(sent_id: str, found: EventTrace) -> None:
    width = min(shutil.get_terminal_size().columns, 80)
    for name, value in _facts(sent_id, found):
        if value:
            head = f"{name:<{_NAMES}}"
            lines = textwrap.wrap(
                on_one_line(head + value),
                width,
                subsequent_indent=" " * _NAMES,
                break_long_words=False,
                break_on_hyphens=False,
            )
            say("\n".join(lines))
    if found.credit:
        say("")
        columns = ["model", "window_hours", "channel", "source", "credit", "value"]
        say_table(columns, [[row[name] for name in columns] for row in found.credit])
    if found.other_copies:
        say("")
        rows = [
            [
                copy["received_at"],
                copy["verdict"],
                copy["offset"],
                ", ".join(sorted({e["code"] for e in copy["errors"]})),
            ]
            for copy in found.other_copies
        ]
        say_table(["other copy", "verdict", "offset", "reasons"], rows)


def _facts(sent_id: str, found: EventTrace) -> list[tuple[str, str | None]]:
    session, conversion = found.session, found.conversion
    day, _, file = (found.landed_file or "").partition("/")
    visit = f"{session['channel']}, from {session['session_start']}" if session else found.no_session
    paid = [conversion["conversion_type"], conversion["value"], conversion["currency"]] if conversion else []
    return [
        ("id", sent_id),
        ("stored as", found.event_id if found.event_id != sent_id else None),
        ("write key", found.write_key),
        ("verdict", found.verdict),
        *(("reason", f"{error['path'] or 'event'}: {error['message']} ({error['code']})") for error in found.errors),
        ("name", found.event_name),
        ("happened", found.event_time),
        ("received", found.received_at),
        ("sent with", found.sent_with),
        ("plan", found.plan_version),
        ("log", None if found.offset is None else f"offset {found.offset} of log {found.log_id}"),
        ("landed", day.removeprefix("ingest_date=") or None),
        ("file", file or None),
        ("original", "kept, sealed" if found.original_kept else None),
        ("tables", "published" if found.staged else f"not there: {found.not_staged}"),
        ("session", visit if found.staged else None),
        ("session key", session["session_key"] if session else None),
        ("conversion", " ".join(str(part) for part in paid if part is not None) or None),
    ]


COMMANDS = (Command("event", event, order=122),)
