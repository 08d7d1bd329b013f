"""How every asset of this deployment is declared: key, group, kinds, owner, tags, columns, freshness."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from gtm_dagster.orchestration.metadata import column_schema

OWNER = "team:growth"
DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=26))


def table(
    schema: str, name: str, description: str, deps: Sequence[tuple[str, str]] = (), *, skippable: bool = False
) -> dg.AssetSpec:
    """The spec of one warehouse table; its columns come from the DDL, so the UI shows them before the first run."""
    return dg.AssetSpec(
        key=[schema, name],
        deps=[dg.AssetKey(key) for key in deps],
        description=description,
        group_name=schema,
        kinds={"duckdb", "sql"},
        owners=[OWNER],
        tags={"layer": schema},
        metadata={"dagster/table_name": f"{schema}.{name}", "dagster/column_schema": column_schema(schema, name)},
        skippable=skippable,
        freshness_policy=DAILY if schema == "marts" else None,
    )
