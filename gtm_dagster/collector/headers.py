"""Request headers: one by its name, and the write key that a sender shows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import MutableMapping
from typing import Any

from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.collector.response import Refused

Scope = MutableMapping[str, Any]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of the first header of this lower-case name, None when there is none."""
    return next((value for key, value in scope["headers"] if key.lower() == name), None)


def authorized(scope: Scope, keys: KeyStore) -> str:
    """The name of the sender's write key. Raises Refused 401 without a key that is good here."""
    secret = _secret(scope)
    if not secret:
        raise Refused(401, "no_key", "send a write key as X-Write-Key, as a Bearer token or as the Basic user")
    name = keys.name_of(secret)
    if name is None:
        raise Refused(401, "bad_key", "this write key is not valid here; `gtm keys list` shows those that are")
    return name


def _secret(scope: Scope) -> str | None:
    write_key = header(scope, b"x-write-key")
    if write_key is not None:
        return write_key.decode("latin-1").strip()
    scheme, _, credentials = (header(scope, b"authorization") or b"").strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.decode("latin-1").strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).partition(b":")[0].decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
