"""Compares the incremental warehouse with a rebuild of the same landing files, and names the first row that differs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import msgspec

from gtm_dagster.taxonomy.settings_for_plan import settings_for_plan
from gtm_dagster.warehouse.build import build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import connect, opened
from gtm_dagster.warehouse.fingerprints import JUDGED_AGAIN, check_settings
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
from gtm_dagster.warehouse.literals import composed, literal
from gtm_dagster.warehouse.publishing import is_current, served
from gtm_dagster.warehouse.schema import tables
from gtm_dagster.warehouse.schema.ddl import create
from gtm_dagster.warehouse.state import get_state

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings
    from gtm_dagster.taxonomy import Plan


@dataclass(frozen=True)
class VerifyResult:
    """Rows that differ by table, and the first of them as text."""

    differences: dict[str, int]
    first: str | None

    @property
    def ok(self) -> bool:
        return not any(self.differences.values())


def compare(con: duckdb.DuckDBPyConnection, other: Path) -> VerifyResult:
    """Compare the open warehouse with the file `other`, table by table, both ways."""
    compared = {table.name: table.compared for table in tables() if table.schema != "ops" and table.compared}
    return _compared(con, other, "rebuilt", compared)


def compare_served(con: duckdb.DuckDBPyConnection, settings: Settings) -> VerifyResult:
    """Compare the open warehouse with its serving copy; `ops.rollbacks`, which is not of the warehouse, stays out."""
    return _compared(con, settings.serving_path, "serving", served(con))


def verify_served(settings: Settings) -> VerifyResult | None:
    """`compare_served` of the closed working file; None when something changed since the copy was published.

    The caller holds the writer's lock.
    """
    with opened(settings.warehouse_path, settings) as con:
        create(con)
        return compare_served(con, settings) if is_current(con, settings) else None


def _compared(con: duckdb.DuckDBPyConnection, other: Path, name: str, tables: dict[str, str]) -> VerifyResult:
    """Compare `tables` (name to columns) with those of a file that is called `name`.

    Two hashes over all rows of a table tell whether it is equal; only one that is not is compared row by row, which
    takes memory as the table does.
    """
    con.execute(f"ATTACH {literal(other)} AS {name} (READ_ONLY)")
    differences: dict[str, int] = {}
    first = None
    try:
        for table, columns in tables.items():
            here, there = (
                composed("SELECT $columns FROM $table", columns=columns, table=table),
                composed("SELECT $columns FROM $name.$table", columns=columns, name=name, table=table),
            )
            if _digest(con, here) == _digest(con, there):
                differences[table] = 0
                continue
            both = composed(
                "(SELECT 'only working' AS side, * FROM ($here EXCEPT ALL $there)) UNION ALL (SELECT 'only $name', * FROM ($there EXCEPT ALL $here))",
                here=here,
                there=there,
                name=name,
            )
            differences[table] = con.execute(composed("SELECT count(*) FROM ($both)", both=both)).fetchall()[0][0]
            if differences[table] and first is None:
                row = con.execute(composed("SELECT * FROM ($both) ORDER BY ALL LIMIT 1", both=both)).fetchall()[0]
                first = f"{table}: {row}"
    finally:
        con.execute(f"DETACH {name}")
    return VerifyResult(differences, first)


def _digest(con: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    """Rows of a query and two hashes over them that do not depend on their order."""
    digest = con.execute(
        composed("SELECT count(*), sum(hash(t)::HUGEINT), bit_xor(hash(t, 1)) FROM ($query) t", query=query)
    ).fetchall()
    return tuple(digest[0])


def verify(settings: Settings, plan: Plan) -> VerifyResult:
    """Rebuild the batches the warehouse has staged, beside it, and compare; the caller holds the writer's lock.

    A batch that landed since belongs to neither side. Raises SettingsError for a name that the plan does not have.
    """
    settings = settings_for_plan(settings, plan)
    with tempfile.TemporaryDirectory(prefix="gtm-verify-", dir=settings.state_dir) as folder:
        beside = msgspec.structs.replace(settings, state_dir=Path(folder))
        batches, withdrawals, judged_again = _staged(settings)
        Landing(settings.landing_dir).lend(beside.landing_dir, batches, withdrawals)
        SpendLanding(settings.landing_dir).lend(SpendLanding(beside.landing_dir).folder, *_read_spend(settings))
        with opened(beside.warehouse_path, settings) as con:
            ctx = BuildContext(beside, plan, full=judged_again)
            check_settings(con, ctx, allow_rebuild=True)
            build_all(con, ctx)
        con = connect(settings.warehouse_path, settings)
        try:
            return compare(con, beside.warehouse_path)
        finally:
            con.close()


def _staged(settings: Settings) -> tuple[set[str], set[str], bool]:
    """Names of the batches in the warehouse, the withdrawals it has followed, and whether it judged all rows by its plan."""
    with opened(settings.warehouse_path, settings) as con:
        create(con)
        keys = con.execute("SELECT file_key FROM meta.landing_files").fetchall()
        followed = con.execute("SELECT DISTINCT withdrawal FROM meta.withdrawals").fetchall()
        judged_again = bool(get_state(con, JUDGED_AGAIN))
        return {key.partition("/")[2] for (key,) in keys}, {withdrawal for (withdrawal,) in followed}, judged_again


def _read_spend(settings: Settings) -> tuple[set[str], set[str]]:
    """Names of the imports of spend in the warehouse, and the withdrawals it has followed: all but the last of an import
    that it has read and that is not in place as it was.
    """
    with opened(settings.warehouse_path, settings) as con:
        known = dict(con.execute("SELECT batch, mark FROM meta.spend_batches").fetchall())
    landing = SpendLanding(settings.landing_dir)
    present, withdrawn = landing.marks(), landing.withdrawn()
    last = {batch.manifest.name: batch.id for batch in withdrawn}
    ahead = {last.get(name) for name, mark in known.items() if present.get(name) != mark}
    return set(known), {batch.id for batch in withdrawn} - ahead
