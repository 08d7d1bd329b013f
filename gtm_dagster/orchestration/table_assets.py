"""One declared table, one asset: its spec, and the asset that runs its step."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
import duckdb

from gtm_dagster.orchestration.asset_checks import check_results, check_specs
from gtm_dagster.orchestration.metadata import column_schema, inline, picture
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.schema import built
from gtm_dagster.warehouse.schema.ddl import create
from gtm_dagster.warehouse.schema.table import Table
from gtm_dagster.warehouse.state import first_of_day

OWNER = "team:growth"
DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=26))


def table_spec(table: Table, *, skippable: bool = False) -> dg.AssetSpec:
    """The spec of a table; its columns come from the declaration, so the UI shows them before the first run."""
    return dg.AssetSpec(
        key=[table.schema, table.table],
        deps=[dg.AssetKey(name.split(".")) for name in table.reads],
        description=table.meaning,
        group_name=table.schema,
        kinds={"duckdb", "sql"},
        owners=[OWNER],
        tags={"layer": table.schema},
        metadata={"dagster/table_name": table.name, "dagster/column_schema": column_schema(table)},
        skippable=skippable,
        freshness_policy=DAILY if table.schema == "marts" else None,
    )


def layer_assets(schema: str) -> list[dg.AssetsDefinition]:
    """The assets of every table of a layer that has a step; tables that are built together share one."""
    tables = [table for table in built() if table.schema == schema]
    groups = {table.name: [table] for table in tables if table.built_with is None}
    for table in tables:
        if table.built_with is not None:
            groups[table.built_with].append(table)
    return [_asset(group) for group in groups.values()]


def _asset(tables: Sequence[Table]) -> dg.AssetsDefinition:
    """Run the steps, run the tables' checks, report numbers and pictures."""
    specs = [table_spec(table) for table in tables]
    checks = [check for table in tables for check in check_specs(table)]

    @dg.multi_asset(name=f"{tables[0].schema}__{tables[0].table}", specs=specs, check_specs=checks)
    def asset(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
        with warehouse.writing() as con:
            create(con)
            results = [_built(con, warehouse.context, table, context.run.run_id) for table in tables]
        yield from results

    return asset


def _built(con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: Table, run_id: str) -> dg.MaterializeResult:
    assert table.step is not None  # noqa: S101 - `built` gives tables with a step
    result = table.step(con, ctx)
    metadata: dict[str, Any] = {
        name: dg.MetadataValue.md(value) if isinstance(value, str) and "\n" in value else value
        for name, value in result.metadata.items()
    }
    figures = [figure for chart in table.charts for figure in chart(con, ctx)]
    metadata |= {figure.name: inline(figure) for figure in figures}
    if figures and result.changed and first_of_day(con, f"picture of {table.name}"):
        metadata |= {figure.name.replace("chart", "picture", 1): picture(figure) for figure in figures}
    return dg.MaterializeResult(
        asset_key=[table.schema, table.table], metadata=metadata, check_results=check_results(con, ctx, table, run_id)
    )
