"""The source of a session and what a conversion is credited to: by the definitions, whatever comes late."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples, slow_but
from session_oracle import everything
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.verify import verify

ZONE = "Europe/Berlin"
MIDNIGHT = START + 2 * DAY - 60 * MINUTE
"""In Berlin."""
WINDOWS = {"first_touch": 72.0, "last_touch": 24.0, "last_non_direct": 100.0}
GOOGLE, BING, MAIL = (("google", "cpc", "x"), ("bing", "cpc", "y"), ("newsletter", "email", None))
SEARCH, SITE, SIGN_IN = "https://www.google.com/", "https://example.org/a", "https://accounts.google.com/"


def settings_of(folder: Path, definition: str) -> Settings:
    windows = [{"model": model, "lookback_hours": hours} for model, hours in WINDOWS.items()]
    return settings_for(
        folder,
        GTM_SESSIONS__DEFINITION=definition,
        GTM_REPORT_TIMEZONE=ZONE,
        GTM_ATTRIBUTION__WINDOWS=json.dumps(windows),
    )


def tables_of(settings: Settings, definition: str) -> dict:
    """What the warehouse holds, in the shape of the oracle."""
    session_id = "s.session_id" if definition == "tracker" else "NULL"
    queries = {
        "sessions": "SELECT person_id, start_us, end_us, n_events, source, medium, campaign, channel, source_us FROM core.sessions",
        "touchpoints": f"""SELECT t.conversion_id, t.touch_us, {session_id}, t.source, t.medium, t.campaign, t.channel
          FROM core.touchpoints t JOIN core.sessions s USING (session_key)""",
        "credits": "SELECT conversion_id, model, source, medium, campaign, channel FROM marts.attribution_credits",
    }
    return {name: set(rows_of(settings, query)) for name, query in queries.items()}


def at(offset: int, touch: tuple | None = None, referrer: str | None = None, **columns: object) -> dict:
    """An event `offset` microseconds after midnight."""
    source, medium, campaign = touch or (None, None, None)
    named = {"source": source, "medium": medium, "campaign": campaign, "referrer": referrer}
    name = str(columns.get("event_name", "page_viewed"))
    return {**event("", MIDNIGHT + offset, event_name=name), **named, **columns}


def paid(offset: int, **columns: object) -> dict:
    return at(offset, event_name="payment_completed", device_type="api", **columns)


# A life each, and the source of its last touch at the payment. Ids are the places in the list unless one is named.
CREDITED = {
    "a source that is named after the payment": ([at(0, referrer=SEARCH), paid(5), at(20, MAIL)], "google", "organic"),
    "named after a payment of a direct visit": ([at(0), paid(5), at(20, MAIL)], "direct", "(none)"),
    "named in the moment of the payment": ([at(0), paid(5), at(5, MAIL)], "newsletter", "email"),
    "named before the payment": ([at(0), at(5, MAIL), paid(6)], "newsletter", "email"),
    "the first of two that name one": ([at(0), at(5, MAIL), at(6, GOOGLE), paid(7)], "newsletter", "email"),
    "a campaign on an own page": ([at(0, referrer=SEARCH), at(5, MAIL), paid(6)], "google", "organic"),
    "a referrer after the first event": ([at(0), at(5, referrer=SEARCH), paid(6)], "direct", "(none)"),
    "a referrer before a name, one moment": (
        [at(0, MAIL, event_id="b"), at(0, referrer=SEARCH, event_id="a"), paid(6)], "google", "organic",
    ),
    "a name before a referrer, one moment": (
        [at(0, MAIL, event_id="a"), at(0, referrer=SEARCH, event_id="b"), paid(6)], "newsletter", "email",
    ),
    "nothing before a referrer, one moment": ([at(0, event_id="a"), at(0, referrer=SEARCH, event_id="b"), paid(6)], "direct", "(none)"),
    "a referrer before nothing, one moment": ([at(0, event_id="b"), at(0, referrer=SEARCH, event_id="a"), paid(6)], "google", "organic"),
    "nothing before a name, one moment": ([at(0, event_id="a"), at(0, MAIL, event_id="b"), paid(6)], "newsletter", "email"),
    "two later names of one moment": (
        [at(0, event_id="a"), at(5, BING, event_id="b"), at(5, MAIL, event_id="c"), paid(6)], "bing", "cpc",
    ),
    "ids are equal, the write key decides": (
        [at(0, BING, event_id="same", write_key="w2"), at(0, MAIL, event_id="same", write_key="w1"), paid(6)], "newsletter", "email",
    ),
}  # fmt: skip


def lives() -> list[dict]:
    return [
        {**row, "event_id": f"{name}: {row['event_id'] or number}", "anonymous_id": name}
        for name, (rows, *_) in CREDITED.items()
        for number, row in enumerate(rows)
    ]


def last_touches(settings: Settings) -> dict[str, tuple]:
    query = "SELECT c.person_id, a.source, a.medium FROM marts.attribution_credits a JOIN core.conversions c USING (conversion_id) WHERE a.model = 'last_touch'"
    return {name: tuple(row) for name, *row in rows_of(settings, query)}


@pytest.mark.parametrize("parts", slow_but(1, 2, 1, 4))
def test_the_source_of_a_touch_is_what_was_known(tmp_path: Path, parts: int) -> None:
    settings = settings_of(tmp_path, "ga4")
    rows = sorted(lives(), key=lambda row: -row["event_us"])  # what happened last comes first
    for part in range(parts):
        land(settings, rows[part * len(rows) // parts : (part + 1) * len(rows) // parts], f"import-{part}")
        refresh(settings)
    assert last_touches(settings) == {name: tuple(rest) for name, (_, *rest) in CREDITED.items()}
    assert verify(settings, PLAN).ok


# A life each under the definition `ua`, and (source, minute since when it is known) of its sessions.
OVER_MIDNIGHT = {
    "inherited": ([at(-MINUTE, GOOGLE), at(MINUTE)], [("google", -1), ("google", 1)]),
    "the same referrer again": (
        [at(-MINUTE, referrer=SITE), at(MINUTE, referrer=SITE)],
        [("example.org", -1), ("example.org", 1)],
    ),
    "another arrival": ([at(-MINUTE, GOOGLE), at(MINUTE, referrer=SITE)], [("google", -1), ("example.org", 1)]),
    "a sign-in page": ([at(-MINUTE, GOOGLE), at(MINUTE, referrer=SIGN_IN)], [("google", -1), ("google", 1)]),
    "names another itself": ([at(-MINUTE, referrer=SITE), at(MINUTE, BING)], [("example.org", -1), ("bing", 1)]),
    "nothing to inherit": ([at(-MINUTE), at(MINUTE)], [("direct", None), ("direct", None)]),
    "over two midnights": (
        [at(minutes * MINUTE, GOOGLE if minutes < 0 else None) for minutes in range(-1, 2 * 1440, 29)],
        [("google", -1), ("google", 28), ("google", 1449)],
    ),
}


def test_what_follows_midnight_brought_nobody(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "ua")
    for late in (True, False):  # the first event of a visit comes last
        part = [
            {**row, "event_id": f"{name}-{number}", "anonymous_id": name}
            for name, (rows, _) in OVER_MIDNIGHT.items()
            for number, row in enumerate(rows)
            if late == bool(number)
        ]
        land(settings, part, f"import-{late}")
        refresh(settings)
    query = f"SELECT person_id, source, (source_us - {MIDNIGHT}) // {MINUTE} FROM core.sessions ORDER BY 1, start_us"
    found: dict[str, list[tuple]] = {name: [] for name in OVER_MIDNIGHT}
    for name, *row in rows_of(settings, query):
        found[name].append(tuple(row))
    assert found == {name: expected for name, (_, expected) in OVER_MIDNIGHT.items()}
    assert verify(settings, PLAN).ok


def more(offset: int, **columns: object) -> dict:
    """An event of a campaign that further columns tell from others."""
    return at(offset, GOOGLE, **columns)


# A visit each, an hour after midnight, and the sources of its sessions under `ua` (support.google.com 2731565).
ARRIVALS = {
    "one campaign": ([more(0), at(1), more(2)], ["google"]),
    "another source": ([more(0), at(1, BING)], ["google", "bing"]),
    "another campaign": ([more(0), at(1, ("google", "cpc", "z"))], ["google", "google"]),
    "another term": ([more(0, term="a"), more(1, term="b"), more(2, term="b")], ["google", "google"]),
    "another content": ([more(0, content="a"), more(1, content="b")], ["google", "google"]),
    "another click": ([at(0, click_id="gclid=1"), at(1, click_id="gclid=1"), at(2, click_id="gclid=2")], ["google", "google"]),
    "another search engine": ([at(0, referrer=SEARCH), at(1, referrer="https://www.bing.com/")], ["google", "bing"]),
    "the same search engine": ([at(0, referrer=SEARCH), at(1, referrer=f"{SEARCH}search")], ["google"]),
    "another site": ([more(0), at(1, referrer=SITE)], ["google", "example.org"]),
    "named as it was referred": ([at(0, referrer=SEARCH), at(1, ("google", "organic", None))], ["google"]),
    "direct never splits": ([more(0), at(1), at(2, ("direct", None, None))], ["google"]),
    "a term alone never splits": ([more(0), at(1, term="b"), at(2, content="c")], ["google"]),
    "a sign-in page never splits": ([more(0), at(1, referrer=SIGN_IN)], ["google"]),
    "the newest earlier one counts": ([more(0), at(1, BING), more(2)], ["google", "bing", "google"]),
    "an arrival in a direct visit": ([at(0), at(1, BING)], ["direct", "bing"]),
    "two of one moment, the first counts": (
        [more(0, event_id="z"), at(1, BING, event_id="a"), at(1, GOOGLE, event_id="b"), more(2)], ["google", "bing", "google"],
    ),
    "a name behind nothing of one moment": ([more(0, event_id="z"), at(1, event_id="a"), at(1, BING, event_id="b")], ["google", "bing"]),
    "a referrer behind nothing of one moment": ([more(0, event_id="z"), at(1, event_id="a"), at(1, event_id="b", referrer=SITE)], ["google"]),
    "terms of one moment": (
        [more(0, term="b", event_id="z"), more(1, term="b", event_id="a"), more(1, term="c", event_id="b"), more(2, term="b")], ["google"],
    ),
}  # fmt: skip


def test_ua_splits_where_a_person_arrives_anew(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "ua")
    for late in (True, False):  # the first event of a visit comes last
        part = [
            {**row, "event_us": row["event_us"] + 60 * MINUTE, "event_id": row["event_id"] or f"{number}", "write_key": name[:40].replace(" ", "-").replace(",", ""), "anonymous_id": name}
            for name, (rows, _) in ARRIVALS.items()
            for number, row in enumerate(rows)
            if late == bool(number)
        ]  # fmt: skip
        land(settings, part, f"import-{late}")
        refresh(settings)
    found: dict[str, list[str]] = {name: [] for name in ARRIVALS}
    for name, source in rows_of(settings, "SELECT person_id, source FROM core.sessions ORDER BY 1, start_us"):
        found[name].append(source)
    assert found == {name: sources for name, (_, sources) in ARRIVALS.items()}
    assert verify(settings, PLAN).ok


def test_tracker_sessions_of_one_microsecond_are_ordered_by_their_first_event(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "tracker")
    rows = [
        at(0, GOOGLE, event_id="tz", session_id="a"),
        at(0, BING, event_id="ty", session_id="b"),
        paid(5, event_id="p"),
    ]
    for number in (1, 2, 0):
        land(settings, [{**rows[number], "anonymous_id": "x"}], f"import-{number}")
        refresh(settings)
    credited = dict(rows_of(settings, "SELECT model, source FROM marts.attribution_credits"))
    assert credited == {"first_touch": "bing", "last_touch": "google", "last_non_direct": "google"}
    assert rows_of(settings, "SELECT session_id, tie_no FROM core.sessions ORDER BY 1") == [("a", 2), ("b", 1)]
    assert rows_of(settings, "SELECT source FROM meta.person_origin") == [("bing",)]
    assert verify(settings, PLAN).ok


OFFSETS = st.sampled_from(
    [day * DAY + minutes * MINUTE + us for day in (0, 1) for minutes in (-31, -30, -1, 0, 1, 29, 30, 60) for us in (0, 1)]
)  # fmt: skip
EVENTS = st.builds(
    lambda offset, letter, key, touch, referrer, term, click, name, device, session, user, received: at(
        offset, touch, referrer, term=term, click_id=click, event_id=letter, write_key=key, event_name=name, device_type=device,
        session_id=session, user_id=user, received_us=START + received * DAY,
    ),
    OFFSETS, st.sampled_from("aBcé"), st.sampled_from(["w1", "w2"]),
    st.sampled_from([None, None, None, GOOGLE, BING, MAIL, ("direct", None, None)]), st.sampled_from([None, None, SEARCH, SITE]),
    st.sampled_from([None, None, "t"]), st.sampled_from([None, None, None, "gclid=1", "fbclid=1"]),
    st.sampled_from(["page_viewed", "page_viewed", "signup_completed"]), st.sampled_from(["web", "web", "web", "api"]),
    st.sampled_from(["s1", "s2", None]), st.sampled_from([None, None, None, "u1", "u2"]), st.integers(30, 33),
)  # fmt: skip
PERSONS = st.lists(st.lists(EVENTS, min_size=1, max_size=7), min_size=1, max_size=25)


def drawn(persons: list[list[dict]]) -> list[dict]:
    """The events of the persons with ids of their own, in an order that mixes them; users are shared by two persons."""
    rows = []
    for person, life in enumerate(persons):
        for number, row in enumerate(life):
            user = row["user_id"] and f"{row['user_id']}-{person // 2}"
            ids = {"event_id": f"{row['event_id']}-{person}-{number}", "anonymous_id": f"p{person}", "user_id": user}
            rows.append({**row, **ids, "properties": "{}"})
    return sorted(rows, key=lambda row: crc32(row["event_id"].encode()))


@pytest.mark.parametrize("definition", slow_but(1, "ua", "ga4", "tracker"))
@examples(6, deadline=None)
@given(persons=PERSONS, parts=st.integers(1, 4))
def test_late_sources_in_any_order_give_what_the_definitions_say(definition: str, persons: list, parts: int) -> None:
    rows = drawn(persons)
    with TemporaryDirectory() as folder:
        settings = settings_of(Path(folder), definition)
        for part in range(parts):
            if rows[part::parts]:
                land(settings, rows[part::parts], f"import-{part}")
                refresh(settings)
                known = [row for one in range(part + 1) for row in rows[one::parts]]
                expected = everything(known, definition, ZONE, 30 * MINUTE, WINDOWS)
                assert tables_of(settings, definition) == expected
        result = verify(settings, PLAN)
        assert result.ok, result.first
