"""The library's checks as Dagster asset checks."""

from __future__ import annotations

import dagster as dg
import duckdb

from gtm_dagster.warehouse.build import BuildContext
from gtm_dagster.warehouse.checks import CHECKS, Check

CONTRACT = "contract"


def specs(*asset: str) -> list[dg.AssetCheckSpec]:
    """The check specs of one table."""
    return [
        dg.AssetCheckSpec(check.name, asset=dg.AssetKey(asset), description=check.description, blocking=check.blocking)
        for check in CHECKS
        if check.asset == asset
    ]


def results(con: duckdb.DuckDBPyConnection, ctx: BuildContext, *asset: str) -> list[dg.AssetCheckResult]:
    """Run the checks of one table now."""
    return [_result(con, ctx, check) for check in CHECKS if check.asset == asset]


def _result(con: duckdb.DuckDBPyConnection, ctx: BuildContext, check: Check) -> dg.AssetCheckResult:
    told = check.run(con, ctx)
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=dg.AssetKey(check.asset),
        passed=told.passed,
        severity=dg.AssetCheckSeverity[check.severity],
        description=told.description,
        metadata=told.metadata,
    )


def not_run(*asset: str, reason: str) -> list[dg.AssetCheckResult]:
    """A check that could not run has failed, as a warning: whoever stopped it carries the error."""
    return [
        dg.AssetCheckResult(
            check_name=check.name,
            asset_key=dg.AssetKey(asset),
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"not run: {reason}",
        )
        for check in CHECKS
        if check.asset == asset
    ]


def contract_result(asset: dg.AssetKey, broken: str | None) -> dg.AssetCheckResult:
    """The contract of the batch: checked before anything is written, so a failure comes without a materialisation."""
    return dg.AssetCheckResult(
        check_name=CONTRACT,
        asset_key=asset,
        passed=broken is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=broken or "every landed file is what its writer said",
    )


def contract_spec(*asset: str) -> dg.AssetCheckSpec:
    """The spec of the contract check of one table."""
    return dg.AssetCheckSpec(
        CONTRACT,
        asset=dg.AssetKey(asset),
        blocking=True,
        description="Columns, types and row counts of the landed files, before anything is written.",
    )
