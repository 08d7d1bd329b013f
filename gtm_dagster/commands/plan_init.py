"""`gtm plan init`: a plan.yaml to begin with, empty or from events that were seen."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, progress_bar, say, say_json

if TYPE_CHECKING:
    from gtm_dagster.taxonomy import Plan
    from gtm_dagster.taxonomy.plan_draft import Draft
    from gtm_dagster.taxonomy.seen_events import SeenEvents

_MASKED = re.compile(r"<(string|number|integer|boolean|object|array)(?::(\d+))?>\Z")


def init(
    context: typer.Context,
    source: Annotated[list[Path] | None, typer.Option("--from", metavar="FILE", help="Events seen: CSV, NDJSON or Parquet.")] = None,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Further files, after --from FILE.")] = None,
    from_quarantine: Annotated[bool, typer.Option("--from-quarantine", help="The plan in force, and events that were refused because it does not know their names.")] = False,
    out: Annotated[Path, typer.Option(help="File to write; - is stdout.")] = Path("plan.yaml"),
    event_column: Annotated[str | None, typer.Option(help="Column that names the event. Default: event_name, else event.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Write a plan.yaml: from events seen in files or refused ones, or a commented one to begin with."""
    here = invocation(context)
    named = [*(source or ()), *(files or ())]
    if named and from_quarantine:
        raise Problem("--from and --from-quarantine: choose one of them", 2)
    stdout = str(out) == "-"
    if not stdout and out.exists() and not force:
        raise Problem(f"{out}: is there already; name another file with --out, or replace it with --force", 2)
    target = "plan.yaml" if stdout else str(out)
    text, document, notes = _written(here, named, from_quarantine, event_column, target)
    if not stdout:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Problem(f"{out}: cannot be written ({error.strerror})") from None
    if json:
        say_json(
            {"file": None if stdout else str(out), **document, "notes": notes, **({"text": text} if stdout else {})}
        )
    elif stdout:
        say(text.rstrip("\n"))
    else:
        _say(here, out, document, notes)


def _written(
    here: Invocation, files: list[Path], from_quarantine: bool, event_column: str | None, target: str
) -> tuple[str, dict[str, Any], list[str]]:
    """The text of the plan, what is in it, and what a reader should know."""
    from gtm_dagster.taxonomy.plan import parse_plan
    from gtm_dagster.taxonomy.plan_draft import draft
    from gtm_dagster.taxonomy.plan_text import begun, extended, starter

    if from_quarantine:
        plan = here.plan
        seen, refused, notes = _quarantined(here, plan)
        if not refused:
            raise Problem(
                "the quarantine holds no event of a name that the plan does not know" + "".join(f"; {n}" for n in notes)
            )
        found = draft(seen, plan)
        text = extended(_plan_text(here), found, target)
    elif files:
        seen, notes = _seen(files, event_column)
        found = draft(seen)
        text = begun(found, target, ", ".join(file.name for file in files))
    else:
        text = starter(target)
        return text, {"version": "1-0-0", "events": list(parse_plan(text, target).events), "aliases": {}}, []
    return text, _summary(text, target, found), notes


def _summary(text: str, target: str, found: Draft) -> dict[str, Any]:
    from gtm_dagster.taxonomy.plan import parse_plan

    plan = parse_plan(text, target)
    return {
        "version": plan.version, "events": list(plan.events), "added": list(found.blocks),
        "seen": found.counts, "aliases": found.aliases,
    }  # fmt: skip


def _seen(files: list[Path], event_column: str | None) -> tuple[SeenEvents, list[str]]:
    from gtm_dagster.importing import ImportFailed
    from gtm_dagster.importing.event_rows import EventRows
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.taxonomy.seen_events import SeenEvents

    seen = SeenEvents(load_plan())
    notes = []
    for file in files:
        rows = EventRows(file, event_column)
        with progress_bar(f"reading {file.name}"):
            try:
                for name, properties in rows:
                    seen.see(name, properties)
            except ImportFailed as error:
                raise Problem(str(error)) from None
        if rows.loose:
            shown = ", ".join(list(rows.loose)[:10])
            notes.append(f"{file}: {shown} became properties; an import takes them by a mapping (docs/import.md)")
    if seen.unnamed:
        notes.append(f"{seen.unnamed:,} rows name no event")
    return seen, notes


