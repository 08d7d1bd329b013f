"""What lands of an event (scrub) and what a reader of the quarantine sees (mask_event)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.privacy.masked_event import mask_event
from gtm_dagster.privacy.masking import clean_url, scrub
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.taxonomy import Event, load_plan

PLAN = load_plan()
PSEUDONYM = Pseudonymizer(b"k" * 32)
MAIL = "ann@example.org"


def event(name="page_viewed", **fields):
    return Event(event_id="e", event_name=name, event_us=0, user_id="u", **fields)


def test_nothing_personal_is_the_same_object():
    clean = event(properties={"path": "/a", "n": 1}, source="google", page_url="https://x.org/a")
    assert scrub(clean, PLAN, PSEUDONYM) is clean


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        pytest.param("signup_completed", {"email": MAIL, "plan": "pro"}, {"email": PSEUDONYM(MAIL), "plan": "pro"}, id="personal"),
        pytest.param("demo_requested", {"message": "call me", "plan": "x"}, {"plan": "x"}, id="free text"),
        pytest.param("signup_completed", {"plan": f"for {MAIL}"}, {"plan": "for [mail]"}, id="address inside a plain text"),
        pytest.param("signup_completed", {"account_id": "undefined", "company": " N/A ", "plan": "pro"}, {"plan": "pro"}, id="personal, but a word for nothing"),
        pytest.param("page_viewed", {"email": "x", "first_name": "Ann", "user_ip": "x", "n": 1}, {"n": 1}, id="undeclared personal name"),
        pytest.param("page_viewed", {"a": "from 10.0.0.1", "b": "2001:db8:0:0:0:0:0:1"}, {}, id="undeclared IP address"),
        pytest.param("page_viewed", {"a": f"mail {MAIL} now", "b": MAIL}, {}, id="address in an undeclared text"),
        pytest.param("page_viewed", {MAIL: 1}, {}, id="address as a name"),
        pytest.param("page_viewed", {"a": "https://u:p@x.org/a?token=1#b"}, {"a": "https://x.org/a"}, id="URL in a property"),
        pytest.param("page_viewed", {"a": None, "zip": "8001", "version": "1.2.3"}, {"a": None, "zip": "8001", "version": "1.2.3"}, id="kept"),
    ],
)  # fmt: skip
def test_scrubbed_properties(name, before, after):
    assert scrub(event(name, properties=before), PLAN, PSEUDONYM).properties == after


def test_personal_property_is_dropped_without_a_key():
    assert scrub(event("signup_completed", properties={"email": MAIL}), PLAN).properties == {}


def test_context_loses_addresses_and_queries():
    found = scrub(event(term=MAIL, campaign=f"x-{MAIL}", referrer="https://a.org/b?q=me"), PLAN, PSEUDONYM)
    assert (found.term, found.campaign, found.referrer) == ("[mail]", "[mail]", "https://a.org/b")


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://shop.org/a/b?utm_source=x#top", "https://shop.org/a/b"),
        ("https://ann:secret@shop.org:8443/a", "https://shop.org:8443/a"),
        ("https://shop.org/u/ann@example.org/x", "https://shop.org/u/[mail]/x"),
        ("https://shop.org/u/ann%40example.org", "https://shop.org/u/[mail]"),
        ("shop.org/a?b", "shop.org/a"),
        ("?q=1", None),
        ("https://[broken/a", None),
        ("android-app://com.slack/", "android-app://com.slack/"),
        ("https://198.51.100.62/", "https://ip.test/"),
        ("https://ann@198.51.100.62:8443/a?b", "https://ip.test:8443/a"),
        ("http://3325256766/a", "http://ip.test/a"),
        ("http://[2001:db8::1]/a", "http://ip.test/a"),
        ("http://10.1.2.3/a", "http://ip.test/a"),
        ("http://127.0.0.1:8000/a", "http://127.0.0.1:8000/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("https://198.51.100.62.nip.example/", "https://ip.test/"),
        ("https://a%40example.org.b.example/", "https://no.test/"),
        ("https://shop.org/%2540/ann%252540example.org%3Fx%23y", "https://shop.org/@/[mail]%3Fx%23y"),
        ("https://shop.org/caf%C3%A9", "https://shop.org/caf%C3%A9"),
        ("https://shop.org/2026/11/28/news-100045871", "https://shop.org/2026/11/28/news-100045871"),
        ("https://shop.org/tel%3A%2B49%20170%205500226", "https://shop.org/tel:[phone]"),
        ("https://shop.org/card/4111111111111111", "https://shop.org/card/[card]"),
        ("https://shop.org/from%20ann%40example.org%00", "https://shop.org/from%20[mail]"),
    ],
)
def test_clean_url(url, clean):
    assert clean_url(url) == clean


def test_mask_shows_declared_plain_values_and_hides_the_rest():
    raw = {
        "event_id": "e1", "event_name": "signup_completed", "timestamp": "2026-01-01T00:00:00Z", "user_id": "u-secret",
        "properties": {"plan": "pro", "email": MAIL, "team_size": "12", "note": "secret", "invited": "yes"},
        "context": {"source": "google", "ip": "10.0.0.1", "page_url": "https://x.org/?t=secret", "device_type": "tv"},
    }  # fmt: skip
    shown = json.loads(mask_event(PLAN, json.dumps(raw).encode()))
    assert shown["properties"] == {
        "plan": "pro", "email": "<string:15>", "team_size": "12", "note": "<string:6>", "invited": "<string:3>",
    }  # fmt: skip
    assert shown["context"] == {
        "source": "google",
        "ip": "<string:8>",
        "page_url": "<string:23>",
        "device_type": "<string:2>",
    }
    assert (shown["event_id"], shown["timestamp"], shown["user_id"]) == ("e1", raw["timestamp"], "<string:8>")


CANARY = "canary.person@example.org"
PLACES = st.sampled_from(["event_id", "event_name", "timestamp", "user_id", "session_id", CANARY, "x"])


@given(
    st.dictionaries(PLACES, st.sampled_from([CANARY, {CANARY: CANARY}, [CANARY], 1])),
    st.sampled_from([*PLAN.events, CANARY]),
)
def test_mask_never_repeats_an_address_wherever_it_is_put(fields, name):
    inner = {
        "event_name": name,
        "properties": {CANARY: CANARY, "plan": CANARY, "path": f"/a/{CANARY}", "amount": CANARY},
    }
    raw = {
        **inner,
        "context": {"source": CANARY, "referrer": CANARY, CANARY: CANARY, "consent": {CANARY: CANARY}},
        **fields,
    }
    assert "canary" not in mask_event(PLAN, raw) and "canary" not in mask_event(PLAN, json.dumps(raw))


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[1]", b"[" * 1000, '"text"', {"event_id": "\ud800"}, b'{"properties": 1, "context": []}']
)
def test_mask_of_anything_is_json(raw):
    assert isinstance(json.loads(mask_event(PLAN, raw)), dict)
