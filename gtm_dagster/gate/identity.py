"""Who is being asked about: from what a product knows of a visitor to the one key that decides the variant.

The key is the unit of the rollout. It is handed to the flag provider as targeting key, so the same key gets the same
variant for as long as the split stands, and it is the id under which the exposure is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Visitor:
    """The ids a product has of one visitor; each may be missing.

    `first_party_id` is the product's own cookie or device id, `fingerprint_id` a Fingerprint `visitorId`.
    """

    user_id: str | None = None
    first_party_id: str | None = None
    fingerprint_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """What is assigned and counted: a key, and whether it is an anonymous id (else a user id)."""

    key: str
    anonymous: bool = False


class Identity(Protocol):
    """Turns a visitor into a unit; a bare text is an id of the kind this identity handles. None: not known to it."""

    def unit(self, visitor: str | Visitor) -> Unit | None: ...


class UserIdentity:
    """Buckets by user id. The default; the account id where several people share one account."""

    def unit(self, visitor: str | Visitor) -> Unit | None:
        return _unit(visitor.user_id if isinstance(visitor, Visitor) else visitor, anonymous=False)


class FirstPartyIdentity:
    """Buckets by the product's own first-party id: the same variant before and after sign-in on one device."""

    def unit(self, visitor: str | Visitor) -> Unit | None:
        return _unit(visitor.first_party_id if isinstance(visitor, Visitor) else visitor, anonymous=True)


class FingerprintIdentity:
    """Buckets anonymous visitors by the `visitorId` of Fingerprint (fingerprintjs).

    Fingerprint recognises browsers. It holds no flags, decides no variant and cannot roll anything back; a flag
    provider does that. Its id is a key of lesser quality than a user id: two people with one fingerprint share a
    variant and count as one unit, and one person whose fingerprint changes is assigned anew and counts as two, which
    dilutes the difference between the variants. Reading a fingerprint needs consent in most places: `consented` is
    asked with the id, and without consent there is no unit, the old flow is served and nothing is emitted.
    """

    def __init__(self, consented: Callable[[str], bool]) -> None:
        self._consented = consented

    def unit(self, visitor: str | Visitor) -> Unit | None:
        unit = _unit(visitor.fingerprint_id if isinstance(visitor, Visitor) else visitor, anonymous=True)
        return unit if unit is not None and self._consented(unit.key) else None


class FirstOf:
    """The first of several identities that knows the visitor: `FirstOf(UserIdentity(), FirstPartyIdentity())`.

    A visitor who signs in half-way changes from one key to the other and may change the variant with it.
    """

    def __init__(self, *identities: Identity) -> None:
        if not identities:
            raise ValueError("FirstOf: name at least one identity")
        self._identities = identities

    def unit(self, visitor: str | Visitor) -> Unit | None:
        return next((unit for each in self._identities if (unit := each.unit(visitor)) is not None), None)


def _unit(key: object, *, anonymous: bool) -> Unit | None:
    return Unit(key, anonymous) if isinstance(key, str) and key.strip() else None
