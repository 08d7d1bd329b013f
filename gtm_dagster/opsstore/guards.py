"""Guards: the state that moves by compare-and-swap, the epochs they were armed for, and the history of every move."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, insert, select, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import GuardRow, HistoryRow

_guards, _history, _epochs = ops_tables.guards, ops_tables.guard_history, ops_tables.guard_epochs
_MOVABLE = {"epoch", "epoch_since_us", "episode", "fingerprint"}


class Guards(Store):
    """States, epochs and history."""

    def guard(self, key: str) -> GuardRow | None:
        """The guard, None when nothing has named it yet."""
        with self.reading() as con:
            row = con.execute(select(_guards).where(_guards.c.guard == key)).mappings().first()
        return GuardRow(**row) if row else None

    def guards(self) -> list[GuardRow]:
        """Every guard by key."""
        with self.reading() as con:
            return [GuardRow(**row) for row in con.execute(select(_guards).order_by(_guards.c.guard)).mappings()]

    def ensure(self, guard: str, flag: str, conversion: str, environment: str) -> None:
        """Make the guard's row, DISARMED, unless it is there."""
        if self.guard(guard) is not None:
            return
        with self.transaction() as con:
            self._insert_new(
                con,
                _guards,
                guard=guard,
                flag=flag,
                conversion=conversion,
                environment=environment,
                state="DISARMED",
                version=0,
                epoch=0,
                changed_us=0,
                actor="",
                reason="never armed",
            )

    def move(
        self,
        key: str,
        from_version: int,
        to_state: str,
        *,
        actor: str,
        reason: str,
        at_us: int,
        detail: dict[str, Any] | None = None,
        **columns: Any,
    ) -> bool:
        """Move the guard to `to_state` if it is still at `from_version`; False when somebody was first.

        `columns` are further columns to set: epoch, epoch_since_us, episode, fingerprint. `detail` goes to the history.
        """
        if strange := set(columns) - _MOVABLE:
            raise ValueError(f"{', '.join(sorted(strange))}: a move sets only {', '.join(sorted(_MOVABLE))}")
        with self.transaction() as con:
            return self._move(con, key, from_version, to_state, actor, reason, at_us, detail, columns)

    def new_epoch(
        self,
        key: str,
        from_version: int,
        since_us: int,
        *,
        actor: str,
        reason: str,
        fingerprint: str | None,
        at_us: int,
        detail: dict[str, Any] | None = None,
        rule: str | None = None,
    ) -> bool:
        """Arm the guard: state ARMED and a new epoch that counts what happens from `since_us` on, decided by `rule` (JSON).

        False when somebody was first. ValueError when the epoch would not start after the one before it.
        """
        with self.transaction() as con:
            row = con.execute(select(_guards.c.epoch, _guards.c.epoch_since_us).where(_guards.c.guard == key)).first()
            if row is None:
                return False
            epoch, before = row
            if before is not None and since_us <= before:
                raise ValueError(
                    f"{key}: an epoch from {since_us} us would not start after the one before it, {before} us"
                )
            columns = {"epoch": epoch + 1, "epoch_since_us": since_us, "episode": None, "fingerprint": fingerprint}
            if not self._move(con, key, from_version, "ARMED", actor, reason, at_us, detail, columns):
                return False
            con.execute(insert(_epochs).values(guard=key, epoch=epoch + 1, since_us=since_us, rule=rule))
            return True

    def _move(
        self,
        con: Connection,
        key: str,
        from_version: int,
        to_state: str,
        actor: str,
        reason: str,
        at_us: int,
        detail: dict[str, Any] | None,
        columns: dict[str, Any],
    ) -> bool:
        existing = con.execute(select(_guards.c.state, _guards.c.version).where(_guards.c.guard == key)).first()
        if existing is None or existing.version != from_version:
            return False
        moved = con.execute(
            update(_guards)
            .where(_guards.c.guard == key, _guards.c.version == from_version)
            .values(state=to_state, version=from_version + 1, changed_us=at_us, actor=actor, reason=reason, **columns)
        )
        if moved.rowcount != 1:
            return False
        before = con.execute(
            select(_history.c.digest).where(_history.c.guard == key).order_by(_history.c.version.desc()).limit(1)
        ).scalar()
        move = {
            "guard": key,
            "version": from_version + 1,
            "from_state": existing.state,
            "to_state": to_state,
            "at_us": at_us,
            "actor": actor,
            "reason": reason,
            "detail": None if detail is None else _canonical(detail),
        }
        con.execute(insert(_history).values(**move, digest=_digest(before, move)))
        return True

    def epochs(self) -> dict[str, list[tuple[int, int]]]:
        """(epoch, since_us) of every guard that was ever armed, by epoch."""
        found: dict[str, list[tuple[int, int]]] = {}
        with self.reading() as con:
            columns = (_epochs.c.guard, _epochs.c.epoch, _epochs.c.since_us)
            for guard, epoch, since_us in con.execute(select(*columns).order_by(_epochs.c.guard, _epochs.c.epoch)):
                found.setdefault(guard, []).append((epoch, since_us))
        return found

    def epoch_rule(self, key: str, epoch: int) -> str | None:
        """The rule the epoch was armed with, as JSON; None for one that stored none, and for no epoch."""
        with self.reading() as con:
            rule = con.execute(select(_epochs.c.rule).where(_epochs.c.guard == key, _epochs.c.epoch == epoch)).scalar()
        return None if rule is None else str(rule)

    def history(self, key: str) -> list[HistoryRow]:
        """The guard's moves, oldest first."""
        with self.reading() as con:
            rows = con.execute(select(_history).where(_history.c.guard == key).order_by(_history.c.version)).mappings()
            return [
                HistoryRow(**{**row, "detail": None if row["detail"] is None else json.loads(row["detail"])})
                for row in rows
            ]

    def check_chain(self, key: str) -> bool:
        """Whether each move's digest follows from the move and the digest before it, and none is missing."""
        with self.reading() as con:
            rows = (
                con.execute(select(_history).where(_history.c.guard == key).order_by(_history.c.version))
                .mappings()
                .all()
            )
            version = con.execute(select(_guards.c.version).where(_guards.c.guard == key)).scalar()
        before = None
        for row in rows:
            move = {name: value for name, value in row.items() if name not in ("id", "digest")}
            if row["digest"] != _digest(before, move):
                return False
            before = row["digest"]
        return [row["version"] for row in rows] == list(range(1, (version or 0) + 1))


def _canonical(document: dict[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(before: str | None, move: dict[str, Any]) -> str:
    return hashlib.sha256(f"{before or ''}\n{_canonical(move)}".encode()).hexdigest()
