"""The checks of the declared tables as Dagster asset checks."""

from __future__ import annotations

import dagster as dg
import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.checking import run_checks
from gtm_dagster.warehouse.results import CheckResult
from gtm_dagster.warehouse.schema.table import Check, Table

CONTRACT = "contract"


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """The check specs of one table."""
    return [
        dg.AssetCheckSpec(check.name, asset=_key(table), description=check.description, blocking=check.blocking)
        for check in table.checks
    ]


def check_results(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: Table, run_id: str
) -> list[dg.AssetCheckResult]:
    """Run the checks of one table now, over what changed since they passed."""
    return [_result(table, check, outcome) for check, outcome in run_checks(con, ctx, table, run_id)]


def _key(table: Table) -> dg.AssetKey:
    return dg.AssetKey([table.schema, table.table])


def _result(table: Table, check: Check, outcome: CheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=_key(table),
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity[check.severity],
        description=outcome.description,
        metadata=outcome.metadata,
    )


def not_run(table: Table, reason: str) -> list[dg.AssetCheckResult]:
    """A check that could not run has failed, as a warning: whoever stopped it carries the error."""
    return [
        dg.AssetCheckResult(
            check_name=check.name,
            asset_key=_key(table),
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"not run: {reason}",
        )
        for check in table.checks
    ]


def contract_result(table: Table, broken: str | None) -> dg.AssetCheckResult:
    """The contract of the batch: checked before anything is written, so a failure comes without a materialisation."""
    return dg.AssetCheckResult(
        check_name=CONTRACT,
        asset_key=_key(table),
        passed=broken is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=broken or "every landed file is what its writer said",
    )


def contract_spec(table: Table) -> dg.AssetCheckSpec:
    """The spec of the contract check of one table."""
    return dg.AssetCheckSpec(
        CONTRACT,
        asset=_key(table),
        blocking=True,
        description="Columns, types and row counts of the landed files, before anything is written.",
    )
