"""Which ids of events are stored as sent: those that can say nothing about a person."""

import pytest

from gtm_dagster.privacy.event_ids import is_stored_as_sent, stored_event_id
from gtm_dagster.privacy.pseudonyms import Pseudonymizer

PSEUDONYM = Pseudonymizer(b"k" * 32)
AS_SENT = {
    "UUID": "0190a8a2-7a3e-7b7e-8d4c-2f6a1b9c0d3e", "hex": "9f86d081884c7d65", "ULID": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "KSUID": "0ujtsYcgvSTl8PAuAdqWYSMnLOv", "nanoid": "V1StGXR8_Z5jdHi6B-myT", "a word and a number": "order-4711",
    "short words": "ORD-2026-000123", "one letter": "x", "a known word": "same", "dots and colons": "import.7:2",
}  # fmt: skip
AS_PSEUDONYM = {
    "a name": "ann-schmidt", "a name in camel case": "AnnaMustermann19700101", "a name and a year": "Zbigniew-Kowalski-1970",
    "a phone": "0170-5500226", "a phone with dashes": "555-123-4567", "an IP address": "198.51.100.62", "an IPv6 address": "2001:db8::1",
    "a card": "4111111111111111", "a card in groups": "4111-1111-1111-1111", "a long number": "1234567890123456", "a blank": "a b",
    "a name behind a known word": "order-zbigniew", "letters beyond ASCII": "ünïcode", "a long word": "x" * 128,
}  # fmt: skip


@pytest.mark.parametrize("event_id", AS_SENT.values(), ids=AS_SENT)
def test_plainly_random_ids_and_codes_are_stored_as_sent(event_id: str) -> None:
    assert stored_event_id(event_id, PSEUDONYM) == event_id


@pytest.mark.parametrize("event_id", AS_PSEUDONYM.values(), ids=AS_PSEUDONYM)
def test_every_other_id_is_stored_as_its_pseudonym(event_id: str) -> None:
    stored = stored_event_id(event_id, PSEUDONYM)
    assert stored == PSEUDONYM(event_id)
    assert stored_event_id(stored, PSEUDONYM) == stored


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "1" * 70_000, "aB1" * 30_000, "-" * 70_000, "a-" * 40_000, "a" * 40 + "!"]
)
def test_a_long_id_takes_no_time(text: str) -> None:
    is_stored_as_sent(text)
