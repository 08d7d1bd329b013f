"""`gtm imports`: what was imported, and taking an import back."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, note, say, say_json, say_prose, utc_time
from gtm_dagster.commands.table_output import Form, Format, form_of, say_table

if TYPE_CHECKING:
    from gtm_dagster.warehouse.landing import Manifest

_COLUMNS = (
    "name",
    "file",
    "mapping",
    "write_key",
    "landed_at",
    "rows",
    "accepted",
    "quarantined",
    "suppressed",
    "state",
)


def list_(context: typer.Context, format: Format = None, json: Json = False) -> None:
    """Every import, the newest first, withdrawn ones too."""
    from gtm_dagster.warehouse.landing import Landing
    from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
    from gtm_dagster.warehouse.staging.staged_batches import staged_batches

    form = form_of(format, json)
    settings = invocation(context).settings
    landing, spend = Landing(settings.landing_dir), SpendLanding(settings.landing_dir)
    staged = staged_batches(settings)
    if staged is None and form is not Form.JSON:
        note("a run is writing the warehouse: whether an import is staged cannot be seen now")
    rows = [
        _row(manifest, _state(manifest, staged), landing.landed_us(manifest.name)) for manifest in landing.imports()
    ]
    rows += [_row(manifest, "landed", spend.landed_us(manifest.name)) for manifest in spend.imports()]
    for batch in [*landing.withdrawn(), *spend.withdrawn()]:
        gone = batch.withdrawal
        rows.append(_row(batch.manifest, "withdrawn", gone.at_us))
        rows[-1] |= {"withdrawn_at": utc_time(gone.at_us), "withdrawn_by": gone.by, "reason": gone.reason}
    rows.sort(key=lambda row: (row["landed_at"] or datetime.fromtimestamp(0, UTC), row["name"]), reverse=True)
    if form is Form.JSON:
        say_json(rows)
        return
    if rows or form is not Form.TABLE:
        say_table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in rows], form)
    if not rows:
        note("nothing was imported yet: `gtm import FILE`")


def withdraw(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the import; `gtm imports list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why it goes; kept beside its files.")],
    actor: Annotated[str | None, typer.Option(help="Who asks; default: the login name.")] = None,
    json: Json = False,
) -> None:
    """Take an import back: the next refresh removes its events, and copies that had lost to them come back."""
    from gtm_dagster.reports.number_text import counted
    from gtm_dagster.warehouse.landing import Landing, WithdrawalError
    from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
    from gtm_dagster.warehouse.writer_lock import WarehouseLock

    settings = invocation(context).settings
    who, why = actor_of(actor), reason.strip()
    if not why:
        raise Problem("--reason: say why; it is kept beside the files of the import", 2)
    with WarehouseLock(settings.state_dir).hold("gtm imports withdraw", settings.refresh.lock_timeout_seconds):
        try:
            landing = (SpendLanding if name.startswith("spend-") else Landing)(settings.landing_dir)
            batch = landing.withdraw(name, by=who, reason=why)
        except WithdrawalError as error:
            raise Problem(str(error)) from None
    rows = sum(batch.manifest.rows.values())
    if json:
        at = utc_time(batch.withdrawal.at_us)
        say_json({"name": name, "withdrawal": batch.id, "rows": rows, "by": who, "reason": why, "withdrawn_at": at})
        return
    say(f"{name} is withdrawn by {who}: {why}")
    say_prose(
        f"its {counted(rows, 'row')} will leave the tables with the next `gtm refresh`; its files are in {landing.folder / 'withdrawn'}"
    )


def actor_of(actor: str | None) -> str:
    """Who asks: as given, else the login name. Raises Problem (2) when there is none."""
    try:
        who = getpass.getuser() if actor is None else actor.strip()
    except (OSError, KeyError):
        who = ""
    if not who:
        raise Problem("--actor: say who asks; it is kept beside the files of the import", 2)
    return who


def _row(manifest: Manifest, state: str, landed_us: int) -> dict[str, Any]:
    from msgspec import to_builtins

    notes = manifest.notes
    verdicts: dict[str, int | None] = dict.fromkeys(("accepted", "quarantined", "suppressed"))
    if manifest.verdicts:
        verdicts = {name: manifest.verdicts.get(name, 0) for name in verdicts}
    return {
        "name": manifest.name,
        "file": notes.file if notes else None,
        "mapping": notes.mapping if notes else None,
        "write_key": notes.write_key if notes else None,
        "landed_at": utc_time(notes.landed_us if notes else landed_us),
        "rows": sum(manifest.rows.values()),
        **verdicts,
        "state": state,
        "replay": to_builtins(notes.replay) if notes and notes.replay else None,
    }


def _state(manifest: Manifest, staged: set[str] | None) -> str:
    if staged is None:
        return "landed"
    return "staged" if manifest.name in staged else "landed, not staged"


COMMANDS = (
    Group("imports", "Imported files, and taking one back.", order=65),
    Command("imports list", list_, order=10),
    Command("imports withdraw", withdraw, order=20),
)
