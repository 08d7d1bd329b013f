"""Which write keys a guard believes: a client key ships in pages and apps, so anybody can send with it."""

from __future__ import annotations

from collections.abc import Collection

CLIENT = "client"


def believes(write_keys: Collection[str], write_key: str, key_role: str | None) -> bool:
    """Whether a record counts, as exposure or conversion: those of server keys do, and those of the keys named.

    `key_role`: the role of the record's key when it was received; only client keys have one.
    """
    return key_role != CLIENT or write_key in write_keys
