"""`gtm import`: files of past events into the landing zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, progress_bar, say, say_json, say_prose

if TYPE_CHECKING:
    from gtm_dagster.importing import ImportResult

_COUNTS = ("read", "accepted", "duplicates", "quarantined", "suppressed")
_SHOWN_REASONS = 10
Run = Callable[[Path, Callable[..., None] | None], "ImportResult"]


class Kind(StrEnum):
    """What the files hold."""

    EVENTS = "events"
    SPEND = "spend"


def import_(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="CSV, NDJSON or Parquet files, also compressed.")],
    mapping: Annotated[Path | None, typer.Option(help="TOML that says which column is what.")] = None,
    write_key: Annotated[
        str, typer.Option(help="The source these events belong to; ids are unique within it.")
    ] = "import",
    kind: Annotated[Kind, typer.Option("--as", help="events, or spend: what ads cost a day.")] = Kind.EVENTS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of the rows; nothing is written.")
    ] = False,
    consented: Annotated[
        bool,
        typer.Option("--consented", help="Whoever collected the rows asked for consent: only a refusal is suppressed."),
    ] = False,
    json: Json = False,
) -> None:
    """Land history; the same file twice changes nothing. A file lands whole or not at all."""
    from gtm_dagster.admission.write_key import NAME_RULE, is_write_key

    if not is_write_key(write_key):
        raise Problem(f"--write-key {write_key!r}: {NAME_RULE}", 2)
    here = invocation(context)
    if kind is Kind.SPEND:
        run, examples = _spend_import(here, mapping, write_key, dry_run), False
    else:
        run, examples = _event_import(here, mapping, write_key, dry_run, consented)
    totals, each = dict.fromkeys(_COUNTS, 0), []
    for file in files:
        with progress_bar(f"importing {file.name}") as tell:
            result = run(file, tell)
        each.append(_document(file, result, dry_run))
        for name in _COUNTS:
            totals[name] += getattr(result, name)
        if not json:
            _say_result(file, result, dry_run, examples)
    if json:
        say_json({**totals, "dry_run": dry_run, "files": each})
    elif dry_run:
        say("nothing was written; without --dry-run these rows land")
    elif totals["read"] and totals["quarantined"] == totals["read"]:
        say("next: correct the file or the mapping, try it with --dry-run, and import again")
    else:
        say_prose("next: `gtm refresh`")


def _event_import(
    here: Invocation, mapping: Path | None, write_key: str, dry_run: bool, consented: bool
) -> tuple[Run, bool]:
    """What imports a file of events, and whether its pseudonyms are examples."""
    from gtm_dagster.importing import import_file, load_mapping
    from gtm_dagster.privacy.consent import consent_policy
    from gtm_dagster.privacy.pseudonyms import Pseudonymizer
    from gtm_dagster.privacy.sealing import sealer_for
    from gtm_dagster.warehouse.landing import Landing

    rules = load_mapping(mapping) if mapping else None
    key, examples = _key(here, dry_run)
    policy = consent_policy(here.settings.privacy.consent)

    def run(file: Path, tell: Callable[..., None] | None) -> ImportResult:
        return import_file(
            file, landing=Landing(here.settings.landing_dir), plan=here.plan, pseudonymize=Pseudonymizer(key), sealer=sealer_for(here.settings.quarantine.days, key),
            write_key=write_key, mapping=rules, mapping_name=mapping.name if mapping else None, progress=tell, dry_run=dry_run,
            consent=policy, gates_consent=consented, undeclared_text=here.settings.privacy.undeclared_text,
        )  # fmt: skip

    return run, examples


def _spend_import(here: Invocation, mapping: Path | None, write_key: str, dry_run: bool) -> Run:
    """What imports a file of spend, which has no pseudonyms."""
    from gtm_dagster.importing.spend import import_spend
    from gtm_dagster.importing.spend_mapping import load_spend_mapping
    from gtm_dagster.warehouse.landing.landed_spend import SpendLanding

    rules = load_spend_mapping(mapping) if mapping else None

    def run(file: Path, tell: Callable[..., None] | None) -> ImportResult:
        return import_spend(
            file, landing=SpendLanding(here.settings.landing_dir), write_key=write_key, mapping=rules,
            mapping_name=mapping.name if mapping else None, dry_run=dry_run,
        )  # fmt: skip

    return run


def _key(here: Invocation, dry_run: bool) -> tuple[bytes, bool]:
    """The key of pseudonyms, and whether it is a throw-away one: a dry run makes no key."""
    import secrets

    from gtm_dagster.privacy.pseudonyms import KEY_BYTES, KEY_FILE

    settings = here.settings
    if dry_run and not settings.privacy.pseudonym_key and not (settings.keys_dir / KEY_FILE).exists():
        return secrets.token_bytes(KEY_BYTES), True
    return here.key, False


def _document(file: Path, result: ImportResult, dry_run: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"file": str(file), "name": result.name}
    document |= {name: getattr(result, name) for name in _COUNTS}
    document |= {
        "imported_before": result.known_before,
        "known_with_other_content": result.known.other,
        "known_in": dict(result.known.batches),
        "ignored_columns": list(result.ignored),
        "reasons": [asdict(reason) for reason in result.reasons],
        "hints": list(result.hints),
    }
    return document | ({"events": list(result.events)} if dry_run else {})


def _say_result(file: Path, result: ImportResult, dry_run: bool, examples: bool) -> None:
    counted = ", ".join(f"{getattr(result, name):,} {name}" for name in _COUNTS)
    say_prose(f"{file}: {counted}" + (" (dry run)" if dry_run else ""))
    if not dry_run and not result.known_before:
        say(f"  landed as {result.name}")
    if result.known_before:
        say(f"  was imported before as {result.name}: nothing changes")
    if result.nothing_accepted:
        say("  every row was refused: none of them will be in a table")
    if result.suppressed:
        rows = "1 row" if result.suppressed == 1 else f"{result.suppressed:,} rows"
        say(f"  {rows} without consent suppressed: nothing of them is kept (privacy.consent;")
        say("  --consented says that whoever collected the rows asked for consent)")
    for reason in result.reasons[:_SHOWN_REASONS]:
        say_prose(f"  {_reason(reason)}")
    if len(result.reasons) > _SHOWN_REASONS:
        say(f"  and {len(result.reasons) - _SHOWN_REASONS:,} more reasons; --json lists all")
    if result.ignored:
        say_prose(f"  columns that are not used: {', '.join(result.ignored)}")
    for hint in result.hints:
        say_prose(f"  hint: {hint}")
    if result.known.other:
        say_prose(f"  {_known(result)}")
    if dry_run:
        from gtm_dagster.reports.plain_values import json_text

        for event in result.events:
            say(f"  lands as {json_text(event)}")
        if examples and result.events:
            say("  pseudonyms are examples: this deployment has no key yet, and a dry run makes none")


def _reason(reason: Any) -> str:
    event = f" of {reason.event_name}" if reason.event_name else ""
    field = f" at {reason.path}" if reason.path else ""
    rows = ", ".join(str(row) for row in reason.rows)
    more = ", ..." if reason.count > len(reason.rows) else ""
    return f"{reason.code}{field}{event}: {reason.count:,} ({reason.message}); row {rows}{more}"


def _known(result: ImportResult) -> str:
    known = result.known
    count = f"{known.other:,} ids are known with other content"
    if known.same:
        count = f"{known.same + known.other:,} ids are known, {known.other:,} of them with other content"
    where = ", ".join(f"{name} ({n:,})" for name, n in known.batches[:3])
    text = f"{count}, from {where}: the copy received first stands"
    if known.stand:
        text += f", which is this one for {known.stand:,}"
    imports = [name for name, _ in known.batches if not name.startswith("log-")]
    if imports:
        text += f"; `gtm imports withdraw {imports[0]} --reason TEXT` removes the earlier import"
    return text


COMMANDS = (Command("import", import_, order=60),)
