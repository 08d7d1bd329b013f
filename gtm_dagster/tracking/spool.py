"""A file of the events that wait: one JSON line each, written before the event is queued.

It outlives a crash of the process, not of the machine (no fsync). An event can come back after it was sent;
the collector knows its id and counts it as a duplicate.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

import msgspec

logger = logging.getLogger("gtm_dagster.tracking")

COMPACT_AFTER = 1000
"""Settled events after which the file is rewritten although others still wait."""


class Spool:
    """Owned by one tracker, locked against other processes; its callers hold the tracker's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._settled = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ValueError(f"spool {path} is in use by another tracker; give every process its own file") from None
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def load(self) -> list[tuple[str, bytes]]:
        """(event id, line) of what an earlier process left; a line cut off by its crash is left out."""
        held, torn = [], 0
        for line in self._path.read_bytes().split(b"\n"):
            if not line:
                continue
            try:
                held.append((str(msgspec.json.decode(line)["event_id"]), line))
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
                torn += 1
        if torn:
            logger.warning("spool %s: left out %d lines that are no events", self._path, torn)
        self._rewrite([line for _, line in held])
        return held

    def append(self, line: bytes) -> None:
        """Keeps one event; OSError when the disk does not take it."""
        _write(self._file, line + b"\n")

    def settled(self, events: int, rest: list[bytes] | None) -> None:
        """`events` are done; `rest` is all that still waits, None while more is under way."""
        self._settled += events
        if rest is None:
            return
        if not rest:
            os.ftruncate(self._file, 0)
            self._settled = 0
        elif self._settled >= COMPACT_AFTER:
            self._rewrite(rest)

    def close(self) -> None:
        """Lets go of the file; what it holds is loaded by the next tracker."""
        os.close(self._file)
        os.close(self._lock)

    abandon = close

    def _rewrite(self, lines: list[bytes]) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        _write(file, b"".join(line + b"\n" for line in lines))
        fresh.replace(self._path)
        os.close(self._file)
        self._file = file
        self._settled = 0


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
