"""Groups and replays of the quarantine as the command line shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gtm_dagster.commands.output import Invocation, say, say_prose, utc_time
from gtm_dagster.commands.terminal_text import on_one_line

if TYPE_CHECKING:
    import duckdb

    from gtm_dagster.warehouse.quarantine_groups import QuarantineGroup
    from gtm_dagster.warehouse.quarantine_replay import ReplayResult


def group_document(here: Invocation, con: duckdb.DuckDBPyConnection, group: QuarantineGroup) -> dict[str, Any]:
    """A group as it is shown and as JSON."""
    from gtm_dagster.warehouse.quarantine_groups import masked_values
    from gtm_dagster.warehouse.quarantine_suggestions import replay_command, suggestions

    is_open = group.accepted_since < group.rows
    found = suggestions(here.plan, group, lambda path: masked_values(con, group, path)) if is_open else []
    return {
        "group": group.id,
        "event_name": group.event_name,
        "reasons": [{"code": code, "path": path} for code, path in group.reasons],
        "rows": group.rows,
        "accepted_since": group.accepted_since,
        "last_7_days": group.last_7_days,
        "week_before": group.week_before,
        "first_at": utc_time(group.first_us),
        "newest_at": utc_time(group.newest_us),
        "example_id": group.example_id,
        "write_keys": list(group.write_keys),
        "plan_versions": list(group.plan_versions),
        "suggestions": [{"kind": each.kind, "text": each.text, "option": each.option} for each in found],
        "replay": here.command(replay_command(group, found)) if is_open else None,
    }


def flat_document(document: dict[str, Any]) -> dict[str, Any]:
    """The same as one row of a table."""
    lists = {
        "reasons": ", ".join(_reason(each) for each in document["reasons"]),
        "write_keys": ", ".join(document["write_keys"]),
        "plan_versions": ", ".join(document["plan_versions"]),
        "suggestions": "; ".join(each["text"] for each in document["suggestions"]),
    }
    return document | lists


def _reason(reason: dict[str, str]) -> str:
    return f"{reason['code']} at {reason['path']}" if reason["path"] else reason["code"]


def say_group(document: dict[str, Any]) -> None:
    """A group as some lines. Ids and command lines are never broken."""
    rows = "1 row" if document["rows"] == 1 else f"{document['rows']:,} rows"
    if document["accepted_since"]:
        rows += f", {document['accepted_since']:,} accepted since from another copy"
    say(on_one_line(f"{document['group']}  {document['event_name'] or '(no readable name)'}: {rows}"))
    for reason in document["reasons"]:
        say(on_one_line(f"  {_reason(reason)}"))
    say(f"  last 7 days {document['last_7_days']:,}, the 7 before {document['week_before']:,}")
    if document["example_id"]:
        say(on_one_line(f"  example {document['example_id']}"))
    for each in document["suggestions"]:
        say_prose(f"  {each['text']}")
    if document["replay"]:
        say(on_one_line(f"  {document['replay']}"))


def say_result(here: Invocation, result: ReplayResult, dry_run: bool) -> None:
    say(f"{result.rows:,} rejected rows")
    days = here.settings.quarantine.days
    words = (
        ("accepted", "by the present plan"),
        ("known", "their id is accepted from another copy already"),
        ("suppressed", "accepted, but without consent: nothing of them lands"),
        ("refused", "still"),
        ("ended", f"originals are kept for {days} days (quarantine.days); send the events again"),
        ("unsealed", "no original was kept, as it was too large or quarantine.days was 0"),
        ("unopened", "sealed under another key, or damaged; with the key of then they can be replayed"),
    )
    for name, meaning in words:
        if n := getattr(result, name):
            say_prose(f"  {n:,} {name}: {meaning}")
    for code, rows in result.reasons:
        say(f"    {code}: {rows:,}")
    if not result.name:
        say("nothing lands")
    elif dry_run:
        say(f"nothing was written; without --dry-run they land as {result.name}")
    else:
        say_prose(f"{result.accepted:,} events landed as {result.name}; next: `gtm refresh`")
