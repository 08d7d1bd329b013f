"""Scenarios 2, 16 and 17 of the acceptance of ingestion, those parts that need no installed client; 1 and 2 with real ones stand
in test_live_clients.py, test_page_clients.py, test_captured_requests.py and test_status_contract.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from collector_harness import KEY, Edge
from trigger_cases import rules
from warehouse_cases import refresh, rows_of, settings_for

from gtm_dagster.admission.single_event import Judge
from gtm_dagster.collector.protocols import PROTOCOLS, EventResult, IngestResult
from gtm_dagster.collector.response import Refused, error_response
from gtm_dagster.eventlog import Record
from gtm_dagster.privacy.consent import OFF, REQUIRED, ConsentPolicy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import Plan, load_plan
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, NonSend
from gtm_dagster.triggers.trigger_event import TriggerEvent
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.corrections import Corrections
from gtm_dagster.warehouse.landing.from_log import land_log
from gtm_dagster.warehouse.quarantine_replay import ReplayResult, replay_quarantine

NOW = datetime.now(UTC)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_scenario_2_every_batch_that_is_taken_is_answered_200(protocol: Any) -> None:
    statuses = ("accepted", "duplicate", "quarantined", "suppressed")
    error = {"path": "event_name", "code": "unknown_event", "message": "no event of the plan"}
    results = [EventResult(f"e{n}", status, [error] if n > 1 else []) for n, status in enumerate(statuses)]
    for some in ([results[0]], [results[2]], results, []):
        assert protocol.response(IngestResult(some, "1-0-0", "7")).status == 200


@pytest.mark.parametrize(("status", "retry_after"), [(400, None), (401, None), (413, None), (429, 1), (503, 1)])
def test_scenario_2_an_error_has_a_code_a_message_and_whole_seconds(status: int, retry_after: int | None) -> None:
    answer = error_response(Refused(status, "a_code", "a message", retry_after))
    assert {"code": "a_code", "message": "a message"}.items() <= json.loads(answer.body).items()
    assert dict(answer.headers).get(b"retry-after") == (b"%d" % retry_after if retry_after else None)


def message(event_id: str, name: str, **properties: Any) -> dict[str, Any]:
    at = (NOW - timedelta(seconds=5)).isoformat()
    return {"type": "track", "event": name, "messageId": event_id, "userId": "u1", "timestamp": at, "properties": properties}  # fmt: skip


def amended(folder: Path) -> Plan:
    """The packaged plan, that knows two names more and a property."""
    text = resources.files("gtm_dagster.taxonomy").joinpath("plan.yaml").read_text()
    text = text.replace("aliases:\n", "aliases:\n  Order Paid: payment_completed\n", 1)
    text = text.replace("      payment_id: {type: string, max_length: 128}\n", "      payment_id: {type: string, max_length: 128}\n      cart_size: {type: integer}\n", 1)  # fmt: skip
    (folder / "plan.yaml").write_text(text)
    return load_plan(folder / "plan.yaml")


def replayed(settings: Settings, plan: Plan) -> ReplayResult:
    sealer = Sealer(KEY)
    judge = Judge(plan, Pseudonymizer(KEY), sealer, settings.collector.max_event_bytes, OFF)
    cast = Corrections(casts=(("amount", "number"),))
    return replay_quarantine(settings, judge, sealer, corrections=cast, by="ann")


def test_scenario_16_a_mixed_batch_keeps_what_is_good_and_a_replay_lands_the_rest_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    edge = Edge(settings.log_path.parent)
    batch = [message(f"good-{n}", "Trial Started", plan="pro") for n in range(47)]
    batch[10:10] = [message(f"malformed-{n}", "payment_completed", amount="49.5", currency="EUR", cart_size=n) for n in range(2)]  # fmt: skip
    batch.insert(30, message("unknown", "Order Paid", amount=5, currency="EUR"))
    before_us = time.time_ns() // 1000
    answer = edge.post({"batch": batch, "sentAt": NOW.isoformat()}, "/v1/batch")
    after_us = time.time_ns() // 1000
    assert (answer.status, answer.json()["accepted"], answer.json()["quarantined"]) == (200, 47, 3)
    refused = {each["event_id"]: {(error["code"], error["path"]) for error in each["errors"]} for each in answer.json()["refused"]}  # fmt: skip
    wrong = {("type", "properties.amount"), ("unknown_property", "properties.cart_size")}
    assert refused == {"malformed-0": wrong, "malformed-1": wrong, "unknown": {("unknown_event", "event_name")}}
    edge.log.close()

    land_log(BuildContext(settings, load_plan()))
    refresh(settings)
    assert rows_of(settings, "SELECT count(*) FROM staging.events") == [(47,)]
    plan = amended(tmp_path)
    done = replayed(settings, plan)
    assert (done.rows, done.accepted, done.refused) == (3, 3, 0)
    refresh(settings, plan=plan)
    landed = rows_of(settings, f"SELECT count(*), min(received_us) >= {before_us} AND max(received_us) <= {after_us} FROM staging.events WHERE event_name = 'payment_completed'")  # fmt: skip
    assert landed == [(3, True)], "with the time of receipt they had"
    again = replayed(settings, plan)
    assert (again.rows, again.accepted, again.known, again.name) == (3, 0, 3, "")


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Edge]:
    made = Edge(tmp_path)
    made.page_key = made.keys.add("page", role="client")  # type: ignore[attr-defined]
    yield made
    made.log.close()


ALL = {"analytics": True, "marketing": True, "personalization": True}
NO_ADS = {"analytics": True, "marketing": False, "personalization": False}
BASES = {"page_viewed": "consent", "signup_completed": "contract", "consent_updated": "legitimate_interest"}
OPT_OUT = ConsentPolicy({"default": "required", "US": "opt_out", "US-CA": "opt_out"})
MATRIX = [
    # consent, Sec-GPC, event, policy, country, verdict, consent as it is stored
    ("absent, browsing", None, False, "page_viewed", REQUIRED, None, "suppressed", None),
    ("absent, a contract", None, False, "signup_completed", REQUIRED, None, "accepted", None),
    ("absent, of legitimate interest", None, False, "consent_updated", REQUIRED, None, "accepted", None),
    ("denied, browsing", {"analytics": False}, False, "page_viewed", REQUIRED, None, "suppressed", None),
    ("denied, a contract", {"analytics": False}, False, "signup_completed", REQUIRED, None, "accepted", {"analytics": False}),
    ("granted for one purpose", {"analytics": True}, False, "page_viewed", REQUIRED, None, "accepted", {"analytics": True}),
    ("granted for another purpose alone", {"marketing": True}, False, "page_viewed", REQUIRED, None, "suppressed", None),
    ("granted", ALL, False, "page_viewed", REQUIRED, None, "accepted", ALL),
    ("granted, and the browser refuses ads", ALL, True, "page_viewed", REQUIRED, None, "accepted", NO_ADS),
    ("absent, and the browser refuses ads", None, True, "signup_completed", REQUIRED, None, "accepted", {"marketing": False, "personalization": False}),
    ("absent where people opt out", None, False, "page_viewed", OPT_OUT, "US", "accepted", None),
    ("denied where people opt out", {"analytics": False}, False, "page_viewed", OPT_OUT, "US", "suppressed", None),
    ("absent in a place nobody knows", None, False, "page_viewed", OPT_OUT, None, "suppressed", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("consent", "gpc", "name", "policy", "country", "verdict", "stored"),
    [each[1:] for each in MATRIX],
    ids=[each[0] for each in MATRIX],
)
def test_scenario_17_what_is_kept_by_consent(
    asking: Edge, consent: Any, gpc: bool, name: str, policy: ConsentPolicy, country: str | None, verdict: str, stored: Any
) -> None:  # fmt: skip
    app = asking.app_on(asking.log, consent=policy)
    context = {**({"consent": consent} if consent else {}), **({"country": country} if country else {})}
    headers = {"X-Write-Key": asking.page_key, **({"Sec-GPC": "1"} if gpc else {})}  # type: ignore[attr-defined]
    event = {"event_name": name, "event_id": "e1", "user_id": "u1", "anonymous_id": "a1", "context": context}
    assert load_plan().events[name].basis == BASES[name]
    answer = asking.post(event, headers=headers, app=app).json()
    assert answer["results"][0]["status"] == verdict
    (record,) = asking.records()
    assert (json.loads(record.consent) if record.consent else None) == stored
    if verdict == "suppressed":
        assert (record.user_id, record.anonymous_id, record.raw, record.sealed) == (None, None, None, None)


RULE = """
  nudge:
    on: trial_started
    absent: {event: onboarding_completed, within: 1h}
    purpose: marketing
    do: {email: nudge.md.j2}
