"""Everything but events: health, metrics, plan, heartbeats, unknown paths, keys."""

from __future__ import annotations

import asyncio
import socket
import stat
import time
from datetime import datetime
from pathlib import Path

import pytest
from collector_harness import Edge, LiveWriter

from gtm_dagster.collector import KeyStore, KeyStoreError
from gtm_dagster.collector.serve import ServeError, serve
from gtm_dagster.eventlog import EventLogError
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.json_schema import plan_schema


def test_health_and_plan(edge: Edge) -> None:
    assert edge.get("/livez").status == edge.get("/readyz").status == 200
    assert edge.get("/plan/").json() == plan_schema(load_plan())


NOON = "2026-03-01T12:00:00Z"
NOON_US = 1_772_366_400_000_000


@pytest.mark.parametrize(
    ("said", "ts_us", "reason"),
    [
        ({}, None, "until now"),
        ({"ts": NOON}, NOON_US, "a time"),
        ({"ts": "2026-03-01T14:00:00+02:00"}, NOON_US, "a time with an offset"),
        ({"ts": NOON_US / 1e6}, NOON_US, "seconds"),
        ({"ts": "2098-01-01T00:00:00Z"}, None, "not after its receipt"),
        ({"ts": NOON, "sent_at": "2026-03-01T12:00:07Z"}, NOON_US, "a clock that runs behind"),
        ({"ts": "2098-01-01T00:00:00Z", "sent_at": "2098-01-01T00:00:07Z"}, 7, "a clock ahead still holds 7 s back"),
    ],
)
def test_a_heartbeat_is_kept_with_what_it_says_was_delivered(edge: Edge, said: dict, ts_us: int, reason: str) -> None:
    assert edge.post({"producer": "shop", "instance": "1", **said}, "/heartbeat").status == 200
    (beat,) = edge.log.heartbeats()
    assert abs(beat.received_us / 1e6 - time.time()) < 30
    held = 0 if ts_us is None else ts_us
    expected = held if held == NOON_US else beat.received_us - held * 1_000_000
    assert beat.ts_us == expected, reason
    assert beat.write_key, "GD-08: it belongs to the key it came with"
    sent_us = datetime.fromisoformat(said["sent_at"]).timestamp() * 1e6 if "sent_at" in said else None
    assert beat.skew_us == (None if sent_us is None else beat.received_us - sent_us), "GD-14"


def test_a_closing_heartbeat_forgets_the_producer(edge: Edge) -> None:
    for said in ({"instance": "1"}, {"instance": "2"}, {"instance": "1", "closing": True}):
        assert edge.post({"producer": "shop", **said}, "/heartbeat").status == 200
    assert [beat.producer for beat in edge.log.heartbeats()] == ["shop"]
    edge.post({"producer": "shop", "instance": "2", "closing": True}, "/heartbeat")
    assert edge.log.heartbeats() == []
    assert "heartbeat_timestamp_seconds{" not in edge.get("/metrics").body.decode()


def test_a_heartbeat_that_cannot_be_stored_is_answered_with_503(edge: Edge) -> None:
    edge.log.close()
    answer = edge.post({"producer": "shop"}, "/heartbeat")
    assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, "log_unavailable", "5")


def test_too_many_producers_are_refused(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm_dagster.eventlog.group_commit.MAX_PRODUCERS", 1)
    assert [edge.post({"producer": name}, "/heartbeat").status for name in ("a", "b", "a")] == [200, 429, 200]


def test_the_collector_beats_for_itself_and_goes_on_after_a_fault(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm_dagster.collector.heartbeats.BEAT_SECONDS", 0.001)
    failing = [EventLogError("disk full"), EventLogError("disk full")]
    real = edge.log.submit_beat

    def submit_beat(*told: object) -> object:
        if failing:
            raise failing.pop()
        return real(*told)

    monkeypatch.setattr(edge.log, "submit_beat", submit_beat)

    async def beat_until_stored() -> None:
        beating = asyncio.create_task(edge.app.keep_beating())
        async with asyncio.timeout(10):
            while not edge.log.heartbeats():
                await asyncio.sleep(0.001)
        beating.cancel()

    asyncio.run(beat_until_stored())
    (beat,) = edge.log.heartbeats()
    assert (beat.producer, beat.ts_us) == ("collector", beat.received_us)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b'{"producer":""}', b'{"producer":3}', b'{"producer":"x","ts":[]}', b'{"producer":"x","ts":"soon"}',
        b'{"producer":"x","ts":"2026-03-01T10:00:00"}', b'{"producer":"x","ts":-1}', b'{"producer":"x","ts":1e300}',
        b'{"producer":"collector"}', b'{"producer":"stream/checkout:payment_completed:production"}',
    ],
)  # fmt: skip
def test_a_heartbeat_that_is_none_is_refused(edge: Edge, body: bytes) -> None:
    assert edge.post(body, "/heartbeat").status == 400
    assert edge.post({"producer": "x"}, "/heartbeat", headers={}).status == 401


def test_unknown_paths_and_methods(edge: Edge) -> None:
    assert edge.get("/nowhere").status == 404
    wrong = edge.get("/ingest")
    assert (wrong.status, wrong.headers["allow"], wrong.json()["code"]) == (405, "POST", "method_not_allowed")
    assert edge.ask("HEAD", "/livez", [b""], {}).body == b""


def test_a_fault_is_a_500_that_says_nothing_of_the_event(edge: Edge) -> None:
    class FaultyLog(LiveWriter):
        def submit(self, records: object) -> None:
            raise LookupError("secret")

    answer = edge.post(b"[]", app=edge.app_on(FaultyLog()))
    assert answer.status == 500 and b"secret" not in answer.body


def test_keys_are_hashed_private_and_seen_by_others(tmp_path: Path) -> None:
    store, other = KeyStore(tmp_path / "keys"), KeyStore(tmp_path / "keys")
    assert other.list() == () and other.name_of("x") is None
    secret = store.add("web")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert secret not in store.path.read_text()
    assert other.name_of(secret) == "web" and [k.name for k in other.list()] == ["web"]
    assert store.name_of("dev") is None and KeyStore(tmp_path, allow_dev=True).name_of("dev") == "dev"
    for name in ("web", "dev", "", "a b", "x" * 65):
        with pytest.raises(KeyStoreError):
            store.add(name)
    store.revoke("web")
    assert other.name_of(secret) is None
    with pytest.raises(KeyStoreError, match="no key 'web'"):
        store.revoke("web")


def test_a_damaged_key_file_is_named_and_answered_with_503(edge: Edge) -> None:
    edge.keys.add("web")
    edge.keys.path.write_text("{")
    with pytest.raises(KeyStoreError, match=r"keys\.json"):
        edge.keys.list()
    assert edge.post([], headers={"X-Write-Key": "gtm_x"}).status == 503


def test_other_machines_need_a_real_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(ServeError, match="gtm keys add"):
            serve(Settings(state_dir=tmp_path), host, 0)
    assert not (tmp_path / "events.db").exists()


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"127.0.0.1:{port}.*in use"):
            serve(Settings(state_dir=tmp_path), "localhost", port)
