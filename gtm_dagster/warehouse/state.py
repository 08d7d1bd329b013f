"""Values the working file remembers by name (`meta.state`)."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb


def get_state(con: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """The value, None before the first."""
    row = con.execute("SELECT content FROM meta.state WHERE name = ?", [name]).fetchall()
    return str(row[0][0]) if row else None


def set_state(con: duckdb.DuckDBPyConnection, name: str, content: str) -> None:
    """Remember a value in the current transaction."""
    con.execute("DELETE FROM meta.state WHERE name = ?", [name])
    con.execute("INSERT INTO meta.state VALUES (?, ?)", [name, content])


def first_of_day(con: duckdb.DuckDBPyConnection, name: str, now: datetime | None = None) -> bool:
    """Whether this is the first call for `name` on a UTC day; the next ones of the day are not."""
    today = (now or datetime.now(UTC)).date().isoformat()
    if get_state(con, name) == today:
        return False
    set_state(con, name, today)
    return True
