"""What is found in a text that lands, and what stays although it looks like it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.privacy.landing_text import landable

FOUND = {
    "[mail]": [
        "ann@example.org", "ann%40example.org", "ann%2540example.org", "ann%25252540example.org", "%61nn%40example%2Eorg",
        '"ann person"@example.org', "ann@[10.0.0.1]", "ann＠example.org", "ann\u200b@example.org", "mailto:ann@example.org", "ann@example。org",
    ],
    "[ip]": [
        "198.51.100.62", "10.0.0.1", "2001:db8::1", "::ffff:198.51.100.7", "fe80::1", "2001:db8:0:0:0:0:0:1", "00:1a:2b:3c:4d:5e",
    ],
    "[phone]": [
        "+49 170 5500226", "+491705500226", "+49 (0)170 5500226", "+49-170-5500226", "+49.170.5500226", "0049 170 5500226",
        "00491705500226", "0170-5500226", "0170 5500226", "0170/5500226", "(0170) 5500226", "030 12345678", "01705500226",
        "06 12 34 56 78", "0612345678", "020 7946 0958", "07700 900123", "079 123 45 67", "(555) 123-4567", "555-123-4567",
        "1-555-123-4567", "555.123.4567", "+1 (555) 123-4567", "%2B49%20170%205500226", "49 170 5500226", "+49+170+5500226",
        "(11) 91234-5678", "٠١٧٠-٥٥٠٠٢٢٦", "555‑123‑4567",
    ],
    "[card]": [
        "4111 1111 1193 7093", "4111-1111-1111-1111", "4111111111111111", "378282246310005", "3782 822463 10005",
        "5500005555555559", "4111.1111.1111.1111", "4111_1111_1111_1111", "6304000000000000",
        "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "FR1420041010050500013M02606", "GB29 NWBK 6016 1331 9268 19",
    ],
}  # fmt: skip
INSIDE = [
    ("from 10.0.0.1.", "from [ip]."),
    ("ip_198.51.100.62:8080", "ip_[ip]:8080"),
    ("[2001:db8::1]:443", "[[ip]]:443"),
    ("order 4711 0170-5500226", "order 4711 [phone]"),
    ("user+491705500226x", "user[phone]x"),
    ("22 4111 1111 1111 1111", "22 [card]"),
    ("card4111111111111111", "card[card]"),
    ("550e8400-e29b-41d4-a716-446655440000 (555) 123-4567", "550e8400-e29b-41d4-a716-446655440000 [phone]"),
    ("2026-11-28 0170-5500226", "2026-11-28 [phone]"),
    ("IBAN:DE89 3704 0044 0532 0130 00, DE88370400440532013000", "IBAN:[card], DE88370400440532013000"),
]
STAYS = {
    "a campaign with a year": "2026-11-spring", "a compact date": "sale_20261128", "a SKU": "4711-0815", "a SKU with a 0": "sku 0815-4711",
    "a time": "2026-03-02T10:00:00Z", "a time with an offset": "2026-03-02 10:00:00.123456+01:00", "a compact time": "20261128103000",
    "a UUID": "550e8400-e29b-41d4-a716-446655440000", "a UUID of digits": "00000000-0000-4000-8000-000000000001",
    "a gclid": "gclid=EAIaIQobChMI0170550022", "a campaign number of 18": "120210123456789012", "one of 17": "23851234567890123",
    "milliseconds": "1764300000000", "microseconds": "1764300000000000", "a GA client id": "1234567890.1732790000",
    "a GA cookie": "GA1.2.1234567890.1732790000", "an fbp cookie": "fb.1.1732790000123.1234567890", "an order": "ORD-2026-000123",
    "an order number": "100045871", "a padded order number": "0000123456", "one padded by one 0": "0100004711", "a version": "4.12.0",
    "a version with a v": "v4.12.0.7", "a clock": "10:20:30", "colons": "de:at:ch", "a scope": "a::b", "an amount": "12,345,678.90",
    "a German amount": "1.234.567,89", "a spaced amount": "1 234 567 890", "a decimal": "3.14159265358979", "an ISBN-10": "0306406152",
    "an ISBN-13": "978-3-16-148410-0", "an EAN": "4006381333931", "percent": "50% off", "an encoded blank": "spring%20sale",
    "no encoding": "%zz", "a screen": "1920x1080", "a German date": "28.11.2026 10:30", "a US date": "11/28/2026",
    "dates": "10.10.2026-20.10.2026", "a range of days": "2026-11-28_2026-12-24", "a path of a day": "/2026/11/28/123456",
    "GMT": "Etc/GMT+10", "no octets": "300.1.2.3", "a hash": "deadbeefcafe0123456789abcdef0123", "a sum with a date": "sale+20261128",
    "a price": "$1,299.00", "16 digits of no issuer": "1234567812345670", "a bare number": "491705500226", "an @": "@acme",
}  # fmt: skip
HOSTILE = [
    "a", "1", "1 ", "0170-", "4111 ", "@", "a@", "a@b.", ":", "1:", "1.", "+", "+4", "(", "(01) ", "%25", "%2540", "%", '"', "00 1", "1.1.1.1 ",
    "2001:db8::1 ", "0170-5500226 ", "é", "４", "%2", "41 ", "2026-11-28 ", "4111 1111 1111 1111 ", '"@', "::", "(20", "0 0",
]  # fmt: skip


@pytest.mark.parametrize(("mask", "text"), [(mask, text) for mask, texts in FOUND.items() for text in texts])
def test_what_is_personal_becomes_its_placeholder_alone_and_in_words(mask: str, text: str) -> None:
    assert landable(text) == mask
    assert landable(f"see {text} now") == f"see {mask} now"


@pytest.mark.parametrize(("text", "landed"), INSIDE)
def test_what_is_personal_goes_from_inside_a_text(text: str, landed: str) -> None:
    assert landable(text) == landed


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_what_only_looks_personal_is_the_very_text(text: str) -> None:
    assert landable(text) is text


def test_a_version_stays_where_it_is_one() -> None:
    assert landable("4.12.0.7", is_version=True) == "4.12.0.7"
    assert landable("4.12.0.7") == "[ip]"


def test_a_text_that_never_ends_to_be_encoded_says_nothing() -> None:
    text = "@"
    for _ in range(40):
        text = "".join(f"%{ord(char):02X}" if char != "%" else "%%32%35" for char in text)[:2000]
    assert "@" not in landable(text)


@given(st.text(st.sampled_from("0123456789 +-./()@:%aAb4"), max_size=60))
def test_it_is_never_longer_and_lands_the_same_again(text: str) -> None:
    landed = landable(text)
    assert len(landed) <= max(len(text), 9)
    assert "\0" not in landed or "\0" in text


@pytest.mark.parametrize("piece", HOSTILE)
def test_its_time_is_linear_up_to_64_kb(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        times = []
        for _ in range(2):
            started = time.process_time()
            landable(text)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(65_536) < 16 * seconds(8_192) + 0.05
    assert seconds(65_536) < 1
