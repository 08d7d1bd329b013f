"""The local kill list: flags that serve the old flow whatever their provider says. A JSON file every gate watches.

`{"format": 1, "flags": {"checkout-v2": {"since": "2026-11-24T12:00:00Z", "reason": "..."}}}` (a file without `format` has
1); written when the provider cannot be reached, by hand or by the rollback run, and honoured by every gate of the machine
within a second.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gtm_dagster.storage.atomic_write import write_whole
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir

logger = logging.getLogger("gtm_dagster.rollout")

FORMAT = 1
CHECK_SECONDS = 0.5
"""A gate looks at the file at most this often."""


class KillListError(Exception):
    """The file cannot be read or written; the message names it and the way out."""


@dataclass(frozen=True)
class Killed:
    """Why a flag is on the list; `since` is RFC 3339 in UTC."""

    since: str
    reason: str


def read(path: Path) -> dict[str, Killed]:
    """The flags on the list, none when there is no file. KillListError when it is not a kill list."""
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise KillListError(
            f"{path}: not a kill list ({error}); until it is repaired or deleted every gate serves the old flow"
        ) from error


def add(path: Path, flag: str, reason: str, at: datetime) -> bool:
    """Put `flag` on the list; False when it was there (its entry stays). Durable when it returns. KillListError."""
    if not flag:
        raise ValueError("flag: an empty name cannot be killed")
    with _locked(path):
        flags = read(path)
        if flag in flags:
            return False
        since = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        _write(path, {**flags, flag: Killed(since, reason)})
        return True


def remove(path: Path, flag: str) -> bool:
    """Take `flag` off the list; False when it was not there. KillListError."""
    with _locked(path):
        flags = read(path)
        if flags.pop(flag, None) is None:
            return False
        _write(path, flags)
        return True


class KillList:
    """The list as a gate sees it: a look at the file at most every CHECK_SECONDS, a read only when it changed.

    A file that is there and cannot be read kills every flag: whoever wrote it wanted something off.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._look_at = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._flags: frozenset[str] | None = frozenset()

    def killed(self, flag: str) -> bool:
        """Whether `flag` must serve the old flow."""
        if self._path is None:
            return False
        now = self._clock()
        if now >= self._look_at:
            self._look(self._path)
            self._look_at = now + CHECK_SECONDS
        flags = self._flags
        return flags is None or flag in flags

    def _look(self, path: Path) -> None:
        try:
            stat = path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._flags = frozenset(read(path))
                self._seen = seen
        except FileNotFoundError:
            self._flags, self._seen = frozenset(), None
        except (OSError, KillListError) as error:
            if self._flags is not None:
                logger.error("%s", error)
            self._flags, self._seen = None, None


def _parse(data: bytes) -> dict[str, Killed]:
    document = json.loads(data)
    flags = document.get("flags") if isinstance(document, dict) else None
    if not isinstance(flags, dict):
        raise ValueError('no object under "flags"')
    if document.get("format", FORMAT) != FORMAT:
        raise ValueError(f"format {document['format']}, written by a newer gtm-dagster; install that version")
    entries = {flag: entry if isinstance(entry, dict) else {} for flag, entry in flags.items()}
    return {flag: Killed(str(entry.get("since", "")), str(entry.get("reason", ""))) for flag, entry in entries.items()}


def _write(path: Path, flags: dict[str, Killed]) -> None:
    entries = {flag: {"since": flags[flag].since, "reason": flags[flag].reason} for flag in sorted(flags)}
    document = {"format": FORMAT, "flags": entries}
    try:
        write_whole(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(), alone=True)
    except OSError as error:
        raise KillListError(f"{path}: cannot be written ({error}); check its directory") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        private_dir(path.parent)
        lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o600)
    except OSError as error:
        raise KillListError(f"{path}: cannot be written ({error}); check its directory") from error
    with lock:
        lock.take()
        yield
