"""Signatures of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): HMAC-SHA-256 over `id.timestamp.body`."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64


class SecretError(ValueError):
    """A signing secret that is none; the message shows nothing of it."""


def signing_keys(text: str | None) -> tuple[bytes, ...]:
    """The keys of secrets such as `whsec_MfKQ9r8G...`, separated by spaces: two while one replaces the other.

    () without a text. Raises SecretError.
    """
    return tuple(_key(secret, place) for place, secret in enumerate((text or "").split(), start=1))


def _key(secret: str, place: int) -> bytes:
    if not secret.startswith(PREFIX):
        raise SecretError(f"secret {place} does not begin with {PREFIX}; make one with `gtm trigger secret`")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError(f"secret {place} is not {PREFIX} and base64; make one with `gtm trigger secret`") from None
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise SecretError(f"secret {place} holds {len(key)} bytes; it has to hold {LEAST_BYTES} to {MOST_BYTES}")
    return key


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: `v1,` and base64 for each key. `timestamp`: whole seconds since 1970, UTC.

    Raises ValueError for an id with a dot, which would make the signed text ambiguous.
    """
    if "." in message_id:
        raise ValueError(f"{message_id!r} has a dot, which no id of a signed message may have")
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp`, and `webhook-signature` where there are keys."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if keys:
        headers["webhook-signature"] = signature(keys, message_id, timestamp, body)
    return headers
