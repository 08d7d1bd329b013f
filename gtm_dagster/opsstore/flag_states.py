"""What providers say about the flags of guards: the flag as last seen, and the planned shares over time."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import FlagRow

_flags, _shares = ops_tables.guard_flags, ops_tables.guard_shares


class FlagStates(Store):
    """The flag of each guard, as its provider reports it."""

    def flag_state(self, key: str) -> FlagRow | None:
        """The guard's flag as last seen, None before the first look."""
        with self.reading() as con:
            row = con.execute(select(_flags).where(_flags.c.guard == key)).mappings().first()
        return FlagRow(**row) if row else None

    def see_flag(self, key: str, enabled: bool, share: float | None, fingerprint: str, at_us: int) -> None:
        """Store what the provider says; a share that differs from the last one starts a new planned share."""
        with self.transaction() as con:
            existing = con.execute(select(_flags).where(_flags.c.guard == key)).first()
            same = existing is not None and existing.fingerprint == fingerprint and existing.enabled == enabled
            changed_us = existing.changed_us if existing is not None and same else at_us
            self._put(
                con, _flags, guard=key, enabled=enabled, share=share, fingerprint=fingerprint, seen_us=at_us,
                changed_us=changed_us,
            )  # fmt: skip
            if share is None:
                return
            last = con.execute(
                select(_shares.c.share).where(_shares.c.guard == key).order_by(_shares.c.since_us.desc()).limit(1)
            ).scalar()
            if last != share:
                self._put(con, _shares, guard=key, since_us=at_us, share=share)

    def prune_shares(self, con: Connection, key: str, since_us: int) -> None:
        """Delete planned shares that another one had followed by `since_us`."""
        mine = (_shares.c.guard == key, _shares.c.since_us <= since_us)
        last = con.execute(select(func.max(_shares.c.since_us)).where(*mine)).scalar()
        if last is not None:
            con.execute(delete(_shares).where(*mine, _shares.c.since_us < last))

    def shares(self, key: str) -> list[tuple[int, float]]:
        """(since_us, planned treated share), oldest first."""
        with self.reading() as con:
            rows = con.execute(
                select(_shares.c.since_us, _shares.c.share).where(_shares.c.guard == key).order_by(_shares.c.since_us)
            )
            return [(since_us, share) for since_us, share in rows]
