"""Writes the serving copy. It is swapped in by fsync and rename, so a reader never sees half of it.

The first copy is written whole. Later ones begin as the file before and take over what changed since: the steps note in
`meta.scope`, under the name `publish`, whose rows of what time they replaced, as they do for each other.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from gtm_dagster.warehouse.core.steps import count, drop_scope, find_scope, in_scope, longest_window_us
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.rollback_ledger import copy_rollbacks
from gtm_dagster.warehouse.tables import LAYOUT, PUBLISH, create, get_state, set_state, settle_publishing

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

_ROLLBACKS = "ops.rollbacks"
_IN_TIME = {
    "core.sessions": "start_us",
    "core.conversions": "conversion_us",
    "core.touchpoints": "conversion_us",
    "marts.attribution_credits": "conversion_us",
}
"""Tables that change by person and time, and the column of the time."""
_IN_REACH = ("core.touchpoints", "marts.attribution_credits")
"""Those that a change reaches through the longest lookback."""
_MOST_CHANGED = 0.3
"""Changed persons by all ids, users' and anonymous ones, above which a whole copy costs less."""
_MOST_GROWN = 2.0
"""Times its size when last written whole that a copy may grow, replaced rows included, until it is written whole again."""


@dataclass(frozen=True)
class Published:
    """What was published: tables, rows over all tables, bytes of the file, and why it was written whole (None: was not)."""

    tables: int
    rows: int
    bytes: int
    why_whole: str | None

    @property
    def whole(self) -> bool:
        return self.why_whole is not None


class _UnlikeError(Exception):
    """The copy before cannot be brought up to date: it would not hold the rows of the working file."""


def publish(con: duckdb.DuckDBPyConnection, settings: Settings) -> Published:
    """Bring core, marts, ops, the books and the quarantine (without sealed originals) of the open working file to readers.

    `ops.rollbacks` comes from the ops store. The caller holds the writer's lock, so whatever other publishers left
    half-written belongs to dead ones and is removed. A failed attempt gives its room back and leaves the copy before. A
    copy that is not the one published last (lost, restored, written by somebody else, unreadable) is written whole, and
    so is one that would not hold as many rows as the working file.
    """
    create(con)
    target = settings.serving_path
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    _remove_parts(target)
    why_whole = _why_whole(con, settings)
    tables: dict[str, int] = {}
    try:
        if why_whole is None:
            try:
                shutil.copyfile(target, part)
                tables = _write(con, settings, part, whole=False)
            except (duckdb.Error, _UnlikeError) as error:
                _remove_parts(target)
                why_whole = f"the one before could not be brought up to date: {error}"
        if why_whole is not None:
            tables = _write(con, settings, part, whole=True)
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        part.replace(target)
    except BaseException:
        _remove_parts(target)
        raise
    size = target.stat().st_size
    written = size if why_whole is not None else _last(con)["whole_bytes"]
    with transaction(con):  # killed before this, the copy is not the one known, and the next is written whole
        settle_publishing(con)
        set_state(con, PUBLISH, json.dumps({"file": _mark(settings), "whole_bytes": written}))
    return Published(len(tables), sum(tables.values()), size, why_whole)


