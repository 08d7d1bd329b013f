"""Records of a guard's two events by what became of them, in steps of five minutes of receipt: also those that count nowhere.

A unit's counts say who converted. These say how many conversions there were to match with a unit, how many were refused
or suppressed and why, and by which write keys a guard is served. Methods that take a connection belong into the worker's
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store

STEP_US = 300_000_000
"""Records are counted by steps of this length (5 min) of their receipt."""
FROM = "from/"
"""Before a write key: exposures and conversions that count, by who sent them."""

_records = ops_tables.guard_records


class GuardRecords(Store):
    """Numbers of records by name: `conversions`, `matched`, `refused conversions/CODE`, `from/KEY` and others."""

    def records(self, key: str, since_us: int) -> dict[str, int]:
        """Records by name in the whole steps from `since_us` on."""
        statement = select(_records.c.name, func.sum(_records.c.n)).where(
            _records.c.guard == key, _records.c.step >= -(-since_us // STEP_US)
        )
        with self.reading() as con:
            return {name: int(n) for name, n in con.execute(statement.group_by(_records.c.name))}

    def serving_keys(self, key: str) -> frozenset[str]:
        """Write keys that exposures or conversions of the guard came with, as far back as its records go."""
        statement = select(_records.c.name).where(_records.c.guard == key, _records.c.name.startswith(FROM)).distinct()
        with self.reading() as con:
            return frozenset(name.removeprefix(FROM) for name in con.execute(statement).scalars())

    def add_records(self, con: Connection, guard: str, records: Mapping[tuple[int, str], int]) -> None:
        """Add to the numbers by (step, name)."""
        values = [{"guard": guard, "step": step, "name": name, "n": n} for (step, name), n in sorted(records.items())]
        if values:
            statement = self._insert(_records)
            more = {"n": _records.c.n + statement.excluded.n}
            con.execute(statement.on_conflict_do_update(index_elements=["guard", "step", "name"], set_=more), values)

    def forget_records(
        self, con: Connection, guard: str, *, since_us: int | None = None, before_us: int | None = None
    ) -> None:
        """Delete the guard's steps from `since_us` on, or those that ended before `before_us`."""
        if since_us is not None:
            con.execute(delete(_records).where(_records.c.guard == guard, _records.c.step >= since_us // STEP_US))
        if before_us is not None:
            con.execute(delete(_records).where(_records.c.guard == guard, _records.c.step < before_us // STEP_US))
