"""Sealing: quarantined originals are stored encrypted (AES-256-GCM), for replay alone."""

from __future__ import annotations

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12


class SealError(ValueError):
    """The sealed bytes are damaged, or sealed under another key."""


class Sealer:
    """Seals and opens bytes under a key derived from the deployment's key."""

    def __init__(self, key: bytes) -> None:
        # a key serves one algorithm: encryption has its own, derived from the deployment's
        self._cipher = AESGCM(hmac.digest(key, b"gtm-dagster sealing v1", "sha256"))

    def seal(self, plain: bytes) -> bytes:
        """Version byte, 12 random nonce bytes, ciphertext with tag: 29 bytes longer than `plain`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _VERSION)

    def open(self, sealed: bytes) -> bytes:
        """The original bytes. Raises SealError when they are damaged or sealed under another key."""
        if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE_BYTES + 16:
            raise SealError("not a sealed payload of version 1")
        try:
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], _VERSION)
        except InvalidTag as error:
            raise SealError("sealed under another key, or damaged") from error


class NoSeal:
    """Keeps no original: what `quarantine.days = 0` asks for."""

    def seal(self, _: bytes) -> None:
        """None, the original goes."""
        return


def sealer_for(days: int, key: bytes) -> Sealer | NoSeal:
    """What seals the originals of refused events where `quarantine.days` is `days`."""
    return Sealer(key) if days else NoSeal()
