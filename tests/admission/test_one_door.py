"""Law 12: the same event gets the same verdict, reasons and record, whoever brings it and in whatever form."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from collector.collector_harness import KEY
from hypothesis import given
from hypothesis import strategies as st
from odd_events import ODD_EVENTS, STORED_AS_PSEUDONYM, OddEvent
from profiles import examples
from ways import WAYS, Outcome

from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer

_pseudonym = Pseudonymizer(KEY)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Outcome]]:
    """By way and case; a case that a way cannot write is not there."""
    folder = tmp_path_factory.mktemp("ways")
    events = [odd.event for odd in ODD_EVENTS]
    return {
        way: {
            odd.case: result
            for odd, result in zip(ODD_EVENTS, bring(events, folder), strict=True)
            if result is not None
        }
        for way, bring in WAYS.items()
    }


def _expected(odd: OddEvent) -> dict[str, Any]:
    return {name: _pseudonym(value) if _is_pseudonym(name, value) else value for name, value in odd.lands.items()}


def _is_pseudonym(name: str, value: Any) -> bool:
    if name == "event_id":
        return value in STORED_AS_PSEUDONYM
    return value is not None and name in ("user_id", "anonymous_id", "session_id")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_gives_the_verdict_of_the_table(way: str, outcomes: dict[str, dict[str, Outcome]]) -> None:
    differences = {}
    for odd in ODD_EVENTS:
        result = outcomes[way].get(odd.case)
        if result is None:
            continue
        codes = tuple(sorted({code for _, code in result.reasons}))
        lands = {name: result.lands.get(name) for name in odd.lands} if not odd.reasons else {}
        wanted = _expected(odd)
        if (codes, lands) != (odd.reasons, wanted):
            differences[odd.case] = (odd.changes, codes, lands, odd.reasons, wanted)
    assert not differences, json.dumps(differences, default=str, indent=1)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "http"])
def test_every_way_lands_the_same_record(way: str, outcomes: dict[str, dict[str, Outcome]]) -> None:
    by_http = outcomes["http"]
    differences = {
        case: {
            "reasons": (result.reasons, by_http[case].reasons),
            **{
                name: (value, by_http[case].lands.get(name))
                for name, value in result.lands.items()
                if value != by_http[case].lands.get(name)
            },
        }
        for case, result in outcomes[way].items()
        if result != by_http[case]
    }
    assert not differences, json.dumps(differences, default=str, indent=1)


def test_most_cases_go_every_way(outcomes: dict[str, dict[str, Outcome]]) -> None:
    assert len(ODD_EVENTS) >= 200
    for way, cases in outcomes.items():
        assert len(cases) >= 200, (way, sorted({odd.case for odd in ODD_EVENTS} - set(cases)))


CONSENT = [
    # (name, changes, by region of the deployment, verdict)
    ("absent", {}, "required", "suppressed"),
    ("granted", {"context.consent": {"analytics": True}}, "required", "accepted"),
    ("refused", {"context.consent": {"analytics": False, "marketing": True}}, "required", "suppressed"),
    ("for-marketing-alone", {"context.consent": {"marketing": True}}, "required", "suppressed"),
    ("none-named", {"context.consent": {}}, "required", "suppressed"),
    ("contract", {"event_name": "signup_completed"}, "required", "accepted"),
    ("contract-refused", {"event_name": "signup_completed", "context.consent": {"analytics": False}}, "required", "accepted"),
    ("another-reason-too", {"timestamp": "now"}, "required", "suppressed"),
    ("unknown-name", {"event_name": "nope"}, "required", "quarantined"),
    ("unknown-name-refused", {"event_name": "nope", "context.consent": {"analytics": False}}, "required", "suppressed"),
    ("opt-out-absent", {}, "opt_out", "accepted"),
    ("opt-out-refused", {"context.consent": {"analytics": False}}, "opt_out", "suppressed"),
    ("off-refused", {"context.consent": {"analytics": False}}, "off", "accepted"),
    ("at-home", {"context.country": "US"}, {"US": "off", "default": "required"}, "accepted"),
    ("subdivision", {"context.country": "US", "context.region": "CA"}, {"US": "off", "US-CA": "required"}, "suppressed"),
    ("subdivision-in-full", {"context.region": "US-CA"}, {"US": "off", "US-CA": "required"}, "suppressed"),
    ("bloc", {"context.country": "DE"}, {"EU": "required", "default": "off"}, "suppressed"),
    ("outside-the-bloc", {"context.country": "JP"}, {"EU": "required", "default": "off"}, "accepted"),
    ("nowhere", {}, {"EU": "required", "default": "off"}, "suppressed"),
]  # fmt: skip


@pytest.mark.parametrize("setting", list({str(row[2]): row[2] for row in CONSENT}.values()), ids=str)
def test_every_way_asks_for_the_same_consent(setting: str | dict[str, str], tmp_path: Path) -> None:
    rows = [row for row in CONSENT if row[2] == setting]
    events = [OddEvent(name, changes).event for name, changes, _, _ in rows]
    for way, bring in WAYS.items():
        for row, result in zip(rows, bring(events, tmp_path, consent=consent_policy(setting)), strict=True):
            if way == "sdk" and result is not None and result.reasons:
                continue  # the tracker raises on a broken event before anybody asks for consent
            assert result is None or (way, result.verdict) == (way, row[3]), (way, row, result)


def _changes() -> st.SearchStrategy[dict[str, Any]]:
    """A few changes of the table at once, and texts nobody thought of."""
    several = st.lists(st.sampled_from(ODD_EVENTS), min_size=1, max_size=4).map(
        lambda odds: {name: value for odd in odds for name, value in odd.changes.items()}
    )
    text = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12)
    fields = ("user_id", "anonymous_id", "session_id", "timestamp", "event_name")
    context = ("source", "medium", "campaign", "page_url", "referrer", "click_id", "locale", "country", "device_type")
    names = st.sampled_from([*fields, *(f"context.{name}" for name in context), "properties.title"])
    return st.one_of(several, st.dictionaries(names, text, max_size=3))


@examples(10)
@given(st.lists(_changes(), min_size=20, max_size=40), st.randoms(use_true_random=False))
def test_random_events_land_the_same_by_every_way_and_in_any_order(changes: list[dict[str, Any]], random: Any) -> None:
    # Each odd event_id once: a second one is a duplicate, and which of the two is depends on the order.
    numbered = list(enumerate(changes))
    first = {repr(change["event_id"]): n for n, change in reversed(numbered) if "event_id" in change}
    events = [
        OddEvent(f"event-{n}", {**change, "event_id": f"event-{n}"}).event
        if "event_id" in change and first[repr(change["event_id"])] != n
        else OddEvent(f"event-{n}", change).event
        for n, change in numbered
    ]
    with TemporaryDirectory() as folder:
        by_http = WAYS["http"](events, Path(folder))
        order = random.sample(range(len(events)), len(events))
        for way, bring in WAYS.items():
            if way == "http":
                continue
            results = bring([events[n] for n in order], Path(folder))
            for n, result in zip(order, results, strict=True):
                assert result is None or result == by_http[n], (way, events[n])


def test_a_row_alone_is_judged_as_in_its_file(tmp_path: Path) -> None:
    events = [odd.event for odd in ODD_EVENTS[::9]]
    together = WAYS["csv"](events, tmp_path)
    for event, result in zip(events, together, strict=True):
        assert result is None or WAYS["csv"]([event], tmp_path) == [result], event
