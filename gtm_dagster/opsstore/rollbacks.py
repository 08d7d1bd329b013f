"""Rollbacks: one row an episode, written before the flag is touched, completed as its stages happen."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import RollbackRow

_rollbacks = ops_tables.rollbacks


class Rollbacks(Store):
    """The ledger of flags turned off."""

    def rollback(self, episode: str) -> RollbackRow | None:
        """The episode's row, None before its intent."""
        with self.reading() as con:
            row = con.execute(select(_rollbacks).where(_rollbacks.c.episode == episode)).mappings().first()
        return RollbackRow(**row) if row else None

    def rollbacks(self) -> list[RollbackRow]:
        """Every episode, oldest intent first."""
        with self.reading() as con:
            rows = con.execute(select(_rollbacks).order_by(_rollbacks.c.intent_us, _rollbacks.c.episode)).mappings()
            return [RollbackRow(**row) for row in rows]

    def last_rollback(self, guard: str) -> RollbackRow | None:
        """The guard's newest episode, without its evidence; None before the first."""
        columns = [column for column in _rollbacks.c if column.name != "bundle"]
        newest = (func.coalesce(_rollbacks.c.intent_us, 0).desc(), func.coalesce(_rollbacks.c.decided_us, 0).desc())
        statement = select(*columns).where(_rollbacks.c.guard == guard).order_by(*newest).limit(1)
        with self.reading() as con:
            row = con.execute(statement).mappings().first()
        return RollbackRow(**row, bundle=None) if row else None

    def insert_rollback(self, **columns: Any) -> bool:
        """Write the episode unless it is there; False when somebody was first."""
        values = {"attempt": 1, "verified": False, "dry_run": False} | columns
        with self.transaction() as con:
            return self._insert_new(con, _rollbacks, **values)

    def update_rollback(self, episode: str, **columns: Any) -> None:
        """Set columns of the episode. KeyError when there is none."""
        with self.transaction() as con:
            if con.execute(update(_rollbacks).where(_rollbacks.c.episode == episode).values(**columns)).rowcount != 1:
                raise KeyError(episode)
