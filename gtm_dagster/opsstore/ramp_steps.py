"""Steps of ramps: approved by a person, begun once by compare-and-swap, and taken. What is approved and taken stands in
the guard's history too, whose digests are chained."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, select, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.guards import Guards
from gtm_dagster.opsstore.rows import RampStepRow

_steps, _guards = ops_tables.ramp_steps, ops_tables.guards
APPROVED, INTENDED, TAKEN, WITHDRAWN = "approved", "intended", "taken", "withdrawn"
RAMP_APPROVED, RAMP_TAKEN = "ramp_approved", "ramp_taken"
"""Keys of the detail of moves in a guard's history that belong to its ramp; the guard stays ARMED."""


def step_id(guard: str, epoch: int, number: int) -> str:
    """The name of a step: 16 hex characters of SHA-256."""
    return hashlib.sha256(f"{guard}|{epoch}|ramp|{number}".encode()).hexdigest()[:16]


class RampSteps(Guards):
    """The steps of each guard's ramp, by epoch and number."""

    def ramp_steps(self, key: str, epoch: int) -> list[RampStepRow]:
        """The epoch's steps by number."""
        mine = (_steps.c.guard == key, _steps.c.epoch == epoch)
        with self.reading() as con:
            rows = con.execute(select(_steps).where(*mine).order_by(_steps.c.number)).mappings()
            return [RampStepRow(**row) for row in rows]

    def ramp_step(self, id: str) -> RampStepRow | None:
        """The step of this id, None when there is none."""
        with self.reading() as con:
            row = con.execute(select(_steps).where(_steps.c.id == id)).mappings().first()
        return RampStepRow(**row) if row else None

    def approve_step(
        self,
        key: str,
        from_version: int,
        epoch: int,
        number: int,
        to_share: float,
        *,
        actor: str,
        reason: str,
        at_us: int,
    ) -> bool:
        """Store that a person approves the step, while the guard is at `from_version`; False when somebody was first."""
        values = {"to_share": to_share, "approved_by": actor, "approval_reason": reason, "approved_us": at_us}
        with self.transaction() as con:
            detail = {RAMP_APPROVED: {"number": number, "to": to_share}}
            if not self._move(con, key, from_version, "ARMED", actor, reason, at_us, detail, {}):
                return False
            if self._new_step(con, key, epoch, number, state=APPROVED, **values):
                return True
            mine = self._mine(key, epoch, number, APPROVED, WITHDRAWN)
            con.execute(update(_steps).where(*mine).values(state=APPROVED, **values))
            return True

    def begin_step(
        self, key: str, from_version: int, epoch: int, number: int, from_share: float, to_share: float, **columns: Any
    ) -> bool:
        """Write the intent of a step, once: while the guard is ARMED at `from_version` and nobody else has begun it.

        `columns`: run_id, intent_us, evidence.
        """
        values = {"state": INTENDED, "from_share": from_share, "to_share": to_share, **columns}
        with self.transaction() as con:
            row = con.execute(select(_guards).where(_guards.c.guard == key)).first()
            if row is None or (row.version, row.state, row.epoch) != (from_version, "ARMED", epoch):
                return False
            if self._new_step(con, key, epoch, number, **{"attempt": 1, **values}):
                return True
            mine = self._mine(key, epoch, number, APPROVED, WITHDRAWN)
            begun = update(_steps).where(*mine).values(attempt=_steps.c.attempt + 1, **values)
            return con.execute(begun).rowcount == 1

    def resume_step(self, id: str, run_id: str) -> None:
        """Count another run of a step that was begun."""
        begun = update(_steps).where(_steps.c.id == id, _steps.c.state == INTENDED)
        with self.transaction() as con:
            con.execute(begun.values(attempt=_steps.c.attempt + 1, run_id=run_id))

    def finish_step(
        self,
        step: RampStepRow,
        from_version: int,
        *,
        actor: str,
        reason: str,
        fingerprint: str,
        at_us: int,
        detail: dict[str, Any],
    ) -> bool:
        """Store that the share was read back as written; False when the guard moved meanwhile, or the step was finished."""
        with self.transaction() as con:
            mine = self._mine(step.guard, step.epoch, step.number, INTENDED)
            done = update(_steps).where(*mine).values(state=TAKEN, taken_us=at_us, fingerprint=fingerprint, note=None)
            row = con.execute(select(_guards.c.version, _guards.c.state).where(_guards.c.guard == step.guard)).first()
            if row is None or tuple(row) != (from_version, "ARMED") or con.execute(done).rowcount != 1:
                return False
            return self._move(con, step.guard, from_version, "ARMED", actor, reason, at_us, {RAMP_TAKEN: detail}, {})

    def withdraw_step(self, id: str, note: str) -> None:
        """Leave a step that was begun; it can be begun anew, and its approval stands."""
        begun = update(_steps).where(_steps.c.id == id, _steps.c.state == INTENDED)
        with self.transaction() as con:
            con.execute(begun.values(state=WITHDRAWN, note=note))

    def note_step(self, id: str, note: str) -> None:
        """What became of the last run of a step."""
        with self.transaction() as con:
            con.execute(update(_steps).where(_steps.c.id == id).values(note=note))

    def _new_step(self, con: Connection, key: str, epoch: int, number: int, **values: Any) -> bool:
        row = {"guard": key, "epoch": epoch, "number": number, "id": step_id(key, epoch, number), "attempt": 0}
        return self._insert_new(con, _steps, **{**row, **values})

    def _mine(self, key: str, epoch: int, number: int, *states: str) -> tuple[Any, ...]:
        return (
            _steps.c.guard == key, _steps.c.epoch == epoch, _steps.c.number == number, _steps.c.state.in_(states),
        )  # fmt: skip
