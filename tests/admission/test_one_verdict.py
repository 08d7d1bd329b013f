"""Law 12: an event has one verdict, one set of reasons and one record, alone or in a batch, whoever brings it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.admission.batch import Judge as BatchJudge
from gtm_dagster.admission.record import LANDING_COLUMNS
from gtm_dagster.admission.single_event import Judge
from gtm_dagster.channels.click_ids import CLICK_IDS
from gtm_dagster.importing.file_rows import Rows
from gtm_dagster.importing.native_lines import judge_part, native_part
from gtm_dagster.importing.ndjson import LineIds
from gtm_dagster.importing.shaping import Shaper
from gtm_dagster.privacy.consent import OFF, ConsentPolicy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.touch import CLICK_ID_NAMES

PLAN = load_plan()
KEY = b"k" * 32
NOW = 1_772_445_600_000_000
OWN = {"origin", "row_no", "sealed", "rules"}
POLICY = ConsentPolicy({"default": "required", "US": "opt_out", "FR": "off"})


def batch_judge(policy: ConsentPolicy) -> BatchJudge:
    return BatchJudge(PLAN, Pseudonymizer(KEY), Sealer(KEY), "w", policy)


def compared(rows: list[dict]) -> list[str]:
    """The rows without what a door adds of its own, in an order that does not depend on it."""
    return sorted(json.dumps({k: v for k, v in row.items() if k not in OWN}, sort_keys=True) for row in rows)


def as_ndjson(events: list[dict], policy: ConsentPolicy) -> list[dict]:
    lines = [(number, json.dumps(event).encode()) for number, event in enumerate(events, 1)]
    return judge_part(native_part(lines, LineIds("w"), NOW), batch_judge(policy), NOW).to_pylist()


def as_table(events: list[dict], policy: ConsentPolicy) -> list[dict]:
    columns: dict[str, list] = {}
    flat = []
    for event in events:
        row = {k: v for k, v in event.items() if k not in ("context", "properties")}
        context = dict(event.get("context") or {})
        if "consent" in context:
            context["consent"] = json.dumps(context["consent"])
        if "properties" in event:
            row["properties"] = json.dumps(event["properties"])
        flat.append(row | context)
    needed = ("event_id", "event_name", "timestamp", "user_id", "anonymous_id")
    for name in dict.fromkeys((*needed, *itertools.chain.from_iterable(flat))):
        columns[name] = [row.get(name) for row in flat]
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    rows = Rows(table, list(range(1, len(events) + 1)), [])
    judge = batch_judge(policy)
    return judge.table(Shaper(Path("x"), None, judge.write_key, NOW).shape(rows)).to_pylist()


def live(event: dict, policy: ConsentPolicy) -> dict:
    judge = Judge(PLAN, Pseudonymizer(KEY), Sealer(KEY), 64_000, policy)
    (one,) = judge([json.dumps(event).encode()], write_key="w", received_us=NOW)
    return {name: getattr(one.record, name) for name, _ in LANDING_COLUMNS}


ODD = [
    "x", "", " ", "undefined", "NULL", "\\N", "(none)", "(not set)", "0", "-", "nullable", "ann@b.org", "é" * 200, "a\x00b",
    "0" * 32, '"null"', "x" * 600, "spring%20sale", "50%", "%zz", "a+b", "%00", "\x1f", "\u00a0",
]  # fmt: skip
TEXT = st.sampled_from([None, *ODD])
PAGE = st.sampled_from(
    [
        None, "", "https://a.example/p", "https://a.example/?utm_source=google&utm_medium=cpc&UTM_CAMPAIGN=x+y&gclid=Cj0",
        "https://a.example/?utm_id=7&amp;utm_term=t", "https://a.example/?utm_source=&utm_source=undefined&fbclid=1",
        "/only/path?utm_source=x", "null", "https://[bad", "https://a.example/?utm_source=%E9t%E9&utm_medium=" + "m" * 900,
        "https://u:p@a.example/ann@b.org?utm_content=ann@b.org#frag",
    ]
)  # fmt: skip
REFERRER = st.sampled_from(
    [None, "about:blank", "-", "google", "https://www.google.com/search?q=x", "android-app://com.a.b", "$direct"]
)
PROPERTIES = st.sampled_from(
    [
        None, {}, {"amount": 1, "currency": "EUR"}, {"amount": "1", "currency": "EUR"}, {"amount": 1e13, "currency": "EUR"},
        {"feature": "f", "app_version": "4.12.0.7", "host_ip": "1.2.3.4", "seen": "10.0.0.1"},
        {"flag": "guard-drill", "variant": "control"}, {"alias_of": "undefined"}, {"alias_of": "old", "email": "ann@b.org"},
        {"path": "/x", "url": "https://a.b/?t=1"}, {"amonut": 1},
    ]
)  # fmt: skip
EVENT = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["e1", "e 2", "ann@b.org", "é", "x" * 129, "n\x00"]),
        "event_name": st.sampled_from(
            ["page_viewed", "page_view", "payment_completed", "feature_used", "flag_exposed", "user_identified", "nope", None]
        ),
        "timestamp": st.sampled_from(
            ["2026-03-02T08:00:00Z", "2026-03-02 10:00:00.123456789+02", "2026-03-02", "2063-01-01T00:00:00Z", "now", None]
        ),
        "user_id": TEXT, "anonymous_id": TEXT, "session_id": TEXT, "properties": PROPERTIES,
        "context": st.fixed_dictionaries(
            {}, optional={
                "source": TEXT, "medium": TEXT, "campaign": TEXT, "utm_source": TEXT, "utm_content": TEXT, "click_id": TEXT,
                "page_url": PAGE, "referrer": REFERRER, "locale": TEXT, "timezone": TEXT,
                "device_type": st.sampled_from([None, "web", "api", "tv"]),
                "user_agent": st.sampled_from([None, "", " ", "null", "Mozilla/5.0 (Windows NT 10.0)", "Googlebot/2.1", "curl/8.7", "a\x00b"]),
                "country": st.sampled_from([None, "DE", "US", "us", "FR", "null", "Narnia"]), "region": TEXT,
                "consent": st.sampled_from([None, {}, {"analytics": True}, {"analytics": False}, {"ads": True}, {"analytics": 1}]),
            },
        ),
    }
)  # fmt: skip


def without_nulls(event: dict) -> dict:
    context = {k: v for k, v in event["context"].items() if v is not None}
    return {k: v for k, v in event.items() if v is not None and k != "context"} | (
        {"context": context} if context else {}
    )


@examples(25, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=12), st.sampled_from([OFF, POLICY]))
def test_a_batch_is_its_rows_alone_whatever_the_door(events, policy):
    events = [without_nulls(event) for event in events]
    alone = compared([as_table([event], policy)[0] for event in events])
    assert compared(as_table(events, policy)) == alone
    assert compared(as_table(events[::-1], policy)) == alone
    assert compared(as_ndjson(events, policy)) == alone
    timed = [event for event in events if "timestamp" in event]
    assert compared([live(event, policy) for event in timed]) == compared(as_ndjson(timed, policy))


BASE = {"event_id": "e", "event_name": "page_viewed", "timestamp": "2026-03-02T08:00:00Z", "anonymous_id": "dev"}


@pytest.mark.parametrize(
    ("change", "lands"),
    [
        ({"user_id": "undefined"}, {"user_id": None}),
        ({"user_id": " "}, {"user_id": None}),
        ({"user_id": "nullable"}, {"user_id": Pseudonymizer(KEY)("nullable")}),
        ({"user_id": "0"}, {"user_id": Pseudonymizer(KEY)("0")}),
        ({"context": {"utm_source": "a", "utm_medium": "b"}}, {"source": "a", "medium": "b", "device_type": "web"}),
        ({"context": {"source": "a", "utm_source": "b"}}, {"source": "a"}),
        ({"context": {"source": "undefined", "medium": "(not set)"}}, {"source": None, "medium": None}),
        ({"context": {"page_url": "https://a.b/?utm_source=x&utm_medium=cpc&gclid=1"}},
         {"source": "x", "medium": "cpc", "click_id": "gclid=1", "page_url": "https://a.b/"}),
        ({"context": {"source": "y", "page_url": "https://a.b/?utm_source=x&gclid=1"}}, {"source": "y", "click_id": None}),
        ({"context": {"campaign": "c", "page_url": "https://a.b/?utm_campaign=d&utm_source=x"}}, {"source": "x", "campaign": "c"}),
        ({"context": {"referrer": "https://a.b/?utm_source=x"}}, {"source": None, "referrer": "https://a.b/"}),
        ({"context": {"source": "spring%20sale", "medium": "e%2Dmail", "campaign": "spring+sale"}},
         {"source": "spring sale", "medium": "e-mail", "campaign": "spring sale"}),
        ({"context": {"campaign": "spring+sale"}}, {"campaign": "spring+sale"}),
        ({"context": {"referrer": "about:blank"}}, {"referrer": None}),
        ({"event_name": "signup_completed"}, {"device_type": "api"}),
        ({"event_name": "signup_completed", "context": {"referrer": "https://a.b/"}}, {"device_type": "web"}),
        ({"context": {"timezone": "Europe/Berlin"}}, {"timezone": "Europe/Berlin"}),
        ({"context": {"user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}}, {"bot_reason": "Googlebot"}),
        ({"context": {"user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131"}}, {"bot_reason": None}),
        ({"context": {"user_agent": " "}}, {"bot_reason": None}),
        ({"context": {"user_agent": "curl/8.7.1"}}, {"bot_reason": "curl"}),
        ({"timestamp": "2024-01-01T23:59:59.9999999Z"}, {"event_us": 1_704_153_599_999_999}),
        ({"event_name": "feature_used", "properties": {"feature": "f", "app_version": "4.1.0.7", "x": "1.2.3.4"}},
         {"properties": '{"feature":"f","app_version":"4.1.0.7"}'}),
        ({"event_name": "user_identified", "properties": {"alias_of": "null"}}, {"properties": "{}"}),
    ],
    ids=lambda value: json.dumps(value)[:60],
)  # fmt: skip
def test_what_lands(change, lands):
    event = BASE | change
    for row in (live(event, OFF), as_table([event], OFF)[0], as_ndjson([event], OFF)[0]):
        found = {name: row[name] for name in lands}
        if "properties" in lands:
            found["properties"], wanted = json.loads(found["properties"]), json.loads(lands["properties"])
            assert found == {**lands, "properties": wanted}
        else:
            assert (row["verdict"], found) == ("accepted", lands)


def test_both_lists_of_click_ids_are_one():
    assert frozenset(CLICK_IDS) == CLICK_ID_NAMES


@pytest.mark.parametrize(
    ("name", "consent", "country", "region", "gates", "verdict"),
    [
        ("page_viewed", None, "DE", None, False, "suppressed"),
        ("page_viewed", {"analytics": True}, "DE", None, False, "accepted"),
        ("page_viewed", None, "DE", None, True, "accepted"),
        ("page_viewed", {"analytics": False}, "DE", None, True, "suppressed"),
        ("page_viewed", None, "US", None, False, "suppressed"),  # the part of the country is not known
        ("page_viewed", None, "US", "NY", False, "accepted"),
        ("page_viewed", None, "US", "CA", False, "suppressed"),
        ("page_viewed", None, None, "US-CA", False, "suppressed"),
        ("page_viewed", None, None, None, False, "suppressed"),
        ("page_viewed", {"analytics": False}, "FR", None, False, "accepted"),
        ("page_viewed", None, "FR", "US-CA", False, "suppressed"),  # two places: the stricter one
        ("page_viewed", None, "US", "DE-BY", False, "suppressed"),
        ("page_viewed", None, "US-CA", "NY", False, "suppressed"),
        ("page_viewed", None, "US-NY", "US", False, "accepted"),  # the country again says no part
        ("page_viewed", None, "US", "US", False, "suppressed"),
        ("page_viewed", None, "us_ny", "us-ny", False, "accepted"),  # one place, said twice
        ("page_viewed", {"analytics": False}, "US-NY", "FR-IDF", False, "suppressed"),
        ("page_viewed", {"analytics": False}, "Kanada", "FR-IDF", False, "suppressed"),  # a country that nobody knows
        ("payment_completed", None, "DE", None, False, "quarantined"),
        ("nope", None, "DE", None, False, "quarantined"),
        ("nope", {"analytics": False}, "DE", None, False, "suppressed"),
    ],
)
def test_consent_is_asked_for_by_region_and_basis(name, consent, country, region, gates, verdict):
    policy = ConsentPolicy({"default": "required", "US": "opt_out", "US-CA": "required", "FR": "off"})
    context = {"consent": consent, "country": country, "region": region}
    event = BASE | {"event_name": name, "context": {k: v for k, v in context.items() if v is not None}}
    judge = Judge(PLAN, Pseudonymizer(KEY), Sealer(KEY), 64_000, policy)
    (one,) = judge([json.dumps(event).encode()], write_key="w", received_us=NOW, gates_consent=gates)
    assert one.record.verdict == verdict
    if verdict == "suppressed":
        assert one.record.raw is None and one.record.sealed is None and one.record.event_id is None
