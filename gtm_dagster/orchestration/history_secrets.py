"""Secrets that earlier versions left in Dagster's run history: they are taken out when the history is opened.

A refresh by command put the whole settings into the stored definition of its job, among them the pseudonym key and the
addresses of sinks. The definition stays, the settings in it become empty, and a note in Dagster's home names what to rotate.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster._core.storage.legacy_storage import LegacyRunStorage
from dagster._core.storage.runs.schema import SnapshotsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from sqlalchemy import func, select, update

from gtm_dagster.storage.atomic_write import write_whole

FIELD = "settings_json"
NOTE = "ROTATE_SECRETS.txt"
_EXAMINED = "gtm/history_secrets/examined"
_log = logging.getLogger("gtm_dagster.orchestration")


def remove_secrets(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Empty the settings in stored definitions; returns the names of the secrets found, and writes the note for them.

    Only definitions stored since the last time are examined, so that it costs one query when there are none.
    """
    storage = _sql_storage(instance)
    if storage is None:
        return []
    with storage.connect() as con:
        newest = con.execute(select(func.max(SnapshotsTable.c.id))).scalar() or 0
    examined = int(storage.get_cursor_values({_EXAMINED}).get(_EXAMINED, 0))
    if newest == examined:
        return []
    found: dict[str, None] = {}
    with storage.connect() as con:
        if con.dialect.name == "sqlite":
            con.exec_driver_sql("PRAGMA secure_delete = ON")
        newer = SnapshotsTable.c.id > (examined if examined < newest else 0)
        rows = con.execute(select(SnapshotsTable.c.id, SnapshotsTable.c.snapshot_body).where(newer)).all()
        emptied = {}
        for number, packed in rows:
            document = _definition(packed)
            if document is not None:
                found |= dict.fromkeys(name for settings in _settings_in(document) for name in secret_names(settings))
                emptied[number] = zlib.compress(json.dumps(_without_settings(document)).encode())
        if found:  # first the note: what it names is not found a second time
            _write_note(home, list(found))
        for number, body in emptied.items():
            con.execute(update(SnapshotsTable).where(SnapshotsTable.c.id == number).values(snapshot_body=body))
    if emptied:
        _give_up_free_pages(home)
    if found:
        _log.warning("%s: %s lay in Dagster's run history and were taken out; %s", home, ", ".join(found), home / NOTE)
    storage.set_cursor_values({_EXAMINED: str(newest)})
    return list(found)


def secret_names(settings: dict[str, Any]) -> list[str]:
    """Which secrets stored settings hold, as gtm.toml names them."""
    names = ["privacy.pseudonym_key"] if (settings.get("privacy") or {}).get("pseudonym_key") else []
    names += [f"notify[{place}].url" for place, sink in enumerate(settings.get("notify") or ()) if sink.get("url")]
    names += [
        f"providers[{place}].url"
        for place, provider in enumerate(settings.get("providers") or ())
        if "@" in (provider.get("url") or "")
    ]
    return [*names, *(["ops_url"] if "@" in (settings.get("ops_url") or "") else [])]


def _sql_storage(instance: dg.DagsterInstance) -> SqlRunStorage | None:
    storage: Any = instance.run_storage
    if isinstance(storage, LegacyRunStorage):
        storage = storage._storage.run_storage
    return storage if isinstance(storage, SqlRunStorage) else None


def _definition(packed: bytes) -> Any:
    """A stored definition that has settings in it; None for any other, and for what cannot be unpacked."""
    try:
        body = zlib.decompress(packed)
    except zlib.error:
        return None
    return _json(body) if FIELD.encode() in body else None


def _settings_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every settings document in a stored definition, whose default values are JSON within JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == FIELD and isinstance(_json(item), dict):
                yield cast(dict[str, Any], _json(item))
            else:
                yield from _settings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _settings_in(item)
    elif isinstance(value, str) and FIELD in value and (inner := _json(value)) is not None:
        yield from _settings_in(inner)


def _without_settings(value: Any) -> Any:
    if isinstance(value, dict):
        emptied = {key: "" if key == FIELD else _without_settings(item) for key, item in value.items()}
        if value.get("name") == FIELD and value.get("default_value_as_json_str"):
            emptied["default_value_as_json_str"] = '""'
        return emptied
    if isinstance(value, list):
        return [_without_settings(item) for item in value]
    if isinstance(value, str) and FIELD in value and isinstance(inner := _json(value), dict | list):
        return json.dumps(_without_settings(inner))
    return value


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def _give_up_free_pages(home: Path) -> None:
    """What earlier deletions left in free pages and in the write-ahead log goes too, as far as no other process works."""
    path = home / "history" / "runs.db"
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as con:
        try:
            con.execute("VACUUM")
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            _log.warning("%s: not compacted (%s)", path, error)


def _write_note(home: Path, names: list[str]) -> None:
    lines = [
        f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: these settings lay in clear text in the run history of this folder, where an",
        "earlier version of gtm-dagster wrote them, and were taken out of it:",
        *(f"  {name}" for name in names),
        "Whoever could read this folder, a backup of it, or the web UI may know them. Give each a new value (docs/deploy.md,",
        "Secrets), remove old backups of this folder, then remove this file: `gtm doctor` reports it as long as it is here.",
    ]
    earlier = (home / NOTE).read_bytes() if (home / NOTE).exists() else b""
    write_whole(home / NOTE, earlier + ("\n".join(lines) + "\n").encode())
