"""Pseudonyms: one keyed function for SDK, collector, import, guard and erasure, and the file of its key."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from gtm_dagster.storage.atomic_write import write_once
from gtm_dagster.storage.private_dir import private_dir

KEY_FILE = "pseudonym.key"
KEY_BYTES = 32
MIN_SETTING = 16
SENT_PSEUDONYM = "pseudonym:"
"""Begins an identifier that its sender made a pseudonym of, by this function and key: `pseudonym:` and 32 hex characters."""
_BLOCK = 64
"""Bytes of a block of SHA-256."""
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_LOOKED_AT = 20
"""Files of the landing folder."""
_is_pseudonym = re.compile(r"[0-9a-f]{32}\Z").match
_of_sender = re.compile(rf"{SENT_PSEUDONYM}([0-9a-f]{{32}})\Z").match


class PseudonymKeyError(ValueError):
    """The pseudonym key cannot be used; the message says which file or setting and what to do."""


class Pseudonymizer:
    """The pseudonym of a value: the first 32 hex characters of HMAC-SHA-256 under the deployment's key.

    One that comes as a pseudonym (`SENT_PSEUDONYM`) is that pseudonym, so that a person has one whoever made it.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_SETTING:
            raise PseudonymKeyError(f"the pseudonym key has {len(key)} bytes; it needs at least {MIN_SETTING}")
        self._key = key
        # RFC 2104, with the key's two blocks digested once: 2 microseconds a value, where hmac.digest takes 5.
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER)).copy
        self._outer = hashlib.sha256(block.translate(_OUTER)).copy

    def __call__(self, value: str) -> str:
        """The pseudonym of `value`, 32 lower-case hex characters."""
        if value[:10] == SENT_PSEUDONYM and (found := _of_sender(value)):
            return found[1]
        inner, outer = self._inner(), self._outer()
        inner.update(value.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.hexdigest()[:32]

    def __reduce__(self) -> tuple[type[Pseudonymizer], tuple[bytes]]:
        return Pseudonymizer, (self._key,)  # digests cannot be pickled

    def many(self, values: Iterable[str | None]) -> list[str | None]:
        """Pseudonyms in order, None for None; each distinct value is computed once."""
        known: dict[str | None, str | None] = {None: None}
        result: list[str | None] = []
        for value in values:
            pseudonym = known.get(value)
            if pseudonym is None and value is not None:
                pseudonym = known[value] = self(value)
            result.append(pseudonym)
        return result


def load_or_create_key(keys_dir: Path, setting: str | None = None) -> bytes:
    """The deployment's key: `setting` when given, else that of the 0600 file in `keys_dir`, created on first use.

    Processes that start at the same time get the same key. Raises PseudonymKeyError.
    """
    key = existing_key(keys_dir, setting)
    if key is None:
        _create(keys_dir / KEY_FILE)
        key = _read(keys_dir / KEY_FILE)
    return key


def existing_key(keys_dir: Path, setting: str | None = None) -> bytes | None:
    """As `load_or_create_key`; None where none was made yet. Raises PseudonymKeyError, also for a key that is gone."""
    if setting:
        key = setting.encode()
        if len(key) < MIN_SETTING:
            raise PseudonymKeyError(f"the pseudonym key setting has {len(key)} bytes; it needs at least {MIN_SETTING}")
        return key
    path = keys_dir / KEY_FILE
    if path.exists():
        return _read(path)
    # Under another key every person would begin anew, without a word. Looked at again: another process may just have begun.
    if _pseudonyms_landed(keys_dir.parent / "landing") and not path.exists():
        raise PseudonymKeyError(
            f"{path}: is missing, and events have landed under it; restore it from a backup, or set the "
            "privacy.pseudonym_key they landed under. Where the key is lost, write 64 hex characters into the file: "
            "persons known so far are then strangers"
        )
    return None


def _pseudonyms_landed(folder: Path) -> bool:
    """Whether events with a pseudonym are in the landing folder: in the first rows of its newest files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob("*.parquet"), reverse=True)[:_LOOKED_AT]:
        try:
            with pq.ParquetFile(path) as file:
                names = [name for name in ("user_id", "anonymous_id") if name in file.schema_arrow.names]
                rows = next(file.iter_batches(1000, columns=names), None) if names else None
        except (OSError, pa.ArrowException):
            continue
        for column in rows.columns if rows is not None else ():
            if any(value is not None and _is_pseudonym(str(value)) for value in column.to_pylist()):
                return True
    return False


def _create(path: Path) -> None:
    private_dir(path.parent)
    try:
        # Of processes that start at once one is first; its key stays.
        write_once(path, f"{secrets.token_hex(KEY_BYTES)}\n".encode(), mode=0o600)
    except OSError as error:
        raise PseudonymKeyError(f"{path}: cannot be created ({error}); check the state directory") from error


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PseudonymKeyError(f"{path}: cannot be read ({error})") from error
    if os.name == "posix" and mode & 0o077:
        raise PseudonymKeyError(f"{path}: readable by others (mode {mode:o}); run chmod 600 on it")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise PseudonymKeyError(f"{path}: not a key of {2 * KEY_BYTES} hex characters; restore it from a backup")
    return key
