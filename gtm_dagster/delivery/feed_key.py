"""The key of persons' tokens: a variable that deployment and product share, or a 0600 file of this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gtm_dagster.storage.atomic_write import write_once
from gtm_dagster.storage.private_dir import private_dir

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

KEY_FILE = "feed.key"
LEAST_LETTERS = 32


class FeedKeyError(ValueError):
    """The key cannot be used; the message names the variable or the file, and what to do."""


def feed_key(settings: Settings, environ: Mapping[str, str]) -> str:
    """The key: of the variable `feed.key_env`, else of the file, which is made on first use. Raises FeedKeyError."""
    variable = settings.feed.key_env
    if variable:
        return _long_enough(environ.get(variable, ""), f"feed.key_env: the variable {variable}")
    path = settings.keys_dir / KEY_FILE
    try:
        if not path.exists():
            private_dir(path.parent)
            write_once(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise FeedKeyError(f"{path}: readable by others; run chmod 600 on it")
        return _long_enough(path.read_text("ascii").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise FeedKeyError(f"{path}: cannot be read or made ({error})") from error


def _long_enough(key: str, where: str) -> str:
    if len(key) < LEAST_LETTERS:
        raise FeedKeyError(f"{where} has {len(key)} letters; a key has at least {LEAST_LETTERS}, such as openssl rand -hex 32 gives")  # fmt: skip
    return key
