"""The embedded event log: one SQLite file in WAL mode with synchronous=FULL.

One writer thread commits whatever has queued up (group commit): deduplication, frames, counts and offsets go into one
transaction, so an acknowledged event is durable and an event is stored once. Readers use short read transactions.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog import Acceptance, AppendResult, EventLogError, Heartbeat, Position, identity
from gtm_dagster.eventlog.frames import pack, to_arrow
from gtm_dagster.eventlog.identity import LogState
from gtm_dagster.eventlog.log_tables import new_log_id, prepare
from gtm_dagster.storage.disk_space import full_disk

if TYPE_CHECKING:
    import pyarrow as pa

MAX_PRODUCERS = 1000
"""Heartbeats kept at once; a further producer is refused."""
FORGOTTEN_US = 86_400_000_000
"""A producer that is silent for this long is forgotten (24 h)."""
REPLACED_US = 90_000_000
"""An instance that misses three beats while another of its producer beats is gone (90 s)."""
MAY_LAG = ("stream",)
"""Consumers that keep their own offset: they hold the log for IDLE_DAYS longer, not for ever."""
IDLE_DAYS = 3
_GROUP_RECORDS = 5_000
_LEARNED = ("received_us", "plan_version", "raw", "sealed", "row_no")
_log = logging.getLogger("gtm_dagster.eventlog")


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        con = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("PRAGMA journal_size_limit = 67108864")
    except sqlite3.Error as error:
        raise EventLogError(f"{path}: cannot open the event log ({error}){full_disk(path.parent)}") from error
    return con


def _delete_frames(con: sqlite3.Connection, before_day: str, upto: int | None) -> int:
    """Delete frames of days before `before_day` up to offset `upto`; returns their records."""
    if upto is None:
        return 0
    chosen = (before_day, upto)
    told = con.execute(
        "SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM frames WHERE day < ? AND last_seq <= ?", chosen
    )
    n = int(told.fetchone()[0])
    con.execute("DELETE FROM frames WHERE day < ? AND last_seq <= ?", chosen)
    return n


def _state(con: sqlite3.Connection, path: Path) -> LogState:
    """The log's identity and range, read in one statement: the writer goes on meanwhile."""
    log_id, seq, unnamed, gap, first, continued = con.execute(
        """SELECT log_id, seq, unnamed_seq, gap_seq, coalesce((SELECT min(first_seq) FROM frames), seq + 1),
          (SELECT group_concat(DISTINCT log_id) FROM accepted WHERE kind <> 'trimmed') FROM log"""
    ).fetchone()
    ids = frozenset() if continued is None else frozenset(continued.split(","))
    return LogState(str(path), log_id, first, seq, unnamed, gap, ids)


def _receipt(con: sqlite3.Connection, seq: int) -> int | None:
    """When the record at `seq` was received, None when it is not kept."""
    row = con.execute(
        "SELECT first_seq, last_seq, payload FROM frames WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1", (seq,)
    ).fetchone()
    if row is None or row[1] < seq:
        return None
    return int(to_arrow([row])["received_us"][seq - row[0]].as_py())


