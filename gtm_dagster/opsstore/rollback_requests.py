"""Rollbacks that other systems asked for: one row an epoch of a guard, kept as part of its audit."""

from __future__ import annotations

from sqlalchemy import select, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import RequestRow

_requests = ops_tables.guard_requests


class RollbackRequests(Store):
    """What was asked for; whether it was done is the guard's state."""

    def rollback_request(self, guard: str, epoch: int) -> RequestRow | None:
        """The request of an epoch, None when nobody asked."""
        statement = select(_requests).where(_requests.c.guard == guard, _requests.c.epoch == epoch)
        with self.reading() as con:
            row = con.execute(statement).mappings().first()
        return RequestRow(**row) if row else None

    def request_rollback(self, guard: str, epoch: int, *, episode: str, actor: str, reason: str, at_us: int) -> bool:
        """Store the request, or count it to the one that is there, which stands again; True when it is the first."""
        values = {"guard": guard, "epoch": epoch, "episode": episode, "actor": actor, "reason": reason}
        with self.transaction() as con:
            if self._insert_new(con, _requests, **values, asked_us=at_us, times=1, last_us=at_us):
                return True
            mine = (_requests.c.guard == guard, _requests.c.epoch == epoch)
            again = {"times": _requests.c.times + 1, "last_us": at_us, "refused": None}
            con.execute(update(_requests).where(*mine).values(again))
            return False

    def refuse_request(self, guard: str, epoch: int, why: str) -> None:
        """Whoever was to carry it out cannot: nobody tries again before it is asked again."""
        mine = (_requests.c.guard == guard, _requests.c.epoch == epoch)
        with self.transaction() as con:
            con.execute(update(_requests).where(*mine).values(refused=why))
