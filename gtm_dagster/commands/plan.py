"""`gtm plan`: what a change of the tracking plan would break, and the plan as a document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, progress_bar, say, say_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from gtm_dagster.taxonomy import Plan


def check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The changed plan; default: the deployment's own.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with this plan instead of the one last used.")] = None,
    json: Json = False,
) -> int:
    """What changed since the plan was last used (MODEL, REVISION, ADDITION), and what it would do to stored events.

    Exit 1: the plan cannot be used, the version number does not say what changed, stored events would be rejected, or a
    setting names what the plan does not have.
    """
    from gtm_dagster.taxonomy import PlanError, load_plan

    here = invocation(context)
    settings, _ = here.written
    try:
        new = load_plan(file) if file else here.plan
    except PlanError as error:
        if json:
            say_json({"ok": False, "problems": list(error.problems)})
            return 1
        raise
    old, whose = _before(here, against, new, is_own=file is None)
    unknown = _unknown_names(here, new, file)
    with progress_bar("judging stored events") as tell:
        judged, rejected = _rejections(settings.landing_dir, new, tell)
    document = _document(old, new, whose, unknown, judged, rejected)
    if json:
        say_json(document)
    else:
        _say(document)
    return 0 if document["ok"] else 1


def _before(here: Invocation, against: Path | None, new: Plan, *, is_own: bool) -> tuple[Plan, str]:
    """The plan to compare with, and what it is: the one given, the one last used, else the deployment's own."""
    from gtm_dagster.taxonomy import load_plan
    from gtm_dagster.taxonomy.plan_in_use import plan_in_use

    if against:
        return load_plan(against), str(against)
    used = plan_in_use(here.written[0].state_dir)
    if used:
        return used.plan, f"the plan in use since {used.since} ({used.used_by})"
    if is_own:
        return new, "itself: no refresh or collector has used a plan here yet"
    return here.plan, "the deployment's plan, which no refresh or collector has used yet"


def _unknown_names(here: Invocation, new: Plan, file: Path | None) -> list[str]:
    """A line for each setting that names what the new plan does not have."""
    import msgspec

    from gtm_dagster.settings import SettingsError
    from gtm_dagster.taxonomy.settings_for_plan import deployment_of

    settings, origin = here.written
    settings = msgspec.structs.replace(settings, plan_file=file or settings.plan_file)
    try:
        fitted = deployment_of(settings, new, origin).settings
    except SettingsError as error:
        return list(error.problems)
    return list(fitted.guard_errors[len(settings.guard_errors) :])


def _document(
    old: Plan, new: Plan, whose: str, unknown: list[str], judged: int, rejected: dict[str, int]
) -> dict[str, Any]:
    from gtm_dagster.taxonomy.compat import compare

    verdict = compare(old, new)
    covered = verdict.covered_by(old.version, new.version)
    total = sum(rejected.values())
    return {
        "ok": covered and not total and not unknown,
        "old_version": old.version, "new_version": new.version, "compared_with": whose,
        "level": verdict.level, "version_says_so": covered,
        "changes": [{"level": c.level, "path": c.path, "what": c.what} for c in verdict.changes],
        "problems": unknown,
        "stored_events": judged, "rejected": total, "rejected_share": total / judged if judged else None,
        "rejected_by_event": dict(sorted(rejected.items(), key=lambda item: -item[1])),
    }  # fmt: skip


def _say(found: dict[str, Any]) -> None:
    say(f"{found['level']}: version {found['old_version']} to {found['new_version']}")
    say(f"compared with {found['compared_with']}")
    for change in found["changes"]:
        say(f"  {change['level']} {change['path']}: {change['what']}")
    if not found["version_says_so"]:
        say(f"the version number does not say so: raise it by one {found['level']}")
    for problem in found["problems"]:
        say(problem)
    if not found["stored_events"]:
        say("no stored events to judge it by")
        return
    say(
        f"{found['rejected']:,} of {found['stored_events']:,} stored events ({found['rejected_share']:.2%}) would be rejected"
    )
    for name, n in found["rejected_by_event"].items():
        say(f"  {name}: {n:,}")


def _rejections(landing: Path, new: Plan, tell: Callable[..., None] | None) -> tuple[int, dict[str, int]]:
    """Number of accepted events in the landing files, and how many of each name `new` rejects."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from gtm_dagster.taxonomy.landing_schema import validate_frame
    from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, complete

    judged = 0
    rejected: dict[str, int] = {}
    with Landing(landing).reading() as files:
        rows, done = sum(file.rows for file in files), 0
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
    form: Annotated[str, typer.Option("--format", help="jsonschema, markdown, typescript or python.")] = "jsonschema",
    out: Annotated[Path | None, typer.Option(help="File to write; default: stdout.")] = None,
) -> None:
    """The plan as JSON Schema for other tools, as documentation, or as typed functions for TypeScript and Python."""
    import json as codec

    from gtm_dagster.taxonomy.json_schema import plan_schema
    from gtm_dagster.taxonomy.plan_page import to_markdown
    from gtm_dagster.taxonomy.plan_python import to_python
    from gtm_dagster.taxonomy.plan_typescript import to_typescript

    forms: dict[str, Callable[[Plan], str]] = {
        "jsonschema": lambda plan: codec.dumps(plan_schema(plan), indent=2, ensure_ascii=False),
        "markdown": to_markdown,
        "typescript": to_typescript,
        "python": to_python,
    }
    if form not in forms:
        raise Problem(f"--format: {form!r} is not known; choose {', '.join(forms)}", 2)
    text = forms[form](invocation(context).plan)
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