def _record_acceptance(con: sqlite3.Connection, found: Acceptance, reason: str, actor: str) -> None:
    """One row for each log superseded, one for a gap; consumers of a superseded log read this one from its beginning."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    kind = "restored" if found.renamed_from else "other"
    rows = [(at, actor, reason, kind, log_id, found.gap_seq) for log_id in found.continues]
    if "trimmed" in found.kinds:
        rows.append((at, actor, reason, "trimmed", found.log_id, found.gap_seq))
    con.executemany("INSERT INTO accepted (at, actor, reason, kind, log_id, seq) VALUES (?, ?, ?, ?, ?, ?)", rows)
    con.execute("UPDATE log SET log_id = ?, gap_seq = ?", (found.log_id, found.gap_seq))
    if found.renamed_from:
        con.execute("UPDATE log SET unnamed_seq = NULL")
    if found.continues:
        con.execute("UPDATE consumers SET seq = min(seq, ?)", (found.gap_seq,))


def _day(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).date().isoformat()


def _note(con: sqlite3.Connection, beat: _Beat) -> bool:
    mine = (beat.producer, beat.instance)
    con.execute("DELETE FROM heartbeats WHERE received_us < ?", (beat.received_us - FORGOTTEN_US,))
    if beat.closing:
        con.execute("DELETE FROM heartbeats WHERE producer = ? AND instance = ?", mine)
        return True
    gone = beat.received_us - REPLACED_US
    con.execute("DELETE FROM heartbeats WHERE producer = ? AND received_us < ?", (beat.producer, gone))
    known = con.execute("SELECT count(*) FROM heartbeats WHERE producer = ? AND instance = ?", mine).fetchone()[0]
    if not known and con.execute("SELECT count(*) FROM heartbeats").fetchone()[0] >= MAX_PRODUCERS:
        return False
    con.execute("INSERT OR REPLACE INTO heartbeats VALUES (?, ?, ?, ?)", (*mine, beat.ts_us, beat.received_us))
    return True


def _id_key(record: Record) -> bytes:
    return hashlib.blake2b(f"{record.write_key}\x00{record.event_id}".encode(), digest_size=16).digest()


def _content(record: Record) -> bytes:
    told = repr([getattr(record, name) for name in record.__struct_fields__ if name not in _LEARNED])
    return hashlib.blake2b(told.encode(), digest_size=8).digest()


class _Beat(msgspec.Struct, frozen=True):
    producer: str
    instance: str
    ts_us: int
    received_us: int
    closing: bool


_Item = tuple[list[Record] | _Beat, Future[Any]]


class SqliteEventLog:
    """The log in `path`. Appends from any thread of one process; reads from any process.

    `dedup_days`: how long an accepted id is remembered at the edge (the warehouse remembers it for ever).
    """

    def __init__(self, path: Path, dedup_days: int = 32) -> None:
        self.path = Path(path)
        self.dedup_days = dedup_days
        self._waiting: queue.Queue[_Item | None] = queue.Queue()
        self._writer: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False
        con = _connect(self.path)
        try:
            prepare(con, self.path)
        except sqlite3.Error as error:
            raise EventLogError(
                f"{path}: cannot prepare the event log ({error}){full_disk(self.path.parent)}"
            ) from error
        finally:
            con.close()

    # Appending

    def append(self, records: list[Record]) -> AppendResult:
        """Store accepted, quarantined and suppressed records; returns after the commit reached the disk.

        A second copy of an accepted (write_key, event_id) is counted, not stored: `duplicate`, or `conflict` when its
        content differs. Raises EventLogError when the log cannot be written; then nothing of the batch is stored.
        """
        return self.submit(records).result()

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable."""
        return self._queue(records)

    def beat(self, producer: str, ts_us: int, received_us: int, closing: bool = False, instance: str = "") -> bool:
        """Store that `producer` has sent what happened up to `ts_us` (never after `received_us`); durable on return.

        A producer may be several processes: each is an `instance` and beats for itself. `closing` forgets the
        instance, and with its last one the producer. False when MAX_PRODUCERS others are remembered.
        """
        return self.submit_beat(producer, ts_us, received_us, closing, instance).result()

    def submit_beat(
        self, producer: str, ts_us: int, received_us: int, closing: bool = False, instance: str = ""
    ) -> Future[bool]:
        """As `beat`; the future is done when it is durable."""
        return self._queue(_Beat(producer, instance, min(ts_us, received_us), received_us, closing))

    def _queue(self, item: list[Record] | _Beat) -> Future[Any]:
        if self._closed:
            raise EventLogError(f"{self.path}: the event log is closed")
        with self._starting:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_loop, name="eventlog-writer", daemon=True)
                self._writer.start()
        future: Future[Any] = Future()
        self._waiting.put((item, future))
        return future

    def waiting(self) -> int:
        """Appends that wait for the writer."""
        return self._waiting.qsize()

    def _write_loop(self) -> None:
        con: sqlite3.Connection | None = None
        try:
            stop = False
            while not stop:
                group: list[_Item] = []
                size = 0
                item = self._waiting.get()
                while item is not None:
                    group.append(item)
                    size += len(item[0]) if isinstance(item[0], list) else 1
                    if size >= _GROUP_RECORDS:
                        break
                    try:
                        item = self._waiting.get_nowait()
                    except queue.Empty:
                        break
                else:
                    stop = True
                if group:
                    try:
                        con = con or _connect(self.path)
                    except EventLogError as error:  # tried again with the next group
                        for _, future in group:
                            future.set_exception(error)
                        continue
                    self._commit_group(con, group)
        finally:
            if con is not None:
                con.close()

    def _commit_group(self, con: sqlite3.Connection, group: list[_Item]) -> None:
        try:
            con.execute("BEGIN IMMEDIATE")
            appended = iter(self._store(con, [item for item, _ in group if isinstance(item, list)]))
            results = [next(appended) if isinstance(item, list) else _note(con, item) for item, _ in group]
            con.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  (the writer thread outlives any batch)
            if con.in_transaction:
                con.execute("ROLLBACK")
            if len(group) > 1 and not isinstance(error, sqlite3.Error):
                for one in group:  # a batch that cannot be packed must not take its neighbours along, nor the writer
                    self._commit_group(con, [one])
                return
            for _, future in group:
                future.set_exception(
                    EventLogError(f"{self.path}: cannot be written ({error}){full_disk(self.path.parent)}")
                )
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)

    def _store(self, con: sqlite3.Connection, batches: list[list[Record]]) -> list[AppendResult]:
        seq = con.execute("SELECT seq FROM log").fetchone()[0]
        counts: dict[tuple[str, str], int] = {}
        stored: list[Record] = []
        results = []
        for records in batches:
            statuses = []
            first = seq + len(stored) + 1
            for record in records:
                status = record.verdict
                if status == "accepted":
                    key, content, day = _id_key(record), _content(record), _day(record.received_us)
                    new = con.execute("INSERT OR IGNORE INTO dedup VALUES (?, ?, ?)", (key, content, day)).rowcount
                    if not new:
                        held = con.execute("SELECT content FROM dedup WHERE id_key = ?", (key,)).fetchone()[0]
                        status = "duplicate" if held == content else "conflict"
                if status not in ("duplicate", "conflict"):
                    stored.append(record)
                statuses.append(status)
                counted = (_day(record.received_us), status)
                counts[counted] = counts.get(counted, 0) + 1
            results.append(
                AppendResult(
                    first_seq=first,
                    last_seq=seq + len(stored),
                    accepted=statuses.count("accepted"),
                    duplicates=statuses.count("duplicate") + statuses.count("conflict"),
                    statuses=statuses,
                )
            )
        if stored:
            last = seq + len(stored)
            con.execute(
                "INSERT INTO frames VALUES (?, ?, ?, ?)", (seq + 1, last, _day(stored[-1].received_us), pack(stored))
            )
            con.execute("UPDATE log SET seq = ?", (last,))
        if not counts:
            # An empty append proves that the disk takes a write; SQLite skips a write that changes nothing, and finds
            # room for so little in its own log when the disk has none for events.
            if full_disk(self.path.parent):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            con.execute("INSERT INTO consumers VALUES ('', 0)")
            con.execute("DELETE FROM consumers WHERE name = ''")
        con.executemany(
            "INSERT INTO edge_counts VALUES (?, ?, ?) ON CONFLICT (day, status) DO UPDATE SET n = n + excluded.n",
            [(day, status, n) for (day, status), n in counts.items()],
        )
        return results

    # Reading

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        con = _connect(self.path)
        try:
            yield con
        except sqlite3.Error as error:
            raise EventLogError(f"{self.path}: {error}{full_disk(self.path.parent)}") from error
        finally:
            con.close()

    def _frames(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        with self._reading() as con:
            frames, size = [], 0
            cursor = con.execute(
                "SELECT first_seq, last_seq, payload FROM frames WHERE last_seq > ? ORDER BY first_seq", (after,)
            )
            for first, last, payload in cursor:
                frames.append((first, last, payload))
                size += last - first + 1
                if size >= limit:
                    break
            cursor.close()
            return frames

    def read_arrow(self, after: int, limit: int = 100_000) -> tuple[pa.Table, int]:
        """Whole frames behind `after` until at least `limit` records, as the landing columns; `row_no` is the offset."""
        frames = self._frames(after, limit)
        table = to_arrow(frames)
        if frames and frames[0][0] <= after:
            table = table.slice(after - frames[0][0] + 1)
        return table, frames[-1][1] if frames else after

    def read_records(self, after: int, limit: int = 10_000) -> tuple[list[Record], int]:
        """As `read_arrow`, as Records."""
        table, last = self.read_arrow(after, limit)
        return [Record(**row) for row in table.to_pylist()], last

    # Identity

    @property
    def log_id(self) -> str:
        """The log's identity, 16 hex characters; read anew each time, `accept` may change it."""
        with self._reading() as con:
            return str(con.execute("SELECT log_id FROM log").fetchone()[0])

    def resume(self, position: Position | None, *, from_start: bool = False) -> int:
        """The offset to read after for a consumer that stands at `position` (None: it has read nothing).

        `from_start`: a consumer that has read nothing needs every record from offset 1; else it starts at what is kept.
        Raises LogChangedError when records that this consumer has not read are not in this log.
        """
        with self._reading() as con:
            return identity.resume(
                _state(con, self.path), position, lambda seq: _receipt(con, seq), from_start=from_start
            )

    def continues(self, log_id: str) -> bool:
        """Whether positions in log `log_id` ("": from before logs had an identity) may be carried over to this log."""
        with self._reading() as con:
            return _state(con, self.path).continues(log_id)

    def accept(
        self, positions: Sequence[tuple[Position | None, bool]], *, reason: str, actor: str
    ) -> Acceptance | None:
        """Record that what the consumers at `positions` (each with its `from_start`) miss is gone on purpose.

        None, and nothing changed, when this log continues them all.
        """
        with self._reading() as con:
            con.execute("BEGIN IMMEDIATE")
            try:
                found = identity.acceptance(
                    _state(con, self.path), positions, lambda seq: _receipt(con, seq), new_log_id()
                )
                if found is not None:
                    _record_acceptance(con, found, reason, actor)
                con.execute("COMMIT")
            finally:
                if con.in_transaction:
                    con.execute("ROLLBACK")
            return found

    def accepted(self) -> list[dict[str, str | int]]:
        """What people accepted, oldest first: at (UTC), actor, reason, kind, log_id, seq."""
        names = ("at", "actor", "reason", "kind", "log_id", "seq")
        with self._reading() as con:
            rows = con.execute(f"SELECT {', '.join(names)} FROM accepted ORDER BY n").fetchall()
            return [dict(zip(names, row, strict=True)) for row in rows]

    def first_seq(self) -> int:
        """The oldest offset still kept, `last_seq() + 1` when there is none."""
        with self._reading() as con:
            return _state(con, self.path).first_seq

    def last_seq(self) -> int:
        """The newest offset, 0 when nothing was ever stored."""
        with self._reading() as con:
            return int(con.execute("SELECT seq FROM log").fetchone()[0])

    def count(self, after: int, upto: int) -> int:
        """Records stored with after < offset <= upto, counted from the frames' own bounds."""
        with self._reading() as con:
            told = con.execute(
                "SELECT coalesce(sum(min(last_seq, ?) - max(first_seq, ?) + 1), 0) FROM frames WHERE last_seq > ? AND first_seq <= ?",
                (upto, after + 1, after, upto),
            ).fetchone()
            return int(told[0])

    def edge_counts(self) -> dict[str, dict[str, int]]:
        """What the edge answered, by UTC day and status."""
        with self._reading() as con:
            told: dict[str, dict[str, int]] = {}
            for day, status, n in con.execute("SELECT day, status, n FROM edge_counts ORDER BY 1, 2"):
                told.setdefault(day, {})[status] = n
            return told

    def heartbeats(self) -> list[Heartbeat]:
        """Each producer's last word, by name: the earliest `ts_us` of its instances and its newest `received_us`."""
        with self._reading() as con:
            rows = con.execute(
                "SELECT producer, min(ts_us), max(received_us) FROM heartbeats GROUP BY producer "
                "HAVING max(received_us) >= (SELECT max(received_us) FROM heartbeats) - ? ORDER BY producer",
                (FORGOTTEN_US,),
            )
            return [Heartbeat(*row) for row in rows]

    def offset_before(self, received_us: int) -> int:
        """An offset behind which every record received at `received_us` or later lies; found by halving."""
        with self._reading() as con:
            low, high = con.execute(
                "SELECT coalesce(min(first_seq), 1) - 1, coalesce(max(last_seq), 0) FROM frames"
            ).fetchone()
            while low < high:
                middle = (low + high) // 2
                first, last, payload = con.execute(
                    "SELECT first_seq, last_seq, payload FROM frames WHERE last_seq > ? ORDER BY first_seq LIMIT 1",
                    (middle,),
                ).fetchone()
                received = to_arrow([(first, last, payload)])["received_us"]
                if max(received.to_pylist()) < received_us:
                    low = max(last, middle + 1)
                else:
                    high = min(first - 1, middle)
            return int(low)

    # Offsets and retention

    def commit(self, consumer: str, seq: int) -> None:
        """Remember `consumer`'s offset; an offset never goes back."""
        with self._reading() as con:
            con.execute(
                "INSERT INTO consumers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq)",
                (consumer, seq),
            )

    def committed(self, consumer: str) -> int:
        """The consumer's offset, 0 before its first commit."""
        with self._reading() as con:
            row = con.execute("SELECT seq FROM consumers WHERE name = ?", (consumer,)).fetchone()
            return int(row[0]) if row else 0

    def trim(self, before_day: str) -> int:
        """Delete frames of days before `before_day` (ISO date) that every consumer has read, and ids past `dedup_days`.

        A consumer of MAY_LAG that stands still keeps its frames for IDLE_DAYS more; then they go, with a warning.
        Returns the records deleted. Without a consumer nothing is deleted.
        """
        last_day = datetime.fromisoformat(before_day)
        with self._reading() as con:
            con.execute(
                "DELETE FROM dedup WHERE day < ?", ((last_day - timedelta(days=self.dedup_days)).date().isoformat(),)
            )
            consumers = dict(con.execute("SELECT name, seq FROM consumers"))
            deleted = _delete_frames(con, before_day, min(consumers.values(), default=None))
            idle_day = (last_day - timedelta(days=IDLE_DAYS)).date().isoformat()
            lasting = min((seq for name, seq in consumers.items() if name not in MAY_LAG), default=None)
            unread = _delete_frames(con, idle_day, lasting)
            if unread:
                for name in sorted(name for name, seq in consumers.items() if seq < (lasting or 0)):
                    _log.warning(
                        "%s: consumer %s stands still at offset %d; %d events of days before %s leave the log unread by it",
                        self.path, name, consumers[name], unread, idle_day,
                    )  # fmt: skip
            return deleted + unread

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what waits and stop the writer."""
        self._closed = True
        if self._writer is not None:
            self._waiting.put(None)
            self._writer.join()
            self._writer = None
