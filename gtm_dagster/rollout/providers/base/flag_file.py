"""A file of flags that clients watch: read whole, replaced whole, never seen half-written.

Three facts decide how it is written. The flagd watcher ignores a file whose mtime is not newer than the one it loaded.
Watchers keep serving the last good content when the file is torn or gone. People edit the same file by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gtm_dagster.rollout.providers.base.writer import Conflict, ProviderError
from gtm_dagster.storage.atomic_write import Drafts
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir

LOCK_SECONDS = 2.0
"""How long to wait for another writer."""
TRIES = 5
"""How often to start again when somebody without the lock changed the file in between."""
_STEP_NS = 10_000_000
"""The least step of the mtime over any earlier version: little, so that an edit by hand soon after is newer still; where
the file system keeps whole seconds only, two seconds."""

Document = dict[str, Any]


class _Yaml12(yaml.SafeLoader):
    """Reads the words on, off, yes and no as text, as the Go readers of flag files do: they name variations."""


_Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


@dataclass(frozen=True)
class Snapshot:
    """The file at one moment. `digest` is of its bytes; `stale`: clients that loaded a later version ignore this one."""

    document: Document
    digest: str
    mtime_ns: int
    stale: bool


class FlagFile:
    """The file at `path`; JSON, or YAML by its suffix (a rewrite drops YAML comments)."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def read(self) -> Snapshot:
        """The file now; ProviderError when it is absent, unreadable or torn (clients then keep what they loaded last)."""
        target = self._target()
        try:
            with target.open("rb") as handle:
                content = handle.read()
                mtime_ns = os.fstat(handle.fileno()).st_mtime_ns
        except FileNotFoundError as error:
            raise ProviderError(
                f"flag file {self.path}: there is none; clients keep what they loaded last. Restore it, or make a flag in "
                "it: `gtm flag create FLAG` (docs/providers.md)"
            ) from error
        except OSError as error:
            raise ProviderError(f"flag file {self.path}: cannot be read ({error.strerror})") from error
        return Snapshot(self._parse(content), _digest(content), mtime_ns, mtime_ns < self._mark())

    def rewrite(self, change: Callable[[Snapshot], Document | None], *, create: Document | None = None) -> bool:
        """Replaces the file by what `change` returns; False when it returns None, and nothing is written.

        Under the lock, again from the start when somebody without it wrote in between; Conflict after five times.
        `create` is the document to start from when there is no file.
        """
        with self._locked():
            for _ in range(TRIES):
                snapshot = self._read_or(create)
                document = change(snapshot)
                if document is None:
                    return False
                if self._replace(document, snapshot):
                    return True
        raise Conflict(
            f"flag file {self.path}: changed {TRIES} times while it was being written; try again", retry=True
        )

    def unwritable(self) -> list[str]:
        """Why this process could not replace the file; [] when it can."""
        target = self._target()
        return [
            f"flag file {self.path}: this user may not write {path}; give write permission on it"
            for path in (target.parent, target)
            if not os.access(path, os.W_OK)
        ]

    def _read_or(self, create: Document | None) -> Snapshot:
        if create is not None and not self._target().exists():
            return Snapshot(json.loads(json.dumps(create)), "", 0, False)
        return self.read()

    def _parse(self, content: bytes) -> Document:
        is_yaml = self.path.suffix in (".yaml", ".yml")
        try:
            document = yaml.load(content, Loader=_Yaml12) if is_yaml else json.loads(content)  # noqa: S506 - a SafeLoader
        except (ValueError, yaml.YAMLError) as error:
            where = " ".join(str(error).split())[:200]
            raise ProviderError(
                f"flag file {self.path}: torn or invalid ({where}); clients keep what they loaded last. Restore it from "
                "version control or correct it by hand"
            ) from error
        if not isinstance(document, dict):
            raise ProviderError(f"flag file {self.path}: {type(document).__name__} at the top; it must be an object")
        return document

    def _replace(self, document: Document, snapshot: Snapshot) -> bool:
        """Writes beside the file and renames over it; False when the file is no longer as `snapshot`."""
        target = self._target()
        if target.suffix in (".yaml", ".yml"):
            content = yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
        else:
            content = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
        before_ns = max(snapshot.mtime_ns, self._mark())
        try:
            with Drafts(alone=True) as drafts:
                with drafts.of(target).open("wb") as handle:
                    handle.write(content)
                    handle.flush()
                    self._like_before(handle.fileno(), target)
                    mtime_ns = _make_newer(handle.fileno(), before_ns)
                if self._digest_now() != snapshot.digest:
                    return False
                self._mark_path().write_text(f"{mtime_ns}\n")
                drafts.rename()
        except OSError as error:
            raise ProviderError(
                f"flag file {self.path}: cannot be written ({error.strerror}); give this user write permission on the "
                "file and its folder, and room on the disk",
                retry=True,
            ) from error
        return True

    def _like_before(self, descriptor: int, target: Path) -> None:
        """Mode and owner of the file that is replaced, so that whoever reads it now still can."""
        with suppress(FileNotFoundError):
            before = target.stat()
            os.fchmod(descriptor, before.st_mode & 0o7777)
            with suppress(PermissionError):
                os.fchown(descriptor, before.st_uid, before.st_gid)

    def _digest_now(self) -> str:
        try:
            return _digest(self._target().read_bytes())
        except FileNotFoundError:
            return ""

    def _target(self) -> Path:
        """The file behind a symbolic link: renaming over the link would cut it."""
        return self.path.resolve()

    def _mark_path(self) -> Path:
        target = self._target()
        return target.with_name(f".{target.name}.lock")

    def _mark(self) -> int:
        """The newest mtime ever written here; 0 when none was."""
        try:
            return int(self._mark_path().read_text())
        except (OSError, ValueError):
            return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A kernel lock that ends with its process, on a file beside this one that also keeps the newest mtime."""
        path = self._mark_path()
        try:
            private_dir(path.parent)
            lock = FileLock(path)
        except OSError as error:
            raise ProviderError(
                f"flag file {self.path}: no lock file can be created beside it ({error.strerror}); give this user write "
                "permission on the folder"
            ) from error
        with lock:
            if not lock.take(LOCK_SECONDS):
                raise ProviderError(
                    f"flag file {self.path}: another process has been writing it for {LOCK_SECONDS:g} s", retry=True
                )
            yield


def _make_newer(descriptor: int, before_ns: int) -> int:
    """Sets a modification time after `before_ns`; returns what the file system kept of it."""
    kept = 0
    for wanted in (max(time.time_ns(), before_ns + _STEP_NS), before_ns + 200 * _STEP_NS):
        os.utime(descriptor, ns=(wanted, wanted))
        kept = os.fstat(descriptor).st_mtime_ns
        if kept > before_ns:
            break
    return kept


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
