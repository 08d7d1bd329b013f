"""Ways in which an edge mangles events, by their number: a real collector, and the outcome that is promised.

Those in which it loses or doubles them are in test_ingestion_scenarios.py.
"""

from __future__ import annotations

import gzip
import json
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from collector_server import Server
from scenario_requests import KEY, event, post, statuses
from warehouse_cases import PLAN, refresh, rows_of, settings_for

from gtm_dagster.cli import run
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing.from_log import land_log


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("scenarios"))
    yield running
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.errors


def megabytes(server: Server) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_08_too_much_is_refused_in_little_memory_and_one_large_event_costs_no_other(server: Server) -> None:
    large = [event(f"b{n}") for n in range(49)] + [event("large", properties={"title": "x" * 70_000})]
    assert statuses(post(server, large)) == ["accepted"] * 49 + ["quarantined"]
    before = megabytes(server)
    bomb = gzip.compress(bytes(2**27), 9)  # 128 MiB in 130 kB
    for body in (b" " * 10_000_000, bomb, gzip.compress(bomb)):
        answer = post(server, body)
        assert (answer.status_code, answer.json()["code"]) in ((413, "body_too_large"), (400, "unparseable")), (
            answer.text
        )
    assert megabytes(server) - before < 20


GOOD = json.dumps(event("good")).encode()
PACKED = gzip.compress(b"[" + GOOD + b"]")
ODD = {
    "invalid UTF-8": (b'{"event_id":"o1","event_name":"page_viewed","anonymous_id":"\xff"}', 200, ["invalid_utf8"]),
    "a lone surrogate": (rb'{"event_id":"o2","event_name":"page_viewed","anonymous_id":"\ud800"}', 200, ["lone_surrogate"]),
    "NUL": (rb'{"event_id":"o3","event_name":"page_viewed","anonymous_id":"a\u0000b"}', 200, ["nul"]),
    "NaN": (b'{"event_id":"o4","event_name":"page_viewed","anonymous_id":"v","properties":{"n":NaN}}', 200, ["invalid_json"]),
    "5,000 digits": (b'{"event_id":"o5","event_name":"page_viewed","anonymous_id":"v","properties":{"n":' + b"9" * 5000 + b"}}", 200, ["number_out_of_range"]),
    "UTF-16": (GOOD.decode().encode("utf-16"), 400, "unparseable"),
    "gzip cut off": (PACKED[:-5], 400, "bad_gzip"),
    "two gzip streams": (PACKED + PACKED, 400, "bad_gzip"),
}  # fmt: skip
"""Body, status, and the codes of the event's reasons or of the refusal."""


@pytest.mark.parametrize("name", ODD)
def test_09_odd_bytes_have_one_outcome_and_are_never_stored_as_something_else(server: Server, name: str) -> None:
    body, status, codes = ODD[name]
    answer = post(server, body)
    assert answer.status_code == status, answer.text
    if status == 200:
        found = [error["code"] for error in answer.json()["results"][0]["errors"]]
        assert set(codes) <= set(found), found
    else:
        assert answer.json()["code"] == codes


def test_09_a_byte_order_mark_and_a_doubled_name_are_taken_as_the_last_one_says(server: Server) -> None:
    assert statuses(post(server, b"\xef\xbb\xbf" + json.dumps(event("bom")).encode())) == ["accepted"]
    twice = b'{"event_id":"lost","event_id":"kept","event_name":"page_viewed","anonymous_id":"v"}'
    assert [each["event_id"] for each in post(server, twice).json()["results"]] == ["kept"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[" * 100_000, 400),
        (b'{"event_id":"deep","event_name":"page_viewed","anonymous_id":"v","properties":' + b'{"a":' * 1100 + b"1" + b"}" * 1101, "too_deep"),
    ],
    ids=["100,000 brackets that do not close", "1,100 nested objects"],
)  # fmt: skip
def test_10_depth_is_refused_and_the_collector_lives(server: Server, body: bytes, expected: int | str) -> None:
    answer = post(server, body)
    if isinstance(expected, int):
        assert answer.status_code == expected
    else:
        assert [error["code"] for error in answer.json()["results"][0]["errors"]] == [expected]
    assert requests.get(f"{server.url}/readyz", timeout=30).status_code == 200


