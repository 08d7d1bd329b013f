"""Sessions, touchpoints and credits as a folder another engine can run: the statements, their inputs, and a plan.

The folder holds what the statements read as Parquet (`inputs/<table>/`), one `.sql` file a step in the engine's words,
`plan.json` with their order, and for Spark `run.py`, which needs pyspark and nothing of this package.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.changed_values import changed_values
from gtm_dagster.warehouse.core.sessions import ARRIVAL, ARRIVAL_SOURCES
from gtm_dagster.warehouse.core.stages import stage_events
from gtm_dagster.warehouse.core.touchpoints import event_statement
from gtm_dagster.warehouse.engines.dialects import parameters, session_statement, translate
from gtm_dagster.warehouse.fingerprints import STAGING, SettingsChangedError, differences, fingerprints
from gtm_dagster.warehouse.literals import composed, literal
from gtm_dagster.warehouse.marts.attribution_status import model_statuses
from gtm_dagster.warehouse.marts.credits import credit_statements
from gtm_dagster.warehouse.marts.window_rules import BY_STAGE, Rules, lookbacks, rules_of
from gtm_dagster.warehouse.state import get_state
from gtm_dagster.warehouse.statements import text

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

INPUTS = {
    "browsing_events": composed(
        """SELECT e.person_id, e.event_us, e.event_id, e.write_key, e.session_id, e.source_key, e.touch_rank,
        CAST(e.local_day - DATE '1970-01-01' AS INTEGER) AS day_no, $arrival AS arrival
        FROM staging.events e $sources WHERE e.browsing""",
        arrival=ARRIVAL,
        sources=ARRIVAL_SOURCES,
    ),
    "sources": "SELECT source_key, source, medium, campaign, channel, rule FROM core.sources",
    "conversions": "SELECT conversion_id, person_id, conversion_us, conversion_type, value, net_value, currency, day FROM core.conversions",
    "spend": "SELECT day, source, medium, campaign, channel, currency, cost FROM core.spend",
}
"""What the steps read, and the query on the working file it comes from; rules of windows come from the settings."""


@dataclass(frozen=True)
class Step:
    """One statement of the plan: the name of its result, its text, and whether the result is a table that is kept.

    `values`: of parameters that belong to this step. `renamed`: the steps it reads under the names of its text.
    """

    name: str
    sql: str
    kept: bool = False
    values: Mapping[str, int] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """What was written: the folder, the rows of each input, and the tables a run of it makes."""

    folder: Path
    rows: dict[str, int]
    tables: tuple[str, ...]


def steps(settings: Settings, rules: Rules | None = None) -> tuple[Step, ...]:
    """The plan in DuckDB's words; a step reads inputs and results of earlier steps by their names.

    `rules`: the windows that are computed; None: all of the settings.
    """
    rules = rules or _every_rule(settings)
    return (
        Step("session_rows", text(session_statement(settings))),
        Step("sessions", text("sessions_export"), kept=True),
        Step("conversion_moments", "SELECT conversion_id, person_id, conversion_us FROM conversions"),
        *_touch_steps(settings),
        Step("touchpoint_rows", text("touchpoints")),
        Step("touchpoints", text("touchpoints_export"), kept=True),
        Step("conversion_touches", text("conversion_touches_export")),
        *_path_steps(rules),
        *([Step("conversion_stages", text("conversion_stages"))] if BY_STAGE in rules.methods else []),
        *_credit_steps(rules),
        Step("attribution_credits", text("credits_export"), kept=True),
        Step("spend_by_type", text("spend_by_type"), kept=False),
        Step("channel_sums", text("channel_attribution"), kept=False),
        Step("channel_attribution", text("channel_attribution_export"), kept=True),
    )


def _every_rule(settings: Settings) -> Rules:
    return rules_of(settings, {(window.label, float(window.lookback_hours)) for window in settings.attribution.windows})


def _touch_steps(settings: Settings) -> Iterator[Step]:
    """What is a touch: sessions, or events within them."""
    if settings.attribution.grain == "event":
        columns = "session_key, person_id, start_us, end_us, session_id"
        yield Step("session_starts", composed("SELECT $columns FROM sessions", columns=columns))
        yield Step("touches", text(event_statement(settings.sessions.definition)))
    else:
        columns = "session_key, person_id, start_us AS touch_us, tie_no, source_key, source_us"
        yield Step("touches", composed("SELECT $columns FROM sessions", columns=columns))


def _path_steps(rules: Rules) -> Iterator[Step]:
    """Which touches count: those of lookbacks and of channels together, and then transform after transform."""
    last = "path_touches_0" if rules.n_steps else "path_touches"
    if rules.path_channels.rows:
        names = ("path_touches", "path_touches_by_channel")
        for name in names:
            yield Step(f"{name}_found", text(name))
        yield Step(last, _all_of(names))
    else:
        yield Step(last, text("path_touches"))
    for step_no in range(1, rules.n_steps + 1):
        before, last = last, "path_touches" if step_no == rules.n_steps else f"path_touches_{step_no}"
        sql = text("transformed_touches")
        yield Step(last, sql, values={"step_no": step_no}, renamed={"path_touches": before})


def _credit_steps(rules: Rules) -> Iterator[Step]:
    """The credits of all models together."""
    names = credit_statements(rules)
    for name in names:
        yield Step(f"{name}_found", text(name))
    yield Step("credit_rows", _all_of(names))


def _all_of(names: tuple[str, ...]) -> str:
    """The rows of several steps together."""
    return " UNION ALL ".join(composed("SELECT * FROM $step", step=f"{name}_found") for name in names)


def export(con: duckdb.DuckDBPyConnection, ctx: BuildContext, folder: Path, dialect: str = "spark") -> Bundle:
    """Write the bundle of the open working file into `folder`, which must not be there yet or be empty.

    Raises FileExistsError otherwise, PortabilityError for a dialect that is not known, SettingsChangedError when events or
    conversions were made under other settings.
    """
    _check_built_with(con, ctx)
    rules = _computed_rules(con, ctx)
    planned = steps(ctx.settings, rules)
    values = parameters(ctx.settings)
    translated = [
        translate(step.sql, dialect, {**values, **step.values}, what=step.name, renamed=step.renamed)
        for step in planned
    ]
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is there and not empty; name another folder or remove it")
    rows = {}
    for name, query in INPUTS.items():
        rows[name] = _copy(con, query, folder / "inputs" / name)
    for relation in (lookbacks(ctx.settings), *rules.relations):
        rows[relation.name] = _copy(con, relation.query, folder / "inputs" / relation.name)
    if BY_STAGE in rules.methods:
        counted = "true" if ctx.settings.sessions.bots == "keep" else "NOT e.is_bot"
        query = stage_events(ctx, "staging.events", "person_id", counted)
        rows["stage_events"] = _copy(con, query, folder / "inputs" / "stage_events")
    plan = []
    for number, (step, sql) in enumerate(zip(planned, translated, strict=True), start=1):
        file = f"{number:02d}-{step.name}.sql"
        (folder / file).write_text(sql + "\n", encoding="utf-8")
        plan.append({"name": step.name, "file": file, "kept": step.kept})
    (folder / "plan.json").write_text(
        json.dumps({"dialect": dialect, "inputs": list(rows), "steps": plan}, indent=2) + "\n", encoding="utf-8"
    )
    if dialect == "spark":
        with resources.as_file(resources.files("gtm_dagster.warehouse.engines") / "spark_job.py") as job:
            shutil.copyfile(job, folder / "run.py")
    return Bundle(folder, rows, tuple(step.name for step in planned if step.kept))


def _check_built_with(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> None:
    """Sessions and windows are computed where the export runs; what it starts from has to fit the settings already."""
    stored = json.loads(get_state(con, "fingerprints") or "{}")
    for table, key, before, now in differences(stored, fingerprints(ctx.settings, ctx.plan)):
        if table in (STAGING, "core.conversions"):
            was, becomes = changed_values(before, now)
            raise SettingsChangedError(f"{key}: built with {was}, now {becomes}. Run `gtm refresh` first.")


def _computed_rules(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Rules:
    """The rules of the windows that the history gate lets through."""
    computed = {(status.model, status.window_hours) for status in model_statuses(con, ctx) if status.computed}
    found = con.execute("SELECT DISTINCT channel FROM core.sources").fetchall()
    return rules_of(ctx.settings, computed, (channel for (channel,) in found))


def _copy(con: duckdb.DuckDBPyConnection, query: str, folder: Path) -> int:
    folder.mkdir(parents=True)
    target = literal(folder / "part-0.parquet")
    return int(con.execute(f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd)").fetchall()[0][0])
