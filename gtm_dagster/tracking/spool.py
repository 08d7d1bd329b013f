"""A file of the waiting events: one JSON line each, written before the event is queued.

It outlives a crash of the process, not of the machine (no fsync). An event can come back after it was sent;
the collector knows its id and counts it as a duplicate. A forked child writes a file of its own beside its parent's,
named for its process id; what a child left behind goes to the next tracker of the parent's file.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime
from pathlib import Path

import msgspec

from gtm_dagster.storage.atomic_write import Drafts
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir

logger = logging.getLogger("gtm_dagster.tracking")


class _Line(msgspec.Struct):
    event_id: str
    timestamp: datetime


class Spool:
    """Owned by one tracker, locked against others; its callers hold the buffer's lock.

    `stale` counts lines of events that need no more work. ValueError when another tracker has the file open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stale = 0
        self._torn = False
        private_dir(path.parent)
        lock = _lock(path)
        if lock is None:
            raise ValueError(f"spool {path} is in use by another tracker; give every process its own file")
        self._lock = lock
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def load(self) -> list[tuple[str, bytes, int]]:
        """(event id, line, event time) of what earlier processes left; a line cut off by a crash is left out."""
        events = _events(self._path)
        orphans = []
        for path in self._children():
            if (lock := _lock(path)) is not None:
                orphans.append((path, lock))
                events += _events(path)
        is_kept = self.rewrite([line for _, line, _ in events])
        for path, lock in orphans:
            if is_kept:
                path.unlink(missing_ok=True)
                lock.path.unlink(missing_ok=True)
            lock.close()
        return events

    def _children(self) -> list[Path]:
        start = f"{self._path.name}."
        return sorted(
            path for path in self._path.parent.iterdir() if path.name.startswith(start) and path.suffix[1:].isdigit()
        )

    def of_child(self) -> Path:
        """The file of this process, a forked child of the one that opened this spool."""
        return self._path.with_name(f"{self._path.name}.{os.getpid()}")

    def append(self, line: bytes) -> None:
        """Keeps one event. A disk that does not take it is logged: the event is sent all the same."""
        try:
            _write(self._file, b"\n" + line + b"\n" if self._torn else line + b"\n")
            self._torn = False
        except OSError as error:
            if not self._torn:
                logger.warning("spool %s does not keep events: %s", self._path, error)
            self._torn = True  # the file may end in half a line

    def rewrite(self, lines: list[bytes]) -> bool:
        """Replaces the content by `lines`, in one step; False when the disk refuses, and the longer file stays."""
        self.stale = 0
        try:
            self._replace(lines)
        except OSError as error:
            logger.warning("spool %s was not compacted: %s", self._path, error)
            return False
        return True

    def _replace(self, lines: list[bytes]) -> None:
        if not lines:
            os.ftruncate(self._file, 0)
            return
        with Drafts(durable=False, alone=True) as drafts:
            file = os.open(drafts.of(self._path), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            try:
                _write(file, b"".join(line + b"\n" for line in lines))
                drafts.rename()
            except OSError:
                os.close(file)
                raise
        os.close(self._file)
        self._file = file

    def close(self) -> None:
        """Closes the file; the next tracker loads its events."""
        os.close(self._file)
        self._lock.close()

    def let_go(self) -> None:
        """Closes a forked child's copy: file and lock stay with the parent."""
        os.close(self._file)
        os.close(self._lock.descriptor)


def _lock(path: Path) -> FileLock | None:
    """The lock on the spool at `path`; None while another tracker has it."""
    lock = FileLock(path.with_name(path.name + ".lock"), mode=0o600)
    if lock.take(0):
        return lock
    lock.close()
    return None


def _events(path: Path) -> list[tuple[str, bytes, int]]:
    events, torn = [], 0
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        if not line:
            continue
        try:
            event = msgspec.json.decode(line, type=_Line)
            events.append((event.event_id, line, int(event.timestamp.timestamp() * 1_000_000)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            torn += 1
    if torn:
        logger.warning("spool %s: left out %d lines that are not events", path, torn)
    return events


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
