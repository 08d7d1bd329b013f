"""The outbox of messages: each is stored before it is sent, and says whether it arrived."""

from __future__ import annotations

from sqlalchemy import select, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.rows import NotificationRow

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
        """Pending messages whose time has come, longest waiting first."""
        statement = select(_notes).where(_notes.c.status == "pending", _notes.c.next_us <= now_us)
        with self.reading() as con:
            rows = con.execute(statement.order_by(_notes.c.next_us, _notes.c.id)).mappings()
            return [NotificationRow(**row) for row in rows]

    def notifications(self, episode: str | None = None) -> list[NotificationRow]:
        """Every message, or those of one episode, oldest first."""
        statement = select(_notes).order_by(_notes.c.created_us, _notes.c.id)
        with self.reading() as con:
            rows = con.execute(
                statement if episode is None else statement.where(_notes.c.episode == episode)
            ).mappings()
            return [NotificationRow(**row) for row in rows]

    def delivered(self, id: str, at_us: int) -> None:
        """The sink took the message."""
        with self.transaction() as con:
            con.execute(
                update(_notes)
                .where(_notes.c.id == id, _notes.c.status == "pending")
                .values(status="delivered", delivered_us=at_us, attempts=_notes.c.attempts + 1, last_error=None)
            )

    def failed(self, id: str, error: str, next_us: int | None) -> None:
        """The sink did not take the message: it is due again at `next_us`; None gives it up."""
        later = {"status": "failed"} if next_us is None else {"next_us": next_us}
        with self.transaction() as con:
            con.execute(
                update(_notes)
                .where(_notes.c.id == id, _notes.c.status == "pending")
                .values(attempts=_notes.c.attempts + 1, last_error=error, **later)
            )
