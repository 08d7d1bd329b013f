"""Which anonymous ids are which users, as a guard needs it: pairs from one event, kept as long as conversions may come."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Column, Connection, bindparam, delete, select

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.connection import Store
from gtm_dagster.opsstore.unit_counts import chunks

_links = ops_tables.guard_links


class GuardLinks(Store):
    """Pairs of ids; methods belong into the worker's transaction."""

    def add_links(self, con: Connection, guard: str, links: Iterable[tuple[str, str, int]]) -> None:
        """Store (anonymous id, user id, event_us), each pair once."""
        values = [
            {"guard": guard, "anonymous_id": anonymous, "user_id": user, "event_us": event_us}
            for anonymous, user, event_us in links
        ]
        if values:
            con.execute(self._insert(_links).on_conflict_do_nothing(), values)

    def links_of_users(self, con: Connection, guard: str, users: Iterable[str]) -> list[tuple[str, str]]:
        """(user id, anonymous id) of the users' pairs."""
        return [(user, anonymous) for anonymous, user in self._pairs(con, guard, _links.c.user_id, users)]

    def links_of_visitors(self, con: Connection, guard: str, visitors: Iterable[str]) -> list[tuple[str, str]]:
        """(anonymous id, user id) of the visitors' pairs."""
        return self._pairs(con, guard, _links.c.anonymous_id, visitors)

    def _pairs(self, con: Connection, guard: str, by: Column[str], names: Iterable[str]) -> list[tuple[str, str]]:
        statement = select(_links.c.anonymous_id, _links.c.user_id).where(
            _links.c.guard == guard, by.in_(bindparam("names", expanding=True))
        )
        return [
            (anonymous, user) for chunk in chunks(names) for anonymous, user in con.execute(statement, {"names": chunk})
        ]

    def prune_links(self, con: Connection, guard: str, before_us: int) -> None:
        """Delete pairs of events before `before_us`."""
        con.execute(delete(_links).where(_links.c.guard == guard, _links.c.event_us < before_us))