def _plan_text(here: Invocation) -> str:
    from importlib import resources

    path = here.written[0].plan_file
    if path is not None:
        return path.read_text("utf-8")
    return (resources.files("gtm_dagster.taxonomy") / "plan.yaml").read_text("utf-8")


def _quarantined(here: Invocation, plan: Plan) -> tuple[SeenEvents, int, list[str]]:
    """Events that landed refused for their unknown name, how many, and what else the plan lacks.

    Their values are masked, so that types and lengths alone are known.
    """
    import json

    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.taxonomy.event import shown_name
    from gtm_dagster.taxonomy.plan_draft import times
    from gtm_dagster.taxonomy.seen_events import SeenEvents
    from gtm_dagster.warehouse.landing import Landing, complete

    columns = ["verdict", "event_name", "reason_codes", "raw", "errors"]
    seen, refused, hidden = SeenEvents(load_plan()), 0, 0
    lacking: Counter[str] = Counter()
    with Landing(here.written[0].landing_dir).reading() as files:
        for file in files:
            for batch in pq.ParquetFile(file.path).iter_batches(50_000, columns=columns):
                table = complete(batch, columns)
                for row in table.filter(pc.equal(table.column("verdict"), "quarantined")).to_pylist():
                    codes, name = (row["reason_codes"] or "").split(","), row["event_name"]
                    if "unknown_property" in codes and name and plan.resolve(name):
                        for error in json.loads(row["errors"] or "[]"):
                            if error["code"] == "unknown_property":
                                lacking[f"{plan.resolve(name)}, {error['path']}"] += 1
                    if "unknown_event" not in codes or (name and plan.resolve(name)):
                        continue
                    if not name or name == shown_name(""):
                        hidden += 1
                        continue
                    refused += 1
                    event = seen.event(name)
                    for key, masked in _properties(row["raw"]).items():
                        event.of(key).see_kind(*_kind(masked))
    notes = [f"{what}: refused {times(n)}, the plan does not declare it" for what, n in lacking.most_common(20)]
    if hidden:
        notes.append(f"refused {times(hidden)} for a name that is not kept, because it may be personal")
    return seen, refused, notes


def _properties(raw: str | None) -> dict[str, Any]:
    import json

    try:
        found = json.loads(raw or "{}").get("properties")
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind(masked: Any) -> tuple[str, int]:
    """The JSON type of a masked value, and the length of a text."""
    from gtm_dagster.taxonomy.properties import json_type

    match = _MASKED.match(masked) if isinstance(masked, str) else None
    return (match[1], int(match[2] or 0)) if match else (json_type(masked), 0)


def _say(here: Invocation, out: Path, document: dict[str, Any], notes: list[str]) -> None:
    from gtm_dagster.taxonomy.plan_draft import times

    counts = document.get("seen")
    say(
        f"{out}: plan {document['version']}, {len(document['events'])} events"
        + (f", {len(document['aliases'])} aliases" if document["aliases"] else "")
    )
    for name, n in sorted((counts or {}).items(), key=lambda each: -each[1]):
        say(f"  {name}: seen {times(n)}")
    for line in notes:
        say(line)
    for line in _left_behind(here, out):
        say(line)
    if here.written[0].plan_file is None or here.written[0].plan_file.absolute() != out.absolute():
        say(f'next: look through {out}, then set plan_file = "{out}" in gtm.toml')


def _left_behind(here: Invocation, out: Path) -> tuple[str, ...]:
    """A line for each setting that names what the written plan does not have."""
    import msgspec

    from gtm_dagster.settings import SettingsError
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.taxonomy.settings_for_plan import deployment_of

    settings, origin = here.written
    try:
        return deployment_of(msgspec.structs.replace(settings, plan_file=out), load_plan(out), origin).notices
    except SettingsError as error:
        return error.problems


COMMANDS = (Command("plan init", init, order=5),)
