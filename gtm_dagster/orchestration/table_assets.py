"""One table, one step of the library, one asset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import duckdb

from gtm_dagster.orchestration.asset_checks import results
from gtm_dagster.orchestration.metadata import bars, picture
from gtm_dagster.orchestration.resources import WarehouseResource
from gtm_dagster.warehouse.build import BuildContext
from gtm_dagster.warehouse.tables import create


@dataclass(frozen=True)
class Chart:
    """A picture of the table: its title and a query of (label, number)."""

    title: str
    sql: str


def table_asset(
    spec: dg.AssetSpec,
    step: Callable[[duckdb.DuckDBPyConnection, BuildContext], Any],
    check_specs: Sequence[dg.AssetCheckSpec],
    chart: Chart | None = None,
) -> dg.AssetsDefinition:
    """The asset of one table: run the step, run the table's checks, report numbers and the picture."""
    schema, name = spec.key.path

    @dg.multi_asset(name=f"{schema}__{name}", specs=[spec], check_specs=list(check_specs))
    def built(warehouse: WarehouseResource) -> dg.MaterializeResult:
        ctx = warehouse.context
        with warehouse.writing() as con:
            create(con)
            result = step(con, ctx)
            metadata: dict[str, Any] = {}
            if not isinstance(result, list):
                metadata |= result.metadata
            else:
                metadata["dagster/row_count"] = len(result)
                metadata["status"] = dg.MetadataValue.md(
                    "\n".join(
                        f"- {s.model} {s.window_hours:g} h: {'computed' if s.computed else 'absent'}, {s.reason}"
                        for s in result
                    )
                )
            if chart:
                rows = [(str(label), float(value or 0)) for label, value in con.execute(chart.sql).fetchall()]
                metadata |= {"chart": bars(chart.title, rows), "picture": picture(chart.title, rows)}
            return dg.MaterializeResult(
                asset_key=spec.key, metadata=metadata, check_results=results(con, ctx, schema, name)
            )

    return built
