"""Sessions, touchpoints and credits as a folder another engine can run: the statements, their inputs, and a plan.

The folder holds what the statements read as Parquet (`inputs/<table>/`), one `.sql` file a step in the engine's words,
`plan.json` with their order, and for Spark `run.py`, which needs pyspark and nothing of this package.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.sessions import ARRIVAL, ARRIVAL_SOURCES
from gtm_dagster.warehouse.engines.dialects import parameters, session_statement, translate
from gtm_dagster.warehouse.fingerprints import STAGING, SettingsChangedError, differences, fingerprints
from gtm_dagster.warehouse.literals import composed, literal
from gtm_dagster.warehouse.marts.attribution_status import model_statuses
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
    "conversions": "SELECT conversion_id, person_id, conversion_us, conversion_type, value, currency, day FROM core.conversions",
}
"""What the steps read, and the query on the working file it comes from; `windows` comes from the settings."""


@dataclass(frozen=True)
class Step:
    """One statement of the plan: the name of its result, its text, and whether the result is a table that is kept."""

    name: str
    sql: str
    kept: bool


@dataclass(frozen=True)
class Bundle:
    """What was written: the folder, the rows of each input, and the tables a run of it makes."""

    folder: Path
    rows: dict[str, int]
    tables: tuple[str, ...]


def steps(settings: Settings) -> tuple[Step, ...]:
    """The plan in DuckDB's words; a step reads inputs and results of earlier steps by their names."""
    return (
        Step("session_rows", text(session_statement(settings)), kept=False),
        Step("sessions", text("sessions_export"), kept=True),
        Step("conversion_moments", "SELECT conversion_id, person_id, conversion_us FROM conversions", kept=False),
        Step(
            "session_starts",
            "SELECT session_key, person_id, start_us, tie_no, source_key, source_us FROM sessions",
            kept=False,
        ),
        Step("touchpoint_rows", text("touchpoints"), kept=False),
        Step("touchpoints", text("touchpoints_export"), kept=True),
        Step("conversion_touches", text("conversion_touches_export"), kept=False),
        Step("credit_rows", text("credits"), kept=False),
        Step("attribution_credits", text("credits_export"), kept=True),
        Step("channel_attribution", text("channel_attribution"), kept=True),
    )


def export(con: duckdb.DuckDBPyConnection, ctx: BuildContext, folder: Path, dialect: str = "spark") -> Bundle:
    """Write the bundle of the open working file into `folder`, which must not be there yet or be empty.

    Raises FileExistsError otherwise, PortabilityError for a dialect that is not known, SettingsChangedError when events or
    conversions were made under other settings.
    """
    _check_built_with(con, ctx)
    planned = steps(ctx.settings)
    values = parameters(ctx.settings)
    translated = [translate(step.sql, dialect, values, what=step.name) for step in planned]
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is there and not empty; name another folder or remove it")
    rows = {}
    for name, query in INPUTS.items():
        rows[name] = _copy(con, query, folder / "inputs" / name)
    rows["windows"] = _copy(con, _windows(con, ctx), folder / "inputs" / "windows")
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
            raise SettingsChangedError(f"{key}: built with {before}, now {now}. Run `gtm refresh` first.")


def _windows(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> str:
    """The windows the history gate lets through, as a query of literals."""
    half_life_us = round(ctx.settings.attribution.half_life_hours * 3_600_000_000)
    rows = [
        f"({literal(status.model)}, {status.window_hours!r}::DOUBLE, {round(status.window_hours * 3_600_000_000)}::BIGINT, {half_life_us}::DOUBLE)"
        for status in model_statuses(con, ctx)
        if status.computed
    ]
    values = ", ".join(rows) or "('', 0::DOUBLE, 0::BIGINT, 1::DOUBLE)"
    none = "" if rows else " WHERE false"
    return composed(
        "SELECT * FROM (VALUES $values) AS w(model, window_hours, window_us, half_life_us)$none",
        values=values,
        none=none,
    )


def _copy(con: duckdb.DuckDBPyConnection, query: str, folder: Path) -> int:
    folder.mkdir(parents=True)
    target = literal(folder / "part-0.parquet")
    return int(con.execute(f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd)").fetchall()[0][0])