def is_current(con: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether the serving copy is the one published last and nothing has changed since."""
    owed = con.execute(
        "SELECT 1 FROM meta.scope WHERE step = $1 UNION ALL SELECT 1 FROM meta.rebuild WHERE step = $1 LIMIT 1",
        [PUBLISH],
    ).fetchall()
    return not owed and _last(con).get("file") == _mark(settings)


def served(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The tables of the working file that are served, and which of their columns."""
    found = con.execute(
        """SELECT schema_name || '.' || table_name FROM duckdb_tables()
        WHERE database_name = current_database() AND NOT temporary AND schema_name IN ('core', 'marts', 'ops') ORDER BY 1"""
    ).fetchall()
    return {
        **{name: "*" for (name,) in found},
        "staging.books": "*",
        "staging.quarantine": "COLUMNS(lambda c: c <> 'sealed')",
    }


def _last(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What is known of the copy published last: its mark, and its bytes when it was last written whole."""
    return dict(json.loads(get_state(con, PUBLISH) or "{}"))


def _mark(settings: Settings) -> list[object] | None:
    """Tells the file of the serving copy from any other; None when there is none."""
    try:
        found = settings.serving_path.stat()
    except FileNotFoundError:
        return None
    return [
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        settings.warehouse.storage_compatibility_version,
        LAYOUT,
    ]


def _why_whole(con: duckdb.DuckDBPyConnection, settings: Settings) -> str | None:
    """Why the copy before is not built upon; None when it is."""
    last = _last(con)
    if not last:
        return "the first one"
    if last["file"] != _mark(settings):
        return "the file there is not the one published last"
    if settings.serving_path.stat().st_size > _MOST_GROWN * last["whole_bytes"]:
        return f"it had grown to {_MOST_GROWN:g} times its size"
    if con.execute("SELECT 1 FROM meta.rebuild WHERE step = ?", [PUBLISH]).fetchall():
        return "a table was made whole"
    changed = con.execute("SELECT count(DISTINCT person_no) FROM meta.scope WHERE step = ?", [PUBLISH]).fetchall()[0][0]
    return "most persons changed" if changed > _MOST_CHANGED * count(con, "meta.ids") else None


def _remove_parts(target: Path) -> None:
    """Remove half-written copies, and the write-ahead logs DuckDB keeps beside them."""
    for part in target.parent.glob(f".{target.name}.*.part*"):
        part.unlink(missing_ok=True)


def _write(con: duckdb.DuckDBPyConnection, settings: Settings, part: Path, *, whole: bool) -> dict[str, int]:
    """Write the new file `part`, or bring the copy before up to date in it; returns the rows of its tables."""
    tables = served(con)
    version = f"STORAGE_VERSION '{settings.warehouse.storage_compatibility_version}', " if whole else ""
    con.execute(f"ATTACH '{part}' AS serving ({version}RECOVERY_MODE NO_WAL_WRITES)")  # lost with its maker
    try:
        with transaction(con):
            for schema in ("core", "marts", "ops", "staging"):
                con.execute(f"CREATE SCHEMA IF NOT EXISTS serving.{schema}")
            done = set() if whole else _take_over(con, settings, tables)
            for name, columns in tables.items():
                if name not in done:
                    con.execute(f"CREATE OR REPLACE TABLE serving.{name} AS SELECT {columns} FROM {name}")
            copy_rollbacks(con, settings, f"serving.{_ROLLBACKS}")
            rows = {name: count(con, f"serving.{name}") for name in (*tables, _ROLLBACKS)}
            if any(rows[name] != count(con, name) for name in done):
                raise _UnlikeError("it would not hold as many rows as the working file")
            return rows
    finally:
        con.execute("DETACH serving")


def _take_over(con: duckdb.DuckDBPyConnection, settings: Settings, tables: dict[str, str]) -> set[str]:
    """Replace the rows that changed since the copy before, and drop what is not served any more.

    Returns the tables that are up to date now; the others are small.
    """
    find_scope(con, PUBLISH)
    for name, moment in _IN_TIME.items():
        reach = longest_window_us(settings) if name in _IN_REACH else 0
        within = in_scope("t", moment, reach)
        con.execute(f"DELETE FROM serving.{name} t USING scope k WHERE {within}")
        con.execute(f"INSERT INTO serving.{name} SELECT t.* FROM {name} t JOIN scope k ON {within}")
    among = "WHERE person_no IN (SELECT person_no FROM scope)"
    con.execute(f"DELETE FROM serving.core.identities {among}")
    con.execute(f"INSERT INTO serving.core.identities SELECT * FROM core.identities {among}")
    con.execute(  # the rows of a landed file come all at once, and stay
        f"""INSERT INTO serving.staging.quarantine SELECT {tables["staging.quarantine"]} FROM staging.quarantine
        WHERE file_key NOT IN (SELECT file_key FROM serving.staging.quarantine)"""
    )
    drop_scope(con)
    held = con.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = 'serving'"
    ).fetchall()
    for (name,) in held:
        if name not in tables and name != _ROLLBACKS:
            con.execute(f"DROP TABLE serving.{name}")
    return {*_IN_TIME, "core.identities", "staging.quarantine"}
