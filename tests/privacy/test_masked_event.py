"""What the quarantine shows of a refused event, case by case, and which texts of undeclared properties land."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gtm_dagster.privacy.masked_event import mask_event
from gtm_dagster.privacy.masking import scrub_properties
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.taxonomy import EventValidator, load_plan
from gtm_dagster.taxonomy.event import shown_name

PLAN = load_plan()
PSEUDONYM = Pseudonymizer(b"k" * 32)
CASES = [
    ("a time stays", {"timestamp": "2026-03-02T10:00:00+01:00"}, {"timestamp": "2026-03-02T10:00:00+01:00"}),
    ("a date of a file stays", {"timestamp": "02.03.2026 10:00"}, {"timestamp": "02.03.2026 10:00"}),
    ("a phone as a time", {"timestamp": "+49 170 5500226"}, {"timestamp": "<string:15>"}),
    ("digits as a time", {"timestamp": "491705500226"}, {"timestamp": "<string:12>"}),
    ("a card as an event", {"event_name": "4111 1111 1193 7093"}, {"event_name": "<masked>"}),
    ("a sentence as an event", {"event_name": "Call Zbigniew now"}, {"event_name": "<masked>"}),
    ("usual words as an event", {"event_name": "Order Completed"}, {"event_name": "Order Completed"}),
    ("a token as an event", {"event_name": "order_done"}, {"event_name": "order_done"}),
    ("a card as a field", {"4111 1111 1193 7093": 1}, {"<masked>": "<integer>"}),
    ("a code as an id", {"event_id": "order-7"}, {"event_id": "order-7"}),
    ("a name as an id", {"event_id": "ann-schmidt"}, {"event_id": PSEUDONYM("ann-schmidt")}),
    ("a phone as an id", {"event_id": "0170-5500226"}, {"event_id": PSEUDONYM("0170-5500226")}),
    ("an address as an id", {"event_id": "ann@example.org"}, {"event_id": "<string:15>"}),
]
PROPERTIES = [
    ("outside allowed", "pricing_viewed", {"billing_period": "week"}, {"billing_period": "<string:4>"}),
    ("allowed", "pricing_viewed", {"billing_period": "year"}, {"billing_period": "year"}),
    ("outside the pattern", "payment_completed", {"currency": "Zbigniew"}, {"currency": "<string:8>"}),
    ("the pattern", "payment_completed", {"currency": "EUR"}, {"currency": "EUR"}),
    ("a number in words of a file", "payment_completed", {"amount": "12,50"}, {"amount": "12,50"}),
    ("a card for a number", "payment_completed", {"amount": "4111111111937093"}, {"amount": "<string:16>"}),
    ("a card as a number", "payment_completed", {"amount": 4111111111937093}, {"amount": "<integer>"}),
    ("a plain text", "page_viewed", {"title": "Pricing"}, {"title": "Pricing"}),
    ("an address in it", "page_viewed", {"title": "from 10.0.0.1"}, {"title": "<string:13>"}),
    ("an encoded mail in it", "page_viewed", {"title": "ann%2540example.org"}, {"title": "<string:19>"}),
    ("a name of words", "page_viewed", {"call Zbigniew": 1}, {"<masked>": "<integer>"}),
    ("a name of digits", "page_viewed", {"0170-5500226": 1}, {"<masked>": "<integer>"}),
]


@pytest.mark.parametrize(("sent", "shown"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_shown_of_a_refused_event(sent: dict[str, Any], shown: dict[str, Any]) -> None:
    assert json.loads(mask_event(PLAN, sent, PSEUDONYM)) == shown


@pytest.mark.parametrize(
    ("name", "sent", "shown"), [case[1:] for case in PROPERTIES], ids=[case[0] for case in PROPERTIES]
)
def test_what_is_shown_of_its_properties(name: str, sent: dict[str, Any], shown: dict[str, Any]) -> None:
    assert json.loads(mask_event(PLAN, {"event_name": name, "properties": sent}))["properties"] == shown


def test_an_id_that_is_no_code_is_masked_where_no_key_is() -> None:
    assert json.loads(mask_event(PLAN, {"event_id": "ann-schmidt"})) == {"event_id": "<string:11>"}
    assert json.loads(mask_event(PLAN, {"event_id": PSEUDONYM("ann-schmidt")})) == {
        "event_id": PSEUDONYM("ann-schmidt")
    }


@pytest.mark.parametrize("name", ["a.b", "$set", "page_view", "v2", "Order Completed", "x:y", "utm-source"])
def test_a_plain_name_is_shown(name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "0170-5500226",
        "4111111111937093",
        "198.51.100.62",
        "ip-8.8.8.8",
        "2001:db8::1",
        "Zbigniew K",
        "a@b.org",
        "x" * 65,
        "",
        "é",
    ],
)
def test_any_other_name_is_masked(name: str) -> None:
    assert shown_name(name) == "<masked>"


def test_a_message_repeats_no_value() -> None:
    event = {"event_id": "e", "event_name": "payment_completed", "timestamp": "2026-03-02T10:00:00Z", "user_id": "u"}
    for properties in (
        {"amount": -4111111111937093, "currency": "EUR"},
        {"amount": 1, "currency": "Zbigniew"},
        {"amount": "Zbigniew"},
    ):
        errors = EventValidator(PLAN).validate(event | {"properties": properties}).errors  # type: ignore[union-attr]
        assert errors and "4111" not in str(errors) and "Zbigniew" not in str(errors)
    negative = EventValidator(PLAN).validate(event | {"properties": {"amount": -5, "currency": "EUR"}})
    assert "-5 is below 0" in negative.errors[0].message  # type: ignore[union-attr]


SENT = {
    "color": "red", "note_to": "ann@example.org", "saying": "Please call Zbigniew", "n": 3, "link": "https://a.example/x?t=1",
    "host": "https://198.51.100.62/x", "price": "1,299.00", "list": "a,b", "userPhone": "x", "app_version": "4.12.0.7", "empty": "",
    "sentence": "请打电话给我我在家里等你", "none": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "landed"),
    [
        ("token", {"color": "red", "n": 3, "link": "https://a.example/x", "price": "1,299.00", "app_version": "4.12.0.7", "empty": "", "none": None}),
        ("drop", {"n": 3, "none": None}),
        ("keep", {"color": "red", "note_to": "[mail]", "saying": "Please call Zbigniew", "n": 3, "link": "https://a.example/x", "host": "https://ip.test/x",
                  "price": "1,299.00", "list": "a,b", "app_version": "4.12.0.7", "empty": "", "sentence": SENT["sentence"], "none": None}),
    ],
)  # fmt: skip
def test_undeclared_texts_land_as_the_setting_says(setting: Any, landed: dict[str, Any]) -> None:
    assert scrub_properties(PLAN.events["page_viewed"], SENT, PSEUDONYM, setting) == landed
