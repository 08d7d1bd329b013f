"""Writes the serving copy. It is swapped in by fsync and rename, so a reader never sees half of it.

The first copy is written whole. Later ones begin as the file before and take over what changed since: publishing
follows the affected ranges as a step does (`affected.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from gtm_dagster.warehouse.affected import (
    OWNERS,
    PUBLISH,
    SESSIONS,
    find_affected,
    needs_rebuild,
    note_published,
    publish_is_due,
)
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.fingerprints import FORMAT
from gtm_dagster.warehouse.literals import composed, literal
from gtm_dagster.warehouse.marts.trigger_decisions import STATE as TRIGGER_DECISIONS
from gtm_dagster.warehouse.results import count
from gtm_dagster.warehouse.rollback_ledger import rollbacks, write_rollbacks
from gtm_dagster.warehouse.schema import Table, tables
from gtm_dagster.warehouse.schema.ddl import create
from gtm_dagster.warehouse.serving_changes import take_over
from gtm_dagster.warehouse.state import get_state, set_state

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

_ROLLBACKS = "ops.rollbacks"
_MOST_CHANGED = 0.3
"""Changed persons by all ids, users' and anonymous ones, above which a whole copy costs less."""
_MOST_GROWN = 2.0
"""Times its size when last written whole that a copy may grow, replaced rows included, until it is written whole again."""


@dataclass(frozen=True)
class Published:
    """What is published: tables, rows over all tables, bytes of the file, why it was written whole (None: was not), and
    whether anything was written.
    """

    tables: int
    rows: int
    bytes: int
    why_whole: str | None
    changed: bool = True

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
    so is one that would not hold as many rows as the working file. The copy that is there stays when nothing changed.
    """
    create(con)
    turned_off = rollbacks(settings)
    sources = _sources(con, turned_off)
    if sources is not None and _last(con).get("sources") == sources and is_current(con, settings):
        names = served(con)
        rows_served = sum(count(con, name) for name in names) + len(turned_off)
        return Published(len(names) + 1, rows_served, settings.serving_path.stat().st_size, None, changed=False)
    target = settings.serving_path
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    _remove_parts(target)
    why_whole = _why_whole(con, settings)
    rows: dict[str, int] = {}
    try:
        if why_whole is None:
            try:
                shutil.copyfile(target, part)
                rows = _write(con, settings, part, turned_off, whole=False)
            except (duckdb.Error, _UnlikeError) as error:
                _remove_parts(target)
                why_whole = f"the one before could not be brought up to date: {error}"
        if why_whole is not None:
            rows = _write(con, settings, part, turned_off, whole=True)
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
        note_published(con)
        published = {"file": _mark(settings), "whole_bytes": written, "sources": sources}
        set_state(con, PUBLISH, json.dumps(published))
    return Published(len(rows), sum(rows.values()), size, why_whole)


def is_current(con: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether the serving copy is the one published last and nothing has changed since."""
    return not publish_is_due(con) and _last(con).get("file") == _mark(settings)


def served(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The tables of the working file that are served, and which of their columns.

    A table that somebody made beside the declared ones in core, marts or ops is served as it is.
    """
    found = con.execute(
        """SELECT schema_name || '.' || table_name FROM duckdb_tables()
        WHERE database_name = current_database() AND NOT temporary AND schema_name IN ('core', 'marts', 'ops') ORDER BY 1"""
    ).fetchall()
    return {name: "*" for (name,) in found} | {
        table.name: ", ".join(column.name for column in table.columns if column.served) for table in _served_tables()
    }


def _sources(con: duckdb.DuckDBPyConnection, turned_off: list[list[object]]) -> list[object] | None:
    """What readers get beside the affected ranges: tables, stagings and withdrawals so far, a digest of rollbacks and of
    triggers' decisions.

    None when somebody made a table beside the declared ones: nothing tells when it changes.
    """
    names = sorted(served(con))
    if set(names) - {table.name for table in tables()}:
        return None
    decided = json.loads(get_state(con, TRIGGER_DECISIONS) or "{}").get("version", 0)
    digest = hashlib.sha256(repr((names, turned_off, decided)).encode()).hexdigest()[:16]
    return [int(get_state(con, "stagings") or 0), count(con, "meta.withdrawals"), digest]


def _served_tables() -> list[Table]:
    return [table for table in tables() if table.served and table.name != _ROLLBACKS]


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
        FORMAT,
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
    if needs_rebuild(con, PUBLISH):
        return "a table was built whole"
    find_affected(con, PUBLISH, SESSIONS, OWNERS)
    return "most persons changed" if count(con, "affected") > _MOST_CHANGED * count(con, "meta.ids") else None


def _remove_parts(target: Path) -> None:
    """Remove half-written copies, and the write-ahead logs DuckDB keeps beside them."""
    for part in target.parent.glob(f".{target.name}.*.part*"):
        part.unlink(missing_ok=True)


def _write(
    con: duckdb.DuckDBPyConnection, settings: Settings, part: Path, turned_off: list[list[object]], *, whole: bool
) -> dict[str, int]:
    """Write the new file `part`, or bring the copy before up to date in it; returns the rows of its tables."""
    selected = served(con)
    version = f"STORAGE_VERSION {literal(settings.warehouse.storage_compatibility_version)}, " if whole else ""
    con.execute(f"ATTACH {literal(part)} AS serving ({version}RECOVERY_MODE NO_WAL_WRITES)")  # lost with its writer
    try:
        with transaction(con):
            for schema in ("core", "marts", "ops", "staging"):
                con.execute(f"CREATE SCHEMA IF NOT EXISTS serving.{schema}")
            current = set() if whole else take_over(con, settings, selected, _served_tables(), (_ROLLBACKS,))
            for name, columns in selected.items():
                if name not in current:
                    con.execute(
                        composed(
                            "CREATE OR REPLACE TABLE serving.$name AS SELECT $columns FROM $name",
                            name=name,
                            columns=columns,
                        )
                    )
            write_rollbacks(con, turned_off, f"serving.{_ROLLBACKS}")
            rows = {name: count(con, f"serving.{name}") for name in (*selected, _ROLLBACKS)}
            if any(rows[name] != count(con, name) for name in current):
                raise _UnlikeError("it would not hold as many rows as the working file")
            return rows
    finally:
        con.execute("DETACH serving")
