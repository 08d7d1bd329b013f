"""Tokens by which a page of the product reads its user's feed: the product's backend makes one, nobody else can.

`v1.CLAIM.SIGNATURE`: the claim is JSON, [user id, seconds since 1970 at which the token ends], the signature HMAC-SHA-256 of
`v1.CLAIM` under the feed's key; both in base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time

LONGEST_TOKEN = 2_048


def feed_token(key: str, user_id: str, seconds: int = 3600, now: float | None = None) -> str:
    """The token of a user's feed, good for `seconds`."""
    claim = json.dumps([user_id, int(time.time() if now is None else now) + seconds]).encode()
    signed = f"v1.{_text(claim)}"
    return f"{signed}.{_text(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def feed_user(key: str, token: str, now: float | None = None) -> str | None:
    """The user a token was made for; None for one that is over, or that the key did not sign."""
    signed, _, signature = token.rpartition(".")
    if len(token) > LONGEST_TOKEN or not token.isascii() or not signed.startswith("v1."):
        return None
    expected = _text(hmac.digest(key.encode(), signed.encode(), "sha256"))
    if not hmac.compare_digest(expected, signature):
        return None
    try:
        claim = signed.removeprefix("v1.")
        user_id, expires = json.loads(base64.urlsafe_b64decode(claim + "=" * (-len(claim) % 4)))
    except (binascii.Error, ValueError, TypeError):
        return None
    good = isinstance(user_id, str) and isinstance(expires, int) and expires > (time.time() if now is None else now)
    return user_id if good else None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
