"""What leaves the process: only what its person agreed to, and pseudonyms that are the collector's own."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from collector_server import Server

from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.plan import parse_plan
from gtm_dagster.tracking import GtmTracker, TrackerStats

AGREED = {"ann": {"analytics": True, "marketing": False}, "bob": {"analytics": False}, "visitor": {"analytics": True}}


@pytest.mark.parametrize(
    ("name", "ids", "context", "sent"),
    [
        pytest.param("page_viewed", {"user_id": "ann"}, None, True, id="agreed"),
        pytest.param("page_viewed", {"user_id": "bob"}, None, False, id="refused"),
        pytest.param("page_viewed", {"user_id": "carl"}, None, False, id="nothing is known: no"),
        pytest.param("page_viewed", {"user_id": "carl", "anonymous_id": "visitor"}, None, True, id="the visitor agreed"),
        pytest.param("page_viewed", {"user_id": "bob", "anonymous_id": "visitor"}, None, False, id="the user's word counts first"),
        pytest.param("page_viewed", {"user_id": "ann"}, {"consent": {"analytics": False}}, False, id="the call's refusal wins"),
        pytest.param("page_viewed", {"user_id": "carl"}, {"consent": {"analytics": True}}, True, id="the call's consent wins"),
        pytest.param("signup_completed", {"user_id": "bob"}, None, True, id="a contract does not ask"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["mapping", "function"])
def test_the_gate(recorder, make, kind: str, name: str, ids: dict[str, str], context, sent: bool) -> None:
    def asked(user_id: str | None, anonymous_id: str | None) -> dict[str, bool] | None:
        return next((AGREED[one] for one in (user_id, anonymous_id) if one in AGREED), None)

    tracker = make(consent=AGREED if kind == "mapping" else asked)
    assert tracker.track(name, **ids, context=context)
    assert tracker.flush(30)
    assert tracker.stats() == (TrackerStats(sent=1, accepted=1) if sent else TrackerStats(withheld=1))
    assert len(recorder.batches()) == sent


def test_a_consent_that_was_taken_back_counts_from_then_on(recorder, make) -> None:
    agreed = {"ann": {"analytics": True}}
    tracker = make(consent=agreed)
    tracker.track("page_viewed", user_id="ann")
    agreed["ann"] = {"analytics": False}
    tracker.track("page_viewed", user_id="ann")
    assert tracker.flush(30)
    assert (tracker.stats().accepted, tracker.stats().withheld) == (1, 1)
    assert recorder.batches()[0].body[0]["context"]["consent"] == {"analytics": True}


@pytest.mark.parametrize("answer", [{"analytic": True}, {"analytics": "yes"}])
def test_what_is_no_consent_is_an_error_and_nothing_is_sent(recorder, make, answer: dict[str, object]) -> None:
    tracker = make(consent=lambda *_: answer)
    with pytest.raises(ValueError, match="a purpose is one of analytics, marketing, personalization"):
        tracker.track("page_viewed", user_id="u")
    assert tracker.stats() == TrackerStats()


def test_an_empty_mapping_could_mean_either_and_is_refused(make) -> None:
    with pytest.raises(ValueError, match="leave it out, or give a function"):
        make(consent={})


def test_a_plan_is_kept_to_whether_the_person_agreed_or_not(make) -> None:
    with pytest.raises(ValueError, match="breaks the tracking plan"):
        make(consent={"bob": {"analytics": False}}).track("page_viewed", user_id="bob", properties={"n": object()})


KEY = "a key of a test, 32 bytes or more"
PLAN = """
version: 1-0-0
events:
  ordered:
    basis: contract
    properties:
      account: {type: string, privacy: personal}
      note: {type: string, privacy: free_text}
      amount: {type: number}
"""


def test_sdk_and_collector_agree_on_the_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same events by a tracker with the key and by one without it land as the same rows."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    monkeypatch.setenv("GTM_PRIVACY__PSEUDONYM_KEY", KEY)
    monkeypatch.setenv("GTM_PLAN_FILE", str(plan))
    server = Server(tmp_path / "state")
    try:
        for number, key in enumerate((None, KEY, KEY.encode())):
            with GtmTracker(server.url, "dev", plan=load_plan(plan), pseudonym_key=key) as tracker:
                tracker.track(
                    "ordered", user_id="ann", anonymous_id="visitor-1", session_id="s", event_id=f"order of ann {number}",
                    properties={"account": "acme", "note": "call me", "amount": 5},
                )  # fmt: skip
                assert tracker.flush(30)
                assert tracker.stats().accepted == 1
    finally:
        server.stop(signal.SIGTERM)
    with SqliteEventLog(tmp_path / "state" / "events.db") as log:
        rows = log.read_arrow(0)[0].to_pylist()
    pseudonym = Pseudonymizer(KEY.encode())
    for number, row in enumerate(rows):
        assert (row["user_id"], row["anonymous_id"], row["session_id"]) == tuple(
            map(pseudonym, ("ann", "visitor-1", "s"))
        )
        assert json.loads(row["properties"]) == {"account": pseudonym("acme"), "amount": 5}
        assert row["event_id"] == pseudonym(f"order of ann {number}")
    assert len(rows) == 3


def test_no_identifier_leaves_the_process_with_a_key(recorder, make: Callable[..., GtmTracker]) -> None:
    tracker = make(plan=parse_plan(PLAN), pseudonym_key=KEY)
    tracker.track("ordered", user_id="ann-secret", event_id="mail of ann-secret", properties={"account": "ann-secret", "note": "ann-secret"})  # fmt: skip
    assert tracker.flush(30)
    assert "ann-secret" not in json.dumps(recorder.batches()[0].body)


@pytest.mark.parametrize(
    "text", ["pseudonym:", "pseudonym:short", "pseudonym:" + "G" * 32, "pseudonym:" + "a" * 33, "x" + "pseudonym:" + "a" * 32]
)  # fmt: skip
def test_only_the_whole_form_is_a_pseudonym(text: str) -> None:
    pseudonym = Pseudonymizer(KEY.encode())
    assert pseudonym(text) not in text
    assert pseudonym("pseudonym:" + pseudonym(text)) == pseudonym(text)


def test_a_rule_that_lets_no_pseudonym_through_is_named(make) -> None:
    plan = parse_plan(PLAN.replace("privacy: personal}", "privacy: personal, max_length: 40}"))
    with pytest.raises(ValueError, match="ordered, property account has max_length 40"):
        make(plan=plan, pseudonym_key=KEY)


def test_a_key_that_is_too_short_is_refused(make) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        make(pseudonym_key="short")
