"""`core.spend`: what ads cost by report day, of each key the newest import.

The rows of the imports are kept (`meta.spend_rows`), so that an import or a withdrawal changes the days it has alone.
"""

from __future__ import annotations

from functools import cache

import duckdb
import pyarrow as pa

from gtm_dagster.warehouse.affected import SPEND, add_ranges, drop_tables, follow_to_end, needs_rebuild, take_affected
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.spend_days import day_shares, place_of
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment

_STEP = "spend"
_TEMPORARY = ("affected", "changed_days", "counted_spend", "day_shares", "spend_places")


def build_spend(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """The spend of the days that imports and withdrawals changed; every day when the table is built whole."""
    landing = SpendLanding(ctx.settings.landing_dir)
    present = landing.marks()
    known = dict(con.execute("SELECT batch, mark FROM meta.spend_batches").fetchall())
    gone = [name for name, mark in known.items() if present.get(name) != mark]
    new = [name for name, mark in present.items() if known.get(name) != mark]
    whole = needs_rebuild(con, _STEP)
    if not whole and not gone and not new:
        return TableResult(count(con, "core.spend"), changed=False)
    with transaction(con):
        take_affected(con, _STEP, SPEND)
        con.execute("CREATE OR REPLACE TEMP TABLE changed_days (account_day DATE)")
        _forget(con, gone)
        for name in sorted(new):
            _remember(con, landing, name, present[name])
        if whole:
            con.execute("INSERT INTO changed_days SELECT DISTINCT account_day FROM meta.spend_rows")
            con.execute("DELETE FROM core.spend")
        con.execute("DELETE FROM core.spend WHERE account_day IN (SELECT account_day FROM changed_days)")
        con.execute(f"CREATE OR REPLACE TEMP TABLE counted_spend AS {fragment('counted_spend')}")
        _divide_days(con, ctx.settings.report_timezone)
        _place(con)
        con.execute(f"INSERT INTO core.spend {fragment('spend_table')}")
        if count(con, "changed_days"):
            add_ranges(con, SPEND, "SELECT -1 AS person_no, 0 AS lo_us, -1 AS hi_us")
            follow_to_end(con, _STEP, SPEND)
        rows = count(con, "core.spend")
    drop_tables(con, *_TEMPORARY)
    landing.end_withdrawn({batch.id for batch in landing.withdrawn() if batch.manifest.name not in present})
    return TableResult(rows)


def _forget(con: duckdb.DuckDBPyConnection, batches: list[str]) -> None:
    """Take back what a batch said; its days are changed ones."""
    con.execute(
        "INSERT INTO changed_days SELECT DISTINCT account_day FROM meta.spend_rows WHERE list_contains($1::VARCHAR[], batch)",
        [batches],
    )
    for table in ("meta.spend_rows", "meta.spend_batches"):
        con.execute(composed("DELETE FROM $table WHERE list_contains($1::VARCHAR[], batch)", table=table), [batches])


def _remember(con: duckdb.DuckDBPyConnection, landing: SpendLanding, batch: str, mark: int) -> None:
    """Keep the rows of a batch that is new; its days are changed ones."""
    landed = landing.rows_in(batch)
    names = [*_COLUMNS, "timezone"] if "timezone" in landed.column_names else list(_COLUMNS)
    con.register(
        "landed_spend", landed.select(names).rename_columns(["account_day" if n == "day" else n for n in names])
    )
    con.execute("INSERT INTO meta.spend_rows BY NAME SELECT $1 AS batch, * FROM landed_spend", [batch])
    con.execute("INSERT INTO changed_days SELECT DISTINCT account_day FROM landed_spend")
    con.unregister("landed_spend")
    con.execute("INSERT INTO meta.spend_batches VALUES (?, ?, ?)", [batch, landing.imported_us(batch), mark])


_COLUMNS = (
    "write_key", "day", "source", "medium", "campaign", "channel", "currency", "cost", "impressions", "clicks", "row_no",
)  # fmt: skip


def _divide_days(con: duckdb.DuckDBPyConnection, report_zone: str) -> None:
    """`day_shares`: the report days of each account day; spend without a time zone is by report days already."""
    found = con.execute("SELECT DISTINCT account_day, timezone FROM counted_spend").fetchall()
    rows = [
        (account_day, zone, day, share)
        for account_day, zone in found
        for day, share in day_shares(account_day, zone or report_zone, report_zone)
    ]
    types = {"account_day": pa.date32(), "timezone": pa.string(), "day": pa.date32(), "share": pa.float64()}
    _keep(con, "day_shares", types, rows)


def _place(con: duckdb.DuckDBPyConnection) -> None:
    """`spend_places`: what each combination of names is called where visits are counted."""
    place = cache(place_of)
    given = con.execute("SELECT DISTINCT source, medium, campaign, channel FROM counted_spend").fetchall()
    names = ("source", "medium", "campaign", "channel")
    types = {**{f"given_{name}": pa.string() for name in names}, **{name: pa.string() for name in names}}
    _keep(con, "spend_places", types, [(*row, *place(*row)) for row in given])


def _keep(con: duckdb.DuckDBPyConnection, name: str, types: dict[str, pa.DataType], rows: list[tuple]) -> None:
    table = pa.Table.from_pylist([dict(zip(types, row, strict=True)) for row in rows], schema=pa.schema(types.items()))
    con.register("rows_to_keep", table)
    con.execute(composed("CREATE OR REPLACE TEMP TABLE $name AS SELECT * FROM rows_to_keep", name=name))
    con.unregister("rows_to_keep")
