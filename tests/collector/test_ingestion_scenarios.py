"""Ways in which an edge loses or doubles events, by their number: a real collector, and the outcome that is promised.

Events that an edge mangles are in test_odd_content_scenarios.py (8, 9, 10, 12, 16), those that a program loses or doubles on their
way to the edge in tests/tracking (14, 15), behind it in tests/warehouse (22); several processes at one port in
test_workers.py.
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from collector_load import Load, batches, stored
from collector_server import Server
from scenario_requests import KEY, event, post, statuses

from gtm_dagster.collector import KeyStore
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.settings import Collector as Limits


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("scenarios"))
    yield running
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.errors


def test_03_kill_9_under_load_loses_no_answered_event_and_stores_none_twice(tmp_path: Path) -> None:
    acked: set[str] = set()
    unacked: list[list[dict[str, Any]]] = []
    for round_no in range(3):
        server = Server(tmp_path)
        load = Load(server.url, [*batches(f"r{round_no}", 2000), *unacked])
        assert load.enough.wait(30)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        load.finish()
        acked |= set(load.acked)
        unacked = load.left[-40:]  # the last ones back are those cut off in flight
        found = stored(tmp_path)
        assert acked <= set(found), "an answered event is lost"
        assert set(found.values()) == {1}, "an event is stored twice"
    server = Server(tmp_path)
    load = Load(server.url, unacked)
    load.finish()
    assert not load.left
    assert server.stop(signal.SIGTERM) == 0
    found = stored(tmp_path)
    assert acked | set(load.acked) <= set(found) and set(found.values()) == {1}


def test_04_a_storm_of_duplicates_through_a_restart_stores_each_event_once(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys")
    shop, app = ({"X-Write-Key": keys.add(name)} for name in ("shop", "app"))
    storm = batches("d", 60)
    accepted = duplicates = 0
    for _ in range(2):
        server = Server(tmp_path)
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda batch, at=server: post(at, batch, shop).json(), storm * 3))
        accepted += sum(answer["accepted"] for answer in answers)
        duplicates += sum(answer["duplicates"] for answer in answers)
        assert server.stop(signal.SIGTERM) == 0
    assert (accepted, duplicates) == (300, 1500)
    assert set(stored(tmp_path).values()) == {1}
    server = Server(tmp_path)
    assert post(server, storm[0], app).json()["accepted"] == 5, "an id is its key's"
    assert server.stop(signal.SIGTERM) == 0


def test_05_of_two_events_with_one_id_the_first_counts_and_the_second_is_told(server: Server) -> None:
    assert statuses(post(server, event("same"))) == ["accepted"]
    answer = post(server, [event("same"), event("same", anonymous_id="another")])
    results = answer.json()["results"]
    assert statuses(answer) == ["duplicate", "duplicate"]
    assert [[error["code"] for error in each["errors"]] for each in results] == [[], ["conflict"]]
    assert results[0]["offset"] == results[1]["offset"], "both answers say where the first lies"
    page = requests.get(f"{server.url}/metrics", timeout=30).text
    assert 'gtm_collector_events_total{status="conflict"} 1.0' in page


def test_13_a_stop_under_load_loses_nothing_and_exits_0(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        server = Server(tmp_path)
        load = Load(server.url, batches(f"s{number.value}", 4000))
        assert load.enough.wait(30)
        assert server.stop(number) == 0
        load.finish()
        assert load.left, "the load ended before the stop"
        found = stored(tmp_path)
        assert set(load.acked) <= set(found) and set(found.values()) == {1}
        assert server.errors == ""


def test_23_a_reader_that_holds_its_transaction_stops_no_writer_and_is_seen_in_the_figures(tmp_path: Path) -> None:
    server = Server(tmp_path)
    post(server, batches("first", 1)[0])
    reader = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    reader.execute("BEGIN")
    before = reader.execute("SELECT seq FROM log").fetchone()[0]
    for batch in batches("w", 200):
        assert post(server, batch * 4).json()["accepted"] == 5
    assert reader.execute("SELECT seq FROM log").fetchone()[0] == before, "it reads one moment"
    page = requests.get(f"{server.url}/metrics", timeout=30).text
    found = re.search(r"^gtm_eventlog_wal_bytes (\S+)$", page, re.MULTILINE)
    wal = tmp_path / "events.db-wal"
    assert found and float(found[1]) == wal.stat().st_size > 0
    reader.execute("COMMIT")
    reader.close()
    held = wal.stat().st_size
    for batch in batches("after", 200):
        post(server, batch)
    assert wal.stat().st_size <= held + 1_000_000, "it is written over once nobody reads the old moment"
    assert server.stop(signal.SIGTERM) == 0
    assert len(stored(tmp_path)) == 5 + 1000 + 1000


def test_25_a_key_opens_what_is_its_own_and_nothing_is_stored_without(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys")
    secrets = {name: keys.add(name, role=role) for name, role in (("shop", "server"), ("web", "client"), ("pager", "alerting"))}  # fmt: skip
    rotated, revoked = keys.add("old"), keys.add("gone")
    keys.revoke("gone")
    keys.revoke("old")
    renewed = keys.add("old")
    server = Server(tmp_path)
    body = json.dumps([event("k")]).encode()
    batch = [{"event": "$pageview", "distinct_id": "v", "uuid": f"k{n}"} for n in range(2)]
    cases: list[tuple[str, bytes, dict[str, str], int, str]] = [
        ("/ingest", body, {}, 401, "no_key"),
        ("/ingest", body, {"X-Write-Key": "nonsense"}, 401, "bad_key"),
        ("/ingest", body, {"X-Write-Key": "dev"}, 401, "bad_key"),
        ("/ingest", body, {"X-Write-Key": revoked}, 401, "bad_key"),
        ("/ingest", body, {"X-Write-Key": rotated}, 401, "bad_key"),
        ("/ingest", body, {"X-Write-Key": secrets["pager"]}, 403, "alerting_key"),
        (f"/ingest?writeKey={secrets['shop']}", body, {}, 403, "key_in_address"),
        ("/ingest", json.dumps({"write_key": secrets["shop"], **event("k")}).encode(), {}, 401, "no_key"),
        ("/batch/", json.dumps([{"api_key": secrets["shop"], **batch[0]}, {"api_key": renewed, **batch[1]}]).encode(), {}, 401, "several_keys"),
        ("/heartbeat", b'{"producer":"page"}', {"X-Write-Key": secrets["web"]}, 403, "client_key"),
    ]  # fmt: skip
    for path, sent, headers, status, code in cases:
        answer = post(server, sent, headers, path)
        document = answer.json()
        assert (answer.status_code, document["code"]) == (status, code), (path, headers, answer.text)
        assert document["message"] and ("WWW-Authenticate" in answer.headers) is (status == 401)
    log = SqliteEventLog(tmp_path / "events.db")
    assert log.last_seq() == 0
    log.close()
    for headers in ({"X-Write-Key": renewed}, {"Authorization": f"Bearer {secrets['web']}"}):
        assert post(server, body, headers).json()["accepted"] == 1
    assert server.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_11_slow_clients_are_cut_off_within_ten_seconds_while_others_are_served(tmp_path: Path) -> None:
    import asyncio

    from slow_clients import cut_off

    limits = Limits()
    assert max(limits.header_timeout_seconds, limits.body_timeout_seconds) < 9, "what a deployment has"
    # here half of it: on a busy machine the sending and reading of 350 clients takes seconds, too
    server = Server(tmp_path, GTM_COLLECTOR__HEADER_TIMEOUT_SECONDS="4", GTM_COLLECTOR__BODY_TIMEOUT_SECONDS="4")
    waits: list[float] = []
    enough = threading.Event()

    def ordinary() -> None:
        number = 0
        with requests.Session() as session:
            while not enough.wait(0.05):
                number += 1
                began = time.monotonic()
                answer = session.post(f"{server.url}/ingest", json=event(f"o{number}"), headers=KEY, timeout=30)
                assert answer.status_code == 200
                waits.append(time.monotonic() - began)

    sender = threading.Thread(target=ordinary)
    sender.start()
    try:
        found = asyncio.run(cut_off(server.url, heads=300, bodies=50))
    finally:
        enough.set()
        sender.join(60)
    assert len(found["head"]) == 300 and {status for _, status in found["head"]} <= {b"", b"408"}
    assert len(found["body"]) == 50 and {status for _, status in found["body"]} == {b"408"}
    assert max(seconds for each in found.values() for seconds, _ in each) <= 10
    assert len(waits) > 10
    assert server.stop(signal.SIGTERM) == 0
