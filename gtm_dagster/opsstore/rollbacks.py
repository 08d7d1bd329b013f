"""Rollbacks: one row an episode, written before the flag is touched, completed as its stages happen."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import func, select, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import RollbackRow

_rollbacks = ops_tables.rollbacks
_WITHOUT_EVIDENCE = [column for column in _rollbacks.c if column.name != "bundle"]


class Rollbacks(Store):
    """The ledger of flags turned off."""

    def rollback(self, episode: str) -> RollbackRow | None:
        """The episode's row, None before its intent."""
        with self.reading() as con:
            row = con.execute(select(_rollbacks).where(_rollbacks.c.episode == episode)).mappings().first()
        return RollbackRow(**row) if row else None

    def rollbacks(self, evidence: bool = True) -> list[RollbackRow]:
        """Every episode, oldest intent first; without `evidence`, `bundle` is None in all of them."""
        columns = _rollbacks.c if evidence else _WITHOUT_EVIDENCE
        with self.reading() as con:
            rows = con.execute(select(*columns).order_by(_rollbacks.c.intent_us, _rollbacks.c.episode)).mappings()
            return [RollbackRow(**({"bundle": None} | dict(row))) for row in rows]

    def last_rollback(self, guard: str) -> RollbackRow | None:
        """The guard's newest episode, without its evidence; None before the first."""
        newest = (func.coalesce(_rollbacks.c.intent_us, 0).desc(), func.coalesce(_rollbacks.c.decided_us, 0).desc())
        statement = select(*_WITHOUT_EVIDENCE).where(_rollbacks.c.guard == guard).order_by(*newest).limit(1)
        with self.reading() as con:
            row = con.execute(statement).mappings().first()
        return RollbackRow(**row, bundle=None) if row else None

    def insert_rollback(self, **columns: Any) -> bool:
        """Write the episode, with the digest of its evidence, unless it is there; False when somebody was first."""
        bundle = columns.get("bundle")
        digest = None if bundle is None else hashlib.sha256(bundle.encode()).hexdigest()
        values = {"attempt": 1, "verified": False, "dry_run": False, "bundle_sha256": digest} | columns
        with self.transaction() as con:
            return self._insert_new(con, _rollbacks, **values)

    def update_rollback(self, episode: str, **columns: Any) -> None:
        """Set columns of the episode. KeyError when there is none."""
        with self.transaction() as con:
            if con.execute(update(_rollbacks).where(_rollbacks.c.episode == episode).values(**columns)).rowcount != 1:
                raise KeyError(episode)
