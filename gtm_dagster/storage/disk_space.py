"""Whether a disk is full: SQLite says no more than "disk I/O error" when the file beside its log cannot grow."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

FULL_BYTES = 1_000_000
"""With less room than this, what cannot be written has met a full disk."""
_NO_ROOM = sqlite3.SQLITE_IOERR_SHMSIZE
"""The file beside a write-ahead log cannot grow: "disk I/O error" in words."""


def full_disk(folder: Path, error: BaseException | None = None) -> str:
    """What to add to an `error` about writing in `folder`: "" unless its disk is full, or was when the error came.

    Whoever fails may leave room behind; but SQLite's SQLITE_IOERR_SHMSIZE comes of nothing else.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return ""
    if free < FULL_BYTES:
        return f"; no space left on its disk ({free:,} bytes free)"
    cause = getattr(error, "orig", error)  # SQLAlchemy's errors hold the driver's
    return "; its disk had no space left" if getattr(cause, "sqlite_errorcode", None) == _NO_ROOM else ""
