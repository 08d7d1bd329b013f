"""`marts.funnel`."""

from __future__ import annotations

from itertools import pairwise

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.figure import BarChart
from gtm_dagster.warehouse.marts.funnel import build_funnel
from gtm_dagster.warehouse.results import CheckResult
from gtm_dagster.warehouse.schema.shared_columns import SOURCE_COLUMNS
from gtm_dagster.warehouse.schema.table import Check, Column, Table


def _funnel_is_monotonic(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    stages = con.execute("SELECT stage_no, sum(persons) FROM marts.funnel GROUP BY 1 ORDER BY 1").fetchall()
    widening = sum(1 for before, after in pairwise(stages) if after[1] > before[1])
    return CheckResult(
        widening == 0,
        "persons by stage: " + ", ".join(str(int(stage[1])) for stage in stages),
        {"stages": len(stages), "widening": widening},
    )


TABLE = Table(
    name="marts.funnel",
    meaning="Persons by stage and source of their first session; ordered, each stage another event than those before, at or after the one before.",
    columns=(
        *SOURCE_COLUMNS,
        Column("stage", "VARCHAR", "Name of the stage in funnel.steps"),
        Column("stage_no", "INTEGER", "Position in funnel.steps, from 1"),
        Column("persons", "BIGINT", "Distinct persons"),
    ),
    reads=("staging.events", "core.sessions"),
    step=build_funnel,
    checks=(Check("funnel_is_monotonic", "No stage holds more persons than the one before.", _funnel_is_monotonic),),
    charts=(
        BarChart(
            "persons by stage",
            "SELECT stage, sum(persons) FROM marts.funnel GROUP BY stage, stage_no ORDER BY stage_no",
        ),
    ),
)
