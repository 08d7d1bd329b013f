"""POST /ingest: verdicts, isolation of events, refusals, durability of the answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from collector_harness import Edge, LiveWriter, call

from gtm_dagster.eventlog import EventLogError
from gtm_dagster.privacy.consent import REQUIRED, ConsentPolicy
from gtm_dagster.taxonomy import load_plan


def event(event_id: str = "e1", **changes: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_name": "page_viewed",
        "timestamp": "2026-03-01T10:00:00Z",
        "anonymous_id": "visitor",
        "properties": {"path": "/pricing"},
        **changes,
    }


def text(*events: Any) -> bytes:
    return json.dumps(list(events)).encode()


def counts(body: dict[str, Any]) -> tuple[int, int, int, int]:
    return body["accepted"], body["duplicates"], body["quarantined"], body["suppressed"]


def test_one_event_is_stored_under_pseudonyms_before_the_answer(edge: Edge) -> None:
    answer = edge.post(event(user_id="ann@example.com", context={"page_url": "https://x.example/a?token=1"}))
    assert answer.status == 200
    assert answer.json() == {
        "accepted": 1,
        "duplicates": 0,
        "quarantined": 0,
        "suppressed": 0,
        "results": [
            {"event_id": "e1", "status": "accepted", "errors": [], "offset": "1", "plan_version": load_plan().version}
        ],
        "plan_version": load_plan().version,
        "offset": "1",
    }
    (record,) = edge.records()
    assert (record.write_key, record.user_id) == ("dev", edge.pseudonymize("ann@example.com"))
    assert (record.anonymous_id, record.page_url) == (edge.pseudonymize("visitor"), "https://x.example/a")


def test_a_list_is_judged_event_by_event_in_order(edge: Edge) -> None:
    edge.post(event("old"))
    late = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    answer = edge.post(
        [
            event("new"),
            event("old"),
            event("old", properties={"path": "/other"}),
            event("bad", event_name="no_such_event", timestamp="yesterday"),
            3,
            event("late", timestamp=late),
            event("shy", context={"consent": {"analytics": False}}),
            event("new"),
        ],
        app=edge.app_on(edge.log, ConsentPolicy({"default": "opt_out"})),
    )
    body = answer.json()
    assert answer.status == 200
    assert counts(body) == (1, 3, 3, 1)
    assert [(r["event_id"], r["status"]) for r in body["results"]] == [
        ("new", "accepted"),
        ("old", "duplicate"),
        ("old", "duplicate"),
        ("bad", "quarantined"),
        (None, "quarantined"),
        ("late", "quarantined"),
        ("shy", "suppressed"),
        ("new", "duplicate"),
    ]
    codes = [[e["code"] for e in r["errors"]] for r in body["results"]]
    assert codes[1] == [] and codes[2] == ["conflict"] and len(codes[3]) >= 2
    assert codes[5] == ["future_timestamp"] and codes[6] == ["consent"]
    assert all(set(e) == {"path", "code", "message"} for r in body["results"] for e in r["errors"])


def test_quarantine_holds_a_masked_copy_and_the_sealed_original(edge: Edge) -> None:
    raw = json.dumps(event(user_id="ann@example.com", event_name="nope")).encode()
    edge.post(b"[" + raw + b"]")
    (record,) = edge.records()
    assert record.verdict == "quarantined" and record.raw is not None and record.sealed is not None
    assert "ann@example.com" not in record.raw
    assert edge.sealer.open(record.sealed) == raw
    assert edge.post(event()).json()["accepted"] == 1, "a quarantined event does not claim its id"


@pytest.mark.parametrize("name", ["page_viewed", "nope"])
def test_without_consent_nothing_of_the_event_is_kept(edge: Edge, name: str) -> None:
    app = edge.app_on(edge.log, REQUIRED)
    sent = event("shy", event_name=name, context={"consent": {"analytics": False}, "source": "google"})
    assert edge.post(sent, app=app).json()["suppressed"] == 1
    (record,) = edge.records()
    kept = {field for field in record.__struct_fields__ if getattr(record, field) is not None}
    assert kept == {
        "write_key", "event_name", "received_us", "plan_version", "verdict", "reason_codes", "origin", "row_no",
    }  # fmt: skip
    assert (record.verdict, record.reason_codes) == ("suppressed", "consent")


@pytest.mark.parametrize(
    "odd",
    [
        rb'{"event_id":"\ud800","event_name":"page_viewed"}',
        b'{"event_id":"x\xff","event_name":"page_viewed"}',
        b'{"event_id":"x","properties":{"a":NaN}}',
        b'{"event_id":"x","properties":{"a":1e999}}',
        b'{"event_id":"x","properties":{"a":' + b"9" * 5000 + b"}}",
        b'{"event_id":"x","properties":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"event_id":"a\\u0000b"}',
        b'{"event_id":"x","event_name":"\xed\xa0\x80"}',
        b'"text, with [brackets"',
        b"null",
    ],
)
def test_an_unreadable_event_does_not_cost_its_neighbours(edge: Edge, odd: bytes) -> None:
    answer = edge.post(
        b"[" + json.dumps(event("a")).encode() + b"," + odd + b"," + json.dumps(event("b")).encode() + b"]"
    )
    assert answer.status == 200, answer.body
    assert counts(answer.json()) == (2, 0, 1, 0)
    assert [r.verdict for r in edge.records()] == ["accepted", "quarantined", "accepted"]
    if odd.startswith(b"{"):
        assert edge.post(odd).json()["quarantined"] == 1


def test_an_event_beyond_its_size_is_quarantined_alone(tmp_path: Path) -> None:
    edge = Edge(tmp_path, max_event_bytes=400)
    answer = edge.post([event("a"), event("big", properties={"path": "x" * 500})])
    told = answer.json()["results"][1]
    assert (told["event_id"], told["status"], [e["code"] for e in told["errors"]]) == (
        "big",
        "quarantined",
        ["too_large"],
    )
    assert edge.records()[1].event_name == "page_viewed"
    edge.log.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"nonsense", b"3", b'"x"', b'{"a":', b'[{"a":1}', b'[{"a":1},]', b"[{]}", b"{a:1}", b'{"a":1}{"b":2}',
     b"[1] x", b"\x1f\x8bnonsense"],
)  # fmt: skip
def test_what_is_not_json_is_refused_whole(edge: Edge, body: bytes) -> None:
    answer = edge.post(body)
    assert answer.status == 400
    assert set(answer.json()) == {"code", "message"}
    assert edge.log.last_seq() == 0


def test_an_empty_list_is_fine_and_a_byte_order_mark_too(edge: Edge) -> None:
    assert counts(edge.post(b"[]").json()) == (0, 0, 0, 0)
    assert edge.post(b"\xef\xbb\xbf " + text(event())).json()["accepted"] == 1


def test_gzip_is_recognised_by_its_bytes_alone(edge: Edge) -> None:
    assert edge.post(gzip.compress(text(event("a")))).json()["accepted"] == 1
    claimed = {"X-Write-Key": "dev", "Content-Encoding": "gzip"}
    assert edge.post(text(event("b")), headers=claimed).json()["accepted"] == 1


@pytest.mark.parametrize("damage", ["cut", "twice", "flipped"])
def test_a_damaged_gzip_body_is_refused(edge: Edge, damage: str) -> None:
    packed = gzip.compress(text(event()))
    body = {"cut": packed[:-5], "twice": packed + packed, "flipped": packed[:-6] + b"\0\0" + packed[-4:]}[damage]
    answer = edge.post(body)
    assert (answer.status, answer.json()["code"]) == (400, "bad_gzip")


def test_sizes_are_refused_before_everything_is_read(tmp_path: Path) -> None:
    edge = Edge(tmp_path, max_body_bytes=1000, max_batch_events=3)
    declared = {"X-Write-Key": "dev", "Content-Length": "1001"}
    answers = [
        edge.post([], headers=declared),
        asyncio.run(call(edge.app, "POST", "/ingest", [b" " * 600] * 2, {"X-Write-Key": "dev"}, stall=True)),
        edge.post(gzip.compress(b" " * 5_000_000)),
        edge.post(b"[1,2,3,4]"),
    ]
    assert [a.status for a in answers] == [413] * 4
    assert answers[3].json()["code"] == "too_many_events"
    edge.log.close()


def test_a_body_that_does_not_arrive_is_given_up(tmp_path: Path) -> None:
    edge = Edge(tmp_path, body_timeout_seconds=0.05)
    answer = asyncio.run(call(edge.app, "POST", "/ingest", [b"["], {"X-Write-Key": "dev"}, stall=True))
    assert (answer.status, answer.json()["code"]) == (408, "body_timeout")
    edge.log.close()


def test_a_key_is_taken_from_each_of_three_places(edge: Edge) -> None:
    secret = edge.keys.add("web")
    basic = base64.b64encode(f"{secret}:".encode()).decode()
    for number, headers in enumerate(
        ({"x-write-key": secret}, {"Authorization": f"Bearer {secret}"}, {"Authorization": f"basic {basic}"})
    ):
        assert edge.post(event(str(number)), headers=headers).status == 200
    assert {r.write_key for r in edge.records()} == {"web"}, "the log holds the key's name, never its secret"


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Write-Key": ""}, {"X-Write-Key": "other"}, {"Authorization": "Basic !!"}, {"Authorization": "Bearer x"},
     {"Authorization": "Digest dev"}],
)  # fmt: skip
def test_without_a_good_key_nothing_is_read(edge: Edge, headers: dict[str, str]) -> None:
    answer = edge.post(event(), headers=headers)
    assert answer.status == 401 and set(answer.json()) == {"code", "message"}
    assert edge.log.last_seq() == 0


def test_a_revoked_key_is_refused_at_once(edge: Edge) -> None:
    secret = edge.keys.add("web")
    assert edge.post(event(), headers={"X-Write-Key": secret}).status == 200
    edge.keys.revoke("web")
    assert edge.post(event("e2"), headers={"X-Write-Key": secret}).status == 401


class BrokenLog(LiveWriter):
    """Refuses at once, or through the future."""

    def __init__(self, at_once: bool) -> None:
        self.at_once = at_once

    def submit(self, records: list[Any]) -> Future[Any]:
        if self.at_once:
            raise EventLogError("closed")
        future: Future[Any] = Future()
        future.set_exception(EventLogError("disk full"))
        return future


@pytest.mark.parametrize("at_once", [True, False])
def test_a_log_that_cannot_be_written_is_503_with_a_delay(edge: Edge, at_once: bool) -> None:
    app = edge.app_on(BrokenLog(at_once))
    for answer in (edge.post(event(), app=app), edge.get("/readyz", app=app)):
        assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1
        assert set(answer.json()) == {"code", "message"}


def test_a_full_queue_is_503_and_a_cancelled_request_harms_nobody(edge: Edge) -> None:
    held: list[Future[Any]] = []

    class SlowLog(LiveWriter):
        def submit(self, records: list[Any]) -> Future[Any]:
            held.append(Future())
            return held[-1]

    async def scenario() -> int:
        app = edge.app_on(SlowLog(), max_waiting_events=2)
        key = {"X-Write-Key": "dev"}
        first = asyncio.create_task(call(app, "POST", "/ingest", [text(event("a"), event("b"))], key))
        while not held:
            await asyncio.sleep(0)
        refused = await call(app, "POST", "/ingest", [text(event("c"))], key)
        assert refused.json()["code"] == "queue_full" and refused.headers["retry-after"].isdigit()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not held[0].cancelled()
        return refused.status

    assert asyncio.run(scenario()) == 503


def test_a_stopping_collector_takes_no_events(edge: Edge) -> None:
    edge.app.drain()
    assert edge.post(event()).status == 503
    assert edge.get("/readyz").status == 503
    assert edge.get("/livez").status == 200


@pytest.mark.parametrize(
    ("name", "flag", "verdict"),
    [
        ("flag_exposed", "guard-drill", "suppressed"),
        ("guard_drill_converted", "guard-drill", "suppressed"),
        ("flag_exposed", "checkout-v2", "accepted"),
    ],
)
def test_traffic_of_a_drill_is_kept_for_the_guard_alone(edge: Edge, name: str, flag: str, verdict: str) -> None:
    told = {"flag": flag, "variant": "control"} if name == "flag_exposed" else {"flag": flag}
    edge.post(event(event_name=name, user_id="u", properties=told))
    (record,) = edge.records()
    assert (record.verdict, record.reason_codes) == (verdict, "drill" if verdict == "suppressed" else None)
    assert record.event_name == name and record.user_id and record.event_us


def test_an_answer_repeats_the_id_that_was_sent_and_the_log_knows_it_by_its_pseudonym(edge: Edge) -> None:
    def answer(event_id: str, **changes: object) -> tuple[str, str]:
        (result,) = edge.post(event(event_id, **changes)).json()["results"]
        return result["event_id"], result["status"]

    assert answer("0170-5500226") == ("0170-5500226", "accepted")
    assert answer("0170-5500226") == ("0170-5500226", "duplicate")
    assert answer("ann schmidt", event_name="nope") == ("ann schmidt", "quarantined")
    stored = [record.event_id for record in edge.records()]
    assert stored == [edge.pseudonymize("0170-5500226"), edge.pseudonymize("ann schmidt")]