"""


def seen(record: Record) -> TriggerEvent:
    """An accepted record as rules see it."""
    return TriggerEvent(
        event_id=str(record.event_id), name=str(record.event_name), at_us=int(record.event_us or 0), received_us=record.received_us,
        user_id=record.user_id, anonymous_id=record.anonymous_id, properties=json.loads(record.properties or "{}"),
        context={}, timezone="UTC", consent=json.loads(record.consent or "{}"), bot=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("consents", "gpc", "is_sent"),
    [
        ([ALL], False, True),
        ([None], False, False),
        ([{"analytics": True}], False, False),
        ([ALL], True, False),
        ([ALL, {"analytics": True, "marketing": False}], False, False),
    ],
    ids=["granted", "absent", "of another purpose", "the browser refuses", "withdrawn before it is sent"],
)
def test_scenario_17_what_needs_marketing_goes_to_nobody_who_refused_it(
    asking: Edge, consents: list[Any], gpc: bool, is_sent: bool
) -> None:
    app = asking.app_on(asking.log, consent=REQUIRED)
    headers = {"X-Write-Key": asking.page_key, **({"Sec-GPC": "1"} if gpc else {})}  # type: ignore[attr-defined]
    for number, consent in enumerate(consents):
        name = "consent_updated" if number else "trial_started"
        at = (NOW - timedelta(seconds=60 - number)).isoformat()
        event = {"event_name": name, "event_id": f"e{number}", "user_id": "u1", "timestamp": at, "context": {"consent": consent} if consent else {}}  # fmt: skip
        assert asking.post(event, headers=headers, app=app).json()["accepted"] == 1
    runner = MemoryRunner(rules(RULE))
    for record in asking.records():
        runner.receive(seen(record))
    runner.advance(int((NOW + timedelta(hours=2)).timestamp()) * 1_000_000)
    outcomes = [each.what for each in runner.outcomes]
    assert any(isinstance(each, Action) for each in outcomes) is is_sent
    assert is_sent or [each.reason for each in outcomes if isinstance(each, NonSend)] == ["no_consent"]
