"""Users who are one person because an event says so, and anonymous ids that it gives to a user.

`user_identified` with `alias_of` makes its user and that user one person; so does `previous_id` when it is a user's id.
Who is one with whom does not depend on order: the person is the smallest pseudonym of all that are connected. An
anonymous id as `previous_id` goes to the earliest user who names it, unless an event has it with a user.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.statements import fragment


def follow_aliases(con: duckdb.DuckDBPyConnection, whole: bool) -> None:
    """Write `meta.user_persons` and `meta.claimed_ids` anew.

    Makes the temporary tables `moved_users` (user_no, person_no, is_changed): the person of each user who is or was one
    with another, and `reclaimed` (anonymous_no): anonymous ids that an alias gives to somebody else than before. Both are
    empty, and nothing is looked up, where no event names another id.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE moved_users (user_no BIGINT, person_no BIGINT, is_changed BOOLEAN)")
    con.execute("CREATE OR REPLACE TEMP TABLE reclaimed (anonymous_no BIGINT)")
    if not con.execute("SELECT 1 FROM meta.alias_events LIMIT 1").fetchall():
        return
    if not whole and not con.execute("SELECT 1 FROM meta.changed LIMIT 1").fetchall():
        return
    aliases = con.execute(fragment("aliases")).fetchall()
    _replace(con, "claimed_ids", "anonymous_no", _claims(aliases))
    persons = _persons([(user, other) for user, *_, other, is_user, _ in aliases if is_user])
    _replace(con, "user_persons", "user_no", _numbered(con, persons))


def _persons(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The smallest id of each connected component, by each of its ids."""
    parent: dict[str, str] = {}

    def smallest(one: str) -> str:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for left, right in pairs:
        low, high = sorted((smallest(left), smallest(right)))
        parent[high] = low
    return {one: smallest(one) for one in parent}


def _claims(aliases: list[tuple]) -> list[tuple[int, int]]:
    """(anonymous id, user) of those that are no user's id; the earliest event by (time, event_id, write_key) decides."""
    first: dict[int, int] = {}
    for _, user_no, *_, is_user, anonymous_no in sorted(aliases, key=lambda row: row[2:5]):
        if not is_user:
            first.setdefault(anonymous_no, user_no)
    return list(first.items())


def _numbered(con: duckdb.DuckDBPyConnection, persons: dict[str, str]) -> list[tuple[int, int]]:
    """The same as numbers; an id that no event has gets one."""
    ids = pa.table({"id": pa.array(persons, pa.string()), "person": pa.array(persons.values(), pa.string())})
    con.register("aliased", ids)
    con.execute(
        """INSERT INTO meta.ids
        SELECT (SELECT coalesce(max(id_no), 0) FROM meta.ids) + row_number() OVER (), id FROM aliased ANTI JOIN meta.ids USING (id)"""
    )
    pairs = con.execute(
        """SELECT u.id_no, p.id_no FROM aliased a JOIN meta.ids u ON u.id = a.id JOIN meta.ids p ON p.id = a.person
        WHERE a.id IN (SELECT person FROM aliased GROUP BY person HAVING count(*) > 1) OR a.id <> a.person"""
    ).fetchall()
    con.unregister("aliased")
    return pairs


_CHANGES = {
    "user_persons": """INSERT INTO moved_users
      SELECT coalesce(n.user_no, o.user_no), coalesce(n.person_no, o.user_no), n.person_no IS DISTINCT FROM o.person_no
      FROM found n FULL JOIN meta.user_persons o ON o.user_no = n.user_no""",
    "claimed_ids": """INSERT INTO reclaimed SELECT coalesce(n.anonymous_no, o.anonymous_no)
      FROM found n FULL JOIN meta.claimed_ids o ON o.anonymous_no = n.anonymous_no WHERE n.user_no IS DISTINCT FROM o.user_no""",
}


def _replace(con: duckdb.DuckDBPyConnection, table: str, key: str, rows: list[tuple[int, int]]) -> None:
    """Write a table of pairs anew, and what that means into `moved_users` or `reclaimed`."""
    value = "person_no" if key == "user_no" else "user_no"
    columns = list(zip(*rows, strict=True)) or [(), ()]
    found = pa.table({key: pa.array(columns[0], pa.int64()), value: pa.array(columns[1], pa.int64())})
    con.register("found", found)
    con.execute(_CHANGES[table])
    con.execute(composed("DELETE FROM meta.$table", table=table))
    con.execute(composed("INSERT INTO meta.$table SELECT * FROM found", table=table))
    con.unregister("found")