SKEWS = [
    # (name, hours the sender's clock is ahead, hours between event and sending, whether it says when it sent, code or None)
    ("two days ahead", 48, 1, True, None),
    ("two days behind", -48, 1, True, None),
    ("an hour ahead, as a wrong summer time", 1, 0.5, True, None),
    ("right, and the queue was offline for six hours", 0, 6, True, None),
    ("over the end of a month", 48, 24 * 31, True, None),
    ("three years old", 0, 24 * 365 * 3, True, None),
    ("nothing said, and right", 0, 2, False, None),
    ("nothing said, two days behind: believed", -48, 0, False, None),
    ("nothing said, two days ahead", 48, 0, False, "future_timestamp"),
    ("two years ahead of a clock that is right", 0, -24 * 365 * 2, True, "future_timestamp"),
]
HOUR_US = 3_600_000_000


@pytest.mark.parametrize("path", ["/ingest", "/v1/batch"])
def test_12_times_of_a_wrong_clock_are_put_right_by_when_it_sent(server: Server, tmp_path: Path, path: str) -> None:
    kept: dict[str, list[tuple[int, str | None]]] = {}
    for number, (name, ahead, age, says, code) in enumerate(SKEWS):
        now = datetime.now(UTC)
        sent_at = (now + timedelta(hours=ahead)).isoformat()
        ids = [f"{path[1:3]}-{number}-{n}" for n in range(2)]
        times = [(now + timedelta(hours=ahead - age, seconds=n)).isoformat() for n in range(2)]
        if path == "/ingest":
            body: Any = [event(one, timestamp=at) for one, at in zip(ids, times, strict=True)]
            answer = post(server, body, KEY | ({"sentAt": sent_at} if says else {}))
            codes = [[error["code"] for error in each["errors"]] for each in answer.json()["results"]]
        else:
            pages = [
                {"type": "page", "messageId": one, "anonymousId": "v", "timestamp": at}
                for one, at in zip(ids, times, strict=True)
            ]
            answer = post(server, {"batch": pages} | ({"sentAt": sent_at} if says else {}), path=path)
            refused = {
                each["event_id"]: [error["code"] for error in each["errors"]] for each in answer.json()["refused"]
            }
            codes = [refused.get(one, []) for one in ids]
        assert codes == ([[]] * 2 if code is None else [[code]] * 2), (name, answer.text)
        if code is None:
            corrected = says and abs(ahead) * 3600 > 60
            us = round(now.timestamp() * 1e6) - round((age if corrected else age - ahead) * HOUR_US)
            kept[name] = [(us, ids[0]), (us + 1_000_000, ids[1])]
    log = SqliteEventLog(Path(server.state_dir) / "events.db")
    found = {record.event_id: record.event_us for record in log.read_records(0, 100_000)[0]}
    log.close()
    for name, pair in kept.items():
        stored_us = [found[str(one)] or 0 for _, one in pair]
        assert all(abs(us - expected) < 60_000_000 for us, (expected, _) in zip(stored_us, pair, strict=True)), name
        assert stored_us[1] - stored_us[0] == 1_000_000, f"{name}: their order and distance stay"


def test_16_of_a_mixed_batch_the_bad_are_kept_and_replayed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(tmp_path)
    paid = {"event_name": "payment_completed", "user_id": "u"}
    bad = [
        event("m1", **paid, properties={"amount": "10", "currency": "EUR"}),
        event("m2", **paid, properties={"amount": "12", "currency": "euro"}),
        event("m3", event_name="checkout_begun"),
    ]
    answer = post(server, [event(f"g{n}") for n in range(47)] + bad)
    assert statuses(answer) == ["accepted"] * 47 + ["quarantined"] * 3
    reasons = [sorted(error["code"] for error in each["errors"]) for each in answer.json()["results"][47:]]
    assert reasons == [["type"], ["pattern", "type"], ["unknown_event"]], "every reason of each"
    received = {one["event_id"]: one["offset"] for one in answer.json()["results"]}
    assert server.stop(signal.SIGTERM) == 0
    settings = settings_for(tmp_path)
    land_log(BuildContext(settings, PLAN, False))
    refresh(settings)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path))

    def replayed() -> dict[str, Any]:
        corrections = ["--alias", "checkout_begun=checkout_started", "--cast", "amount=number"]
        assert run(["quarantine", "replay", *corrections, "--json"]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        refresh(settings)
        return result

    first = replayed()
    assert (first["accepted"], first["refused"]) == (2, 1)
    rows = dict(rows_of(settings, "SELECT event_id, received_us FROM staging.events WHERE event_id LIKE 'm%'"))
    assert set(rows) == {"m1", "m3"} and len(received) == 50
    (taken,) = {us for (us,) in rows_of(settings, "SELECT received_us FROM staging.events WHERE event_id = 'g0'")}
    assert set(rows.values()) == {taken}, "they keep the moment of their receipt"
    again = replayed()
    assert (again["accepted"], again["known"]) == (0, 2)
