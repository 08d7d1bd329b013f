"""Dagster's event log of a laptop, its files left open between events.

Dagster's own storage opens and closes a database file for every event: an engine, its compiled statements, two commits
with fsync and a checkpoint each time. A refresh writes some 220 events. Same files, same tables: whoever opens them with
Dagster's storage reads what this one wrote. An event leaves out what it says elsewhere (`without_repetition`).
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dagster import AssetKey
from dagster._core.events import StepOutputData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.base import AssetRecord
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from gtm_dagster.orchestration.run_records import (
    OpenedRunStorage,
    OpenedScheduleStorage,
    copy_where_missing,
    has_tables,
)

_OPEN_FILES = 4
"""Files left open: the index and the run under way, and what a look at other runs opens beside them."""
_PAGE_BYTES = 1024
"""Of a run's file: its two dozen tables and indexes take a page each, most of them empty."""


class OpenEventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage` that keeps the files it used last open until `dispose`.

    A power cut may take the last events of a run (synchronous=NORMAL); a killed process takes none. What a run did is in
    the warehouse, and a run without an end is marked failed by the next.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._asset_records: dict[AssetKey, AssetRecord] = {}
        self._there: set[tuple[str, str]] = set()
        copy_where_missing(Path(base_dir, f"{INDEX_SHARD_NAME}.db"), lambda: _empty_files().index_file)
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> OpenEventLog:
        return cls(inst_data=inst_data, **config_value)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Dagster's own, where tables are missing. It loads all its migrations to see that they are there."""
        if not has_tables(engine):
            super()._initdb(engine, for_index_shard)

    def store_event(self, event: EventLogEntry) -> None:
        """As Dagster's own storage, without what the event says twice."""
        super().store_event(without_repetition(event))
        found = event.dagster_event
        if found is not None and found.asset_key is not None:
            self._asset_records.pop(found.asset_key, None)

    def get_asset_records(self, asset_keys: Sequence[AssetKey] | None = None) -> Sequence[AssetRecord]:
        """As Dagster's own storage. A record is remembered until an event of its asset is stored here: every step of a run
        asks for the records of all it depends on, and whoever runs holds the lock of the warehouse.
        """
        if asset_keys is None:
            return super().get_asset_records()
        unknown = [key for key in asset_keys if key not in self._asset_records]
        if unknown:
            found = super().get_asset_records(unknown)
            self._asset_records.update({record.asset_entry.asset_key: record for record in found})
        return [self._asset_records[key] for key in asset_keys if key in self._asset_records]

    def has_table(self, table_name: str) -> bool:
        """As Dagster's own storage, which opens the file anew for every event of a check; what is there once stays."""
        return self._stays("table", table_name, super().has_table)

    def has_secondary_index(self, name: str) -> bool:
        """As `has_table`."""
        return self._stays("secondary index", name, super().has_secondary_index)

    def has_asset_key_col(self, column_name: str) -> bool:
        """As `has_table`."""
        return self._stays("asset key column", column_name, super().has_asset_key_col)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        found = super()._has_asset_key_col_on_connection
        return self._stays("asset key column", column_name, lambda name: found(conn, name))

    def _stays(self, kind: str, name: str, is_there: Callable[[str], bool]) -> bool:
        if (kind, name) not in self._there and is_there(name):
            self._there.add((kind, name))
        return (kind, name) in self._there

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        # The lock makes one thread at a time use the connections, as in Dagster's own storage.
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as con, con.begin():
                yield con

    def _engine(self, shard: str) -> Engine:
        if shard in self._engines:
            self._engines.move_to_end(shard)
            return self._engines[shard]
        while len(self._engines) >= _OPEN_FILES:
            self._engines.popitem(last=False)[1].dispose()
        path = Path(self.path_for_shard(shard))
        copy_where_missing(path, lambda: _empty_files().run_file)
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=QueuePool,
            pool_size=1,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", _commit_without_fsync)
        self._engines[shard] = engine
        return engine

    def delete_events(self, run_id: str) -> None:
        """Delete the events of a run with the file that held them; Dagster's own storage would leave the file."""
        with self.index_connection() as con:
            self.delete_events_for_run(con, run_id)
        self.free_concurrency_slots_for_run(run_id)
        with self._db_lock:
            if run_id in self._engines:
                self._engines.pop(run_id).dispose()
            self._initialized_dbs.discard(run_id)
            file = Path(self.path_for_shard(run_id))
            for path in (file, *(file.with_name(f"{file.name}-{part}") for part in ("wal", "shm", "journal"))):
                path.unlink(missing_ok=True)

    def dispose(self) -> None:
        """Close the files."""
        super().dispose()
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def without_repetition(entry: EventLogEntry) -> EventLogEntry:
    """The entry without tags that repeat its fields, a message that repeats its event's, and in the event of an output the
    metadata that the event of the materialisation or check behind it carries.
    """
    found = entry.dagster_event
    if found is None:
        return entry
    found = found._replace(logging_tags={})
    if isinstance(found.event_specific_data, StepOutputData):
        found = found._replace(event_specific_data=found.event_specific_data._replace(metadata={}))
    repeated = entry.user_message == found.message
    return entry._replace(dagster_event=found, user_message="" if repeated else entry.user_message)


class _EmptyFiles(NamedTuple):
    index_file: bytes
    run_file: bytes


@cache
def _empty_files() -> _EmptyFiles:
    """The index and a run's file before the first event, as Dagster's own storage makes them; made once a process."""
    with tempfile.TemporaryDirectory() as folder:
        storage = SqliteEventLogStorage(folder)
        engine = create_engine(f"sqlite:///{folder}/empty.db", poolclass=NullPool)
        event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA page_size={_PAGE_BYTES}"))
        storage._initdb(engine)
        engine.dispose()
        return _EmptyFiles(Path(folder, f"{INDEX_SHARD_NAME}.db").read_bytes(), Path(folder, "empty.db").read_bytes())


def _commit_without_fsync(connection: Any, _: Any) -> None:
    """With a write-ahead log, NORMAL writes through at checkpoints alone: nothing is torn, the last commits may be lost."""
    connection.execute("PRAGMA synchronous=NORMAL")


def storage_overrides(home: Path) -> dict[str, object]:
    """What to add to the settings of an instance in `home` so that its event log is left open, and its runs and ticks are
    opened without Dagster's migrations.
    """
    places = {
        "event_log_storage": (OpenEventLog, home / "history" / "runs"),
        "run_storage": (OpenedRunStorage, home / "history"),
        "schedule_storage": (OpenedScheduleStorage, home / "schedules"),
    }
    return {
        key: {"module": storage.__module__, "class": storage.__name__, "config": {"base_dir": str(folder)}}
        for key, (storage, folder) in places.items()
    }
