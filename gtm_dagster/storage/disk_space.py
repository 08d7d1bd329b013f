"""Whether a disk is full: SQLite says no more than "disk I/O error" when the file beside its log cannot grow."""

from __future__ import annotations

import shutil
from pathlib import Path

FULL_BYTES = 1_000_000
"""With less room than this, what cannot be written has met a full disk."""


def full_disk(folder: Path) -> str:
    """What to add to an error about writing in `folder`: "" unless its disk is full."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return ""
    return f"; no space left on its disk ({free:,} bytes free)" if free < FULL_BYTES else ""
