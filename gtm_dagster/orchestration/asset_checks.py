"""The checks of the declared tables as Dagster asset checks."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.checking import run_alone, run_checks
from gtm_dagster.warehouse.results import CheckResult
from gtm_dagster.warehouse.schema.table import Check, Table

CONTRACT = "contract"


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """The check specs of one table."""
    return [
        dg.AssetCheckSpec(check.name, asset=key_of(table), description=check.description, blocking=check.blocking)
        for check in table.checks
    ]


def check_results(
    context: dg.AssetExecutionContext, con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: Table
) -> list[dg.AssetCheckResult]:
    """Run the checks of a table that is built now, over what changed since they passed; the results that were asked for."""
    outcomes = run_checks(con, ctx, table, context.run.run_id)
    return asked_for(context, [_result(table, check, outcome) for check, outcome in outcomes])


def alone(
    context: dg.AssetExecutionContext, con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: Table
) -> list[dg.AssetCheckResult]:
    """Run what was asked for of the checks of a table that is not built now, over everything."""
    asked = {key.name for key in context.selected_asset_check_keys if key.asset_key == key_of(table)}
    outcomes = run_alone(con, ctx, table, asked, context.run.run_id) if asked else []
    return [_result(table, check, outcome) for check, outcome in outcomes]


def is_built(context: dg.AssetExecutionContext, table: Table) -> bool:
    """Whether the run makes the table, and does not only check it."""
    return key_of(table) in context.selected_asset_keys


def asked_for(context: dg.AssetExecutionContext, results: Sequence[dg.AssetCheckResult]) -> list[dg.AssetCheckResult]:
    """Those of the results whose checks the run has."""
    asked = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    return [result for result in results if (result.asset_key, result.check_name) in asked]


def key_of(table: Table) -> dg.AssetKey:
    """The asset of a table."""
    return dg.AssetKey([table.schema, table.table])


def _result(table: Table, check: Check, outcome: CheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=key_of(table),
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity[check.severity],
        description=outcome.description,
        metadata=outcome.metadata,
    )


def not_run(tables: Sequence[Table], reason: str) -> list[dg.AssetCheckResult]:
    """Checks of tables that could not run have failed, as a warning: whoever stopped them carries the error."""
    return [
        dg.AssetCheckResult(
            check_name=check.name,
            asset_key=key_of(table),
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"not run: {reason}",
        )
        for table in tables
        for check in table.checks
    ]


def contract_result(table: Table, broken: str | None) -> dg.AssetCheckResult:
    """The contract of the batch: checked before anything is written, so a failure comes without a materialisation."""
    return dg.AssetCheckResult(
        check_name=CONTRACT,
        asset_key=key_of(table),
        passed=broken is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=broken or "every landed file is what its writer said",
    )


def contract_spec(table: Table) -> dg.AssetCheckSpec:
    """The spec of the contract check of one table."""
    return dg.AssetCheckSpec(
        CONTRACT,
        asset=key_of(table),
        blocking=True,
        description="Columns, types and row counts of the landed files, before anything is written.",
    )
