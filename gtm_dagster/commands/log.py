"""`gtm log`: whose offsets the event log holds, and the statement of a person that what is missing in it is gone."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json
from gtm_dagster.commands.table_output import say_table

if TYPE_CHECKING:
    from gtm_dagster.eventlog import Acceptance, EventLog, Position
    from gtm_dagster.settings import Settings

_Consumer = tuple[str, "Position | None", bool]
"""Name, position, and whether it needs every record from the first on."""


def status(context: typer.Context, json: Json = False) -> int:
    """Which log this is, what it keeps, and where its readers stand. Exit 1: it does not continue what they have read."""
    from gtm_dagster.eventlog import LogChangedError, log_exists, log_place
    from gtm_dagster.warehouse.landing.from_log import missing_log

    settings = invocation(context).settings
    if not log_exists(settings):
        gone = missing_log(settings)
        raise Problem(str(gone) if gone else f"{log_place(settings)}: no event log yet; `gtm collect` starts one")
    with _opened(settings) as opened:
        rows, problems = [], []
        for name, position, from_start in _consumers(settings, opened):
            row = {"reader": name, "log_id": position.log_id if position else None, "offset": position.seq if position else None}  # fmt: skip
            try:
                row["goes_on_behind"] = opened.resume(position, from_start=from_start)
            except LogChangedError as changed:
                row["goes_on_behind"] = None
                problems.append(str(changed))
            rows.append(row)
        document: dict[str, Any] = {
            "path": log_place(settings), "log_id": opened.log_id, "first_offset": opened.first_seq(),
            "last_offset": opened.last_seq(), "readers": rows, "accepted": opened.accepted(), "problems": problems,
        }  # fmt: skip
    if json:
        say_json(document)
    else:
        say(f"log {document['log_id']} in {document['path']}: offsets {document['first_offset']} to {document['last_offset']}")  # fmt: skip
        if rows:
            say_table(list(rows[0]), [list(row.values()) for row in rows])
        for row in document["accepted"]:
            superseded = f"log {row['log_id'] or 'without an id'}" if row["kind"] != "trimmed" else "a gap"
            say(f"accepted {row['at']} by {row['actor']}: {superseded}, offsets up to {row['seq']}: {row['reason']}")
        for problem in problems:
            say(f"PROBLEM {problem}")
    return 1 if problems else 0


def accept(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why what is missing is gone; it is kept in the log.")],
    actor: Annotated[str | None, typer.Option(help="Who says so; default: the login name.")] = None,
    json: Json = False,
) -> None:
    """Go on with this log although it lacks what its readers remember: it was lost, restored, or trimmed too early."""
    from gtm_dagster.eventlog import log_exists, log_place
    from gtm_dagster.warehouse.writer_lock import WarehouseLock

    settings = invocation(context).settings
    who, why = _actor(actor), reason.strip()
    if not why:
        raise Problem("--reason: say why; it is kept in the log", 2)
    if not log_exists(settings) and not _readers_remember(settings):
        raise Problem(f"{log_place(settings)}: no event log yet, and nothing to accept")
    lock = WarehouseLock(settings.state_dir).hold("gtm log accept", settings.refresh.lock_timeout_seconds)
    with lock, _opened(settings) as opened:
        readers = [(position, from_start) for _, position, from_start in _consumers(settings, opened)]
        found = opened.accept(readers, reason=why, actor=who)
        first, last = opened.first_seq(), opened.last_seq()
    if found is None:
        raise Problem(f"{log_place(settings)}: nothing to accept; the log continues what its readers have read")
    if json:
        say_json({
            "log_id": found.log_id, "renamed_from": found.renamed_from or None, "continues": found.continues,
            "gap_upto": found.gap_seq, "kinds": found.kinds, "actor": who, "reason": why,
        })  # fmt: skip
        return
    for line in _consequences(found, first, last):
        say(line)
    say(f"recorded for {who}: {why}")


def _consequences(found: Acceptance, first: int, last: int) -> Iterator[str]:
    """What happens from now on, in plain words."""
    holds = f"offsets {first} to {last}" if last >= first else "no records yet"
    if found.renamed_from:
        yield f"This copy of log {found.renamed_from} is log {found.log_id} from now on ({holds})."
        yield (
            "The next refresh lands everything it holds: events that landed before are dropped as duplicates; quarantined "
            "and suppressed ones cannot be recognised and are counted again."
        )
    elif found.continues:
        ids = ", ".join(log_id or "without an id" for log_id in found.continues)
        yield f"Log {found.log_id} ({holds}) continues log {ids}; events of it that had not landed are lost."
        yield "The next refresh lands everything this log holds."
    if "trimmed" in found.kinds:
        yield f"Offsets up to {found.gap_seq} are no longer expected; readers go on at offset {first}."
    if found.continues:
        yield "The stream worker reads it from its first record; what it has counted already does not change."


@contextmanager
def _opened(settings: Settings) -> Iterator[EventLog]:
    from gtm_dagster.eventlog import open_log

    with open_log(settings) as opened:
        yield opened


def _consumers(settings: Settings, opened: EventLog) -> list[_Consumer]:
    """The landing zone, every position of the stream worker, and that of the triggers."""
    from gtm_dagster.warehouse.landing import Landing
    from gtm_dagster.warehouse.landing.from_log import landed_positions

    positions: Sequence[Position | None] = landed_positions(Landing(settings.landing_dir), opened) or [None]
    return [("landing zone", position, True) for position in positions] + _counted(settings) + _triggers(settings)


def _counted(settings: Settings) -> list[_Consumer]:
    from gtm_dagster.opsstore import OpsStore

    if settings.ops_url is None and not (settings.state_dir / "ops.db").exists():
        return []
    with OpsStore.of(settings) as store:
        return [(name, position, False) for name, position in sorted(store.positions().items())]


def _triggers(settings: Settings) -> list[_Consumer]:
    from gtm_dagster.triggers.runner_rows import stored_position
    from gtm_dagster.triggers.trigger_db import reading_trigger_db, trigger_db_path

    path = trigger_db_path(settings.state_dir)
    if not path.exists():
        return []
    with reading_trigger_db(path) as con:
        found = stored_position(con)
    return [("triggers", found[0], False)] if found else []


def _readers_remember(settings: Settings) -> bool:
    from gtm_dagster.warehouse.landing.from_log import missing_log

    return missing_log(settings) is not None or any(
        position and position.seq for _, position, _ in (*_counted(settings), *_triggers(settings))
    )


def _actor(actor: str | None) -> str:
    if actor is not None and not actor.strip():
        raise Problem("--actor: say who accepts it; it is kept in the log", 2)
    try:
        return actor.strip() if actor else getpass.getuser()
    except (OSError, KeyError):
        raise Problem("--actor: this login has no name; say who accepts it", 2) from None


COMMANDS = (
    Group("log", "The event log: its identity, and going on after a lost or restored one.", order=125),
    Command("log status", status, order=10),
    Command("log accept", accept, order=20),
)
