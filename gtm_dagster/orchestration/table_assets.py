"""One declared table, one asset: its spec, and the asset that runs its step."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import duckdb

from gtm_dagster.orchestration.asset_checks import alone, check_results, check_specs, is_built, key_of
from gtm_dagster.orchestration.drawn_figures import drawn_before, note_drawn
from gtm_dagster.orchestration.failures import in_words
from gtm_dagster.orchestration.metadata import (
    definition_of,
    description_of,
    figures_of,
    inline,
    picture,
    sample_when_due,
)
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.schema import built
from gtm_dagster.warehouse.schema.table import Table
from gtm_dagster.warehouse.state import first_of_day

OWNER = "team:growth"


def table_spec(table: Table, *made_by: str, skippable: bool = False) -> dg.AssetSpec:
    """The spec of a table; its columns come from the declaration, so the UI shows them before the first run.

    `made_by`: modules whose code the UI links to, where the table has no step of its own.
    """
    return dg.AssetSpec(
        key=key_of(table),
        deps=[dg.AssetKey(name.split(".")) for name in table.reads],
        description=description_of(table),
        group_name=table.schema,
        kinds={"duckdb", "sql"},
        owners=[OWNER],
        tags={"layer": table.schema},
        metadata=definition_of(table, *made_by),
        skippable=skippable,
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
    """Run the steps, run the tables' checks, report numbers and pictures. A check alone may be asked for, too."""
    specs = [table_spec(table) for table in tables]
    checks = [check for table in tables for check in check_specs(table)]

    @dg.multi_asset(name=f"{tables[0].schema}__{tables[0].table}", specs=specs, check_specs=checks, can_subset=True)
    def asset(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        results: list[dg.MaterializeResult | dg.AssetCheckResult] = []
        with in_words(), warehouse.writing_tables() as con:
            for table in tables:
                if is_built(context, table):
                    results += _built(context, con, warehouse.context, table)
                else:
                    results += alone(context, con, warehouse.context, table)
        yield from results

    return asset


def _built(
    context: dg.AssetExecutionContext, con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: Table
) -> list[dg.MaterializeResult]:
    assert table.step is not None  # noqa: S101 - `built` gives tables with a step
    began = time.perf_counter()
    result = table.step(con, ctx)
    seconds = time.perf_counter() - began
    drawn = None if result.changed else drawn_before(con, ctx, table)
    figures = [figure for chart in table.charts for figure in chart(con, ctx)] if drawn is None else []
    metadata: dict[str, Any] = {**(drawn or {}), **{figure.name: inline(figure) for figure in figures}}
    if figures:
        note_drawn(con, ctx, table, metadata)
    if figures and result.changed and first_of_day(con, f"picture of {table.name}"):
        metadata |= {figure.name.replace("chart", "picture", 1): picture(figure) for figure in figures}
    metadata |= sample_when_due(con, table, changed=result.changed)
    metadata |= table.trends(con, ctx) if table.trends is not None else {}
    metadata |= figures_of(result.metadata, seconds)
    return written(context, con, ctx, table, metadata)


def written(
    context: dg.AssetExecutionContext,
    con: duckdb.DuckDBPyConnection,
    ctx: BuildContext,
    table: Table,
    metadata: dict[str, Any],
    checked: Sequence[dg.AssetCheckResult] = (),
) -> list[dg.MaterializeResult]:
    """The materialisation of a table that was written, with its checks and those `checked` before.

    One that was written beside what the run asked for is recorded, too; its checks wait for a run that asks for them.
    """
    if not is_built(context, table):
        context.log_event(dg.AssetMaterialization(key_of(table), metadata=metadata))
        return []
    results = [*checked, *check_results(context, con, ctx, table)]
    return [dg.MaterializeResult(asset_key=key_of(table), metadata=metadata, check_results=results)]
