"""The outbox of messages: each is stored before it is sent, is one deliverer's at a time, and says whether it arrived.

A message that arrived or was given up is kept for KEPT_US, so that nobody puts it in a second time; then it is deleted.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, case, delete, func, or_, select, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import BacklogRow, NotificationRow

KEPT_US = 90 * 86_400_000_000
"""90 days."""
_notes = ops_tables.notifications


class Notifications(Store):
    """Messages by a deterministic id."""

    def enqueue(self, id: str, episode: str, sink: str, payload: str, at_us: int) -> bool:
        """Store a message that is due at once; False when its id is there already."""
        with self.transaction() as con:
            return self._insert_new(
                con, _notes, id=id, episode=episode, sink=sink, payload=payload, status="pending", attempts=0,
                next_us=at_us, created_us=at_us,
            )  # fmt: skip

    def due(self, now_us: int) -> list[NotificationRow]:
        """Pending messages whose time has come and that nobody is sending, longest waiting first."""
        with self.reading() as con:
            rows = con.execute(select(_notes).where(*_due(now_us)).order_by(_notes.c.next_us, _notes.c.id)).mappings()
            return [NotificationRow(**row) for row in rows]

    def lease(self, id: str, now_us: int, until_us: int) -> NotificationRow | None:
        """Take a message that is due, until `until_us`: an attempt begins, which is counted at once.

        None when it is not due any more, or somebody else has it. A deliverer that is killed loses it at `until_us`.
        """
        statement = (
            update(_notes)
            .where(_notes.c.id == id, *_due(now_us))
            .values(attempts=_notes.c.attempts + 1, lease_us=until_us)
            .returning(*_notes.c)
        )
        with self.transaction() as con:
            row = con.execute(statement).mappings().first()
        return NotificationRow(**row) if row else None

    def notifications(self, episode: str | None = None) -> list[NotificationRow]:
        """Every message, or those of one episode, oldest first."""
        return self._select(*(() if episode is None else (_notes.c.episode == episode,)))

    def undelivered(self) -> list[NotificationRow]:
        """Messages that were tried and have not arrived, given up ones among them, oldest first."""
        return self._select(_notes.c.status != "delivered", _notes.c.attempts > 0)

    def backlog(self) -> list[BacklogRow]:
        """Messages that wait or were given up, by sink; a sink without any has no row."""
        pending, lost = _notes.c.status == "pending", _notes.c.status == "failed"
        statement = (
            select(
                _notes.c.sink,
                func.count(case((pending, 1))),
                func.min(case((pending, _notes.c.created_us))),
                func.count(case((lost, 1))),
                func.max(case((lost, _notes.c.next_us))),
            )
            .where(or_(pending, lost))
            .group_by(_notes.c.sink)
            .order_by(_notes.c.sink)
        )
        with self.reading() as con:
            return [BacklogRow(*row) for row in con.execute(statement)]

    def put_in_us(self, id: str) -> int | None:
        """When a message was put in; None when it is not there."""
        with self.reading() as con:
            return con.execute(select(_notes.c.created_us).where(_notes.c.id == id)).scalar()

    def _select(self, *where: ColumnElement[bool]) -> list[NotificationRow]:
        statement = select(_notes).where(*where).order_by(_notes.c.created_us, _notes.c.id)
        with self.reading() as con:
            return [NotificationRow(**row) for row in con.execute(statement).mappings()]

    def delivered(self, id: str, at_us: int, attempt: int | None = None) -> bool:
        """The sink took the message. `attempt`: only while that attempt is the last one; False when it is not."""
        return self._end(id, attempt, {"status": "delivered", "delivered_us": at_us, "last_error": None})

    def failed(self, id: str, error: str, next_us: int | None, attempt: int | None = None) -> bool:
        """The sink did not take the message: it is due again at `next_us`; None gives it up. `attempt` as above."""
        later = {"status": "failed"} if next_us is None else {"next_us": next_us}
        return self._end(id, attempt, {"last_error": error, **later})

    def _end(self, id: str, attempt: int | None, values: dict[str, object]) -> bool:
        """End an attempt; without a lease, it is counted now."""
        where = [_notes.c.id == id, _notes.c.status == "pending"]
        if attempt is not None:
            where.append(_notes.c.attempts == attempt)
        attempts = case((_notes.c.lease_us.is_(None), _notes.c.attempts + 1), else_=_notes.c.attempts)
        with self.transaction() as con:
            done = con.execute(update(_notes).where(*where).values(attempts=attempts, lease_us=None, **values))
            return done.rowcount == 1

    def prune_notifications(self, now_us: int, rows: int = 1_000) -> int:
        """Delete at most `rows` messages that ended more than KEPT_US ago; returns how many."""
        old = select(_notes.c.id).where(_notes.c.status != "pending", _notes.c.created_us < now_us - KEPT_US)
        with self.transaction() as con:
            return con.execute(delete(_notes).where(_notes.c.id.in_(old.limit(rows)))).rowcount


def _due(now_us: int) -> tuple[ColumnElement[bool], ...]:
    free = or_(_notes.c.lease_us.is_(None), _notes.c.lease_us <= now_us)
    return _notes.c.status == "pending", _notes.c.next_us <= now_us, free
