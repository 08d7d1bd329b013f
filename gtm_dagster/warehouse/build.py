"""Every step from staging to marts in order, for what is not run by Dagster: verifying, tests, benchmarks."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.results import Result
from gtm_dagster.warehouse.schema import built, tables
from gtm_dagster.warehouse.schema.table import Check
from gtm_dagster.warehouse.staging.stage import StageResult, stage


def build_all(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StageResult:
    """Stage what has landed and build every table; `fingerprints.check_settings` comes before it."""
    staged = stage(con, ctx)
    build_tables(con, ctx)
    return staged


def build_tables(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> dict[str, Result]:
    """Run every step; its result by table name."""
    return {table.name: table.step(con, ctx) for table in built() if table.step is not None}


def all_checks() -> list[tuple[str, Check]]:
    """Every check with the name of its table."""
    return [(table.name, check) for table in tables() for check in table.checks]
