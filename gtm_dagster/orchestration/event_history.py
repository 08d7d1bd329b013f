"""Dagster's event log of a laptop, its files left open between events.

Dagster's own storage opens and closes a database file for every event: an engine, its compiled statements, two commits
with fsync and a checkpoint each time. A refresh writes some 130 events. Same files, same tables: whoever opens them with
Dagster's storage reads what this one wrote.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

_OPEN_FILES = 4
"""Files left open: the index and the run under way, and what a look at other runs opens beside them."""


class OpenEventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage` that keeps the files it used last open until `dispose`.

    A power cut may take the last events of a run (synchronous=NORMAL); a killed process takes none. What a run did is in
    the warehouse, and a run without an end is marked failed by the next.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> OpenEventLog:
        return cls(inst_data=inst_data, **config_value)

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


def _commit_without_fsync(connection: Any, _: Any) -> None:
    """With a write-ahead log, NORMAL writes through at checkpoints alone: nothing is torn, the last commits may be lost."""
    connection.execute("PRAGMA synchronous=NORMAL")


def storage_overrides(home: Path) -> dict[str, object]:
    """What to add to the settings of an instance in `home` so that its event log is left open."""
    return {
        "event_log_storage": {
            "module": __name__,
            "class": OpenEventLog.__name__,
            "config": {"base_dir": str(home / "history" / "runs")},
        }
    }
