"""Files that are whole or absent: written under a temporary name, made durable, renamed.

Light: programs that embed the tracker or the gate import it.
"""

from __future__ import annotations

import os
import secrets
from glob import escape
from pathlib import Path


class Drafts:
    """Files under temporary names beside their own: `rename` makes them durable and puts them in place, else they go away.

    A draft is `.NAME.PID.TOKEN.part`, so that whoever cleans up after a killed writer finds it; `alone` says that the
    caller keeps other writers away, then what killed ones left of the same file is removed here. `durable=False` leaves
    out fsync: the files then outlive a crash of the process, not of the machine.
    """

    def __init__(self, *, durable: bool = True, alone: bool = False) -> None:
        self._durable = durable
        self._alone = alone
        self._drafts: dict[Path, Path] = {}

    def __enter__(self) -> Drafts:
        return self

    def __exit__(self, *_: object) -> None:
        for draft in self._drafts.values():
            draft.unlink(missing_ok=True)

    def of(self, path: Path) -> Path:
        """The temporary name of `path`."""
        if path not in self._drafts:
            if self._alone:
                for left in path.parent.glob(f".{escape(path.name)}.*.part"):
                    left.unlink(missing_ok=True)
            self._drafts[path] = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
        return self._drafts[path]

    def rename(self) -> None:
        """Put every draft so far in place; durable, its folder's entry too."""
        self._sync()
        for path, draft in self._drafts.items():
            draft.replace(path)
        self._sync_folders()
        self._drafts = {}

    def link(self) -> list[Path]:
        """Put every draft in place whose own name is free; returns those that were taken and stay as they are."""
        self._sync()
        taken = []
        for path, draft in self._drafts.items():
            try:
                os.link(draft, path)
            except FileExistsError:
                taken.append(path)
        self._sync_folders()
        return taken

    def _sync(self) -> None:
        if self._durable:
            for draft in self._drafts.values():
                fsync(draft)

    def _sync_folders(self) -> None:
        if self._durable:
            for folder in {path.parent for path in self._drafts}:
                fsync(folder)


def write_whole(path: Path, content: bytes, *, mode: int = 0o666, durable: bool = True, alone: bool = False) -> None:
    """Make `content` all that `path` holds; a reader sees the old file or the new one. OSError leaves the old one.

    `durable` and `alone` as in Drafts.
    """
    with Drafts(durable=durable, alone=alone) as drafts:
        _write(drafts.of(path), content, mode)
        drafts.rename()


def write_once(path: Path, content: bytes, *, mode: int = 0o666, durable: bool = True) -> bool:
    """Make the file unless there is one; False when another was first, whose content stays. `durable` as in Drafts."""
    with Drafts(durable=durable) as drafts:
        _write(drafts.of(path), content, mode)
        return not drafts.link()


def fsync(path: Path) -> None:
    """Make the content of a file, or the entries of a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
