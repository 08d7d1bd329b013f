"""One declared table, one asset: its spec, and the asset that runs its step."""

from datetime import timedelta
from typing import Any

import dagster as dg

from gtm_dagster.orchestration.asset_checks import check_results, check_specs
from gtm_dagster.orchestration.metadata import column_schema, inline, picture
from gtm_dagster.orchestration.resources import WarehouseResource
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
    """The assets of every table of a layer that has a step."""
    return [_asset(table) for table in built() if table.schema == schema]


def _asset(table: Table) -> dg.AssetsDefinition:
    """Run the step, run the table's checks, report numbers and the picture."""
    spec, step = table_spec(table), table.step
    assert step is not None  # noqa: S101 - `built` gives tables with a step

    @dg.multi_asset(name=f"{table.schema}__{table.table}", specs=[spec], check_specs=check_specs(table))
    def asset(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
        ctx = warehouse.context
        with warehouse.writing() as con:
            create(con)
            result = step(con, ctx)
            metadata: dict[str, Any] = {
                name: dg.MetadataValue.md(value) if isinstance(value, str) and "\n" in value else value
                for name, value in result.metadata.items()
            }
            figures = [figure for chart in table.charts for figure in chart(con, ctx)]
            metadata |= {figure.name: inline(figure) for figure in figures}
            if figures and result.changed and first_of_day(con, f"picture of {table.name}"):
                metadata |= {figure.name.replace("chart", "picture", 1): picture(figure) for figure in figures}
            return dg.MaterializeResult(
                asset_key=spec.key, metadata=metadata, check_results=check_results(con, ctx, table, context.run.run_id)
            )

    return asset
