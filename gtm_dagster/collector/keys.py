"""Keys: who may send events, and who may ask for a rollback. Only hashes are kept; a secret is shown once, when its key is
added.

A key has a role: `server` for programs that keep it to themselves, `client` for one that ships in pages and apps and so is
public, `alerting` for a system that may ask for the rollback of a guarded flag and do nothing else. The first two are write
keys; guards and heartbeats believe those of servers.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from gtm_dagster.admission.write_key import NAME_RULE, is_write_key
from gtm_dagster.settings.nearest import known_names
from gtm_dagster.storage.atomic_write import write_whole
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir

KEYS_FILE = "keys.json"
DEV_KEY = "dev"
"""The key of a laptop: valid on a loopback address, for its own programs, as long as there is no other key."""


Role = Literal["server", "client", "alerting"]
ROLES: dict[str, Role] = {"server": "server", "client": "client", "alerting": "alerting"}
ALERTING: Role = "alerting"


class KeyStoreError(ValueError):
    """The key file or a key's name cannot be used; the message names it and the way out."""


class WriteKey(msgspec.Struct, frozen=True):
    """One key: the `name` its events carry as write_key, the secret's SHA-256, and when it was added (RFC 3339).

    `gates_consent`: its sender asks for consent before it sends, so an event without a word of consent is kept.
    `role`: client for a key that ships in pages and apps, alerting for one that sends nothing and may ask for rollbacks; a
    file from before roles holds server keys.
    """

    name: str
    sha256: str
    created_at: str
    gates_consent: bool = False
    role: Role = "server"


_DEV = WriteKey(DEV_KEY, "", "")


class KeyStore:
    """The keys in `keys_dir`/keys.json (mode 0600). A running collector sees additions and revocations at once.

    `allow_dev`: the collector listens on loopback; the key `dev`, which needs no entry, is good as long as there is no other
    write key.
    """

    def __init__(self, keys_dir: Path, *, allow_dev: bool = False) -> None:
        self.path = Path(keys_dir) / KEYS_FILE
        self.allow_dev = allow_dev
        self._seen: tuple[int, int, int] | None = None
        self._by_hash: dict[str, WriteKey] = {}

    def add(self, name: str, *, gates_consent: bool = False, role: str = "server") -> str:
        """Add a key and return its secret, which cannot be shown again.

        Raises KeyStoreError for a name in use, and for a role that there is not.
        """
        if role not in ROLES:
            raise KeyStoreError(
                f"role {role!r} of key {name!r}: a key is {', '.join(list(ROLES)[:-1])} or {list(ROLES)[-1]}"
            )
        if not is_write_key(name):
            raise KeyStoreError(f"key name {name!r}: {NAME_RULE}")
        if name == DEV_KEY:
            raise KeyStoreError(f"key name {name!r} is the built-in key of a laptop; choose another")
        secret = f"gtm_{secrets.token_urlsafe(24)}"
        with self._locked():
            keys = self._read()
            if any(key.name == name for key in keys):
                raise KeyStoreError(f"key {name!r} exists; revoke it first, or choose another name")
            created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._write([*keys, WriteKey(name, _hash(secret), created_at, gates_consent, ROLES[role])])
        return secret

    def list(self) -> tuple[WriteKey, ...]:
        """Every key, oldest first."""
        return tuple(self._read())

    def revoke(self, name: str) -> None:
        """Take a key away. Raises KeyStoreError when there is none of that name."""
        with self._locked():
            keys = self._read()
            kept = [key for key in keys if key.name != name]
            if len(kept) == len(keys):
                raise KeyStoreError(f"there is no key {name!r}; {known_names(name, (key.name for key in keys))}")
            self._write(kept)

    def find(self, secret: str) -> WriteKey | None:
        """The key with this secret, None when no key has it."""
        self._refresh()
        if secret == DEV_KEY:
            return _DEV if self.allow_dev and not write_keys(self._by_hash.values()) else None
        return self._by_hash.get(_hash(secret))

    def name_of(self, secret: str) -> str | None:
        """The name of the key with this secret, None when no key has it."""
        key = self.find(secret)
        return key.name if key else None

    def role_of(self, name: str) -> str:
        """The role of the key of this name. One that is not there, such as `dev`, is server."""
        return (self.named(name) or _DEV).role

    def gates_consent(self, name: str) -> bool:
        """Whether the sender of this key asks for consent before it sends."""
        return (self.named(name) or _DEV).gates_consent

    def named(self, name: str) -> WriteKey | None:
        """The key of this name; None when there is none, and for `dev`, which has no entry."""
        self._refresh()
        return next((key for key in self._by_hash.values() if key.name == name), None)

    def _refresh(self) -> None:
        try:
            stat = self.path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            self._seen, self._by_hash = None, {}
            return
        if seen != self._seen:
            self._by_hash = {key.sha256: key for key in self._read()}
            self._seen = seen

    def _read(self) -> tuple[WriteKey, ...]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=tuple[WriteKey, ...])
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError) as error:
            raise KeyStoreError(
                f"{self.path}: cannot be read ({error}); restore it, or delete it and add the keys again"
            ) from error

    def _write(self, keys: Iterable[WriteKey]) -> None:
        content = msgspec.json.format(msgspec.json.encode(tuple(keys))) + b"\n"
        try:
            write_whole(self.path, content, mode=0o600, alone=True)
        except OSError as error:
            raise KeyStoreError(f"{self.path}: cannot be written ({error}); check the state directory") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            private_dir(self.path.parent)
            lock = FileLock(self.path.with_name(f".{KEYS_FILE}.lock"), mode=0o600)
        except OSError as error:
            raise KeyStoreError(
                f"{self.path.parent}: cannot be written ({error}); check the state directory"
            ) from error
        with lock:
            lock.take()
            yield


def write_keys(keys: Iterable[WriteKey]) -> tuple[WriteKey, ...]:
    """Those that may send events."""
    return tuple(key for key in keys if key.role != ALERTING)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
