"""`gtm plan`: what a change of the tracking plan would break, and the plan as a document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, progress_bar, say, say_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from gtm_dagster.taxonomy import Plan


def check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The changed plan; default: the deployment's own.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with this plan instead of the deployment's.")] = None,
    json: Json = False,
) -> int:
    """What changed (MODEL, REVISION, ADDITION), and the share of stored events the new plan would reject.

    Exit 1 when the version number does not say what changed, or stored events would be rejected.
    """
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.taxonomy.compat import compare

    here = invocation(context)
    old = load_plan(against) if against else here.plan
    new = load_plan(file) if file else here.plan
    verdict = compare(old, new)
    with progress_bar("judging stored events") as tell:
        judged, rejected = _rejections(here.settings.landing_dir, new, tell)
    total = sum(rejected.values())
    covered = verdict.covered_by(old.version, new.version)
    document: dict[str, Any] = {
        "old_version": old.version, "new_version": new.version, "level": verdict.level, "version_says_so": covered,
        "changes": [{"level": c.level, "path": c.path, "what": c.what} for c in verdict.changes],
        "stored_events": judged, "rejected": total, "rejected_share": total / judged if judged else None,
        "rejected_by_event": dict(sorted(rejected.items(), key=lambda item: -item[1])),
    }  # fmt: skip
    if json:
        say_json(document)
    else:
        say(f"{verdict.level}: version {old.version} to {new.version}")
        for change in verdict.changes:
            say(f"  {change.level} {change.path}: {change.what}")
        if not covered:
            say(f"the version number does not say so: raise it by one {verdict.level}")
        if not judged:
            say("no stored events to judge it by")
        else:
            say(f"{total:,} of {judged:,} stored events ({total / judged:.2%}) would be rejected")
            for name, n in document["rejected_by_event"].items():
                say(f"  {name}: {n:,}")
    return 0 if covered and not total else 1


def _rejections(landing: Path, new: Plan, tell: Callable[..., None] | None) -> tuple[int, dict[str, int]]:
    """Number of accepted events in the landing files, and how many of each name `new` rejects."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from gtm_dagster.taxonomy.landing_schema import validate_frame
    from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, complete

    files = Landing(landing).files()
    rows, done, judged = sum(file.rows for file in files), 0, 0
    rejected: dict[str, int] = {}
    for file in files:
        for batch in pq.ParquetFile(file.path).iter_batches(200_000, columns=ARROW_SCHEMA.names):
            table = complete(batch)
            accepted = table.filter(pc.equal(table.column("verdict"), "accepted"))
            if accepted.num_rows:
                bad = ~validate_frame(new, accepted.to_pandas()).ok
                for name in accepted.column("event_name").filter(pa.array(bad)).to_pylist():
                    rejected[name] = rejected.get(name, 0) + 1
            judged += accepted.num_rows
            done += batch.num_rows
            if tell:
                tell(done, rows)
    return judged, rejected


def export(
    context: typer.Context,
    form: Annotated[str, typer.Option("--format", help="jsonschema or markdown.")] = "jsonschema",
    out: Annotated[Path | None, typer.Option(help="File to write; default: stdout.")] = None,
) -> None:
    """The plan as JSON Schema for other tools, or as documentation."""
    import json as codec

    from gtm_dagster.taxonomy.json_schema import plan_schema
    from gtm_dagster.taxonomy.plan_page import to_markdown

    plan = invocation(context).plan
    if form == "jsonschema":
        text = codec.dumps(plan_schema(plan), indent=2, ensure_ascii=False)
    elif form == "markdown":
        text = to_markdown(plan)
    else:
        raise Problem(f"--format: {form!r} is not known; choose jsonschema or markdown", 2)
    if out is None:
        say(text)
        return
    try:
        out.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise Problem(f"{out}: cannot be written ({error.strerror})") from None


COMMANDS = (
    Group("plan", "The tracking plan.", order=150),
    Command("plan check", check, order=10),
    Command("plan export", export, order=20),
)
