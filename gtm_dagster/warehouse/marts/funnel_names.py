"""The names of the funnel's stages, for the statements that count them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from gtm_dagster.settings import FunnelStep


def name_stages(con: duckdb.DuckDBPyConnection, steps: Sequence[FunnelStep]) -> None:
    """The temporary table `funnel_names` (stage_no, stage), from 1."""
    con.execute("CREATE OR REPLACE TEMP TABLE funnel_names (stage_no INTEGER, stage VARCHAR)")
    for number, step in enumerate(steps, start=1):
        con.execute("INSERT INTO funnel_names VALUES (?, ?)", [number, step.stage])
