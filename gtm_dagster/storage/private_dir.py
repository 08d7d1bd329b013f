"""Folders below the state directory: whoever makes one keeps it to its owner, and with it every file and lock inside.

Light: programs that embed the tracker or the gate import it.
"""

from __future__ import annotations

from errno import ENOTDIR
from pathlib import Path


def private_dir(path: Path) -> Path:
    """`path` as a folder; it and every parent that is missing are made with 0700.

    A folder that is there keeps its mode: a user may share a state directory with a group. Raises OSError when one cannot
    be made, NotADirectoryError or FileExistsError when something else has its name.
    """
    missing = []
    folder = path
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not path.is_dir():
        raise NotADirectoryError(ENOTDIR, "is not a folder", str(path))
    return path
