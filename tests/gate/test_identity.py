"""Which id decides the variant: visitors in, units out."""

from __future__ import annotations

import pytest

from gtm_dagster.gate.identity import (
    FingerprintIdentity,
    FirstOf,
    FirstPartyIdentity,
    Identity,
    Unit,
    UserIdentity,
    Visitor,
)

USER, FIRST = UserIdentity(), FirstPartyIdentity()
PRINT, REFUSED = FingerprintIdentity(lambda key: True), FingerprintIdentity(lambda key: False)
ALL = Visitor(user_id="u1", first_party_id="c1", fingerprint_id="f1")

CASES = [
    ("a bare text is a user id", USER, "u1", Unit("u1")),
    ("the user of a visitor", USER, ALL, Unit("u1")),
    ("not signed in", USER, Visitor(first_party_id="c1"), None),
    ("an empty id is nobody", USER, "", None),
    ("a blank id is nobody", USER, "  ", None),
    ("a bare text is a first-party id", FIRST, "c1", Unit("c1", anonymous=True)),
    ("the device, though signed in", FIRST, ALL, Unit("c1", anonymous=True)),
    ("a fingerprint is a key of an anonymous visitor", PRINT, ALL, Unit("f1", anonymous=True)),
    ("no consent, no key", REFUSED, ALL, None),
    ("no fingerprint, no question for consent", REFUSED, Visitor(), None),
    ("the first that knows: the user", FirstOf(USER, FIRST), ALL, Unit("u1")),
    ("the first that knows: the device", FirstOf(USER, FIRST), Visitor(first_party_id="c1"), Unit("c1", True)),
    ("nobody knows", FirstOf(USER, REFUSED), Visitor(fingerprint_id="f1"), None),
]


@pytest.mark.parametrize(("identity", "visitor", "unit"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_unit(identity: Identity, visitor: str | Visitor, unit: Unit | None) -> None:
    assert identity.unit(visitor) == unit


def test_an_empty_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        FirstOf()
