"""Which id of an event may be stored as it was sent, and what stands for the others."""

from __future__ import annotations

import re
from collections.abc import Callable

from gtm_dagster.privacy.landing_text import landable


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = _words(
    """event events order orders payment payments purchase checkout signup login page pageview view viewed click clicked
    session refund refunds invoice invoices import batch test tests same made demo drill canary simulated trial lead
    subscription renewal cart item items product products feature track screen exposure exposed conversion visit server
    client mobile user device started completed other second third first record number line live replay retry sample
    duplicate conflict"""
)
UUID_ALONE = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
"""The form of most ids, for whole columns too."""
_HEX = r"(?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{16,}"
_ULID = r"(?=[0-9]*[A-Z])[0-7][0-9A-HJKMNP-TV-Z]{25}"
_RANDOM = re.compile(rf"(?:{UUID_ALONE[1:-1]}|{_HEX}|{_ULID})\Z")
_URL_SAFE = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])[A-Za-z0-9_-]{20,}={0,2}\Z")
_CLASSES = re.compile(r"[a-z]+|[A-Z]+|[0-9]+")
_CODE = re.compile(r"(?:[A-Za-z]++|[0-9]{1,6}+(?![0-9])|[._:-])++\Z")
_LETTERS = re.compile(r"[A-Za-z]{5,}")


def stored_event_id(event_id: str, pseudonymize: Callable[[str], str]) -> str:
    """The id that is stored: as sent when it is plainly random or a plain code, else its pseudonym.

    Plainly random: UUID, ULID, hex of 16 and more, KSUID and others of 20 and more letters of both cases and digits in
    a mixture that no words have. A plain code: runs of letters of at most four or of known words (order, event, import),
    runs of digits of at most six: `order-4711`. The pseudonym of an id is stored as it is: this is idempotent.
    """
    return event_id if is_stored_as_sent(event_id) else pseudonymize(event_id)


def is_stored_as_sent(event_id: str) -> bool:
    """Whether an id can say nothing about a person."""
    if _RANDOM.match(event_id):
        return True
    if _URL_SAFE.match(event_id) and 3 * len(_CLASSES.findall(event_id)) >= len(event_id) + 3:
        return True
    if not _CODE.match(event_id):
        return False
    return all(word.lower() in _WORDS for word in _LETTERS.findall(event_id)) and landable(event_id) == event_id
